/**
 * Where the operands of a stream product lie: which vector of x a tap reads for the tile that a pointer stands at, and which calls
 * cover the output.
 */
import { gridVectors, LANES, phaseVectors, vectorStride, type ImageTiles, type Layout, type PixelTiles } from '../../../../compiler/ir/layout.js';
import { floorDiv, floorMod, reachOf, tapsOf, type Window } from '../../../../compiler/core/window.js';

/** Where a tap reads, relative to the tile that x points to. */
export interface TapPlace {
  /** Bytes from the pointer to channel 0. */
  readonly offset: number;
  /** Index of the mask of lanes that are inside the image, -1: all. */
  readonly mask: number;
}

/** One call of every function: pointers in elements from the start of each tensor. */
export interface Segment {
  readonly x: number;
  readonly y: number;
  readonly tiles: number;
  /** First tile's place in the mask table, in tiles. */
  readonly masks: number;
  /** Output phase, which chooses the functions. */
  readonly phase: number;
}

export interface ProductGeometry {
  /** Taps' places for each output phase. */
  readonly places: readonly (readonly TapPlace[])[];
  readonly segments: readonly Segment[];
  /** Words of the mask table: `maskCount` a tile, the last one being the lanes of the output to keep, where `keeps`. */
  readonly masks: Uint16Array;
  readonly maskCount: number;
  readonly keeps: boolean;
  /** Bytes of x from one tile to the next. */
  readonly step: number;
}

function pixelGeometry(w: Window, x: PixelTiles, y: PixelTiles, r: PixelTiles): ProductGeometry | string {
  if (x.phases !== w.stride[0] * y.phases || w.stride[0] !== w.stride[1]) return 'the input is not in the phases of the stride';
  if (x.rows !== y.rows || x.columns !== y.columns) return 'input and output lie on different grids';
  if (r.phases !== y.phases || r.rows !== y.rows || r.columns !== y.columns) return 'residual and output lie on different grids';
  const size = gridVectors(y), s = x.phases, reach = reachOf(w, y.phases, x.columns);
  if (reach.before > x.before || reach.after > x.after) return 'the input has too small a halo';
  const exact = y.rows * y.phases === y.height && y.columns * y.phases === y.width && y.rows * y.columns === size * LANES;
  const maskCount = reach.dx.length + (exact ? 0 : 1);
  if (maskCount > 7) return `${reach.dx.length} distances along a row need more masks than there are`;
  const stepX = vectorStride(x), phases = y.phases * y.phases;
  const places = Array.from({ length: phases }, (_, q) => tapsOf(w).map(({ ky, kx }): TapPlace => {
    const iy = w.stride[0] * floorDiv(q, y.phases) + ky * w.dilation[0] - w.before[0], ix = w.stride[1] * (q % y.phases) + kx * w.dilation[1] - w.before[1];
    const grid = floorMod(iy, s) * s + floorMod(ix, s), dx = floorDiv(ix, s);
    return { offset: 4 * stepX * (grid * phaseVectors(x) + x.before + floorDiv(iy, s) * x.columns + dx), mask: dx === 0 ? -1 : reach.dx.indexOf(dx) };
  }));
  const masks = new Uint16Array(phases * size * maskCount);
  for (let q = 0; q < phases; q++) for (let v = 0; v < size; v++) for (let lane = 0; lane < LANES; lane++) {
    const p = lane * size + v, i = floorDiv(p, y.columns), j = p % y.columns, word = (q * size + v) * maskCount;
    reach.dx.forEach((dx, m) => { if (j + dx >= 0 && j + dx < y.columns) masks[word + m]! |= 1 << lane; });
    if (!exact && i < y.rows && i * y.phases + floorDiv(q, y.phases) < y.height && j * y.phases + (q % y.phases) < y.width) masks[word + maskCount - 1]! |= 1 << lane;
  }
  const segments = Array.from({ length: y.images * phases }, (_, i): Segment => {
    const phase = floorDiv(i, y.images), n = i % y.images;
    return { x: n * s * s * phaseVectors(x) * stepX, y: ((n * phases + phase) * phaseVectors(y) + y.before) * vectorStride(y), tiles: size, masks: phase * size, phase };
  });
  return { places, segments, masks, maskCount, keeps: !exact, step: 4 * stepX };
}

function imageGeometry(w: Window, x: ImageTiles, y: ImageTiles, r: ImageTiles): ProductGeometry | string {
  const last = [0, 1].map((d) => ([y.height, y.width][d]! - 1) * w.stride[d]! + (w.kernel[d]! - 1) * w.dilation[d]! - w.before[d]!);
  if (w.before[0] > x.top || w.before[1] > x.left || last[0]! + x.top >= x.rows || last[1]! + x.left >= x.columns) return 'the input has too small margins';
  const groups = Math.ceil(y.images / LANES), keeps = y.images % LANES !== 0, stepX = vectorStride(x), stepY = vectorStride(y);
  const places = [tapsOf(w).map(({ ky, kx }): TapPlace => ({
    offset: 4 * stepX * ((ky * w.dilation[0] - w.before[0] + x.top) * x.columns + kx * w.dilation[1] - w.before[1] + x.left), mask: -1,
  }))];
  // rows without margins follow each other: one call for all of 16 images
  const joined = w.stride[0] * x.columns === w.stride[1] * y.width && y.columns === y.width && r.columns === y.width;
  const tiles = joined ? y.height * y.width : y.width, rows = joined ? 1 : y.height;
  const segments = Array.from({ length: groups * rows }, (_, i): Segment => {
    const group = floorDiv(i, rows), row = i % rows;
    return { x: (group * x.rows + row * w.stride[0]) * x.columns * stepX, y: ((group * y.rows + y.top + row) * y.columns + y.left) * stepY, tiles, masks: keeps ? group * tiles : 0, phase: 0 };
  });
  const masks = new Uint16Array(keeps ? groups * tiles : 0).fill(0xffff);
  if (keeps) masks.fill((1 << (y.images % LANES)) - 1, (groups - 1) * tiles);
  return { places, segments, masks, maskCount: keeps ? 1 : 0, keeps, step: 4 * stepX * w.stride[1] };
}

/**
 * Addresses of a product from layout to layout, or why these layouts do not go together.
 * @param residual of what is added to y, and walked in step with it
 */
export function productGeometry(w: Window, x: Layout, y: Layout, residual = y): ProductGeometry | string {
  if (x.over === 'pixels' && y.over === 'pixels' && residual.over === 'pixels') return pixelGeometry(w, x, y, residual);
  if (x.over === 'images' && y.over === 'images' && residual.over === 'images') return imageGeometry(w, x, y, residual);
  return 'operands and output lie in different kinds of tiles';
}

/** Elements between the first tile of `r` and that of the segment, where `y` is at `at`: same grid, own halo and pitch. */
export function residualAt(r: Layout, y: Layout, at: number): number {
  const vector = at / vectorStride(y);
  if (r.over === 'pixels' && y.over === 'pixels') {
    const grid = Math.floor(vector / phaseVectors(y)), own = vector % phaseVectors(y) - y.before;
    return (grid * phaseVectors(r) + r.before + own) * vectorStride(r);
  }
  if (r.over === 'images' && y.over === 'images') {
    const column = vector % y.columns - y.left, line = Math.floor(vector / y.columns), row = line % y.rows - y.top, group = Math.floor(line / y.rows);
    return ((group * r.rows + row + r.top) * r.columns + column + r.left) * vectorStride(r);
  }
  throw new Error('SPC9003: a residual in another kind of tiles than its sum');
}
