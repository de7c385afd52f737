/** Projection onto a horizontal and a vertical rule at once: a maximum-weight b-matching in each tile. */
import { blockScores, expandBlocks, type Scores } from './blocks.js';
import { newMask, type Mask } from './matrix.js';
import type { Both } from './pattern.js';

/** The 90 4x4 masks with two in each row and column, each as its eight positions (0..15). */
function transposableMasks(): readonly (readonly number[])[] {
  const pairs = [3, 5, 6, 9, 10, 12], masks: number[][] = [];
  for (let code = 0; code < 6 ** 4; code++) {
    const rows = [0, 1, 2, 3].map((i) => pairs[Math.floor(code / 6 ** i) % 6]!);
    const balanced = [0, 1, 2, 3].every((x) => rows.reduce((s, r) => s + ((r >> x) & 1), 0) === 2);
    if (balanced) masks.push(rows.flatMap((r, y) => [0, 1, 2, 3].filter((x) => (r >> x) & 1).map((x) => 4 * y + x)));
  }
  return masks;
}

export function projectBoth(scores: Scores, p: Both): Mask {
  const { horizontal: h, vertical: v } = p;
  if (h.part[0] !== 1 || v.part[1] !== 1 || h.block[0] !== v.block[0] || h.block[1] !== v.block[1]) throw new RangeError('a double rule needs groups along a row and along a column, of the same blocks');
  const blocks = blockScores(scores, h.block), out = newMask(blocks.rows, blocks.cols);
  const height = Math.min(v.part[0], blocks.rows), width = Math.min(h.part[1], blocks.cols);
  const isTransposable = height === 4 && width === 4 && h.keep === 2 && v.keep === 2;
  const masks = isTransposable ? transposableMasks() : [];
  for (let top = 0; top < blocks.rows; top += height) {
    for (let left = 0; left < blocks.cols; left += width) {
      const rows = Math.min(height, blocks.rows - top), cols = Math.min(width, blocks.cols - left);
      const tile = new Float64Array(rows * cols);
      for (let y = 0; y < rows; y++) for (let x = 0; x < cols; x++) tile[y * cols + x] = blocks.data[(top + y) * blocks.cols + left + x]!;
      const keep = isTransposable && rows === 4 && cols === 4 ? bestOf(masks, tile) : matching(tile, rows, cols, h.keep, v.keep);
      keep.forEach((kept, i) => { if (kept) out.bits[(top + Math.floor(i / cols)) * blocks.cols + left + (i % cols)] = 1; });
    }
  }
  return expandBlocks(out, h.block, scores);
}

function bestOf(masks: readonly (readonly number[])[], tile: Float64Array): Uint8Array {
  let best = -1, chosen: readonly number[] = [];
  for (const mask of masks) {
    const worth = mask.reduce((s, i) => s + tile[i]!, 0);
    if (worth > best) { best = worth; chosen = mask; }
  }
  const out = new Uint8Array(tile.length);
  for (const i of chosen) out[i] = 1;
  return out;
}

/**
 * At most `rowKeep` in a row and `colKeep` in a column of a tile. Greedy by decreasing score, then completed where a row and a column are both short (an
 * alternating path of length three always exists in a complete bipartite graph), then improved by exchanges between pairs of rows until none gains.
 */
function matching(tile: Float64Array, rows: number, cols: number, rowKeep: number, colKeep: number): Uint8Array {
  const keep = new Uint8Array(tile.length);
  const rowRoom = new Int32Array(rows).fill(Math.min(rowKeep, cols)), colRoom = new Int32Array(cols).fill(Math.min(colKeep, rows));
  const order = Array.from(tile.keys()).sort((a, b) => tile[b]! - tile[a]! || a - b);
  for (const i of order) {
    const r = Math.floor(i / cols), c = i % cols;
    if (rowRoom[r]! > 0 && colRoom[c]! > 0) { keep[i] = 1; rowRoom[r]!--; colRoom[c]!--; }
  }
  complete(tile, keep, cols, rowRoom, colRoom);
  for (let improved = true, sweeps = 0; improved && sweeps < 50; sweeps++) {
    improved = false;
    for (let a = 0; a < rows; a++) for (let b = a + 1; b < rows; b++) improved = exchange(tile, keep, cols, a, b) || improved;
  }
  return keep;
}

function complete(tile: Float64Array, keep: Uint8Array, cols: number, rowRoom: Int32Array, colRoom: Int32Array): void {
  for (let r = 0; r < rowRoom.length; r++) {
    for (let c = 0; c < cols && rowRoom[r]! > 0; c++) {
      while (rowRoom[r]! > 0 && colRoom[c]! > 0) {
        // (r2, c2) gives way to (r, c2) and (r2, c)
        let best = -Infinity, from = -1;
        for (let i = 0; i < keep.length; i++) {
          const r2 = Math.floor(i / cols), c2 = i % cols;
          if (!keep[i] || r2 === r || c2 === c || keep[r * cols + c2] || keep[r2 * cols + c]) continue;
          const gain = tile[r * cols + c2]! + tile[r2 * cols + c]! - tile[i]!;
          if (gain > best) { best = gain; from = i; }
        }
        if (from < 0) break;
        keep[from] = 0;
        keep[r * cols + (from % cols)] = 1;
        keep[Math.floor(from / cols) * cols + c] = 1;
        rowRoom[r]!--;
        colRoom[c]!--;
      }
    }
  }
}

/** Exchanges columns between two rows while the sum rises: the best of what either would give away, paired. */
function exchange(tile: Float64Array, keep: Uint8Array, cols: number, a: number, b: number): boolean {
  const gain = (from: number, to: number, c: number): number => tile[to * cols + c]! - tile[from * cols + c]!;
  const movable = (from: number, to: number): number[] =>
    Array.from({ length: cols }, (_, c) => c).filter((c) => keep[from * cols + c] && !keep[to * cols + c]).sort((x, y) => gain(from, to, y) - gain(from, to, x) || x - y);
  const ofA = movable(a, b), ofB = movable(b, a);
  let moved = 0;
  while (moved < ofA.length && moved < ofB.length && gain(a, b, ofA[moved]!) + gain(b, a, ofB[moved]!) > 1e-12) {
    const x = ofA[moved]!, y = ofB[moved]!;
    keep[a * cols + x] = 0; keep[b * cols + x] = 1;
    keep[b * cols + y] = 0; keep[a * cols + y] = 1;
    moved++;
  }
  return moved > 0;
}
