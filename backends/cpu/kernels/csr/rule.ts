/**
 * Sparse matrices times a few vectors on every instruction set: compressed rows (CSR), several side by side, which are as many independent sums.
 *
 * Rows of about as many weights make a group; their weights alternate, so far as all of them have some. What longer rows have beyond that is
 * added afterwards, row by row. A weight is read once for all vectors, and four columns (two, in wide matrices) are read as one word.
 */
import { add, and, asIndex, assign, binary, cast, constant, fma, forLoop, lanesOf, load, mul, range, rangeBegin, rangeEnd, ref, store, varStmt, vector, vload } from '../../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import { tableOf, withoutWeights } from '../operands.js';
import { rowProduct, throughEpilogue, type RowProduct } from '../rows-stream/operands.js';
import { sparseRows } from '../sparse-rows.js';
import { nonZeros, streamProduct } from '../stream/product.js';
import { packRows, stepsOf, type PackedRows } from './pack.js';

/** Vectors at most, and rows side by side for so many: sums that registers hold. */
const MOST_VECTORS = 3, SIDE_BY_SIDE = [0, 16, 8, 8];
/** Share of non-zeros, by vectors, beyond which dense panels are as fast where the last cache holds them; predictions take large ones to come from memory. */
const MOST_DENSE = [0, 0.25, 0.16, 0.12];
/** Nanoseconds of a weight for one to three vectors, of one beyond its group's, of a row, of a group, of a call. Fitted to layers of 512 to 3072 columns on Zen 4. */
const WEIGHT = [0, 0.21, 0.36, 0.47], REST = 1, ROW = 0.4, GROUP = 2, CALL = 60;

/** An element of a table as an index. */
const at = (name: string, i: Expr | number): Expr => cast(load(name, 'u32', i), 'index');

/** @param mostDense share of non-zeros, by vectors, up to which the kernel is offered */
export function csrRule(mostDense: readonly number[] = MOST_DENSE): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const { node, inputs, outputs, constants } = request;
    if (node.kind !== 'matmul') return [];
    const operands = rowProduct(request), vectors = operands?.x.shape[0] ?? 0;
    if (!operands || vectors < 1 || vectors > MOST_VECTORS || outputs[0]!.dtype !== 'f32') return [];
    const product = streamProduct(node, inputs, constants[1]);
    if (typeof product === 'string') return [];
    const weights = nonZeros(product), density = weights / product.weights.length, side = SIDE_BY_SIDE[vectors]!;
    if (density > mostDense[vectors]! || weights === 0) return [];
    // rows that stand in several lanes count as often
    const m = sparseRows(product, side), alternating = side * stepsOf(m, side).reduce((a, b) => a + b, 0), rest = Math.max(0, weights - alternating);
    return [{
      choice: {
        status: 'sparse-kernel', kernel: `csr ${vectors}x${side}`, reason: `${(100 * (1 - density)).toFixed(1)} % of the weights are zero: ${side} rows side by side for ${vectors === 1 ? 'one vector' : `${vectors} vectors`}`,
      },
      nanoseconds: alternating * WEIGHT[vectors]! + rest * vectors * REST + product.rows * vectors * ROW + m.groups * GROUP + CALL,
      bytes: weights * (product.depth > 1 << 16 ? 8 : 6),
      pack: withoutWeights,
      build: (k) => build(k, packRows(m, side), side, operands),
    }];
  };
  return { name: 'csr', candidates };
}

/** Lanes of one vector of sums. */
const WIDTH = 4;

