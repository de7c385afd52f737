/** Operators that address memory at run time: nothing may leave a buffer, whatever the indices are. */
import { expect, test } from 'vitest';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { tensorOf, toNumbers, type Tensor } from '../ir/tensor.js';
import { evaluateNode } from '../kir/evaluate.js';
import { coreOp, type OpAttrs, type OpKind } from './index.js';

function run<K extends OpKind>(kind: K, attrs: OpAttrs[K], ...inputs: Tensor[]): number[][] {
  return evaluateNode(kind, attrs, inputs, coreOp(kind).infer(attrs, inputs)).map(toNumbers);
}
const vector = (...x: number[]): Tensor => tensorOf('f32', [x.length], x);
const wild = tensorOf('i64', [5], [-9, -1, 0, 2, 9]);

test('gather: indices out of range read the nearest element', () => {
  expect(run('gather', { axis: 0 }, vector(10, 20, 30), wild)).toEqual([[10, 30, 10, 30, 30]]);
  expect(run('gatherElements', { axis: 0 }, vector(10, 20, 30, 40, 50), wild)).toEqual([[10, 50, 10, 30, 50]]);
  expect(run('gatherNd', { batchDims: 0 }, vector(10, 20, 30), { ...wild, shape: [5, 1] })).toEqual([[10, 30, 10, 30, 30]]);
});

test('gather: unsigned indices are never counted from the end', () => {
  expect(run('gather', { axis: 0 }, vector(10, 20, 30), tensorOf('u8', [2], [255, 1]))).toEqual([[30, 20]]);
});

test('gather: an empty dimension has nothing to read, unless nothing is asked for', () => {
  const empty = tensorOf('f32', [0, 2], []);
  expect(() => run('gather', { axis: 0 }, empty, wild)).toThrow(NodeProblem);
  expect(run('gather', { axis: 0 }, empty, tensorOf('i64', [0], []))).toEqual([[]]);
});

test('gather: a scalar has no dimension to gather from', () => {
  expect(() => run('gather', { axis: 0 }, tensorOf('f32', [], [1]), wild)).toThrow(NodeProblem);
});

test('gatherElements: indices are broadcast to the output shape', () => {
  const x = tensorOf('i32', [2, 3], [1, 2, 3, 4, 5, 6]);
  expect(run('gatherElements', { axis: 1, shape: [2, 3] }, x, tensorOf('i64', [1, 3], [2, 1, 0]))).toEqual([[3, 2, 1, 6, 5, 4]]);
});

test('scatter: indices out of range write the nearest element; several updates of one element run in order', () => {
  const at = tensorOf('i64', [3], [-9, 9, 9]);
  expect(run('scatterElements', { axis: 0, reduction: 'none' }, vector(0, 0, 0), at, vector(1, 2, 3))).toEqual([[1, 0, 3]]);
  expect(run('scatterElements', { axis: 0, reduction: 'add' }, vector(1, 1, 1), at, vector(1, 2, 3))).toEqual([[2, 1, 6]]);
  expect(run('scatterNd', { reduction: 'mul' }, vector(2, 2, 2), { ...at, shape: [3, 1] }, vector(1, 2, 3))).toEqual([[2, 2, 12]]);
});

test('scatterElements: other dimensions keep their coordinates', () => {
  const x = tensorOf('i32', [3, 2], [0, 0, 0, 0, 0, 0]);
  expect(run('scatterElements', { axis: 0, reduction: 'max' }, x, tensorOf('i64', [2, 2], [2, 0, 2, 1]), tensorOf('i32', [2, 2], [5, 6, 4, 7]))).toEqual([[0, 6, 0, 7, 5, 0]]);
});

test('scatter: updates must fit', () => {
  expect(() => run('scatterNd', { reduction: 'none' }, vector(1, 2), tensorOf('i64', [1, 1], [0]), vector(1, 2))).toThrow(/do not fit/);
  expect(() => run('scatterElements', { axis: 0, reduction: 'none' }, vector(1, 2), tensorOf('i64', [1], [0]), tensorOf('i32', [1], [1]))).toThrow(/updates are i32/);
});

