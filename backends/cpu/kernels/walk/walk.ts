/**
 * Convolutions that walk over the non-zeros of one filter after the other: lanes are pixels of one output channel, all of its sums stay in registers.
 * A non-zero is one broadcast and one multiply-add with a memory operand for each vector of sums; where it lies comes from a table.
 */
import { constant, add, asIndex, call, cast, fma, forLoop, letStmt, load, max, mul, pointer, ref, splat, store, varStmt, assign, vector, vload } from '../../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { DenseTensor } from '../../../../compiler/ir/tensor.js';
import type { Isa } from '../../isa.js';
import { LINE, WIDTH, type Cover } from './cover.js';

/** A vector of results: the largest of its sums, which lie `at` elements from where the tap of their source lies. */
interface ResultVector {
  readonly sums: readonly { readonly source: number; readonly at: number }[];
}

/** What a walk sums up. */
export interface Walk {
  readonly cover: Cover;
  /** Of x and y, and of one group of x. */
  readonly channels: number;
  readonly filters: number;
  /** Non-zeros of a filter, in order of their channels. */
  readonly entries: readonly (readonly Entry[])[];
  /** Addresses that a non-zero is read at: a rectangle of the cover, and the distance from the window's first element. */
  readonly sources: readonly { readonly rectangle: number; readonly row: number; readonly column: number }[];
  /** Results in groups whose sums fit into the registers together. */
  readonly groups: readonly (readonly ResultVector[])[];
  /** Channels whose lines stay in the first cache. */
  readonly chunk: number;
}

export interface Entry {
  readonly channel: number;
  readonly row: number;
  readonly column: number;
  readonly weight: number;
}

/** Bytes of lines that stay in the first cache beside tables and sums. */
const FIRST_CACHE = 28 << 10;

/** Vectors of eight sums that the registers hold, a weight beside them. */
export const mostSums = (isa: Isa): number => Math.floor(((isa.registers - 2) * Math.min(isa.lanes, WIDTH)) / WIDTH);

/** @param phases displacements of the sums of which a result is the largest */
export function walkOf(isa: Isa, cover: Cover, phases: readonly (readonly [number, number])[], filters: readonly (readonly Entry[])[], channels: number): Walk {
  const sources = phases.flatMap(([row, column]) => Array.from({ length: cover.rectangles }, (_, rectangle) => ({ rectangle, row, column })));
  const results = cover.vectors.map((v): ResultVector => ({ sums: phases.map((_, p) => ({ source: p * cover.rectangles + v.rectangle, at: v.at })) }));
  const count = Math.ceil(results.length / Math.floor(mostSums(isa) / phases.length));
  const groups = Array.from({ length: count }, (_, g) => results.slice(Math.round((g * results.length) / count), Math.round(((g + 1) * results.length) / count)));
  const chunks = Math.ceil((channels * cover.lines * LINE * 4) / FIRST_CACHE);
  return { cover, channels, filters: filters.length, entries: filters, sources, groups, chunk: Math.ceil(channels / Math.min(chunks, channels)) };
}

export const chunksOf = (w: Walk): number => Math.ceil(w.channels / w.chunk);
/** Elements of a filter's results, a whole number of lines. */
const stepOf = (w: Walk): number => Math.ceil((w.cover.vectors.length * WIDTH) / LINE) * LINE;
const i32 = (data: Int32Array): DenseTensor => ({ kind: 'dense', dtype: 'i32', shape: [data.length], data });

/** Tables of a walk: where the entries of (chunk, filter) start, their addresses, one a source, and weights. */
export function tablesOf({ cover, channels, filters, entries, sources, chunk }: Walk) {
  const starts: number[] = [0], offsets: number[] = [], weights: number[] = [];
  for (let c = 0; c < channels; c += chunk) for (let o = 0; o < filters; o++) {
    for (const e of entries[o]!) {
      if (e.channel < c || e.channel >= c + chunk) continue;
      for (const s of sources) offsets.push(e.channel * cover.lines * LINE + cover.tap(s.rectangle, e.row + s.row, e.column + s.column));
      weights.push(e.weight);
    }
    starts.push(weights.length);
  }
  return { starts: i32(Int32Array.from(starts)), offsets: i32(Int32Array.from(offsets)), weights: { kind: 'dense', dtype: 'f32', shape: [weights.length], data: Float32Array.from(weights) } satisfies DenseTensor };
}

