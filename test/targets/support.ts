/** Builds and runs the projects that the CUDA and FPGA targets emit, with the compilers of this machine. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { buildPlan } from '../../compiler/plan/build.js';
import type { Plan } from '../../compiler/plan/types.js';
import { elementCount, type Graph } from '../../compiler/ir/types.js';
import { denseTensor, newArray, tensorBytes, type DenseTensor, type Tensor } from '../../compiler/ir/tensor.js';
import { dtypes } from '../../compiler/ir/dtype.js';
import type { EmitOptions, EmittedFiles, Target } from '../../backends/types.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { nvccCommands } from '../../runtime/node/nvcc.js';
import { hasTool } from '../support/processes.js';

export interface Outcome { readonly status: number | null; readonly signal: string | null; readonly stdout: string; readonly stderr: string }

export function exec(command: string, args: readonly string[], options: { cwd?: string; env?: Record<string, string> } = {}): Outcome {
  const r = spawnSync(command, args, { cwd: options.cwd, env: { ...process.env, ...options.env }, encoding: 'utf8', maxBuffer: 1 << 26 });
  return { status: r.status, signal: r.signal, stdout: r.stdout ?? '', stderr: r.stderr ?? '' };
}
export function mustExec(command: string, args: readonly string[], options: { cwd?: string; env?: Record<string, string> } = {}): string {
  const r = exec(command, args, options);
  if (r.status !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${r.status ?? r.signal}\n${r.stdout}\n${r.stderr}`);
  return r.stdout;
}

export const hasGxx = hasTool('g++') && hasTool('gcc');
export const nvcc = nvccCommands().find(hasTool) ?? 'nvcc';
export const hasNvcc = hasTool(nvcc);

/** A new folder under the system's temporary one; `dispose` removes it. */
export function temporaryFolder(): { readonly path: string; dispose(): void } {
  const path = mkdtempSync(join(tmpdir(), 'spc-target-'));
  return { path, dispose: () => rmSync(path, { recursive: true, force: true }) };
}

export function writeProject(files: EmittedFiles, dir: string): void {
  for (const [path, content] of files) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), content);
  }
}

export function emitGraph(graph: Graph, target: Target, name = 'model', weights: EmitOptions['weights'] = 'auto'): { plan: Plan; files: EmittedFiles } {
  const plan = buildPlan(graph, target);
  return { plan, files: target.emit(plan, { name, header: ['test'], weights }) };
}

/** Where the headers of a target's runtime are, as compiler flags. */
export const includeFlags = (...folders: readonly string[]): string[] => folders.map((f) => `-I${join(packageRoot(), 'runtime', f)}`);

/** Compiles one C++ source text; returns the program's path. */
export function buildProgram(dir: string, source: string, flags: readonly string[]): string {
  writeFileSync(join(dir, 'program.cpp'), source);
  mustExec('g++', ['-std=c++17', '-O1', ...flags, 'program.cpp', '-o', 'program'], { cwd: dir });
  return join(dir, 'program');
}

/** Reads what C prints for %a. */
export function hexFloat(text: string): number {
  const m = /^(-?)0x([0-9a-f])(?:\.([0-9a-f]+))?p([+-]\d+)$/.exec(text);
  if (!m) return text.includes('nan') ? NaN : Number(text);
  const fraction = m[3] ?? '';
  return (m[1] ? -1 : 1) * parseInt(m[2]! + fraction, 16) * 2 ** (Number(m[4]) - 4 * fraction.length);
}

export const strictWarnings = ['-Wall', '-Wextra', '-Werror'];

/** Compiles an emitted CUDA project for the emulation; returns the program's path. */
export function buildEmulation(files: EmittedFiles, dir: string, name: string, flags: readonly string[] = []): string {
  writeProject(files, dir);
  const sanitize = flags.filter((f) => f.startsWith('-fsanitize'));
  const sources = [...files.keys()].filter((f) => f.endsWith('.cu'));
  for (const f of sources) mustExec('g++', ['-std=c++17', '-O1', '-fwrapv', '-ffp-contract=off', ...strictWarnings, ...flags, '-x', 'c++', '-c', f, '-o', `${f}.o`], { cwd: dir });
  mustExec('gcc', ['-std=c11', '-O1', ...strictWarnings, ...sanitize, '-c', 'main.c', '-o', 'main.o'], { cwd: dir });
  mustExec('g++', [...sanitize, ...sources.map((f) => `${f}.o`), 'main.o', '-o', `${name}_main`], { cwd: dir });
  return join(dir, `${name}_main`);
}

/** Compiles an emitted FPGA project as C simulation with its own Makefile; returns the program's path. */
export function buildCSimulation(files: EmittedFiles, dir: string, name: string, flags: readonly string[] = []): string {
  writeProject(files, dir);
  mustExec('make', ['-s', `CXXFLAGS=-O1 -fwrapv -ffp-contract=off ${[...strictWarnings, '-Wno-unknown-pragmas', ...flags].join(' ')}`, 'build'], { cwd: dir });
  return join(dir, `${name}_csim`);
}

/** Runs a program of an emitted project on raw tensors, in its folder. */
export function runProgram(program: string, plan: Plan, inputs: readonly Tensor[], env: Record<string, string> = {}): DenseTensor[] {
  const dir = dirname(program);
  inputs.forEach((t, i) => writeFileSync(join(dir, `in${i}.bin`), tensorBytes(t)));
  const weights = join(dir, `${basename(program).replace(/_main$/, '')}_weights.bin`);
  mustExec(program, [...(existsSync(weights) ? ['-w', weights] : []), ...inputs.map((_, i) => `in${i}.bin`)], { cwd: dir, env });
  return plan.outputs.map((o, i) => {
    const bytes = readFileSync(join(dir, `${i}.bin`));
    const data = newArray(o.type.dtype, elementCount(o.type.shape));
    new Uint8Array(data.buffer).set(bytes.subarray(0, data.length * dtypes[o.type.dtype].bytes));
    return denseTensor(o.type.dtype, o.type.shape, data);
  });
}

/** Most conflicts of shared memory's banks in a launch of an emulated program that has run before, as it tells. @param inputs how many it has */
export function replays(program: string, inputs: number): number {
  const cwd = dirname(program), weights = existsSync(join(cwd, 'model_weights.bin')) ? ['-w', 'model_weights.bin'] : [];
  const { stderr } = exec(program, [...weights, ...Array.from({ length: inputs }, (_, i) => `in${i}.bin`)], { cwd, env: { SPC_EMU_STATISTICS: '1' } });
  return Math.max(...[...stderr.matchAll(/(\d+) replays/g)].map((m) => Number(m[1])));
}
