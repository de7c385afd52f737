/**
 * Splits a kernel into phases that can each be shared among threads: a phase is one top-level parallel loop, or a run of other
 * statements. Phases become C functions; those of parallel loops take a range.
 */
import { asIndex, ref } from '../../compiler/kir/build.js';
import type { Expr, Kernel, Stmt } from '../../compiler/kir/types.js';

export interface Phase {
  readonly suffix: string;
  readonly body: readonly Stmt[];
  /** Extent of the range `begin`..`end` that the phase takes; absent where it is not divisible. */
  readonly extent?: number;
}

type ForStmt = Extract<Stmt, { kind: 'for' }>;
const constantOf = (e: Expr): number | undefined => (e.kind === 'const' ? Number(e.value) : undefined);

function divisible(s: Stmt): s is ForStmt {
  return s.kind === 'for' && s.attrs.parallel === true && constantOf(s.from) === 0 && constantOf(s.to) !== undefined;
}

/** The loop over begin..end (in steps of the loop's own, so a range counts iterations). */
function ranged(loop: ForStmt): Phase {
  const extent = Math.ceil(constantOf(loop.to)! / loop.step);
  const scale = (e: Expr): Expr => (loop.step === 1 ? e : { kind: 'binary', op: 'mul', a: e, b: asIndex(loop.step), type: e.type });
  const last: Expr = scale(ref('end'));
  const to: Expr = constantOf(loop.to)! % loop.step === 0 ? last : { kind: 'binary', op: 'min', a: last, b: loop.to, type: loop.to.type };
  return { suffix: '', extent, body: [{ ...loop, from: scale(ref('begin')), to }] };
}

export function splitPhases(kernel: Kernel): Phase[] {
  const { body } = kernel;
  const tables = body.filter((s) => s.kind === 'array' && s.init);
  const rest = body.filter((s) => !(s.kind === 'array' && s.init));
  // values that live across statements tie them together
  const tied = rest.some((s) => s.kind === 'let' || s.kind === 'var' || s.kind === 'array' || s.kind === 'assign');
  if (tied) return [{ suffix: '', body }];
  const phases: Phase[] = [];
  let serial: Stmt[] = [];
  const flush = (): void => {
    if (serial.some((s) => s.kind !== 'comment')) phases.push({ suffix: '', body: [...tables, ...serial] });
    serial = [];
  };
  for (const s of rest) {
    if (divisible(s)) {
      flush();
      const phase = ranged(s);
      phases.push({ ...phase, body: [...tables, ...phase.body] });
    } else serial.push(s);
  }
  flush();
  return phases.length === 1 ? phases : phases.map((p, i) => ({ ...p, suffix: `_${String.fromCharCode(97 + i)}` }));
}
