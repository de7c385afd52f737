import { expect, test } from 'vitest';
import type { DType } from '../ir/dtype.js';
import { denseData, tensorOf, toNumbers, type DenseTensor, type Tensor } from '../ir/tensor.js';
import { elementCount } from '../ir/types.js';
import { evaluateNode } from '../kir/evaluate.js';
import { generator, randomTensor } from '../../test/support/operator-case.js';
import { coreOp, type OpAttrs, type OpKind } from './index.js';
import type { PoolAttrs } from './pool.js';

/** Runs a core operator on its own; returns all outputs. */
const run = <K extends OpKind>(kind: K, attrs: OpAttrs[K], ...inputs: Tensor[]): DenseTensor[] =>
  evaluateNode(kind, attrs, inputs, coreOp(kind).infer(attrs, inputs));
const transposed = (t: Tensor, perm: readonly number[]): DenseTensor => run('transpose', { perm }, t)[0]!;
const numbers = (t: Tensor | undefined): number[] => toNumbers(t!);
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
/** [N, C, spatial...] to [N, spatial..., C], and weights [O, C, spatial...] to [spatial..., C, O] with `swap`. */
const toLast = (rank: number): number[] => [0, ...range(rank).map((d) => d + 2), 1];
const weightsToLast = (rank: number, swap: boolean): number[] => [...range(rank).map((d) => d + 2), ...(swap ? [1, 0] : [0, 1])];

function drawWindows(seed: number) {
  const random = generator(seed), pick = (n: number): number => Math.floor(random() * n), rank = 1 + (seed % 3);
  const kernel = range(rank).map(() => 1 + pick(3));
  return {
    pick, rank, kernel,
    windows: {
      strides: range(rank).map(() => 1 + pick(3)), dilations: range(rank).map(() => 1 + pick(2)),
      pads: kernel.map((k): readonly [number, number] => [pick(k), pick(k)]),
    },
    extents: range(rank).map(() => 5 + pick(3)),
  };
}

test.each(range(12))('channels last computes the same convolution, pool and transposed convolution (%i)', (seed) => {
  const { pick, rank, kernel, windows, extents } = drawWindows(seed);
  const group = [1, 2, 3][pick(3)]!, per = 1 + pick(2), out = 1 + pick(2);
  const x = randomTensor('f32', [2, group * per, ...extents]), last = transposed(x, toLast(rank));
  const back = [0, rank + 1, ...range(rank).map((d) => d + 1)];
  const conv = { ...windows, group, out: 'f32' } as const;
  const w = randomTensor('f32', [group * out, per, ...kernel], -1, 1, 2);
  expect(transposed(run('conv', { ...conv, layout: 'nsc' }, last, transposed(w, weightsToLast(rank, true)))[0]!, back))
    .toEqual(run('conv', { ...conv, layout: 'ncs' }, x, w)[0]);
  const wt = randomTensor('f32', [group * per, out, ...kernel], -1, 1, 3), outputPadding = kernel.map(() => 0);
  expect(transposed(run('convTranspose', { ...conv, outputPadding, layout: 'nsc' }, last, transposed(wt, weightsToLast(rank, false)))[0]!, back))
    .toEqual(run('convTranspose', { ...conv, outputPadding, layout: 'ncs' }, x, wt)[0]);
  const pool = { ...windows, kernel, mode: 'max', ceil: pick(2) === 1, countIncludePad: false, indices: 'column-major' } as const;
  expect(run('pool', { ...pool, layout: 'nsc' }, last).map((t) => transposed(t, back))).toEqual(run('pool', { ...pool, layout: 'ncs' }, x));
});

/** Pooling by its definition: every window element by element. */
function poolTruth(a: PoolAttrs, x: Tensor, output: readonly number[]): number[] {
  const data = numbers(x), extents = x.shape.slice(2), rank = extents.length, plane = elementCount(extents);
  const unravel = (i: number, shape: readonly number[]): number[] => shape.map((_, d) => Math.floor(i / elementCount(shape.slice(d + 1))) % shape[d]!);
  return range(elementCount(output)).map((i) => {
    const [n, c, ...at] = unravel(i, output), values: number[] = [];
    let counted = 0;
    for (let t = 0; t < elementCount(a.kernel); t++) {
      const tap = unravel(t, a.kernel), source = range(rank).map((d) => at[d]! * a.strides[d]! - a.pads[d]![0] + tap[d]! * a.dilations[d]!);
      const inside = source.every((s, d) => s >= 0 && s < extents[d]!);
      if (inside) values.push(data[(n! * x.shape[1]! + c!) * plane + source.reduce((e, s, d) => e * extents[d]! + s, 0)]!);
      if (inside || (a.countIncludePad && source.every((s, d) => s >= -a.pads[d]![0] && s < extents[d]! + a.pads[d]![1]))) counted++;
    }
    const sum = values.reduce((s, v) => s + v, 0);
    return a.mode === 'max' ? Math.max(...values) : a.mode === 'sum' ? sum : sum / counted;
  });
}

