/** Vector forms of scalar expressions, and vector stores through an epilogue. */
import type { DType } from '../../../compiler/ir/dtype.js';
import { add, asIndex, cast, constant, exprSize, f32, forLoop, load, mapExpr, max, min, mul, ref, splat, store, substituteArgs, unary, vector, vload } from '../../../compiler/kir/build.js';
import type { BoundEpilogue, KernelBuilder, TensorRef } from '../../../compiler/kir/kernel-builder.js';
import type { BinaryOp, Expr, Stmt, UnaryOp } from '../../../compiler/kir/types.js';

/** A register's worth of channels: `count` of `lanes` are real, the first is channel `offset` of its block. */
export interface ChannelVector {
  readonly lanes: number;
  readonly count: number;
  readonly offset: number;
  /** How many are real, where that is known only at run time: `count` at most. */
  readonly live?: Expr;
}

/** Splits `channels` into vectors of the widest kind and one narrower for the rest, whose unused lanes hold zeros. */
export function channelVectors(channels: number, widest: number): ChannelVector[] {
  const vectors: ChannelVector[] = [];
  let offset = 0;
  for (; channels - offset >= widest; offset += widest) vectors.push({ lanes: widest, count: widest, offset });
  const rest = channels - offset;
  if (rest > 0) vectors.push({ lanes: rest <= 4 ? 4 : rest <= 8 ? 8 : widest, count: rest, offset });
  return vectors;
}

const vectorBinary: ReadonlySet<BinaryOp> = new Set(['add', 'sub', 'mul', 'min', 'max']);
const vectorUnary: ReadonlySet<UnaryOp> = new Set(['neg', 'abs', 'floor', 'ceil', 'round', 'trunc', 'sqrt', 'exp', 'log', 'tanh', 'erf', 'sigmoid']);
const costly: ReadonlySet<string> = new Set(['exp', 'log', 'tanh', 'erf', 'sigmoid']);
const narrow: ReadonlySet<string> = new Set(['i8', 'u8', 'i16', 'u16']);

/** True where every operation of `e` has a vector form with the meaning of the scalar one. Narrow integers are only converted. */
export function isVectorizable(e: Expr): boolean {
  const { dtype } = e.type, sub = isVectorizable;
  if (narrow.has(dtype)) return e.kind === 'cast' && e.a.type.dtype !== 'bool' && sub(e.a);
  if (dtype !== 'f32' && dtype !== 'i32' && dtype !== 'bool') return false;
  switch (e.kind) {
    case 'arg': case 'const': return dtype !== 'bool';
    case 'binary':
      if (dtype === 'bool') return (e.op === 'and' || e.op === 'or') && sub(e.a) && sub(e.b);
      return (vectorBinary.has(e.op) || (e.op === 'div' && dtype === 'f32')) && sub(e.a) && sub(e.b);
    case 'compare': return (e.a.type.dtype === 'f32' || e.a.type.dtype === 'i32') && sub(e.a) && sub(e.b);
    case 'unary':
      if (dtype === 'bool') return e.op === 'not' && sub(e.a);
      return dtype === 'f32' ? vectorUnary.has(e.op) && sub(e.a) : e.op === 'neg' && sub(e.a);
    case 'select': return sub(e.cond) && sub(e.a) && sub(e.b);
    case 'cast': return e.a.type.dtype !== 'bool' && dtype !== 'bool' && sub(e.a);
    case 'fma': return sub(e.a) && sub(e.b) && sub(e.c);
    default: return false;
  }
}

/**
 * An integer made of round(x) + z between two bounds is rounded last, where it is converted (one instruction does both), behind bounds
 * that z is taken off: rounding keeps the order, and bounds and z are integers.
 */
function roundedLast(e: Expr): Expr {
  if (e.kind !== 'cast' || e.type.dtype === 'f32' || e.a.type.dtype !== 'f32' || e.a.kind !== 'binary' || e.a.op !== 'min' || e.a.a.kind !== 'binary' || e.a.a.op !== 'max') return e;
  const { a: low, b: value } = e.a.a, high = e.a.b;
  const [rounded, shift] = value.kind === 'binary' && value.op === 'add' && value.b.kind === 'const' ? [value.a, Number(value.b.value)] : [value, 0];
  if (rounded.kind !== 'unary' || rounded.op !== 'round' || low.kind !== 'const' || high.kind !== 'const') return e;
  const bounds = [Number(low.value), Number(high.value)];
  if (![...bounds, shift].every((v) => Number.isInteger(v) && Math.abs(v) < 2 ** 20)) return e;
  const [from, to] = bounds.map((v) => f32(v - shift)), integer = cast(unary('round', min(max(from!, rounded.a), to!)), 'i32');
  return cast(shift === 0 ? integer : add(integer, constant('i32', shift)), e.type.dtype);
}

/** `e` with vectors in the place of its arguments and every constant in all lanes. */
export const vectorised = (e: Expr, args: readonly Expr[], lanes: number): Expr =>
  mapExpr(mapExpr(e, roundedLast), (x) => {
    if (x.kind === 'const') return constant(x.type.dtype, x.value, lanes);
    return x.kind === 'arg' ? args[x.index]! : x;
  });

