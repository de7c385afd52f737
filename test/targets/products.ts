/** Networks of products with constant weights, linear layers and convolutions, and their results in float64. */
import type { Gpu } from '../../backends/cuda/gpu.js';
import { gatherProducts } from '../../backends/cuda/kernels/gather.js';
import { isConstant, productOf, weightsOf, type ElementType } from '../../backends/cuda/kernels/product.js';
import type { KernelRule } from '../../backends/types.js';
import { GraphBuilder } from '../../compiler/ir/build.js';
import { f16ToNumber, numberToF16, tensorOf, type DenseTensor } from '../../compiler/ir/tensor.js';
import { elementCount, type Graph, type Node, type Value, type ValueId } from '../../compiler/ir/types.js';
import { add, arg, constant, max } from '../../compiler/kir/build.js';
import { randomNumbers } from '../support/graphs.js';

/** Gathers the products of a graph, each in the way whose name matches. @param gpu the fewer multiprocessors, the larger are the blocks that small products are cut into */
export function gatheringRule(type: ElementType, names: readonly RegExp[], gpu: Gpu): KernelRule {
  const gather = gatherProducts(gpu, type);
  return {
    name: 'gather',
    candidates(request) {
      const p = productOf(request, type), products: readonly Node[] = request.graph.nodes.filter((n) => n.kind === 'matmul' || n.kind === 'conv');
      if (p === undefined || typeof p === 'string' || !isConstant(p)) return [];
      return gather.candidates(request, p, weightsOf(p, request.constants[1]!, type)).filter((c) => names[products.indexOf(request.node)]!.test(c.choice.kernel));
    },
  };
}

/** Products y[n][m] of a graph: sizes of a linear layer, or of a convolution. */
export interface ProductCase {
  readonly rows: number;
  readonly linear?: readonly [columns: number, depth: number];
  readonly window?: { readonly image: readonly [number, number, number, number]; readonly kernel: readonly [number, number]; readonly stride: number; readonly pad: number; readonly dilation?: number };
  /** An epilogue with a bias, a residual and a lower bound. */
  readonly finished?: boolean;
}
export const sizesOf = (c: ProductCase): string => `${c.rows} rows, ${c.linear ? c.linear.join('x') : `${c.window!.image.join('x')} ${c.window!.kernel.join('x')} by ${c.window!.stride}`}`;

export const halves = (count: number, seed: number): number[] => randomNumbers(count, seed).map((x) => f16ToNumber(numberToF16(x)));
export const depthOf = (c: ProductCase): number => c.linear?.[1] ?? c.window!.kernel[0] * c.window!.kernel[1] * c.window!.image[3];
export const inputShape = (c: ProductCase): readonly number[] => c.linear ?? c.window!.image;

function outputShape(c: ProductCase): readonly number[] {
  if (c.linear) return [c.linear[0], c.rows];
  const { image: [images, height, width], kernel: [kh, kw], stride, pad, dilation = 1 } = c.window!;
  return [images, Math.floor((height + 2 * pad - (kh - 1) * dilation - 1) / stride) + 1, Math.floor((width + 2 * pad - (kw - 1) * dilation - 1) / stride) + 1, c.rows];
}
const bias = (c: ProductCase): number[] => Array.from({ length: c.rows }, (_, m) => m / 64 - 1);
export const residual = (c: ProductCase, i: number): DenseTensor => tensorOf('f32', outputShape(c), halves(elementCount(outputShape(c)), 10 * i + 5));

/**
 * One output a case, y0, y1, ..., of x0, x1, ...
 * @param tensors weights of each, [depth][rows] or [kh, kw, channels, rows]
 * @param computed a lower bound of 0 before each
 */
export function graphOfProducts(cases: readonly ProductCase[], tensors: readonly DenseTensor[], computed = false): { readonly graph: Graph; readonly inputs: readonly DenseTensor[] } {
  const g = new GraphBuilder('m');
  const extra = new Map<number, readonly ValueId[]>();
  const outputs = cases.map((c, i): Value => {
    const input = g.input(`x${i}`, { dtype: 'f32', shape: inputShape(c) }), x = computed ? g.map([input], (e) => max(e, constant('f32', 0))) : input, w = g.constant(tensors[i]!);
    const { stride = 1, pad = 0, dilation = 1 } = c.window ?? {};
    if (c.finished) extra.set(i, [g.constant(tensorOf('f32', [c.rows], bias(c))).id, g.input(`r${i}`, { dtype: 'f32', shape: outputShape(c) }).id]);
    const [y] = c.linear ? g.op('matmul', [x, w], { transA: false, transB: false, out: 'f32' })
      : g.op('conv', [x, w], { strides: [stride, stride], dilations: [dilation, dilation], pads: [[pad, pad], [pad, pad]], group: 1, layout: 'nsc', out: 'f32' });
    return y!;
  });
  const graph = g.finish(outputs.map((value, i) => ({ name: `y${i}`, value })));
  const withRelu = { ...graph, nodes: graph.nodes.map((n, i) => (extra.has(i) && !computed ? { ...n, epilogue: { expr: max(add(add(arg(0, 'f32'), arg(1, 'f32')), arg(2, 'f32')), constant('f32', 0)), inputs: extra.get(i)! } } : n)) };
  return { graph: withRelu, inputs: cases.flatMap((c, i) => [tensorOf('f32', inputShape(c), halves(elementCount(inputShape(c)), 10 * i + 3)), ...(c.finished ? [residual(c, i)] : [])]) };
}

/** y and the sum of all magnitudes, in float64. */
export function expected(c: ProductCase, x: readonly number[], w: readonly number[], r: readonly number[] | undefined): { readonly y: number[]; readonly magnitude: number[] } {
  const y: number[] = [], magnitude: number[] = [];
  const add = (at: number, k: number, m: number, v: number): void => { const p = v * w[k * c.rows + m]!; y[at]! += p; magnitude[at]! += Math.abs(p); };
  const each = (columns: number, column: (n: number, put: (k: number, v: number) => void) => void): void => {
    for (let n = 0; n < columns; n++) for (let m = 0; m < c.rows; m++) {
      y[n * c.rows + m] = 0; magnitude[n * c.rows + m] = 0;
      column(n, (k, v) => add(n * c.rows + m, k, m, v));
    }
  };
  if (c.linear) {
    const [columns, depth] = c.linear;
    each(columns, (n, put) => { for (let k = 0; k < depth; k++) put(k, x[n * depth + k]!); });
  } else {
    const { image: [images, height, width, channels], kernel: [kh, kw], stride, pad, dilation = 1 } = c.window!;
    const [, oh, ow] = outputShape(c) as [number, number, number, number];
    each(images * oh * ow, (n, put) => {
      const i = Math.floor(n / (oh * ow)), oy = Math.floor(n / ow) % oh, ox = n % ow;
      for (let ky = 0; ky < kh; ky++) for (let kx = 0; kx < kw; kx++) {
        const yy = oy * stride - pad + ky * dilation, xx = ox * stride - pad + kx * dilation;
        if (yy < 0 || yy >= height || xx < 0 || xx >= width) continue;
        for (let ch = 0; ch < channels; ch++) put((ky * kw + kx) * channels + ch, x[((i * height + yy) * width + xx) * channels + ch]!);
      }
    });
  }
  const b = bias(c);
  return { y: r ? y.map((v, at) => Math.max(v + b[at % c.rows]! + r[at]!, 0)) : y, magnitude };
}
