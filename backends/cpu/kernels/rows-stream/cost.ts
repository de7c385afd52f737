/** Predicted times of products between rows in straight-line code. */
import { MAX_ROWS, type StreamLanes } from '../../../../compiler/kir/stream.js';
import type { Isa } from '../../isa.js';
import { plainRowBlocks } from '../stream/row-blocks.js';
import type { StreamProduct } from '../stream/product.js';

/** Bytes of code and weights per product, and per column load. */
const BYTES_PER_PRODUCT = 11, BYTES_PER_LOAD = 7;
/** Bytes of columns that stay in the first cache while row blocks go over them. */
const COLUMN_BYTES = 16 << 10;
/**
 * Bytes of code that a core takes in per nanosecond, from the second cache or the third. This binds short vectors, whose multiply-adds
 * start two a cycle: 8 and 4 rows take the same time (52 to 58 measured on
 * 512x512, 2048x2048 and 768x3072 at 90 % zeros; half of it where other cores keep the last cache busy, to which 4 rows, with most code a sum, lose most).
 */
const CODE_BYTES_PER_NANOSECOND = { 16: 36, 8: 54, 4: 50 } as const;
/** Cycles in which a word is transposed, and in which one leaves through an epilogue. */
const CYCLES_PER_WORD = 0.4;
const CALL_NANOSECONDS = 50;

export interface RowsStreamCost {
  readonly nanoseconds: number;
  /** Bytes of code and weights. */
  readonly bytes: number;
  /** Columns of one function at most. */
  readonly chunk: number;
}

/**
 * Of one vector of lanes after the other, on one function before the next.
 * @param p of words: f32, or four small integers each @param products words that are not zero @param rows of x @param band vectors before code is read again
 */
export function rowsStreamCost(isa: Isa, p: StreamProduct, products: number, lanes: StreamLanes, rows: number, band = 1): RowsStreamCost {
  const { loads } = plainRowBlocks(p, MAX_ROWS), bytes = products * BYTES_PER_PRODUCT + loads * BYTES_PER_LOAD, tiles = Math.ceil(rows / lanes), l = loads / Math.max(1, products);
  // of whole vectors as in tiles; two short ones a cycle
  const perProduct = lanes === isa.lanes ? Math.max(1.02, 0.36 + 1.54 * l) : Math.max(1 / isa.fma.narrow, (1 + l) / isa.loads.narrow);
  const conversion = (p.channels + p.rows) * rows * CYCLES_PER_WORD;
  const computed = Math.max((tiles * products * perProduct) / isa.clock, (Math.ceil(tiles / band) * bytes) / CODE_BYTES_PER_NANOSECOND[lanes]);
  return { bytes, chunk: COLUMN_BYTES / (4 * lanes), nanoseconds: computed + conversion / isa.clock + CALL_NANOSECONDS };
}
