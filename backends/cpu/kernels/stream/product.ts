/** The weights of a product as the stream kernels see them: convolutions and matrix products alike. */
import { convGeometry } from '../../../../compiler/core/conv.js';
import { matmulSizes } from '../../../../compiler/core/matmul.js';
import { denseData, type Tensor } from '../../../../compiler/ir/tensor.js';
import { elementCount, type Node, type TensorType } from '../../../../compiler/ir/types.js';
import { pointWindow, windowOf, type Window } from '../../../../compiler/core/window.js';

/** A product y[rows] = W x with constant f32 weights over windows of x. */
export interface StreamProduct {
  readonly window: Window;
  readonly group: number;
  /** Of x and y. */
  readonly channels: number;
  readonly rows: number;
  /** Input channels of one group, and the weight of (tap, c of the group, row): weights[(tap * depth + c) * rows + row]. */
  readonly depth: number;
  readonly weights: Float32Array;
}

/** B of [K, N], transposed where it is stored as [N, K]. */
function matrix(data: Float32Array, k: number, n: number, transposed: boolean): Float32Array {
  if (!transposed) return data;
  const out = new Float32Array(k * n);
  for (let j = 0; j < n; j++) for (let i = 0; i < k; i++) out[i * n + j] = data[j * k + i]!;
  return out;
}

/** The product that a node is, or why the stream kernels do not take it. */
export function streamProduct(node: Node, types: readonly TensorType[], weights: Tensor | undefined): StreamProduct | string {
  if (node.kind !== 'conv' && node.kind !== 'matmul') return 'not a product';
  if (!weights) return 'the weights are not constant';
  if (types[0]!.dtype !== 'f32' || weights.dtype !== 'f32' || node.attrs.out !== 'f32') return `${types[0]!.dtype} x ${weights.dtype}: the stream kernels are f32`;
  if (elementCount(types[0]!.shape) === 0 || elementCount(weights.shape) === 0) return 'it has no elements';
  const data = denseData(weights) as Float32Array;
  if (node.kind === 'matmul') {
    const { k, n } = matmulSizes(node.attrs, types);
    if (node.attrs.transA) return 'the activations are transposed';
    if (elementCount(weights.shape) !== k * n) return 'there is a weight matrix for each batch';
    return { window: pointWindow, group: 1, channels: k, rows: n, depth: k, weights: matrix(data, k, n, node.attrs.transB) };
  }
  const { attrs } = node, g = convGeometry(attrs, types), window = windowOf(node, types);
  if (!window) return `${attrs.strides.length} spatial dimensions`;
  return { window, group: attrs.group, channels: g.channels, rows: g.outChannels, depth: g.perGroup, weights: data };
}

/** Non-zero weights. */
export function nonZeros(p: StreamProduct): number {
  let n = 0;
  for (const w of p.weights) n += w !== 0 ? 1 : 0;
  return n;
}
