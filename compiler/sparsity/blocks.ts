/** Between elements and blocks. */
import { shapeOf, type Mask, type Matrix, type MatrixShape } from './matrix.js';
import type { Extent, Leaf } from './pattern.js';

/** Non-negative gain for keeping each element; a projection keeps the largest sum. */
export type Scores = Matrix & { readonly data: Float64Array };

/** Sums of scores over blocks, as a matrix with one element a block. */
export function blockScores(scores: Scores, [by, bx]: Extent): Scores {
  if (by === 1 && bx === 1) return scores;
  const rows = Math.ceil(scores.rows / by), cols = Math.ceil(scores.cols / bx), data = new Float64Array(rows * cols);
  for (let i = 0; i < scores.rows; i++) {
    const to = Math.floor(i / by) * cols, from = i * scores.cols;
    for (let j = 0, b = to, left = bx; j < scores.cols; j++) {
      data[b] = data[b]! + scores.data[from + j]!;
      if (--left === 0) { b++; left = bx; }
    }
  }
  return { rows, cols, data };
}

/** A mask of blocks spread over their elements. */
export function expandBlocks(blocks: Mask, [by, bx]: Extent, shape: Pick<Matrix, 'rows' | 'cols' | 'kernel'>): Mask {
  if (by === 1 && bx === 1) return { ...shapeOf(shape), bits: blocks.bits };
  const bits = new Uint8Array(shape.rows * shape.cols);
  for (let i = 0; i < shape.rows; i++) {
    const from = Math.floor(i / by) * blocks.cols, to = i * shape.cols;
    for (let j = 0; j < shape.cols; j++) bits[to + j] = blocks.bits[from + Math.floor(j / bx)]!;
  }
  return { ...shapeOf(shape), bits };
}

/** Linear position of block (i, j)'s first element, and the rows and columns of it that lie in the matrix. */
export function blockPlace(shape: MatrixShape, { block: [by, bx] }: Pick<Leaf, 'block'>, i: number, j: number): { readonly start: number; readonly rows: number; readonly cols: number } {
  return { start: i * by * shape.cols + j * bx, rows: Math.min(by, shape.rows - i * by), cols: Math.min(bx, shape.cols - j * bx) };
}
