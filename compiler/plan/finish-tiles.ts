/** What a tile layout promises beyond its elements (compiler/ir/layout.ts), as plain loops: for kernels that know nothing of it. */
import { gridVectors, LANES, phaseVectors, vectorStride, type ImageTiles, type PixelTiles } from '../ir/layout.js';
import { add, and, compare, constant, div, forLoop, ifStmt, load, max, min, mod, mul, not, or, ref, select, store } from '../kir/build.js';
import type { KernelBuilder, TensorRef } from '../kir/kernel-builder.js';
import type { Expr, Stmt } from '../kir/types.js';

const zero = constant('f32', 0);

/** Zeroes grid pixels outside the image, then fills the halo with the pixels that its vectors stand for. */
function finishPixels(k: KernelBuilder, param: string, l: PixelTiles): Stmt[] {
  const size = gridVectors(l), stride = vectorStride(l), s = l.phases, grids = l.images * s * s;
  const exact = l.rows * l.columns === size * LANES && l.rows * s === l.height && l.columns * s === l.width;
  const start = (grid: Expr): Expr => mul(add(mul(grid, phaseVectors(l)), l.before), stride);
  const outside = exact ? [] : k.forEach([grids, size, LANES], ([grid, v, lane]) => {
    const p = k.let('p', add(mul(lane!, size), v!)), y = add(mul(div(p.ref, l.columns), s), div(mod(grid!, s * s), s)), x = add(mul(mod(p.ref, l.columns), s), mod(grid!, s));
    const inside = and(compare('lt', y, l.height), and(compare('lt', x, l.width), compare('lt', p.ref, l.rows * l.columns)));
    const c = k.name('c');
    return [p.declare, ifStmt(not(inside), [forLoop(c, l.channels, [store(param, add(add(start(grid!), mul(v!, stride)), add(mul(ref(c), LANES), lane!)), zero)])])];
  });
  const halo = (vectors: number, first: number): Stmt[] => (vectors === 0 ? [] : k.forEach([grids, vectors, l.channels, LANES], ([grid, i, c, lane]) => {
    // vector v stands for pixel lane * size + v, wherever that lies
    const v = add(i!, first), p = k.let('p', add(mul(lane!, size), v)), inside = and(compare('ge', p.ref, 0), compare('lt', p.ref, size * LANES));
    const safe = min(max(p.ref, 0), size * LANES - 1);
    const from = add(add(start(grid!), mul(mod(safe, size), stride)), add(mul(c!, LANES), div(safe, size)));
    return [p.declare, store(param, add(add(start(grid!), mul(v, stride)), add(mul(c!, LANES), lane!)), select(inside, load(param, 'f32', from), zero))];
  }));
  return [...outside, ...halo(l.before, -l.before), ...halo(l.after, size)];
}

/** Zeroes the margins and the lanes beyond the last image. */
function finishImages(k: KernelBuilder, param: string, l: ImageTiles): Stmt[] {
  const groups = Math.ceil(l.images / LANES), stride = vectorStride(l);
  if (l.rows === l.height && l.columns === l.width && l.images % LANES === 0) return [];
  return k.forEach([groups, l.rows, l.columns, LANES], ([group, y, x, lane]) => {
    const image = add(mul(group!, LANES), lane!), c = k.name('c');
    const outside = [compare('lt', y!, l.top), compare('ge', y!, l.top + l.height), compare('lt', x!, l.left), compare('ge', x!, l.left + l.width), compare('ge', image, l.images)];
    const vector = add(mul(add(mul(group!, l.rows), y!), l.columns), x!);
    return [ifStmt(outside.reduce((a, b) => or(a, b)), [forLoop(c, l.channels, [store(param, add(mul(vector, stride), add(mul(ref(c), LANES), lane!)), zero)])])];
  });
}

/** Statements that make a tensor in tiles complete once its elements are stored; none for a row-major one. */
export const finishTiles = (k: KernelBuilder, t: TensorRef): Stmt[] =>
  !t.layout ? [] : t.layout.over === 'pixels' ? finishPixels(k, t.param, t.layout) : finishImages(k, t.param, t.layout);
