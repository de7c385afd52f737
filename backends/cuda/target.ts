/**
 * The CUDA target: products on tensor cores, everything else printed from its kernel IR as plain kernels, one thread an output element. The same
 * source compiles with nvcc and, for tests on any machine, with a C++ compiler against an emulation of the execution model (runtime/cuda).
 */
import { channelsLastPasses } from '../../passes/pipeline.js';
import type { Target } from '../types.js';
import { emitCuda } from './emit.js';
import { gpus } from './gpu.js';
import { gemmRule } from './kernels/gemm.js';
import { nvccFlags } from './project.js';

export const cudaTarget: Target = {
  name: 'cuda',
  doc: 'CUDA C++, tensor cores',
  passes: channelsLastPasses,
  kernels: [gemmRule(gpus.sm_80, 'f16')],
  /** Segments of global memory are 128 bytes. */
  alignment: 128,
  inPlace: true,
  compileFlags: nvccFlags,
  emit: emitCuda,
};
