/** Products on tensor cores, 2:4 sparse or dense: linear layers, and convolutions as products with windows (implicit GEMM). */
import type { WeightMatrix } from '../../../compiler/layouts/index.js';
import type { Node } from '../../../compiler/ir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule, Refusal } from '../../types.js';
import { sparsePattern } from '../fragments.js';
import type { Gpu } from '../gpu.js';
import { unstructuredOf, type Unstructured } from '../unstructured.js';
import { bitmapCandidates, bitmapRefusals } from './bitmap.js';
import { decodeCandidate, MOST_COLUMNS } from './decode.js';
import { whyNotPattern } from './eligibility.js';
import { gatherProducts } from './gather.js';
import { addShares, finish, formOf, gemmCall, packTiles, storesParts, type Form } from './pieces.js';
import { isConstant, productOf, weightsOf, type ConstantProduct, type ElementType } from './product.js';
import { residualCandidates, residualRefusals } from './residual.js';
import { chooseTiling, tilings, warpgroupTilings, type Tiling } from './tiling.js';

function candidate(gpu: Gpu, request: KernelRequest, f: Form, among: readonly Tiling[]): KernelCandidate {
  const { product: p, sparse } = f, cost = chooseTiling(gpu, f, among), { tiling: { bm, bn, warpgroups }, shares, nanoseconds } = cost;
  const pitch = Math.ceil(p.rows / bm) * bm, times = p.batches === 1 ? '' : `${p.batches} times `, divided = shares === 1 ? '' : `, the depth in ${shares} shares`;
  return {
    choice: {
      status: sparse ? 'sparse-kernel' : 'dense-kernel', kernel: `${f.pattern}${warpgroups ? 'wgmma' : 'gemm'} ${f.label} ${bm}x${bn}${shares === 1 ? '' : ` in ${shares} shares`}`,
      reason: `${times}${p.rows}x${p.depth} times ${p.columns} columns on ${sparse ? 'sparse ' : ''}tensor cores${warpgroups ? ' of warpgroups' : ''}, ${bm}x${bn} a block${divided}`,
    },
    nanoseconds,
    pack: () => packTiles(f),
    build: (k) => {
      if (shares === 1) return [gemmCall(f, request, cost, finish(k, p, bm, bn))];
      const parts = { name: k.scratch('parts', 'f32', shares * p.columns * pitch), shares, pitch };
      return [gemmCall(f, request, cost, storesParts(p, parts)), ...addShares(k, p, parts)];
    },
  };
}

/** What is known of a node's weights: rounded once, looked at once. */
interface Weights {
  readonly matrix: WeightMatrix;
  /** Why they do not fit sparse tensor cores; undefined where they do. */
  readonly strange: string | undefined;
  readonly unstructured: Unstructured;
}

export function tensorCoreRule(gpu: Gpu, type: ElementType): KernelRule {
  const { keep, of } = sparsePattern(type), known = new WeakMap<Node, Weights>(), gather = gatherProducts(gpu, type);
  const weightsOfNode = ({ node, constants }: KernelRequest, p: ConstantProduct): Weights => {
    const found = known.get(node);
    if (found) return found;
    const matrix = weightsOf(p, constants[1]!, type), result = { matrix, strange: whyNotPattern(matrix, { keep, of }, p.window), unstructured: unstructuredOf(matrix) };
    known.set(node, result);
    return result;
  };
  return {
    name: 'tensor cores',
    candidates(request) {
      const p = productOf(request, type);
      if (p === undefined || typeof p === 'string') return [];
      if (!isConstant(p)) return [candidate(gpu, request, formOf(p, type, undefined, false), tilings)];
      const { matrix, strange, unstructured } = weightsOfNode(request, p);
      // where both are predicted to take as long, the sparse one reads less
      return [...(strange === undefined ? [true, false] : [false]).flatMap((sparse) => {
        const form = formOf(p, type, matrix, sparse), decodes = p.columns <= MOST_COLUMNS && p.batches === 1;
        return [candidate(gpu, request, form, tilings), ...(gpu.wgmma ? [candidate(gpu, request, form, warpgroupTilings)] : []), ...(decodes ? [decodeCandidate(gpu, request, form)] : [])];
      }), ...bitmapCandidates(gpu, request, p, unstructured, type), ...residualCandidates(gpu, request, p, unstructured, type), ...gather.candidates(request, p, matrix)];
    },
    refusals(request): readonly Refusal[] {
      const p = productOf(request, type);
      if (p === undefined) return [];
      if (typeof p === 'string') return [{ kernel: 'gemm', reason: p }];
      if (!isConstant(p)) {
        const computed = (kernel: string, more: string): Refusal => ({ kernel, reason: `weights are computed: ${more}` });
        return [...(gpu.wgmma ? [computed('wgmma', 'warpgroups have only constant ones in the order of their registers')] : []), computed(`${keep}:${of} gemm`, 'zeros among them are not known')];
      }
      const { matrix, strange, unstructured } = weightsOfNode(request, p);
      return [...(strange === undefined ? [] : [{ kernel: `${keep}:${of} gemm`, reason: strange }]), ...bitmapRefusals(p, unstructured, type), ...residualRefusals(gpu, p, unstructured), ...gather.refusals(p, matrix)];
    },
  };
}
