/**
 * The table of core operators. `OpKind` and `OpAttrs` are derived from it: adding an operator is one file and one line here, and
 * whatever must handle every kind then fails to compile until it does.
 */
import type { CoreOp } from './types.js';
import { argReduce } from './arg-reduce.js';
import { concat } from './concat.js';
import { conv } from './conv.js';
import { convTranspose } from './conv-transpose.js';
import { cumsum } from './cumsum.js';
import { determinant } from './determinant.js';
import { elementwise } from './elementwise.js';
import { gather, gatherElements, gatherNd } from './gather.js';
import { gridSample } from './grid-sample.js';
import { kWinners } from './k-winners.js';
import { matmul } from './matmul.js';
import { normalize } from './normalize.js';
import { pad } from './pad.js';
import { pool } from './pool.js';
import { dequantize, quantize } from './quantize.js';
import { reduce } from './reduce.js';
import { resample } from './resample.js';
import { relayout } from './relayout.js';
import { reshape } from './reshape.js';
import { roiAlign } from './roi-align.js';
import { scatterElements, scatterNd } from './scatter.js';
import { slice } from './slice.js';
import { softmax } from './softmax.js';
import { topk } from './topk.js';
import { transpose } from './transpose.js';

export const coreOps = {
  argReduce,
  concat,
  conv,
  convTranspose,
  cumsum,
  dequantize,
  determinant,
  elementwise,
  gather,
  gatherElements,
  gatherNd,
  gridSample,
  kWinners,
  matmul,
  normalize,
  pad,
  pool,
  quantize,
  reduce,
  relayout,
  resample,
  reshape,
  roiAlign,
  scatterElements,
  scatterNd,
  slice,
  softmax,
  topk,
  transpose,
} as const;

export type OpKind = keyof typeof coreOps;
export type OpAttrs = { readonly [K in OpKind]: (typeof coreOps)[K] extends CoreOp<infer A> ? A : never };

/** The definition of a kind, its attributes' type forgotten (a node always carries the attributes of its own kind). */
export const coreOp = (kind: OpKind): CoreOp<unknown> => coreOps[kind] as CoreOp<unknown>;
