/** Columns of sparse weights in the forms of runtime/cpu/spc_columns.h, and what they cost. */
import { complementary } from '../../../../compiler/layouts/complementary.js';
import { weightMatrix } from '../../../../compiler/layouts/types.js';
import { denseTensor } from '../../../../compiler/ir/tensor.js';
import { call, pointer } from '../../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../../compiler/kir/kernel-builder.js';
import type { CallArgument, Stmt } from '../../../../compiler/kir/types.js';
import type { Isa } from '../../isa.js';

/** Weights [rows, columns], column by column. */
export interface Columns {
  readonly rows: number;
  readonly columns: number;
  readonly at: (row: number, column: number) => number;
  /** Most rows that follow each other of which no two ever meet in a column: sets of complementary rows; 1 where there are none. */
  readonly complementary: number;
  /** Non-zeros of each column, and its blocks of 16 rows that have some. */
  readonly counts: Uint32Array;
  readonly blocks: Uint32Array;
}

/** Rows of a block, and weights of a record. */
const BLOCK = 16, RECORD = 8;
/** Rows as u16. */
const MOST_ROWS = 0x10000 - RECORD;

/** Vectors of sums that stay in registers for a set. */
const LARGEST_SET = 16;

function largestSet(rows: number, columns: number, at: Columns['at']): number {
  const m = weightMatrix('f32', rows, columns, Float32Array.from({ length: rows * columns }, (_, i) => at(Math.floor(i / columns), i % columns)));
  for (let size = Math.min(LARGEST_SET, rows); size > 1; size--) if (complementary.accepts(m, { grouping: 'exact', size }).ok) return size;
  return 1;
}

export function columnsOf(rows: number, columns: number, at: Columns['at']): Columns {
  const counts = new Uint32Array(columns), blocks = new Uint32Array(columns);
  for (let c = 0; c < columns; c++) {
    for (let r = 0, last = -1; r < rows; r++) {
      if (at(r, c) === 0) continue;
      counts[c]!++;
      if (Math.floor(r / BLOCK) !== last) { last = Math.floor(r / BLOCK); blocks[c]!++; }
    }
  }
  return { rows, columns, at, counts, blocks, complementary: largestSet(rows, columns, at) };
}

const sum = (x: Uint32Array, f: (n: number) => number = (n) => n): number => x.reduce((s, n) => s + f(n), 0);
/** Vectors of 16 sets of complementary rows. */
const setVectors = (c: Columns): number => Math.ceil(c.rows / c.complementary / BLOCK);
const vectorsOf = (c: Columns): number => Math.ceil(c.rows / BLOCK);

/** Running sums from 0. */
function starts(counts: Uint32Array): Uint32Array {
  const at = new Uint32Array(counts.length + 1);
  counts.forEach((n, i) => { at[i + 1] = at[i]! + n; });
  return at;
}

/** Memory for the numbers of all parts of columns, and what they are multiplied with. */
const partsMemory = (k: KernelBuilder, count: number): CallArgument[] => [pointer(k.scratch('parts', 'i32', count + BLOCK)), pointer(k.scratch('factors', 'f32', count + BLOCK))];

/** A way to store columns. */
export interface ColumnForm {
  readonly name: string;
  readonly takes: (c: Columns, isa: Isa) => boolean;
  /** Cycles of an average column, and its bytes. */
  readonly cycles: (c: Columns, isa: Isa) => number;
  readonly bytes: (c: Columns) => number;
  /** Sums of floats that it needs. */
  readonly sums: (c: Columns) => number;
  /** Brings the weights along; the result adds what a list's elements contribute to sums. */
  build(k: KernelBuilder, c: Columns): (sums: string, list: string, values: string) => Stmt;
}

const records = (c: Columns): Uint32Array => c.counts.map((n) => Math.ceil(n / RECORD));

