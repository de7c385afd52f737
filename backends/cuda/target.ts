/**
 * The CUDA target: products on tensor cores, everything else printed from its kernel IR as plain kernels, one thread an output element. The same
 * source compiles with nvcc and, for tests on any machine, with a C++ compiler against an emulation of the execution model (runtime/cuda).
 */
import { narrowActivations } from '../../passes/narrow-activations.js';
import { channelsLastPasses } from '../../passes/pipeline.js';
import type { Target } from '../types.js';
import { rowsModel } from './choice.js';
import { emitCuda } from './emit.js';
import { gpus, type GpuName } from './gpu.js';
import { tensorCoreRule } from './kernels/gemm.js';
import { nvccFlags } from './project.js';

/** How products are multiplied and activations stored; sums are always f32. fp32: no tensor cores. */
export const precisions = ['fp16', 'bf16', 'tf32', 'fp32'] as const;
export type Precision = (typeof precisions)[number];

const elementOf = { fp16: 'f16', bf16: 'bf16', tf32: 'f32' } as const;

/** @param archs what the project is built for; kernels are chosen for the first and fit all */
export function cudaTarget(precision: Precision = 'fp16', archs: readonly GpuName[] = ['sm_80']): Target {
  const stored = precision === 'fp16' ? 'f16' : precision === 'bf16' ? 'bf16' : undefined, [first = 'sm_80'] = archs;
  const gpu = { ...gpus[first], sharedBytes: Math.min(...archs.map((a) => gpus[a].sharedBytes)) };
  const kernels = precision === 'fp32' ? [] : [tensorCoreRule(gpu, elementOf[precision])];
  return {
    name: 'cuda',
    doc: `CUDA C++, ${precision} for ${archs.join(', ')}`,
    passes: channelsLastPasses,
    ...(stored ? { lastPasses: [narrowActivations(stored)] } : {}),
    kernels,
    rows: rowsModel(gpu, kernels),
    /** Segments of global memory are 128 bytes. */
    alignment: 128,
    inPlace: true,
    compileFlags: nvccFlags(archs),
    emit: (plan, options) => emitCuda(plan, options, archs),
  };
}
