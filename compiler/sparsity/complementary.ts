/**
 * Complementary sparsity: filters whose supports are disjoint overlay to one dense filter (Hunter, Spracklen and Ahmad, arXiv 2112.13896). Masks that have the
 * property by construction, and how well an arbitrary mask packs.
 */
import { countOnes, newMask, type Mask } from './matrix.js';

/**
 * A random mask in which each group of `filters` rows partitions the columns, row-balanced up to one.
 * @param random 32-bit unsigned integers
 */
export function drawComplementary(rows: number, cols: number, filters: number, random: () => number): Mask {
  const mask = newMask(rows, cols);
  for (let top = 0; top < rows; top += filters) {
    const order = Array.from({ length: cols }, (_, j) => j);
    for (let j = cols - 1; j > 0; j--) {
      const k = random() % (j + 1);
      [order[j], order[k]] = [order[k]!, order[j]!];
    }
    order.forEach((column, i) => {
      const row = top + (i % filters);
      if (row < rows) mask.bits[row * cols + column] = 1;
    });
  }
  return mask;
}

/**
 * Packs of rows with disjoint supports, by greedy colouring of the conflict graph in order of decreasing non-zeros. At least as many packs are needed as the
 * fullest column has non-zeros; arbitrary masks need more.
 * @param limit most rows in a pack
 */
export function packRows(mask: Mask, limit = Infinity): number[][] {
  const row = (r: number): Uint8Array => mask.bits.subarray(r * mask.cols, (r + 1) * mask.cols);
  const supports = Array.from({ length: mask.rows }, (_, r) => Int32Array.from(Array.from(row(r).keys()).filter((j) => row(r)[j])));
  const order = [...supports.keys()].sort((a, b) => supports[b]!.length - supports[a]!.length || a - b);
  const packs: { rows: number[]; used: Uint8Array }[] = [];
  for (const r of order) {
    let pack = packs.find((p) => p.rows.length < limit && supports[r]!.every((j) => !p.used[j]));
    if (!pack) packs.push((pack = { rows: [], used: new Uint8Array(mask.cols) }));
    pack.rows.push(r);
    for (const j of supports[r]!) pack.used[j] = 1;
  }
  return packs.map((p) => p.rows);
}

export interface Packing {
  /** Dense rows that greedy colouring needs, each filter whole in one of them. */
  readonly packs: number;
  /** Dense rows where every column is stacked by itself (global kernel ids): the fullest column. */
  readonly free: number;
  /** What perfect packing would need: density times rows. */
  readonly ideal: number;
}

export function packingOf(mask: Mask): Packing {
  const columns = new Int32Array(mask.cols);
  mask.bits.forEach((b, i) => { if (b) columns[i % mask.cols]!++; });
  return { packs: packRows(mask).length, free: columns.reduce((a, b) => Math.max(a, b), 0), ideal: countOnes(mask.bits) / Math.max(mask.cols, 1) };
}
