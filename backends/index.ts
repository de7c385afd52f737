/** The table of targets. Adding one is a folder here and a line in this table. */
import { cpuPathsTarget, type CpuName } from './cpu/target.js';
import type { GpuName } from './cuda/gpu.js';
import { cudaTarget, type Precision } from './cuda/target.js';
import { fpgaTarget } from './fpga/target.js';
import type { Target } from './types.js';

export interface TargetOptions {
  /** Instruction set of the CPU target, or several for one library. */
  readonly cpu: CpuName | readonly CpuName[];
  /** Of the CUDA target: how products are multiplied and activations stored, and what it is built for. */
  readonly precision?: Precision;
  readonly gpuArch?: readonly GpuName[];
}

export const targets = {
  cpu: (o: TargetOptions): Target => cpuPathsTarget(typeof o.cpu === 'string' ? [o.cpu] : o.cpu),
  cuda: (o: TargetOptions): Target => cudaTarget(o.precision, o.gpuArch),
  fpga: (): Target => fpgaTarget,
} as const;

export type TargetName = keyof typeof targets;
export const targetNames = Object.keys(targets) as readonly TargetName[];
