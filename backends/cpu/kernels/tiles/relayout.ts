/** Changes of memory layout: rows to tiles and back, and from one grid of pixels to another. */
import { gridVectors, LANES, phaseVectors, placeOf, vectorsOf, vectorStride, type ImageTiles, type Layout, type PixelTiles } from '../../../../compiler/ir/layout.js';
import type { DType, TypedArray } from '../../../../compiler/ir/dtype.js';
import type { Tensor } from '../../../../compiler/ir/tensor.js';
import { add, call, div, max, mod, mul, pointer, sub } from '../../../../compiler/kir/build.js';
import { isContiguous, type KernelBuilder, type TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { Node } from '../../../../compiler/ir/types.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { gridsOf, haloStatements, lanesAt, phaseOf, vectorOfGrid, vectorOfImages } from './finish.js';

/** Addresses are 32-bit in the lanes of a vector, pixel numbers exact as floats. */
export const isAddressable = (l: Layout): boolean => l.images * l.height * l.width * l.channels < 2 ** 31 && vectorsOf(l) * vectorStride(l) < 2 ** 31
  && (l.over === 'images' || gridVectors(l) * LANES + l.before + l.after < 2 ** 24);

/** What the runtime functions that find a vector's pixels want to know of a layout. */
export const geometryOf = (l: PixelTiles): number[] => [l.height, l.width, l.phases, l.rows, l.columns];

/** Calls a function for vectors [first, first + count) of every grid, with the rows of their image. */
function overGrids(k: KernelBuilder, l: PixelTiles, first: number, count: number, rowsFirst: boolean, tiles: TensorRef, rows: TensorRef): Stmt[] {
  return k.forEach([gridsOf(l) * count], ([i]) => {
    const grid = div(i!, count), v = add(mod(i!, count), first), [py, px] = phaseOf(l, grid);
    const image = mul(div(grid, l.phases * l.phases), l.height * l.width * l.channels);
    const t = pointer(tiles.param, vectorOfGrid(l, grid, v)), r = pointer(rows.param, image);
    return [call(rowsFirst ? 'spc_tiles_to_rows' : 'spc_tiles_from_rows', ...(rowsFirst ? [r, t] : [t, r]), l.channels, v, py, px, ...geometryOf(l))];
  });
}

/** The row of the pixel of lane 0 in tiles over images; of the nearest pixel in the margins. */
function rowOfImages(l: ImageTiles, group: Expr, i: Expr, j: Expr): Expr {
  const y = l.top === 0 ? i : max(0, sub(i, l.top)), x = l.left === 0 ? j : max(0, sub(j, l.left));
  return mul(add(mul(add(mul(group, LANES * l.height), y), l.width), x), l.channels);
}

function fromRows(k: KernelBuilder, x: TensorRef, y: TensorRef, l: Layout): Stmt[] {
  if (l.over === 'pixels') return overGrids(k, l, -l.before, phaseVectors(l), false, y, x);
  return k.forEach([Math.ceil(l.images / LANES) * l.rows, l.columns], ([line, j]) => {
    const group = div(line!, l.rows), i = mod(line!, l.rows);
    return [call('spc_tiles_from_images', pointer(y.param, vectorOfImages(l, group, i, j!)), pointer(x.param, rowOfImages(l, group, i, j!)), l.channels, lanesAt(l, group, i, j!), l.height * l.width)];
  });
}

function toRows(k: KernelBuilder, x: TensorRef, y: TensorRef, l: Layout): Stmt[] {
  if (l.over === 'pixels') return overGrids(k, l, 0, gridVectors(l), true, x, y);
  return k.forEach([Math.ceil(l.images / LANES) * l.height, l.width], ([line, column]) => {
    const group = div(line!, l.height), i = add(mod(line!, l.height), l.top), j = add(column!, l.left);
    return [call('spc_tiles_to_images', pointer(y.param, rowOfImages(l, group, i, j)), pointer(x.param, vectorOfImages(l, group, i, j)), l.channels, lanesAt(l, group, i, j), l.height * l.width)];
  });
}

/** Where the lanes of vectors come from: for vector v, vectors `sources[g]` for g in first[v]..first[v + 1], and of each the lanes. */
export interface LaneGather {
  readonly first: Int32Array;
  readonly sources: Int32Array;
  /** 16 for each source, -1 where a lane comes from elsewhere or is zero. */
  readonly lanes: Int8Array;
}

/** @param place source vector and lane of lane `lane` of vector `v`; undefined: zero */
export function laneGather(vectors: number, place: (v: number, lane: number) => { readonly vector: number; readonly lane: number } | undefined): LaneGather {
  const first = [0], sources: number[] = [], lanes: number[] = [];
  for (let v = 0; v < vectors; v++) {
    const groups = new Map<number, number[]>();
    for (let lane = 0; lane < LANES; lane++) {
      const from = place(v, lane);
      if (!from) continue;
      const group = groups.get(from.vector) ?? new Array<number>(LANES).fill(-1);
      group[lane] = from.lane;
      groups.set(from.vector, group);
    }
    for (const [vector, own] of groups) {
      sources.push(vector);
      lanes.push(...own);
    }
    first.push(sources.length);
  }
  return { first: Int32Array.from(first), sources: Int32Array.from(sources), lanes: Int8Array.from(lanes) };
}

const constantOf = (dtype: DType, data: TypedArray): Tensor => ({ kind: 'dense', dtype, shape: [data.length], data });

/** The tables of a gather as constants of a kernel: their parameters' names. */
export const gatherConstants = (k: KernelBuilder, g: LaneGather): readonly [first: string, sources: string, lanes: string] =>
  [k.constant('first', constantOf('i32', g.first)), k.constant('sources', constantOf('i32', g.sources)), k.constant('lanes', constantOf('i8', g.lanes))];

/** For the vectors of all grids of an image of y: where they come from in the image of x, of which every `step`-th pixel is taken. */
function gatherOf(x: PixelTiles, y: PixelTiles, step: number): LaneGather {
  const size = gridVectors(y), s = y.phases;
  return laneGather(s * s * size, (at, lane) => {
    const p = lane * size + (at % size), grid = Math.floor(at / size);
    const i = Math.floor(p / y.columns) * s + Math.floor(grid / s), j = (p % y.columns) * s + (grid % s);
    return p >= y.rows * y.columns || i >= y.height || j >= y.width ? undefined : placeOf(x, 0, i * step, j * step);
  });
}

function regrid(k: KernelBuilder, xRef: TensorRef, yRef: TensorRef, x: PixelTiles, y: PixelTiles, gather: LaneGather): Stmt[] {
  const [first, sources, lanes] = gatherConstants(k, gather), from = x.phases * x.phases * phaseVectors(x) * vectorStride(x), size = gridVectors(y), s = y.phases * y.phases;
  const vectors = k.forEach([y.images * s, size], ([grid, v]) => [call('spc_tiles_gather', pointer(yRef.param, vectorOfGrid(y, grid!, v!)), pointer(xRef.param, mul(div(grid!, s), from)),
    y.channels, vectorStride(x), pointer(first, add(mul(mod(grid!, s), size), v!)), pointer(sources), pointer(lanes))]);
  return [...vectors, ...haloStatements(k, yRef)];
}

/** 1 for a relayout, the step of a slice that takes pixels evenly and all channels, 0 for anything else. */
function stepOf(node: Node): number {
  if (node.kind !== 'slice') return node.kind === 'relayout' ? 1 : 0;
  const { starts, steps } = node.attrs, step = steps.at(-2)!;
  return !node.epilogue && starts.every((s) => s === 0) && steps.every((s, i) => s === (i === 0 || i === steps.length - 1 ? 1 : step)) ? step : 0;
}

export function relayoutRule(isa: Isa): KernelRule {
  const candidates = ({ node, inputs, outputs }: KernelRequest): KernelCandidate[] => {
    const x = inputs[0]!, y = outputs[0]!, from = x.layout, to = y.layout, either = to ?? from;
    // every n-th pixel in both directions, what a strided 1x1 convolution reads
    const step = stepOf(node);
    if (step === 0 || !either || y.dtype !== 'f32' || ![from, to].every((l) => !l || isAddressable(l))) return [];
    const offer = (kernel: string, reason: string, cycles: number, build: KernelCandidate['build']): KernelCandidate[] =>
      [{ choice: { status: 'dense-kernel', kernel, reason }, nanoseconds: cycles / isa.clock, finishes: true, build }];
    const squares = vectorsOf(either) * Math.ceil(either.channels / LANES);
    if (step > 1 && (from?.over !== 'pixels' || to?.over !== 'pixels')) return [];
    if (!from) return isContiguous(x) && to ? offer(`rows to ${to.over}`, `${squares} squares of 16x16, transposed in registers`, squares * 120, (k) => fromRows(k, x, y, to)) : [];
    if (!to) return isContiguous(y) ? offer(`${from.over} to rows`, `${squares} squares of 16x16, transposed in registers`, squares * 120, (k) => toRows(k, x, y, from)) : [];
    if (from.over !== 'pixels' || to.over !== 'pixels' || from.images !== to.images || to.height !== Math.ceil(from.height / step) || to.width !== Math.ceil(from.width / step)) return [];
    const gather = gatherOf(from, to, step), vectors = to.images * to.phases * to.phases * gridVectors(to), average = (gather.sources.length * to.images / vectors).toFixed(1);
    return offer('pixels to pixels', `vectors of ${average} sources, in ${to.phases}x${to.phases} phases`, gather.sources.length * to.images * to.channels * 2, (k) => regrid(k, x, y, from, to, gather));
  };
  return { name: 'relayout', tiles: true, candidates };
}
