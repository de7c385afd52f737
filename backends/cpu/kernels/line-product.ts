/**
 * The schedule behind convolution and matrix product: an implicit gemm over lines of output points.
 *
 * A line is a row of output points (pixels, or rows of A) that lie `pointStride` apart in x. A tile of points times a block of
 * channel vectors stays in registers while the sum runs over kernel rows, taps and input channels: one weight vector load a
 * block vector and one broadcast of x a point feed points x vectors multiply-adds. Weights are packed in the order in which they are
 * read. Zero padding costs nothing: kernel rows outside the image are not visited, and border tiles leave out the
 * points that a tap does not reach.
 */
import { newArray, type DenseTensor } from '../../../compiler/ir/tensor.js';
import { asBf16 } from '../../../compiler/ir/bf16.js';
import { add, asIndex, assign, cast, constant, dot2, fma, forLoop, load, loadHalf, mul, ref, splat, varStmt, vector, vload } from '../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../compiler/kir/types.js';
import type { BlockRun, TileRun, Tiling } from './tile.js';
import { storeTile, type Accumulators, type ChannelVector, type Output } from './vector.js';

export interface LineProduct {
  readonly x: TensorRef;
  readonly acc: 'f32' | 'i32';
  readonly output: Output;
  readonly weights: Weights;
  /** Extents of the loops around a line (batch, image rows). */
  readonly lines: readonly number[];
  /** Address in x of a line's first point at tap (0, 0), channel 0; it may lie outside (padding). */
  lineBase(line: readonly Expr[]): Expr;
  readonly points: number;
  readonly pointStride: number;
  /** Input channels that a sum runs over, and the distance between two of them. */
  readonly depth: number;
  readonly depthStride: number;
  /** Kernel rows, `stride` apart in x; `from`..`to` of them lie inside the image. */
  readonly rows: { readonly count: number; readonly stride: number; bounds?(line: readonly Expr[]): { readonly from: Expr; readonly to: Expr } | undefined };
  /** Kernel columns; `reach(tap)` are the points of the line for which it lies inside. */
  readonly taps: { readonly count: number; readonly stride: number; reach(tap: number): readonly [number, number] };
  readonly groups: number;
  /** Output channels of a group. */
  readonly channels: number;
  /** Coordinates in y. */
  at(line: readonly Expr[], point: Expr, channel: Expr): Expr[];
}

/** Where weight vectors lie: packed as [group][block][kernel row][tap][channel][lane], or (`rowStride`) the rows of a matrix read in place. */
export interface Weights {
  readonly param: string;
  /** Distance between the rows of a matrix that is read in place; its vectors are all full. */
  readonly rowStride?: number;
  /**
   * Weights are pairs of i16 elements, and x is i16: each step of the sum takes two channels, so `depth` counts pairs and
   * `depthStride` is 2.
   */
  readonly pairs?: boolean;
  /** Weights are bf16, vectors of a block two by two taking turns element by element (see `halved`). */
  readonly halves?: boolean;
  /** Where the weights of a line begin, if they differ (batches of B). */
  base?(line: readonly Expr[]): Expr;
}

/** Steps of a run that are written out. */
const MAX_UNROLLED = 10;
/** Values in registers at a time, so that compilers do not spill; lanes of a step beside which a loop's overhead is small. */
const MAX_LIVE = 40, LONG_STEP = 200;
/** Weights beyond this share the second cache level badly with x: read each block once and pass all lines by it. */
const LARGE_WEIGHTS = 400_000;

/** Elements of the packed form of one group. */
export const packedSize = (blocks: readonly BlockRun[], depth: number): number => blocks.reduce((s, b) => s + b.count * b.width * depth, 0);

