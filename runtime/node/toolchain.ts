/** How the sources that a target emits become a shared library: with which compiler, and which flags. */
import { execFile } from 'node:child_process';
import { archFor, gpuNames, type GpuName } from '../../backends/cuda/gpu.js';
import { emulationFlags } from '../../backends/cuda/project.js';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import type { Manifest } from '../../compiler/manifest.js';
import { nvccCommands } from './nvcc.js';

/** What runs the kernels of a model for a GPU: one that is there, or the CPU in its place, slow but the same kernels. */
export const devices = ['gpu', 'emulator'] as const;
export type Device = (typeof devices)[number];

export interface Compiler {
  readonly command: string;
  /** First line of its `--version` (nvcc: the last but one). */
  readonly version: string;
}

export interface Toolchain {
  readonly compiler: Compiler;
  /** Before a source file. @param own flags that the model names for it */
  flags(own: readonly string[], file: string): readonly string[];
  /** For the library. */
  readonly link: readonly string[];
}

export interface Ran {
  readonly ok: boolean;
  readonly output: string;
}

export const runTool = (command: string, args: readonly string[], cwd?: string): Promise<Ran> => new Promise((done) => {
  execFile(command, args, { ...(cwd ? { cwd } : {}), maxBuffer: 64 << 20 }, (error, stdout, stderr) =>
    done({ ok: !error, output: `${stdout}${stderr}` || (error?.message ?? '') }));
});

async function firstOf(candidates: readonly string[]): Promise<Compiler | undefined> {
  for (const command of candidates) {
    const { ok, output } = await runTool(command, ['--version']);
    if (ok) return { command, version: output.split('\n').find((l) => /release|\d+\.\d+/.test(l))?.trim() ?? command };
  }
  return undefined;
}

/** The first C compiler that answers, or undefined. @param wanted instead of $CC, cc, gcc, clang */
export const findCompiler = (wanted?: string): Promise<Compiler | undefined> => firstOf(wanted ? [wanted] : process.env['CC'] ? [process.env['CC']] : ['cc', 'gcc', 'clang']);
/** The first C++ compiler that answers, or undefined. */
export const findCxx = (wanted?: string): Promise<Compiler | undefined> => firstOf(wanted ? [wanted] : process.env['CXX'] ? [process.env['CXX']] : ['c++', 'g++', 'clang++']);
/** NVIDIA's compiler, or undefined. */
export const findNvcc = (wanted?: string): Promise<Compiler | undefined> => firstOf(wanted ? [wanted] : nvccCommands());

const missing = (code: string, message: string, hint: string): SpcError => new SpcError([{ code, severity: 'error', message, hint }]);

const noGpu = (): SpcError => missing('SPC5508', 'no GPU was found: nvidia-smi does not answer', 'use --device=emulator to run the same kernels on the CPU, slowly; or --target=cpu');

/** The architecture to compile for on this machine: that of its first GPU. @throws SpcError SPC5508 where there is none, or none that spc has kernels for */
export async function ownGpuArch(): Promise<GpuName> {
  const { ok, output } = await runTool('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader', '--id=0']);
  if (!ok) throw noGpu();
  const arch = archFor(output);
  if (!arch) throw missing('SPC5508', `the GPU has compute capability ${output.trim()}, which spc has no kernels for`, `spc compiles for ${gpuNames.join(', ')}; --device=emulator runs their kernels on the CPU`);
  return arch;
}

/** @throws SpcError SPC5501, SPC5505, SPC5508 where there is no compiler or no device for the model */
export async function toolchainFor({ target }: Pick<Manifest, 'target'>, options: { readonly compiler?: string; readonly device?: Device }): Promise<Toolchain> {
  const shared = ['-fPIC', '-fvisibility=default'], system = process.platform === 'win32' ? [] : ['-lm', '-pthread'];
  switch (target) {
    case 'cpu': {
      const compiler = await findCompiler(options.compiler);
      if (!compiler) throw missing('SPC5501', `no C compiler found (tried ${options.compiler ?? process.env['CC'] ?? 'cc, gcc, clang'})`, 'install gcc or clang, or name one with the environment variable CC; `spc doctor` shows what is found');
      return { compiler, flags: (own) => [...own, ...shared], link: ['-shared', ...system] };
    }
    case 'cuda': {
      if (options.device === 'emulator') {
        const compiler = await findCxx(options.compiler);
        if (!compiler) throw missing('SPC5501', `no C++ compiler found (tried ${options.compiler ?? process.env['CXX'] ?? 'c++, g++, clang++'})`, 'install g++ or clang++, or name one with the environment variable CXX');
        return { compiler, flags: (_, file) => [...(file.endsWith('.cu') ? ['-x', 'c++', ...emulationFlags] : ['-x', 'c', '-O2']), ...shared], link: ['-shared', ...system] };
      }
      const compiler = await findNvcc(options.compiler), gpu = await runTool('nvidia-smi', ['-L']);
      if (!gpu.ok) throw noGpu();
      if (!compiler) throw missing('SPC5501', `nvcc was not found (tried ${options.compiler ?? nvccCommands().join(', ')})`, 'install the CUDA toolkit or NVIDIA\'s wheels (`spc doctor` says how), name nvcc with the environment variable SPC_NVCC, or use --device=emulator');
      return { compiler, flags: (own) => [...own, '-Xcompiler', shared.join(',')], link: ['-shared'] };
    }
    default: throw missing('SPC5505', `the model was compiled for target '${target}', which cannot be run here`, 'compile it with --target=cpu or --target=cuda');
  }
}
