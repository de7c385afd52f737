/** Small mistakes in the kernels for tensor cores, one at a time: the emulation must catch every one. */
import { describe, expect, test } from 'vitest';
import { gpus, type Gpu } from '../../backends/cuda/gpu.js';
import { tensorCoreRule } from '../../backends/cuda/kernels/gemm.js';
import { cudaTarget } from '../../backends/cuda/target.js';
import type { KernelRule } from '../../backends/types.js';
import { GraphBuilder } from '../../compiler/ir/build.js';
import { tensorOf, type DenseTensor } from '../../compiler/ir/tensor.js';
import { randomNumbers } from '../support/graphs.js';
import { testMutants, type Mutant } from './mutate.js';
import { emitGraph } from './support.js';

const mutants: readonly Mutant[] = [
  { name: 'columns of the block before', header: 'spc_gemm.h', from: 'columns.find(weights, block + 1)', to: 'columns.find(weights, block)' },
  { name: 'waits for a copy too few', header: 'spc_gemm.h', from: 'spc_copy_wait<STAGES - 2>()', to: 'spc_copy_wait<STAGES - 1>()' },
  { name: 'no barrier before the next part', header: 'spc_gemm.h', from: '__syncthreads();\n      const int ahead', to: 'const int ahead' },
  { name: 'no barrier before sums are laid down', header: 'spc_gemm.h', from: 'first += at_once) {\n      __syncthreads();', to: 'first += at_once) {' },
  { name: 'no barrier before sums are picked up', header: 'spc_gemm.h', from: '__syncthreads();\n      for (int q', to: 'for (int q' },
  { name: 'the other half of the places', header: 'spc_gemm.h', from: 'spc_mma_sparse<HALF>', to: 'spc_mma_sparse<1 - HALF>' },
  { name: 'places of another lane', header: 'spc_gemm.h', from: '1024 + lane * 4', to: '1024 + (lane ^ 4) * 4' },
  { name: 'rows of a fragment swapped', header: 'spc_gemm.h', from: '{v.x, v.y, v.z, v.w}', to: '{v.y, v.x, v.z, v.w}' },
  { name: 'chunks not swapped by row: banks conflict', header: 'spc_gemm.h', from: '(chunk ^ (row & 7))', to: 'chunk' },
  { name: 'chunks swapped where they are written only', header: 'spc_gemm.h', from: 'spc_load_matrices(b, part + row * 128 + (chunk ^ (row & 7)) * 16)', to: 'spc_load_matrices(b, part + row * 128 + chunk * 16)' },
  { name: 'the part after the right one', header: 'spc_gemm.h', from: '(block - from) % STAGES', to: '(block - from + 1) % STAGES' },
  { name: 'a copy to an address that is not aligned', header: 'spc_gemm.h', from: 'spc_copy16(shared + 16 * chunk,', to: 'spc_copy16(shared + 16 * chunk + 8,' },
  { name: 'half a warp loads matrices', header: 'spc_gemm.h', from: 'spc_load_matrices(b, part', to: 'if (lane < 16) spc_load_matrices(b, part' },
  { name: 'a barrier for half of the threads', header: 'spc_gemm.h', from: 'spc_copy_wait<STAGES - 2>();\n      __syncthreads();', to: 'spc_copy_wait<STAGES - 2>();\n      if (threadIdx.x < blockDim.x / 2) __syncthreads();' },
  { name: 'decoding: columns are not waited for', header: 'spc_decode.h', from: 'spc_copy_wait<0>();', to: '' },
  { name: 'decoding: no barrier after the columns came', header: 'spc_decode.h', from: 'fill(memory, source, first, count);\n      __syncthreads();', to: 'fill(memory, source, first, count);' },
  { name: 'decoding: no barrier before the next columns', header: 'spc_decode.h', from: '      __syncthreads();\n    }\n    add_up', to: '    }\n    add_up' },
  { name: 'decoding: no barrier before sums are added', header: 'spc_decode.h', from: '__syncthreads();\n    for (int q', to: 'for (int q' },
];

