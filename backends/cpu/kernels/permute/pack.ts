/** A product as permute functions, the words that they read, and the weights that have no place in them. */
import { groupWords, PERMUTE_LANES, type PermuteFunction, type PermuteStep, type PermuteWeights } from '../../../../compiler/kir/permute.js';
import { blockRegisters } from '../../permute/encode.js';
import { blocksOf, demandOf, stepsOf, type Shape } from './cost.js';
import type { SparseRows } from '../sparse-rows.js';
import { placeWeights, visitsOf } from './placement.js';
import { schedule } from './schedule.js';

/** Groups with one function. */
export interface PermutePart {
  readonly first: number;
  readonly groups: number;
  readonly steps: readonly PermuteStep[];
  /** Of its first word among all. */
  readonly offset: number;
}

export interface PackedProduct {
  readonly type: PermuteWeights;
  readonly parts: readonly PermutePart[];
  readonly words: Uint32Array;
  /** Weights without a step: the lane of their row among all groups', their column and they themselves. */
  readonly loose: { readonly lanes: Uint32Array; readonly columns: Uint32Array; readonly weights: Float32Array };
}

/** What fetching the code of a step costs, in steps. */
const CODE = 0.5;

/** Consecutive groups that share a schedule, of the most steps that one of them needs: where that costs less than more code. */
export function partition(steps: readonly number[]): { readonly first: number; readonly groups: number; readonly steps: number }[] {
  const best = new Float64Array(steps.length + 1).fill(Infinity), from = new Int32Array(steps.length + 1);
  best[0] = 0;
  for (let end = 1; end <= steps.length; end++) {
    for (let first = end - 1, most = 0; first >= 0; first--) {
      most = Math.max(most, steps[first]!);
      const cost = best[first]! + most * (end - first + CODE) + 1;
      if (cost < best[end]!) { best[end] = cost; from[end] = first; }
    }
  }
  const parts: { readonly first: number; readonly groups: number; readonly steps: number }[] = [];
  for (let end = steps.length; end > 0; end = from[end]!) parts.unshift({ first: from[end]!, groups: end - from[end]!, steps: Math.max(...steps.slice(from[end], end)) });
  return parts;
}

export function packProduct(m: SparseRows, shape: Shape, type: PermuteWeights): PackedProduct {
  const registers = blockRegisters[type], lanes = PERMUTE_LANES, bits = new Uint32Array(m.weights.buffer, m.weights.byteOffset, m.weights.length);
  let offset = 0;
  const parts = partition(Array.from(m.most, (most) => stepsOf(most, shape))).map(({ first, groups, steps }): PermutePart => {
    const part = { first, groups, steps: schedule(demandOf(m, first, first + groups), { steps, sources: shape.sources, registers }).filter((s) => s.sources.length > 0), offset };
    offset += groups * groupWords(part.steps, type).length;
    return part;
  });
  const words = new Uint32Array(offset), loose: number[] = [];
  for (const part of parts) {
    const visits = visitsOf(part.steps, Math.ceil(m.columns / lanes)), { length, places } = groupWords(part.steps, type);
    for (let lane = part.first * lanes; lane < (part.first + part.groups) * lanes; lane++) {
      const base = part.offset + (Math.floor(lane / lanes) - part.first) * length + lane % lanes, start = m.starts[lane]!, left = new Set(Array.from({ length: m.starts[lane + 1]! - start }, (_, i) => i));
      placeWeights(blocksOf(m, lane), visits).forEach((w, t) => {
        if (w < 0) return;
        const { sources } = part.steps[t]!, column = m.columnOf[start + w]!, source = sources.indexOf(Math.floor(column / lanes)), index = source % 2 * lanes + column % lanes, at = places[t]!;
        words[base + at.weights]! |= type === 'f32' ? bits[start + w]! : bits[start + w]! >>> 16 << 16 * at.half;
        words[base + at.indices]! |= index << at.shift;
        if (source >= 2) words[base - lane % lanes + (at.mask >> 1)]! |= 1 << 16 * (at.mask & 1) + lane % lanes;
        left.delete(w);
      });
      for (const w of left) loose.push(start + w);
    }
  }
  // by column, so that a row's sum has been stored when it is needed again
  const laneOf = new Uint32Array(m.weights.length);
  for (let lane = 0; lane < m.rowOf.length; lane++) laneOf.fill(lane, m.starts[lane], m.starts[lane + 1]);
  loose.sort((a, b) => m.columnOf[a]! - m.columnOf[b]! || a - b);
  return { type, parts, words, loose: { lanes: Uint32Array.from(loose, (i) => laneOf[i]!), columns: Uint32Array.from(loose, (i) => m.columnOf[i]!), weights: Float32Array.from(loose, (i) => m.weights[i]!) } };
}

/** The function of a part. @param masked for x with infinities or NaN */
export const permuteFunction = (m: SparseRows, part: PermutePart, weights: PermuteWeights, masked: boolean, name: string, title: string): PermuteFunction => ({
  kind: 'permute', name, columns: m.columns, registers: blockRegisters[weights], steps: part.steps, weights, masked,
  doc: [`${title}: ${part.groups} groups of ${PERMUTE_LANES} rows in ${part.steps.length} steps${masked ? ', zero weights left out' : ''}`],
});