test.each(range(18))('pooling by its definition (%i)', (seed) => {
  const { pick, kernel, windows, extents } = drawWindows(seed + 50);
  const x = randomTensor('f32', [2, 2, ...extents]);
  for (const mode of ['max', 'average', 'sum'] as const) {
    const attrs: PoolAttrs = { ...windows, kernel, mode, ceil: pick(2) === 1, countIncludePad: pick(2) === 1, layout: 'ncs' };
    const [y] = run('pool', attrs, x), truth = poolTruth(attrs, x, y!.shape);
    numbers(y).forEach((v, i) => expect(v).toBeCloseTo(truth[i]!, 4));
  }
});

test('maxima of integers; the first of several; windows of the whole input', () => {
  const window = { strides: [1], dilations: [1], pads: [[0, 0]], ceil: false, countIncludePad: false, layout: 'ncs', mode: 'max' } as const;
  const x = tensorOf('i8', [1, 1, 5], [-128, -7, -3, -3, -9]);
  expect(run('pool', { ...window, kernel: [3], indices: 'row-major' }, x).map(numbers)).toEqual([[-3, -3, -3], [2, 2, 2]]);
  expect(numbers(run('pool', { ...window, kernel: [5] }, x)[0])).toEqual([-3]);
  expect(run('pool', { ...window, kernel: [5] }, tensorOf('f32', [0, 3, 5], []))[0]!.shape).toEqual([0, 3, 1]);
  expect(() => run('pool', { ...window, kernel: [6] }, x)).toThrow(/larger than the padded input/);
});

test.each(['f32', 'f64', 'f16', 'bf16'] as const)('softmax of %s rows', (dtype) => {
  const x = randomTensor(dtype, [3, 5, 4], -40, 40), shape = x.shape, source = numbers(x);
  const tolerance = { f32: 1e-6, f64: 1e-12, f16: 1e-3, bf16: 8e-3 }[dtype];
  for (const axis of [0, 1, 2]) {
    const stride = elementCount(shape.slice(axis + 1)), row = (i: number): number[] =>
      range(shape[axis]!).map((j) => source[i - (Math.floor(i / stride) % shape[axis]!) * stride + j * stride]!);
    const soft = numbers(run('softmax', { axis, mode: 'soft' }, x)[0]), log = numbers(run('softmax', { axis, mode: 'log' }, x)[0]);
    const hard = numbers(run('softmax', { axis, mode: 'hard' }, x)[0]);
    source.forEach((v, i) => {
      const top = Math.max(...row(i)), total = row(i).reduce((s, e) => s + Math.exp(e - top), 0), want = Math.exp(v - top) / total;
      expect(Math.abs(soft[i]! - want)).toBeLessThanOrEqual(tolerance);
      expect(Math.abs(log[i]! - (v - top - Math.log(total)))).toBeLessThanOrEqual(tolerance * 100);
      expect(hard[i]).toBe(v === top && row(i).indexOf(v) === Math.floor(i / stride) % shape[axis]! ? 1 : 0);
    });
  }
});

test.each(['f32', 'f64', 'f16'] as const)('normalisation of %s', (dtype) => {
  // far from zero: the variance must not be the difference of two large numbers
  const x = randomTensor(dtype, [2, 3, 8], 100, 104), source = numbers(x);
  const y = numbers(run('normalize', { axes: [0, 2], epsilon: 1e-3, center: true }, x)[0]);
  const rms = numbers(run('normalize', { axes: [2], epsilon: 1e-3, center: false }, x)[0]);
  for (const c of range(3)) {
    const mine = range(48).filter((i) => Math.floor(i / 8) % 3 === c), mean = mine.reduce((s, i) => s + source[i]!, 0) / 16;
    const deviation = Math.sqrt(mine.reduce((s, i) => s + (source[i]! - mean) ** 2, 0) / 16 + 1e-3);
    mine.forEach((i) => expect(Math.abs(y[i]! - (source[i]! - mean) / deviation)).toBeLessThan({ f32: 1e-3, f64: 1e-9, f16: 4e-3 }[dtype]));
  }
  const square = Math.sqrt(source.slice(0, 8).reduce((s, v) => s + v * v, 0) / 8 + 1e-3);
  range(8).forEach((i) => expect(Math.abs(rms[i]! - source[i]! / square)).toBeLessThan(2e-3));
});

