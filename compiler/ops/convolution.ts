/** ONNX convolutions in floating point, and what is a convolution in disguise. Quantised ones are in quantization.ts. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { tensorOf } from '../ir/tensor.js';
import { elementCount, type Value } from '../ir/types.js';
import { add, constant, mul } from '../kir/build.js';
import { iota, requiredInts, sameDtype, tableSize } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';
import { autoPad, kernelOf, pairedPads, perChannel, perDimension, spatialOf, splitPad, windowsOf } from './windows.js';

const addBias = (n: OnnxNode, y: Value, bias: Value | undefined): Value =>
  bias ? n.g.map([y, perChannel(n, bias, y.type.shape.length)], add) : y;

const conv = defineOnnxOp({
  op: 'Conv',
  lower(n) {
    const x = n.input(0, 'X'), w = n.input(1, 'W'), bias = n.optional(2);
    const out = sameDtype(x, w, ...(bias ? [bias] : []));
    const windows = windowsOf(n, spatialOf(x), kernelOf(n, w));
    const y = n.g.op('conv', [x, w], { ...windows, group: n.attr.int('group', 1), layout: 'ncs', out })[0]!;
    return addBias(n, y, bias);
  },
});

/** Pads of a transposed convolution: given, or such that the output gets the shape that is asked for (ONNX ConvTranspose). */
function transposedPads(n: OnnxNode, input: readonly number[], kernel: readonly number[], strides: readonly number[], dilations: readonly number[], outputPadding: readonly number[]) {
  const rank = input.length, mode = autoPad(n);
  const same = mode === 'SAME_UPPER' || mode === 'SAME_LOWER';
  const wanted = n.attr.has('output_shape') ? n.attr.ints('output_shape').slice(-rank) : same ? input.map((e, d) => e * strides[d]!) : undefined;
  if (!wanted) return { pads: pairedPads(mode === 'VALID' ? [] : n.attr.ints('pads', []), rank), outputPadding };
  const totals = input.map((e, d) => strides[d]! * (e - 1) + outputPadding[d]! + (kernel[d]! - 1) * dilations[d]! + 1 - wanted[d]!);
  return {
    pads: totals.map((t) => splitPad(Math.max(0, t), mode === 'SAME_UPPER')),
    outputPadding: totals.map((t, d) => outputPadding[d]! + Math.max(0, -t)),
  };
}

const convTranspose = defineOnnxOp({
  op: 'ConvTranspose',
  lower(n) {
    const x = n.input(0, 'X'), w = n.input(1, 'W'), bias = n.optional(2);
    const out = sameDtype(x, w, ...(bias ? [bias] : []));
    const input = spatialOf(x), kernel = kernelOf(n, w), rank = input.length;
    const strides = perDimension(n, 'strides', rank), dilations = perDimension(n, 'dilations', rank);
    const fit = transposedPads(n, input, kernel, strides, dilations, perDimension(n, 'output_padding', rank, 0));
    const y = n.g.op('convTranspose', [x, w], { strides, dilations, ...fit, group: n.attr.int('group', 1), layout: 'ncs', out })[0]!;
    return addBias(n, y, bias);
  },
});

/** Adds columns back into the image they were cut from: a transposed convolution whose kernels have a single 1 each. */
const col2Im = defineOnnxOp({
  op: 'Col2Im',
  lower(n) {
    const x = n.input(0, 'input'), image = requiredInts(n, 1, 'image_shape'), block = requiredInts(n, 2, 'block_shape');
    const rank = image.length, strides = perDimension(n, 'strides', rank), dilations = perDimension(n, 'dilations', rank);
    const pads = pairedPads(n.attr.ints('pads', []), rank);
    const taps = elementCount(block), [batch, columns] = x.type.shape;
    if (x.type.shape.length !== 3 || columns! % taps !== 0) throw new NodeProblem('SPC2004', `columns [${x.type.shape.join(',')}] do not hold blocks of ${block.join('x')}`);
    const group = columns! / taps;
    const covered = block.map((b, d) => (b - 1) * dilations[d]! + 1);
    const positions = image.map((e, d) => Math.floor((e + pads[d]![0] + pads[d]![1] - covered[d]!) / strides[d]!) + 1);
    const ones = Array.from({ length: tableSize(columns! * taps) }, (_, i) => (Math.floor(i / taps) % taps === i % taps ? 1 : 0));
    const weights = n.g.constant(tensorOf(x.type.dtype, [columns!, 1, ...block], ones), 'blocks');
    const outputPadding = image.map((e, d) => e + pads[d]![0] + pads[d]![1] - (positions[d]! - 1) * strides[d]! - covered[d]!);
    return n.g.op('convTranspose', [n.g.reshape(x, [batch!, columns!, ...positions]), weights],
      { strides, dilations, pads, outputPadding, group, layout: 'ncs', out: x.type.dtype })[0]!;
  },
});

