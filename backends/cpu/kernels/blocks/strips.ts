/** Which outputs are summed at a time: strips of rows x columns of an image whose sums fit into registers. */
import { evenTiles, type TileRun } from '../tile.js';

/** What a product is over: an image of windows; a matrix product is one row of points. */
export interface Image {
  readonly images: number;
  /** Of the input, padding included, and distances in it between neighbouring outputs, in elements. */
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Elements between neighbouring pixels, and between neighbouring channels. */
  readonly pixel: number;
  readonly channel: number;
  readonly stride: readonly [number, number];
  /** Outputs, in windows of a pool where there is one. */
  readonly rows: number;
  readonly columns: number;
  readonly window: readonly [number, number];
}

export interface Strips {
  /** Runs of windows, downwards and sideways. */
  readonly rows: readonly TileRun[];
  readonly columns: readonly TileRun[];
}

/** Strips of at most `points` outputs, of few sizes, whole rows where they fit. */
export function stripsOf({ rows, columns, window }: Image, points: number): Strips {
  const windows = Math.max(1, Math.floor(points / (window[0] * window[1])));
  const across = evenTiles(columns, Math.min(columns, windows)), down = evenTiles(rows, Math.max(1, Math.min(rows, Math.floor(windows / across[0]!.size))));
  return { rows: down, columns: across };
}

export const stripCount = (s: Strips): number => s.rows.reduce((n, r) => n + r.count, 0) * s.columns.reduce((n, c) => n + c.count, 0);

/** Where a strip of `rows` x `columns` windows reads its points, from its first: window by window, elements of a window together. */
export function pointsOf({ pixel, width, stride, window }: Image, rows: number, columns: number): number[][] {
  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  return range(rows).flatMap((r) => range(columns).map((c) => range(window[0]).flatMap((y) => range(window[1]).map((x) =>
    ((r * window[0] + y) * stride[0] * width + (c * window[1] + x) * stride[1]) * pixel))));
}