test('quantisation rounds halves to even, saturates, and gives NaN the smallest value', () => {
  const x = tensorOf('f32', [8], [0.5, 1.5, 2.5, -0.5, 1e9, -1e9, NaN, -1.5]), scale = tensorOf('f32', [], [1]);
  expect(numbers(run('quantize', { out: 'u8' }, x, scale, tensorOf('u8', [], [3]))[0])).toEqual([3, 5, 5, 3, 255, 0, 0, 1]);
  expect(numbers(run('quantize', { out: 'i8' }, x, scale)[0])).toEqual([0, 2, 2, 0, 127, -128, -128, -2]);
  expect(numbers(run('quantize', { out: 'i16' }, x, scale)[0])).toEqual([0, 2, 2, 0, 32767, -32768, -32768, -2]);
});

test('dequantisation subtracts exactly, per channel', () => {
  const q = tensorOf('u8', [2, 3], [0, 128, 255, 1, 2, 3]);
  const y = run('dequantize', { out: 'f32' }, q, tensorOf('f32', [2, 1], [0.5, 2]), tensorOf('u8', [2, 1], [128, 3]))[0];
  expect(numbers(y)).toEqual([-64, 0, 63.5, -4, -2, 0]);
  const big = tensorOf('u32', [1], [4294967295]);
  expect(numbers(run('dequantize', { out: 'f64' }, big, tensorOf('f64', [], [1]), tensorOf('u32', [], [4294967290]))[0])).toEqual([5]);
});

test('integer convolution is exact in 32 bits, with groups and padding', () => {
  const x = randomTensor('i16', [1, 4, 6], -255, 256), w = randomTensor('i8', [4, 2, 3], -128, 128, 2);
  const y = run('conv', { strides: [1], dilations: [1], pads: [[1, 1]], group: 2, layout: 'ncs', out: 'i32' }, x, w)[0]!;
  const [a, b] = [numbers(x), numbers(w)];
  const truth = range(24).map((i) => {
    const o = Math.floor(i / 6), p = i % 6;
    let sum = 0;
    for (const c of range(2)) for (const k of range(3)) if (p + k - 1 >= 0 && p + k - 1 < 6) sum += a[(Math.floor(o / 2) * 2 + c) * 6 + p + k - 1]! * b[(o * 2 + c) * 3 + k]!;
    return sum;
  });
  expect(numbers(y)).toEqual(truth);
});

test('samples at absurd coordinates stay inside the image', () => {
  const x = randomTensor('f32', [1, 1, 3, 4]);
  const wild = [NaN, Infinity, -Infinity, 1e30, -1e30, 0.5].flatMap((a) => [[a, 1], [1, a]]).flat();
  const grid = tensorOf('f32', [1, 12, 1, 2], wild);
  for (const mode of ['nearest', 'linear', 'cubic'] as const) {
    for (const padding of ['zeros', 'border', 'reflection'] as const) {
      const y = numbers(run('gridSample', { mode, padding, alignCorners: false }, x, grid)[0]);
      expect(y.filter(Number.isFinite)).toHaveLength(12);
    }
  }
  const rois = tensorOf('f32', [4, 4], [NaN, 0, 1, 1, -1e30, -1e30, 1e30, 1e30, 5, 5, 1, 1, 0, 0, Infinity, 1]);
  const regions = run('roiAlign', { mode: 'average', outputSize: [1, 1], samplingRatio: 2, scale: 1, offset: 0.5 }, x, rois, tensorOf('i64', [4], [0, 0, 7, -9]))[0]!;
  expect(regions.shape).toEqual([4, 1, 1, 1]);
});

test('determinants: permutations, singular matrices, the empty matrix', () => {
  const det = (n: number, ...values: number[]): number => numbers(run('determinant', {}, tensorOf('f64', [n, n], values))[0])[0]!;
  expect(det(3, 0, 0, 1, 1, 0, 0, 0, 1, 0)).toBe(1);
  expect(det(2, 1, 2, 2, 4)).toBeCloseTo(0, 12);
  expect(det(3, 2, -1, 0, -1, 2, -1, 0, -1, 2)).toBeCloseTo(4, 12);
  expect(det(0)).toBe(1);
});

test('resampling copies bit for bit where there is one tap, for every type', () => {
  for (const dtype of ['u8', 'i64', 'f16', 'bool'] as DType[]) {
    const x = tensorOf(dtype, [2, 3], [1, 0, 1, 1, 1, 0]);
    const y = run('resample', { axes: [{ axis: 1, taps: 1, index: [0, 0, 2, 2, 1] }] }, x)[0]!;
    const source = denseData(x);
    expect([...denseData(y)]).toEqual([0, 3].flatMap((row) => [0, 0, 2, 2, 1].map((i) => source[row + i]!)));
  }
});
