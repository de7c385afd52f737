/**
 * Integer products between row-major matrices as straight-line code: four neighbouring elements of a row of x are one word, a vector has
 * those of 16 rows (8 or 4 where there are no more), and an instruction adds four products to each lane. Signed x is read as
 * u8 = x + 128, and 128 times the sum of the weights taken off the first sums.
 */
import { pointWindow } from '../../../../compiler/core/window.js';
import { NOTABLE_ZEROS, sparsityOf, zeroValueOf } from '../../../../compiler/ir/analysis.js';
import { fullQuads, quadWords, weightSums } from '../../../../compiler/ir/quads.js';
import { toNumbers } from '../../../../compiler/ir/tensor.js';
import { elementCount, valueOf } from '../../../../compiler/ir/types.js';
import { add, asIndex, call, constant, forLoop, load, mapExpr, min, mul, nullPointer, pointer, ref, splat, store, sub, vector, vload } from '../../../../compiler/kir/build.js';
import type { BoundEpilogue, KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import { MAX_ROWS, type StreamFunction, type StreamLanes } from '../../../../compiler/kir/stream.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule, Refusal } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { isVectorizable, vectorised } from '../vector.js';
import type { StreamProduct } from '../stream/product.js';
import { rowBlocks } from '../stream/row-blocks.js';
import { rowsStreamCost } from './cost.js';
import { columnFunctions } from './functions.js';
import { lanesFor, rowProduct, throughEpilogue, type RowProduct } from './operands.js';

/** Bytes of columns and sums that are worked on together: they stay in the second cache beside the code. */
const BAND_BYTES = 256 << 10;
/** What turns i8 into u8, four at a time. */
const SIGNS = 0x80808080 | 0;

export function quadsRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const { graph, node, constants, inputs } = request, weights = constants[1], x = inputs[0];
    if (!isa.dot4 || node.kind !== 'matmul' || !weights || weights.shape.length !== 2 || node.attrs.transA || node.attrs.transB || node.attrs.out !== 'i32') return [];
    if (!x || (x.dtype !== 'u8' && x.dtype !== 'i8')) return [];
    const operands = rowProduct(request), rows = operands?.x.shape[0] ?? 0, words = rows < 2 ? undefined : quadWords(weights);
    if (!operands || !words) return [];
    const [depth, n] = weights.shape as readonly [number, number], lanes = lanesFor(rows), quads = Math.ceil(depth / 4), tiles = Math.ceil(rows / lanes);
    const band = Math.min(tiles, Math.max(1, Math.floor(BAND_BYTES / (4 * lanes * (quads + n))))), full = fullQuads(words);
    // which words are not zero is all that blocks and costs depend on
    const p: StreamProduct = { window: pointWindow, group: 1, channels: quads, rows: n, depth: quads, weights: Float32Array.from(words, (w) => (w === 0 ? 0 : 1)) };
    const blocks = rowBlocks(p, full / words.length, MAX_ROWS), cost = rowsStreamCost(isa, p, full, lanes, rows, band);
    const first = firstSums(request, operands, n), signed = x.dtype === 'i8' ? weightSums(weights) : undefined;
    const bias = signed ? first.bias.map((b, i) => b - 128 * signed[i]!) : first.bias;
    const functions = (): StreamFunction[] => columnFunctions({
      columns: quads, rows: n, weights: words, blocks, chunk: cost.chunk, lanes, tiles: band, title: node.origins[0]?.node ?? valueOf(graph, node.outputs[0]!).name,
    }, { arithmetic: 'u8s8', bias });
    return [{
      choice: {
        status: full < words.length ? 'sparse-kernel' : 'dense-kernel', kernel: `stream ${lanes}x${MAX_ROWS} of quads`,
        reason: `${(100 * (1 - full / words.length)).toFixed(1)} % of the fours of weights are zero: ${full} products of ${rows} rows in straight-line code`,
      },
      nanoseconds: cost.nanoseconds,
      bytes: cost.bytes,
      // the weights are in the code: what stays of the operand is nothing
      pack: () => new Map([[1, { kind: 'dense', dtype: weights.dtype, shape: [0], data: new Int8Array(0) }]]),
      build: (k) => buildQuads(k, { functions: functions(), operands: { ...operands, epilogue: first.epilogue }, depth, n, lanes, tiles, band, flip: x.dtype === 'i8' ? SIGNS : 0 }),
    }];
  };
  const refusals = ({ node, constants: [, weights] }: KernelRequest): Refusal[] => {
    const sparse = node.kind === 'matmul' && node.attrs.out === 'i32' && weights !== undefined && sparsityOf(weights, zeroValueOf(weights)).zeroFraction >= NOTABLE_ZEROS;
    return sparse && !isa.dot4 ? [{ kernel: 'quads', reason: `${isa.name} has no products of fours of 8-bit integers: --cpu=x86-64-v4-vnni has` }] : [];
  };
  return { name: 'quads', candidates, refusals };
}

