/**
 * The CUDA target: products on tensor cores, everything else printed from its kernel IR as plain kernels, one thread an output element. The same
 * source compiles with nvcc and, for tests on any machine, with a C++ compiler against an emulation of the execution model (runtime/cuda).
 */
import { narrowActivations } from '../../passes/narrow-activations.js';
import { channelsLastPasses } from '../../passes/pipeline.js';
import type { Target } from '../types.js';
import { rowsModel } from './choice.js';
import { emitCuda } from './emit.js';
import { gpuNames, gpus, type GpuName } from './gpu.js';
import { tensorCoreRule } from './kernels/gemm.js';
import { nvccFlags } from './project.js';

/** How products are multiplied and activations stored; sums are always f32. fp32: no tensor cores. */
export const precisions = ['fp16', 'bf16', 'tf32', 'fp32'] as const;
export type Precision = (typeof precisions)[number];

const elementOf = { fp16: 'f16', bf16: 'bf16', tf32: 'f32' } as const;

function archTarget(precision: Precision, arch: GpuName): Target {
  const stored = precision === 'fp16' ? 'f16' : precision === 'bf16' ? 'bf16' : undefined, gpu = gpus[arch];
  const kernels = precision === 'fp32' ? [] : [tensorCoreRule(gpu, elementOf[precision])];
  return {
    name: 'cuda',
    doc: `CUDA C++, ${precision} for ${arch}`,
    passes: channelsLastPasses,
    ...(stored ? { lastPasses: [narrowActivations(stored)] } : {}),
    kernels,
    rows: rowsModel(gpu, kernels),
    /** Segments of global memory are 128 bytes. */
    alignment: 128,
    inPlace: true,
    compileFlags: nvccFlags(arch),
    emit: (plan, options) => emitCuda([{ plan, arch }], options),
  };
}

/** @param archs what the project is built for: each has kernels of its own, and a model takes the best that its device runs when it is created */
export function cudaTarget(precision: Precision = 'fp16', archs: readonly GpuName[] = ['sm_80']): Target {
  const chosen = gpuNames.filter((a) => archs.includes(a)).reverse(), best = archTarget(precision, chosen[0]!);
  if (chosen.length === 1) return best;
  return {
    ...best,
    doc: `CUDA C++, ${precision} for ${chosen.join(' or ')}, chosen at run time`,
    paths: {
      targets: chosen.map((arch) => ({ arch, target: archTarget(precision, arch) })),
      emit: (plans, options) => emitCuda(plans.map((plan, i) => ({ plan, arch: chosen[i]! })), options),
    },
  };
}
