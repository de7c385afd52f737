/** From a product and its geometry to stream functions: row blocks x chunks of columns. */
import type { Clamp, FloatStream, StreamFunction } from '../../../../compiler/kir/stream.js';
import { tapsOf } from '../../../../compiler/core/window.js';
import type { StreamForm } from '../../../../compiler/ir/layout-choice.js';
import type { Isa } from '../../isa.js';
import { codeBytes } from './cost.js';
import type { ProductGeometry } from './geometry.js';
import type { StreamProduct } from './product.js';

export interface StreamFinish {
  readonly bias: Float32Array;
  readonly clamp: Clamp;
  /** Bytes from one tile of the residual to the next, where there is one. */
  readonly residualStep?: number;
}

export interface StreamPlan {
  readonly product: StreamProduct;
  readonly geometry: ProductGeometry;
  readonly finish: StreamFinish;
  /** Bytes of y from one tile to the next. */
  readonly yStep: number;
  /** Output rows of each function of a chunk; those of one group together. */
  readonly blocks: readonly (readonly number[])[];
  readonly cut: Cut;
  /** What the comment of each function begins with. */
  readonly title: string;
  /** A 1x1 product of another tensor that is added: a shortcut convolution as more columns of the same sums. */
  readonly second?: { readonly product: StreamProduct; readonly geometry: ProductGeometry };
}

/**
 * Channels of one group per chunk. A function's columns are a chunk of channels at every tap, so that its part of x stays in L1 while
 * the row blocks go over it; about 1150 columns at 90 % zeros, more where rows are denser, for a function's code to be worth its loads.
 */
export const chunkColumns = (density: number, taps: number): number => (density > 0.15 ? 2304 : taps === 1 ? 768 : 1152);

/** Columns of one function at most, and whether all functions run on one tile before the next. */
export interface Cut {
  readonly chunk: number;
  readonly tileByTile: boolean;
}

/** With few rows, a column is read again so often that it should lie in the first cache: of windows those of neighbouring tiles do, of other products those of one tile. */
const NEAR_COLUMNS = { windows: 576, points: 256 };
/** Products of each row so that a function of few rows stays in the first cache, or as micro-operations. */
const NEAR_PRODUCTS = 157;
/** Bytes of code that stay in the second cache from one tile to the next. */
const NEAR_CODE = 640 << 10;

/**
 * How a product is cut. With AVX2 (six rows) on one core, cycles a product of 16 lanes at 90 and 80 % zeros: points of 256 to 768 channels 2.4 to 2.9 in
 * chunks as of AVX-512, 1.7 and 1.6 tile by tile; 3x3 windows over 128 channels 2.5 and 2.7, and 2.0 and 1.8 in these.
 */
export function cutFor(isa: Isa, form: StreamForm, density: number, taps: number): Cut {
  if (form === 'tables' || isa.streams.code !== 'avx2') return { chunk: chunkColumns(density, taps), tileByTile: false };
  return taps === 1 ? { chunk: NEAR_COLUMNS.points, tileByTile: true } : { chunk: Math.max(64, Math.min(NEAR_COLUMNS.windows, Math.floor(NEAR_PRODUCTS / density))), tileByTile: false };
}

interface Columns {
  readonly offsets: number[];
  readonly masks: number[];
  /** Index of the weight of row 0. */
  readonly weights: number[];
  /** From this column on they are the second product's. */
  readonly second: number;
}

/** Channels of the first product, and whether the second one's follow. */
interface Chunk {
  readonly from: number;
  readonly to: number;
  readonly second: boolean;
}

/** A second product joins the last chunk where that stays small enough, or where another pass over the sums would cost more. */
function chunksOf({ product: p, cut: { chunk }, second }: StreamPlan): Chunk[] {
  const taps = tapsOf(p.window).length, count = Math.max(1, Math.ceil((p.depth * taps) / chunk)), width = Math.ceil(p.depth / count);
  const chunks = Array.from({ length: count }, (_, c): Chunk => ({ from: c * width, to: Math.min(p.depth, (c + 1) * width), second: false }));
  if (!second) return chunks;
  const joins = count === 1 && p.depth * taps + second.product.depth <= 2 * chunk;
  return joins ? [{ ...chunks[0]!, second: true }] : [...chunks, { from: 0, to: 0, second: true }];
}

/** Columns of a chunk for a group, taps outermost as neighbouring channels are neighbours in memory. */
function columnsOf({ product: p, geometry, second }: StreamPlan, phase: number, group: number, { from, to, second: more }: Chunk): Columns {
  const columns = { offsets: [] as number[], masks: [] as number[], weights: [] as number[] };
  for (const { tap } of tapsOf(p.window)) {
    const place = geometry.places[phase]![tap]!;
    for (let c = from; c < to; c++) {
      columns.offsets.push(place.offset + 64 * (group * p.depth + c));
      columns.masks.push(place.mask + 1);
      columns.weights.push((tap * p.depth + c) * p.rows);
    }
  }
  const first = columns.offsets.length;
  for (let c = 0; more && second && c < second.product.depth; c++) {
    columns.offsets.push(second.geometry.places[phase]![0]!.offset + 64 * c);
    columns.masks.push(0);
    columns.weights.push(c * p.rows);
  }
  return { ...columns, second: first };
}

/** Bytes of activations that do not stay in the second cache from one function to the next, and what of x shall stay there. */
const UNCACHED_BYTES = 1 << 20, BAND_BYTES = 512 << 10;
/** Tiles over which a function should run at least: it fetches the next one's code meanwhile. */
const LEAST_BAND = 13;

