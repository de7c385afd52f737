/** Element-by-element comparison of tensors, as ONNX's own test runner does it: numpy.testing.assert_allclose. */
import { isFloat, type DType } from '../../compiler/ir/dtype.js';
import { denseData, numberAt, type Tensor } from '../../compiler/ir/tensor.js';
import { formatType, sameShape } from '../../compiler/ir/types.js';

/** |actual - expected| <= absolute + relative * |expected| */
export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

export interface Difference {
  /** Largest |actual - expected|, over elements where both are finite. */
  readonly maxError: number;
  /** The first element that is out of tolerance, in words. */
  readonly problem?: string;
}

/**
 * NaN equals NaN and an infinity itself; integers and booleans must be equal; element type and shape must be the same.
 */
export function compareTensors(actual: Tensor, expected: Tensor, tolerance: Tolerance): Difference {
  if (actual.dtype !== expected.dtype || !sameShape(actual.shape, expected.shape)) {
    return { maxError: Infinity, problem: `is ${formatType(actual)}, expected ${formatType(expected)}` };
  }
  const a = denseData(actual), e = denseData(expected), { dtype } = expected;
  const exact = !isFloat(dtype);
  let maxError = 0, wrong = 0, first = '';
  for (let i = 0; i < e.length; i++) {
    if (a[i] === e[i]) continue;
    const x = numberAt(dtype, a, i), y = numberAt(dtype, e, i);
    if (Object.is(x, y) || x === y) continue;
    const error = Math.abs(x - y);
    if (Number.isFinite(error)) maxError = Math.max(maxError, error);
    if (!exact && Number.isFinite(error) && error <= tolerance.absolute + tolerance.relative * Math.abs(y)) continue;
    if (wrong++ === 0) first = `element ${i} is ${exact ? a[i] : x}, expected ${exact ? e[i] : y}`;
  }
  return wrong === 0 ? { maxError } : { maxError, problem: `${first} (${wrong} of ${e.length} elements of ${formatType(expected)} differ, max error ${maxError.toPrecision(3)})` };
}

/** What ONNX's runner allows (rtol 1e-3, atol 1e-7), relaxed to a unit in the last place where elements are of half width. */
export function onnxTolerance(dtype: DType): Tolerance {
  switch (dtype) {
    case 'bf16': return { relative: 8e-3, absolute: 1e-3 };
    case 'f16': return { relative: 2e-3, absolute: 1e-4 };
    case 'f64': case 'f32': return { relative: 1e-3, absolute: 1e-5 };
    default: return { relative: 0, absolute: 0 };
  }
}
