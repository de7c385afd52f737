/**
 * The table of core operators. `OpKind` and `OpAttrs` are derived from it: adding an operator is one file and one line here, and
 * whatever must handle every kind then fails to compile until it does.
 */
import type { CoreOp } from './types.js';
import { argReduce } from './arg-reduce.js';
import { concat } from './concat.js';
import { conv } from './conv.js';
import { cumsum } from './cumsum.js';
import { elementwise } from './elementwise.js';
import { gather, gatherElements, gatherNd } from './gather.js';
import { matmul } from './matmul.js';
import { pad } from './pad.js';
import { reduce } from './reduce.js';
import { reshape } from './reshape.js';
import { scatterElements, scatterNd } from './scatter.js';
import { slice } from './slice.js';
import { topk } from './topk.js';
import { transpose } from './transpose.js';

export const coreOps = {
  argReduce,
  concat,
  conv,
  cumsum,
  elementwise,
  gather,
  gatherElements,
  gatherNd,
  matmul,
  pad,
  reduce,
  reshape,
  scatterElements,
  scatterNd,
  slice,
  topk,
  transpose,
} as const;

export type OpKind = keyof typeof coreOps;
export type OpAttrs = { readonly [K in OpKind]: (typeof coreOps)[K] extends CoreOp<infer A> ? A : never };

/** The definition of a kind, its attributes' type forgotten (a node always carries the attributes of its own kind). */
export const coreOp = (kind: OpKind): CoreOp<unknown> => coreOps[kind] as CoreOp<unknown>;