/** Constants that an epilogue adds to each sum or takes off it first, and what is left of it. */
function firstSums({ graph, node }: KernelRequest, { epilogue }: RowProduct, n: number): { readonly bias: Int32Array; readonly epilogue: BoundEpilogue | undefined } {
  const bias = new Int32Array(n);
  let sums = 0;
  if (epilogue) mapExpr(epilogue.expr, (e) => { if (e.kind === 'arg' && e.index === 0) sums++; return e; });
  if (!epilogue || sums !== 1) return { bias, epilogue };
  const expr = mapExpr(epilogue.expr, (e) => {
    if (e.kind !== 'binary' || (e.op !== 'add' && e.op !== 'sub') || e.a.kind !== 'arg' || e.a.index !== 0 || e.b.kind !== 'arg' || e.type.dtype !== 'i32') return e;
    const t = valueOf(graph, node.epilogue!.inputs[e.b.index - 1]!).constant, values = t && t.dtype === 'i32' && (t.shape.at(-1) ?? 1) === elementCount(t.shape) ? toNumbers(t) : [];
    if (values.length !== 1 && values.length !== n) return e;
    const sign = e.op === 'add' ? 1 : -1;
    bias.forEach((b, i) => { bias[i] = b + sign * values[values.length === 1 ? 0 : i]!; });
    return e.a;
  });
  return { bias, epilogue: expr.kind === 'arg' ? undefined : { ...epilogue, expr } };
}

interface QuadProduct {
  readonly functions: readonly StreamFunction[];
  readonly operands: RowProduct;
  readonly depth: number;
  readonly n: number;
  readonly lanes: StreamLanes;
  readonly tiles: number;
  /** Tiles that are worked on together. */
  readonly band: number;
  readonly flip: number;
}

function buildQuads(k: KernelBuilder, p: QuadProduct): Stmt[] {
  const { functions, operands: { x }, depth, n, lanes, tiles, band, flip } = p, quads = Math.ceil(depth / 4), rows = x.shape[0]!;
  const columns = k.scratch('columns', 'i32', lanes * quads * band), sums = k.scratch('sums', 'i32', lanes * n * band), finish = finishOf(k, p, sums);
  const rowsOf = (tile: Expr): Expr => (rows % lanes === 0 ? asIndex(lanes) : min(lanes, sub(rows, mul(tile, lanes))));
  const overTiles = (count: Expr, first: Expr, body: (t: Expr, tile: Expr) => readonly Stmt[]): Stmt[] => {
    if (band === 1) return [...body(asIndex(0), first)];
    const t = k.name('t');
    return [forLoop(t, count, body(ref(t), add(first, ref(t))))];
  };
  return k.forEach([Math.ceil(tiles / band)], ([b]) => {
    const first = mul(b!, band), count = tiles % band === 0 ? asIndex(band) : min(band, sub(tiles, first));
    return [
      ...overTiles(count, first, (t, tile) => [call('spc_squares_from_rows', pointer(columns, mul(t, lanes * quads)), lanes, pointer(x.param, mul(tile, lanes * depth)), depth, rowsOf(tile), depth, constant('i32', flip))]),
      ...functions.map((f) => k.callRoutine(f, pointer(columns), count, nullPointer, nullPointer, pointer(sums), nullPointer)),
      ...overTiles(count, first, (t, tile) => finish(mul(t, lanes * n), tile, rowsOf(tile))),
    ];
  }, {});
}

/** What happens to the sums of a tile, from element `at` of the scratch memory on. */
type Finish = (at: Expr, tile: Expr, rows: Expr) => readonly Stmt[];

function finishOf(k: KernelBuilder, { operands: { y, epilogue }, n, lanes }: QuadProduct, sums: string): Finish {
  const place = (tile: Expr): Expr => mul(tile, lanes * n);
  if (!epilogue) return (at, tile, rows) => [call('spc_squares_to_rows', pointer(y.param, place(tile)), 4 * n, pointer(sums, at), lanes, rows, 4 * n)];
  const bytes = y.dtype === 'u8' || y.dtype === 'i8', perOutput = (t: TensorRef): boolean => t.shape[0] === 1;
  if (isVectorizable(epilogue.expr) && epilogue.expr.type.dtype === y.dtype && (bytes || y.dtype === 'f32' || y.dtype === 'i32') && epilogue.inputs.every(perOutput)) {
    // lanes are rows, so that what belongs to an output is the same in all of them
    const done = k.scratch('done', y.dtype, lanes * n), c = k.name('c');
    const operand = (t: TensorRef): Expr => splat(load(t.param, t.dtype, k.address(t, [0, t.shape[1] === 1 ? 0 : ref(c)])), lanes);
    return (at, tile, rows) => [
      forLoop(c, n, [store(done, mul(ref(c), lanes), vectorised(epilogue.expr, [vload(sums, vector('i32', lanes), add(at, mul(ref(c), lanes))), ...epilogue.inputs.map(operand)], lanes))]),
      bytes ? call('spc_squares_bytes_to_rows', pointer(y.param, place(tile)), n, pointer(done), lanes, rows, n)
        : call('spc_squares_to_rows', pointer(y.param, place(tile)), 4 * n, pointer(done), lanes, rows, 4 * n),
    ];
  }
  const plain = k.scratch('plain', 'i32', lanes * n);
  return (at, tile, rows) => [
    call('spc_squares_to_rows', pointer(plain), 4 * n, pointer(sums, at), lanes, rows, 4 * n),
    ...throughEpilogue(k, y, epilogue, 'i32', plain, { first: mul(tile, lanes), count: rows }),
  ];
}
