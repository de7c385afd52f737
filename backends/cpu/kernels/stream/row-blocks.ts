/**
 * Which output rows a stream function computes together. Every row has its own address in the code, so that any choice is free at run
 * time; what differs is how often columns are loaded, since a block loads each column that any of its rows needs once.
 */
import { tapsOf } from '../../../../compiler/core/window.js';
import { clusterRows } from '../../../../compiler/layouts/cluster-rows.js';
import type { StreamProduct } from './product.js';

/** Rows of a block: as many as registers hold, or fewer so that blocks of 4, 8 or 16 rows on the same columns are not cut. */
const heights = (most: number): readonly number[] => [most, ...[28, 24, 16, 8, 4].filter((h) => h < most && 2 * h > most)];
/** Below this density columns have so few non-zeros in a block that their loads cost more than the multiply-adds. */
const CLUSTERED_DENSITY = 0.075;
/** Array elements that the search for common columns may touch in a layer: about a tenth of a second. */
const SEARCH = 2e7;

/** Columns looked at to compare heights. */
const SAMPLE = 256;

export interface RowBlocks {
  readonly height: number;
  readonly blocks: readonly (readonly number[])[];
  /** Column loads of one tile, estimated from a sample of the columns. */
  readonly loads: number;
}

const cut = (order: readonly number[], height: number): number[][] => Array.from({ length: Math.ceil(order.length / height) }, (_, b) => order.slice(b * height, (b + 1) * height));

/** Loads of every `step`-th column by blocks of `height` rows of each group: those in which some row has a non-zero. */
function loadsOf({ weights, rows, group }: StreamProduct, columns: number, step: number, height: number): number {
  const perGroup = rows / group;
  let loads = 0;
  for (let c = 0; c < columns; c += step) for (let first = 0; first < rows;) {
    const end = Math.min(first + height, (Math.floor(first / perGroup) + 1) * perGroup), base = c * rows;
    let r = first;
    while (r < end && weights[base + r] === 0) r++;
    if (r < end) loads++;
    first = end;
  }
  return loads;
}

/** Rows in order, in the height that loads least, `most` rows at most. A block has rows of one group, whose channels it reads. */
export function plainRowBlocks(p: StreamProduct, most: number): RowBlocks {
  const columns = tapsOf(p.window).length * p.depth, step = Math.max(1, Math.floor(columns / SAMPLE));
  // of blocks that load alike (dense ones), even ones spread the loads over more multiply-adds
  const perGroup = p.rows / p.group, even = Math.ceil(perGroup / Math.ceil(perGroup / most));
  const tried = [even, ...heights(most)].map((height) => ({ height, loads: loadsOf(p, columns, step, height) }));
  const { height, loads } = tried.reduce((best, t) => (t.loads < best.loads ? t : best));
  const groups = cut(Array.from({ length: p.rows }, (_, r) => r), perGroup);
  return { height, blocks: groups.flatMap((g) => cut(g, height)), loads: (loads * columns) / Math.ceil(columns / step) };
}

/** The rows of one group as a mask of its own. */
function maskOf(p: StreamProduct, group: readonly number[]): { readonly rows: number; readonly cols: number; readonly bits: Uint8Array } {
  const cols = tapsOf(p.window).length * p.depth, bits = new Uint8Array(group.length * cols);
  for (let c = 0; c < cols; c++) group.forEach((r, i) => { bits[i * cols + c] = p.weights[c * p.rows + r] === 0 ? 0 : 1; });
  return { rows: group.length, cols, bits };
}

/** The blocks of a layer's functions: rows with common columns together, where rows are so sparse that this pays. */
export function rowBlocks(p: StreamProduct, density: number, most: number): readonly (readonly number[])[] {
  const { height, blocks } = plainRowBlocks(p, most);
  if (density >= CLUSTERED_DENSITY || density === 0 || heights(most).some((h) => h < most && h === height)) return blocks;
  return cut(Array.from({ length: p.rows }, (_, r) => r), p.rows / p.group).flatMap((group) => {
    const { order } = clusterRows(maskOf(p, group), height, SEARCH / p.group);
    return cut(order.map((r) => group[r]!), height);
  });
}
