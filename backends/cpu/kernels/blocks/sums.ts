/** The schedule of products whose lanes are output channels: strips of points in registers, one weight vector a block, x broadcast from memory. */
import { add, asIndex, assign, cast, compare, constant, div, fma, forLoop, load, loadHalf, max, min, mul, ref, select, splat, sub, varStmt, vector, vload } from '../../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { Isa } from '../../isa.js';
import type { ChannelVector } from '../vector.js';
import { storeTile, type Output } from '../vector.js';
import { pointsOf, stripCount, type Image, type Strips } from './strips.js';

/** Block columns as parameters of the kernel: offsets from a strip's first point in x, in elements. */
export interface BlockParams {
  readonly masked: boolean;
  readonly values: string;
  readonly offsets: { readonly name: string; readonly dtype: 'u16' | 'u32' };
  readonly starts: string;
  /** Blocks of the longest block row. */
  readonly longest: number;
}

export interface BlockSums {
  readonly isa: Isa;
  readonly x: string;
  /** Address of the first element that the first strip's window covers. */
  readonly origin: Expr;
  readonly image: Image;
  readonly strips: Strips;
  /** Outputs, and how many of them share a column. */
  readonly channels: number;
  readonly width: number;
  readonly parts: readonly BlockParams[];
  /** Values are bf16, two neighbouring blocks of a row taking turns element by element, as far as they are summed at one pace. */
  readonly halves?: boolean;
  /** Table of the first output of each block row (and the end of the last), where rows are not `width` outputs each. */
  readonly rows?: { readonly name: string; readonly dtype: 'u16' | 'u32'; readonly count: number };
  /** Results as [pixels, channels]. */
  readonly output: Output;
  /** Blocks in the outermost loop, strips within: the other way round weights come from memory for each strip. */
  readonly blocksOutside: boolean;
}

/** Sums of independent parts for each point, so that adding does not wait for the last addition: 1, 2 or 4. */
export function partsOf(isa: Isa, sums: number): number {
  const parts = Math.min(4, Math.floor(isa.registers / 2 / sums), Math.ceil((2 * isa.latency * isa.fma.full) / sums));
  return parts < 2 ? 1 : parts < 4 ? 2 : 4;
}

/** Blocks of a row that are added one by one to parts of their own, where a row has so many. */
export const paceOf = (parts: number, longest: number): number => (longest < parts ? 1 : parts);

export function buildBlockSums(k: KernelBuilder, s: BlockSums): Stmt[] {
  const { image, strips, width, channels } = s, whole = Math.floor(channels / width), rest = channels % width;
  const vectors = (outputs: number): ChannelVector[] => Array.from({ length: Math.ceil(outputs / s.isa.lanes) }, (_, v) =>
    ({ lanes: s.isa.lanes, count: Math.min(s.isa.lanes, outputs - v * s.isa.lanes), offset: v * s.isa.lanes }));
  /** Block rows with their first output; loops even of one, since they may be divided among threads. */
  const overBlocks = (body: (block: Expr, first: Expr, own: readonly ChannelVector[]) => readonly Stmt[]): Stmt[] => {
    const b = k.name('b');
    if (s.rows) {
      const { name, dtype, count } = s.rows, at = (i: Expr): Expr => cast(load(name, dtype, i), 'index'), first = k.let('first', at(ref(b))), live = k.let('live', sub(at(add(ref(b), 1)), first.ref));
      const own = vectors(width).map((v, i): ChannelVector => ({ ...v, live: i === 0 ? min(live.ref, v.lanes) : max(0, min(sub(live.ref, v.offset), v.lanes)) }));
      return [forLoop(b, count, [first.declare, live.declare, ...body(ref(b), first.ref, own)], { parallel: true })];
    }
    return [
      ...(whole > 0 ? [forLoop(b, whole, body(ref(b), mul(ref(b), width), vectors(width)), { parallel: true })] : []),
      ...(rest > 0 ? [forLoop(k.name('b'), 1, body(asIndex(whole), asIndex(whole * width), vectors(rest)), { parallel: true })] : []),
    ];
  };
  const overStrips = (body: (rows: number, columns: number, image: Expr, row: Expr, column: Expr) => readonly Stmt[]): Stmt[] =>
    strips.rows.flatMap((r) => strips.columns.flatMap((c) => k.forEach([image.images, r.count, c.count], ([n, i, j]) =>
      body(r.size, c.size, n!, add(mul(i!, r.size), r.start), add(mul(j!, c.size), c.start)))));
  const product = (rows: number, columns: number, n: Expr, row: Expr, column: Expr, block: Expr, first: Expr, own: readonly ChannelVector[]): Stmt[] => {
    const [wy, wx] = image.window, down = image.stride[0] * wy * image.width * image.pixel, across = image.stride[1] * wx * image.pixel;
    const at = k.let('x0', add(add(s.origin, mul(n, image.height * image.width * image.channels)), add(mul(row, down), mul(column, across))));
    const pixel = add(mul(add(mul(n, image.rows), row), image.columns), column);
    return [at.declare, ...stripSums(k, s, pointsOf(image, rows, columns), at.ref, block, own, (sums) =>
      storeTile(k, s.output, { points: rows * columns, vectors: own, value: sums }, (p, c) => {
        const inStrip = asIndex(p), place = columns === image.columns || rows === 1 ? inStrip
          : add(mul(div(inStrip, columns), image.columns), sub(inStrip, mul(div(inStrip, columns), columns)));
        return [add(pixel, place), add(first, asIndex(c))];
      }))];
  };
  return s.blocksOutside || stripCount(strips) * image.images === 1
    ? overBlocks((b, first, own) => overStrips((r, c, n, row, column) => product(r, c, n, row, column, b, first, own)))
    : overStrips((r, c, n, row, column) => overBlocks((b, first, own) => product(r, c, n, row, column, b, first, own)));
}

