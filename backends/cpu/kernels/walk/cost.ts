/** Cycles of a walk over non-zeros. */
import type { Isa } from '../../isa.js';
import { LINE, WIDTH } from './cover.js';
import { chunksOf, FEW_CHANNELS, type Walk } from './walk.js';

/** A square of 16x16 elements transposed: loads, shuffles, stores. */
const SQUARE_CYCLES = 78;
/** A line of one channel. */
const LINE_CYCLES = 14;
/** A filter begins and ends; each of its sums is loaded and stored once more where it is summed up in several chunks. */
const FILTER_CYCLES = 10, RESUMED_CYCLES = 0.9;

/** Fitted to networks for speech commands and digits on a core of 2022 (8 to 28 sums, 1 to 60 entries a filter): within 10 %. */
export function cyclesOf(isa: Isa, w: Walk): number {
  const passes = WIDTH / Math.min(isa.lanes, WIDTH), rate = isa.lanes > WIDTH ? isa.fma.narrow : isa.fma.full;
  const vectors = Math.ceil((w.cover.vectors.length * WIDTH) / LINE), chunks = chunksOf(w);
  const lines = w.cover.lines * (w.channels < FEW_CHANNELS ? w.channels * LINE_CYCLES : Math.ceil(w.channels / LINE) * SQUARE_CYCLES);
  const walked = w.groups.reduce((n, g) => {
    const sums = passes * g.reduce((s, r) => s + r.sums.length, 0);
    return n + w.nonZeros * ((sums + 1) / rate + 1) + chunks * w.filters * (FILTER_CYCLES + (chunks > 1 ? RESUMED_CYCLES * sums : 0));
  }, 0);
  return lines + walked + vectors * Math.ceil(w.filters / LINE) * SQUARE_CYCLES;
}
