/**
 * The two ends of quantised arithmetic, kinds of their own so that passes can see them: real = (q - zeroPoint) * scale.
 * Scale and zero point broadcast against x like any operand: one value, one a channel ([C,1,1]), or one a block.
 */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { integerRange, isFloat, isInteger, type DType } from '../ir/dtype.js';
import type { TensorType } from '../ir/types.js';
import { add, arg, cast, constant, div, max, min, mul, sub, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { broadcastShapes, elementwise } from './elementwise.js';
import { accumulatorOf } from './matmul.js';
import { defineCoreOp } from './types.js';

export interface QuantizeAttrs { readonly out: DType }

/** A rounded float expression clamped into an integer type (at most 16 bits wide); NaN becomes the smallest value. */
export function saturate(e: Expr, out: DType): Expr {
  const { min: low, max: high } = integerRange(out);
  const type = e.type.dtype as DType;
  return cast(min(max(constant(type, Number(low)), e), constant(type, Number(high))), out);
}

/** round-half-even(x / scale) + zeroPoint, saturated. */
export function quantizeExpr(out: DType, [x, scale, zero]: readonly TensorType[]): Expr {
  if (!isInteger(out)) throw new NodeProblem('SPC2006', `cannot quantise to ${out}`);
  const type = x!.dtype === 'f64' || scale!.dtype === 'f64' ? 'f64' : 'f32';
  const rounded = unary('round', div(cast(arg(0, x!.dtype), type), cast(arg(1, scale!.dtype), type)));
  return saturate(zero ? add(rounded, cast(arg(2, zero.dtype), type)) : rounded, out);
}

/** (q - zeroPoint) * scale; the difference is exact. */
export function dequantizeExpr(out: DType, [x, scale, zero]: readonly TensorType[]): Expr {
  if (!isFloat(out)) throw new NodeProblem('SPC2006', `cannot dequantise to ${out}`);
  const exact: DType = x!.dtype === 'u32' ? 'i64' : 'i32';
  const q = cast(arg(0, x!.dtype), exact);
  const centred = zero ? sub(q, cast(arg(2, zero.dtype), exact)) : q;
  const type = accumulatorOf(out);
  return cast(mul(cast(centred, type), cast(arg(1, scale!.dtype), type)), out);
}

const lowered = (doc: string, expr: (out: DType, inputs: readonly TensorType[]) => Expr) => defineCoreOp<QuantizeAttrs>({
  doc,
  // quantised weights must be seen by what turns dequantize -> product -> quantize into integer arithmetic
  foldLate: true,
  infer: (attrs, inputs) => [{ dtype: expr(attrs.out, inputs).type.dtype as DType, shape: broadcastShapes(...inputs.map((t) => t.shape)) }],
  inPlace: () => [0],
  lower: (k, attrs, inputs, outputs) => elementwise.lower!(k, { expr: expr(attrs.out, inputs) }, inputs, outputs),
});

export const quantize = lowered('real numbers to integers: round half to even, saturate', quantizeExpr);
export const dequantize = lowered('quantised integers to real numbers', dequantizeExpr);
