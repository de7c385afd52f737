/** ONNX operators that put elements in order. */
import { denseData, numberAt, tensorOf, type Tensor } from '../ir/tensor.js';
import { elementCount } from '../ir/types.js';
import { gatherAlong } from './indexing.js';
import { normalAxis, requiredInt } from './params.js';
import { defineOnnxOp, type OnnxOp } from './types.js';

const topK = defineOnnxOp({
  op: 'TopK',
  limits: 'k must be a constant',
  lower(n) {
    const x = n.input(0, 'X');
    return n.g.op('topk', [x], {
      axis: normalAxis(n.attr.int('axis', -1), x.type.shape.length),
      k: n.attr.has('k') ? n.attr.int('k') : requiredInt(n, 1, 'K'),
      largest: n.attr.int('largest', 1) !== 0,
    });
  },
});

/** The slices of a tensor along an axis, each as its elements in order. */
function slicesOf(t: Tensor, axis: number): (number | bigint)[][] {
  const data = denseData(t), extent = t.shape[axis]!, inner = elementCount(t.shape.slice(axis + 1)), outer = elementCount(t.shape.slice(0, axis));
  const half = t.dtype === 'f16' || t.dtype === 'bf16';
  return Array.from({ length: extent }, (_, i) =>
    Array.from({ length: outer * inner }, (_e, e) => {
      const at = (Math.floor(e / inner) * extent + i) * inner + (e % inner);
      return half ? numberAt(t.dtype, data, at) : data[at]!;
    }));
}

function lexicographic(a: readonly (number | bigint)[], b: readonly (number | bigint)[]): number {
  const at = a.findIndex((x, i) => x !== b[i]);
  return at < 0 ? 0 : a[at]! < b[at]! ? -1 : 1;
}

/** Outputs: the distinct slices, where each occurs first, which of them each slice is, and how often each occurs. */
const unique = defineOnnxOp({
  op: 'Unique',
  limits: 'of a constant only: the output shape depends on it',
  lower(n) {
    const { g } = n, given = n.constant(0, 'X') ?? n.unsupported('no X');
    const flat = !n.attr.has('axis'), x = g.reshape(g.constant(given), flat ? [elementCount(given.shape)] : given.shape);
    const axis = flat ? 0 : normalAxis(n.attr.int('axis'), given.shape.length);
    const slices = slicesOf(x.constant!, axis);
    const groups = new Map<string, number[]>();
    slices.forEach((s, i) => {
      const key = s.join(), group = groups.get(key);
      if (group) group.push(i); else groups.set(key, [i]);
    });
    const distinct = [...groups.values()];
    if (n.attr.int('sorted', 1)) distinct.sort((a, b) => lexicographic(slices[a[0]!]!, slices[b[0]!]!));
    const inverse = new Array<number>(slices.length);
    distinct.forEach((group, u) => group.forEach((i) => { inverse[i] = u; }));
    const vector = (values: readonly number[]) => g.constant(tensorOf('i64', [values.length], values));
    const first = vector(distinct.map((group) => group[0]!));
    return [gatherAlong(g, x, first, axis), first, vector(inverse), vector(distinct.map((group) => group.length))];
  },
});

export const sortingOps: readonly OnnxOp[] = [topK, unique];
