/** Sliding windows over two spatial dimensions: what convolutions, pools and matrix products are to a tile layout. */
import type { TensorType, Node } from '../ir/types.js';

/** A two-dimensional window; one row where there is one spatial dimension, 1x1 for a matrix product. */
export interface Window {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  /** Zeros before the image. */
  readonly before: readonly [number, number];
}

export const pointWindow: Window = { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], before: [0, 0] };

/** Taps of a window, with their position in the weights. */
export const tapsOf = ({ kernel: [rows, columns] }: Window): { readonly tap: number; readonly ky: number; readonly kx: number }[] =>
  Array.from({ length: rows * columns }, (_, tap) => ({ tap, ky: Math.floor(tap / columns), kx: tap % columns }));

export const floorDiv = (a: number, b: number): number => Math.floor(a / b);
export const floorMod = (a: number, b: number): number => a - floorDiv(a, b) * b;

/** Vectors beyond both ends of a grid that a window reads when the output has `phases` phases, and the distances along a row that occur. */
export function reachOf(w: Window, phases: number, columns: number): { readonly before: number; readonly after: number; readonly dx: readonly number[] } {
  const s = w.stride[0] * phases;
  let low = 0, high = 0;
  const dx = new Set<number>();
  for (let q = 0; q < phases; q++) for (let r = 0; r < phases; r++) {
    for (const { ky, kx } of tapsOf(w)) {
      const x = floorDiv(w.stride[1] * r + kx * w.dilation[1] - w.before[1], s);
      const shift = floorDiv(w.stride[0] * q + ky * w.dilation[0] - w.before[0], s) * columns + x;
      low = Math.min(low, shift);
      high = Math.max(high, shift);
      if (x !== 0) dx.add(x);
    }
  }
  return { before: -low, after: high, dx: [...dx].sort((a, b) => a - b) };
}

/** The window of a node in channels-last order; undefined where it has none of at most two dimensions. Matrix products look at one pixel. */
export function windowOf(node: Node, types: readonly TensorType[]): Window | undefined {
  if (node.kind === 'slice') return { ...pointWindow, stride: [node.attrs.steps.at(-3) ?? 1, node.attrs.steps.at(-2) ?? 1] };
  if (node.kind !== 'conv' && node.kind !== 'pool') return pointWindow;
  const { attrs } = node, spatial = attrs.strides.length;
  const kernel = node.kind === 'pool' ? node.attrs.kernel : types[1]!.shape.slice(0, -2);
  if (attrs.layout !== 'nsc' || spatial > 2) return undefined;
  const both = (a: readonly number[], missing: number): [number, number] => (spatial === 1 ? [missing, a[0]!] : [a[0]!, a[1]!]);
  return {
    // the row that a one-dimensional window lacks has the stride of its columns: phases are square
    kernel: both(kernel, 1), stride: both(attrs.strides, attrs.strides[0]!), dilation: both(attrs.dilations, 1), before: both(attrs.pads.map((p) => p[0]), 0),
  };
}
