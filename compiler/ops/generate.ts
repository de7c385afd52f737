/** ONNX operators that make tensors from shapes and numbers. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { denseTensor, newArray, tensorOf, toNumbers, type Tensor } from '../ir/tensor.js';
import { elementCount, type Value } from '../ir/types.js';
import { add, cast, compare, constant, select, sub } from '../kir/build.js';
import { dtypeAttr } from './cast.js';
import { narrow } from './movement.js';
import { iota, normalAxis, requiredInts } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

const shape = defineOnnxOp({
  op: 'Shape',
  lower(n) {
    const all = n.input(0, 'data').type.shape;
    const part = all.slice(n.attr.int('start', 0), n.attr.has('end') ? n.attr.int('end') : undefined);
    return n.g.constant(tensorOf('i64', [part.length], part));
  },
});

const size = defineOnnxOp({
  op: 'Size',
  lower: (n) => n.g.constant(tensorOf('i64', [], [elementCount(n.input(0, 'data').type.shape)])),
});

const constantOfShape = defineOnnxOp({
  op: 'ConstantOfShape',
  lower(n) {
    const value = n.attr.tensor('value') ?? tensorOf('f32', [1], [0]);
    const extents = requiredInts(n, 0, 'input');
    return n.g.expand(n.g.reshape(n.g.constant(value), []), extents);
  },
});

const range = defineOnnxOp({
  op: 'Range',
  limits: 'start, limit and delta must be constants: the output shape depends on them',
  lower(n) {
    const [start, limit, delta] = (['start', 'limit', 'delta'] as const).map((what, i): Tensor => n.constant(i, what) ?? n.unsupported(`no ${what}`));
    const [from, to, step] = [start!, limit!, delta!].map((t) => toNumbers(t)[0]!) as [number, number, number];
    if (step === 0) throw new NodeProblem('SPC2006', 'a range with delta 0');
    const count = Math.max(0, Math.ceil((to - from) / step));
    return iota(n.g, start!.dtype, count, 1, 0, from, step);
  },
});

/** Class c of the new axis is on where the index, counted from the end if negative, is c; an index out of range is off everywhere. */
const oneHot = defineOnnxOp({
  op: 'OneHot',
  limits: 'the depth must be a constant',
  lower(n) {
    const { g } = n, indices = n.input(0, 'indices'), values = n.input(2, 'values');
    // of any numeric type
    const [depth] = toNumbers(n.constant(1, 'depth') ?? n.unsupported('no depth'));
    if (depth === undefined || depth < 1) throw new NodeProblem('SPC1006', `depth ${depth} of OneHot`);
    const rank = indices.type.shape.length + 1, axis = normalAxis(n.attr.int('axis', -1), rank);
    const spread = g.reshape(indices, [...indices.type.shape.slice(0, axis), 1, ...indices.type.shape.slice(axis)]);
    const [off, on] = [0, 1].map((i) => g.reshape(narrow(g, values, 0, i, 1), []));
    return g.map([spread, iota(g, 'i64', depth, rank, axis), off!, on!], (index, c, zero, one) => {
      const i = cast(index, 'i64'), counted = select(compare('lt', i, constant('i64', 0)), add(i, constant('i64', depth)), i);
      return select(compare('eq', counted, c), one, zero);
    });
  },
});

/** Column minus row of every element of the last two dimensions: 0 on the main diagonal. */
function diagonals(n: OnnxNode, extents: readonly number[]): Value {
  const rank = extents.length;
  if (rank < 2) throw new NodeProblem('SPC2007', `a diagonal of [${extents.join(',')}]`, 'two dimensions are needed');
  return n.g.map([iota(n.g, 'i64', extents[rank - 1]!, rank, rank - 1), iota(n.g, 'i64', extents[rank - 2]!, rank, rank - 2)], sub);
}

const eyeLike = defineOnnxOp({
  op: 'EyeLike',
  lower(n) {
    const x = n.input(0, 'input'), dtype = n.attr.has('dtype') ? dtypeAttr(n, 'dtype') : x.type.dtype, k = constant('i64', n.attr.int('k', 0));
    return n.g.map([diagonals(n, x.type.shape)], (d) => cast(compare('eq', d, k), dtype));
  },
});

const trilu = defineOnnxOp({
  op: 'Trilu',
  lower(n) {
    const x = n.input(0, 'input'), k = n.optional(1) ?? n.g.constant(tensorOf('i64', [], [0]));
    const kept = n.attr.int('upper', 1) ? 'ge' : 'le';
    return n.g.map([x, diagonals(n, x.type.shape), n.g.reshape(k, [])], (e, d, first) => select(compare(kept, d, first), e, constant(e.type.dtype, 0)));
  },
});

const nonZero = defineOnnxOp({
  op: 'NonZero',
  limits: 'of a constant only: the output shape depends on it',
  lower(n) {
    const x = n.constant(0, 'X') ?? n.unsupported('no X'), rank = x.shape.length;
    const found = toNumbers(x).flatMap((v, i) => (v !== 0 ? [i] : []));
    const data = newArray('i64', rank * found.length) as BigInt64Array;
    let inner = elementCount(x.shape);
    x.shape.forEach((extent, d) => {
      inner /= extent;
      found.forEach((position, i) => { data[d * found.length + i] = BigInt(Math.floor(position / inner) % extent); });
    });
    return n.g.constant(denseTensor('i64', [rank, found.length], data));
  },
});

export const generateOps: readonly OnnxOp[] = [shape, size, constantOfShape, range, oneHot, eyeLike, trilu, nonZero];
