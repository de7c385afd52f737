/** What tensor cores multiply, whatever the operator: a matrix w[m][k], constant or computed, and columns that are rows of a matrix or windows over images. */
import { convGeometry, type ConvAttrs } from '../../../compiler/core/conv.js';
import { matmulSizes, type MatmulAttrs } from '../../../compiler/core/matmul.js';
import { joinBatches, resultRows, type ResultRows } from '../../../compiler/core/rows.js';
import type { DType } from '../../../compiler/ir/dtype.js';
import { denseData, newArray, storedValue, toNumbers, type Tensor } from '../../../compiler/ir/tensor.js';
import { elementCount } from '../../../compiler/ir/types.js';
import { isContiguous, type TensorRef } from '../../../compiler/kir/kernel-builder.js';
import { weightMatrix, type WeightMatrix } from '../../../compiler/layouts/index.js';
import type { KernelRequest } from '../../types.js';
import { whyNotRange, type Window } from './eligibility.js';

/** Element type of weights on tensor cores: f32 stands for tf32. */
export type ElementType = Extract<DType, 'f16' | 'bf16' | 'f32'>;

/** Types of operands and results: what tensor cores are given is rounded from them to the type that they multiply. */
const operandTypes: readonly DType[] = ['f32', 'f16', 'bf16'];

/** Where columns of a product come from: a source of runtime/cuda/spc_gemm.h, and its template arguments after the element types. */
export interface Source {
  readonly name: 'spc_rows' | 'spc_columns' | 'spc_windows';
  readonly sizes: readonly number[];
  readonly tensor: TensorRef;
}

/** y[n][m] = sum over k of w[m][k] x[n][k] */
export interface Product {
  /** y[columns][rows]: results, epilogue's operands as rows of channels. */
  readonly results: ResultRows;
  /** Type to which sums are rounded before the epilogue: that of the operator's result. */
  readonly out: DType;
  /** Rows of w, columns of x, and what is summed. */
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Products of these sizes, whose results are further columns or further rows (groups of channels) of y. */
  readonly batches: number;
  readonly further: 'columns' | 'rows';
  readonly x: Source;
  /** Of a convolution: how the columns of w are its kernel's. */
  readonly window?: Window;
  /** w as a constant: element k of row m, the rows of all products counted on; or where its rows come from. */
  readonly w: ((data: ArrayLike<number>, m: number, k: number) => number) | Source;
}

/** Products whose w is constant. */
export type ConstantProduct = Product & { readonly w: (data: ArrayLike<number>, m: number, k: number) => number };
export const isConstant = (p: Product): p is ConstantProduct => typeof p.w === 'function';

/** A matrix (or one for each of `batches` products) as a source of `count` vectors of length `depth`; undefined where products share some of them. */
function matrixSource(tensor: TensorRef, batches: number, count: number, depth: number, inColumns: boolean): Source | undefined {
  const own = elementCount(tensor.shape.slice(0, -2));
  if (!isContiguous(tensor) || (own !== 1 && own !== batches)) return undefined;
  return { name: inColumns ? 'spc_columns' : 'spc_rows', sizes: [count, depth, ...(own > 1 ? [count * depth] : [])], tensor };
}

function matrixProduct(request: KernelRequest, attrs: MatmulAttrs): Product | string {
  const [a, b] = request.inputs, p = joinBatches({ a: a!, b: b!, y: request.outputs[0]!, epilogue: request.epilogue }, attrs), results = resultRows(p.y, p.epilogue);
  const { batch, m: columns, k: depth, n: rows } = matmulSizes(attrs, [p.a, p.b]), batches = elementCount(batch);
  if (depth === 0) return 'there is nothing to sum';
  if (!results) return 'an epilogue that is not by channels';
  const x = matrixSource(p.a, batches, columns, depth, attrs.transA), moving = matrixSource(p.b, batches, rows, depth, !attrs.transB);
  if (!x || !moving) return 'matrices that several products share';
  const w: Product['w'] = request.constants[1] && batches === 1 ? (data, m, k) => data[attrs.transB ? m * depth + k : k * rows + m]! : moving;
  return { results, out: attrs.out, rows, columns, depth, batches, further: 'columns', x, w };
}

function windowProduct(request: KernelRequest, attrs: ConvAttrs): Product | string {
  const [x, w] = request.inputs, { group, strides, dilations, pads } = attrs;
  if (attrs.layout !== 'nsc' || strides.length > 2) return 'windows over more than two dimensions';
  const g = convGeometry(attrs, [x!, w!]), results = resultRows(request.outputs[0]!, request.epilogue);
  if (!results || !isContiguous(x!)) return 'an epilogue that is not by channels';
  const both = (a: readonly number[], missing: number): readonly number[] => (a.length === 1 ? [missing, ...a] : a), all = g.outChannels, channels = x!.shape.at(-1)!;
  const sizes = [g.batch, ...both(g.input, 1), channels / group, ...both(g.kernel, 1), ...both(strides, 1), ...both(pads.map((p) => p[0]), 0), ...both(dilations, 1), ...both(g.output, 1)];
  return {
    results, out: attrs.out, rows: all / group, columns: g.batch * elementCount(g.output), depth: elementCount(g.kernel) * channels / group, batches: group, further: 'rows',
    window: { kernel: g.kernel, channels: channels / group },
    x: { name: 'spc_windows', sizes: group === 1 ? sizes : [...sizes, channels], tensor: x! }, w: (data, m, k) => data[k * all + m]!,
  };
}

/** Elements of a constant of any float type. */
const numbersOf = (t: Tensor): Float32Array => (t.dtype === 'f32' ? denseData(t) as Float32Array : Float32Array.from(toNumbers(t)));

/** A node as products for tensor cores that multiply this type, or why it is none; undefined where it is no product at all. */
export function productOf(request: KernelRequest, type: ElementType): Product | string | undefined {
  const { node } = request;
  if (node.kind !== 'matmul' && (node.kind !== 'conv' || !request.constants[1])) return undefined;
  const [x, w] = request.inputs;
  if (![node.attrs.out, x!.dtype, w!.dtype].every((d) => operandTypes.includes(d))) return `it multiplies ${x!.dtype} with ${w!.dtype}`;
  if (elementCount(request.outputs[0]!.shape) === 0) return 'there is nothing to compute';
  const [beyond] = request.constants.flatMap((c) => (c && whyNotRange(type, numbersOf(c))) ?? []);
  if (beyond !== undefined) return beyond;
  return node.kind === 'matmul' ? matrixProduct(request, node.attrs) : windowProduct(request, node.attrs);
}

/** An f32 as tensor cores read it: 10 bits of fraction, to the nearest one. */
function toTf32(values: Float32Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7f800000) !== 0x7f800000) bits[i] = (bits[i]! + 0x1000) & 0xffffe000;
}

/** The weights of all products, one below the other, in the type in which they are multiplied, so that what rounds to zero is one. */
export function weightsOf(p: ConstantProduct, constant: Tensor, type: ElementType): WeightMatrix {
  const data = numbersOf(constant), rows = p.batches * p.rows, rounded = newArray(type, rows * p.depth);
  for (let m = 0; m < rows; m++) for (let k = 0; k < p.depth; k++) rounded[m * p.depth + k] = storedValue(type, p.w(data, m, k)) as never;
  if (rounded instanceof Float32Array) toTf32(rounded);
  return weightMatrix(type, rows, p.depth, rounded);
}