test('slice: a box that leaves the input is refused', () => {
  expect(run('slice', { starts: [4], steps: [-2], shape: [3] }, vector(0, 1, 2, 3, 4))).toEqual([[4, 2, 0]]);
  expect(() => run('slice', { starts: [3], steps: [-2], shape: [3] }, vector(0, 1, 2, 3, 4))).toThrow(/SPC2006|leaves dimension/);
  expect(() => run('slice', { starts: [3], steps: [1], shape: [3] }, vector(0, 1, 2, 3, 4))).toThrow(NodeProblem);
});

test('pad: reflect and wrap more than once around, in one and several dimensions', () => {
  expect(run('pad', { mode: 'reflect', before: [5], after: [3] }, vector(1, 2, 3))).toEqual([[2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2]]);
  expect(run('pad', { mode: 'wrap', before: [4], after: [4] }, vector(1, 2, 3))).toEqual([[3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1]]);
  expect(run('pad', { mode: 'reflect', before: [2], after: [1] }, vector(7))).toEqual([[7, 7, 7, 7]]);
  expect(run('pad', { mode: 'constant', before: [1, 0], after: [0, 1] }, tensorOf('u8', [1, 2], [1, 2]), tensorOf('u8', [1], [9]))).toEqual([[9, 9, 9, 1, 2, 9]]);
  expect(run('pad', { mode: 'constant', before: [1], after: [1] }, vector())).toEqual([[0, 0]]);
  expect(() => run('pad', { mode: 'edge', before: [1], after: [0] }, vector())).toThrow(/empty/);
});

test('topk: equal elements keep their order, NaN comes last, k may be 0 or everything', () => {
  const x = vector(2, NaN, 3, 2, 3);
  expect(run('topk', { axis: 0, k: 3, largest: true }, x)).toEqual([[3, 3, 2], [2, 4, 0]]);
  expect(run('topk', { axis: 0, k: 5, largest: false }, x)).toEqual([[2, 2, 3, 3, NaN], [0, 3, 2, 4, 1]]);
  expect(run('topk', { axis: 0, k: 0, largest: true }, x)).toEqual([[], []]);
  expect(() => run('topk', { axis: 0, k: 6, largest: true }, x)).toThrow(NodeProblem);
});

test('argReduce: the first or the last of equal extrema, exact for 64-bit integers', () => {
  const big = 2n ** 62n;
  const x: Tensor = { kind: 'dense', dtype: 'i64', shape: [4], data: BigInt64Array.of(big, big + 1n, big + 1n, -big) };
  expect(run('argReduce', { op: 'max', axis: 0, keepdims: false, take: 'first' }, x)).toEqual([[1]]);
  expect(run('argReduce', { op: 'max', axis: 0, keepdims: true, take: 'last' }, x)).toEqual([[2]]);
  expect(() => run('argReduce', { op: 'min', axis: 0, keepdims: true, take: 'last' }, vector())).toThrow(/empty/);
});

test('cumsum: half precision is summed in single precision', () => {
  const x = tensorOf('f16', [4], [2048, 1, 1, 1]);
  // 2048 + 1 rounds back to 2048 in half precision; three of them in single do not
  expect(run('cumsum', { axis: 0, exclusive: false, reverse: false }, x)).toEqual([[2048, 2048, 2050, 2052]]);
});

test('concat and split of nothing', () => {
  const empty = tensorOf('f32', [2, 0], []);
  expect(run('concat', { axis: 1 }, empty, tensorOf('f32', [2, 1], [1, 2]), empty)).toEqual([[1, 2]]);
  expect(run('slice', { starts: [0, 0], steps: [1, 1], shape: [2, 0] }, empty)).toEqual([[]]);
});
