/** Products of constant weights with many columns, whatever the operator: a matrix w[m][k], and columns that are rows of a matrix or windows over images. */
import { convGeometry } from '../../../compiler/core/conv.js';
import { joinBatches, resultRows, singleProduct, type ResultRows } from '../../../compiler/core/rows.js';
import type { DType } from '../../../compiler/ir/dtype.js';
import { denseData, newArray, storedValue, type Tensor } from '../../../compiler/ir/tensor.js';
import { elementCount } from '../../../compiler/ir/types.js';
import { isContiguous, type TensorRef } from '../../../compiler/kir/kernel-builder.js';
import { weightMatrix, type WeightMatrix } from '../../../compiler/layouts/index.js';
import type { KernelRequest } from '../../types.js';

/** Element type of weights on tensor cores: f32 stands for tf32. */
export type ElementType = Extract<DType, 'f16' | 'bf16' | 'f32'>;

export interface Product {
  /** y[columns][rows]: results, epilogue's operands as rows of channels. */
  readonly results: ResultRows;
  readonly x: TensorRef;
  /** Rows of w, columns of x, and what is summed. */
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Template arguments of the columns' source after the element types, and its name (runtime/cuda/spc_gemm.h). */
  readonly source: { readonly name: 'spc_rows' | 'spc_windows'; readonly sizes: readonly number[] };
  /** Elements that lie side by side in x at one tap: copies of 16 bytes need whole chunks of them. */
  readonly run: number;
  /** Element k of row m of w. */
  weight(data: ArrayLike<number | bigint>, m: number, k: number): number;
}

/** Why a product with constant weights is none of these; undefined for other operators. */
export function productOf(request: KernelRequest): Product | string | undefined {
  const { node } = request;
  if ((node.kind !== 'matmul' && node.kind !== 'conv') || !request.constants[1] || request.constants[0]) return undefined;
  const [x, w] = request.inputs, y = request.outputs[0]!;
  if (node.attrs.out !== 'f32' || x!.dtype !== 'f32' || w!.dtype !== 'f32') return `it multiplies ${x!.dtype} with ${w!.dtype}`;
  if (elementCount(y.shape) === 0) return 'there is nothing to compute';
  if (node.kind === 'matmul') {
    const p = joinBatches({ a: x!, b: w!, y, epilogue: request.epilogue }, node.attrs), sizes = singleProduct(p, node.attrs), results = resultRows(p.y, p.epilogue);
    if (!sizes || !results || sizes.depth === 0) return 'several matrices, or an epilogue that is not by channels';
    if (node.attrs.transA || !isContiguous(p.a)) return 'its activations lie transposed';
    const { rows: columns, depth, columns: rows } = sizes, transposed = node.attrs.transB;
    return {
      results, x: p.a, rows, columns, depth, source: { name: 'spc_rows', sizes: [columns, depth] }, run: depth,
      weight: (data, m, k) => Number(data[transposed ? m * depth + k : k * rows + m]),
    };
  }
  if (node.attrs.group !== 1) return `${node.attrs.group} groups: each is a small product of its own`;
  if (node.attrs.layout !== 'nsc' || node.attrs.strides.length > 2) return 'windows over more than two dimensions';
  const g = convGeometry(node.attrs, [x!, w!]), results = resultRows(y, request.epilogue);
  if (!results || !isContiguous(x!)) return 'an epilogue that is not by channels';
  const both = (a: readonly number[], missing: number): readonly number[] => (a.length === 1 ? [missing, ...a] : a);
  const { strides, dilations, pads } = node.attrs, rows = g.outChannels, depth = elementCount(g.kernel) * g.channels;
  return {
    results, x: x!, rows, columns: g.batch * elementCount(g.output), depth, run: g.channels,
    source: {
      name: 'spc_windows',
      sizes: [g.batch, ...both(g.input, 1), g.channels, ...both(g.kernel, 1), ...both(strides, 1), ...both(pads.map((p) => p[0]), 0), ...both(dilations, 1), ...both(g.output, 1)],
    },
    weight: (data, m, k) => Number(data[k * rows + m]),
  };
}

/** An f32 as tensor cores read it: 10 bits of fraction, to the nearest one. */
function toTf32(values: Float32Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7f800000) !== 0x7f800000) bits[i] = (bits[i]! + 0x1000) & 0xffffe000;
}

/** The weights in the type in which they are multiplied, so that what rounds to zero is one. */
export function weightsOf(p: Product, constant: Tensor, type: ElementType): WeightMatrix {
  const data = denseData(constant) as ArrayLike<number | bigint>, rounded = newArray(type, p.rows * p.depth);
  for (let m = 0; m < p.rows; m++) for (let k = 0; k < p.depth; k++) rounded[m * p.depth + k] = storedValue(type, p.weight(data, m, k)) as never;
  if (rounded instanceof Float32Array) toTf32(rounded);
  return weightMatrix(type, p.rows, p.depth, rounded);
}
