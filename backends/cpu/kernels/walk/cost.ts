/** Cycles of a walk over non-zeros. */
import type { Isa } from '../../isa.js';
import { LINE, WIDTH } from './cover.js';
import { chunksOf, type Walk } from './walk.js';

/** A square of 16x16 elements transposed: loads, shuffles, stores. */
const SQUARE_CYCLES = 90;
/** A filter's sums begin and end, its last entry is not foreseen. */
const FILTER_CYCLES = 22;

/** Fitted to networks for speech commands and digits on a core of 2022 (12 to 30 sums, 1 to 60 entries a filter): within 15 %. */
export function nanosecondsOf(isa: Isa, w: Walk): number {
  const entries = w.entries.reduce((n, f) => n + f.length, 0), passes = WIDTH / Math.min(isa.lanes, WIDTH), rate = isa.lanes > WIDTH ? isa.fma.narrow : isa.fma.full;
  const squares = w.cover.lines * Math.ceil(w.channels / LINE) + Math.ceil((w.cover.vectors.length * WIDTH) / LINE) * Math.ceil(w.filters / LINE);
  const walked = w.groups.reduce((n, g) => {
    const sums = g.reduce((s, r) => s + r.sums.length, 0);
    return n + entries * ((passes * sums + 1) / rate + 1) + chunksOf(w) * w.filters * (FILTER_CYCLES + passes * sums);
  }, 0);
  return (squares * SQUARE_CYCLES + walked) / isa.clock;
}
