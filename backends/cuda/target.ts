/**
 * The CUDA target: every step of the plan printed from its kernel IR as a plain kernel, one thread an output element. The same
 * source compiles with nvcc and, for tests on any machine, with a C++ compiler against an emulation of the execution model
 * (runtime/cuda). Schedules of its own for the hot operators come as `kernels`.
 */
import type { Target } from '../types.js';
import { emitCuda } from './emit.js';
import { nvccFlags } from './project.js';

export const cudaTarget: Target = {
  name: 'cuda',
  doc: 'CUDA C++, one thread an output element',
  passes: [],
  kernels: [],
  /** Segments of global memory are 128 bytes. */
  alignment: 128,
  inPlace: true,
  compileFlags: nvccFlags,
  emit: emitCuda,
};
