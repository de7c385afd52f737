/** Epilogues that stream functions apply in registers: bias, residual, clamp, in this order. */
import type { Tensor } from '../../../../compiler/ir/tensor.js';
import { denseData } from '../../../../compiler/ir/tensor.js';
import { elementCount, type Value } from '../../../../compiler/ir/types.js';
import { isPixelConstant } from '../../../../passes/select-layout/index.js';
import type { Clamp } from '../../../../compiler/kir/stream.js';
import type { Expr } from '../../../../compiler/kir/types.js';

/** What an epilogue reads: a constant, or a computed tensor of the output's shape. */
export type EpilogueOperand = { readonly kind: 'constant'; readonly tensor: Tensor } | { readonly kind: 'computed'; readonly shape: readonly number[] };

export interface StreamEpilogue {
  /** A value for each channel. */
  readonly bias: Float32Array;
  /** Epilogue operand that is added. */
  readonly residual?: number;
  readonly clamp: Clamp;
}

/** Values of a constant for each channel; undefined where it differs from pixel to pixel. */
function channelValues(t: Tensor, channels: number): Float32Array | undefined {
  const data = denseData(t), count = elementCount(t.shape);
  if (t.dtype !== 'f32' || (count !== 1 && (count !== channels || t.shape.at(-1) !== channels))) return undefined;
  return Float32Array.from({ length: channels }, (_, i) => Number(data[count === 1 ? 0 : i]));
}

/** An operand of the epilogue of a node with this output; a constant with a value for every pixel counts as computed. */
export function epilogueOperand(v: Value, shape: readonly number[]): EpilogueOperand {
  return v.constant && !isPixelConstant(v, shape) ? { kind: 'constant', tensor: v.constant } : { kind: 'computed', shape: v.type.shape };
}

/** Takes an epilogue apart; undefined where it is more than bias, residual and clamp. */
export function matchEpilogue(expr: Expr | undefined, operands: readonly EpilogueOperand[], shape: readonly number[]): StreamEpilogue | undefined {
  const channels = shape.at(-1)!, bias = new Float32Array(channels);
  let low = -Infinity, high = Infinity, residual: number | undefined, e = expr;
  /** The part of a sum or a comparison that is not the product. */
  const holds = (x: Expr): boolean => (x.kind === 'arg' ? x.index === 0 : x.kind === 'binary' && (holds(x.a) || holds(x.b)));
  /** Adds a sum of operands; false where one of its terms is something else. */
  const addTerm = (term: Expr): boolean => {
    if (term.kind === 'const') { bias.forEach((b, i) => { bias[i] = b + Number(term.value); }); return true; }
    if (term.kind === 'binary' && term.op === 'add') return addTerm(term.a) && addTerm(term.b);
    const operand = term.kind === 'arg' ? operands[term.index - 1] : undefined;
    if (term.kind !== 'arg' || !operand) return false;
    if (operand.kind === 'constant') {
      const values = channelValues(operand.tensor, channels);
      values?.forEach((v, i) => { bias[i]! += v; });
      return values !== undefined;
    }
    if (residual !== undefined || operand.shape.length !== shape.length || operand.shape.some((d, i) => d !== shape[i])) return false;
    residual = term.index - 1;
    return true;
  };
  while (e && e.kind !== 'arg') {
    if (e.kind !== 'binary') return undefined;
    const inner: Expr = holds(e.a) ? e.a : e.b, other: Expr = inner === e.a ? e.b : e.a;
    if (e.op === 'max' || e.op === 'min') {
      // a clamp found inside another one: min(max(v, low), high) has the order that it is applied in
      if (other.kind !== 'const' || inner !== e.a) return undefined;
      const value = Number(other.value);
      if (e.op === 'max') { if (low !== -Infinity || high < value) return undefined; low = value; }
      else { if (high !== Infinity || low !== -Infinity) return undefined; high = value; }
    } else if (e.op === 'add') {
      if (containsClamp(inner) || !addTerm(other)) return undefined;
    } else return undefined;
    e = inner;
  }
  if (e && e.index !== 0) return undefined;
  return { bias, ...(residual === undefined ? {} : { residual }), clamp: { low, high } };
}

const containsClamp = (e: Expr): boolean => e.kind === 'binary' && (e.op === 'max' || e.op === 'min' || containsClamp(e.a) || containsClamp(e.b));
