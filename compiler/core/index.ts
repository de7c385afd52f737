/**
 * The table of core operators. `OpKind` and `OpAttrs` are derived from it: adding an operator is one file and one line here, and
 * whatever must handle every kind then fails to compile until it does.
 */
import type { CoreOp } from './types.js';
import { conv } from './conv.js';
import { elementwise } from './elementwise.js';
import { matmul } from './matmul.js';
import { reduce } from './reduce.js';
import { reshape } from './reshape.js';
import { transpose } from './transpose.js';

export const coreOps = { conv, elementwise, matmul, reduce, reshape, transpose } as const;

export type OpKind = keyof typeof coreOps;
export type OpAttrs = { readonly [K in OpKind]: (typeof coreOps)[K] extends CoreOp<infer A> ? A : never };

/** The definition of a kind, its attributes' type forgotten (a node always carries the attributes of its own kind). */
export const coreOp = (kind: OpKind): CoreOp<unknown> => coreOps[kind] as CoreOp<unknown>;
