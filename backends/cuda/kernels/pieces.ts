/** What the kernels of products have in common. */
import type { DType } from '../../../compiler/ir/dtype.js';
import { denseTensor } from '../../../compiler/ir/tensor.js';
import { add, cast, compare, forLoop, gridCall, ifStmt, index, load, mul, pointer, ref } from '../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../compiler/kir/kernel-builder.js';
import type { CallArgument, Expr, Stmt } from '../../../compiler/kir/types.js';
import { weightMatrix, type WeightMatrix } from '../../../compiler/layouts/index.js';
import type { KernelCandidate, KernelRequest } from '../../types.js';
import { denseFragments, sparseFragments, sparsePattern, tileBytes } from '../fragments.js';
import type { ElementType, Product, Source } from './product.js';
import { sharedBytes, type TilingCost } from './tiling.js';

/** A product in the form in which tensor cores compute it. */
export interface Form {
  readonly product: Product;
  /** Constant weights as they are multiplied: rounded to their type. */
  readonly weights?: WeightMatrix;
  readonly sparse: boolean;
  /** What the report calls the type, and the pattern before the kernel's name. */
  readonly label: string;
  readonly pattern: string;
  /** Names of the element type and of the form of constant weights in runtime/cuda. */
  readonly element: string;
  readonly form: string;
  /** Elements in 128 bytes of a row, blocks of so many along a row, tiles of 16 rows, and bytes of all. */
  readonly perBlock: number;
  readonly blocks: number;
  readonly tiles: number;
  readonly bytes: number;
}

/** Names of element types in runtime/cuda/spc_element.h, and in reports. */
export const elements: Readonly<Record<ElementType, { readonly name: string; readonly label: string }>> = {
  f16: { name: 'spc_f16', label: 'f16' }, bf16: { name: 'spc_bf16', label: 'bf16' }, f32: { name: 'spc_tf32', label: 'tf32' },
};

/** Elements in 128 bytes. */
export const perBlockOf = (type: DType): number => (type === 'f32' ? 32 : 64);

/** @param weights of f16, bf16 or f32; with the pattern of sparse tensor cores where `sparse`; none where they are computed */
export function formOf(product: Product, type: ElementType, weights: WeightMatrix | undefined, sparse: boolean): Form {
  const perBlock = perBlockOf(type), blocks = Math.ceil(product.depth / perBlock), tiles = Math.ceil(product.rows / 16), { keep, of } = sparsePattern(type);
  return {
    product, ...(weights ? { weights } : {}), sparse, label: elements[type].label, pattern: sparse ? `${keep}:${of} ` : '', element: elements[type].name, form: sparse ? 'spc_sparse' : 'spc_dense',
    perBlock, blocks, tiles, bytes: product.batches * tiles * blocks * tileBytes(sparse),
  };
}

/** Constant weights as tiles, in the place of the node's. */
export function packTiles({ product: { rows, depth, batches }, weights, sparse }: Form): ReturnType<NonNullable<KernelCandidate['pack']>> {
  if (!weights) return new Map();
  const parts = Array.from({ length: batches }, (_, z) => weightMatrix(weights.dtype, rows, depth, weights.data.subarray(z * rows * depth, (z + 1) * rows * depth)));
  const bytes = Buffer.concat(parts.map((part) => (sparse ? sparseFragments : denseFragments)(part)));
  return new Map([[1, denseTensor('u8', [bytes.length], new Uint8Array(bytes))]]);
}

const sourceType = ({ name, sizes, tensor }: Source, element: string): string => `${name}<${[element, `spc_${tensor.stored ?? tensor.dtype}`, ...sizes].join(', ')}>`;
export const sourceObject = (s: Source, element: string): CallArgument => ({ kind: 'object', type: sourceType(s, element), args: [pointer(s.tensor.param)] });

/** Type of a product's weights in runtime/cuda/spc_gemm.h. */
export function weightsType({ product: { w, batches }, form, element }: Form): string {
  if (typeof w !== 'function') return `spc_moving<${sourceType(w, element)}>`;
  return `${batches === 1 ? 'spc_tiles' : 'spc_groups'}<${form}>`;
}
/** The object of that type. */
export function weightsObject(f: Form, request: KernelRequest): CallArgument {
  const { product: { w }, element, tiles, blocks } = f;
  return { kind: 'object', type: weightsType(f), args: typeof w === 'function' ? [pointer(request.inputs[1]!.param), index(tiles), index(blocks)] : [sourceObject(w, element), index(blocks)] };
}
/** Where a product's columns come from. */
export const columnsObject = ({ product, element }: Form): CallArgument => sourceObject(product.x, element);

