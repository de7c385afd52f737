/**
 * Sums, maxima, softmax and normalisation in vectors. C compilers may not reorder float sums, so a plain loop of them runs at one
 * element per addition latency; here the order is fixed by the schedule: several vectors of partial results, joined at the end.
 */
import type { ReduceAttrs } from '../../../compiler/core/reduce.js';
import { elementCount, type NodeOf } from '../../../compiler/ir/types.js';
import { add, asIndex, assign, constant, div, forLoop, highest, hsum, load, lowest, max, min, mul, ref, splat, store, sub, unary, varStmt, vector, vload } from '../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../types.js';
import type { Isa } from '../isa.js';
import { channelVectors, isVectorizable, outputOf, storeElement, storeVector, vectorised, type Output } from './vector.js';

type Fold = 'sum' | 'max' | 'min';
/** Elements [c, c + lanes) of a row: what must be done first, and the value. */
type RowElement = (c: Expr, lanes: number) => { readonly before: readonly Stmt[]; readonly value: Expr };

const start = { sum: constant('f32', 0), max: lowest('f32'), min: highest('f32') } as const;
const join = { sum: add, max, min } as const;
const widthFor = (isa: Isa, extent: number): number => [isa.lanes, 8, 4].find((l) => l <= isa.lanes && l <= extent) ?? 1;
const everyLane = (e: Expr, lanes: number): Expr => (lanes === 1 ? e : splat(e, lanes));

/** Runs `body` over a row in vectors, then over what is left in single elements. */
function overRow(k: KernelBuilder, isa: Isa, extent: number, body: (c: Expr, lanes: number) => readonly Stmt[]): Stmt[] {
  const lanes = widthFor(isa, extent), whole = extent - (extent % lanes), c = k.name('c');
  return [
    forLoop(c, whole, body(ref(c), lanes), {}, 0, lanes),
    ...(whole < extent ? [forLoop(c, extent, body(ref(c), 1), {}, whole)] : []),
  ];
}

/** Folds a row into one number. */
function foldRow(k: KernelBuilder, isa: Isa, fold: Fold, extent: number, element: RowElement): { body: Stmt[]; result: Expr } {
  const lanes = widthFor(isa, extent), vectors = Math.floor(extent / lanes), partial = Math.min(4, vectors), c = k.name('c');
  const names = Array.from({ length: partial }, () => k.name('part')), result = k.name('total');
  const part = (i: number): Expr => ref(names[i]!, vector('f32', lanes));
  const step = (i: number, at: Expr, width: number): Stmt[] => {
    const { before, value } = element(at, width);
    return [...before, width === lanes ? assign(names[i]!, join[fold](part(i), value)) : assign(result, join[fold](ref(result, 'f32'), value))];
  };
  const block = lanes * partial, blocks = extent - (extent % block), whole = vectors * lanes;
  const all = names.slice(1).reduce((sum, _, i) => join[fold](sum, part(i + 1)), part(0));
  const body: Stmt[] = [
    ...names.map((n) => varStmt(n, everyLane(start[fold], lanes))),
    forLoop(c, blocks, names.flatMap((_, i) => step(i, add(ref(c), i * lanes), lanes)), {}, 0, block),
    ...(blocks < whole ? [forLoop(c, whole, step(0, ref(c), lanes), {}, blocks, lanes)] : []),
  ];
  if (lanes === 1 || fold === 'sum') body.push(varStmt(result, lanes === 1 ? all : hsum(all)));
  else {
    const spill = k.name('lanes');
    body.push({ kind: 'array', name: spill, dtype: 'f32', size: lanes }, store(spill, 0, all), varStmt(result, load(spill, 'f32', 0)),
      forLoop(c, lanes, [assign(result, join[fold](ref(result, 'f32'), load(spill, 'f32', ref(c))))], {}, 1));
  }
  if (whole < extent) body.push(forLoop(c, extent, step(0, ref(c), 1), {}, whole));
  return { body, result: ref(result, 'f32') };
}

const rowLoad = (k: KernelBuilder, t: TensorRef, at: readonly Expr[], lanes: number): Expr =>
  (lanes === 1 ? k.load(t, at) : vload(t.param, vector('f32', lanes), k.address(t, at)));

/** Stores results of a row through the epilogue. */
function storeRow(k: KernelBuilder, isa: Isa, output: Output, extent: number, at: (c: Expr) => Expr[], value: (c: Expr, lanes: number) => Expr): Stmt[] {
  if (output.mode === 'scalars') {
    const c = k.name('c');
    return [forLoop(c, extent, [storeElement(k, output, at(ref(c)), value(ref(c), 1))])];
  }
  return overRow(k, isa, extent, (c, lanes) => [lanes === 1
    ? storeElement(k, output, at(c), value(c, 1))
    : storeVector(k, output, at(c), value(c, lanes), { lanes, count: lanes, offset: 0 })]);
}