/** The sums of all filters from planes, in scratch memory. @returns its name */
function sumStatements(k: KernelBuilder, w: Walk, planes: string, weights: string): { readonly sums: string; readonly body: Stmt[] } {
  const tables = tablesOf(w), starts = k.constant('starts', tables.starts), offsets = k.constant('offsets', tables.offsets);
  const step = stepOf(w), sums = k.scratch('sums', 'f32', w.filters * step), type = vector('f32', WIDTH);
  const body = Array.from({ length: chunksOf(w) }, (_, chunk) => {
    let slot = 0;
    return w.groups.map((results) => {
      const o = k.name('o'), e = k.name('e'), end = k.name('end'), weight = k.name('w'), own = results.flatMap((r) => r.sums.map(() => k.name('a'))), first = slot;
      slot += results.length;
      const used = [...new Set(results.flatMap((r) => r.sums.map((s) => s.source)))].sort((a, b) => a - b), places = new Map(used.map((s) => [s, k.name('p')]));
      const at = (i: number): Expr => add(mul(ref(o), step), (first + i) * WIDTH);
      const accumulators = results.flatMap((r) => r.sums), start = (i: number): Expr => load(starts, 'i32', add(ref(o), chunk * w.filters + i));
      const one = results[0]!.sums.length, value = (i: number): Expr => ref(own[i]!, type);
      return forLoop(o, w.filters, [
        ...own.map((name, i) => varStmt(name, chunk === 0 ? constant('f32', 0, WIDTH) : vload(sums, type, at(i)))),
        letStmt(end, cast(start(1), 'index')),
        forLoop(e, ref(end), [
          letStmt(weight, splat(load(weights, 'f32', ref(e)), WIDTH)),
          ...used.map((s) => letStmt(places.get(s)!, cast(load(offsets, 'i32', add(mul(ref(e), w.sources.length), s)), 'index'))),
          ...accumulators.map((a, i) => assign(own[i]!, fma(vload(planes, type, add(ref(places.get(a.source)!), a.at)), ref(weight, type), value(i)))),
        ], {}, cast(start(0), 'index')),
        ...results.map((r, i) => store(sums, at(i), r.sums.map((_, p) => value(i * one + p)).reduce((a, b) => max(a, b)))),
      ], { parallel: true });
    });
  }).flat();
  return { sums, body };
}

/** One image: its planes, the walk, and the results as row-major pixels. Addresses are those of the image's first element. */
export function buildWalk(k: KernelBuilder, w: Walk, x: { readonly param: string; readonly at: Expr | number }, weights: string, y: { readonly param: string; readonly at: Expr | number }): Stmt[] {
  const { cover, channels, filters } = w, plane = cover.lines * LINE, planes = k.scratch('planes', 'f32', channels * plane), lines = k.constant('lines', i32(cover.pixels()));
  const { sums, body } = sumStatements(k, w, planes, weights), vectors = stepOf(w) / LINE, lanes = new Int32Array(stepOf(w)).fill(-1);
  cover.vectors.forEach((v, i) => lanes.set(v.pixels, i * WIDTH));
  const pixels = k.constant('pixels', i32(lanes));
  return [
    ...k.forEach([cover.lines], ([line]) => [call('spc_planes_from_rows', pointer(planes), plane, pointer(x.param, asIndex(x.at)), pointer(lines), channels, line!)]),
    ...body,
    ...k.forEach([vectors], ([v]) => [call('spc_planes_to_rows', pointer(y.param, asIndex(y.at)), pointer(sums), stepOf(w), pointer(pixels), filters, v!)]),
  ];
}
