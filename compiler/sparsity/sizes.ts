/**
 * Sizes of sparse formats in bits. The detector does not compare these but ideal code lengths (`log2Choose`), so that it judges structure and not formats.
 */
import type { Mask } from './matrix.js';
import { edgesOf, isComplete, type Extent } from './pattern.js';

/** Bits that tell n things apart. */
export const bitsFor = (n: number): number => (n <= 1 ? 0 : Math.ceil(Math.log2(n)));

export interface SparseSize {
  readonly rows: number;
  readonly cols: number;
  readonly nnz: number;
  /** Bits of a value. */
  readonly value: number;
}

/** CSR's usual widths: 16-bit column indices where they reach, 32-bit row pointers. */
const indexBits = (cols: number): number => (cols <= 65536 ? 16 : 32);
const POINTER = 32;
const cells = (s: SparseSize): number => s.rows * s.cols;

export const formatSizes = {
  dense: (s: SparseSize): number => cells(s) * s.value,
  coo: (s: SparseSize): number => s.nnz * (s.value + bitsFor(s.rows) + bitsFor(s.cols)),
  coo32: (s: SparseSize): number => s.nnz * (s.value + 64),
  csr: (s: SparseSize): number => s.nnz * (s.value + indexBits(s.cols)) + (s.rows + 1) * POINTER,
  csc: (s: SparseSize): number => s.nnz * (s.value + indexBits(s.rows)) + (s.cols + 1) * POINTER,
  /** `blocks` non-zero blocks of `block` elements, stored whole. */
  bsr: (s: SparseSize, block: Extent, blocks: number): number => blocks * (block[0] * block[1] * s.value + indexBits(s.cols)) + (Math.ceil(s.rows / block[0]) + 1) * POINTER,
  /** Every row padded to the longest. */
  ell: (s: SparseSize, longestRow: number): number => s.rows * longestRow * (s.value + indexBits(s.cols)),
  bitmap: (s: SparseSize): number => s.nnz * s.value + cells(s),
  /** With the number of ones before every 64 bits, for random access. */
  rankedBitmap: (s: SparseSize): number => s.nnz * s.value + cells(s) + Math.ceil(cells(s) / 64) * POINTER,
  /** Distances to the previous non-zero in `gap` bits; a longer one stores `pads` zeros on the way (Han et al., EIE, 2016). */
  relative: (s: SparseSize, gap: number, pads: number): number => (s.nnz + pads) * (s.value + gap),
  /** No code of the positions of independent non-zeros is shorter on average. */
  entropyBound: (s: SparseSize): number => {
    const p = s.nnz / cells(s);
    return s.nnz * s.value + (p === 0 || p === 1 ? 0 : cells(s) * (-p * Math.log2(p) - (1 - p) * Math.log2(1 - p)));
  },
  /** keep:of, the position of each kept value in its group. */
  nOfM: (s: SparseSize, of: number): number => s.nnz * (s.value + bitsFor(of)),
  /** Values and kernel ids; no column index, as packs are dense. */
  complementary: (s: SparseSize, filters: number): number => s.nnz * (s.value + bitsFor(filters)),
  /** Partitions of `part` blocks that keep exactly `keep` of them: no pointers, because the count is constant; a list or a bitmap of positions. */
  leaf: (s: SparseSize, block: Extent, part: Extent, keep: number): number => {
    const grid = [Math.ceil(s.rows / block[0]), Math.ceil(s.cols / block[1])] as const, size = part[0] * part[1];
    return Math.ceil(grid[0] / part[0]) * Math.ceil(grid[1] / part[1]) * (keep * block[0] * block[1] * s.value + Math.min(keep * bitsFor(size), size));
  },
  /** Values, and the edges of the sparse factors: far fewer than the edges of their product. */
  graph: (s: SparseSize, factors: readonly Mask[]): number => s.nnz * s.value + factors.reduce((bits, f) => bits + (isComplete(f) ? 0 : edgesOf(f) * bitsFor(f.cols)), 0),
  /** The indices are in the instructions. */
  code: (s: SparseSize): number => s.nnz * s.value,
} as const;

/** Expected zeros that the relative format stores, for independent non-zeros. */
export function expectedPads(s: SparseSize, gap: number): number {
  const q = (1 - s.nnz / cells(s)) ** (2 ** gap);
  return (s.nnz * q) / (1 - q);
}

/** Zeros that the relative format stores for a mask read row by row. */
export function padsOf(mask: Mask, gap: number): number {
  const reach = 2 ** gap;
  let pads = 0, last = -1;
  mask.bits.forEach((b, i) => {
    if (!b) return;
    pads += Math.floor((i - last - 1) / reach);
    last = i;
  });
  return pads;
}

/** ln(n!), by Stirling's series (error below 1e-9 for n >= 16, exact sums below). */
function logFactorial(n: number): number {
  if (n < 16) {
    let product = 1;
    for (let i = 2; i <= n; i++) product *= i;
    return Math.log(product);
  }
  return n * Math.log(n) - n + 0.5 * Math.log(2 * Math.PI * n) + 1 / (12 * n) - 1 / (360 * n ** 3) + 1 / (1260 * n ** 5);
}

/** log2 of the number of ways to choose k of n: what it takes to say which, if all are equally likely. */
export const log2Choose = (n: number, k: number): number => (k <= 0 || k >= n ? 0 : (logFactorial(n) - logFactorial(k) - logFactorial(n - k)) / Math.LN2);

/** Bits of an order of n things. */
export const log2Factorial = (n: number): number => logFactorial(n) / Math.LN2;