const floats = (...tensors: readonly TensorRef[]): boolean => tensors.every((t) => t.dtype === 'f32' && t.shape.length > 0 && t.strides.at(-1) === 1);

function candidate(kernel: string, reason: string, elements: number, isa: Isa, build: KernelCandidate['build']): KernelCandidate[] {
  return [{ choice: { status: 'dense-kernel', kernel, reason }, nanoseconds: elements / isa.lanes / isa.clock, build }];
}

/** The dimensions but the last. */
const rowsOf = (t: TensorRef): number[] => t.shape.map((d, i) => (i === t.shape.length - 1 ? 1 : d));

export function softmaxRule(isa: Isa): KernelRule {
  const candidates = ({ node, inputs, outputs, epilogue }: KernelRequest): KernelCandidate[] => {
    if (node.kind !== 'softmax') return [];
    const { attrs } = node as NodeOf<'softmax'>, x = inputs[0]!, y = outputs[0]!;
    const extent = x.shape.at(-1) ?? 0;
    if (attrs.mode !== 'soft' || attrs.axis !== x.shape.length - 1 || !floats(x, y) || extent < 4) return [];
    const output = outputOf(y, 'f32', epilogue);
    return candidate(`softmax x${widthFor(isa, extent)}`, `rows of ${extent} in vectors of ${widthFor(isa, extent)}`, elementCount(x.shape) * 12, isa, (k) =>
      k.forEach(rowsOf(x), (row) => {
        const at = (c: Expr): Expr[] => [...row.slice(0, -1), c];
        const top = foldRow(k, isa, 'max', extent, (c, lanes) => ({ before: [], value: rowLoad(k, x, at(c), lanes) }));
        // exponentials wait in the output
        const total = foldRow(k, isa, 'sum', extent, (c, lanes) => {
          const e = k.let('e', unary('exp', sub(rowLoad(k, x, at(c), lanes), everyLane(top.result, lanes))));
          return { before: [e.declare, store(y.param, k.address(y, at(c)), e.ref)], value: e.ref };
        });
        const scale = k.let('scale', div(constant('f32', 1), total.result));
        return [...top.body, ...total.body, scale.declare,
          ...storeRow(k, isa, output, extent, at, (c, lanes) => mul(rowLoad(k, y, at(c), lanes), everyLane(scale.ref, lanes)))];
      }));
  };
  return { name: 'softmax', candidates };
}

export function normalizeRule(isa: Isa): KernelRule {
  const candidates = ({ node, inputs, outputs, epilogue }: KernelRequest): KernelCandidate[] => {
    if (node.kind !== 'normalize') return [];
    const { attrs } = node as NodeOf<'normalize'>, x = inputs[0]!, y = outputs[0]!;
    const extent = x.shape.at(-1) ?? 0;
    if (attrs.axes.length !== 1 || attrs.axes[0] !== x.shape.length - 1 || !floats(x, y) || extent < 4) return [];
    const output = outputOf(y, 'f32', epilogue), count = constant('f32', extent);
    return candidate(`normalize x${widthFor(isa, extent)}`, `rows of ${extent} in vectors of ${widthFor(isa, extent)}`, elementCount(x.shape) * 4, isa, (k) =>
      k.forEach(rowsOf(x), (row) => {
        const at = (c: Expr): Expr[] => [...row.slice(0, -1), c];
        const sum = foldRow(k, isa, 'sum', extent, (c, lanes) => ({ before: [], value: rowLoad(k, x, at(c), lanes) }));
        const mean = k.let('mean', div(sum.result, count));
        const centred = (c: Expr, lanes: number): Expr => {
          const value = rowLoad(k, x, at(c), lanes);
          return attrs.center ? sub(value, everyLane(mean.ref, lanes)) : value;
        };
        const squares = foldRow(k, isa, 'sum', extent, (c, lanes) => {
          const d = k.let('d', centred(c, lanes));
          return { before: [d.declare], value: mul(d.ref, d.ref) };
        });
        const scale = k.let('scale', div(constant('f32', 1), unary('sqrt', add(div(squares.result, count), constant('f32', attrs.epsilon)))));
        return [...(attrs.center ? [...sum.body, mean.declare] : []), ...squares.body, scale.declare,
          ...storeRow(k, isa, output, extent, at, (c, lanes) => mul(centred(c, lanes), everyLane(scale.ref, lanes)))];
      }));
  };
  return { name: 'normalize', candidates };
}

