/** Attributes that convolution and pooling operators share. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { WindowAttrs } from '../core/spatial.js';
import type { Value } from '../ir/types.js';
import type { OnnxNode } from './types.js';

export type Pads = readonly (readonly [number, number])[];

/** One integer a spatial dimension, all 1 where the attribute is absent. */
export function perDimension(n: OnnxNode, name: string, rank: number, fallback = 1): number[] {
  const values = n.attr.ints(name, Array.from({ length: rank }, () => fallback));
  if (values.length !== rank) throw new NodeProblem('SPC2004', `${name}=[${values.join(',')}] for ${rank} spatial dimension(s)`);
  return values;
}

/** ONNX lists all beginnings, then all ends. */
export const pairedPads = (pads: readonly number[], rank: number): Pads =>
  Array.from({ length: rank }, (_, d) => [pads[d] ?? 0, pads[rank + d] ?? 0] as const);

/** Total padding split over both ends, the odd element behind (SAME_UPPER) or in front (SAME_LOWER). */
export const splitPad = (total: number, oddBehind: boolean): readonly [number, number] => {
  const half = Math.floor(total / 2);
  return oddBehind ? [half, total - half] : [total - half, half];
};

export type AutoPad = 'NOTSET' | 'SAME_UPPER' | 'SAME_LOWER' | 'VALID';
export function autoPad(n: OnnxNode): AutoPad {
  const mode = n.attr.string('auto_pad', 'NOTSET') || 'NOTSET';
  if (mode === 'NOTSET' || mode === 'SAME_UPPER' || mode === 'SAME_LOWER' || mode === 'VALID') return mode;
  return n.unsupported(`auto_pad='${mode}'`);
}

/** Strides, dilations and pads of windows of extent `kernel` over `input` (auto_pad: ONNX Conv, as many windows as ceil(input / stride)). */
export function windowsOf(n: OnnxNode, input: readonly number[], kernel: readonly number[]): WindowAttrs {
  const rank = input.length, mode = autoPad(n);
  const strides = perDimension(n, 'strides', rank), dilations = perDimension(n, 'dilations', rank);
  if ([...strides, ...dilations, ...kernel].some((v) => v < 1)) throw new NodeProblem('SPC2004', 'strides, dilations and kernel must be positive');
  const given = mode === 'NOTSET' ? n.attr.ints('pads', []) : [];
  if (given.length !== 0 && given.length !== 2 * rank) throw new NodeProblem('SPC2004', `pads=[${given.join(',')}] for ${rank} spatial dimension(s)`);
  if (mode === 'NOTSET' || mode === 'VALID') return { strides, dilations, pads: pairedPads(given, rank) };
  const pads = input.map((extent, d) => {
    const windows = Math.ceil(extent / strides[d]!);
    return splitPad(Math.max(0, (windows - 1) * strides[d]! + (kernel[d]! - 1) * dilations[d]! + 1 - extent), mode === 'SAME_UPPER');
  });
  return { strides, dilations, pads };
}

/** Spatial extents of data in ONNX order [N, C, spatial...]. */
export function spatialOf(x: Value): number[] {
  if (x.type.shape.length < 3) throw new NodeProblem('SPC2004', `needs an operand of rank 3 or more ([N, C, spatial...]), got [${x.type.shape.join(',')}]`);
  return x.type.shape.slice(2);
}

/** Kernel extents from the weights; attribute kernel_shape, where given, must agree. */
export function kernelOf(n: OnnxNode, w: Value): number[] {
  const kernel = w.type.shape.slice(2), given = n.attr.ints('kernel_shape', kernel);
  if (given.length !== kernel.length || given.some((v, d) => v !== kernel[d])) {
    throw new NodeProblem('SPC2004', `kernel_shape=[${given.join(',')}] but the weights are [${w.type.shape.join(',')}]`);
  }
  return kernel;
}

/** A vector with one element a channel (or a single one), shaped to broadcast against [N, C, spatial...] of `rank` dimensions. */
export const perChannel = (n: OnnxNode, v: Value, rank: number): Value => {
  const count = v.type.shape.reduce((a, b) => a * b, 1);
  return n.g.reshape(v, count === 1 ? [] : [count, ...Array.from({ length: rank - 2 }, () => 1)]);
};