/** One strip of points times one block of outputs, from zero to stored; the maximum of each window where windows have several points. */
function stripSums(k: KernelBuilder, s: BlockSums, windows: readonly (readonly number[])[], x0: Expr, block: Expr, own: readonly ChannelVector[],
  finish: (value: (window: number, vector: number) => Expr) => Stmt[]): Stmt[] {
  const points = windows.flat(), split = partsOf(s.isa, points.length * own.length);
  const names = Array.from({ length: split }, () => points.map(() => own.map(() => k.name('a'))));
  const sum = (part: number, point: number, v: number): Expr => ref(names[part]![point]![v]!, vector('f32', own[v]!.lanes));
  const declare = names.flatMap((ps) => ps.flatMap((vs) => vs.map((n, v) => varStmt(n, constant('f32', 0, own[v]!.lanes)))));

  /** Block `i`, which is number `u` of those that are added together. */
  const addBlock = (part: BlockParams, i: Expr, u: number, alone = false): Stmt[] => {
    const at = k.let('at', add(x0, cast(load(part.offsets.name, part.offsets.dtype, i), 'index')));
    const weights = own.map((v) => k.let('w', s.halves && !alone
      ? loadHalf(part.values, vector('f32', v.lanes), add(mul(sub(i, u % 2), s.width), 2 * v.offset), u % 2 === 0 ? 'even' : 'odd')
      : vload(part.values, vector('f32', v.lanes), add(mul(i, s.width), v.offset))));
    return [at.declare, ...weights.map((w) => w.declare), ...points.flatMap((distance, p) => {
      const x = k.let('x', load(s.x, 'f32', add(at.ref, distance)));
      return [x.declare, ...own.map((v, j) => {
        const w = weights[j]!.ref, zero = constant('f32', 0, v.lanes), every = splat(x.ref, v.lanes);
        // 0 times what a zero weight would be multiplied with, which may be infinite
        const factor = part.masked ? select(compare('ne', w, zero), every, zero) : every;
        return assign(names[u]![p]![j]!, fma(factor, w, sum(u, p, j)));
      })];
    })];
  };
  const addPart = (part: BlockParams): Stmt[] => {
    const start = (of: Expr): Expr => cast(load(part.starts, 'u32', of), 'index');
    const from = k.let('from', start(block)), to = k.let('to', start(add(block, 1))), i = k.name('i');
    if (paceOf(split, part.longest) === 1) return [from.declare, to.declare, forLoop(i, to.ref, addBlock(part, ref(i), 0, true), {}, from.ref)];
    const last = k.name('i'), even = k.let('even', sub(to.ref, split - 1)), rest = k.let('rest', add(from.ref, mul(div(sub(to.ref, from.ref), split), split)));
    return [
      from.declare, to.declare, even.declare, rest.declare,
      forLoop(i, even.ref, Array.from({ length: split }, (_, u) => addBlock(part, add(ref(i), u), u)).flat(), {}, from.ref, split),
      forLoop(last, to.ref, addBlock(part, ref(last), 0, true), {}, rest.ref),
    ];
  };
  const gather = names[0]!.flatMap((vs, p) => vs.flatMap((n, v) => (split === 1 ? [] : [assign(n, names.slice(1).reduce((e, _, u) => add(e, sum(u + 1, p, v)), sum(0, p, v)))])));
  const firsts = windows.map((_, w) => windows.slice(0, w).reduce((n, ps) => n + ps.length, 0));
  const pooled = windows.flatMap((ps, w) => (ps.length === 1 ? [] : own.map((_, v) =>
    // a NaN is no maximum, as in a pool by itself
    assign(names[0]![firsts[w]!]![v]!, ps.reduce<Expr>((e, _p, i) => max(e, sum(0, firsts[w]! + i, v)), constant('f32', -Infinity, own[v]!.lanes))))));
  return [...declare, ...s.parts.flatMap(addPart), ...gather, ...pooled, ...finish((w, v) => sum(0, firsts[w]!, v))];
}
