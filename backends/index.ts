/** The table of targets. Adding one is a folder here and a line in this table. */
import { cpuPathsTarget, type CpuName } from './cpu/target.js';
import { cudaTarget } from './cuda/target.js';
import { fpgaTarget } from './fpga/target.js';
import type { Target } from './types.js';

export interface TargetOptions {
  /** Instruction set of the CPU target, or several for one library. */
  readonly cpu: CpuName | readonly CpuName[];
}

export const targets = {
  cpu: (o: TargetOptions): Target => cpuPathsTarget(typeof o.cpu === 'string' ? [o.cpu] : o.cpu),
  cuda: (): Target => cudaTarget,
  fpga: (): Target => fpgaTarget,
} as const;

export type TargetName = keyof typeof targets;
export const targetNames = Object.keys(targets) as readonly TargetName[];
