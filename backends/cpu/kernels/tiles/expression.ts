/** Scalar expressions on operands in tiles, as vectors of lanes: element by element, and in epilogues. */
import { gridVectors, LANES, phaseVectors, sameLayout, vectorsOf, vectorStride, type Layout } from '../../../../compiler/ir/layout.js';
import { denseData, denseTensor, type Tensor } from '../../../../compiler/ir/tensor.js';
import { valueOf } from '../../../../compiler/ir/types.js';
import { add, arg, asIndex, div, load, mod, mul, splat, substituteArgs, vector, vload } from '../../../../compiler/kir/build.js';
import { evaluateNode } from '../../../../compiler/kir/evaluate.js';
import { isContiguous, type KernelBuilder, type TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelRequest } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { isVectorizable, vectorised } from '../vector.js';
import { gridsOf } from './finish.js';

/** Lanes piece * width .. of channel `channel` of a vector of the result's memory. */
export interface Place {
  readonly vector: Expr;
  readonly channel: Expr;
  readonly piece: Expr;
}

/** Memory address of a place in a tensor that lies as the result does, or in vectors of the same numbers with a pitch of its own. */
export const placeAddress = (l: Layout, at: Place, width: number): Expr => add(mul(at.vector, vectorStride(l)), add(mul(at.channel, LANES), mul(at.piece, width)));

/** Vectors of an operand that has the pixels of the result: the same ones, but for halo and pitch. */
function vectorIn(l: Layout, y: Layout, v: Expr): Expr | undefined {
  if (l.over !== y.over || l.images !== y.images || l.height !== y.height || l.width !== y.width || l.rows !== y.rows || l.columns !== y.columns) return undefined;
  if (l.over === 'images' || y.over === 'images') return l.over === 'images' && y.over === 'images' && l.top === y.top && l.left === y.left ? v : undefined;
  if (l.phases !== y.phases) return undefined;
  const [per, own] = [phaseVectors(y), phaseVectors(l)];
  return per === own && l.before === y.before ? v : add(mul(div(v, per), own), add(mod(v, per), l.before - y.before));
}

export type Read = (at: Place) => Expr;

/** How an operand is read: in tiles beside the result, or a number for each channel (of each image); undefined where it lies otherwise. */
export function reader(t: TensorRef, y: TensorRef, width: number): Read | undefined {
  const l = y.layout!, type = vector('f32', width);
  if (t.dtype !== 'f32') return undefined;
  if (t.layout) {
    const own = t.layout;
    if (t.shape.at(-1) !== y.shape.at(-1) || !vectorIn(own, l, asIndex(0))) return undefined;
    return (at) => vload(t.param, type, placeAddress(own, { ...at, vector: vectorIn(own, l, at.vector)! }, width));
  }
  const last = t.shape.at(-1) ?? 1, outer = t.shape.slice(0, -1), broadcast = last === 1 && y.shape.at(-1) !== 1;
  if (!isContiguous(t)) return undefined;
  const channel = (at: Place): Expr => (broadcast ? asIndex(0) : at.channel);
  if (outer.every((d) => d === 1)) return (at) => splat(load(t.param, 'f32', channel(at)), width);
  const perImage = l.over === 'pixels' && t.shape.length === y.shape.length && outer[0] === l.images && y.shape[0] === l.images && outer.slice(1).every((d) => d === 1);
  if (!perImage || l.over !== 'pixels') return undefined;
  return (at) => splat(load(t.param, 'f32', add(mul(div(at.vector, l.phases * l.phases * phaseVectors(l)), last), channel(at))), width);
}

/** True where zeros in tiles give zeros, whatever the channel. `constants[i]`: of argument i; 'tiles': zero; undefined: not known. */
function keepsZeros(expr: Expr, values: readonly (Tensor | 'tiles' | undefined)[]): boolean {
  const known = values.flatMap((v) => (v === undefined ? [] : [v === 'tiles' ? denseTensor('f32', [], Float32Array.of(0)) : v]));
  if (known.length < values.length) return false;
  const channels = Math.max(1, ...known.map((t) => t.shape.at(-1) ?? 1));
  const shaped = known.map((t) => denseTensor('f32', [denseData(t).length], denseData(t)));
  const [result] = evaluateNode('elementwise', { expr }, shaped, [{ dtype: 'f32', shape: [channels] }]);
  return Array.from(denseData(result!) as Float32Array).every((x) => x === 0);
}

