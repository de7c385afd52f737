import fc from 'fast-check';
import { expect, test } from 'vitest';
import { xoshiro128 } from '../io/random.js';
import { clusterRows, type RowMask } from './cluster-rows.js';

function randomMask(seed: number, rows: number, cols: number, density: number): RowMask {
  const next = xoshiro128(seed), bits = new Uint8Array(rows * cols);
  for (let i = 0; i < bits.length; i++) bits[i] = next() / 2 ** 32 < density ? 1 : 0;
  return { rows, cols, bits };
}

function loads({ cols, bits }: RowMask, rowsPerBlock: number, order: readonly number[]): number {
  const needed = new Set<number>();
  order.forEach((r, i) => { for (let c = 0; c < cols; c++) if (bits[r * cols + c]) needed.add(Math.floor(i / rowsPerBlock) * cols + c); });
  return needed.size;
}

const identity = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

const masks = fc.tuple(fc.integer(), fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 40 }), fc.constantFrom(0, 0.05, 0.2, 0.6, 1))
  .map(([seed, rows, cols, density]) => randomMask(seed, rows, cols, density));

test('a permutation that is never worse than the given order, which is kept where nothing is gained', () => {
  fc.assert(fc.property(masks, fc.integer({ min: 1, max: 45 }), fc.constantFrom(0, 100, 1000, 10000, 1e8), (mask, rowsPerBlock, operations) => {
    const { order, loadsBefore, loadsAfter } = clusterRows(mask, rowsPerBlock, operations);
    expect([...order].sort((a, b) => a - b)).toEqual(identity(mask.rows));
    expect(loadsBefore).toBe(loads(mask, rowsPerBlock, identity(mask.rows)));
    expect(loadsAfter).toBe(loads(mask, rowsPerBlock, order));
    expect(loadsAfter).toBeLessThanOrEqual(loadsBefore);
    if (loadsAfter === loadsBefore) expect(order).toEqual(identity(mask.rows));
  }), { seed: 3, numRuns: 300 });
});

test('no swap of two rows would improve what a search without bounds finds', () => {
  fc.assert(fc.property(masks, fc.integer({ min: 2, max: 8 }), (whole, rowsPerBlock) => {
    const rows = Math.min(whole.rows, 18), mask = { ...whole, rows, bits: whole.bits.slice(0, rows * whole.cols) };
    const { order, loadsAfter } = clusterRows(mask, rowsPerBlock, Infinity);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < i; j++) {
        const swapped = [...order];
        [swapped[i], swapped[j]] = [order[j]!, order[i]!];
        expect(loads(mask, rowsPerBlock, swapped)).toBeGreaterThanOrEqual(loadsAfter);
      }
    }
  }), { seed: 4, numRuns: 150 });
});

test('planted clusters are recovered; rows of no cluster come last', () => {
  const next = xoshiro128(11), rowsPerBlock = 31, clusters = 8, clusterOf = Array.from({ length: clusters * rowsPerBlock + 12 }, (_, i) => Math.floor(i / rowsPerBlock));
  for (let i = clusterOf.length - 1; i > 0; i--) {
    const j = next() % (i + 1);
    [clusterOf[i], clusterOf[j]] = [clusterOf[j]!, clusterOf[i]!];
  }
  // Each cluster uses 40 columns, 7 of them also used by the next; a row has half of its cluster's. The 12 others have one each.
  const cols = 300, bits = new Uint8Array(clusterOf.length * cols);
  clusterOf.forEach((k, r) => {
    if (k === clusters) bits[r * cols + next() % cols] = 1;
    else for (let c = k * 33; c < k * 33 + 40; c++) bits[r * cols + c] = next() % 2;
  });
  const { order, loadsBefore, loadsAfter } = clusterRows({ rows: clusterOf.length, cols, bits }, rowsPerBlock);
  for (let i = 0; i < order.length; i += rowsPerBlock) expect(new Set(order.slice(i, i + rowsPerBlock).map((r) => clusterOf[r])).size).toBe(1);
  expect(loadsAfter).toBeLessThanOrEqual(clusters * 40 + 12);
  expect(loadsBefore).toBeGreaterThan(6 * loadsAfter);
});

test('blocks that are best as they are stay', () => {
  const bits = Uint8Array.from({ length: 64 * 64 }, (_, i) => (Math.floor(i / 64 / 16) === Math.floor((i % 64) / 16) ? 1 : 0));
  expect(clusterRows({ rows: 64, cols: 64, bits }, 16)).toEqual({ order: identity(64), loadsBefore: 64, loadsAfter: 64 });
});

test('random masks gain what the documentation states', () => {
  const saved = (n: number, density: number): number => {
    const { loadsBefore, loadsAfter } = clusterRows(randomMask(7, n, n, density), 31);
    return 1 - loadsAfter / loadsBefore;
  };
  expect(saved(512, 0.1)).toBeCloseTo(0.09, 2);
  expect(saved(512, 0.05)).toBeCloseTo(0.17, 2);
  expect(saved(512, 0.02)).toBeCloseTo(0.24, 2);
  expect(saved(2048, 0.05)).toBeCloseTo(0.106, 2);
});

test('a block has at least one row', () => {
  expect(() => clusterRows(randomMask(1, 4, 4, 0.5), 0)).toThrow('0 rows are no block');
});
