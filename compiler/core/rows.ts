/** Operands and results of products as rows of channels. */
import type { MatmulAttrs } from './matmul.js';
import { elementCount } from '../ir/types.js';
import { isContiguous, type BoundEpilogue, type TensorRef } from '../kir/kernel-builder.js';

/** `t` with all dimensions but the last as one: a tensor of y's shape, or one that varies along its last dimension at most. */
export function asRows(t: TensorRef, y: TensorRef): TensorRef | undefined {
  if (!isContiguous(t)) return undefined;
  const last = t.shape.at(-1) ?? 1, rows = elementCount(t.shape) / last;
  const full = t.shape.length === y.shape.length && t.shape.every((d, i) => d === y.shape[i]);
  return rows === 1 || full ? { ...t, shape: [rows, last], strides: [last, 1] } : undefined;
}

export interface ResultRows {
  readonly y: TensorRef;
  readonly epilogue: BoundEpilogue | undefined;
}

/** Results as rows of channels, where the epilogue's operands can be read like that. */
export function resultRows(y: TensorRef, epilogue: BoundEpilogue | undefined): ResultRows | undefined {
  const rows = asRows(y, y), inputs = epilogue?.inputs.map((t) => asRows(t, y)) ?? [];
  return !rows || inputs.some((t) => t === undefined) ? undefined : { y: rows, epilogue: epilogue && { expr: epilogue.expr, inputs: inputs as TensorRef[] } };
}

/** y[batch, rows, n] = a[batch, rows, k] b[batch, k, n] */
export interface MatrixProduct {
  readonly a: TensorRef;
  readonly b: TensorRef;
  readonly y: TensorRef;
  readonly epilogue: BoundEpilogue | undefined;
}

/** Batches of A against one B are more rows of A, where memory and epilogue allow it. */
export function joinBatches(p: MatrixProduct, attrs: MatmulAttrs): MatrixProduct {
  if (p.y.shape.length === 2 || elementCount(p.b.shape.slice(0, -2)) !== 1 || attrs.transA) return p;
  const results = resultRows(p.y, p.epilogue), a = asRows(p.a, p.a);
  if (!results || !a || a.shape[0] !== results.y.shape[0]) return p;
  const b = { ...p.b, shape: p.b.shape.slice(-2), strides: p.b.strides.slice(-2) };
  return { a, b, ...results };
}
