import { expect, test } from 'vitest';
import { tensorOf } from '../ir/tensor.js';
import { compareTensors, defaultTolerance, formatComparison } from './tensor-comparison.js';

const exact = { rtol: 0, atol: 0 };
const f32 = (...x: number[]): ReturnType<typeof tensorOf> => tensorOf('f32', [x.length], x);

test('distances in units in the last place', () => {
  // Neighbours of 1 are 2^-23 above and 2^-24 below.
  expect(compareTensors(f32(1 + 2 ** -23, 1 - 2 ** -24, 1), f32(1, 1, 1), exact)).toMatchObject({ ok: false, maxAbs: 2 ** -23, maxUlp: 1, wrong: 2, worst: { index: 0 } });
  expect(compareTensors(f32(1 + 2 ** -20), f32(1), exact).maxUlp).toBe(8);
  // Across zero: the two smallest subnormals are two apart.
  expect(compareTensors(f32(2 ** -149), f32(-(2 ** -149)), exact).maxUlp).toBe(2);
  expect(compareTensors(tensorOf('f64', [1], [1 + 2 ** -52]), tensorOf('f64', [1], [1]), exact).maxUlp).toBe(1);
  expect(compareTensors(tensorOf('f16', [1], [1 + 2 ** -9]), tensorOf('f16', [1], [1]), exact).maxUlp).toBe(2);
  expect(compareTensors(tensorOf('bf16', [1], [1 + 2 ** -7]), tensorOf('bf16', [1], [1]), exact).maxUlp).toBe(1);
});

test('elements that cancel to nearly nothing count for the error, not for units in the last place', () => {
  const c = compareTensors(f32(1000, 1e-6), f32(1000, 2e-6), defaultTolerance);
  expect([c.ok, c.maxUlp]).toEqual([true, 0]);
  expect(c.maxAbs).toBeCloseTo(1e-6, 12);
});

test('tolerances: relative to the element and to the largest magnitude', () => {
  expect(compareTensors(f32(1.0009, 0), f32(1, 0), { rtol: 1e-3, atol: 0 }).ok).toBe(true);
  expect(compareTensors(f32(1.0011, 0), f32(1, 0), { rtol: 1e-3, atol: 0 }).ok).toBe(false);
  expect(compareTensors(f32(100, 9e-4), f32(100, 0), { rtol: 0, atol: 1e-5 }).ok).toBe(true);
  expect(compareTensors(f32(100, 2e-3), f32(100, 0), { rtol: 0, atol: 1e-5 }).ok).toBe(false);
});

test('not-a-number and infinities', () => {
  expect(compareTensors(f32(NaN, Infinity, -Infinity, 0), f32(NaN, Infinity, -Infinity, -0), defaultTolerance)).toMatchObject({ ok: true, maxAbs: 0, maxUlp: 0 });
  for (const [a, b] of [[NaN, 1], [1, NaN], [Infinity, 1], [1, Infinity], [Infinity, -Infinity], [NaN, Infinity]] as const) {
    expect(compareTensors(f32(a, 5), f32(b, 5), defaultTolerance), `${a} ${b}`).toMatchObject({ ok: false, wrong: 1 });
  }
});

test('integers are exact, but for one step of 8-bit ones', () => {
  expect(compareTensors(tensorOf('i32', [1], [3]), tensorOf('i32', [1], [4]), defaultTolerance).ok).toBe(false);
  expect(compareTensors(tensorOf('i64', [1], [3]), tensorOf('i64', [1], [3]), defaultTolerance).ok).toBe(true);
  expect(compareTensors(tensorOf('u8', [1], [3]), tensorOf('u8', [1], [4]), defaultTolerance)).toMatchObject({ ok: true, maxUlp: 1 });
  expect(compareTensors(tensorOf('i8', [1], [3]), tensorOf('i8', [1], [5]), defaultTolerance).ok).toBe(false);
  expect(formatComparison(compareTensors(f32(2), f32(1), exact))).toContain('worst [0]: 2, expected 1');
});