/** Packs weights; `at(group, k, channel)` reads row k (kernel row, tap, input channel) of the sum. */
export function packWeights(acc: 'f32' | 'i32', groups: number, blocks: readonly BlockRun[], depth: number, at: (group: number, k: number, channel: number) => number, pairs = false): DenseTensor {
  const together = pairs ? 2 : 1, dtype = pairs ? 'i16' : acc;
  const data = newArray(dtype, groups * packedSize(blocks, depth));
  let next = 0;
  for (let g = 0; g < groups; g++) {
    for (const b of blocks) {
      for (let i = 0; i < b.count; i++) {
        for (let k = 0; k < depth; k += together) {
          for (const v of b.vectors) {
            for (let lane = 0; lane < v.lanes; lane++) {
              for (let part = 0; part < together; part++, next++) {
                if (lane < v.count) data[next] = at(g, k + part, b.channel + i * b.width + v.offset + lane);
              }
            }
          }
        }
      }
    }
  }
  return { kind: 'dense', dtype, shape: [data.length], data };
}

/** The partner of a block's vector among vectors that take turns; the last of an odd number has none. */
const partnerOf = (vectors: readonly ChannelVector[], j: number): ChannelVector | undefined => {
  const other = vectors[j ^ 1];
  return other?.lanes === vectors[j]!.lanes ? other : undefined;
};

/** Packed weights that bf16 can hold in 16 bits: a vector and its partner become pairs, which one load brings and two operations take apart. */
export function halved(packed: DenseTensor, blocks: readonly BlockRun[]): DenseTensor {
  const from = asBf16(packed).data as Uint16Array, data = new Uint16Array(from.length), one = blocks.reduce((s, b) => s + b.count * b.width, 0), depth = from.length / one;
  let row = 0;
  for (const b of blocks) {
    for (let k = 0; k < b.count * depth; k++, row += b.width) {
      b.vectors.forEach((v, j) => {
        const other = partnerOf(b.vectors, j), start = row + (other ? Math.min(v.offset, other.offset) : v.offset);
        for (let lane = 0; lane < v.lanes; lane++) data[other ? start + 2 * lane + (j & 1) : start + lane] = from[row + v.offset + lane]!;
      });
    }
  }
  return { kind: 'dense', dtype: 'bf16', shape: [data.length], data };
}

/** Neighbouring tiles of one size that the taps reach alike. */
export interface ReachedTiles extends TileRun {
  /** Points [from, to) of the tile that each tap reaches. */
  readonly reach: readonly (readonly [number, number])[];
}

/** Groups tiles by what taps reach: those at the border differ. `reach(tap)` are points of the line. */
export function reachedTiles(taps: number, reach: (tap: number) => readonly [number, number], tiles: readonly TileRun[]): ReachedTiles[] {
  const result: ReachedTiles[] = [];
  for (const run of tiles) {
    for (let i = 0; i < run.count; i++) {
      const start = run.start + i * run.size;
      const own = Array.from({ length: taps }, (_, t): [number, number] => {
        const [from, to] = reach(t), low = Math.min(run.size, Math.max(0, from - start));
        return [low, Math.max(low, Math.min(run.size, to - start))];
      });
      const last = result.at(-1);
      const same = last?.size === run.size && last.reach.every((r, t) => r[0] === own[t]![0] && r[1] === own[t]![1]);
      if (last && same) result[result.length - 1] = { ...last, count: last.count + 1 };
      else result.push({ start, size: run.size, count: 1, reach: own });
    }
  }
  return result;
}

