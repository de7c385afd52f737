/**
 * Splits a kernel at its top level into phases that can run one after the other with a barrier in between: a phase is one
 * parallel loop, one range, one call that has a grid, or a run of other statements. What shares a phase's iterations among workers (CPU threads, CUDA threads) is
 * the target's business.
 */
import type { Expr, Grid, Kernel, Stmt } from './types.js';

export type ForStmt = Extract<Stmt, { kind: 'for' }>;
export type RangeStmt = Extract<Stmt, { kind: 'range' }>;
export type GridCall = Extract<Stmt, { kind: 'call' }> & { readonly grid: Grid };

export interface KernelPhase {
  /** Distinguishes the phases of one kernel in function names; empty where there is one only. */
  readonly suffix: string;
  /** Constant tables that the phase may read. */
  readonly tables: readonly Stmt[];
  /** The phase's statements; exactly `[loop]` where it has a parallel loop, `[range]` where it is a range, `[gridCall]` where it is such a call. */
  readonly body: readonly Stmt[];
  /** A parallel loop from 0 to a constant. */
  readonly loop?: ForStmt;
  readonly range?: RangeStmt;
  readonly gridCall?: GridCall;
}

export const constantOf = (e: Expr): number | undefined => (e.kind === 'const' ? Number(e.value) : undefined);

/** True for a parallel loop from 0 whose extent is known. */
export const isDivisible = (s: Stmt): s is ForStmt =>
  s.kind === 'for' && s.attrs.parallel === true && constantOf(s.from) === 0 && constantOf(s.to) !== undefined;

const isGridCall = (s: Stmt): s is GridCall => s.kind === 'call' && s.grid !== undefined;

export function kernelPhases(kernel: Pick<Kernel, 'body'>): KernelPhase[] {
  const tables = kernel.body.filter((s) => s.kind === 'array' && s.init);
  const rest = kernel.body.filter((s) => !tables.includes(s));
  // values that live across statements tie them together
  const tied = rest.some((s) => s.kind === 'let' || s.kind === 'var' || s.kind === 'array' || s.kind === 'assign');
  if (tied) return [{ suffix: '', tables, body: rest }];
  const phases: Omit<KernelPhase, 'suffix'>[] = [];
  let serial: Stmt[] = [];
  const flush = (): void => {
    if (serial.some((s) => s.kind !== 'comment')) phases.push({ tables, body: serial });
    serial = [];
  };
  for (const s of rest) {
    if (isDivisible(s) || s.kind === 'range' || isGridCall(s)) {
      flush();
      phases.push({ tables, body: [s], ...(s.kind === 'range' ? { range: s } : s.kind === 'for' ? { loop: s } : { gridCall: s }) });
    } else serial.push(s);
  }
  flush();
  return phases.map((p, i) => ({ ...p, suffix: phases.length === 1 ? '' : `_${i}` }));
}
