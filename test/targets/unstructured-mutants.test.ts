/** Small mistakes in the kernels for weights with zeros anywhere: the emulation must catch every one. */
import { expect, test } from 'vitest';
import { cudaTarget } from '../../backends/cuda/target.js';
import { GraphBuilder } from '../../compiler/ir/build.js';
import { tensorOf } from '../../compiler/ir/tensor.js';
import { constant, max } from '../../compiler/kir/build.js';
import { narrowActivations } from '../../passes/narrow-activations.js';
import { randomNumbers } from '../support/graphs.js';
import { testMutants, type Mutant } from './mutate.js';
import { emitGraph } from './support.js';
import { onlyRule } from './unstructured.js';

const mutants: readonly Mutant[] = [
  { name: 'bitmap: values are read before they are there', header: 'spc_bitmap.h', from: '= p.fragment[i];\n    spc_warp_barrier();', to: '= p.fragment[i];' },
  { name: 'bitmap: a prefix sum that ends early', header: 'spc_bitmap.h', from: 'distance < 32; distance *= 2', to: 'distance < 16; distance *= 2' },
  { name: 'bitmap: the first lanes add what they have not got', header: 'spc_bitmap.h', from: 'if (lane >= distance) before', to: 'before' },
  { name: 'bitmap: lanes begin after their own values', header: 'spc_bitmap.h', from: 'before -= count;', to: '' },
  { name: 'bitmap: fragments begin without the last lane', header: 'spc_bitmap.h', from: ' + (last_count >> 8 * f & 255u)', to: '' },
  { name: 'bitmap: halves of a register swapped', header: 'spc_bitmap.h', from: '<< 16 * (e % per_register)', to: '<< 16 * (1 - e % per_register)' },
  { name: 'bitmap: a chunk of values too few', header: 'spc_bitmap.h', from: 'p.chunks = chunks - bit_chunks', to: 'p.chunks = chunks - bit_chunks - 1' },
  { name: 'bitmap: bits of the next lane', header: 'spc_bitmap.h', from: 'lane / (2 / per_register)', to: '(lane ^ 1) / (2 / per_register)' },
  { name: 'bitmap: the tile after the right one', header: 'spc_bitmap.h', from: '(size_t)row * blocks + block;', to: '(size_t)row * blocks + (block + 1) % blocks;' },
  { name: 'bitmap: working memory where columns are', header: 'spc_decode.h', from: 'memory + work_bytes + warp', to: 'memory + warp' },
  { name: 'slices: columns are not waited for', header: 'spc_sell.h', from: 'spc_copy_wait<0>();', to: '' },
  { name: 'slices: no barrier after the columns came', header: 'spc_sell.h', from: '__syncthreads();\n', to: '' },
  { name: 'slices: nothing is zero', header: 'spc_sell.h', from: 'if ((int)threadIdx.x < zeros)', to: 'if ((int)threadIdx.x < 0)' },
  { name: 'slices: features one after the other', header: 'spc_sell.h', from: 'return k ^ (k >> 3 & 7);', to: 'return k;' },
  { name: 'slices: a step too few', header: 'spc_sell.h', from: 'i = from; i < to; i++', to: 'i = from; i + 1 < to; i++' },
  { name: 'slices: the slices of one block of threads only', header: 'spc_sell.h', from: '(int)blockIdx.y * WARPS + warp', to: 'warp' },
  { name: 'slices: rows of a lane swapped', header: 'spc_sell.h', from: '{sums[0][c], sums[1][c],', to: '{sums[1][c], sums[0][c],' },
  { name: 'slices: sums of tensor cores are lost', header: 'spc_gemm.h', from: '(sums + ((size_t)blockIdx.z * N + n) * PITCH + m) = ', to: '(sums + ((size_t)blockIdx.z * N + n) * PITCH + (m ^ 4)) = ' },
];

/** Columns, depth, rows, share of weights: tiles with the last lane's 8 values of a fragment, slices for several blocks of threads, depth that fills no block. */
const sizes = [[11, 1100, 70, 0.4], [20, 200, 2200, 0.03], [20, 270, 130, 0.2]] as const;

/** The n-th product runs with the n-th kernel. */
const kernelOf = [/bitmap decode/, /^rows in slices/, /gemm .* and rows in slices/];
const rule = onlyRule('f16', 'sm_80', ({ outputs: [y] }, kernel) => kernelOf[sizes.findIndex(([, , rows]) => rows === y!.shape[1])]!.test(kernel));
const g = new GraphBuilder('m');
const outputs = sizes.map(([n, k, m, share], i) => {
  const chance = randomNumbers(k * m, 20 + i), w = randomNumbers(k * m, i + 1).map((v, at) => (at % m < 16 && at < 64 * m && i === 0 ? v || 1 : (chance[at]! + 1) / 2 < share ? v : 0));
  const x = g.map([g.input(`x${i}`, { dtype: 'f32', shape: [n, k] })], (e) => max(e, constant('f32', -0.5)));
  const [y] = g.op('matmul', [x, g.constant(tensorOf('f32', [k, m], w))], { transA: false, transB: false, out: 'f32' });
  return { name: `y${i}`, value: y! };
});
const inputs = sizes.map(([n, k], i) => tensorOf('f32', [n, k], randomNumbers(n * k, 10 + i)));
const { plan, files } = emitGraph(narrowActivations('f16').run(g.finish(outputs), { report: () => undefined }), { ...cudaTarget('fp16'), kernels: [rule] });

test('every kernel is among them', () => { plan.steps.filter((s) => s.kind === 'matmul').forEach((s, i) => expect(s.choice.kernel).toMatch(kernelOf[i]!)); });
// the order of weights in slices leaves few: without it they would be several for each of more than 2000 loads
testMutants({ plan, files, inputs, mutants, conflicts: 200 });
