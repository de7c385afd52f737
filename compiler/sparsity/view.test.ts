import { expect, test } from 'vitest';
import { convView, linearView, matmulView, matrixShape, toMatrices, toTensorMask, type View } from './view.js';
import { supportOf } from './matrix.js';

const iota = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

test('a convolution in both orders of columns, from both layouts of its weights', () => {
  // weight of output o, input i, tap t
  const value = (o: number, i: number, t: number): number => 100 * o + 10 * i + t + 1;
  const oihw = [0, 1].flatMap((o) => [0, 1, 2].flatMap((i) => [0, 1, 2, 3].map((t) => value(o, i, t))));
  const hwio = [0, 1, 2, 3].flatMap((t) => [0, 1, 2].flatMap((i) => [0, 1].map((o) => value(o, i, t))));
  const crs = [0, 1].flatMap((o) => [0, 1, 2].flatMap((i) => [0, 1, 2, 3].map((t) => value(o, i, t))));
  const rsc = [0, 1].flatMap((o) => [0, 1, 2, 3].flatMap((t) => [0, 1, 2].map((i) => value(o, i, t))));
  const flat = (data: number[], v: View): number[] => [...toMatrices(data, v)[0]!.data];
  expect(flat(oihw, convView([2, 3, 2, 2], 'oihw', 1, 'crs'))).toEqual(crs);
  expect(flat(oihw, convView([2, 3, 2, 2], 'oihw', 1, 'rsc'))).toEqual(rsc);
  expect(flat(hwio, convView([2, 2, 3, 2], 'hwio', 1, 'crs'))).toEqual(crs);
  expect(flat(hwio, convView([2, 2, 3, 2], 'hwio', 1, 'rsc'))).toEqual(rsc);
});

test('groups are matrices of their own, a depthwise convolution is one', () => {
  const v = convView([4, 2, 3], 'oihw', 2);
  expect([v.groups, matrixShape(v)]).toEqual([2, { rows: 2, cols: 6, kernel: 3 }]);
  expect([...toMatrices(iota(24), v)[1]!.data]).toEqual([13, 16, 14, 17, 15, 18, 19, 22, 20, 23, 21, 24]);
  expect(matrixShape(convView([8, 1, 3, 3], 'oihw', 8))).toEqual({ rows: 8, cols: 9, kernel: 9 });
});

test('products: outputs along rows or columns, on either side, and batches', () => {
  expect([...toMatrices(iota(6), linearView([2, 3], 'cols'))[0]!.data]).toEqual([1, 4, 2, 5, 3, 6]);
  expect([...toMatrices(iota(6), linearView([2, 3], 'rows'))[0]!.data]).toEqual([1, 2, 3, 4, 5, 6]);
  const attrs = { transA: false, transB: false, out: 'f32' as const };
  expect(matrixShape(matmulView(attrs, [5, 7], 1))).toMatchObject({ rows: 7, cols: 5 });
  expect(matrixShape(matmulView({ ...attrs, transB: true }, [5, 7], 1))).toMatchObject({ rows: 5, cols: 7 });
  expect(matrixShape(matmulView(attrs, [5, 7], 0))).toMatchObject({ rows: 5, cols: 7 });
  expect(matrixShape(matmulView({ ...attrs, transA: true }, [5, 7], 0))).toMatchObject({ rows: 7, cols: 5 });
  expect(toMatrices(iota(12), linearView([2, 2, 3], 'cols')).map((m) => [...m.data])).toEqual([[1, 4, 2, 5, 3, 6], [7, 10, 8, 11, 9, 12]]);
});

test('a mask returns to where its weights are', () => {
  for (const v of [convView([4, 3, 2, 2], 'oihw'), convView([2, 2, 3, 4], 'hwio', 2), linearView([3, 4, 5], 'cols'), linearView([6, 2], 'rows')]) {
    const data = iota(v.shape.reduce((a, b) => a * b)).map((x) => (x % 3 === 0 ? 0 : x));
    expect([...toTensorMask(toMatrices(data, v).map((m) => supportOf(m)), v)]).toEqual(data.map((x) => (x === 0 ? 0 : 1)));
  }
});
