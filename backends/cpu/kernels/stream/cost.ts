/** Predicted time of a product in straight-line code. */
import { tapsOf } from '../../../../compiler/core/window.js';
import type { StreamForm } from '../../../../compiler/ir/layout-choice.js';
import type { StreamFunction } from '../../../../compiler/kir/stream.js';
import { fastestForm, streamRows, type Isa } from '../../isa.js';
import { nonZeros, type StreamProduct } from './product.js';
import { plainRowBlocks } from './row-blocks.js';

/** Bytes of code and weights per product, and per column load: measured on emitted functions. */
const BYTES_PER_PRODUCT = 11, BYTES_PER_LOAD = 7;
/** Offset and weight, in tables. */
const TABLE_BYTES_PER_PRODUCT = 8;
/** What a product takes longer where a loop reads tables. */
const TABLE_SLOWDOWN = 1.7;
/** Bytes of code that a core takes in per nanosecond, the next function being fetched ahead while one computes: from the last cache, and of layers that fill it from memory. */
const CODE_BYTES_PER_NANOSECOND = 36, FAR_CODE_BYTES_PER_NANOSECOND = 10, CACHED_CODE_BYTES = 15 << 20;

/** Bytes of a function, weights included. */
export const codeBytes = (f: StreamFunction): number => f.weights.length * BYTES_PER_PRODUCT + f.columnCount * BYTES_PER_LOAD;

/** Cycles of a function on one tile, to divide functions among threads. */
export const cyclesOf = (f: StreamFunction): number => cyclesFor(f.weights.length, f.columnCount) + 2 * f.rows.length;

/**
 * Cycles a multiply-add = max(1.02, 0.36 + 1.54 l), l being loads of columns per multiply-add: fitted to 324 measurements on a core
 * that starts one 512-bit multiply-add and one load a cycle (Zen 4).
 */
const cyclesFor = (products: number, loads: number): number => Math.max(1.02 * products, 0.36 * products + 1.54 * loads);

export interface StreamCost {
  readonly nanoseconds: number;
  /** Multiply-adds of one tile. */
  readonly products: number;
  readonly density: number;
  /** Bytes of code and weights. */
  readonly bytes: number;
}

/**
 * Predicted time and size.
 * @param tiles that every function runs over, in all calls; `phases`: times that the code is repeated
 */
export function costOf(isa: Isa, p: StreamProduct, tiles: number, phases = 1, form: StreamForm = fastestForm(isa)): StreamCost {
  const products = nonZeros(p), density = products / (tapsOf(p.window).length * p.depth * p.rows), { loads } = plainRowBlocks(p, streamRows(isa, form));
  const bytes = phases * (form === 'tables' ? products * TABLE_BYTES_PER_PRODUCT : products * BYTES_PER_PRODUCT + loads * BYTES_PER_LOAD);
  // a vector of 16 lanes is several registers of a narrower machine; tables are read besides the data
  const width = (16 / (isa.lanes * isa.fma.full)) * (form === 'tables' ? TABLE_SLOWDOWN : 1);
  const stores = tiles * p.rows * 2;
  return { products, density, bytes, nanoseconds: Math.max((tiles * cyclesFor(products, loads) * width + stores) / isa.clock, bytes / (bytes > CACHED_CODE_BYTES ? FAR_CODE_BYTES_PER_NANOSECOND : CODE_BYTES_PER_NANOSECOND)) };
}
