import { expect, test } from 'vitest';
import { xoshiro128 } from '../io/random.js';
import { nearestDensity, ramanujanBound, ramanujanGraph, secondSingularValue } from './biregular.js';
import { countOnes, fullMask, kronecker, newMask, type Mask } from './matrix.js';
import { parsePattern } from './parse.js';
import { graphProduct, rbgp4Factors } from './rbgp.js';

const degrees = (m: Mask): { rows: Set<number>; cols: Set<number> } => ({
  rows: new Set(Array.from({ length: m.rows }, (_, i) => countOnes(m.bits.subarray(i * m.cols, (i + 1) * m.cols)))),
  cols: new Set(Array.from({ length: m.cols }, (_, j) => m.bits.reduce((s, b, i) => s + (i % m.cols === j ? b : 0), 0))),
});

/** All singular values, by Jacobi's method on the Gram matrix: slow, independent. */
function singularValues(m: Mask): number[] {
  const n = m.cols, a = Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_x, j) => { let s = 0; for (let r = 0; r < m.rows; r++) s += m.bits[r * n + i]! * m.bits[r * n + j]!; return s; }));
  for (let sweep = 0; sweep < 30; sweep++) {
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        if (Math.abs(a[p]![q]!) < 1e-14) continue;
        const theta = (a[q]![q]! - a[p]![p]!) / (2 * a[p]![q]!), t = Math.sign(theta || 1) / (Math.abs(theta) + Math.hypot(theta, 1)), c = 1 / Math.hypot(t, 1), s = t * c;
        for (let k = 0; k < n; k++) { const x = a[k]![p]!, y = a[k]![q]!; a[k]![p] = c * x - s * y; a[k]![q] = s * x + c * y; }
        for (let k = 0; k < n; k++) { const x = a[p]![k]!, y = a[q]![k]!; a[p]![k] = c * x - s * y; a[q]![k] = s * x + c * y; }
      }
    }
  }
  return a.map((row, i) => Math.sqrt(Math.max(row[i]!, 0))).sort((x, y) => y - x);
}

test.each([[32, 128, 1 / 2], [32, 32, 1 / 4], [16, 16, 1 / 2], [12, 20, 1 / 2], [30, 50, 0.3], [24, 24, 5 / 24]])('%ix%i of density %f is biregular and Ramanujan', (rows, cols, density) => {
  const g = ramanujanGraph(rows, cols, density, xoshiro128(7));
  expect(degrees(g.graph)).toEqual({ rows: new Set([Math.round(density * cols)]), cols: new Set([Math.round(density * rows)]) });
  const [first, second] = singularValues(g.graph);
  expect(first).toBeCloseTo(Math.sqrt(g.leftDegree * g.rightDegree), 6);
  expect(g.sigma2).toBeCloseTo(second!, 2);
  expect(second).toBeLessThanOrEqual(g.bound + 1e-6);
  expect(g.bound).toBe(ramanujanBound(g.leftDegree, g.rightDegree));
});

test('the same seed gives the same graph, another seed another', () => {
  const bits = (seed: number): string => ramanujanGraph(16, 16, 0.25, xoshiro128(seed)).graph.bits.join('');
  expect(bits(1)).toBe(bits(1));
  expect(bits(1)).not.toBe(bits(2));
});

test('a graph that falls apart fails the spectral test', () => {
  const half = kronecker({ rows: 2, cols: 2, bits: Uint8Array.of(1, 0, 0, 1) }, fullMask(8, 8));
  expect(secondSingularValue(half, xoshiro128(1))).toBeCloseTo(8, 6);
  expect(ramanujanBound(8, 8)).toBeLessThan(8);
  expect(secondSingularValue(fullMask(6, 9), xoshiro128(1))).toBeCloseTo(0, 6);
  expect(secondSingularValue(newMask(3, 3), xoshiro128(1))).toBe(0);
});

test('densities of a size are multiples of 1 / gcd', () => {
  expect(nearestDensity(12, 20, 0.3)).toBe(0.25);
  expect(nearestDensity(7, 9, 0.3)).toBe(1);
  expect(() => ramanujanGraph(7, 9, 0.3, xoshiro128(1))).toThrow('no biregular graph of 7x9');
});

test('RBGP4: density is the product, rows and columns are balanced, sigma2 of the product swaps one first singular value for a second', () => {
  const { pattern, spectra } = graphProduct([{ rows: 4, cols: 8, density: 0.5 }, { rows: 2, cols: 1, density: 1 }, { rows: 4, cols: 4, density: 0.5 }, { rows: 1, cols: 2, density: 1 }], xoshiro128(5));
  const mask = pattern.factors.reduce(kronecker), firsts = spectra.map((s) => Math.sqrt(s.leftDegree * s.rightDegree));
  expect(countOnes(mask.bits) / mask.bits.length).toBe(0.25);
  expect(degrees(mask)).toEqual({ rows: new Set([16]), cols: new Set([8]) });
  const product = firsts.reduce((a, b) => a * b);
  const expected = Math.max(...spectra.map((s, i) => (product / firsts[i]!) * s.sigma2));
  const [first, second] = singularValues(mask);
  expect(first).toBeCloseTo(product, 5);
  expect(second).toBeCloseTo(expected, 3);
});

test.each([[2048, 2048, 0.25], [768, 3072, 0.1], [512, 4608, 0.2], [256, 64, 0.3], [64, 64, 0.5]])('factors for %ix%i of density %f multiply to it', (rows, cols, density) => {
  const factors = rbgp4Factors({ rows, cols }, density), times = (of: (f: (typeof factors)[number]) => number): number => factors.reduce((p, f) => p * of(f), 1);
  expect(factors).toHaveLength(4);
  expect([times((f) => f.rows), times((f) => f.cols)]).toEqual([rows, cols]);
  expect(Math.abs(times((f) => f.density) / density - 1)).toBeLessThan(0.06);
});

test('sizes without factors of two are refused', () => {
  expect(() => parsePattern('rbgp4:0.9').resolve({ rows: 7, cols: 9 }, 1)).toThrow('no product of sparse graphs');
});
