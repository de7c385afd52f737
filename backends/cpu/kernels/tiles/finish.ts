/** Keeps what a tile layout promises beyond its elements (compiler/ir/layout.ts), in whole vectors. */
import { gridVectors, LANES, phaseVectors, vectorStride, type ImageTiles, type Layout, type PixelTiles } from '../../../../compiler/ir/layout.js';
import { add, and, asIndex, call, compare, div, min, mod, mul, pointer, select, sub } from '../../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';

/** Grids of all images, in order of memory. */
export const gridsOf = (l: PixelTiles): number => l.images * l.phases * l.phases;

/** Element address of vector `v` of a grid (negative: in its halo). */
export const vectorOfGrid = (l: PixelTiles, grid: Expr, v: Expr | number): Expr => mul(add(mul(grid, phaseVectors(l)), add(asIndex(v), l.before)), vectorStride(l));

/** Row and column phase of a grid. */
export const phaseOf = (l: PixelTiles, grid: Expr): readonly [Expr, Expr] => [div(mod(grid, l.phases * l.phases), l.phases), mod(grid, l.phases)];

/** Element address of the vector of pixel (i, j), margins counted, of a group of 16 images. */
export const vectorOfImages = (l: ImageTiles, group: Expr, i: Expr, j: Expr): Expr => mul(add(mul(add(mul(group, l.rows), i), l.columns), j), vectorStride(l));

/** Images that have a pixel there: none in the margins, the last group may have fewer than 16. */
export function lanesAt(l: ImageTiles, group: Expr, i: Expr, j: Expr): Expr {
  const within = (at: Expr, from: number, extent: number, whole: number): Expr[] => (extent === whole ? [] : [compare('ge', at, from), compare('lt', at, from + extent)]);
  const inside = [...within(i, l.top, l.height, l.rows), ...within(j, l.left, l.width, l.columns)], lanes = l.images % LANES === 0 ? asIndex(LANES) : min(LANES, sub(l.images, mul(group, LANES)));
  return inside.length === 0 ? lanes : select(inside.reduce(and), lanes, asIndex(0));
}

/** Every lane of every grid vector has a pixel of the image. */
export const isFull = (l: Layout): boolean => (l.over === 'images'
  ? l.rows === l.height && l.columns === l.width && l.images % LANES === 0
  : l.rows * l.columns === gridVectors(l) * LANES && l.rows * l.phases === l.height && l.columns * l.phases === l.width);

/** Zeroes the lanes outside the image, and in tiles over images the margins. */
export function clearStatements(k: KernelBuilder, t: TensorRef): Stmt[] {
  const l = t.layout;
  if (!l || isFull(l)) return [];
  if (l.over === 'pixels') {
    return k.forEach([gridsOf(l), gridVectors(l)], ([grid, v]) => {
      const [py, px] = phaseOf(l, grid!);
      return [call('spc_tiles_clear', pointer(t.param, vectorOfGrid(l, grid!, v!)), l.channels, v!, py, px, l.height, l.width, l.phases, l.rows, l.columns)];
    });
  }
  return k.forEach([Math.ceil(l.images / LANES), l.rows, l.columns], ([group, i, j]) =>
    [call('spc_tiles_clear_after', pointer(t.param, vectorOfImages(l, group!, i!, j!)), l.channels, lanesAt(l, group!, i!, j!))]);
}

/** Fills the halo of every grid, whose own vectors are complete. */
export function haloStatements(k: KernelBuilder, t: TensorRef): Stmt[] {
  const l = t.layout;
  if (l?.over !== 'pixels' || l.before + l.after === 0) return [];
  const size = gridVectors(l);
  const side = (count: number, first: number): Stmt[] => (count === 0 ? [] : k.forEach([gridsOf(l), count], ([grid, i]) =>
    [call('spc_tiles_halo', pointer(t.param, vectorOfGrid(l, grid!, 0)), add(i!, first), size, l.channels, vectorStride(l))]));
  return [...side(l.before, -l.before), ...side(l.after, size)];
}
