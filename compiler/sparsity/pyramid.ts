/** Counts of a grid under every tile size of interest, each made from the counts under a divisor of it: far cheaper than counting the grid again. */
import type { Mask } from './matrix.js';
import type { Extent } from './pattern.js';

/** A mask at the bottom, 32 bits above: more types would make every loop over them slow. */
export type Counts = Uint8Array | Int32Array;

/** Ones in each tile of `tile` cells; tiles over the edge are cut off. */
export interface TileCounts {
  readonly tile: Extent;
  readonly rows: number;
  readonly cols: number;
  readonly counts: Counts;
}

/** Tiles `times` as high. */
function foldRows(t: TileCounts, times: number): TileCounts {
  const rows = Math.ceil(t.rows / times), counts = new Int32Array(rows * t.cols);
  for (let i = 0; i < t.rows; i++) {
    const to = Math.floor(i / times) * t.cols, from = i * t.cols;
    for (let j = 0; j < t.cols; j++) counts[to + j] = counts[to + j]! + t.counts[from + j]!;
  }
  return { tile: [t.tile[0] * times, t.tile[1]], rows, cols: t.cols, counts };
}

/** Tiles `times` as wide. */
function foldCols(t: TileCounts, times: number): TileCounts {
  const cols = Math.ceil(t.cols / times), counts = new Int32Array(t.rows * cols);
  for (let i = 0, at = 0; i < t.rows; i++) {
    for (let to = i * cols, j = 0; j < t.cols; to++) {
      let sum = 0;
      for (const end = Math.min(j + times, t.cols); j < end; j++) sum += t.counts[at++]!;
      counts[to] = sum;
    }
  }
  return { tile: [t.tile[0], t.tile[1] * times], rows: t.rows, cols, counts };
}

/** The given sizes up to `extent`, and `extent` itself; ascending, with 1. */
export const sizesUpTo = (sizes: readonly number[], extent: number): number[] => [...new Set([1, ...sizes.filter((s) => s <= extent), extent])].sort((a, b) => a - b);

/**
 * Visits the counts under all tiles of `heights` x `widths` (from {@link sizesUpTo}), divisors before multiples. Where `visit` says `skip`, tiles that are
 * multiples of this one are not visited either, and neither are those for which `worthwhile` does not hold: a cheap test before counting.
 */
export function forTiles(grid: Mask, heights: readonly number[], widths: readonly number[], visit: (t: TileCounts) => 'go on' | 'skip', worthwhile: (tile: Extent) => boolean = () => true): void {
  const columns = new Map<number, TileCounts>();
  const skipped: Extent[] = [];
  const isSkipped = (y: number, x: number): boolean => skipped.some((s) => y % s[0] === 0 && x % s[1] === 0);
  const base: TileCounts = { tile: [1, 1], rows: grid.rows, cols: grid.cols, counts: grid.bits };
  const parent = (made: ReadonlyMap<number, TileCounts>, size: number): number => Math.max(...[...made.keys()].filter((k) => size % k === 0));
  for (const x of widths) {
    if (isSkipped(1, x)) continue;
    if (!worthwhile([1, x])) {
      skipped.push([1, x]);
      continue;
    }
    const wide = x === 1 ? base : foldCols(columns.get(parent(columns, x))!, x / parent(columns, x));
    columns.set(x, wide);
    const tall = new Map<number, TileCounts>();
    for (const y of heights) {
      if (isSkipped(y, x)) continue;
      if (y > 1 && !worthwhile([y, x])) {
        skipped.push([y, x]);
        continue;
      }
      const from = y === 1 ? 1 : parent(tall, y), t = y === 1 ? wide : foldRows(tall.get(from)!, y / from);
      tall.set(y, t);
      if (visit(t) === 'skip') skipped.push([y, x]);
      if (isSkipped(1, x)) break;
    }
  }
}

/** Counts under one tile. */
export function countTiles(grid: Mask, tile: Extent): TileCounts {
  return foldRows(foldCols({ tile: [1, 1], rows: grid.rows, cols: grid.cols, counts: grid.bits }, tile[1]), tile[0]);
}

/** The tiles for which `keep(ones, position)` holds. */
export function maskWhere(t: TileCounts, keep: (ones: number, at: number) => boolean): Mask {
  const bits = new Uint8Array(t.counts.length);
  for (let b = 0; b < bits.length; b++) bits[b] = keep(t.counts[b]!, b) ? 1 : 0;
  return { rows: t.rows, cols: t.cols, bits };
}
