/** How far two tensors are apart: absolute, in units in the last place, and whether that is within tolerance. */
import { isFloat, type DType } from '../ir/dtype.js';
import { denseData, numberAt, type Tensor } from '../ir/tensor.js';

export interface Tolerance {
  /** Relative to the expected element. */
  readonly rtol: number;
  /** Relative to the largest finite magnitude among the expected elements. */
  readonly atol: number;
}

export const defaultTolerance: Tolerance = { rtol: 1e-3, atol: 1e-5 };

export interface Comparison {
  readonly ok: boolean;
  readonly maxAbs: number;
  /**
   * Units in the last place of the element type, over elements of at least a thousandth of the largest magnitude (in those that
   * cancel to nearly nothing, the last place says nothing); for integers, the difference itself.
   */
  readonly maxUlp: number;
  /** Elements out of tolerance, and the worst of them. */
  readonly wrong: number;
  readonly elements: number;
  readonly worst?: { readonly index: number; readonly actual: number; readonly expected: number };
}

const ULP_FROM = 1e-3;

/** Position of a float on the number line of its type: neighbours differ by 1. */
function ordinal(dtype: DType, x: number, scratch: DataView): bigint {
  const fold = (bits: bigint, width: bigint): bigint => (bits >> (width - 1n) ? -(bits & ((1n << (width - 1n)) - 1n)) : bits);
  if (dtype === 'f64') { scratch.setFloat64(0, x); return fold(scratch.getBigUint64(0), 64n); }
  scratch.setFloat32(0, x);
  const bits = fold(BigInt(scratch.getUint32(0)), 32n);
  // Half-width types are float32 values on a coarser grid (within their normal range).
  return dtype === 'f16' ? bits >> 13n : dtype === 'bf16' ? bits >> 16n : bits;
}

/** 8-bit integers come from rounding a quantised value, where a tie may fall either way: one step is allowed. */
const integerSteps = (dtype: DType): number => (dtype === 'i8' || dtype === 'u8' ? 1 : 0);

export function compareTensors(actual: Tensor, expected: Tensor, { rtol, atol }: Tolerance): Comparison {
  const a = denseData(actual), e = denseData(expected), { dtype } = expected, scratch = new DataView(new ArrayBuffer(8));
  const real = isFloat(dtype);
  let scale = 0;
  if (real) for (let i = 0; i < e.length; i++) { const m = Math.abs(numberAt(dtype, e, i)); if (Number.isFinite(m) && m > scale) scale = m; }
  let maxAbs = 0, maxUlp = 0, wrong = 0, worstError = -1, worst: Comparison['worst'];
  for (let i = 0; i < e.length; i++) {
    if (a[i] === e[i]) continue;
    const x = numberAt(actual.dtype, a, i), y = numberAt(dtype, e, i);
    if (Number.isNaN(x) && Number.isNaN(y)) continue;
    const error = Number.isFinite(x) && Number.isFinite(y) ? Math.abs(x - y) : x === y ? 0 : Infinity;
    if (error > maxAbs) maxAbs = error;
    const ulps = error === Infinity || !real ? error : Math.abs(Number(ordinal(dtype, x, scratch) - ordinal(dtype, y, scratch)));
    if (ulps > maxUlp && (!real || !(Math.abs(y) < ULP_FROM * scale))) maxUlp = ulps;
    if (error !== Infinity && error <= (real ? rtol * Math.abs(y) + atol * scale : integerSteps(dtype))) continue;
    wrong++;
    if (error > worstError) { worstError = error; worst = { index: i, actual: x, expected: y }; }
  }
  return { ok: wrong === 0, maxAbs, maxUlp, wrong, elements: e.length, ...(worst ? { worst } : {}) };
}

export const formatComparison = (c: Comparison): string =>
  `max abs ${c.maxAbs.toPrecision(3)}, max ulp ${c.maxUlp.toPrecision(3)}${c.ok ? '' : `; ${c.wrong} of ${c.elements} elements out of tolerance, worst [${c.worst?.index}]: ${c.worst?.actual}, expected ${c.worst?.expected}`}`;