/**
 * Deformable convolution (Dai et al. 2017, eq. 2): every tap reads the image at its own run-time offset. The image is sampled
 * there once for each tap; what remains is a matrix product.
 */
const deformConv = defineOnnxOp({
  op: 'DeformConv',
  limits: '2-D only',
  lower(n) {
    const { g } = n;
    const x = n.input(0, 'X'), w = n.input(1, 'W'), offset = n.input(2, 'offset'), bias = n.optional(3), mask = n.optional(4);
    const dtype = sameDtype(x, w, offset, ...(bias ? [bias] : []), ...(mask ? [mask] : []));
    const input = spatialOf(x), kernel = kernelOf(n, w), group = n.attr.int('group', 1), parts = n.attr.int('offset_group', 1);
    if (input.length !== 2) n.unsupported(`${input.length} spatial dimensions`);
    const { strides, dilations, pads } = windowsOf(n, input, kernel);
    const [batch, channels] = [x.type.shape[0]!, x.type.shape[1]!], taps = elementCount(kernel);
    const output = offset.type.shape.slice(2), samples = batch * parts, positions = elementCount(output);
    // undisturbed coordinates of tap k at output position p: p * stride + k * dilation - pad
    const base = [0, 1].map((d) => {
      const position = g.map([iota(g, dtype, output[d]!, 4, 2 + d), iota(g, dtype, kernel[d]!, 4, d)],
        (p, k) => add(mul(p, constant(dtype, strides[d]!)), add(mul(k, constant(dtype, dilations[d]!)), constant(dtype, -pads[d]![0]))));
      return g.reshape(g.expand(position, [...kernel, ...output]), [taps, ...output]);
    });
    const split = g.reshape(offset, [samples, taps, 2, ...output]);
    const coordinate = (d: number): Value => {
      const moved = g.op('slice', [split], { starts: [0, 0, d, 0, 0], steps: [1, 1, 1, 1, 1], shape: [samples, taps, 1, ...output] })[0]!;
      return g.reshape(g.map([g.reshape(moved, [samples, taps, ...output]), base[d]!], add), [samples, taps * output[0]!, output[1]!, 1]);
    };
    const grid = g.op('concat', [coordinate(1), coordinate(0)], { axis: 3 })[0]!;
    const sampled = g.op('gridSample', [g.reshape(x, [samples, channels / parts, ...input]), grid], { mode: 'linear', padding: 'zeros', alignCorners: true })[0]!;
    const columns = g.reshape(sampled, [samples, channels / parts, taps, positions]);
    const weighted = mask ? g.map([columns, g.reshape(mask, [samples, 1, taps, positions])], mul) : columns;
    const product = g.op('matmul', [
      g.reshape(w, [group, w.type.shape[0]! / group, w.type.shape[1]! * taps]),
      g.reshape(weighted, [batch, group, (channels / group) * taps, positions]),
    ], { transA: false, transB: false, out: dtype })[0]!;
    return addBias(n, g.reshape(product, [batch, w.type.shape[0]!, ...output]), bias);
  },
});

export const convolutionOps: readonly OnnxOp[] = [conv, convTranspose, col2Im, deformConv];
