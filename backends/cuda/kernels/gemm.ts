/** Products on tensor cores, 2:4 sparse or dense: linear layers, and convolutions as products with windows (implicit GEMM). */
import { denseTensor } from '../../../compiler/ir/tensor.js';
import { add, call, compare, forLoop, ifStmt, load, pointer, ref } from '../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../compiler/kir/kernel-builder.js';
import type { CallArgument, Stmt } from '../../../compiler/kir/types.js';
import { accepts } from '../../../compiler/layouts/index.js';
import type { KernelCandidate, KernelRequest, KernelRule, Refusal } from '../../types.js';
import { denseFragments, sparseFragments, sparsePattern } from '../fragments.js';
import type { Gpu } from '../gpu.js';
import { productOf, weightsOf, type ElementType, type Product } from './product.js';
import { chooseTiling, sharedBytes } from './tiling.js';

/** Names of element types in runtime/cuda/spc_element.h. */
const elementNames: Readonly<Record<ElementType, string>> = { f16: 'spc_f16', bf16: 'spc_bf16', f32: 'spc_tf32' };

/** What the kernel calls with sums of four neighbouring rows of w at one column: the epilogue, and the stores. */
function finish(k: KernelBuilder, { results: { y, epilogue }, rows, columns }: Product, bm: number, bn: number): CallArgument {
  const sums = k.name('sums'), m = k.name('m'), n = k.name('n'), i = k.name('i'), row = add(ref(m), ref(i));
  const stored: Stmt = k.storeThrough(epilogue, y, [ref(n), row], load(sums, 'f32', ref(i)));
  const checks = [...(rows % bm === 0 ? [] : [compare('lt', row, rows)]), ...(columns % bn === 0 ? [] : [compare('lt', ref(n), columns)])];
  const guarded = checks.reduceRight<Stmt>((inner, check) => ifStmt(check, [inner]), stored);
  return {
    kind: 'function', params: [{ name: sums, dtype: 'f32', size: 4 }, { name: m, dtype: 'index' }, { name: n, dtype: 'index' }],
    body: [forLoop(i, 4, [guarded], { unroll: true })],
  };
}

const sourceType = ({ source: { name, sizes } }: Product, type: ElementType, x: TensorRef): string => `${name}<${[elementNames[type], `spc_${x.stored ?? x.dtype}`, ...sizes].join(', ')}>`;

function candidate(gpu: Gpu, request: KernelRequest, p: Product, type: ElementType, sparse: boolean): KernelCandidate {
  const perBlock = type === 'f32' ? 32 : 64, blocks = Math.ceil(p.depth / perBlock), { tiling, nanoseconds } = chooseTiling(gpu, sparse, p.rows, p.columns, blocks, perBlock);
  const { bm, bn, warpsM, warpsN, stages } = tiling, { keep, of } = sparsePattern(type), tiles = Math.ceil(p.rows / 16);
  const w = request.inputs[1]!.param, name = type === 'f32' ? 'tf32' : type;
  return {
    choice: {
      status: sparse ? 'sparse-kernel' : 'dense-kernel', kernel: `${sparse ? `${keep}:${of} ` : ''}gemm ${name} ${bm}x${bn}`,
      reason: `${p.rows}x${p.depth} times ${p.columns} columns on ${sparse ? 'sparse ' : ''}tensor cores, ${bm}x${bn} a block`,
    },
    nanoseconds,
    pack: () => {
      const { bytes } = (sparse ? sparseFragments : denseFragments)(weightsOf(p, request.constants[1]!, type));
      return new Map([[1, denseTensor('u8', [bytes.length], bytes)]]);
    },
    build: (k) => {
      const gemm = `spc_gemm<${[elementNames[type], sparse ? 'spc_sparse' : 'spc_dense', bm, bn, warpsM, warpsN, stages].join(', ')}>`;
      const source: CallArgument = { kind: 'object', type: sourceType(p, type, p.x), args: [pointer(p.x.param)] };
      const run = call(`${gemm}::run`, pointer(w), tiles, 0, blocks, source, finish(k, p, bm, bn));
      if (run.kind !== 'call') throw new Error('SPC9002: a call');
      return [{ ...run, grid: { blocks: [Math.ceil(p.columns / bn), Math.ceil(p.rows / bm), 1], threads: 32 * warpsM * warpsN, sharedBytes: sharedBytes(tiling, sparse) } }];
    },
  };
}

export function gemmRule(gpu: Gpu, type: ElementType): KernelRule {
  return {
    name: 'gemm',
    candidates(request) {
      const p = productOf(request);
      if (p === undefined || typeof p === 'string') return [];
      const matrix = weightsOf(p, request.constants[1]!, type), { keep, of } = sparsePattern(type);
      return [candidate(gpu, request, p, type, false), ...(accepts(matrix, { kind: 'nm', params: { keep, of } }).ok ? [candidate(gpu, request, p, type, true)] : [])];
    },
    refusals(request): readonly Refusal[] {
      const p = productOf(request);
      if (p === undefined) return [];
      if (typeof p === 'string') return [{ kernel: 'gemm', reason: p }];
      const { keep, of } = sparsePattern(type), acceptance = accepts(weightsOf(p, request.constants[1]!, type), { kind: 'nm', params: { keep, of } });
      return acceptance.ok ? [] : [{ kernel: `${keep}:${of} gemm`, reason: acceptance.reason }];
    },
  };
}
