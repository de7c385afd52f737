/** Sparse matrices times single vectors on AVX-512: lanes are rows, x lies in registers, and what a row needs of it is permuted into its lane. */
import { isBf16 } from '../../../../compiler/ir/bf16.js';
import { elementCount, sameShape } from '../../../../compiler/ir/types.js';
import { add, asIndex, assign, cast, compare, constant, fma, forLoop, hsum, ifStmt, load, mul, pointer, range, ref, store, varStmt, vector, vload } from '../../../../compiler/kir/build.js';
import { isContiguous, type KernelBuilder, type TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import { groupWords, PERMUTE_LANES, type PermuteFunction } from '../../../../compiler/kir/permute.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { tableOf, withoutWeights } from '../operands.js';
import { sharesOf } from '../shares.js';
import { nonZeros, streamProduct } from '../stream/product.js';
import { permuteCost } from './cost.js';
import { sparseRows, type SparseRows } from '../sparse-rows.js';
import { packProduct, permuteFunction, type PackedProduct } from './pack.js';

/** Vectors of a batch beyond which other kernels are always better: each is a product of its own. */
const MOST_VECTORS = 8;
/** Share of non-zeros beyond which there is nothing to gain. */
const MOST_DENSE = 0.6;

/** What a group takes beside its steps, in steps. */
const GROUP_STEPS = 5;

export function permuteRule(isa: Isa): KernelRule {
  const candidates = ({ graph, node, inputs, outputs, constants }: KernelRequest): KernelCandidate[] => {
    if (isa.streams.code !== 'avx512' || node.kind !== 'matmul') return [];
    const [x, w] = inputs as [TensorRef, TensorRef], y = outputs[0]!, outer = y.shape.slice(0, -1), batch = elementCount(outer);
    if (batch > MOST_VECTORS || !isContiguous(x) || !sameShape(x.shape.slice(0, -1), outer)) return [];
    const product = streamProduct(node, [x, w], constants[1]);
    if (typeof product === 'string') return [];
    const density = nonZeros(product) / product.weights.length;
    if (density > MOST_DENSE || density === 0) return [];
    const m = sparseRows(product, PERMUTE_LANES), type = isBf16({ kind: 'dense', dtype: 'f32', shape: [m.weights.length], data: m.weights }) ? 'bf16' : 'f32', cost = permuteCost(isa, m, batch, type);
    if (!cost) return [];
    const title = node.origins[0]?.node ?? graph.name;
    return [{
      choice: {
        status: 'sparse-kernel', kernel: `permute ${cost.shape.sources}x16`,
        reason: `${(100 * (1 - density)).toFixed(1)} % of the weights are zero: 16 rows at a time, ${cost.shape.sources} blocks of x a step${type === 'bf16' ? ', weights of bf16' : ''}`,
      },
      nanoseconds: cost.nanoseconds, bytes: cost.bytes,
      pack: withoutWeights,
      build: (k) => build(k, packProduct(m, cost.shape, type), m, title, x, y),
    }];
  };
  return { name: 'permute', candidates };
}

/** Whether 0 times every element of x is 0: no infinity, no NaN. */
function finiteness(k: KernelBuilder, x: TensorRef, from: Expr, columns: number): { readonly declare: Stmt[]; readonly ref: Expr } {
  const lanes = PERMUTE_LANES, type = vector('f32', lanes), parts = 4, zero = constant('f32', 0, lanes), names = Array.from({ length: parts }, () => k.name('bad'));
  const whole = Math.floor(columns / (parts * lanes)) * parts * lanes, rest = columns - whole, i = k.name('i');
  const see = (part: number, at: Expr, count?: number): Stmt => assign(names[part]!, fma(vload(x.param, type, add(from, at), count), zero, ref(names[part]!, type)));
  const bad = k.let('bad', hsum(names.slice(1).reduce<Expr>((e, n) => add(e, ref(n, type)), ref(names[0]!, type))));
  return {
    declare: [
      ...names.map((n) => varStmt(n, zero)),
      ...(whole > 0 ? [forLoop(i, whole, names.map((_, p) => see(p, add(ref(i), p * lanes))), {}, 0, parts * lanes)] : []),
      ...Array.from({ length: Math.ceil(rest / lanes) }, (_, p) => see(p, asIndex(whole + p * lanes), Math.min(lanes, rest - p * lanes))),
      bad.declare,
    ],
    ref: compare('eq', bad.ref, constant('f32', 0)),
  };
}

function build(k: KernelBuilder, packed: PackedProduct, m: SparseRows, title: string, x: TensorRef, y: TensorRef): Stmt[] {
  const { type, parts, loose } = packed;
  const sums = k.scratch('sums', 'f32', m.rowOf.length * elementCount(y.shape.slice(0, -1))), data = k.constant('words', tableOf(packed.words));
  const laneOf = new Uint32Array(y.shape.at(-1)!);
  m.rowOf.forEach((r, lane) => { if (r >= 0) laneOf[r] = lane; });
  const lanes = k.constant('lanes', tableOf(laneOf));
  const functions = (masked: boolean): PermuteFunction[] => parts.map((part, i) => permuteFunction(m, part, type, masked, `${masked ? 'm' : 'p'}${i}`, title));
  const plain = functions(false), masked = functions(true), outer = y.shape.slice(0, -1), addLoose = looseStatements(k, loose, x, sums);
  const sumsOf = (at: readonly Expr[]): Expr => mul(at.reduce<Expr>((e, i, d) => add(mul(e, outer[d]!), i), asIndex(0)), m.rowOf.length);
  // threads share the groups of each function
  const { extent, shares } = sharesOf(k, parts.map(({ groups, steps }) => ({ count: groups, costs: [steps.length + GROUP_STEPS] })));
  const products = k.forEach(outer, (at) => {
    const from = k.address(x, [...at, 0]), check = finiteness(k, x, from, m.columns);
    const call = (fs: readonly PermuteFunction[]): Stmt[] => fs.map((f, p) => {
      const { first, count, any } = shares[p]![0]!.within(), { offset, first: before, steps } = parts[p]!;
      return ifStmt(any, [k.callRoutine(f, pointer(x.param, from), pointer(data, add(mul(first, groupWords(steps, type).length), offset)), pointer(sums, add(add(sumsOf(at), mul(first, PERMUTE_LANES)), before * PERMUTE_LANES)), count)]);
    });
    return [...check.declare, ifStmt(check.ref, call(plain), call(masked))];
  }, {});
  const results = k.forEach(outer, (at) => {
    const own = sumsOf(at), i = k.name('i');
    return [
      ...addLoose(k.address(x, [...at, 0]), own),
      forLoop(i, y.shape.at(-1)!, [k.store(y, [...at, ref(i)], load(sums, 'f32', add(own, cast(load(lanes, 'u32', ref(i)), 'index'))))]),
    ];
  }, {});
  return [range(extent, [...shares.flat().flatMap((s) => s.declare), ...products]), ...results];
}

/** sums[first + lane] += weight * x[column] for the weights without a step. */
function looseStatements(k: KernelBuilder, { lanes, columns, weights }: PackedProduct['loose'], x: TensorRef, sums: string): (from: Expr, first: Expr) => Stmt[] {
  if (weights.length === 0) return () => [];
  const own = { lanes: k.constant('loose_lanes', tableOf(lanes)), columns: k.constant('loose_columns', tableOf(columns)), weights: k.constant('loose_weights', tableOf(weights)) };
  return (from, first) => {
    const i = k.name('i'), index = (name: string): Expr => cast(load(name, 'u32', ref(i)), 'index'), lane = k.let('lane', add(first, index(own.lanes)));
    return [forLoop(i, weights.length, [
      lane.declare,
      store(sums, lane.ref, fma(load(own.weights, 'f32', ref(i)), load(x.param, 'f32', add(from, index(own.columns))), load(sums, 'f32', lane.ref))),
    ])];
  };
}
