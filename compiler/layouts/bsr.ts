import { dtypes } from '../ir/dtype.js';
import { denseTensor, newArray } from '../ir/tensor.js';
import { absentValues, accepted, ceilDiv, defineLayout, indexType, isCount, rejected, roundUp, type IndexDType, type WeightMatrix } from './types.js';

/**
 * CSR is the case of 1 x 1 blocks. With `group` 4, rows of a CSR are padded to whole groups so that one load brings four weights, which a
 * kernel then broadcasts one by one with in-register shuffles. Blocks b x 1 share one activation among b outputs.
 */
export interface BsrParams {
  /** Rows and columns of a block. Edges that do not divide are padded. */
  readonly by: number;
  readonly bx: number;
  /** Blocks of a block row are padded to a multiple of this. Default 1. */
  readonly group?: number;
  /** Type of the column indices. Default: the narrowest. */
  readonly index?: IndexDType;
}

const indexTypeOf = (m: WeightMatrix, p: BsrParams): IndexDType => p.index ?? indexType(ceilDiv(m.cols, p.bx));

/** Block columns of block row `i` that hold a non-zero, ascending. */
function occupiedBlocks(m: WeightMatrix, i: number, { by, bx }: BsrParams): number[] {
  const occupied = new Uint8Array(ceilDiv(m.cols, bx)), blocks: number[] = [];
  for (let r = i * by; r < Math.min(m.rows, (i + 1) * by); r++) {
    const row = r * m.cols;
    for (let c = 0; c < m.cols; c++) if (m.bits[row + c]) occupied[bx === 1 ? c : Math.floor(c / bx)] = 1;
  }
  for (let j = occupied.indexOf(1); j >= 0; j = occupied.indexOf(1, j + 1)) blocks.push(j);
  return blocks;
}

/** Which block column a padding block reads: an empty one near the end; the last one again if the block row has none empty. */
function paddingColumn(blocks: readonly number[], columns: number): number {
  const last = blocks.at(-1)!;
  if (last + 1 < columns) return last + 1;
  // The ascending list counts down with its index until there is a gap.
  let n = blocks.length - 1;
  while (n > 0 && blocks[n - 1] === blocks[n]! - 1) n--;
  return blocks[n]! > 0 ? blocks[n]! - 1 : last;
}

export const bsr = defineLayout<BsrParams, 'columns' | 'rowStarts'>({
  doc: 'compressed rows of dense blocks: values [blocks, by, bx], their block columns, and where each block row starts; 1 x 1 is CSR',
  label: ({ by, bx, group = 1 }) => `${by === 1 && bx === 1 ? 'csr' : `bsr ${by}x${bx}`}${group === 1 ? '' : ` in groups of ${group}`}`,
  accepts(m, p) {
    if (!isCount(p.by) || !isCount(p.bx) || !isCount(p.group ?? 1)) return rejected(`blocks of ${p.by} x ${p.bx} in groups of ${p.group ?? 1} are no blocks`);
    const columns = ceilDiv(m.cols, p.bx), most = 256 ** dtypes[indexTypeOf(m, p)].bytes;
    return columns <= most ? accepted : rejected(`${columns} block columns do not fit ${p.index} indices`, undefined, most * p.bx);
  },
  pack(m, p) {
    const { by, bx, group = 1 } = p, index = indexTypeOf(m, p);
    const blockRows = Array.from({ length: ceilDiv(m.rows, by) }, (_, i) => occupiedBlocks(m, i, p));
    const rowStarts = newArray('u32', blockRows.length + 1);
    let count = 0;
    blockRows.forEach((blocks, i) => { rowStarts[i + 1] = count += roundUp(blocks.length, group); });
    const columns = newArray(index, count), values = absentValues(m, count * by * bx);
    blockRows.forEach((blocks, i) => {
      const start = Number(rowStarts[i]), top = i * by;
      blocks.forEach((j, n) => {
        columns[start + n] = j;
        for (let r = top; r < Math.min(m.rows, top + by); r++) {
          const slot = ((start + n) * by + r - top) * bx - j * bx, row = r * m.cols;
          for (let c = j * bx; c < Math.min(m.cols, (j + 1) * bx); c++) if (m.bits[row + c]) values[slot + c] = m.data[row + c] as never;
        }
      });
      if (blocks.length % group) columns.fill(paddingColumn(blocks, ceilDiv(m.cols, bx)) as never, start + blocks.length, Number(rowStarts[i + 1]));
    });
    return {
      values: denseTensor(m.dtype, [count, by, bx], values),
      columns: denseTensor(index, [count], columns),
      rowStarts: denseTensor('u32', [blockRows.length + 1], rowStarts),
    };
  },
  visit(p, visit) {
    const { by, bx } = p.params, rowStarts = p.arrays.rowStarts.data, columns = p.arrays.columns.data;
    for (let i = 0; i + 1 < rowStarts.length; i++) {
      for (let b = Number(rowStarts[i]); b < Number(rowStarts[i + 1]); b++) {
        const left = Number(columns[b]) * bx;
        for (let r = 0; r < by && i * by + r < p.rows; r++) {
          for (let c = 0; c < bx && left + c < p.cols; c++) visit(i * by + r, left + c, (b * by + r) * bx + c);
        }
      }
    }
  },
});