export interface TileExpression {
  /** The value at a place; `computed` is argument 0 where that is no operand. */
  value(at: Place, computed?: Expr): Expr;
  /** Where operands in tiles are zero, so is the result. */
  readonly keepsZeros: boolean;
  /** Operands whose memory the result may overwrite. */
  readonly inPlace: readonly number[];
  /** All operands in tiles have the result's layout, halo and all. */
  readonly uniform: boolean;
}

/**
 * An expression over operands of a node with its result in tiles; undefined where it has no vector form or an operand lies otherwise.
 * @param operands of arguments 0, 1, ...; `computed` for what the kernel itself brings
 */
export function tileExpression({ graph, node, outputs }: KernelRequest, isa: Isa, expr: Expr, operands: readonly (TensorRef | 'computed')[]): TileExpression | undefined {
  const y = outputs[0]!, width = Math.min(LANES, isa.lanes);
  if (y.dtype !== 'f32' || expr.type.dtype !== 'f32' || !y.layout || !isVectorizable(expr)) return undefined;
  const readers = operands.map((t) => (t === 'computed' ? 'computed' : reader(t, y, width)));
  if (readers.includes(undefined)) return undefined;
  const ids = [...node.inputs, ...(node.epilogue?.inputs ?? [])], first = ids.length - operands.filter((t) => t !== 'computed').length;
  let next = first;
  const sources = operands.map((t) => (t === 'computed' ? undefined : { ref: t, index: next, constant: valueOf(graph, ids[next++]!).constant }));
  const alike = (s: (typeof sources)[number]): boolean => s !== undefined && sameLayout(s.ref.layout, y.layout);
  return {
    value: (at, computed) => vectorised(expr, readers.map((r) => (r === 'computed' ? computed! : (r as Read)(at))), width),
    keepsZeros: keepsZeros(expr, sources.map((s) => (s === undefined || s.ref.layout ? 'tiles' : s.constant))),
    inPlace: sources.flatMap((s) => (alike(s) ? [s!.index] : [])),
    uniform: sources.every((s) => !s?.ref.layout || alike(s)),
  };
}

/** The epilogue of a node as an expression on what its kernel computes: that itself where there is none. */
export const epilogueInTiles = (request: KernelRequest, isa: Isa): TileExpression | undefined =>
  tileExpression(request, isa, request.epilogue?.expr ?? arg(0, 'f32'), ['computed', ...(request.epilogue?.inputs ?? [])]);

/** The expression of an elementwise node, its epilogue included. */
export function elementsInTiles(request: KernelRequest, isa: Isa): TileExpression | undefined {
  const { node, inputs, epilogue } = request;
  if (node.kind !== 'elementwise') return undefined;
  const { expr } = node.attrs, n = inputs.length;
  const whole = epilogue ? substituteArgs(epilogue.expr, [expr, ...epilogue.inputs.map((t, i) => arg(n + i, t.dtype))]) : expr;
  return tileExpression(request, isa, whole, [...inputs, ...(epilogue?.inputs ?? [])]);
}

/** Runs `body` for the vectors that have pixels: all but the halo's. */
export function overVectors(k: KernelBuilder, l: Layout, body: (vector: Expr) => readonly Stmt[]): Stmt[] {
  if (l.over === 'images') return k.forEach([vectorsOf(l)], ([v]) => body(v!));
  const size = gridVectors(l);
  return k.forEach([gridsOf(l) * size], ([i]) => body(add(add(mul(div(i!, size), phaseVectors(l)), mod(i!, size)), l.before)));
}

/** Runs `body` on every piece of every channel of a vector. */
export const overChannels = (k: KernelBuilder, isa: Isa, channels: number, at: Expr, body: (at: Place) => readonly Stmt[]): Stmt[] =>
  k.forEach([channels, LANES / Math.min(LANES, isa.lanes)], ([channel, piece]) => body({ vector: at, channel: channel!, piece: piece! }), {}, 'c');
