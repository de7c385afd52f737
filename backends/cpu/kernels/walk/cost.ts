/** Cycles of a walk over non-zeros. */
import type { Isa } from '../../isa.js';
import { LINE, WIDTH } from './cover.js';
import { chunksOf, FEW_CHANNELS, type Walk } from './walk.js';

/** A square of 16x16 elements transposed: loads, shuffles, stores. */
const SQUARE_CYCLES = 90;
/** A line of one channel, element by element. */
const LINE_CYCLES = 20;
/** A filter's sums begin and end, its last entry is not foreseen. */
const FILTER_CYCLES = 22;

/** Fitted to networks for speech commands and digits on a core of 2022 (12 to 30 sums, 1 to 60 entries a filter): within 15 %. */
export function cyclesOf(isa: Isa, w: Walk): number {
  const passes = WIDTH / Math.min(isa.lanes, WIDTH), rate = isa.lanes > WIDTH ? isa.fma.narrow : isa.fma.full, vectors = Math.ceil((w.cover.vectors.length * WIDTH) / LINE);
  const lines = w.cover.lines * (w.channels < FEW_CHANNELS ? w.channels * LINE_CYCLES : Math.ceil(w.channels / LINE) * SQUARE_CYCLES);
  const walked = w.groups.reduce((n, g) => {
    const sums = g.reduce((s, r) => s + r.sums.length, 0);
    return n + w.nonZeros * ((passes * sums + 1) / rate + 1) + chunksOf(w) * w.filters * (FILTER_CYCLES + passes * sums);
  }, 0);
  return lines + walked + vectors * Math.ceil(w.filters / LINE) * SQUARE_CYCLES;
}