function build(k: KernelBuilder, packed: PackedRows, side: number, { x, y, epilogue }: RowProduct): Stmt[] {
  const [vectors, depth] = x.shape as [number, number], n = y.shape[1]!, plain = epilogue ? k.scratch('plain', 'f32', vectors * n) : y.param;
  const columns = k.constant('columns', { kind: 'dense', dtype: 'u64', shape: [packed.columns.length], data: packed.columns }), weights = k.constant('weights', tableOf(packed.weights));
  const starts = k.constant('starts', tableOf(packed.starts)), rowOf = k.constant('rows', tableOf(packed.rowOf)), bounds = k.constant('bounds', tableOf(packed.bounds));
  const [g, i] = [k.name('g'), k.name('i')], type = vector('f32', WIDTH), all = Array.from({ length: vectors }, (_, v) => v), parts = Array.from({ length: side / WIDTH }, (_, p) => p);
  const sums = all.map(() => parts.map(() => k.name('sum'))), own = k.scratch('sums', 'f32', packed.rowOf.length * vectors);
  const groups = forLoop(g, at(bounds, rangeEnd), [
    ...sums.flat().map((s) => varStmt(s, constant('f32', 0, WIDTH))),
    forLoop(i, at(starts, add(ref(g), 1)), parts.flatMap((p): Stmt[] => {
      const read = readColumns(k, columns, packed.perWord, add(mul(ref(i), side / packed.perWord), p * WIDTH / packed.perWord)), weight = k.let('weight', vload(weights, type, add(mul(ref(i), side), p * WIDTH)));
      return [...read.declare, weight.declare, ...all.map((v) => assign(sums[v]![p]!, fma(weight.ref, lanesOf(read.columns.map((c) => load(x.param, 'f32', add(c, v * depth)))), ref(sums[v]![p]!, type))))];
    }), {}, at(starts, ref(g))),
    ...all.flatMap((v) => parts.map((p) => store(own, add(mul(add(mul(ref(g), vectors), v), side), p * WIDTH), ref(sums[v]![p]!, type)))),
    ...k.forEach([side], ([lane]) => {
      const row = k.let('row', at(rowOf, add(mul(ref(g), side), lane!)));
      return [row.declare, ...all.map((v) => store(plain, add(row.ref, v * n), load(own, 'f32', add(mul(add(mul(ref(g), vectors), v), side), lane!))))];
    }, {}),
  ], {}, at(bounds, rangeBegin));
  return [
    range(packed.bounds.length - 1, [groups]), ...addRest(k, packed, plain, x, n),
    ...(epilogue ? throughEpilogue(k, y, epilogue, 'f32', plain, { first: asIndex(0), count: asIndex(vectors) }) : []),
  ];
}

/** The columns of a vector of weights, from the words that hold them. */
function readColumns(k: KernelBuilder, columns: string, perWord: number, first: Expr): { readonly declare: readonly Stmt[]; readonly columns: readonly Expr[] } {
  const bits = 64 / perWord, words = Array.from({ length: WIDTH / perWord }, (_, w) => k.let('word', load(columns, 'u64', add(first, w))));
  return {
    declare: words.map((w) => w.declare),
    columns: words.flatMap(({ ref: word }) => Array.from({ length: perWord }, (_, j): Expr => {
      const shifted = j === 0 ? word : binary('shr', word, constant('u64', j * bits));
      return cast(j === perWord - 1 ? shifted : and(shifted, constant('u64', 2 ** bits - 1)), 'index');
    })),
  };
}

/** What rows have beyond their group's least. */
function addRest(k: KernelBuilder, { rest }: PackedRows, plain: string, x: TensorRef, n: number): Stmt[] {
  if (rest.rows.length === 0) return [];
  const [vectors, depth] = x.shape as [number, number], rows = k.constant('rest_rows', tableOf(rest.rows)), starts = k.constant('rest_starts', tableOf(rest.starts));
  const columns = k.constant('rest_columns', tableOf(rest.columns)), weights = k.constant('rest_weights', tableOf(rest.weights));
  const [r, i] = [k.name('r'), k.name('i')], row = k.let('row', at(rows, ref(r)));
  const all = Array.from({ length: vectors }, (_, v) => ({ sum: k.variable('sum', load(plain, 'f32', add(row.ref, v * n))), of: v }));
  return [forLoop(r, rest.rows.length, [
    row.declare, ...all.map((s) => s.sum.declare),
    forLoop(i, at(starts, add(ref(r), 1)), all.map(({ sum, of }) => sum.set(fma(load(weights, 'f32', ref(i)), load(x.param, 'f32', add(at(columns, ref(i)), of * depth)), sum.ref))), {}, at(starts, ref(r))),
    ...all.map(({ sum, of }) => store(plain, add(row.ref, of * n), sum.ref)),
  ])];
}
