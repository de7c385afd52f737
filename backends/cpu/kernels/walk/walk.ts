/**
 * Convolutions that walk over the non-zeros of one filter after the other: lanes are pixels of one output channel, all of its sums stay in registers.
 * A non-zero is one broadcast and one multiply-add with a memory operand for each vector of sums; where it lies comes from a table.
 */
import { add, assign, call, cast, constant, fma, forLoop, letStmt, load, max, min, mul, pointer, ref, splat, store, varStmt, vector, vload } from '../../../../compiler/kir/build.js';
import type { DenseTensor } from '../../../../compiler/ir/tensor.js';
import type { KernelBuilder } from '../../../../compiler/kir/kernel-builder.js';
import type { Clamp } from '../../../../compiler/kir/stream.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { Isa } from '../../isa.js';
import { LINE, WIDTH, type Cover } from './cover.js';

/** A vector of results: the largest of its sums, each `at` elements from where the tap of its source lies. */
interface ResultVector {
  readonly lanes: number;
  readonly sums: readonly { readonly source: number; readonly at: number }[];
}

/** What a walk sums up, and how it is divided. */
export interface Walk {
  readonly cover: Cover;
  /** Of x and y. */
  readonly channels: number;
  readonly filters: number;
  readonly nonZeros: number;
  /** Addresses that a non-zero is read at: a rectangle of the cover, and a distance from the tap. */
  readonly sources: readonly { readonly rectangle: number; readonly row: number; readonly column: number }[];
  /** Results in groups whose sums fit into the registers together. */
  readonly groups: readonly (readonly ResultVector[])[];
  /** Channels whose lines stay in the first cache. */
  readonly chunk: number;
}

/** A non-zero weight, `row` and `column` elements from the first one of the window. */
export interface Entry {
  readonly channel: number;
  readonly row: number;
  readonly column: number;
  readonly weight: number;
}

/** What is done to the sums in registers. */
export interface Finish {
  readonly bias: Float32Array;
  readonly clamp: Clamp;
}

/** Bytes of lines that stay in the first cache beside tables and sums. */
const FIRST_CACHE = 30 << 10;
/** Fewer channels are brought into lines element by element: squares of 16x16 would be mostly empty. */
export const FEW_CHANNELS = 4;

/** Vectors of eight sums that the registers hold beside a weight. */
const mostSums = (isa: Isa): number => Math.floor(((isa.registers - 2) * Math.min(isa.lanes, WIDTH)) / WIDTH);

/** @param phases distances between the sums of which a result is the largest; undefined where such sums are not complete at a time */
export function walkOf(isa: Isa, cover: Cover, phases: readonly (readonly [number, number])[], size: Pick<Walk, 'channels' | 'filters' | 'nonZeros'>): Walk | undefined {
  const { channels } = size, sources = phases.flatMap(([row, column]) => Array.from({ length: cover.rectangles }, (_, rectangle) => ({ rectangle, row, column })));
  const results = cover.vectors.map((v): ResultVector => ({ lanes: v.pixels.length, sums: phases.map((_, p) => ({ source: p * cover.rectangles + v.rectangle, at: v.at })) }));
  const chunks = Math.min(channels, Math.ceil((channels * cover.lines * LINE * 4) / FIRST_CACHE)), together = Math.floor(mostSums(isa) / phases.length);
  if (together === 0 || (phases.length > 1 && chunks > 1)) return undefined;
  const count = Math.ceil(results.length / together);
  const groups = Array.from({ length: count }, (_, g) => results.slice(Math.round((g * results.length) / count), Math.round(((g + 1) * results.length) / count)));
  return { ...size, cover, sources, groups, chunk: Math.ceil(channels / chunks) };
}

export const chunksOf = (w: Walk): number => Math.ceil(w.channels / w.chunk);
/** Elements of a filter's results, a whole number of lines. */
const stepOf = (w: Walk): number => Math.ceil((w.cover.vectors.length * WIDTH) / LINE) * LINE;
const i32 = (data: Int32Array): DenseTensor => ({ kind: 'dense', dtype: 'i32', shape: [data.length], data });
const f32s = (data: Float32Array): DenseTensor => ({ kind: 'dense', dtype: 'f32', shape: [data.length], data });

/** Where the entries of (chunk, filter) start, their addresses, one a source, and weights. */
function tablesOf({ cover, channels, filters, sources, chunk }: Walk, entries: readonly (readonly Entry[])[]) {
  const starts: number[] = [0], offsets: number[] = [], weights: number[] = [];
  for (let c = 0; c < channels; c += chunk) for (let o = 0; o < filters; o++) {
    for (const e of entries[o]!) {
      if (e.channel < c || e.channel >= c + chunk) continue;
      for (const s of sources) offsets.push(e.channel * cover.lines * LINE + cover.tap(s.rectangle, e.row + s.row, e.column + s.column));
      weights.push(e.weight);
    }
    starts.push(weights.length);
  }
  return { starts: i32(Int32Array.from(starts)), offsets: i32(Int32Array.from(offsets)), weights: f32s(Float32Array.from(weights)) };
}

/** Bytes of tables that a run reads. */
export const tableBytes = (w: Walk): number => 4 * (w.nonZeros * (1 + w.sources.length) + chunksOf(w) * w.filters);

