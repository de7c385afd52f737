/** The emulation of the CUDA execution model: right results for right kernels, an error or a wrong result for wrong ones. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildProgram, exec, hasGxx, hexFloat, includeFlags, strictWarnings, temporaryFolder, type Outcome } from './support.js';

/** One program with all kernels; the first argument chooses. Results are printed as bit patterns. */
const source = `
#include "spc_cuda.h"
#include <cstdio>

/* Sum of each block's 96 elements: shuffles within the warps, shared memory between them. */
__global__ void block_sum(const float *x, float *y) {
  SPC_SHARED(memory);
  float *partial = (float *)memory;
  float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int mask = 16; mask > 0; mask /= 2) sum += spc_shuffle_xor(sum, mask);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) y[blockIdx.x] = partial[0] + partial[1] + partial[2];
}
/* Reverses a block in shared memory; the barrier is needed. */
template <bool BARRIER> __global__ void reverse(const float *x, float *y) {
  SPC_SHARED(memory);
  float *tile = (float *)memory;
  const unsigned i = threadIdx.x, n = blockDim.x;
  tile[i] = x[i];
  if (BARRIER) __syncthreads();
  y[i] = tile[n - 1 - i];
}
/* Rotates eight times through shared memory, two barriers a round. */
__global__ void rotate(const float *x, float *y) {
  SPC_SHARED(memory);
  float *tile = (float *)memory;
  float v = x[threadIdx.x];
  for (int round = 0; round < 8; ++round) {
    tile[threadIdx.x] = v;
    __syncthreads();
    v = tile[(threadIdx.x + 1) % blockDim.x];
    __syncthreads();
  }
  y[threadIdx.x] = v;
}
/* Threads that have ended do not hold up a barrier. */
__global__ void early_exit(const float *x, float *y) {
  SPC_SHARED(memory);
  float *tile = (float *)memory;
  tile[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x >= 64) return;
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}
__global__ void stride(const float *x, float *y) {
  for (int i = spc_thread_index<int>(); i < 96; i += spc_thread_count<int>()) y[i] = 2.0f * x[i];
}
__global__ void different_barriers(const float *, float *) {
  if (threadIdx.x < 32) __syncthreads();
  else
    __syncthreads();
}
__global__ void divergent_shuffle(const float *x, float *y) {
  y[threadIdx.x] = threadIdx.x % 2 ? spc_shuffle_xor(x[threadIdx.x], 1) : spc_shuffle_xor(x[threadIdx.x], 2);
}
__global__ void missing_lanes(const float *x, float *y) {
  if (threadIdx.x % 2) return;
  y[threadIdx.x] = spc_shuffle_xor(x[threadIdx.x], 2);
}
__global__ void deadlock(const float *x, float *y) {
  if (threadIdx.x < 16) __syncthreads();
  else y[threadIdx.x] = spc_shuffle_xor(x[threadIdx.x], 1);
}
__global__ void outside(const float *x, float *y) { y[threadIdx.x + 33] = x[threadIdx.x]; }

int main(int, char **argv) {
  const char *which = argv[1];
  float host[96], *x, *y;
  spc_stream s;
  for (int i = 0; i < 96; i++) host[i] = 0.1f * (float)(i + 1);
  spc_dev_stream_create(&s);
  spc_dev_alloc((void **)&x, sizeof host);
  spc_dev_alloc((void **)&y, sizeof host);
  spc_dev_upload(x, host, sizeof host, s);
  const size_t shared = sizeof host;
#define CASE(name, kernel, grid, block) if (!strcmp(which, name)) SPC_LAUNCH((kernel), grid, block, shared, s, x, y);
  CASE("block_sum", block_sum, 1, 96)
  CASE("reverse", reverse<true>, 1, 96)
  CASE("reverse_without_barrier", reverse<false>, 1, 96)
  CASE("rotate", rotate, 1, 96)
  CASE("early_exit", early_exit, 1, 96)
  CASE("stride", stride, dim3(2), 16)
  CASE("different_barriers", different_barriers, 1, 64)
  CASE("divergent_shuffle", divergent_shuffle, 1, 32)
  CASE("missing_lanes", missing_lanes, 1, 32)
  CASE("deadlock", deadlock, 1, 32)
  CASE("outside", outside, 1, 96)
  spc_dev_download(host, y, sizeof host, s);
  for (float v : host) std::printf("%a ", (double)v);
  spc_dev_free(x);
  spc_dev_free(y);
  spc_dev_stream_destroy(s);
  return 0;
}
`;

