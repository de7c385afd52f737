/** Which blocks of x the steps of a function read: the same ones for all of its rows, which are placed on them afterwards. */
import type { PermuteStep } from '../../../../compiler/kir/permute.js';

export interface ScheduleShape {
  readonly steps: number;
  /** Blocks that a step reads, on average. */
  readonly sources: number;
  /** Blocks in registers. */
  readonly registers: number;
}

/** A number in [0, 1) that looks random: which of several blocks that deserve a visit alike gets it, so that pairs of them vary. */
const scatter = (step: number, block: number): number => (Math.imul(step * 0x9e3779b1 ^ Math.imul(block + 1, 0x85ebca6b), 0xc2b2ae35) >>> 8) / 2 ** 24;
/** Visits that chance may give a block before its turn. */
const CHANCE = 0.7;

/** First block of the window of blocks in registers at each step: it moves as the share of weights behind it grows. */
function windows(demand: Float64Array, { steps, registers }: ScheduleShape): Int32Array {
  const blocks = demand.length, last = Math.max(0, blocks - registers), total = demand.reduce((s, d) => s + d, 0), first = new Int32Array(steps);
  for (let t = 0, block = 0, before = 0; t < steps; t++) {
    while (block < blocks - 1 && before + demand[block]! <= (total * (t + 0.5)) / steps) before += demand[block++]!;
    first[t] = Math.max(0, Math.min(last, block - (registers >> 1)));
  }
  return first;
}

/**
 * Every block is visited in proportion to the weights in its columns, evenly over the time for which it is in a register. Which blocks meet in a
 * step varies, so that a row with many weights in one of them finds steps for them elsewhere.
 * @param demand weights in the columns of each block
 */
export function schedule(demand: Float64Array, shape: ScheduleShape): PermuteStep[] {
  const { steps, sources, registers } = shape, blocks = demand.length, first = windows(demand, shape), span = Math.min(registers, blocks);
  const from = new Int32Array(blocks).fill(steps), to = new Int32Array(blocks).fill(-1), visits = new Int32Array(blocks), held = new Int32Array(registers).fill(-1);
  for (let t = 0; t < steps; t++) {
    for (let b = first[t]!; b < first[t]! + span; b++) {
      from[b] = Math.min(from[b]!, t);
      to[b] = t;
    }
  }
  const perWeight = (steps * sources) / demand.reduce((s, d) => s + d, 0);
  return Array.from({ length: steps }, (_, t): PermuteStep => {
    const due: { readonly block: number; readonly visits: number }[] = [], count = Math.floor((t + 1) * sources) - Math.floor(t * sources);
    for (let b = first[t]!; b < first[t]! + span; b++) {
      if (demand[b]! > 0) due.push({ block: b, visits: (perWeight * demand[b]! * (t + 1 - from[b]!)) / (to[b]! + 1 - from[b]!) - visits[b]! + CHANCE * scatter(t, b) });
    }
    const chosen = due.sort((a, b) => b.visits - a.visits || a.block - b.block).slice(0, count).map((d) => d.block).sort((a, b) => a - b);
    const loads = chosen.filter((b) => held[b % registers] !== b);
    for (const b of chosen) { visits[b]!++; held[b % registers] = b; }
    return { loads, sources: chosen };
  });
}
