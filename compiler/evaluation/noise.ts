/** Inputs in which a share of the elements is replaced by noise, to see how gracefully a classifier degrades. */
import { randomTensor, type Range } from '../io/random.js';
import { isFloat } from '../ir/dtype.js';
import { denseData, denseTensor, numberAt, storedValue, type Tensor } from '../ir/tensor.js';

/** Smallest and largest element of tensors. */
export function rangeOf(tensors: Iterable<Tensor>): Range {
  let low = Infinity, high = -Infinity;
  for (const t of tensors) {
    const data = denseData(t);
    for (let i = 0; i < data.length; i++) { const x = numberAt(t.dtype, data, i); if (x < low) low = x; if (x > high) high = x; }
  }
  return { low, high };
}

/**
 * Each element of a floating-point tensor is replaced, with probability `share`, by a number drawn uniformly from `range`; other
 * tensors (indices, masks) stay. The same seed replaces the same elements by the same numbers.
 */
export function withNoise(t: Tensor, share: number, range: Range, seed: number): Tensor {
  if (!isFloat(t.dtype) || share === 0) return t;
  const data = denseData(t).slice(), type = { dtype: 'f64', shape: [2, data.length] } as const;
  const draws = randomTensor(type, seed, { low: 0, high: 1 }).data as Float64Array;
  for (let i = 0; i < data.length; i++) {
    if (draws[i]! < share) data[i] = storedValue(t.dtype, range.low + draws[data.length + i]! * (range.high - range.low)) as never;
  }
  return denseTensor(t.dtype, t.shape, data);
}
