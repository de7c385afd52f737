/** Weights as blocks of neighbouring outputs that share a column: which there are, and the arrays that kernels read. */
import { bsr } from '../../../../compiler/layouts/bsr.js';
import { weightMatrix } from '../../../../compiler/layouts/types.js';
import { tapsOf } from '../../../../compiler/core/window.js';
import type { DenseTensor } from '../../../../compiler/ir/tensor.js';
import type { StreamProduct } from '../stream/product.js';

export interface BlockCounts {
  /** Blocks without a zero, and blocks with some: those must not add up what they multiply by zero, which may be infinite. */
  readonly full: number;
  readonly partial: number;
}

/** Columns of the sum: (tap, channel of the group). */
export const columnsOf = (p: StreamProduct): number => tapsOf(p.window).length * p.depth;

/** Calls `visit` for every block with a non-zero; the last block of a column may have fewer outputs than `width`. */
function eachBlock(p: StreamProduct, width: number, visit: (column: number, row: number, full: boolean) => void): void {
  const columns = columnsOf(p);
  for (let c = 0; c < columns; c++) {
    for (let row = 0; row < p.rows; row += width) {
      const from = c * p.rows + row, to = from + Math.min(width, p.rows - row);
      let n = 0;
      for (let i = from; i < to; i++) if (p.weights[i] !== 0) n++;
      if (n > 0) visit(c, row, n === to - from);
    }
  }
}

export function countBlocks(p: StreamProduct, width: number): BlockCounts {
  let full = 0, partial = 0;
  eachBlock(p, width, (_, __, whole) => { if (whole) full++; else partial++; });
  return { full, partial };
}

/** The blocks of one kind: of block row i those from starts[i] to starts[i + 1], their weights [block][output] and columns. */
export interface BlockColumns {
  readonly masked: boolean;
  /** Blocks of the longest block row. */
  readonly longest: number;
  readonly values: DenseTensor;
  readonly columns: DenseTensor;
  readonly starts: DenseTensor;
}

/** Blocks of `width` outputs, the full ones apart from those that need a mask; a kind of which there are none is left out. */
export function packBlocks(p: StreamProduct, width: number): BlockColumns[] {
  const columns = columnsOf(p), parts = [false, true].map((masked) => ({ masked, data: new Float32Array(p.rows * columns), blocks: 0 }));
  eachBlock(p, width, (c, row, full) => {
    const part = parts[full ? 0 : 1]!;
    part.blocks++;
    for (let r = row; r < Math.min(row + width, p.rows); r++) part.data[r * columns + c] = p.weights[c * p.rows + r]!;
  });
  return parts.filter((part) => part.blocks > 0).map(({ masked, data }) => {
    const { values, columns: at, rowStarts } = bsr.pack(weightMatrix('f32', p.rows, columns, data), { by: width, bx: 1 });
    const starts = rowStarts.data, longest = Math.max(...Array.from({ length: starts.length - 1 }, (_, i) => Number(starts[i + 1]) - Number(starts[i])));
    return { masked, longest, values, columns: at, starts: rowStarts };
  });
}
