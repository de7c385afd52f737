import { expect, test } from 'vitest';
import { asIndex, f32, forLoop, load, mul, ref, store } from '../../compiler/kir/build.js';
import type { Kernel, KernelParam, Stmt } from '../../compiler/kir/types.js';
import { cudaKernels, perfectNest } from './grid.js';

const params = (size: number): KernelParam[] => [{ name: 'x', dtype: 'f32', size, role: 'in' }, { name: 'y', dtype: 'f32', size, role: 'out' }, { name: 'unused', dtype: 'f32', size: 1, role: 'scratch' }];
const kernel = (body: readonly Stmt[], size = 1000): Kernel => ({ name: 'k', doc: [], origins: [], params: params(size), body });
const twice = (at: ReturnType<typeof ref>): Stmt => store('y', at, mul(load('x', 'f32', at), f32(2)));
const parallel = { parallel: true };

test('a perfect nest of parallel loops becomes one linear index, whatever its steps', () => {
  const at = { kind: 'binary', op: 'add', a: mul(ref('i'), asIndex(100)), b: ref('j'), type: ref('i').type } as const;
  const [only, ...none] = cudaKernels(kernel([forLoop('i', 5, [forLoop('j', 10, [twice(at)], parallel, 0, 4)], parallel)]), 'm', true);
  expect(none).toEqual([]);
  expect(only).toMatchObject({ symbol: 'm_k', extent: 15, params: [0, 1] });
  expect(only!.text).toContain('__global__ void m_k(const float *__restrict__ x, float *__restrict__ y)');
  expect(only!.text).toContain('for (int spc_i = spc_thread_index<int>(); spc_i < 15; spc_i += spc_thread_count<int>())');
  expect(only!.text).toContain('const int i = spc_i / 3;');
  expect(only!.text).toContain('const int j = spc_i % 3 * 4;');
});

test('a loop around more than a loop ends the nest; serial loops stay loops', () => {
  const inner = forLoop('j', 10, [twice(ref('j'))], parallel);
  expect(perfectNest(forLoop('i', 5, [inner, inner], parallel) as never).loops).toHaveLength(1);
  expect(perfectNest(forLoop('i', 5, [forLoop('j', 10, [twice(ref('j'))])], parallel) as never).loops).toHaveLength(1);
});

test('consecutive loops become consecutive kernels, anything else one thread, nothing at all none', () => {
  const loop = (name: string, extent: number): Stmt => forLoop(name, extent, [twice(ref(name))], parallel);
  const kernels = cudaKernels(kernel([loop('a', 3), forLoop('b', 4, [twice(ref('b'))]), loop('c', 0), loop('d', 7)]), 'm', false);
  expect(kernels.map((k) => [k.symbol, k.extent])).toEqual([['m_k_0', 3], ['m_k_1', undefined], ['m_k_3', 7]]);
  expect(kernels[0]!.text).not.toContain('__restrict__');
});

test('indices have 64 bits only where 32 do not suffice', () => {
  const body = [forLoop('i', 8, [twice(ref('i'))], parallel)];
  expect(cudaKernels(kernel(body), 'm', true)[0]!.text).toContain('int i = spc_thread_index<int>()');
  expect(cudaKernels(kernel(body, 2 ** 31), 'm', true)[0]!.text).toContain('int64_t i = spc_thread_index<int64_t>()');
});
