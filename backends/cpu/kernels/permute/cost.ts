/** Predicted time of a product in permute form, and how many steps of how many sources make it least. */
import { INDICES_PER_WORD, PERMUTE_LANES, type PermuteWeights } from '../../../../compiler/kir/permute.js';
import type { Isa } from '../../isa.js';
import { blockRegisters } from '../../permute/encode.js';
import type { SparseRows } from '../sparse-rows.js';
import { placeWeights, visitsOf } from './placement.js';
import { schedule } from './schedule.js';

/**
 * Cycles of a step of one to four sources where words come from the second cache, and from beyond. Fitted to layers of 512 to 2048 columns on Zen 4, which
 * starts one 512-bit permutation and one multiply-add a cycle on common ports: up to two sources the words bind (75 bytes a step), with more the ports;
 * of bf16 weights, which are 43 bytes and an operation more, the ports.
 */
const STEP = { f32: { near: [0, 2.3, 2.35, 2.9, 3.2], far: [0, 2.75, 2.8, 3.3, 3.45] }, bf16: { near: [0, 2, 2, 2.7, 3], far: [0, 2.3, 2.3, 3.05, 3.15] } } as const;
/** Bytes of words that stay in the second cache. */
const SECOND_CACHE = 700_000;
/** Cycles of a weight that is not in a step; of a row's result; of a call. */
const LOOSE_WEIGHT = 3, RESULT = 0.6, CALL = 40;
/** A load of a block, beside the steps. */
const LOAD = 0.35;

export interface Shape {
  /** Steps for each weight of the longest rows of a group, and sources of a step on average. */
  readonly ratio: number;
  readonly sources: number;
}

const SHAPES: readonly Shape[] = [1.5, 2, 2.5, 3, 3.5, 4].flatMap((sources) => [1.03, 1.08, 1.14, 1.22, 1.35].map((ratio) => ({ sources, ratio })));
/** Groups on which shapes are tried. */
const TRIED = 2;

export const stepsOf = (most: number, { ratio }: Shape): number => Math.ceil(most * ratio);

/** Cycles of a step of so many sources on average, whole numbers alternating. */
function stepCycles(table: readonly number[], sources: number): number {
  const low = Math.floor(sources), part = sources - low;
  return table[low]! * (1 - part) + (part > 0 ? table[low + 1]! * part : 0);
}

/** Block of each weight of a lane. */
export const blocksOf = (m: SparseRows, lane: number): Uint32Array => m.columnOf.subarray(m.starts[lane]!, m.starts[lane + 1]!).map((c) => Math.floor(c / PERMUTE_LANES));

/** Weights in the columns of each block, of groups from `first` to `end`. */
export function demandOf(m: SparseRows, first: number, end: number): Float64Array {
  const demand = new Float64Array(Math.ceil(m.columns / PERMUTE_LANES));
  for (let i = m.starts[first * PERMUTE_LANES]!; i < m.starts[end * PERMUTE_LANES]!; i++) demand[Math.floor(m.columnOf[i]! / PERMUTE_LANES)]!++;
  return demand;
}

/** Weights of a group that find no step, and blocks loaded. */
function tryShape(m: SparseRows, group: number, shape: Shape, registers: number): { readonly loose: number; readonly loads: number } {
  const demand = demandOf(m, group, group + 1), steps = schedule(demand, { steps: stepsOf(m.most[group]!, shape), sources: shape.sources, registers }), visits = visitsOf(steps, demand.length);
  let loose = 0;
  for (let lane = group * PERMUTE_LANES; lane < (group + 1) * PERMUTE_LANES; lane++) {
    const blocks = blocksOf(m, lane);
    loose += blocks.length - placeWeights(blocks, visits).reduce((n, w) => n + (w >= 0 ? 1 : 0), 0);
  }
  return { loose, loads: demand.length <= registers ? 0 : steps.reduce((n, s) => n + s.loads.length, 0) };
}

export interface PermuteCost {
  readonly shape: Shape;
  readonly nanoseconds: number;
  /** Bytes of words and code. */
  readonly bytes: number;
}

/** The best shape, by trying all on a few groups, and what a product of `batch` vectors takes in it. */
export function permuteCost(isa: Isa, m: SparseRows, batch: number, type: PermuteWeights): PermuteCost | undefined {
  const groups = Array.from({ length: m.groups }, (_, g) => g).filter((g) => m.most[g]! > 0);
  const tried = Array.from({ length: Math.min(TRIED, groups.length) }, (_, i) => groups[Math.floor(((i + 1) * groups.length) / (TRIED + 1))]!);
  const total = m.most.reduce((n, s) => n + s, 0);
  const options = SHAPES.map((shape): PermuteCost => {
    const words = total * shape.ratio * PERMUTE_LANES * 4 * ((type === 'bf16' ? 0.5 : 1) + 1 / INDICES_PER_WORD), table = STEP[type][words <= SECOND_CACHE ? 'near' : 'far'];
    let own = 0, weights = 0;
    for (const g of tried) {
      const { loose, loads } = tryShape(m, g, shape, blockRegisters[type]);
      own += stepsOf(m.most[g]!, shape) * stepCycles(table, shape.sources) + loose * LOOSE_WEIGHT + loads * LOAD;
      weights += m.most[g]!;
    }
    const cycles = (weights === 0 ? 0 : (own * total) / weights) + m.groups * (12 + PERMUTE_LANES * RESULT) + CALL + m.columns / 8;
    return { shape, nanoseconds: (batch * cycles) / isa.clock, bytes: Math.ceil(words) };
  });
  return options.reduce<PermuteCost | undefined>((a, b) => (a && a.nanoseconds <= b.nanoseconds ? a : b), undefined);
}
