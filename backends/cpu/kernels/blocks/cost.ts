/** Predicted time of a product of blocks. */
import type { Isa } from '../../isa.js';
import type { BlockCounts } from './columns.js';
import { CACHED_X } from './product.js';
import { stripCount, stripsOf, type Image, type Strips } from './strips.js';
import { partsOf } from './sums.js';

/** Cycles of a block row of a strip beside its blocks. Fitted, as the rates below, to layers of 512 and 2048 channels with 1 to 14 vectors (Zen 4). */
const BLOCK_ROW = 10;
/** Bytes of weights that stay in the first cache, and bytes a cycle from the second, from a second that is full, and from beyond it. */
const FIRST_CACHE = 24_000, SECOND_CACHE = 700_000, SECOND_RATE = 32, FULL_CACHE = 1_000_000, FULL_RATE = 25, FAR_RATE = 21;

/** Cycles an element of x takes to be copied as a column. */
const TRANSPOSE = 1.2;

/** Points in registers at a time, where `vectors` vectors of outputs share a column. */
const mostPoints = (isa: Isa, vectors: number): number =>
  (vectors === 1 ? Math.min(28, isa.registers - 2) : Math.max(1, Math.floor((isa.registers - 1 - vectors) / vectors)));

/** Outputs of a product up to which reading weights takes the time, so that 16 bits are better than 32. */
const HALVES_POINTS = 4;

/** How blocks of `width` outputs are summed, and the cycles that takes. */
export function planBlocks(isa: Isa, image: Image, blocks: BlockCounts, width: number, blockRows: number, bf16: boolean): { readonly halves: boolean; readonly strips: Strips; readonly nanoseconds: number; readonly bytes: number } {
  const vectors = width / isa.lanes, strips = stripsOf(image, mostPoints(isa, vectors));
  const count = blocks.full + blocks.partial, tables = 2 * count + 8 * blockRows;
  const pixels = image.images * image.rows * image.columns * image.window[0] * image.window[1], halves = bf16 && pixels <= HALVES_POINTS && 4 * width * count > FIRST_CACHE;
  const bytes = (halves ? 2 : 4) * width * count + tables;
  let cycles = 0;
  for (const r of strips.rows) {
    for (const c of strips.columns) {
      const points = r.size * c.size * image.window[0] * image.window[1], sums = points * vectors;
      const [height, width] = [r.size, c.size].map((n, d) => (n * image.window[d]! - 1) * image.stride[d]! + 1) as [number, number];
      // points of a column are lines of their own, which come from the second cache where a strip's part of x is large
      const lines = points / isa.loads.narrow + (image.pixel > 1 && 4 * height * width * image.channels > CACHED_X ? points * (64 / SECOND_RATE) : 0);
      // several strips of columns that do not stay in the first cache: measured with 49 points of 512 and of 2048 channels
      const far = image.pixel === 1 && stripCount(strips) > 1 ? points * 0.9 * Math.min(1, (4 * image.columns * image.channels) / 400_000) : 0;
      const chain = (isa.latency * sums) / (sums * partsOf(isa, sums));
      const multiply = Math.max(sums / isa.fma.full, chain) + (halves ? vectors / 2 / isa.fma.full : 0), loads = lines + 1 / isa.loads.narrow + vectors / isa.loads.full;
      const step = Math.max(multiply, loads, 1) + far + 0.05, masked = Math.max(multiply + sums / 2, loads, chain) + vectors + far + 0.25;
      const memory = bytes <= FIRST_CACHE ? 0 : bytes / (bytes <= SECOND_CACHE ? SECOND_RATE : bytes <= FULL_CACHE ? FULL_RATE : FAR_RATE);
      cycles += image.images * r.count * c.count * (Math.max(blocks.full * step + blocks.partial * masked, memory) + blockRows * (BLOCK_ROW + 2 * r.size * c.size * vectors));
    }
  }
  const copied = image.pixel === 1 && image.channel > 1 ? image.columns * image.channels * TRANSPOSE : 0;
  return { halves, strips, bytes, nanoseconds: (cycles + copied) / isa.clock };
}
