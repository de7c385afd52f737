/** Small mistakes in the kernels that gather columns, one at a time: the emulation must catch every one. */
import { expect, test } from 'vitest';
import { gpus } from '../../backends/cuda/gpu.js';
import { cudaTarget } from '../../backends/cuda/target.js';
import { tensorOf, type DenseTensor } from '../../compiler/ir/tensor.js';
import type { Graph } from '../../compiler/ir/types.js';
import { narrowActivations } from '../../passes/narrow-activations.js';
import { randomNumbers } from '../support/graphs.js';
import { testMutants, type Mutant } from './mutate.js';
import { gatheringRule, graphOfProducts } from './products.js';
import { emitGraph } from './support.js';

const mutants: readonly Mutant[] = [
  { name: 'blocks of the first panel', header: 'spc_gather.h', from: 'first = (int)starts[blockIdx.y]', to: 'first = (int)starts[0]' },
  { name: 'the list of the block before', header: 'spc_gather.h', from: 'columns[block * LIST', to: 'columns[(block ? block - 1 : 0) * LIST' },
  { name: 'the same tile for all rows', header: 'spc_gather.h', from: 'row % TILES', to: '0' },
  { name: 'an entry of the list beside the right one', header: 'spc_gather.h', from: 'columns[block * LIST + k', to: 'columns[(block * LIST ^ 1) + k' },
  { name: 'features not swapped: banks conflict', header: 'spc_gather.h', from: '(group ^ row / period % swaps)', to: 'group' },
  { name: 'features swapped where they are written only', header: 'spc_gather.h', from: 'part + place(32 * HALF + lane, eight)', to: 'part + (32 * HALF + lane) * row_bytes + eight * 16' },
  { name: 'features of the other half', header: 'spc_gather.h', from: '32 * HALF + lane', to: '32 * (1 - HALF) + lane' },
  { name: 'features as if they were columns', header: 'spc_gather.h', from: 'spc_load_matrices_transposed', to: 'spc_load_matrices' },
  { name: 'features of other columns', header: 'spc_gather.h', from: '(int)blockIdx.x * BN + n, k[i]', to: 'n, k[i]' },
  { name: 'transposing: nothing is waited for', header: 'spc_gather.h', from: 'spc_copy_wait<0>();', to: '' },
  { name: 'transposing: no barrier', header: 'spc_gather.h', from: '__syncthreads();', to: '' },
  { name: 'transposing: a chunk beside the right one', header: 'spc_gather.h', from: 'place(n + i, k / per16)', to: 'place(n + i, k / per16 ^ 1)' },
];

/** Blocks of 16 x 8 and single columns for dense tensor cores, and single columns for sparse ones; x in 16 bits, as a layer before leaves it. */
function products(): { readonly graph: Graph; readonly inputs: readonly DenseTensor[] } {
  const cases = ([[70, 512, 96, 0.2], [150, 320, 96, 0.15], [40, 330, 70, 0.15]] as const).map(([n, k, rows, density], i) => ({ rows, linear: [n, k] as const, density, block: i === 0 ? 16 : 8 }));
  const tensors = cases.map(({ rows, linear: [, k], density, block }, i) => {
    const chance = randomNumbers(k * rows, 30 + i).map((v) => (v + 1) / 2);
    return tensorOf('f32', [k, rows], randomNumbers(k * rows, 40 + i).map((v, at) => (chance[Math.floor((at % rows) / block) * k + (i === 0 ? Math.floor(at / rows / 8) : Math.floor(at / rows))]! < density ? v : 0)));
  });
  const { graph, inputs } = graphOfProducts(cases, tensors, true);
  return { graph: narrowActivations('f16').run(graph, { report: () => undefined }), inputs };
}

const { graph, inputs } = products(), kernels = [/^gather-gemm.* chunks/, /^gather-gemm.* columns$/, /^2:4 gather-gemm.* columns$/];
const { plan, files } = emitGraph(graph, { ...cudaTarget(), kernels: [gatheringRule('f16', kernels, { ...gpus.sm_80, multiprocessors: 2 })] });
test('every kernel is among them', () => expect(plan.steps.filter((s) => s.kind === 'matmul').map((s) => s.choice.kernel)).toEqual(kernels.map((k) => expect.stringMatching(k) as string)));
testMutants({ plan, files, inputs, mutants });
