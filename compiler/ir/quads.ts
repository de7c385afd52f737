/** Small integers in fours: what machines multiply that add four products of 8 bits to a sum of 32. */
import { denseData, type Tensor } from './tensor.js';

/**
 * Weights [k, n] as words of four s8, those of consecutive k, the first in the lowest byte: word (q, j) is number q * n + j. What is missing
 * of the last four is zero. Undefined where a weight needs more bits.
 */
export function quadWords(weights: Tensor): Int32Array | undefined {
  const [k, n] = weights.shape as readonly [number, number], data = denseData(weights), words = new Int32Array(Math.ceil(k / 4) * n);
  for (let i = 0; i < k; i++) {
    for (let j = 0; j < n; j++) {
      const w = Number(data[i * n + j]);
      if (w < -128 || w > 127) return undefined;
      words[(i >> 2) * n + j]! |= (w & 255) << 8 * (i & 3);
    }
  }
  return words;
}

/** Words that are not zero. */
export const fullQuads = (words: Int32Array): number => words.reduce((count, w) => count + (w === 0 ? 0 : 1), 0);

/** Sum of the weights of each output. */
export function weightSums(weights: Tensor): Int32Array {
  const [k, n] = weights.shape as readonly [number, number], data = denseData(weights), sums = new Int32Array(n);
  for (let i = 0; i < k; i++) for (let j = 0; j < n; j++) sums[j]! += Number(data[i * n + j]);
  return sums;
}
