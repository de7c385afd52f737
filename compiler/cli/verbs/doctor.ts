/** `spc doctor`: what spc finds on this machine. Only looks; a missing optional tool is no failure. */
import { execFile } from 'node:child_process';
import { nvccPackages, privateNvccFolder } from '../../../runtime/node/nvcc.js';
import { findCompiler, findNvcc } from '../../../runtime/node/toolchain.js';
import { nativeIsa } from '../../../backends/cpu/target.js';
import { findOnnxRuntime } from '../onnxruntime.js';
import type { RunVerb } from '../verb.js';

interface Check {
  readonly name: string;
  /** What works only with it. */
  readonly purpose: string;
  readonly found: string | undefined;
  readonly hint: string;
}

const version = (command: string, ...args: readonly string[]): Promise<string | undefined> => new Promise((done) => {
  execFile(command, args, { timeout: 10_000 }, (error, stdout, stderr) =>
    done(error ? undefined : (`${stdout}\n${stderr}`.split('\n').find((l) => /\d+\.\d+/.test(l)) ?? 'found').trim()));
});

export const run: RunVerb = async (_args, _flags, terminal) => {
  const found = await Promise.all([
    findCompiler(), version('gcc', '--version'), version('clang', '--version'), version('cmake', '--version'), version('g++', '--version'),
    findNvcc(), version('nvidia-smi', '--query-gpu=name,driver_version,compute_cap', '--format=csv,noheader'),
    version('vitis_hls', '-version'), version('taskset', '--version'), version('valgrind', '--version'),
  ]);
  const [cc, gcc, clang, cmake, gxx, nvcc, gpu, hls, taskset, valgrind] = found;
  const ort = findOnnxRuntime(), home = privateNvccFolder();
  const checks: readonly Check[] = [
    { name: 'node', purpose: 'spc itself', found: process.version, hint: '' },
    { name: 'C compiler', purpose: 'run, verify, bench; building what `compile` writes', found: cc && typeof cc === 'object' ? `${cc.command}: ${cc.version}` : undefined, hint: 'install gcc or clang, or set CC' },
    { name: 'gcc', purpose: 'one of the C compilers tested', found: gcc as string | undefined, hint: 'optional' },
    { name: 'clang', purpose: 'one of the C compilers tested', found: clang as string | undefined, hint: 'optional' },
    { name: 'g++', purpose: 'C simulation of the fpga target, emulation of the cuda target', found: gxx as string | undefined, hint: 'optional: install g++' },
    { name: 'cmake', purpose: 'building with the CMakeLists.txt that `compile` writes', found: cmake as string | undefined, hint: 'optional: install cmake' },
    { name: 'onnxruntime', purpose: 'verify against it, bench --compare onnxruntime', found: ort?.version, hint: 'optional: npm install -D onnxruntime-node' },
    { name: 'taskset', purpose: 'bench pins itself to one CPU', found: taskset as string | undefined, hint: 'optional (Linux): install util-linux' },
    { name: 'valgrind', purpose: 'memory checks of emitted code', found: valgrind as string | undefined, hint: 'optional: install valgrind' },
    { name: 'nvcc', purpose: 'building what the cuda target emits', found: nvcc && typeof nvcc === 'object' ? `${nvcc.command}: ${nvcc.version}` : undefined,
      hint: `optional: install the CUDA toolkit, or NVIDIA's wheels where spc looks for them: python3 -m venv ${home} && ${home}/bin/pip install ${nvccPackages.join(' ')}; or name another one, as SPC_NVCC=VENV/lib/python3.X/site-packages/nvidia/cu13/bin/nvcc` },
    { name: 'GPU', purpose: 'running what the cuda target emits', found: gpu as string | undefined, hint: 'optional: an NVIDIA GPU with its driver' },
    { name: 'vitis_hls', purpose: 'synthesis of what the fpga target emits', found: hls as string | undefined, hint: 'optional: install AMD Vitis HLS' },
  ];
  const { green, yellow } = terminal.colors;
  for (const c of checks) {
    terminal.print(`${c.found ? green('found  ') : yellow('missing')}  ${c.name.padEnd(12)} ${c.found ?? `${c.hint} (for: ${c.purpose})`}`);
  }
  terminal.print(`--cpu=native means ${nativeIsa().name} here`);
  return { result: { nativeCpu: nativeIsa().name, tools: checks.map(({ name, purpose, found: version, hint }) => ({ name, purpose, found: version ?? null, ...(version ? {} : { hint }) })) } };
};
