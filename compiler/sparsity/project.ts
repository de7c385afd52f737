/**
 * Projection: the mask of a pattern that keeps the most of a matrix's squared norm. Exact for leaves, graphs and nests (their objective
 * separates over partitions) and for transposable 2:4; sums and other double rules are heuristic and never worse than the greedy choice.
 */
import { projectBoth } from './balanced.js';
import { blockPlace, blockScores, expandBlocks, type Scores } from './blocks.js';
import { energies, inversePermutation, kronecker, newMask, permuted, shapeOf, type Mask, type Matrix } from './matrix.js';
import { gridOf, type Leaf, type Nest, type Pattern, type Sum } from './pattern.js';
import { forLargest } from './select.js';

/**
 * @param matrix weights; row and column counts are those that the pattern was made for
 * @returns the mask of the pattern with the largest kept squared norm; ties go to the lowest linear index
 */
export const project = (matrix: Matrix, pattern: Pattern): Mask => projectScores(energies(matrix), pattern);

/** Projection by scores of any origin (squares, magnitudes, saliencies). */
export function projectScores(scores: Scores, pattern: Pattern): Mask {
  switch (pattern.kind) {
    case 'leaf': return projectLeaf(scores, pattern);
    case 'both': return projectBoth(scores, pattern);
    case 'graph': return projectGraph(scores, pattern.factors);
    case 'nest': return projectNest(scores, pattern);
    case 'sum': return projectSum(scores, pattern);
    case 'perm': {
      const { rows, cols, base } = pattern;
      const mask = projectScores({ ...scores, data: permuted(scores, scores.data, rows, cols) }, base);
      return { ...mask, bits: permuted(mask, mask.bits, rows && inversePermutation(rows), cols && inversePermutation(cols)) };
    }
  }
}

function projectGraph(scores: Scores, factors: readonly Mask[]): Mask {
  const mask = factors.reduce(kronecker);
  if (mask.rows !== scores.rows || mask.cols !== scores.cols) throw new RangeError(`graph of ${mask.rows}x${mask.cols} on a matrix of ${scores.rows}x${scores.cols}`);
  return { ...shapeOf(scores), bits: mask.bits };
}

function projectLeaf(scores: Scores, p: Leaf): Mask {
  return expandBlocks(keepBlocks(blockScores(scores, p.block), p), p.block, scores);
}

/** In each partition the `keep` blocks of largest score. */
function keepBlocks(blocks: Scores, p: Leaf): Mask {
  const { rows, cols } = blocks, [qy, qx] = p.part, out = newMask(rows, cols);
  if (qy >= rows && qx >= cols) {
    forLargest(blocks.data, rows * cols, p.keep, new Float64Array(rows * cols), (i) => { out.bits[i] = 1; });
    return out;
  }
  const most = Math.min(qy, rows) * Math.min(qx, cols), values = new Float64Array(most), scratch = new Float64Array(most);
  for (let top = 0; top < rows; top += qy) {
    const height = Math.min(qy, rows - top);
    for (let left = 0; left < cols; left += qx) {
      const width = Math.min(qx, cols - left);
      for (let y = 0, n = 0; y < height; y++) for (let x = 0; x < width; x++) values[n++] = blocks.data[(top + y) * cols + left + x]!;
      forLargest(values, height * width, p.keep, scratch, (i) => { out.bits[(top + Math.floor(i / width)) * cols + left + (i % width)] = 1; });
    }
  }
  return out;
}

/** Each outer block is worth what its best inner projection keeps, so choosing outer blocks by that is exact. Blocks over the edge are cut off. */
function projectNest(scores: Scores, p: Nest): Mask {
  const { grid } = gridOf(scores, p.outer), worth = new Float64Array(grid[0] * grid[1]), inner: Mask[] = [];
  for (let b = 0; b < worth.length; b++) {
    const at = blockPlace(scores, p.outer, Math.floor(b / grid[1]), b % grid[1]);
    const data = new Float64Array(at.rows * at.cols);
    for (let y = 0; y < at.rows; y++) data.set(scores.data.subarray(at.start + y * scores.cols, at.start + y * scores.cols + at.cols), y * at.cols);
    const block = { rows: at.rows, cols: at.cols, data }, mask = projectScores(block, p.inner);
    inner.push(mask);
    worth[b] = kept(block, mask);
  }
  const outer = keepBlocks({ rows: grid[0], cols: grid[1], data: worth }, p.outer), bits = new Uint8Array(scores.data.length);
  outer.bits.forEach((isKept, b) => {
    if (!isKept) return;
    const at = blockPlace(scores, p.outer, Math.floor(b / grid[1]), b % grid[1]);
    for (let y = 0; y < at.rows; y++) bits.set(inner[b]!.bits.subarray(y * at.cols, (y + 1) * at.cols), at.start + y * scores.cols);
  });
  return { ...shapeOf(scores), bits };
}

const without = (scores: Scores, mask: Mask): Scores => ({ ...scores, data: scores.data.map((x, i) => (mask.bits[i] ? 0 : x)) });
const union = (a: Mask, b: Mask): Mask => ({ ...a, bits: a.bits.map((x, i) => x | b.bits[i]!) });
const kept = (scores: Scores, mask: Mask): number => scores.data.reduce((sum, x, i) => sum + (mask.bits[i] ? x : 0), 0);

/**
 * Coarse first, then the fine part of what is left. A block that the fine part would mostly keep anyway gains little from being coarse, so a second
 * coarse choice by what it adds is tried, and the better of the two taken. Not exact.
 */
function projectSum(scores: Scores, p: Sum): Mask {
  const finish = (coarse: Mask): Mask => union(coarse, projectScores(without(scores, coarse), p.fine));
  const greedy = finish(projectScores(scores, p.coarse));
  const improved = finish(projectScores(without(scores, projectScores(scores, p.fine)), p.coarse));
  return kept(scores, improved) > kept(scores, greedy) ? improved : greedy;
}
