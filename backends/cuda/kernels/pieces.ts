/** What the kernels of products have in common. */
import { denseTensor } from '../../../compiler/ir/tensor.js';
import { add, compare, forLoop, ifStmt, index, load, pointer, ref } from '../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../compiler/kir/kernel-builder.js';
import type { CallArgument, Stmt } from '../../../compiler/kir/types.js';
import type { WeightMatrix } from '../../../compiler/layouts/index.js';
import type { KernelCandidate, KernelRequest } from '../../types.js';
import { denseFragments, sparseFragments, sparsePattern, tileBytes } from '../fragments.js';
import type { ElementType, Product } from './product.js';

/** A product in the form in which tensor cores compute it. */
export interface Form {
  readonly product: Product;
  /** The weights as they are multiplied: rounded to their type. */
  readonly weights: WeightMatrix;
  readonly sparse: boolean;
  /** What the report calls the type, and the pattern before the kernel's name. */
  readonly label: string;
  readonly pattern: string;
  /** Names of element type and form of weights in runtime/cuda. */
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

/** @param weights of f16, bf16 or f32; with the pattern of sparse tensor cores where `sparse` */
export function formOf(product: Product, weights: WeightMatrix, type: ElementType, sparse: boolean): Form {
  const perBlock = perBlockOf(type), blocks = Math.ceil(product.depth / perBlock), tiles = Math.ceil(product.rows / 16), { keep, of } = sparsePattern(type);
  return {
    product, weights, sparse, label: type === 'f32' ? 'tf32' : type, pattern: sparse ? `${keep}:${of} ` : '', element: elementNames[type], form: sparse ? 'spc_sparse' : 'spc_dense',
    perBlock, blocks, tiles, bytes: tiles * blocks * tileBytes(sparse),
  };
}

/** The weights as tiles, in the place of the node's. */
export const packTiles = ({ weights, sparse }: Form): ReturnType<NonNullable<KernelCandidate['pack']>> => {
  const bytes = (sparse ? sparseFragments : denseFragments)(weights);
  return new Map([[1, denseTensor('u8', [bytes.length], bytes)]]);
};

/** Type of all tiles of w, and the object of that type. */
export const tilesType = ({ form }: Form): string => `spc_tiles<${form}>`;
export const tilesOf = (f: Form, request: KernelRequest): CallArgument => ({ kind: 'object', type: tilesType(f), args: [pointer(request.inputs[1]!.param), index(f.tiles), index(f.blocks)] });

/** Where a product's columns come from. */
export function columnsOf({ product: { source: { name, sizes }, x }, element }: Form): CallArgument {
  return { kind: 'object', type: `${name}<${[element, `spc_${x.stored ?? x.dtype}`, ...sizes].join(', ')}>`, args: [pointer(x.param)] };
}

/** What a kernel calls with sums of four neighbouring rows of w at one column: the epilogue, and the stores. @param bm, bn rows and columns that a block of threads computes */
export function finish(k: KernelBuilder, { results: { y, epilogue }, rows, columns }: Product, bm: number, bn: number): CallArgument {
  const sums = k.name('sums'), m = k.name('m'), n = k.name('n'), i = k.name('i'), row = add(ref(m), ref(i));
  const stored: Stmt = k.storeThrough(epilogue, y, [ref(n), row], load(sums, 'f32', ref(i)));
  const checks = [...(rows % bm === 0 ? [] : [compare('lt', row, rows)]), ...(columns % bn === 0 ? [] : [compare('lt', ref(n), columns)])];
  const guarded = checks.reduceRight<Stmt>((inner, check) => ifStmt(check, [inner]), stored);
  return {
    kind: 'function', params: [{ name: sums, dtype: 'f32', size: 4 }, { name: m, dtype: 'index' }, { name: n, dtype: 'index' }],
    body: [forLoop(i, 4, [guarded], { unroll: true })],
  };
}