const warpgroupMutants: readonly Mutant[] = ([
  ['copies are not published', 'spc_fence_async();', '', 'no fence.proxy.async'],
  ['copies are published before they have come', 'spc_copy_wait<STAGES - 3>();\n      spc_fence_async();', 'spc_fence_async();\n      spc_copy_wait<STAGES - 3>();', 'no fence.proxy.async'],
  ['copies are published behind the barrier', 'spc_fence_async();\n      __syncthreads();', '__syncthreads();\n      spc_fence_async();', 'no fence.proxy.async'],
  ['waits for a copy too few', 'spc_copy_wait<STAGES - 3>()', 'spc_copy_wait<STAGES - 2>()'],
  ['no barrier before products', 'spc_fence_async();\n      __syncthreads();', 'spc_fence_async();'],
  ['no fence before products', 'spc_wgmma_fence();', '', 'wgmma without wgmma.fence'],
  ['products that belong to no group', 'spc_wgmma_commit();', ''],
  ['waits for a group too few', 'spc_wgmma_wait<1>()', 'spc_wgmma_wait<2>()', 'changed while a product read them'],
  ['waits after the registers have changed', 'spc_wgmma_wait<1>();\n      if (block + 1 < to) load(next, weights, warp_m, lane, block + 1);', 'if (block + 1 < to) load(next, weights, warp_m, lane, block + 1);\n      spc_wgmma_wait<1>();', 'registers of A changed'],
  ['one set of registers for all blocks', '(block, parts[0], parts[1]);\n      step(block + 1, parts[1], parts[0])', '(block, parts[0], parts[0]);\n      step(block + 1, parts[0], parts[0])', 'registers of A changed'],
  ['sums are taken while the last product is under way', 'spc_wgmma_wait<0>();', ''],
  ['fills the part of the product under way', 'fill(block + STAGES - 2)', 'fill(block + STAGES - 1)', 'columns changed'],
  ['the part after the right one', 'multiply(sums, now, memory + (block - from)', 'multiply(sums, now, memory + (block - from + 1)'],
  ['the other half of the places', 'spc_wgmma_sparse<1>(element, sums, p.fragment[1]', 'spc_wgmma_sparse<0>(element, sums, p.fragment[1]'],
  ['the same columns for both halves', 'columns + (64 >> 4)', 'columns'],
  ['columns half as far on', 'columns + i * (32 >> 4)', 'columns + i * (16 >> 4)'],
  ['a descriptor of groups half as far apart', '1024 >> 4', '512 >> 4'],
  ['a descriptor of chunks swapped in 64 bytes', '(uint64_t)1 << 62', '(uint64_t)2 << 62', 'rows are not swapped'],
  ['columns of the other warpgroup', 'warp_n * NI * 1024', '(WARPS_N - 1 - warp_n) * NI * 1024'],
  ['rows of the next tile', '+ warp_m) * MI + i', '+ warp_m) * MI + (i ^ 1)'],
] as const).map(([name, from, to, shows]) => ({ name, header: 'spc_wgmma.h', from, to, ...(shows === undefined ? {} : { shows }) }));

/** A product: columns, depth, rows, and whether of two weights below each other one is zero. */
type Size = readonly [n: number, k: number, m: number, sparse: boolean];

function products(sizes: readonly Size[]) {
  const g = new GraphBuilder('m');
  const inputs: DenseTensor[] = [], outputs = sizes.map(([n, k, m, sparse], i) => {
    const first = randomNumbers(k * m, 20 + i);
    const w = randomNumbers(k * m, i + 1).map((v, at) => { const row = Math.floor(at / m); return sparse && (first[(row >> 1) * m + (at % m)]! > 0) === (row % 2 === 0) ? 0 : v; });
    inputs.push(tensorOf('f32', [n, k], randomNumbers(n * k, 10 + i)));
    const [y] = g.op('matmul', [g.input(`x${i}`, { dtype: 'f32', shape: [n, k] }), g.constant(tensorOf('f32', [k, m], w))], { transA: false, transB: false, out: 'f32' });
    return { name: `y${i}`, value: y! };
  });
  return { graph: g.finish(outputs), inputs };
}

/** Products whose code is changed, and the kernels that they run on. */
interface Subject {
  readonly name: string;
  readonly sizes: readonly Size[];
  readonly gpu: Gpu;
  readonly only: string;
  readonly kernels: readonly string[];
  readonly mutants: readonly Mutant[];
}
const subjects: readonly Subject[] = [
  // depths at which the last part of the ring is where sums are laid down
  { name: 'warps', sizes: [[70, 288, 40, true], [9, 1100, 70, true], [40, 160, 30, false]], gpu: gpus.sm_80, only: '', kernels: ['1:2 gemm', '1:2 decode', 'gemm'], mutants },
  // two warpgroups along rows of w, and along columns; a ring that comes round, an odd number of blocks and an even one
  { name: 'warpgroups', sizes: [[100, 288, 140, true], [230, 256, 60, false]], gpu: { ...gpus.sm_90a, multiprocessors: 1 }, only: 'wgmma', kernels: ['1:2 wgmma tf32 256x128', 'wgmma tf32 64x256'], mutants: warpgroupMutants },
];

describe.each(subjects.map((s) => [s.name, s] as const))('%s', (_, subject) => {
  const { graph, inputs } = products(subject.sizes), rule = tensorCoreRule(subject.gpu, 'f32');
  const only: KernelRule = { ...rule, candidates: (r) => rule.candidates(r).filter((c) => !c.choice.kernel.includes('gather') && c.choice.kernel.includes(subject.only)) };
  const { plan, files } = emitGraph(graph, { ...cudaTarget('tf32'), kernels: [only] });
  test('every kernel is among them', () => plan.steps.forEach((s, i) => expect(s.choice.kernel).toContain(subject.kernels[i])));
  testMutants({ plan, files, inputs, mutants: subject.mutants });
});
