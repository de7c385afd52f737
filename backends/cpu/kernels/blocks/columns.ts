/** Weights as blocks of neighbouring outputs that share a column: which there are, and the arrays that kernels read. */
import { asBf16 } from '../../../../compiler/ir/bf16.js';
import { newArray, type DenseTensor } from '../../../../compiler/ir/tensor.js';
import { tapsOf } from '../../../../compiler/core/window.js';
import type { StreamProduct } from '../stream/product.js';

/** Neighbouring outputs whose columns are listed together: as many as a vector (or several) has lanes, or fewer. */
export interface BlockRow {
  readonly row: number;
  readonly count: number;
}

export interface BlockCounts {
  /** Blocks without a zero, and blocks with some: those must not add up what they multiply by zero, which may be infinite. */
  readonly full: number;
  readonly partial: number;
}

/** Columns of the sum: (tap, channel of the group). */
export const columnsOf = (p: StreamProduct): number => tapsOf(p.window).length * p.depth;

/** Rows `width` at a time. Lanes of the last ones may be left over. */
export const evenRows = (p: StreamProduct, width: number): BlockRow[] =>
  Array.from({ length: Math.ceil(p.rows / width) }, (_, i) => ({ row: i * width, count: Math.min(width, p.rows - i * width) }));

/** Calls `visit` for every block with a non-zero, by rows, then by columns. */
function eachBlock(p: StreamProduct, rows: readonly BlockRow[], visit: (column: number, blockRow: number, full: boolean) => void): void {
  const columns = columnsOf(p);
  rows.forEach(({ row, count }, b) => {
    for (let c = 0; c < columns; c++) {
      const from = c * p.rows + row;
      let n = 0;
      for (let i = from; i < from + count; i++) if (p.weights[i] !== 0) n++;
      if (n > 0) visit(c, b, n === count);
    }
  });
}

export function countBlocks(p: StreamProduct, rows: readonly BlockRow[]): BlockCounts {
  let full = 0, partial = 0;
  eachBlock(p, rows, (_, __, whole) => { if (whole) full++; else partial++; });
  return { full, partial };
}

const ones = (x: number): number => {
  let n = x - ((x >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return (((n + (n >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
};

/** What a block that needs a mask costs more than one that does not, and what a block row costs, in full blocks. */
const PARTIAL = 1.8, ROW = 8;
/** Share of a row's columns that its neighbour must have too, on the average, for rows to be cut where patterns change. */
const ALIKE = 0.5;

/**
 * Rows cut where their columns change, at most `width` together, by least cost (a shortest path over the cuts): patterns of blocks whose
 * rows are not all there any more, because nothing reads some. Undefined where neighbours have little in common.
 */
export function rowsByPattern(p: StreamProduct, width: number): BlockRow[] | undefined {
  const columns = columnsOf(p), words = Math.ceil(columns / 32), bits = new Int32Array(p.rows * words), perGroup = p.rows / p.group;
  let all = 0, common = 0;
  for (let c = 0; c < columns; c++) {
    for (let r = 0; r < p.rows; r++) {
      if (p.weights[c * p.rows + r] === 0) continue;
      bits[r * words + (c >> 5)]! |= 1 << (c & 31);
      all++;
      if (r > 0 && p.weights[c * p.rows + r - 1] !== 0) common++;
    }
  }
  if (common < ALIKE * all) return undefined;
  const best = new Float64Array(p.rows + 1).fill(Infinity), from = new Int32Array(p.rows + 1), any = new Int32Array(words), every = new Int32Array(words);
  best[0] = 0;
  for (let first = 0; first < p.rows; first++) {
    any.fill(0);
    every.fill(-1);
    for (let r = first; r < Math.min(first + width, p.rows, (Math.floor(first / perGroup) + 1) * perGroup); r++) {
      let union = 0, full = 0;
      for (let w = 0; w < words; w++) {
        const own = bits[r * words + w]!;
        union += ones((any[w]! |= own));
        full += ones((every[w]! &= own));
      }
      const cost = best[first]! + full + (union - full) * PARTIAL + ROW;
      if (cost < best[r + 1]!) { best[r + 1] = cost; from[r + 1] = first; }
    }
  }
  const rows: BlockRow[] = [];
  for (let end = p.rows; end > 0; end = from[end]!) rows.unshift({ row: from[end]!, count: end - from[end]! });
  return rows;
}

/** The blocks of one kind: of block row i those from starts[i] to starts[i + 1], their weights [block][lane] and where their columns lie. */
export interface BlockColumns {
  readonly masked: boolean;
  /** Blocks of the longest block row. */
  readonly longest: number;
  readonly values: DenseTensor;
  readonly offsets: DenseTensor;
  readonly starts: DenseTensor;
}

/**
 * Values that bf16 can hold in 16 bits. Of the first blocks of a row, as many as are a multiple of `pace`, two neighbours take turns element by
 * element, so that one load brings both and an operation each takes them apart.
 */
export function halvedBlocks({ values, starts }: BlockColumns, pace: number): DenseTensor {
  const from = asBf16(values).data as Uint16Array, data = from.slice(), width = values.shape[1]!;
  for (let b = 0; b + 1 < starts.data.length && pace > 1; b++) {
    const first = Number(starts.data[b]), together = first + Math.floor((Number(starts.data[b + 1]) - first) / pace) * pace;
    for (let i = first; i < together; i++) {
      const odd = (i - first) % 2;
      for (let lane = 0; lane < width; lane++) data[(i - odd) * width + 2 * lane + odd] = from[i * width + lane]!;
    }
  }
  return { kind: 'dense', dtype: 'bf16', shape: values.shape, data };
}

/** Numbers in the narrowest type. */
export function indexTensor(numbers: readonly number[]): DenseTensor {
  const dtype = numbers.every((n) => n < 0x10000) ? 'u16' : 'u32', data = newArray(dtype, numbers.length);
  numbers.forEach((n, i) => { data[i] = n; });
  return { kind: 'dense', dtype, shape: [numbers.length], data };
}

/**
 * Blocks of at most `width` outputs, the full ones apart from those that need a mask; a kind of which there are none is left out.
 * @param offset of a column for a row, as kernels find it in x
 */
export function packBlocks(p: StreamProduct, width: number, rows: readonly BlockRow[], offset: (column: number, row: number) => number): BlockColumns[] {
  const kinds = [false, true].map((masked) => ({ masked, at: [] as { readonly c: number; readonly b: number }[] }));
  eachBlock(p, rows, (c, b, full) => kinds[full ? 0 : 1]!.at.push({ c, b }));
  return kinds.filter(({ at }) => at.length > 0).map(({ masked, at }) => {
    const data = new Float32Array(at.length * width), counts = new Uint32Array(rows.length), starts = new Uint32Array(rows.length + 1);
    at.forEach(({ c, b }, i) => {
      const { row, count } = rows[b]!, first = c * p.rows + row;
      data.set(p.weights.subarray(first, first + count), i * width);
      counts[b]!++;
    });
    counts.forEach((n, b) => { starts[b + 1] = starts[b]! + n; });
    return {
      masked, longest: counts.reduce((a, n) => Math.max(a, n), 0), values: { kind: 'dense', dtype: 'f32', shape: [at.length, width], data },
      offsets: indexTensor(at.map(({ c, b }) => offset(c, rows[b]!.row))), starts: { kind: 'dense', dtype: 'u32', shape: [starts.length], data: starts },
    };
  });
}
