/** Operands of products as kernels on rows see them. */
import { denseTensor, type DenseTensor, type Tensor } from '../../../compiler/ir/tensor.js';
import { elementCount } from '../../../compiler/ir/types.js';
import { isContiguous, type BoundEpilogue, type TensorRef } from '../../../compiler/kir/kernel-builder.js';

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

/** An array as a constant that a kernel brings along. */
export const tableOf = (data: Uint32Array | Float32Array): DenseTensor => denseTensor(data instanceof Float32Array ? 'f32' : 'u32', [data.length], data);

/** For kernels whose code or tables have the weights: nothing stays of the operand. */
export const withoutWeights = (): ReadonlyMap<number, Tensor> => new Map([[1, tableOf(new Float32Array(0))]]);
