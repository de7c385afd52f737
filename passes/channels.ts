/** Constants that vary along one dimension only: per-channel scales and shifts. */
import { isFloat } from '../compiler/ir/dtype.js';
import { denseData, newArray, numberAt, storedValue, type Tensor } from '../compiler/ir/tensor.js';
import { contiguousStrides } from '../compiler/ir/types.js';

/**
 * A constant, broadcast to `shape`, as one number for each position of `axis`; undefined where it varies elsewhere.
 */
export function alongAxis(t: Tensor, shape: readonly number[], axis: number): number[] | undefined {
  const own = axis - shape.length + t.shape.length;
  if (t.shape.some((d, i) => d !== 1 && i !== own)) return undefined;
  const data = denseData(t), extent = shape[axis]!;
  if (data.length !== 1 && data.length !== extent) return undefined;
  return Array.from({ length: extent }, (_, i) => numberAt(t.dtype, data, data.length === 1 ? 0 : i));
}

/** Smallest normal magnitude of single precision. */
const SMALLEST_NORMAL = 2 ** -126;

/**
 * Multiplies each element by the factor of its position along `axis`, rounding once. Zeros stay zeros; results too small for a
 * normal number become zero, because arithmetic on subnormals is many times slower.
 * @param factorOf maps the coordinate along `axis` (and the element's linear position) to its factor
 */
export function scaleAlong(t: Tensor, axis: number, factorOf: (coordinate: number, position: number) => number): Tensor {
  if (!isFloat(t.dtype)) throw new Error(`SPC9007: scaling of a ${t.dtype} constant`);
  const stride = contiguousStrides(t.shape)[axis]!, extent = t.shape[axis]!;
  const scaled = (x: number, position: number): number => {
    if (x === 0) return 0;
    const y = x * factorOf(Math.floor(position / stride) % extent, position);
    return Math.abs(y) < SMALLEST_NORMAL ? 0 : y;
  };
  const source = t.kind === 'sparse' ? t.values : t.data, out = newArray(t.dtype, source.length);
  for (let i = 0; i < source.length; i++) {
    out[i] = storedValue(t.dtype, scaled(numberAt(t.dtype, source, i), t.kind === 'sparse' ? t.indices[i]! : i)) as never;
  }
  return t.kind === 'sparse' ? { ...t, values: out } : { ...t, data: out };
}
