/** A product, and the pool behind it where there is one, as sums over strips of an image. */
import { elementCount, typeOf, valueOf, type Graph, type Node } from '../../../../compiler/ir/types.js';
import { streamProduct, type StreamProduct } from '../stream/product.js';
import type { Image } from './strips.js';

/** Bytes of x that stay in the first cache beside weights that stream through it. */
export const CACHED_X = 16_000;

export interface BlockProduct {
  readonly product: StreamProduct;
  readonly image: Image;
  /** Rows, columns and channels of x itself, and zeros before it; `padded` where it is smaller than what windows cover. */
  readonly source: { readonly height: number; readonly width: number; readonly before: readonly [number, number]; readonly padded: boolean };
  /** x is copied with its rows as columns: the points of a column of the sum are neighbours then, otherwise each would be a line of the cache. */
  readonly transposed: boolean;
}

/**
 * @param pooled windows of a pool behind the product, and the shape of its result
 * @returns why the kernel does not take the product where it does not
 */
export function blockProduct(graph: Graph, node: Node, pooled?: { readonly window: readonly [number, number]; readonly shape: readonly number[] }): BlockProduct | string {
  const types = node.inputs.map((id) => typeOf(graph, id)), product = streamProduct(node, types, node.inputs[1] === undefined ? undefined : valueOf(graph, node.inputs[1]).constant);
  if (typeof product === 'string') return product;
  const { window: w } = product, x = types[0]!.shape, y = pooled?.shape ?? typeOf(graph, node.outputs[0]!).shape;
  const spatial = (shape: readonly number[]): [number, number] => (shape.length === 3 ? [1, shape[1]!] : [shape[1]!, shape[2]!]);
  const image = node.kind === 'conv', window = pooled?.window ?? [1, 1] as const;
  const [height, width] = image ? spatial(x) : [1, elementCount(x.slice(0, -1))], [rows, columns] = image ? spatial(y) : [1, width];
  const covered = ([rows, columns] as const).map((n, d) => (n * window[d]! - 1) * w.stride[d]! + (w.kernel[d]! - 1) * w.dilation[d]! + 1) as [number, number];
  const padded = w.before[0] > 0 || w.before[1] > 0 || covered[0] > height || covered[1] > width;
  const transposed = !image && columns > 1 && 4 * columns * product.channels > CACHED_X;
  const [h, v] = padded ? covered : [height, width];
  return {
    product, source: { height, width, before: w.before, padded },
    transposed, image: { images: image ? x[0]! : 1, height: h, width: v, channels: product.channels, pixel: transposed ? 1 : product.channels, channel: transposed ? columns : 1, stride: w.stride, rows, columns, window },
  };
}

/** Where column `c` of the sum lies from a window's first element, in elements; `group` is that of the outputs. */
export function columnOffset({ product: { window: w, depth }, image }: BlockProduct, c: number, group: number): number {
  const tap = Math.floor(c / depth), ky = Math.floor(tap / w.kernel[1]), kx = tap % w.kernel[1];
  return (ky * w.dilation[0] * image.width + kx * w.dilation[1]) * image.pixel + (group * depth + (c % depth)) * image.channel;
}

