/** What the kernels of products have in common. */
import { denseTensor, type Tensor } from '../../../compiler/ir/tensor.js';
import { add, compare, forLoop, ifStmt, load, pointer, ref } from '../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../compiler/kir/kernel-builder.js';
import type { CallArgument, Grid, Stmt } from '../../../compiler/kir/types.js';
import type { KernelRequest } from '../../types.js';
import { denseFragments, sparseFragments } from '../fragments.js';
import { weightsOf, type ElementType, type Product } from './product.js';

/** Names of element types in runtime/cuda/spc_element.h. */
export const elementNames: Readonly<Record<ElementType, string>> = { f16: 'spc_f16', bf16: 'spc_bf16', f32: 'spc_tf32' };

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

/** Where a product's columns come from. */
export function sourceOf({ source: { name, sizes }, x }: Product, type: ElementType): CallArgument {
  return { kind: 'object', type: `${name}<${[elementNames[type], `spc_${x.stored ?? x.dtype}`, ...sizes].join(', ')}>`, args: [pointer(x.param)] };
}

/** The weights as tiles, in the place of the node's. */
export function packed(request: KernelRequest, p: Product, type: ElementType, sparse: boolean): ReadonlyMap<number, Tensor> {
  const { bytes } = (sparse ? sparseFragments : denseFragments)(weightsOf(p, request.constants[1]!, type));
  return new Map([[1, denseTensor('u8', [bytes.length], bytes)]]);
}

/** A call that a grid of threads runs together. */
export function gridCall(stmt: Stmt, grid: Grid): Stmt {
  if (stmt.kind !== 'call') throw new Error('SPC9002: only calls have grids');
  return { ...stmt, grid };
}
