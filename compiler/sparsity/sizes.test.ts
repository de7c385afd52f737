import { expect, test } from 'vitest';
import { xoshiro128 } from '../io/random.js';
import { drawComplementary, packingOf, packRows } from './complementary.js';
import { countOnes, newMask, type Mask } from './matrix.js';
import { expectedPads, formatSizes, log2Choose, padsOf, type SparseSize } from './sizes.js';

const at = (sparsity: number): SparseSize => ({ rows: 1024, cols: 1024, nnz: Math.round(2 ** 20 * (1 - sparsity)), value: 32 });
const kib = (bits: number): number => Math.round(bits / 8192);

test('sizes in KiB of a 1024x1024 matrix of 32-bit values', () => {
  const rel = (s: SparseSize, gap: number): number => kib(formatSizes.relative(s, gap, expectedPads(s, gap)));
  const half = at(0.5), quarter = at(0.75), tenth = at(0.9), twentieth = at(0.95);
  expect([formatSizes.dense, formatSizes.coo32, formatSizes.csr, formatSizes.bitmap].map((f) => kib(f(half)))).toEqual([4096, 6144, 3076, 2176]);
  expect([rel(half, 4), kib(formatSizes.nOfM(half, 4))]).toEqual([2304, 2176]);
  expect([formatSizes.coo32, formatSizes.csr, formatSizes.bitmap, formatSizes.entropyBound].map((f) => kib(f(quarter)))).toEqual([3072, 1540, 1152, 1128]);
  expect([rel(quarter, 4), rel(quarter, 8), kib(formatSizes.complementary(quarter, 4))]).toEqual([1164, 1280, 1088]);
  expect([formatSizes.csr, formatSizes.bitmap, formatSizes.entropyBound].map((f) => kib(f(tenth)))).toEqual([618, 538, 470]);
  expect([rel(tenth, 4), rel(tenth, 8)]).toEqual([566, 512]);
  expect([formatSizes.csr, formatSizes.bitmap, formatSizes.entropyBound].map((f) => kib(f(twentieth)))).toEqual([311, 333, 241]);
  expect([rel(twentieth, 4), rel(twentieth, 8)]).toEqual([412, 256]);
});

test('the other formats, by hand on 4x8 with 6 non-zeros of 16 bits', () => {
  const s: SparseSize = { rows: 4, cols: 8, nnz: 6, value: 16 };
  expect(formatSizes.coo(s)).toBe(6 * (16 + 2 + 3));
  expect(formatSizes.csc(s)).toBe(6 * 32 + 9 * 32);
  expect(formatSizes.bsr(s, [2, 4], 2)).toBe(2 * (8 * 16 + 16) + 3 * 32);
  expect(formatSizes.ell(s, 3)).toBe(4 * 3 * 32);
  expect(formatSizes.rankedBitmap(s)).toBe(6 * 16 + 32 + 32);
  expect(formatSizes.leaf(s, [1, 1], [1, 4], 2)).toBe(8 * (2 * 16 + 4));
  expect(formatSizes.leaf(s, [2, 2], [1, 4], 1)).toBe(2 * (4 * 16 + 2));
  expect(formatSizes.graph(s, [{ rows: 2, cols: 4, bits: Uint8Array.of(1, 0, 1, 0, 0, 1, 0, 0) }])).toBe(6 * 16 + 3 * 2);
  expect(formatSizes.code(s)).toBe(96);
  expect(formatSizes.entropyBound({ ...s, nnz: 0 })).toBe(0);
});

test('zeros that the relative format stores', () => {
  const mask: Mask = { rows: 1, cols: 20, bits: Uint8Array.from({ length: 20 }, (_, i) => (i === 0 || i === 5 || i === 14 ? 1 : 0)) };
  // gaps 0, 4 and 8: of 2 bits, the second needs one zero on the way and the third two
  expect(padsOf(mask, 2)).toBe(3);
  expect(padsOf(mask, 4)).toBe(0);
});

test('log2 of binomial coefficients', () => {
  expect(log2Choose(4, 2)).toBeCloseTo(Math.log2(6), 10);
  expect(log2Choose(16, 4)).toBeCloseTo(Math.log2(1820), 9);
  expect(log2Choose(60, 30)).toBeCloseTo(Math.log2(118264581564861424), 9);
  expect([log2Choose(5, 0), log2Choose(5, 5), log2Choose(0, 0)]).toEqual([0, 0, 0]);
});

test('drawn complementary masks partition the columns of each group and give every filter equal work', () => {
  for (const [rows, cols, filters] of [[16, 64, 4], [8, 30, 8], [10, 21, 5]] as const) {
    const mask = drawComplementary(rows, cols, filters, xoshiro128(3));
    for (let top = 0; top < rows; top += filters) for (let j = 0; j < cols; j++) expect(Array.from({ length: Math.min(filters, rows - top) }, (_, i) => mask.bits[(top + i) * cols + j]!).reduce((a, b) => a + b)).toBe(1);
    const counts = Array.from({ length: rows }, (_, r) => countOnes(mask.bits.subarray(r * cols, (r + 1) * cols)));
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    expect(packingOf(mask)).toEqual({ packs: rows / filters, free: rows / filters, ideal: rows / filters });
  }
});

test('random row-balanced masks pack badly, and packs never hold two weights in a column', () => {
  const rows = 64, cols = 64, next = xoshiro128(5), mask = newMask(rows, cols);
  for (let r = 0; r < rows; r++) for (let left = 16; left > 0;) { const j = next() % cols; if (!mask.bits[r * cols + j]) { mask.bits[r * cols + j] = 1; left--; } }
  const { packs, free, ideal } = packingOf(mask);
  expect(ideal).toBe(16);
  // 25 and 53 for the masks of the reference experiment, which this one resembles
  expect(free).toBeGreaterThan(20);
  expect(free).toBeLessThan(30);
  expect(packs).toBeGreaterThan(45);
  for (const pack of packRows(mask)) for (let j = 0; j < cols; j++) expect(pack.filter((r) => mask.bits[r * cols + j]).length).toBeLessThanOrEqual(1);
});
