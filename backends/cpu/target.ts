/** The CPU target: C11 with GCC/Clang vector extensions. */
import { readFileSync } from 'node:fs';
import type { Target } from '../types.js';
import { channelsLastPasses } from '../../passes/pipeline.js';
import { emitC } from './emit.js';
import { isas, type Isa } from './isa.js';
import { cpuKernels } from './kernels/index.js';
import { layoutModel } from './layout-model.js';
import { compileFlags } from './project.js';

export type CpuName = Isa['name'] | 'native';

/** The best instruction set of this machine (`native`), read from the kernel's list of CPU features. */
export function nativeIsa(): Isa {
  if (process.arch === 'arm64') return isas.aarch64;
  let flags: ReadonlySet<string>;
  try {
    flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.trim().split(/\s+/) ?? []);
  } catch {
    return isas.generic;
  }
  if (['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'].every((f) => flags.has(f))) return isas['x86-64-v4'];
  return ['avx2', 'fma', 'bmi2', 'f16c'].every((f) => flags.has(f)) ? isas['x86-64-v3'] : isas.generic;
}

export function cpuTarget(cpu: CpuName): Target {
  const isa = cpu === 'native' ? nativeIsa() : isas[cpu];
  return {
    name: 'cpu',
    doc: `C11 with vector extensions, ${isa.name} (${isa.lanes} float lanes)`,
    passes: channelsLastPasses,
    kernels: cpuKernels(isa),
    layouts: layoutModel(isa, cpuKernels(isa)),
    alignment: 64,
    inPlace: true,
    compileFlags: compileFlags(isa),
    emit: (plan, options) => emitC(plan, isa, options),
  };
}
