/** Predicted time of a product in straight-line code. */
import { tapsOf } from '../../../../compiler/core/window.js';
import type { StreamForm } from '../../../../compiler/ir/layout-choice.js';
import type { StreamFunction } from '../../../../compiler/kir/stream.js';
import { fastestForm, streamRows, type Isa } from '../../isa.js';
import { nonZeros, type StreamProduct } from './product.js';
import { plainRowBlocks } from './row-blocks.js';

type StreamCode = Exclude<Isa['streams']['code'], 'tables'>;

interface CodeModel {
  /** Bytes of code and weights per product, and per column load: measured on emitted functions. */
  readonly product: number;
  readonly load: number;
  /** Cycles a multiply-add of 16 lanes, those of a core that starts 16 a cycle, are the larger of `least` and `base` + `perLoad` times the loads of columns per multiply-add. */
  readonly least: number;
  readonly base: number;
  readonly perLoad: number;
  /** What the least takes longer where a loop reads tables. */
  readonly tables: number;
  /** Bytes of code from memory that a core takes in per nanosecond, the next function being fetched ahead while one computes (AVX2: from the last 1x1 layers of a ResNet-50 at 90 %). */
  readonly far: number;
}

// All on one core (Zen 4). AVX-512: fitted to 324 measurements. AVX2: to nine layers of 5 to 50 % non-zeros, 1x1 and 3x3, within 15 %; a product is a shuffle and two
// multiply-adds, and code comes from the second cache at 16 bytes a cycle. NEON: counted, as there was no such machine; its 28 rows make loads as rare.
const models: { readonly [C in StreamCode]: CodeModel } = {
  avx512: { product: 11, load: 7, least: 1.02, base: 0.36, perLoad: 1.54, tables: 1.7, far: 10 },
  avx2: { product: 17, load: 12, least: 1.05, base: 0.95, perLoad: 1.1, tables: 2.3, far: 7 },
  neon: { product: 9, load: 5, least: 1.02, base: 0.36, perLoad: 1.54, tables: 1.7, far: 10 },
};
const modelOf = ({ streams: { code } }: Isa): CodeModel => models[code === 'tables' ? 'avx512' : code];

/** Offset and weight, in tables. */
const TABLE_BYTES_PER_PRODUCT = 8;
/** The same from the last cache, and what stays there of a model. */
const CODE_BYTES_PER_NANOSECOND = 36, CACHED_CODE_BYTES = 15 << 20;
/** Tables from memory: the core sees itself what is read next. */
const FAR_TABLE_BYTES_PER_NANOSECOND = 10;

/** Bytes of a function, weights included. */
export const codeBytes = (f: StreamFunction, code: StreamCode = 'avx512'): number => f.weights.length * models[code].product + f.columnCount * models[code].load;

const cyclesFor = ({ least, base, perLoad }: CodeModel, products: number, loads: number): number => Math.max(least * products, base * products + perLoad * loads);

/** Cycles of a function on one tile, to divide functions among threads. */
export const cyclesOf = (f: StreamFunction): number => cyclesFor(models.avx512, f.weights.length, f.columnCount) + 2 * f.rows.length;

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
 * @param tiles that every function runs over, in all calls; `phases`: times that the code is repeated; `layers`: how many layers of this size the model is made of
 */
export function costOf(isa: Isa, p: StreamProduct, tiles: number, phases = 1, form: StreamForm = fastestForm(isa), layers = 1): StreamCost {
  const products = nonZeros(p), density = products / (tapsOf(p.window).length * p.depth * p.rows), { loads } = plainRowBlocks(p, streamRows(isa, form)), model = modelOf(isa);
  const bytes = phases * (form === 'tables' ? products * TABLE_BYTES_PER_PRODUCT : products * model.product + loads * model.load);
  // a vector of 16 lanes is several registers of a narrower machine; tables are read besides the data
  const width = 16 / (isa.lanes * isa.fma.full), cycles = form === 'tables' ? cyclesFor(models.avx512, products, loads) * model.tables : cyclesFor(model, products, loads);
  const stores = tiles * p.rows * 2;
  return { products, density, bytes, nanoseconds: Math.max((tiles * cycles * width + stores) / isa.clock, bytes / (layers * bytes > CACHED_CODE_BYTES ? (form === 'tables' ? FAR_TABLE_BYTES_PER_NANOSECOND : model.far) : CODE_BYTES_PER_NANOSECOND)) };
}