/** Dimensions [first, last] that are reduced, if they are neighbours. */
function reducedRun(attrs: ReduceAttrs, shape: readonly number[]): [number, number] | undefined {
  const axes = attrs.axes.filter((a) => shape[a] !== 1);
  const [first, last] = [axes[0], axes.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  const between = shape.slice(first, last + 1).every((d, i) => d === 1 || axes.includes(first + i));
  return between ? [first, last] : undefined;
}

/** Reductions over neighbouring dimensions: along the last one (a row), or over everything before the channels. */
export function reduceRule(isa: Isa): KernelRule {
  const candidates = ({ node, inputs, outputs, epilogue }: KernelRequest): KernelCandidate[] => {
    if (node.kind !== 'reduce') return [];
    const { attrs } = node as NodeOf<'reduce'>, x = inputs[0]!, y = outputs[0]!;
    const run = reducedRun(attrs, x.shape), rank = x.shape.length;
    if (attrs.op === 'prod' || !run || !floats(x) || elementCount(x.shape) === 0) return [];
    if (attrs.map && (!isVectorizable(attrs.map) || attrs.map.type.dtype !== 'f32')) return [];
    const fold: Fold = attrs.op, [first, last] = run, extent = elementCount(x.shape.slice(first, last + 1));
    const step = x.strides[last]!;
    // the run must be one walk through memory
    if (x.shape.slice(first, last + 1).some((d, i) => d !== 1 && x.strides[first + i] !== step * elementCount(x.shape.slice(first + i + 1, last + 1)))) return [];
    const mapped = (value: Expr, lanes: number): Expr => (attrs.map ? vectorised(attrs.map, [value], lanes) : value);
    /** Coordinates in y of an element of x. */
    const target = (at: readonly Expr[]): Expr[] => at.flatMap((i, d) => (!attrs.axes.includes(d) ? [i] : attrs.keepdims ? [asIndex(0)] : []));
    const output = outputOf(y, 'f32', epilogue);

    if (elementCount(x.shape.slice(last + 1)) === 1) {
      if (step !== 1 || extent < 4) return [];
      return candidate(`reduce row x${widthFor(isa, extent)}`, `${attrs.op} of rows of ${extent} in vectors of ${widthFor(isa, extent)}`, elementCount(x.shape), isa, (k) =>
        k.forEach(x.shape.map((d, i) => (i >= first && i <= last ? 1 : d)), (at) => {
          const base = k.let('row', k.address(x, at));
          const { body, result } = foldRow(k, isa, fold, extent, (c, lanes) => {
            const from = add(base.ref, c);
            return { before: [], value: mapped(lanes === 1 ? load(x.param, 'f32', from) : vload(x.param, vector('f32', lanes), from), lanes) };
          });
          return [base.declare, ...body, storeElement(k, output, target(at), result)];
        }));
    }
    // columns: vectors over the channels behind, if they are the last dimension alone
    const channels = x.shape.at(-1)!;
    if (x.shape.slice(last + 1, -1).some((d) => d !== 1) || attrs.axes.includes(rank - 1) || output.mode === 'scalars') return [];
    const vectors = channelVectors(channels, isa.lanes);
    return candidate(`reduce columns x${vectors[0]!.lanes}`, `${attrs.op} of ${extent} rows of ${channels} channels`, elementCount(x.shape), isa, (k) =>
      k.forEach(x.shape.map((d, i) => (i >= first ? 1 : d)), (outer) => {
        const base = k.let('x0', k.address(x, outer)), stored = (v: Expr): Expr[] => target([...outer.slice(0, -1), v]);
        // four vectors of channels at a time, and four partial results where there are fewer vectors
        const groups = Array.from({ length: Math.ceil(vectors.length / 4) }, (_, g) => vectors.slice(g * 4, g * 4 + 4));
        return [base.declare, ...groups.flatMap((group) => {
          const split = Math.min(extent, Math.max(1, Math.floor(4 / group.length))), r = k.name('r');
          const names = group.map(() => Array.from({ length: split }, () => k.name('part')));
          const part = (j: number, u: number): Expr => ref(names[j]![u]!, vector('f32', group[j]!.lanes));
          const add1 = (u: number, row: Expr): Stmt[] => group.map((v, j) => assign(names[j]![u]!, join[fold](part(j, u),
            mapped(vload(x.param, vector('f32', v.lanes), add(base.ref, add(mul(row, step), v.offset)), v.count), v.lanes))));
          const whole = extent - (extent % split);
          return [
            ...group.flatMap((v, j) => names[j]!.map((n) => varStmt(n, splat(start[fold], v.lanes)))),
            forLoop(r, whole, Array.from({ length: split }, (_, u) => add1(u, add(ref(r), u))).flat(), {}, 0, split),
            ...Array.from({ length: extent - whole }, (_, u) => add1(u, asIndex(whole + u))).flat(),
            ...group.map((v, j) => storeVector(k, output, stored(asIndex(v.offset)), names[j]!.slice(1).reduce((s, _, u) => join[fold](s, part(j, u + 1)), part(j, 0)), v)),
          ];
        })];
      }));
  };
  return { name: 'reduce', candidates };
}