// cycles fitted to Zen 4: 160 of 1600 columns of 75 weights take 5.0 us, of 4.6 blocks 1.4 us, 150 columns of one vector 0.1 us
export const columnForms: readonly ColumnForm[] = [
  {
    name: 'records of 8',
    takes: (c) => c.rows <= MOST_ROWS,
    cycles: (c, isa) => 6 + (sum(records(c)) * RECORD * (isa.lanes === 16 ? 1.35 : 1.6)) / c.columns,
    bytes: (c) => (sum(records(c)) * 48) / c.columns + 4,
    sums: (c) => c.rows + RECORD,
    build(k, c) {
      const count = records(c), first = starts(count), data = new Uint16Array(Math.max(1, first.at(-1)!) * 24), weights = new Float32Array(data.buffer);
      for (let column = 0; column < c.columns; column++) {
        let n = 0;
        const put = (row: number, weight: number): void => {
          const record = first[column]! + Math.floor(n / RECORD), i = n++ % RECORD;
          data[record * 24 + i] = row;
          weights[record * 12 + 4 + i] = weight;
        };
        for (let r = 0; r < c.rows; r++) if (c.at(r, column) !== 0) put(r, c.at(r, column));
        // what is left of the last record goes to rows of its own that nothing reads
        for (let pad = 0; n < count[column]! * RECORD; pad++) put(c.rows + pad, 0);
      }
      const at = k.constant('records', denseTensor('u16', [data.length], data)), from = k.constant('starts', denseTensor('u32', [first.length], first));
      const parts = partsMemory(k, first.at(-1)!);
      return (sums, list, values) => call('spc_columns_scatter', pointer(sums), ...parts, pointer(list), pointer(values), pointer(at), pointer(from));
    },
  },
  {
    name: 'blocks of 16x1',
    takes: (c) => vectorsOf(c) <= 0x10000,
    cycles: (c) => 6 + (sum(c.blocks) * 5.5) / c.columns,
    bytes: (c) => (sum(c.blocks) * 66) / c.columns + 4,
    sums: (c) => vectorsOf(c) * BLOCK,
    build(k, c) {
      const first = starts(c.blocks), count = Math.max(1, first.at(-1)!), rows = new Uint16Array(count), weights = new Float32Array(count * BLOCK);
      for (let column = 0, b = 0; column < c.columns; column++) {
        for (let v = 0; v < vectorsOf(c); v++) {
          const block = Array.from({ length: BLOCK }, (_, l) => (v * BLOCK + l < c.rows ? c.at(v * BLOCK + l, column) : 0));
          if (block.every((w) => w === 0)) continue;
          rows[b] = v;
          weights.set(block, b++ * BLOCK);
        }
      }
      const at = k.constant('blocks', denseTensor('f32', [weights.length], weights)), which = k.constant('rows', denseTensor('u16', [rows.length], rows)), from = k.constant('starts', denseTensor('u32', [first.length], first));
      const parts = partsMemory(k, first.at(-1)!);
      return (sums, list, values) => call('spc_columns_blocks', pointer(sums), ...parts, pointer(list), pointer(values), pointer(at), pointer(which), pointer(from));
    },
  },
  {
    name: 'complementary',
    // elsewhere masks are loops
    takes: (c, isa) => c.complementary > 1 && isa.lanes === 16,
    cycles: (c) => 4 + setVectors(c) * (3 + 1.4 * c.complementary),
    bytes: (c) => setVectors(c) * (64 + 2 * c.complementary),
    sums: (c) => setVectors(c) * BLOCK * c.complementary,
    build(k, c) {
      const n = setVectors(c), size = c.complementary, weights = new Float32Array(c.columns * n * BLOCK), masks = new Uint16Array(c.columns * n * size);
      for (let column = 0; column < c.columns; column++) for (let r = 0; r < c.rows; r++) {
        const w = c.at(r, column), set = Math.floor(r / size), vector = column * n + Math.floor(set / BLOCK);
        if (w === 0) continue;
        weights[vector * BLOCK + (set % BLOCK)] = w;
        masks[vector * size + (r % size)]! |= 1 << (set % BLOCK);
      }
      const at = k.constant('packs', denseTensor('f32', [weights.length], weights)), which = k.constant('masks', denseTensor('u16', [masks.length], masks));
      return (sums, list, values) => call('spc_columns_complementary', pointer(sums), pointer(list), pointer(values), pointer(at), pointer(which), n, size);
    },
  },
  {
    name: 'whole',
    takes: () => true,
    // in registers; columns that leave the second cache come at 32 bytes a cycle at best
    cycles: (c) => Math.max(2, vectorsOf(c) * (c.columns * vectorsOf(c) * 64 > 1 << 18 ? 2.6 : 1.3)),
    bytes: (c) => vectorsOf(c) * 64,
    sums: (c) => vectorsOf(c) * BLOCK,
    build(k, c) {
      const n = vectorsOf(c), weights = new Float32Array(c.columns * n * BLOCK);
      for (let column = 0; column < c.columns; column++) for (let r = 0; r < c.rows; r++) weights[column * n * BLOCK + r] = c.at(r, column);
      const at = k.constant('columns', denseTensor('f32', [weights.length], weights));
      return (sums, list, values) => call('spc_columns_dense', pointer(sums), pointer(list), pointer(values), pointer(at), n);
    },
  },
];