/** Sums of shares of the depth in memory: parts[share][column][pitch]. */
export interface Parts {
  readonly name: string;
  readonly shares: number;
  readonly pitch: number;
}

/** Parts of y[n][m], added up in their order. */
export function sumOfParts({ name, shares, pitch }: Parts, { columns }: Product, n: Expr, m: Expr): Expr {
  return Array.from({ length: shares }, (_, share) => load(name, 'f32', add(mul(add(n, share * columns), pitch), m))).reduce((a, b) => add(a, b));
}

/** A product whose sums are parts. */
export const storesParts = ({ columns }: Product, { name, pitch }: Parts): CallArgument => ({ kind: 'object', type: `spc_share<${columns}, ${pitch}>`, args: [pointer(name)] });

/** What spc_gemm and spc_wgmma_gemm multiply. */
export interface GemmOperands {
  /** Name of the element type in runtime/cuda. */
  readonly element: string;
  readonly sparse: boolean;
  readonly weightsType: string;
  readonly weights: CallArgument;
  readonly columns: CallArgument;
}

/** The call of spc_gemm or spc_wgmma_gemm. @param store what it does with its sums */
export function gemmCallOn(p: Product, { tiling, shares }: TilingCost, { element, sparse, weightsType: type, weights, columns }: GemmOperands, store: CallArgument): Stmt {
  const { bm, bn, warpsM, warpsN, stages, warpgroups } = tiling;
  return gridCall(
    { blocks: [Math.ceil(p.columns / bn), Math.ceil(p.rows / bm), p.batches * shares], threads: 32 * warpsM * warpsN, sharedBytes: sharedBytes(tiling, sparse) },
    `${warpgroups ? 'spc_wgmma_gemm' : 'spc_gemm'}<${[element, type, bm, bn, warpsM, warpsN, stages].join(', ')}>::run`, weights, columns, store,
  );
}
export const gemmCall = (f: Form, request: KernelRequest, cost: TilingCost, store: CallArgument): Stmt =>
  gemmCallOn(f.product, cost, { element: f.element, sparse: f.sparse, weightsType: weightsType(f), weights: weightsObject(f, request), columns: columnsObject(f) }, store);

/** Sums of shares of the depth, added up in their order: y[n][m] = finish(sum of parts[share][n][place of m]). @param places table with the place of every row of w; absent where rows are in order */
export function addShares(k: KernelBuilder, p: Product, parts: Parts, places?: string): Stmt[] {
  return k.forEach([p.columns, p.rows], ([n, m]) => {
    const place = places === undefined ? m! : cast(load(places, 'i32', m!), 'index');
    return [k.storeThrough(p.results.epilogue, p.results.y, [n!, m!], cast(sumOfParts(parts, p, n!, place), p.out))];
  });
}

/**
 * What a kernel calls with sums of four neighbouring rows of w at one column: the epilogue, and the stores.
 * @param bm, bn rows and columns that a block of threads computes
 * @param parts what is added to the sums
 * @param order table with the row of w at each place, the number of rows at places that have none; absent where rows are in order
 */
export function finish(k: KernelBuilder, p: Product, bm: number, bn: number, parts?: Parts, order?: string): CallArgument {
  const { results: { y, epilogue }, out, rows, columns, batches, further } = p;
  const sums = k.name('sums'), m = k.name('m'), n = k.name('n'), z = k.name('z'), i = k.name('i'), inPanel = add(ref(m), ref(i));
  const found = order === undefined ? undefined : k.let('row', cast(load(order, 'i32', inPanel), 'index')), row = found?.ref ?? inPanel;
  const place = batches === 1 ? [ref(n), row] : further === 'columns' ? [add(mul(ref(z), columns), ref(n)), row] : [ref(n), add(mul(ref(z), rows), row)];
  const own = load(sums, 'f32', ref(i)), stored: Stmt = k.storeThrough(epilogue, y, place, cast(parts ? add(sumOfParts(parts, p, ref(n), row), own) : own, out));
  const checks = [...(rows % bm === 0 ? [] : [compare('lt', row, rows)]), ...(columns % bn === 0 ? [] : [compare('lt', ref(n), columns)])];
  const guarded = checks.reduceRight<Stmt>((inner, check) => ifStmt(check, [inner]), stored), numbers = [m, n, ...(batches === 1 ? [] : [z])];
  return {
    kind: 'function', params: [{ name: sums, dtype: 'f32', size: 4 }, ...numbers.map((name) => ({ name, dtype: 'index' as const }))],
    body: [forLoop(i, 4, [...(found ? [found.declare] : []), guarded], { unroll: true })],
  };
}
