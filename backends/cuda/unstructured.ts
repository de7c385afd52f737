/** What there is to know of constant weights with zeros anywhere before a kernel is chosen: counted once a node. */
import type { WeightMatrix } from '../../compiler/layouts/index.js';
import { bitmapBytes } from './bitmap-fragments.js';
import { sparsePattern } from './fragments.js';
import { rowCounts, sliceSteps } from './slices.js';

export interface Unstructured {
  /** Of f16, bf16 or f32 (for tf32). */
  readonly matrix: WeightMatrix;
  /** Share of weights that are not zero. */
  readonly share: number;
  readonly bitmapBytes: number;
  /** Steps of slices of all weights, and of those beyond the pattern of sparse tensor cores; how many these are. */
  readonly steps: Uint32Array;
  readonly othersSteps: Uint32Array;
  readonly others: number;
}

const sum = (counts: Uint32Array): number => counts.reduce((n, c) => n + c, 0);

export function unstructuredOf(matrix: WeightMatrix): Unstructured {
  const counts = rowCounts(matrix), beyond = rowCounts(matrix, sparsePattern(matrix.dtype));
  return {
    matrix, share: sum(counts) / matrix.bits.length, bitmapBytes: bitmapBytes(matrix), steps: sliceSteps(counts), othersSteps: sliceSteps(beyond), others: sum(beyond),
  };
}
