/** ONNX pooling: windows of padded data, or whole channels. */
import type { PoolAttrs } from '../core/pool.js';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { tensorOf } from '../ir/tensor.js';
import { elementCount, type Value } from '../ir/types.js';
import { arg, binary, cast, constant, mul, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { requireFloat } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';
import { perDimension, spatialOf, windowsOf } from './windows.js';

/** Attributes of a pool over `spatial` extents. */
export function poolAttrs(n: OnnxNode, spatial: readonly number[], mode: PoolAttrs['mode'], layout: PoolAttrs['layout'] = 'ncs'): PoolAttrs {
  const kernel = n.attr.ints('kernel_shape');
  if (kernel.length !== spatial.length) throw new NodeProblem('SPC2004', `kernel_shape=[${kernel.join(',')}] for ${spatial.length} spatial dimension(s)`);
  return {
    ...windowsOf(n, spatial, kernel), mode, kernel, layout,
    ceil: n.attr.int('ceil_mode', 0) !== 0,
    countIncludePad: n.attr.int('count_include_pad', 0) !== 0,
  };
}

const maxPool = defineOnnxOp({
  op: 'MaxPool',
  lower(n) {
    const x = n.input(0, 'X'), attrs = poolAttrs(n, spatialOf(x), 'max');
    return n.g.op('pool', [x], n.usesOutput(1) ? { ...attrs, indices: n.attr.int('storage_order', 0) ? 'column-major' : 'row-major' } : attrs);
  },
});

const averagePool = defineOnnxOp({
  op: 'AveragePool',
  lower(n) {
    const x = n.input(0, 'X');
    requireFloat(x);
    return n.g.op('pool', [x], poolAttrs(n, spatialOf(x), 'average'));
  },
});

/** |x|^p and the p-th root of a sum of it. */
function power(p: number): { readonly raise: (x: Expr) => Expr; readonly root: (y: Expr) => Expr } {
  const pow = (x: Expr, exponent: number): Expr => binary('pow', x, constant(x.type.dtype, exponent));
  if (p === 1) return { raise: (x) => unary('abs', x), root: (y) => y };
  if (p === 2) return { raise: (x) => mul(x, x), root: (y) => unary('sqrt', y) };
  return { raise: (x) => pow(unary('abs', x), p), root: (y) => pow(y, 1 / p) };
}

const lpPool = defineOnnxOp({
  op: 'LpPool',
  lower(n) {
    const x = n.input(0, 'X'), { raise, root } = power(n.attr.int('p', 2));
    requireFloat(x);
    const sums = n.g.op('pool', [n.g.map([x], raise)], poolAttrs(n, spatialOf(x), 'sum'))[0]!;
    return n.g.map([sums], root);
  },
});

const spatialAxes = (x: Value): number[] => spatialOf(x).map((_, d) => d + 2);

const globalAveragePool = defineOnnxOp({
  op: 'GlobalAveragePool',
  lower(n) {
    const x = n.input(0, 'X'), count = elementCount(spatialOf(x));
    requireFloat(x);
    const sum = n.g.op('reduce', [x], { op: 'sum', axes: spatialAxes(x), keepdims: true, ...wide(x) })[0]!;
    return n.g.map([sum], (s) => cast(mul(s, constant(s.type.dtype, 1 / count)), x.type.dtype));
  },
});

/** Half-precision sums leave in single precision: over a whole channel they may not fit. */
const wide = (x: Value): { map?: Expr } => (x.type.dtype === 'f16' || x.type.dtype === 'bf16' ? { map: cast(arg(0, x.type.dtype), 'f32') } : {});

const globalMaxPool = defineOnnxOp({
  op: 'GlobalMaxPool',
  lower(n) {
    const x = n.input(0, 'X');
    return n.g.op('reduce', [x], { op: 'max', axes: spatialAxes(x), keepdims: true });
  },
});

const globalLpPool = defineOnnxOp({
  op: 'GlobalLpPool',
  lower(n) {
    const x = n.input(0, 'X'), { raise, root } = power(n.attr.int('p', 2));
    requireFloat(x);
    const sum = n.g.op('reduce', [x], { op: 'sum', axes: spatialAxes(x), keepdims: true, map: raise(arg(0, x.type.dtype)) })[0]!;
    return n.g.map([sum], root);
  },
});

/** Puts each element back where MaxPool took it from; the indices refer to the output without `output_shape`. */
const maxUnpool = defineOnnxOp({
  op: 'MaxUnpool',
  lower(n) {
    const { g } = n, x = n.input(0, 'X'), indices = n.input(1, 'I'), input = spatialOf(x), rank = input.length;
    const kernel = n.attr.ints('kernel_shape'), strides = perDimension(n, 'strides', rank), pads = n.attr.ints('pads', Array.from({ length: 2 * rank }, () => 0));
    const natural = [...x.type.shape.slice(0, 2), ...input.map((e, d) => (e - 1) * strides[d]! + kernel[d]! - pads[d]! - pads[rank + d]!)];
    const count = elementCount(x.type.shape), total = elementCount(natural);
    const zeros = g.expand(g.constant(tensorOf(x.type.dtype, [1], [0]), 'zero'), [total]);
    const flat = g.op('scatterElements', [zeros, g.reshape(indices, [count]), g.reshape(x, [count])], { axis: 0, reduction: 'none' })[0]!;
    const y = g.reshape(flat, natural), wanted = n.ints(2, 'output_shape');
    if (!wanted || wanted.every((e, d) => e === natural[d])) return y;
    if (wanted.length !== natural.length || wanted.some((e, d) => e < natural[d]!)) n.unsupported(`output_shape=[${wanted.join(',')}] is smaller than [${natural.join(',')}]`);
    return g.op('pad', [y], { mode: 'constant', before: natural.map(() => 0), after: wanted.map((e, d) => e - natural[d]!) });
  },
});

export const poolingOps: readonly OnnxOp[] = [maxPool, averagePool, lpPool, globalAveragePool, globalMaxPool, globalLpPool, maxUnpool];
