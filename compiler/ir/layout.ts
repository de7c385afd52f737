/**
 * How an activation lies in memory where that is not row-major: the tile layout of the straight-line kernels.
 *
 * A tensor [..., C] is an image batch of `images` x `height` x `width` pixels of C channels (the leading dimensions, flattened;
 * a matrix [P, C] is one image of P x 1). Memory is an array of 64-byte vectors [vector][channel][lane], so that one load brings
 * the same channel of 16 pixels, at an address that is always aligned and, for neighbouring channels, adjacent.
 */
import { elementCount, type TensorType } from './types.js';

/** f32 elements of a vector, whatever the machine: narrower registers take a vector in pieces. */
export const LANES = 16;

interface Tiles {
  readonly images: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Channels from one vector to the next: `channels` or one more, since a stride of an odd number of cache lines spreads over all cache sets. */
  readonly pitch: number;
}

/**
 * Lanes are spread over the pixels of one image: with S = ceil(rows * columns / 16), pixel p = i * columns + j of the grid is lane
 * floor(p / S) of vector p mod S. A step by (di, dj) pixels is then a step by di * columns + dj whole vectors, except where it
 * leaves [0, S): vectors beyond both ends (the halo) hold the same pixels shifted by a lane, zero outside the grid.
 *
 * Stored as `phases`^2 grids, grid (py, px) having the pixels (phases * i + py, phases * j + px), which makes strided
 * convolutions dense. Grid pixels outside the image are zero, and so are those of the last lanes beyond the grid.
 */
export interface PixelTiles extends Tiles {
  readonly over: 'pixels';
  readonly phases: number;
  /** Extent of each grid: at least ceil(height / phases) x ceil(width / phases). */
  readonly rows: number;
  readonly columns: number;
  /** Halo vectors before and after those of each grid. */
  readonly before: number;
  readonly after: number;
}

/** Lanes are 16 images: vector y * columns + x has pixel (y - top, x - left) of each; the margins around the image are zero. Lanes beyond the last image are zero. */
export interface ImageTiles extends Tiles {
  readonly over: 'images';
  /** Extent of an image with its margins. */
  readonly rows: number;
  readonly columns: number;
  readonly top: number;
  readonly left: number;
}

export type Layout = PixelTiles | ImageTiles;

/** Vectors of one grid without its halo. */
export const gridVectors = (l: PixelTiles): number => Math.ceil((l.rows * l.columns) / LANES);
/** Vectors of one grid with its halo. */
export const phaseVectors = (l: PixelTiles): number => l.before + gridVectors(l) + l.after;
/** All vectors of the tensor. */
export const vectorsOf = (l: Layout): number =>
  l.over === 'pixels' ? l.images * l.phases * l.phases * phaseVectors(l) : Math.ceil(l.images / LANES) * l.rows * l.columns;
/** f32 elements that the tensor occupies. */
export const layoutElements = (l: Layout): number => vectorsOf(l) * l.pitch * LANES;
/** Elements from one vector to the next. */
export const vectorStride = (l: Layout): number => l.pitch * LANES;

/** Vector and lane of pixel (y, x) of image n. */
export function placeOf(l: Layout, n: number, y: number, x: number): { readonly vector: number; readonly lane: number } {
  if (l.over === 'images') return { vector: (Math.floor(n / LANES) * l.rows + y + l.top) * l.columns + x + l.left, lane: n % LANES };
  const s = l.phases, p = Math.floor(y / s) * l.columns + Math.floor(x / s), size = gridVectors(l);
  return { vector: (n * s * s + (y % s) * s + (x % s)) * phaseVectors(l) + l.before + (p % size), lane: Math.floor(p / size) };
}

/** Element address of (n, y, x, c). */
export function elementAt(l: Layout, n: number, y: number, x: number, c: number): number {
  const { vector, lane } = placeOf(l, n, y, x);
  return (vector * l.pitch + c) * LANES + lane;
}

/** Channel pitch for an odd number of cache lines a vector. */
export const oddPitch = (channels: number): number => channels | 1;

/** The plainest tiles of a tensor: one grid as large as the image, no halo. `spatial`: the last dimensions but one that make the image, 0 for rows. */
export function pixelTiles(type: TensorType, spatial: 0 | 1 | 2 = 0): PixelTiles {
  const channels = type.shape.at(-1)!, outer = type.shape.slice(0, -1);
  const width = spatial === 0 ? 1 : outer.at(-1)!, height = spatial === 0 ? elementCount(outer) : spatial === 1 ? 1 : outer.at(-2)!;
  const images = spatial === 0 ? 1 : elementCount(outer.slice(0, outer.length - spatial));
  return { over: 'pixels', images, height, width, channels, pitch: oddPitch(channels), phases: 1, rows: height, columns: width, before: 0, after: 0 };
}

export const sameLayout = (a: Layout | undefined, b: Layout | undefined): boolean => a === b || (a !== undefined && b !== undefined && formatLayout(a) === formatLayout(b));

/** Text form in printed graphs and generated comments. */
export function formatLayout(l: Layout): string {
  const extent = `${l.images}x${l.height}x${l.width}x${l.channels}/${l.pitch}`;
  return l.over === 'images' ? `images(${extent} in ${l.rows}x${l.columns} at ${l.top},${l.left})`
    : `pixels(${extent} in ${l.phases}*${l.phases}*${l.rows}x${l.columns} halo ${l.before},${l.after})`;
}

/** Reads what formatLayout wrote; undefined where it is no layout. */
export function parseLayout(text: string): Layout | undefined {
  const images = /^images\((\d+)x(\d+)x(\d+)x(\d+)\/(\d+) in (\d+)x(\d+) at (\d+),(\d+)\)$/.exec(text);
  if (images) {
    const [n, height, width, channels, pitch, rows, columns, top, left] = images.slice(1).map(Number) as [number, number, number, number, number, number, number, number, number];
    return { over: 'images', images: n, height, width, channels, pitch, rows, columns, top, left };
  }
  const pixels = /^pixels\((\d+)x(\d+)x(\d+)x(\d+)\/(\d+) in (\d+)\*\d+\*(\d+)x(\d+) halo (\d+),(\d+)\)$/.exec(text);
  if (!pixels) return undefined;
  const [n, height, width, channels, pitch, phases, rows, columns, before, after] =
    pixels.slice(1).map(Number) as [number, number, number, number, number, number, number, number, number, number];
  return { over: 'pixels', images: n, height, width, channels, pitch, phases, rows, columns, before, after };
}
