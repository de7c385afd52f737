/** The CPU's phases: parallel loops and ranges become functions of a part of their units, so that threads can share them. */
import { asIndex, rangeBegin, rangeEnd } from '../../compiler/kir/build.js';
import { constantOf, kernelPhases, type ForStmt, type RangeStmt } from '../../compiler/kir/phases.js';
import type { Expr, Kernel, Stmt } from '../../compiler/kir/types.js';

export interface Phase {
  readonly suffix: string;
  readonly body: readonly Stmt[];
  /** Extent of the range `begin`..`end` that the phase takes; absent where it is not divisible. */
  readonly extent?: number;
  /** Working memory of each worker: what is added to the pointers for every unit before `begin`. */
  readonly own?: NonNullable<RangeStmt['own']>;
}

/** The loop over begin..end (in steps of the loop's own, so a range counts iterations). */
function ranged(loop: ForStmt): { readonly extent: number; readonly loop: Stmt } {
  const extent = Math.ceil(constantOf(loop.to)! / loop.step);
  const scale = (e: Expr): Expr => (loop.step === 1 ? e : { kind: 'binary', op: 'mul', a: e, b: asIndex(loop.step), type: e.type });
  const last: Expr = scale(rangeEnd);
  const to: Expr = constantOf(loop.to)! % loop.step === 0 ? last : { kind: 'binary', op: 'min', a: last, b: loop.to, type: loop.to.type };
  return { extent, loop: { ...loop, from: scale(rangeBegin), to } };
}

export const splitPhases = (kernel: Kernel): Phase[] =>
  kernelPhases(kernel).map(({ suffix, tables, body, loop, range: units }) => {
    if (units) return { suffix, extent: units.extent, body: [...tables, ...units.body], ...(units.own ? { own: units.own } : {}) };
    if (!loop) return { suffix, body: [...tables, ...body] };
    const { extent, loop: part } = ranged(loop);
    return { suffix, extent, body: [...tables, part] };
  });