const folder = temporaryFolder(), sanitizedFolder = temporaryFolder();
let program = '', sanitized = '';
beforeAll(() => {
  if (!hasGxx) return;
  const flags = [...strictWarnings, ...includeFlags('include', 'cuda')];
  program = buildProgram(folder.path, source, flags);
  sanitized = buildProgram(sanitizedFolder.path, source, [...flags, '-fsanitize=address,undefined', '-fno-sanitize-recover=all']);
}, 120_000);
afterAll(() => { folder.dispose(); sanitizedFolder.dispose(); });

const seeds = ['0', '1', '2', '3', '4', '5'];
const run = (kernel: string, seed: string, binary = program): Outcome => exec(binary, [kernel], { env: { SPC_EMU_SEED: seed } });
const values = (o: Outcome): number[] => {
  if (o.status !== 0) throw new Error(o.stderr);
  return o.stdout.trim().split(/\s+/).map(hexFloat);
};
const x = Array.from({ length: 96 }, (_, i) => Math.fround(Math.fround(0.1) * (i + 1)));

test.skipIf(!hasGxx)('barriers and shuffles give the same bits in every schedule', () => {
  const expected: Record<string, readonly number[]> = {
    reverse: [...x].reverse(),
    rotate: x.map((_, i) => x[(i + 8) % 96]!),
    early_exit: x.slice(0, 64).reverse(),
    stride: x.map((v) => 2 * v),
  };
  for (const [kernel, want] of Object.entries(expected)) {
    for (const seed of seeds) expect(values(run(kernel, seed)).slice(0, want.length), `${kernel}, seed ${seed}`).toEqual(want);
  }
  const sums = seeds.map((seed) => values(run('block_sum', seed))[0]!);
  expect(new Set(sums).size).toBe(1);
  expect(sums[0]).toBeCloseTo(x.reduce((a, b) => a + b, 0), 3);
});

test.skipIf(!hasGxx)('a missing barrier shows as NaN or as a difference between schedules', () => {
  const results = seeds.map((seed) => values(run('reverse_without_barrier', seed)));
  expect(results[0]!.some(Number.isNaN)).toBe(true);
  expect(new Set(results.map((r) => JSON.stringify(r))).size).toBeGreaterThan(1);
});

test.skipIf(!hasGxx).each([
  ['different_barriers', 'threads of one block wait at different barriers'],
  ['divergent_shuffle', 'lanes of one warp are in different collectives'],
  ['missing_lanes', 'warp collective with lanes missing'],
  ['deadlock', 'deadlock: not all threads reach the rendezvous'],
])('%s is detected in every schedule', (kernel, message) => {
  for (const seed of seeds) {
    const o = run(kernel, seed);
    expect(o.signal, `seed ${seed}`).toBe('SIGABRT');
    expect(o.stderr).toContain(`spc_emu: ${message}`);
    expect(o.stderr).toMatch(/block 0,0,0 thread \d+,0,0/);
  }
});

test.skipIf(!hasGxx)('fibers and AddressSanitizer get along, and it sees an access outside of device memory', () => {
  for (const kernel of ['block_sum', 'rotate', 'early_exit']) {
    const o = run(kernel, '1', sanitized);
    // the one line is AddressSanitizer's general remark on any program that calls swapcontext
    expect(o.stderr.replace(/^==\d+==WARNING: ASan doesn't fully support makecontext.*\n/, '').trim()).toBe('');
    expect(o.stdout).toBe(run(kernel, '1').stdout);
  }
  const o = run('outside', '0', sanitized);
  expect(o.status).not.toBe(0);
  expect(o.stderr).toContain('heap-buffer-overflow');
});
