/** Stream functions of products whose columns lie in scratch memory: row blocks x chunks of columns. */
import type { Clamp, FloatStream, QuadStream, StreamFunction, StreamLanes } from '../../../../compiler/kir/stream.js';

/** y[rows] = W x, one word of weights for each column (of f32, or of four small integers) and row. */
export interface ColumnProduct {
  readonly columns: number;
  readonly rows: number;
  /** Of (column, row): weights[column * rows + row]; a word of zeros is no product. */
  readonly weights: Float32Array | Int32Array;
  /** Rows of each function. */
  readonly blocks: readonly (readonly number[])[];
  /** Columns of one function at most. */
  readonly chunk: number;
  readonly lanes: StreamLanes;
  readonly tiles: number;
  readonly title: string;
}

/** What sums start with, and in f32 end with. */
export type FirstSums = { readonly arithmetic: 'f32'; readonly bias: Float32Array; readonly clamp: Clamp } | { readonly arithmetic: 'u8s8'; readonly bias: Int32Array };

/** The products of some rows with columns [from, to), column by column. */
function productsOf({ weights, rows, lanes }: ColumnProduct, block: readonly number[], from: number, to: number) {
  const offsets: number[] = [], starts = [0], rowOf: number[] = [], values: number[] = [];
  for (let c = from; c < to; c++) {
    const before = values.length;
    block.forEach((row, r) => {
      const w = weights[c * rows + row]!;
      if (w === 0) return;
      rowOf.push(r);
      values.push(w);
    });
    if (values.length === before) continue;
    offsets.push(4 * lanes * c);
    starts.push(values.length);
  }
  const none = new Uint8Array(offsets.length);
  return { columnCount: offsets.length, offsets: Int32Array.from(offsets), sources: none, columnMasks: none, starts: Uint32Array.from(starts), rowOf: Uint8Array.from(rowOf), values };
}

/** The functions in order of execution: all row blocks of a chunk before the next chunk. */
export function columnFunctions(p: ColumnProduct, first: FirstSums, prefix = 's'): StreamFunction[] {
  const count = Math.max(1, Math.ceil(p.columns / p.chunk)), width = Math.ceil(p.columns / count), bytes = 4 * p.lanes;
  return Array.from({ length: count }, (_, c) => p.blocks.map((block, b): StreamFunction => {
    const { values, ...columns } = productsOf(p, block, c * width, Math.min(p.columns, (c + 1) * width));
    const common = {
      name: `${prefix}${c * p.blocks.length + b}`, doc: [`${p.title}: rows ${block[0]} to ${block.at(-1)}${count > 1 ? `, columns ${c * width} to ${Math.min(p.columns, (c + 1) * width) - 1}` : ''}`],
      rows: block.map((r) => bytes * r), lanes: p.lanes, ...columns, maskCount: 0, steps: { x: bytes * p.columns, x2: 0, y: bytes * p.rows, r: 0 }, tiles: p.tiles,
    };
    if (first.arithmetic === 'u8s8') return { ...common, arithmetic: 'u8s8', weights: Int32Array.from(values), ...(c === 0 ? { start: { bias: Int32Array.from(block, (r) => first.bias[r]!) } } : {}) } satisfies QuadStream;
    return {
      ...common, weights: Float32Array.from(values), ...(c === 0 ? { start: { bias: Float32Array.from(block, (r) => first.bias[r]!) } } : {}),
      ...(c === count - 1 ? { finish: { clamp: first.clamp, mask: 0 } } : {}),
    } satisfies FloatStream;
  })).flat();
}
