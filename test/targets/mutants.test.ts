/** Small mistakes in the kernels for tensor cores, one at a time: the emulation must catch every one. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cudaTarget } from '../../backends/cuda/target.js';
import { GraphBuilder } from '../../compiler/ir/build.js';
import { tensorOf, type DenseTensor } from '../../compiler/ir/tensor.js';
import { randomNumbers } from '../support/graphs.js';
import { buildEmulation, emitGraph, hasGxx, replays, runProgram, temporaryFolder } from './support.js';

/** What is replaced in a header, everywhere that it occurs. */
interface Mutant {
  readonly name: string;
  readonly header: 'spc_gemm.h' | 'spc_decode.h';
  readonly from: string;
  readonly to: string;
}

const mutants: readonly Mutant[] = [
  { name: 'waits for a copy too few', header: 'spc_gemm.h', from: 'spc_copy_wait<STAGES - 2>()', to: 'spc_copy_wait<STAGES - 1>()' },
  { name: 'no barrier before the next part', header: 'spc_gemm.h', from: '__syncthreads();\n      const int ahead', to: 'const int ahead' },
  { name: 'no barrier before sums are laid down', header: 'spc_gemm.h', from: 'first += at_once) {\n      __syncthreads();', to: 'first += at_once) {' },
  { name: 'no barrier before sums are picked up', header: 'spc_gemm.h', from: '__syncthreads();\n      for (int q', to: 'for (int q' },
  { name: 'the other half of the places', header: 'spc_gemm.h', from: 'spc_mma_sparse<HALF>', to: 'spc_mma_sparse<1 - HALF>' },
  { name: 'places of another lane', header: 'spc_gemm.h', from: '1024 + lane * 4', to: '1024 + (lane ^ 4) * 4' },
  { name: 'rows of a fragment swapped', header: 'spc_gemm.h', from: '{v.x, v.y, v.z, v.w}', to: '{v.y, v.x, v.z, v.w}' },
  { name: 'chunks not swapped by row: banks conflict', header: 'spc_gemm.h', from: '(chunk ^ (row & 7))', to: 'chunk' },
  { name: 'chunks swapped where they are written only', header: 'spc_gemm.h', from: '(chunk ^ (row & 7)) * 16);\n    }\n    Form', to: 'chunk * 16);\n    }\n    Form' },
  { name: 'the part after the right one', header: 'spc_gemm.h', from: '(block - from) % STAGES', to: '(block - from + 1) % STAGES' },
  { name: 'a copy to an address that is not aligned', header: 'spc_gemm.h', from: 'spc_copy16(shared + 16 * chunk,', to: 'spc_copy16(shared + 16 * chunk + 8,' },
  { name: 'half a warp loads matrices', header: 'spc_gemm.h', from: 'spc_load_matrices(b[j], stage', to: 'if (lane < 16) spc_load_matrices(b[j], stage' },
  { name: 'a barrier for half of the threads', header: 'spc_gemm.h', from: 'spc_copy_wait<STAGES - 2>();\n      __syncthreads();', to: 'spc_copy_wait<STAGES - 2>();\n      if (threadIdx.x < blockDim.x / 2) __syncthreads();' },
  { name: 'decoding: columns are not waited for', header: 'spc_decode.h', from: 'spc_copy_wait<0>();', to: '' },
  { name: 'decoding: no barrier after the columns came', header: 'spc_decode.h', from: 'fill(memory, source, first, count);\n      __syncthreads();', to: 'fill(memory, source, first, count);' },
  { name: 'decoding: no barrier before the next columns', header: 'spc_decode.h', from: '      __syncthreads();\n    }\n    add_up', to: '    }\n    add_up' },
  { name: 'decoding: no barrier before sums are added', header: 'spc_decode.h', from: '__syncthreads();\n    for (int q', to: 'for (int q' },
];

/** Two sparse products, one of many columns and one of few, and a dense one; depths at which the last part of the ring is where sums are laid down. */
function products() {
  const g = new GraphBuilder('m'), sizes = [[70, 288, 40, true], [9, 1100, 70, true], [40, 160, 30, false]] as const;
  const inputs: DenseTensor[] = [], outputs = sizes.map(([n, k, m, sparse], i) => {
    const first = randomNumbers(k * m, 20 + i);
    // of two weights below each other, one stays
    const w = randomNumbers(k * m, i + 1).map((v, at) => { const row = Math.floor(at / m); return sparse && (first[(row >> 1) * m + (at % m)]! > 0) === (row % 2 === 0) ? 0 : v; });
    inputs.push(tensorOf('f32', [n, k], randomNumbers(n * k, 10 + i)));
    const [y] = g.op('matmul', [g.input(`x${i}`, { dtype: 'f32', shape: [n, k] }), g.constant(tensorOf('f32', [k, m], w))], { transA: false, transB: false, out: 'f32' });
    return { name: `y${i}`, value: y! };
  });
  return { graph: g.finish(outputs), inputs };
}

const seeds = ['0', '1', '2'], folder = temporaryFolder(), { graph, inputs } = products(), { plan, files } = emitGraph(graph, cudaTarget('tf32'));
const bits = (tensors: readonly DenseTensor[]): string => tensors.map((t) => Buffer.from(t.data.buffer).toString('base64')).join();
let right = '';
beforeAll(() => {
  if (!hasGxx) return;
  const program = buildEmulation(files, folder.path, 'model');
  expect(plan.steps.map((s) => /.*(gemm|decode)/.exec(s.choice.kernel)?.[0])).toEqual(['1:2 gemm', '1:2 decode', 'gemm']);
  right = bits(runProgram(program, plan, inputs));
  for (const seed of seeds) expect(bits(runProgram(program, plan, inputs, { SPC_EMU_SEED: seed }))).toBe(right);
  expect(replays(program, inputs.length)).toBe(0);
}, 120_000);
afterAll(() => folder.dispose());

/** How the emulation shows that something is wrong; undefined where it does not. */
function caught(program: string): string | undefined {
  for (const seed of seeds) {
    let got: string;
    try {
      got = bits(runProgram(program, plan, inputs, { SPC_EMU_SEED: seed }));
    } catch (error) {
      return /spc_emu: .*/.exec(String(error))?.[0] ?? 'it crashes';
    }
    if (got !== right) return 'other results';
  }
  return replays(program, inputs.length) > 0 ? 'bank conflicts' : undefined;
}

test.skipIf(!hasGxx).each(mutants.map((m) => [m.name, m] as const))('%s', (_, { header, from, to }) => {
  const own = temporaryFolder(), text = String(files.get(header));
  try {
    expect(text).toContain(from);
    const program = buildEmulation(new Map([...files, [header, text.replaceAll(from, to)]]), own.path, 'model', ['-Wno-unused', '-Wno-maybe-uninitialized']);
    expect(caught(program)).toBeDefined();
  } finally {
    own.dispose();
  }
}, 60_000);
