/** What the kernels of products have in common. */
import { denseTensor } from '../../../compiler/ir/tensor.js';
import { add, cast, compare, forLoop, ifStmt, index, load, mul, pointer, ref } from '../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../compiler/kir/kernel-builder.js';
import type { CallArgument, Stmt } from '../../../compiler/kir/types.js';
import { weightMatrix, type WeightMatrix } from '../../../compiler/layouts/index.js';
import type { KernelCandidate, KernelRequest } from '../../types.js';
import { denseFragments, sparseFragments, sparsePattern, tileBytes } from '../fragments.js';
import type { ElementType, Product, Source } from './product.js';

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

/** Names of element types in runtime/cuda/spc_element.h. */
const elementNames: Readonly<Record<ElementType, string>> = { f16: 'spc_f16', bf16: 'spc_bf16', f32: 'spc_tf32' };

/** Elements in 128 bytes. */
export const perBlockOf = (type: ElementType): number => (type === 'f32' ? 32 : 64);

/** @param weights of f16, bf16 or f32; with the pattern of sparse tensor cores where `sparse`; none where they are computed */
export function formOf(product: Product, type: ElementType, weights: WeightMatrix | undefined, sparse: boolean): Form {
  const perBlock = perBlockOf(type), blocks = Math.ceil(product.depth / perBlock), tiles = Math.ceil(product.rows / 16), { keep, of } = sparsePattern(type);
  return {
    product, ...(weights ? { weights } : {}), sparse, label: type === 'f32' ? 'tf32' : type, pattern: sparse ? `${keep}:${of} ` : '', element: elementNames[type], form: sparse ? 'spc_sparse' : 'spc_dense',
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
const sourceObject = (s: Source, element: string): CallArgument => ({ kind: 'object', type: sourceType(s, element), args: [pointer(s.tensor.param)] });

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

/** What a kernel calls with sums of four neighbouring rows of w at one column: the epilogue, and the stores. @param bm, bn rows and columns that a block of threads computes */
export function finish(k: KernelBuilder, { results: { y, epilogue }, out, rows, columns, batches, further }: Product, bm: number, bn: number): CallArgument {
  const sums = k.name('sums'), m = k.name('m'), n = k.name('n'), z = k.name('z'), i = k.name('i'), row = add(ref(m), ref(i));
  const place = batches === 1 ? [ref(n), row] : further === 'columns' ? [add(mul(ref(z), columns), ref(n)), row] : [ref(n), add(mul(ref(z), rows), row)];
  const stored: Stmt = k.storeThrough(epilogue, y, place, cast(load(sums, 'f32', ref(i)), out));
  const checks = [...(rows % bm === 0 ? [] : [compare('lt', row, rows)]), ...(columns % bn === 0 ? [] : [compare('lt', ref(n), columns)])];
  const guarded = checks.reduceRight<Stmt>((inner, check) => ifStmt(check, [inner]), stored), numbers = [m, n, ...(batches === 1 ? [] : [z])];
  return {
    kind: 'function', params: [{ name: sums, dtype: 'f32', size: 4 }, ...numbers.map((name) => ({ name, dtype: 'index' as const }))],
    body: [forLoop(i, 4, [guarded], { unroll: true })],
  };
}
