/** The CPU target: C11 with GCC/Clang vector extensions. */
import { readFileSync } from 'node:fs';
import type { Target } from '../types.js';
import { channelsLastPasses, quadPasses } from '../../passes/pipeline.js';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import { isDispatched } from './features.js';
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
  if (['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'].every((f) => flags.has(f))) return isas[flags.has('avx512_vnni') ? 'x86-64-v4-vnni' : 'x86-64-v4'];
  return ['avx2', 'fma', 'bmi2', 'f16c'].every((f) => flags.has(f)) ? isas['x86-64-v3'] : isas.generic;
}

const isaOf = (cpu: CpuName): Isa => (cpu === 'native' ? nativeIsa() : isas[cpu]);

export function cpuTarget(cpu: CpuName): Target {
  const isa = isaOf(cpu), kernels = cpuKernels(isa);
  return {
    name: 'cpu',
    doc: `C11 with vector extensions, ${isa.name} (${isa.lanes} float lanes)`,
    passes: isa.dot4 ? quadPasses : channelsLastPasses,
    kernels,
    layouts: layoutModel(isa, kernels),
    alignment: 64,
    inPlace: true,
    compileFlags: compileFlags(isa),
    emit: (plan, options) => emitC([{ plan, isa }], options),
  };
}

/** Each instruction set once, the best first. */
const pathsOf = (cpus: readonly CpuName[]): Isa[] => [...new Set(cpus.map(isaOf))].sort((a, b) => b.lanes - a.lanes || Number(b.dot4) - Number(a.dot4));

/**
 * One library for several instruction sets: the widest that the processor has is taken when a model is created.
 * @throws SpcError SPC6002 where they cannot be in one library
 */
export function cpuPathsTarget(cpus: readonly CpuName[]): Target {
  const chosen = pathsOf(cpus);
  if (chosen.length === 1) return cpuTarget(chosen[0]!.name);
  const alone = chosen.find((isa) => !isDispatched(isa));
  if (alone) {
    throw new SpcError([{ code: 'SPC6002', severity: 'error', message: `--cpu=${cpus.join(',')}: code for ${alone.name} cannot be in one library with others`, hint: 'compile the model for each of them' }]);
  }
  return {
    ...cpuTarget(chosen[0]!.name),
    doc: `C11 with vector extensions, ${chosen.map((isa) => isa.name).join(' or ')}, chosen at run time`,
    compileFlags: compileFlags(),
    paths: {
      targets: chosen.map((isa) => ({ arch: isa.name, target: cpuTarget(isa.name) })),
      emit: (plans, options) => emitC(plans.map((plan, i) => ({ plan, isa: chosen[i]! })), options),
    },
  };
}