/** The functions of a chunk: each on everything before the next one, or all of them on one band before the next: so many tiles of a segment, or whole segments. */
export interface StreamChunk {
  readonly functions: readonly StreamFunction[];
  readonly band?: { readonly tiles: number; /** So many functions at a time, where it is not all. */ readonly functions?: number } | { readonly segments: number };
}

/** A band where a chunk's part of x, which every row block reads again, would not stay in the second cache. @param tiles of each of `segments` */
function bandOf({ product: p, geometry, second, blocks, yStep, cut }: StreamPlan, chunk: Chunk, tiles: number, segments: number): StreamChunk['band'] {
  const channels = (chunk.to - chunk.from) * p.group + (chunk.second ? second!.product.depth : 0), own = 64 * channels;
  if (cut.tileByTile && tiles > 1 && blocks.length > 1) return { tiles: 1 };
  if (blocks.length === 1 || segments * tiles * (Math.min(own, geometry.step) + yStep) <= UNCACHED_BYTES) return undefined;
  // lines of windows are other vectors of the same segment, or other segments
  const lines = Math.min(p.window.kernel[0], Math.ceil(segments * tiles / LEAST_BAND)), most = Math.max(LEAST_BAND, Math.floor(BAND_BYTES / (own * lines)));
  if (most < tiles) return { tiles: Math.ceil(tiles / Math.ceil(tiles / most)) };
  const together = Math.max(1, Math.floor(most / tiles));
  return together < segments ? { segments: together } : undefined;
}

/** The functions of an output phase in order of execution: chunks outermost. @param tiles of one call at most, `segments` calls for all of y */
export function streamFunctions(plan: StreamPlan, phase: number, prefix: string, tiles: number, segments: number): StreamChunk[] {
  const { product: p, geometry, finish, second, blocks } = plan, chunks = chunksOf(plan), perGroup = p.rows / p.group;
  const steps = { x: geometry.step, x2: second?.geometry.step ?? 0, y: plan.yStep, r: finish.residualStep ?? 0 };
  return chunks.map((chunk, c): StreamChunk => {
    const first = c === 0, last = c === chunks.length - 1, band = bandOf(plan, chunk, tiles, segments);
    const columns = Array.from({ length: p.group }, (_, g) => columnsOf(plan, phase, g, chunk));
    const part = chunk.to === 0 ? ', the second source' : chunks.length > 1 ? `, channels ${chunk.from} to ${chunk.to - 1}` : '';
    const functions = blocks.map((block, b): FloatStream => {
      const own = columns[Math.floor(block[0]! / perGroup)]!, rows = block.map((r) => 64 * r);
      return {
        name: `${prefix}${c * blocks.length + b}`,
        doc: [`${plan.title}: rows ${rowText(block)}${part}`],
        rows, ...(first ? { start: { bias: Float32Array.from(block, (r) => finish.bias[r]!), ...(finish.residualStep === undefined ? {} : { residual: rows }) } } : {}),
        ...(last ? { finish: { clamp: finish.clamp, mask: geometry.keeps ? geometry.maskCount : 0 } } : {}),
        ...products(own, block, p.weights, second?.product.weights), maskCount: geometry.maskCount, steps, tiles: band && 'tiles' in band ? band.tiles : tiles,
      };
    });
    if (!band || !('tiles' in band) || !plan.cut.tileByTile) return { functions, ...(band ? { band } : {}) };
    const most = Math.max(1, Math.floor(NEAR_CODE / Math.max(1, ...functions.map((f) => codeBytes(f, 'avx2')))));
    return { functions, band: { ...band, ...(most < functions.length ? { functions: most } : {}) } };
  });
}

/** Row numbers as ranges, the first few. */
function rowText(rows: readonly number[]): string {
  const consecutive = rows.every((r, i) => i === 0 || r === rows[i - 1]! + 1);
  return consecutive ? (rows.length === 1 ? `${rows[0]}` : `${rows[0]} to ${rows.at(-1)}`) : rows.join(' ');
}

function products(columns: Columns, rows: readonly number[], first: Float32Array, second = first): Pick<FloatStream, 'columnCount' | 'offsets' | 'sources' | 'columnMasks' | 'starts' | 'rowOf' | 'weights'> {
  let count = 0;
  columns.weights.forEach((base, k) => {
    const weights = k < columns.second ? first : second;
    for (const r of rows) if (weights[base + r] !== 0) count++;
  });
  const offsets = new Int32Array(columns.offsets.length), columnMasks = new Uint8Array(offsets.length), starts = new Uint32Array(offsets.length + 1);
  const rowOf = new Uint8Array(count), sources = new Uint8Array(offsets.length), values = new Float32Array(count);
  let columnCount = 0, next = 0;
  columns.weights.forEach((base, k) => {
    const before = next, weights = k < columns.second ? first : second;
    for (let i = 0; i < rows.length; i++) {
      const w = weights[base + rows[i]!]!;
      if (w === 0) continue;
      rowOf[next] = i;
      values[next++] = w;
    }
    if (next === before) return;
    offsets[columnCount] = columns.offsets[k]!;
    columnMasks[columnCount] = columns.masks[k]!;
    sources[columnCount] = k < columns.second ? 0 : 1;
    starts[columnCount++] = before;
  });
  starts[columnCount] = next;
  return {
    columnCount, offsets: offsets.slice(0, columnCount), sources: sources.slice(0, columnCount), columnMasks: columnMasks.slice(0, columnCount),
    starts: starts.slice(0, columnCount + 1), rowOf, weights: values,
  };
}
