/** A case as a model of one layer, and the same numbers as its peers take them. */
import { xoshiro128 } from '../../compiler/io/random.js';
import { denseTensor, numberToF16 } from '../../compiler/ir/tensor.js';
import { parsePattern, projectSpec } from '../../compiler/sparsity/index.js';
import { node, onnxModel, type ModelSpec } from '../../test/support/onnx-builder.js';
import { productOf, type Case, type Shape } from './cases.js';

/** Name of the node that is measured. */
export const NODE = 'product';

export interface Layer {
  /** The .onnx file: f16 in, f16 out, images with their channels last. */
  readonly onnx: Uint8Array;
  /** w[rows][depth], as bits of f16. */
  readonly dense: Uint16Array;
  /** The model's input. */
  readonly input: Uint16Array;
  /** x[columns][depth] where that is not the input: the windows of a convolution. */
  readonly columns?: Uint16Array;
}

const SEED = 1, WEIGHT_SEED = 2;

/** Even numbers between -scale and scale. */
function uniform(count: number, seed: number, scale: number): Float32Array {
  const next = xoshiro128(seed);
  return new Float32Array(count).map(() => scale * (next() / 2 ** 31 - 1));
}
const toF16 = (values: Float32Array): Uint16Array => new Uint16Array(values.length).map((_, i) => numberToF16(values[i]!));

/** Weights on the pattern, scaled so that results are of the size of 1. */
function weightsOf({ shape, pattern }: Case): Uint16Array {
  const { rows, depth } = productOf(shape), data = uniform(rows * depth, WEIGHT_SEED, 1), spec = pattern === 'dense' ? undefined : parsePattern(pattern);
  const { bits } = spec ? projectSpec({ rows, cols: depth, data }, spec, WEIGHT_SEED).mask : { bits: undefined }, kept = bits ? bits.reduce((s, b) => s + b, 0) : data.length;
  const scale = 3 / Math.sqrt(Math.max(1, kept / rows));
  return toF16(data.map((x, i) => (!bits || bits[i] ? x * scale : 0)));
}

/** Windows of 3x3 pixels over images [image][y][x][channel], zeros around them. */
function windows(images: Uint16Array, { channels, size, images: count }: Extract<Shape, { kind: 'conv' }>): Uint16Array {
  const all = new Uint16Array(count * size * size * 9 * channels);
  let at = 0;
  for (let image = 0; image < count; image++) for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) for (let ky = -1; ky <= 1; ky++) for (let kx = -1; kx <= 1; kx++, at += channels) {
    if (y + ky < 0 || y + ky >= size || x + kx < 0 || x + kx >= size) continue;
    const from = ((image * size + y + ky) * size + x + kx) * channels;
    all.set(images.subarray(from, from + channels), at);
  }
  return all;
}

/** w[rows][ky][kx][channel] as ONNX has it: [rows][channel][ky][kx]. */
function toOihw(dense: Uint16Array, rows: number, channels: number): Uint16Array {
  const w = new Uint16Array(dense.length);
  for (let m = 0; m < rows; m++) for (let tap = 0; tap < 9; tap++) for (let c = 0; c < channels; c++) w[(m * channels + c) * 9 + tap] = dense[(m * 9 + tap) * channels + c]!;
  return w;
}

function modelOf(shape: Shape, dense: Uint16Array): ModelSpec {
  const { rows, depth, columns } = productOf(shape), f16 = (...dims: number[]) => ({ dtype: 'f16', shape: dims }) as const;
  if (shape.kind === 'linear') {
    return { inputs: { x: f16(columns, depth) }, nodes: [node('Gemm', ['x', 'w'], ['y'], { transB: 1 }, { name: NODE })], outputs: { y: f16(columns, rows) }, initializers: { w: denseTensor('f16', [rows, depth], dense) } };
  }
  const { channels, size, images } = shape;
  return {
    inputs: { x: f16(images, size, size, channels) }, outputs: { y: f16(images, size, size, rows) }, initializers: { w: denseTensor('f16', [rows, channels, 3, 3], toOihw(dense, rows, channels)) },
    // the compiler cancels the transpositions against those of its own
    nodes: [node('Transpose', ['x'], ['planes'], { perm: [0, 3, 1, 2] }), node('Conv', ['planes', 'w'], ['z'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }, { name: NODE }), node('Transpose', ['z'], ['y'], { perm: [0, 2, 3, 1] })],
  };
}

export function layerOf(c: Case): Layer {
  const { shape } = c, { depth, columns } = productOf(shape), dense = weightsOf(c);
  const input = toF16(uniform(shape.kind === 'linear' ? columns * depth : shape.images * shape.size ** 2 * shape.channels, SEED, 1));
  return { onnx: onnxModel(modelOf(shape, dense)), dense, input, ...(shape.kind === 'conv' ? { columns: windows(input, shape) } : {}) };
}