/** Whether elements of `t` that differ in the last coordinate only are neighbours, or all one. */
const isRow = (t: TensorRef): boolean => t.shape.length === 0 || t.shape.at(-1) === 1 || t.strides.at(-1) === 1;
const vectorTypes: ReadonlySet<DType> = new Set<DType>(['f32', 'i32', 'i8', 'u8', 'i16', 'u16']);

/** How the results of a kernel leave its registers. */
export type EpilogueMode = 'registers' | 'vectors' | 'scalars';

/**
 * `registers`: applied to each accumulator where it is. `vectors`: spilled, then a loop of vectors, so that long expressions are
 * printed once. `scalars`: spilled, then a loop of elements (operations or types without a vector form).
 */
function epilogueMode(epilogue: BoundEpilogue | undefined, acc: DType, y: TensorRef): EpilogueMode {
  if (!vectorTypes.has(y.dtype) || y.strides.at(-1) !== 1) return 'scalars';
  if (!epilogue) return y.dtype === acc ? 'registers' : 'scalars';
  const { expr, inputs } = epilogue;
  const direct = isVectorizable(expr) && (expr.type.dtype === y.dtype) && inputs.every((t) => isRow(t) && (t.dtype === 'f32' || t.dtype === 'i32'));
  if (!direct) return 'scalars';
  let heavy = exprSize(expr) > 12;
  mapExpr(expr, (x) => { if (x.kind === 'unary' && costly.has(x.op)) heavy = true; return x; });
  return heavy ? 'vectors' : 'registers';
}

/** Where results go, and what happens to them on the way. */
export interface Output {
  readonly y: TensorRef;
  readonly acc: DType;
  readonly epilogue: BoundEpilogue | undefined;
  readonly mode: EpilogueMode;
}

export const outputOf = (y: TensorRef, acc: DType, epilogue: BoundEpilogue | undefined): Output =>
  ({ y, acc, epilogue, mode: epilogueMode(epilogue, acc, y) });

/** Coordinates of a broadcast operand's element that belongs to element `at` of the output. */
const ownCoordinates = (t: TensorRef, at: readonly (Expr | number)[]): (Expr | number)[] =>
  at.slice(at.length - t.shape.length).map((i, d) => (t.shape[d] === 1 ? 0 : i));

/** Stores a vector of consecutive elements, the first of which is `at`, through the epilogue (which has a vector form). */
export function storeVector(k: KernelBuilder, { y, epilogue }: Output, at: readonly (Expr | number)[], value: Expr, v: ChannelVector): Stmt {
  const row = (t: TensorRef): Expr => {
    const address = k.address(t, ownCoordinates(t, at));
    return t.shape.length === 0 || t.shape.at(-1) === 1
      ? splat(load(t.param, t.dtype, address), v.lanes)
      : vload(t.param, vector(t.dtype, v.lanes), address, v.live ?? v.count);
  };
  const result = epilogue ? vectorised(epilogue.expr, [value, ...epilogue.inputs.map(row)], v.lanes) : value;
  return store(y.param, k.address(y, at), result, v.live ?? v.count);
}

/** Stores one element through the epilogue. */
export function storeElement(k: KernelBuilder, { y, epilogue }: Output, at: readonly (Expr | number)[], value: Expr): Stmt {
  const result = epilogue ? substituteArgs(epilogue.expr, [value, ...epilogue.inputs.map((t) => k.load(t, ownCoordinates(t, at)))]) : value;
  return k.storeRaw(y, at, result);
}

export interface Accumulators {
  readonly points: number;
  readonly vectors: readonly ChannelVector[];
  /** The accumulator of a point and a vector. */
  value(point: number, vector: number): Expr;
}

/**
 * Stores a tile of accumulators. `at` gives the coordinates of an output element from its point (relative to the tile) and channel
 * (relative to the block).
 */
export function storeTile(k: KernelBuilder, output: Output, tile: Accumulators,
  at: (point: Expr | number, channel: Expr | number) => (Expr | number)[]): Stmt[] {
  const { vectors, points } = tile, { acc } = output;
  const all = Array.from({ length: points }, (_, p) => p);
  if (output.mode === 'registers') {
    return all.flatMap((p) => vectors.map((v, j) => storeVector(k, output, at(p, v.offset), tile.value(p, j), v)));
  }
  const width = vectors.reduce((s, v) => s + v.lanes, 0), channels = vectors.reduce<Expr>((s, v) => add(s, v.live ?? v.count), asIndex(0));
  const spill = k.name('tile');
  const point = k.name('p');
  const place = (p: Expr | number, c: Expr | number): Expr => add(mul(asIndex(p), width), asIndex(c));
  const body = (): Stmt[] => {
    if (output.mode === 'vectors') {
      return vectors.flatMap((v) => {
        const value = k.let('sum', vload(spill, vector(acc, v.lanes), place(ref(point), v.offset)));
        return [value.declare, storeVector(k, output, at(ref(point), v.offset), value.ref, v)];
      });
    }
    const c = k.name('c');
    return [forLoop(c, channels, [storeElement(k, output, at(ref(point), ref(c)), load(spill, acc, place(ref(point), ref(c))))])];
  };
  return [
    { kind: 'array', name: spill, dtype: acc, size: points * width },
    ...all.flatMap((p) => vectors.map((v, j) => store(spill, place(p, v.offset), tile.value(p, j)))),
    forLoop(point, points, body()),
  ];
}
