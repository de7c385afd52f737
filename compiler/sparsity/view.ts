/**
 * How a weight tensor is a matrix: which axes are rows (output channels), which are columns (the reduction), and in what order. Patterns are rules about a
 * matrix, so the same pattern means another thing in another order of columns: every result of this folder says its view.
 */
import type { ConvAttrs } from '../core/conv.js';
import type { MatmulAttrs } from '../core/matmul.js';
import { contiguousStrides, elementCount } from '../ir/types.js';
import type { Mask, Matrix, MatrixShape } from './matrix.js';

/** Columns of a convolution: kernel positions outermost (`rsc`: neighbours are input channels) or innermost (`crs`: an input channel is one run of columns). */
export type ColumnOrder = 'rsc' | 'crs';

export interface View {
  /** Of the weight tensor. */
  readonly shape: readonly number[];
  readonly order: ColumnOrder;
  /** Matrices, one after another along the rows: groups of a convolution, or the leading dimensions of a batch of products. */
  readonly groups: number;
  /** Axes of the tensor, outermost first; together a permutation. */
  readonly rows: readonly number[];
  readonly cols: readonly number[];
  readonly kernel: number;
}

/** ONNX convolution weights: `oihw` [O, I/group, kernel...], `hwio` [kernel..., I/group, O]. */
export function convView(shape: readonly number[], layout: 'oihw' | 'hwio', group = 1, order: ColumnOrder = 'rsc'): View {
  const spatial = shape.length - 2, kernelAxes = Array.from({ length: spatial }, (_, d) => (layout === 'oihw' ? d + 2 : d));
  const output = layout === 'oihw' ? 0 : spatial + 1, input = layout === 'oihw' ? 1 : spatial;
  // a depthwise convolution is one matrix of all its filters: a matrix of one row each would leave no choice
  const groups = shape[output] === group ? 1 : group;
  return {
    shape, order, groups, rows: [output], cols: order === 'rsc' ? [...kernelAxes, input] : [input, ...kernelAxes],
    kernel: elementCount(kernelAxes.map((d) => shape[d]!)),
  };
}

/** Weights of a product, [..., rows, cols] (`outputs: 'rows'`) or [..., cols, rows]; leading dimensions are a batch of matrices. */
export function linearView(shape: readonly number[], outputs: 'rows' | 'cols'): View {
  const last = shape.length - 1, batch = shape.slice(0, -2);
  const [row, col] = outputs === 'rows' ? [last - 1, last] : [last, last - 1];
  return { shape, order: 'rsc', groups: elementCount(batch), rows: [...batch.keys(), row], cols: [col], kernel: 1 };
}

export const convAttrsView = (attrs: ConvAttrs, shape: readonly number[], order: ColumnOrder = 'rsc'): View =>
  convView(shape, attrs.layout === 'ncs' ? 'oihw' : 'hwio', attrs.group, order);

/** Weights at operand 0 or 1 of a product: as operand 1, [K, N], they give outputs along N. */
export const matmulView = (attrs: MatmulAttrs, shape: readonly number[], operand: 0 | 1): View =>
  linearView(shape, (operand === 0) === (operand === 0 ? attrs.transA : attrs.transB) ? 'cols' : 'rows');

export const matrixShape = (v: View): MatrixShape => ({
  rows: elementCount(v.rows.map((d) => v.shape[d]!)) / v.groups, cols: elementCount(v.cols.map((d) => v.shape[d]!)), kernel: v.kernel,
});

/** Calls `visit(position in the tensor, position in the stacked matrices)` for every element. */
function forElements(v: View, visit: (tensor: number, matrix: number) => void): void {
  const axes = [...v.rows, ...v.cols], strides = contiguousStrides(v.shape);
  const extents = axes.map((d) => v.shape[d]!), steps = axes.map((d) => strides[d]!);
  const inner = extents.length - 1, count = elementCount(extents), at = new Array<number>(extents.length).fill(0);
  for (let m = 0, t = 0; m < count;) {
    for (let i = 0; i < extents[inner]!; i++) visit(t + i * steps[inner]!, m++);
    for (let d = inner - 1; d >= 0; d--) {
      t += steps[d]!;
      if (++at[d]! < extents[d]!) break;
      t -= steps[d]! * extents[d]!;
      at[d] = 0;
    }
  }
}

/** The matrices of a tensor in a view, in order of the groups. `data` is copied. */
export function toMatrices(data: ArrayLike<number>, v: View): Matrix[] {
  const stacked = new Float32Array(elementCount(v.shape)), shape = matrixShape(v), size = shape.rows * shape.cols;
  forElements(v, (t, m) => { stacked[m] = data[t]!; });
  return Array.from({ length: v.groups }, (_, g) => ({ ...shape, data: stacked.subarray(g * size, (g + 1) * size) }));
}

/** Masks of the matrices of a view back to one mask over the tensor, row-major as the tensor is. */
export function toTensorMask(masks: readonly Mask[], v: View): Uint8Array {
  const out = new Uint8Array(elementCount(v.shape)), { rows, cols } = matrixShape(v), size = rows * cols;
  forElements(v, (t, m) => { out[t] = masks[Math.floor(m / size)]!.bits[m % size]!; });
  return out;
}
