/**
 * The calls of a product's stream functions: in which order, and which of them are whose where threads share them.
 *
 * Every function of a phase runs on all of its segments before the next function, so that code and weights are read once; or, where a chunk's part of x
 * is too large for that, on one band of tiles after the other.
 *
 * Threads take tiles, so that what one wrote is mostly read and written again by the same, and of a tile in the middle functions, where there is much to compute
 * for what is written; or row blocks, where code and weights are so much larger that each had better read a part of them only. The same parts in every chunk, so that sums are continued by whoever began
 * them and nobody has to wait.
 */
import { add, forLoop, ifStmt, min, mul, nullPointer, pointer, range, ref } from '../../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { StreamFunction } from '../../../../compiler/kir/stream.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import { sharesOf, type Piece, type Share } from '../shares.js';
import { codeBytes, cyclesOf } from './cost.js';
import { streamFunctions, type StreamChunk, type StreamPlan } from './functions.js';
import { residualAt, type Segment } from './geometry.js';

export interface Tensors {
  readonly x: TensorRef;
  readonly y: TensorRef;
  readonly residual: TensorRef | undefined;
  /** Source of the second product. */
  readonly x2: TensorRef | undefined;
}

/** The functions of an output phase, and what they run on. */
interface OutputPhase {
  readonly chunks: readonly StreamChunk[];
  readonly segments: readonly (Segment & { readonly x2: number })[];
}

/** A function on a segment: on the tiles that are the worker's own. */
interface Call {
  readonly function: StreamFunction;
  readonly segment: OutputPhase['segments'][number];
  readonly share: Share;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/**
 * Bytes of code that are read as fast as a byte of activations becomes writable again that another core has read: 64 bytes of these were measured to take
 * 6.5 ns (27 between groups of cores with caches of their own), code comes at 36 bytes a nanosecond, half of it read by both.
 */
const CODE_PER_SHARED_BYTE = 4;

/** Whole tiles are taken where there are so many, and a tile takes so few cycles for each line of 64 bytes that it writes: two cores that share the one in the middle would wait longer. */
const WHOLE_TILES = 8, SHARED_LINE_CYCLES = 36;

/** The work of all phases by tiles or by row blocks, and the shares of each phase: [segment][block]. */
function divided(k: KernelBuilder, phases: readonly OutputPhase[], byRows: boolean): { readonly extent: number; readonly shares: readonly Share[]; readonly of: (phase: number, segment: number, block: number) => Share } {
  const pieces: Piece[] = [], starts: number[] = [];
  for (const { chunks, segments } of phases) {
    starts.push(pieces.length);
    const costs = chunks[0]!.functions.map((_, b) => sum(chunks.map((c) => cyclesOf(c.functions[b]!))));
    const total = sum(costs), isWhole = sum(segments.map((s) => s.tiles)) >= WHOLE_TILES && total < SHARED_LINE_CYCLES * sum(chunks[0]!.functions.map((f) => f.rows.length));
    for (const own of byRows ? costs.map((c) => [c]) : [isWhole ? [total] : costs]) for (const s of segments) pieces.push({ count: s.tiles, costs: own });
  }
  const { extent, shares } = sharesOf(k, pieces);
  return { extent, shares: shares.flat(), of: (phase, segment, block) => (byRows ? shares[starts[phase]! + block * phases[phase]!.segments.length + segment]![0]! : (shares[starts[phase]! + segment]![block] ?? shares[starts[phase]! + segment]![0]!)) };
}

/** The statements of calls that follow one another: those of one share under one condition. */
function grouped(calls: readonly Call[], window: { readonly from: Expr; readonly to: Expr } | undefined, on: (c: Call, first: Expr, tiles: Expr) => Stmt): Stmt[] {
  const statements: Stmt[] = [];
  for (let i = 0; i < calls.length;) {
    const { share } = calls[i]!, { first, count, any } = share.within(window), own: Stmt[] = [];
    for (; i < calls.length && calls[i]!.share === share; i++) own.push(on(calls[i]!, first, count));
    statements.push(ifStmt(any, own));
  }
  return statements;
}

export function streamCalls(k: KernelBuilder, plan: StreamPlan, { x, y, residual, x2 }: Tensors): Stmt[] {
  const { geometry, second } = plan, { maskCount } = geometry;
  const masks = maskCount === 0 ? undefined : k.constant('masks', { kind: 'dense', dtype: 'u16', shape: [geometry.masks.length], data: geometry.masks });
  const on = ({ function: f, segment: s }: Call, first: Expr, tiles: Expr): Stmt => {
    const from = (start: number, bytes: number): Expr => add(mul(first, bytes / 4), start);
    return k.callRoutine(f, pointer(x.param, from(s.x, f.steps.x)), tiles, masks === undefined ? nullPointer : pointer(masks, mul(add(first, s.masks), maskCount)),
      x2 ? pointer(x2.param, from(s.x2, f.steps.x2)) : nullPointer, pointer(y.param, from(s.y, f.steps.y)),
      residual ? pointer(residual.param, from(residualAt(residual.layout!, y.layout!, s.y), f.steps.r)) : nullPointer);
  };
  const phases = geometry.places.map((_, phase): OutputPhase => {
    const segments = geometry.segments.flatMap((s, i) => (s.phase === phase ? [{ ...s, x2: second?.geometry.segments[i]!.x ?? 0 }] : []));
    return { segments, chunks: streamFunctions(plan, phase, geometry.places.length > 1 ? `p${phase}_` : 's', Math.max(...segments.map((s) => s.tiles)), segments.length) };
  });
  const code = sum(phases.flatMap((p) => p.chunks.flatMap((c) => c.functions.map((f) => codeBytes(f))))), tiles = sum(geometry.segments.map((s) => s.tiles));
  const work = divided(k, phases, code > CODE_PER_SHARED_BYTE * tiles * plan.yStep);
  const body = phases.flatMap(({ chunks, segments }, phase) => chunks.flatMap(({ functions, band }) => {
    const calls = (from: number, to: number, first = 0, end = functions.length): Call[] => functions.slice(first, end).flatMap((f, j) => segments.slice(from, to).map((segment, i): Call => ({ function: f, segment, share: work.of(phase, from + i, first + j) })));
    if (!band) return grouped(calls(0, segments.length), undefined, on);
    if ('tiles' in band) {
      const { functions: most = functions.length } = band;
      return Array.from({ length: Math.ceil(functions.length / most) }, (_, g) => g * most).flatMap((first) => segments.map((s, i) => {
        const t = k.name('t');
        return forLoop(t, s.tiles, grouped(calls(i, i + 1, first, first + most), { from: ref(t), to: min(s.tiles, add(ref(t), band.tiles)) }, on), {}, 0, band.tiles);
      }));
    }
    return Array.from({ length: Math.ceil(segments.length / band.segments) }, (_, b) => grouped(calls(b * band.segments, (b + 1) * band.segments), undefined, on)).flat();
  }));
  return [range(work.extent, [...work.shares.flatMap((s) => s.declare), ...body])];
}
