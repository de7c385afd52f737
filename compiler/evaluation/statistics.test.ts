import { expect, test } from 'vitest';
import { bootstrapDelta, erfc, fairCoin, holm, mcNemar, meanHeight, quantile, spearman } from './statistics.js';

test.each([ // values of C's erfc
  [0, 1], [0.1, 0.8875370839817152], [1, 0.15729920705028513], [1.9, 0.0072095707647425325], [2, 0.004677734981047265], [3, 2.2090496998585438e-5],
  [10, 2.088487583762545e-45], [-0.5, 1.5204998778130465],
])('erfc(%d) = %d', (x, want) => {
  expect(Math.abs(erfc(x) / want - 1)).toBeLessThan(1e-12);
});

test('a fair coin, by counting', () => {
  expect(fairCoin(3, 10)).toBeCloseTo(352 / 1024, 14);
  expect(fairCoin(7, 10)).toBe(fairCoin(3, 10));
  expect(fairCoin(0, 24)).toBeCloseTo(2 ** -23, 20);
  expect(fairCoin(7, 20)).toBeCloseTo(0.26317596435546875, 14);
  expect([fairCoin(0, 0), fairCoin(5, 10)]).toEqual([1, 1]);
});

test('McNemar: exact below 25 disagreements, chi-square with continuity correction from there', () => {
  for (const [x, y] of [[12, 30], [30, 12]] as const) {
    const m = mcNemar(x, y);
    expect(m.chi2).toBeCloseTo(6.880952, 6);
    expect(m.p).toBeCloseTo(0.008711912962379598, 12);
  }
  expect(mcNemar(0, 24)).toEqual({ onlyA: 0, onlyB: 24, p: fairCoin(0, 24) });
  expect(mcNemar(0, 0).p).toBe(1);
  expect(mcNemar(20, 20)).toMatchObject({ chi2: 0, p: 1 });
});

test('Holm: each p times the number of hypotheses left, never falling', () => {
  const adjusted = holm([0.01, 0.04, 0.03, 0.005]);
  [0.03, 0.06, 0.06, 0.02].forEach((want, i) => expect(adjusted[i]).toBeCloseTo(want, 12));
  expect(holm([0.9, 0.8])).toEqual([1, 1]);
  expect(holm([])).toEqual([]);
});

test('the bootstrap interval of a paired difference is about the normal one, and is the same at every run', () => {
  const n = 2000, onlyA = 120, onlyB = 60, delta = (onlyB - onlyA) / n, deviation = Math.sqrt(((onlyA + onlyB) / n - delta ** 2) / n);
  const { low, high } = bootstrapDelta(onlyA, onlyB, n);
  expect(Math.abs(low - (delta - 1.96 * deviation))).toBeLessThan(0.2 * deviation);
  expect(Math.abs(high - (delta + 1.96 * deviation))).toBeLessThan(0.2 * deviation);
  expect(bootstrapDelta(onlyA, onlyB, n)).toEqual({ low, high });
  expect(bootstrapDelta(0, 0, 10)).toEqual({ low: 0, high: 0 });
  expect(bootstrapDelta(10, 0, 10)).toEqual({ low: -1, high: -1 });
});

test('quantiles, rank correlation with ties, area', () => {
  expect([quantile([1, 2, 4], 0.5), quantile([1, 2, 4], 0.75), quantile([1, 2, 4], 1), quantile([7], 0.3)]).toEqual([2, 3, 4, 7]);
  expect(spearman([1, 2, 3, 4], [10, 100, 1000, 1e9])).toBeCloseTo(1, 12);
  expect(spearman([1, 2, 3, 4], [4, 3, 2, 1])).toBeCloseTo(-1, 12);
  expect(spearman([1, 2, 2, 3], [1, 3, 2, 4])).toBeCloseTo(4.5 / Math.sqrt(4.5 * 5), 12);
  expect(spearman([1, 1], [1, 2])).toBe(null);
  expect(meanHeight([{ x: 0, y: 1 }, { x: 0.1, y: 1 }, { x: 0.5, y: 0 }])).toBeCloseTo((0.1 + 0.2) / 0.5, 12);
  expect(meanHeight([{ x: 0.2, y: 0.7 }])).toBe(0.7);
});