/** The sums of all filters from planes, in scratch memory. @returns its name */
function sumStatements(k: KernelBuilder, w: Walk, entries: readonly (readonly Entry[])[], planes: string, finish: Finish | undefined) {
  const tables = tablesOf(w, entries);
  const starts = k.constant('starts', tables.starts), offsets = k.constant('offsets', tables.offsets), weights = k.constant('weights', tables.weights);
  const biased = finish?.bias.some((b) => b !== 0) ? k.constant('bias', f32s(finish.bias)) : undefined;
  const step = stepOf(w), sums = k.scratch('sums', 'f32', w.filters * step), chunks = chunksOf(w);
  const clamped = (e: Expr, { low, high }: Clamp): Expr => {
    const above = low === -Infinity ? e : max(e, constant('f32', low, e.type.lanes));
    return high === Infinity ? above : min(above, constant('f32', high, e.type.lanes));
  };
  const body = Array.from({ length: chunks }, (_, chunk) => {
    let slot = 0;
    return w.groups.map((results) => {
      const all = results.flatMap((r) => r.sums.map((s) => ({ ...s, type: vector('f32', r.lanes), name: k.name('a') }))), first = slot, each = all.length / results.length;
      slot += results.length;
      const o = k.name('o'), e = k.name('e'), end = k.name('end'), widths = [...new Set(results.map((r) => r.lanes))];
      const places = new Map([...new Set(all.map((s) => s.source))].sort((a, b) => a - b).map((s) => [s, k.name('p')]));
      const start = (i: number): Expr => cast(load(starts, 'i32', add(ref(o), chunk * w.filters + i)), 'index');
      /** A number of the filter, or of one of its non-zeros, in all lanes. */
      const inLanes = (base: string, value: Expr): { readonly declare: Stmt[]; readonly of: ReadonlyMap<number, Expr> } => {
        const one = k.let(base, value), wide = widths.map((lanes) => [lanes, k.let(`${base}${lanes}_`, splat(one.ref, lanes))] as const);
        return { declare: [one.declare, ...wide.map(([, l]) => l.declare)], of: new Map(wide.map(([lanes, l]) => [lanes, l.ref])) };
      };
      const weight = inLanes('w', load(weights, 'f32', ref(e))), begin = biased && chunk === 0 ? inLanes('b', load(biased, 'f32', ref(o))) : undefined;
      const resultAt = (i: number): Expr => add(mul(ref(o), step), (first + i) * WIDTH), value = (i: number): Expr => ref(all[i]!.name, all[i]!.type);
      const result = (i: number): Expr => {
        const largest = Array.from({ length: each }, (_, p) => value(i * each + p)).reduce((a, b) => max(a, b));
        return chunk === chunks - 1 && finish ? clamped(largest, finish.clamp) : largest;
      };
      return forLoop(o, w.filters, [
        ...(begin?.declare ?? []),
        ...all.map(({ name, type }, i) => varStmt(name, chunk > 0 ? vload(sums, type, resultAt(i)) : begin?.of.get(type.lanes) ?? constant('f32', 0, type.lanes))),
        letStmt(end, start(1)),
        forLoop(e, ref(end), [
          ...weight.declare,
          ...[...places].map(([s, name]) => letStmt(name, cast(load(offsets, 'i32', add(mul(ref(e), w.sources.length), s)), 'index'))),
          ...all.map((s, i) => assign(s.name, fma(vload(planes, s.type, add(ref(places.get(s.source)!), s.at)), weight.of.get(s.type.lanes)!, value(i)))),
        ], {}, start(0)),
        ...results.map((_, i) => store(sums, resultAt(i), result(i))),
      ], { parallel: true });
    });
  }).flat();
  return { sums, body };
}

/** Where an image begins. */
export interface Place {
  readonly param: string;
  readonly at: Expr;
}

/** One image: its planes, the walk, and the results as row-major pixels. */
export function buildWalk(k: KernelBuilder, w: Walk, entries: readonly (readonly Entry[])[], x: Place, y: Place, finish?: Finish): Stmt[] {
  const { cover, channels, filters } = w, plane = cover.lines * LINE, planes = k.scratch('planes', 'f32', channels * plane);
  const few = channels < FEW_CHANNELS, lines = k.constant('lines', i32(few ? cover.runs() : cover.pixels()));
  const { sums, body } = sumStatements(k, w, entries, planes, finish), vectors = stepOf(w) / LINE, lanes = new Int32Array(stepOf(w)).fill(-1);
  cover.vectors.forEach((v, i) => lanes.set(v.pixels, i * WIDTH));
  const pixels = k.constant('pixels', i32(lanes));
  const gather = few ? 'spc_planes_from_elements' : 'spc_planes_from_rows';
  return [
    ...k.forEach([cover.lines], ([line]) => [call(gather, pointer(planes), plane, pointer(x.param, x.at), pointer(lines), channels, line!)]),
    ...body,
    ...k.forEach([vectors], ([v]) => [call('spc_planes_to_rows', pointer(y.param, y.at), pointer(sums), stepOf(w), pointer(pixels), filters, v!)]),
  ];
}