export function buildLineProduct(k: KernelBuilder, p: LineProduct, tiling: Tiling): Stmt[] {
  const tiles = reachedTiles(p.taps.count, p.taps.reach, tiling.tiles);
  const totalDepth = p.rows.count * p.taps.count * p.depth * (p.weights.pairs ? 2 : 1);
  const groupSize = packedSize(tiling.blocks, totalDepth);
  const lineNames = p.lines.map((d) => (d === 1 ? undefined : k.name('i')));
  const line = lineNames.map((n) => (n === undefined ? asIndex(0) : ref(n)));
  const overLines = (body: readonly Stmt[]): readonly Stmt[] =>
    lineNames.reduceRight<readonly Stmt[]>((inner, n, d) => (n === undefined ? inner : [forLoop(n, p.lines[d]!, inner, { parallel: true })]), body);
  /** `count` times `body`; a single one becomes a loop too where it must stay one statement. */
  const repeat = (base: string, count: number, always: boolean, body: (i: Expr) => readonly Stmt[]): readonly Stmt[] => {
    if (count === 1 && !always) return body(asIndex(0));
    const name = k.name(base);
    return [forLoop(name, count, body(ref(name)), { parallel: true })];
  };
  const alone = p.lines.every((d) => d === 1);
  const weightBytes = p.groups * groupSize * 4;
  const blocksOutside = weightBytes > LARGE_WEIGHTS || (alone && tiles.length === 1 && tiles[0]!.count === 1);

  const overGroups = (body: (g: Expr) => readonly Stmt[], top: boolean): readonly Stmt[] =>
    p.groups === 1 ? body(asIndex(0)) : repeat('g', p.groups, top, body);
  const overBlocks = (top: boolean, body: (block: BlockRun, group: Expr, channel: Expr, weights: Expr) => readonly Stmt[]): readonly Stmt[] =>
    overGroups((g) => tiling.blocks.flatMap((b) => repeat('b', b.count, top && p.groups === 1, (i) => {
      const inGroup = add(mul(i, b.width), b.channel);
      const own = p.weights.rowStride === undefined ? add(mul(g, groupSize), mul(inGroup, totalDepth)) : inGroup;
      const w = k.let('w0', own);
      return [w.declare, ...body(b, g, add(mul(g, p.channels), inGroup), w.ref)];
    })), top);
  const overTiles = (top: boolean, body: (tile: ReachedTiles, point: Expr) => readonly Stmt[]): readonly Stmt[] =>
    tiles.flatMap((t) => repeat('t', t.count, top, (i) => body(t, add(mul(i, t.size), t.start))));

  const tileSum = (t: ReachedTiles, point: Expr, b: BlockRun, group: Expr, channel: Expr, weights: Expr): Stmt[] => {
    const origin = k.let('x0', add(add(p.lineBase(line), mul(point, p.pointStride)), mul(group, p.depth * p.depthStride)));
    return [origin.declare, ...sumTile(k, p, tiling, t, b, line, origin.ref, p.weights.base ? add(p.weights.base(line), weights) : weights, (sums) =>
      storeTile(k, p.output, sums, (i, c) => p.at(line, add(point, asIndex(i)), add(channel, asIndex(c)))))];
  };
  if (blocksOutside) {
    return [...overBlocks(true, (b, g, o, w) => overLines(overTiles(false, (t, point) => tileSum(t, point, b, g, o, w))))];
  }
  return [...overLines(overTiles(alone, (t, point) => overBlocks(false, (b, g, o, w) => tileSum(t, point, b, g, o, w))))];
}

