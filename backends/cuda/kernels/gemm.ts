/** Products on tensor cores, 2:4 sparse or dense: linear layers, and convolutions as products with windows (implicit GEMM). */
import { call, pointer } from '../../../compiler/kir/build.js';
import { accepts } from '../../../compiler/layouts/index.js';
import type { KernelCandidate, KernelRequest, KernelRule, Refusal } from '../../types.js';
import { sparsePattern } from '../fragments.js';
import type { Gpu } from '../gpu.js';
import { decodeCandidate, MOST_COLUMNS } from './decode.js';
import { elementNames, finish, gridCall, packed, sourceOf } from './pieces.js';
import { productOf, weightsOf, type ElementType, type Product } from './product.js';
import { chooseTiling, sharedBytes } from './tiling.js';

function candidate(gpu: Gpu, request: KernelRequest, p: Product, type: ElementType, sparse: boolean): KernelCandidate {
  const perBlock = type === 'f32' ? 32 : 64, blocks = Math.ceil(p.depth / perBlock), { tiling, nanoseconds } = chooseTiling(gpu, sparse, p.rows, p.columns, blocks, perBlock);
  const { bm, bn, warpsM, warpsN, stages } = tiling, { keep, of } = sparsePattern(type), tiles = Math.ceil(p.rows / 16);
  const gemm = `spc_gemm<${[elementNames[type], sparse ? 'spc_sparse' : 'spc_dense', bm, bn, warpsM, warpsN, stages].join(', ')}>`;
  return {
    choice: {
      status: sparse ? 'sparse-kernel' : 'dense-kernel', kernel: `${sparse ? `${keep}:${of} ` : ''}gemm ${type === 'f32' ? 'tf32' : type} ${bm}x${bn}`,
      reason: `${p.rows}x${p.depth} times ${p.columns} columns on ${sparse ? 'sparse ' : ''}tensor cores, ${bm}x${bn} a block`,
    },
    nanoseconds,
    pack: () => packed(request, p, type, sparse),
    build: (k) => [gridCall(
      call(`${gemm}::run`, pointer(request.inputs[1]!.param), tiles, 0, blocks, sourceOf(p, type), finish(k, p, bm, bn)),
      { blocks: [Math.ceil(p.columns / bn), Math.ceil(p.rows / bm), 1], threads: 32 * warpsM * warpsN, sharedBytes: sharedBytes(tiling, sparse) },
    )],
  };
}

/** Why the weights do not fit sparse tensor cores; undefined where they do. */
function strangePattern(request: KernelRequest, p: Product, type: ElementType): string | undefined {
  const { keep, of } = sparsePattern(type), acceptance = accepts(weightsOf(p, request.constants[1]!, type), { kind: 'nm', params: { keep, of } });
  return acceptance.ok ? undefined : acceptance.reason;
}

export function tensorCoreRule(gpu: Gpu, type: ElementType): KernelRule {
  return {
    name: 'tensor cores',
    candidates(request) {
      const p = productOf(request);
      if (p === undefined || typeof p === 'string') return [];
      // where both are predicted to take as long, the sparse one reads less
      const forms = strangePattern(request, p, type) === undefined ? [true, false] : [false];
      return forms.flatMap((sparse) => [candidate(gpu, request, p, type, sparse), ...(p.columns <= MOST_COLUMNS ? [decodeCandidate(gpu, request, p, type, sparse)] : [])]);
    },
    refusals(request): readonly Refusal[] {
      const p = productOf(request), { keep, of } = sparsePattern(type);
      if (p === undefined) return [];
      if (typeof p === 'string') return [{ kernel: 'gemm', reason: p }];
      const strange = strangePattern(request, p, type);
      return strange === undefined ? [] : [{ kernel: `${keep}:${of} gemm`, reason: strange }];
    },
  };
}
