/** What `inPlace` promises, checked by doing it: the output's memory is the operand's, and the result is still right. */
import { expect, test } from 'vitest';
import type { DType } from '../ir/dtype.js';
import { denseData, f16ToNumber, numberToF16, bf16ToNumber, numberToBf16, newArray, tensorOf, toNumbers, type Tensor } from '../ir/tensor.js';
import { elementCount } from '../ir/types.js';
import { add, arg, constant, mul } from '../kir/build.js';
import { evaluateNode } from '../kir/evaluate.js';
import { KernelBuilder, tensorRef } from '../kir/kernel-builder.js';
import { jsFunctionBody, jsMath } from '../kir/print-js.js';
import { coreOp, coreOps, type OpAttrs, type OpKind } from './index.js';

/** As evaluateNode, with output 0 in the memory of input `shared`. */
function runInPlace(kind: OpKind, attrs: unknown, inputs: readonly Tensor[], shared: number): number[] {
  const op = coreOp(kind), types = op.infer(attrs, inputs), k = new KernelBuilder();
  const names = inputs.map((_, i) => `x${i}`), outs = types.map((_, i) => `y${i}`);
  const body = op.lower(k, attrs, inputs.map((t, i) => tensorRef(names[i]!, t)), types.map((t, i) => tensorRef(outs[i]!, t)));
  const buffers = inputs.map((t) => denseData(t).slice());
  const results = types.map((t, i) => (i === 0 ? buffers[shared]! : newArray(t.dtype, elementCount(t.shape))));
  const dtypes = new Map<string, DType>([...inputs.map((t, i) => [names[i]!, t.dtype] as const), ...types.map((t, i) => [outs[i]!, t.dtype] as const)]);
  new Function('rt', ...names, ...outs, jsFunctionBody(body, dtypes))({ ...jsMath, f16ToNumber, numberToF16, bf16ToNumber, numberToBf16 }, ...buffers, ...results);
  return toNumbers({ kind: 'dense', dtype: types[0]!.dtype, shape: types[0]!.shape, data: results[0]! });
}

const x = tensorOf('f32', [3, 4], [5, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]), z = tensorOf('f32', [3, 4], [2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5]);
const cases: { readonly [K in OpKind]?: readonly (readonly [OpAttrs[K], ...Tensor[]])[] } = {
  elementwise: [[{ expr: add(mul(arg(0, 'f32'), constant('f32', 2)), arg(1, 'f32')) }, x, z]],
  cumsum: [0, 1].flatMap((axis) => [false, true].flatMap((exclusive) => [false, true].map((reverse) => [{ axis, exclusive, reverse }, x] as const))),
  normalize: [true, false].map((center) => [{ axes: [1], epsilon: 1e-5, center }, x] as const),
  softmax: (['soft', 'log'] as const).flatMap((mode) => [0, 1].map((axis) => [{ axis, mode }, x] as const)),
  scatterElements: [[{ axis: 0, reduction: 'add' }, x, tensorOf('i64', [2, 4], [0, 1, 2, 0, 0, 2, 1, 1]), tensorOf('f32', [2, 4], [1, 2, 3, 4, 5, 6, 7, 8])]],
  scatterNd: [[{ reduction: 'none' }, x, tensorOf('i64', [2, 1], [2, 0]), tensorOf('f32', [2, 4], [1, 2, 3, 4, 5, 6, 7, 8])]],
};

test.each(Object.entries(cases).flatMap(([kind, list]) => list.map((c) => [kind as OpKind, c as readonly [unknown, ...Tensor[]]] as const)))('%s %#', (kind, [attrs, ...inputs]) => {
  const op = coreOps[kind], types = (op as ReturnType<typeof coreOp>).infer(attrs, inputs);
  const want = toNumbers(evaluateNode(kind, attrs, inputs, types)[0]!);
  const shared = (op as ReturnType<typeof coreOp>).inPlace!(attrs, inputs);
  expect(shared.length).toBeGreaterThan(0);
  for (const operand of shared) expect(runInPlace(kind, attrs, inputs, operand)).toEqual(want);
});
