import { expect, test } from 'vitest';
import { archFor, gpuNames } from './gpu.js';

test.each([['8.0', 'sm_80'], ['8.6\n', 'sm_86'], ['8.7', 'sm_86'], ['8.9', 'sm_86'], ['9.0', 'sm_90a'], ['7.5', undefined], ['9.1', undefined], ['10.0', undefined], ['12.0', undefined]])(
  'a GPU of compute capability %s runs code for %s', (capability, arch) => expect(archFor(capability)).toBe(arch));
test('every architecture is that of some GPU', () => expect(['8.0', '8.6', '9.0'].map(archFor).sort()).toEqual([...gpuNames].sort()));