/** One tile of points times one block of vectors, from zero to stored. */
function sumTile(k: KernelBuilder, p: LineProduct, tiling: Tiling, t: ReachedTiles, b: BlockRun, line: readonly Expr[], origin: Expr, weights: Expr,
  finish: (sums: Accumulators) => Stmt[]): Stmt[] {
  const split = tiling.split(t.size, b.vectors.length);
  const names = Array.from({ length: split }, () => Array.from({ length: t.size }, () => b.vectors.map(() => k.name('a'))));
  const accumulator = (u: number, point: number, j: number): Expr => ref(names[u]![point]![j]!, vector(p.acc, b.vectors[j]!.lanes));
  const declare = names.flatMap((points) => points.flatMap((row) => row.map((n, j) => varStmt(n, constant(p.acc, 0, b.vectors[j]!.lanes)))));
  const scale = p.weights.pairs ? 2 : 1, stride = p.weights.rowStride ?? b.width * scale;

  /** Adds step `step` (an offset in the sum) of a run to the points that it reaches. */
  const addStep = (u: number, x: Expr, w: Expr, [from, to]: readonly [number, number]): Stmt[] => {
    const vectors = b.vectors.map((v, j) => {
      const other = p.weights.halves ? partnerOf(b.vectors, j) : undefined;
      return k.let(`w${j}_`, other ? loadHalf(p.weights.param, vector('f32', v.lanes), add(w, Math.min(v.offset, other.offset)), j % 2 === 0 ? 'even' : 'odd')
        : vload(p.weights.param, vector(p.weights.pairs ? 'i16' : p.acc, v.lanes * scale), add(w, v.offset * scale)));
    });
    return [...vectors.map((v) => v.declare), ...Array.from({ length: to - from }, (_, i) => from + i).flatMap((point) => {
      if (p.weights.pairs) {
        return b.vectors.map((_, j) => assign(names[u]![point]![j]!, dot2(p.x.param, add(x, point * p.pointStride), vectors[j]!.ref, accumulator(u, point, j))));
      }
      const element = k.let('x', cast(load(p.x.param, p.x.dtype, add(x, point * p.pointStride)), p.acc));
      return [element.declare, ...b.vectors.map((v, j) =>
        assign(names[u]![point]![j]!, fma(splat(element.ref, v.lanes), vectors[j]!.ref, accumulator(u, point, j))))];
    })];
  };
  // Where neighbouring points read the same elements, compilers keep those in registers across written-out steps, and spill when
  // there are too many. A loop forgets them; it costs little where a step is long.
  const window = p.taps.count * p.taps.stride, overlap = p.taps.count > 1 && p.pointStride < window;
  const live = t.size * b.vectors.length + (overlap ? ((t.size - 1) * p.pointStride + window) / p.depthStride : 0);
  const most = live > MAX_LIVE && t.size * b.width >= LONG_STEP ? split : MAX_UNROLLED;
  /** Sum over `length` consecutive steps, `xStride` apart in x. */
  const run = (length: number, xStride: number, x: Expr, w: Expr, reach: readonly [number, number]): Stmt[] => {
    const [x1, w1] = [k.let('x1', x), k.let('w1', w)];
    const step = (u: number, at: Expr): Stmt[] => addStep(u, add(x1.ref, mul(at, xStride)), add(w1.ref, mul(at, stride)), reach);
    const head = [x1.declare, w1.declare];
    if (length <= most) return [...head, ...Array.from({ length }, (_, i) => step(i % split, asIndex(i))).flat()];
    const i = k.name('k'), whole = length - (length % split);
    return [
      ...head,
      forLoop(i, whole, Array.from({ length: split }, (_, u) => step(u, add(ref(i), u))).flat(), {}, 0, split),
      ...Array.from({ length: length - whole }, (_, u) => step(u, asIndex(whole + u))).flat(),
    ];
  };
  const row = (x: Expr, w: Expr): Stmt[] => {
    const merged = p.taps.stride === p.depth * p.depthStride;
    const body: Stmt[] = [];
    for (let tap = 0; tap < p.taps.count;) {
      const reach = t.reach[tap]!;
      let next = tap + 1;
      while (next < p.taps.count && t.reach[next]![0] === reach[0] && t.reach[next]![1] === reach[1]) next++;
      const n = next - tap;
      const [xTap, wTap] = [add(x, tap * p.taps.stride), add(w, tap * p.depth * stride)];
      if (reach[0] < reach[1]) {
        if (merged || n === 1) body.push(...run(n * p.depth, p.depthStride, xTap, wTap, reach));
        else if (p.depth === 1) body.push(...run(n, p.taps.stride, xTap, wTap, reach));
        else {
          const name = k.name('kx');
          body.push(forLoop(name, n, run(p.depth, p.depthStride, add(xTap, mul(ref(name), p.taps.stride)), add(wTap, mul(ref(name), p.depth * stride)), reach)));
        }
      }
      tap = next;
    }
    return body;
  };
  const rowWeights = p.taps.count * p.depth * stride;
  const ky = k.name('ky');
  const inside = p.rows.bounds?.(line), bounds = inside ?? { from: asIndex(0), to: asIndex(p.rows.count) };
  const sum = p.rows.count === 1 && !inside
    ? row(origin, weights)
    : [forLoop(ky, bounds.to, row(add(origin, mul(ref(ky), p.rows.stride)), add(weights, mul(ref(ky), rowWeights))), {}, bounds.from)];
  const gather = split === 1 ? [] : names[0]!.flatMap((points, i) => points.map((n, j) =>
    assign(n, names.slice(1).reduce((s, _, u) => add(s, accumulator(u + 1, i, j)), accumulator(0, i, j)))));
  return [...declare, ...sum, ...gather, ...finish({ points: t.size, vectors: b.vectors, value: (i, j) => accumulator(0, i, j) })];
}
