/** One case: compiled by spc, built with the program that times it, run. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { emulationFlags, nvccFlags } from '../../backends/cuda/project.js';
import type { GpuName } from '../../backends/cuda/gpu.js';
import { compileModel, writeFiles } from '../../compiler/driver.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import type { Compiler } from '../../runtime/node/toolchain.js';
import { mustRun, runProcess } from '../../test/support/processes.js';
import { isCold, productOf, type Case } from './cases.js';
import { layerOf, NODE } from './layer.js';
import { lineSchema, type Line } from './results.js';

export interface Tools {
  readonly compiler: Compiler;
  /** For the GPU, or to be emulated. */
  readonly device: 'gpu' | 'emulator';
  /** Kernels are chosen and built for it. */
  readonly arch: GpuName;
  /** Of the whole campaign. */
  readonly folder: string;
}

const flagsOf = ({ device, arch }: Tools): readonly string[] => (device === 'gpu' ? nvccFlags(arch) : ['-x', 'c++', ...emulationFlags]);

/** Compiles the program around the layers, once. @returns the object file */
export async function buildProgram(tools: Tools): Promise<string> {
  const object = join(tools.folder, 'program.o'), runtime = (folder: string): string => join(packageRoot(), 'runtime', folder);
  mkdirSync(tools.folder, { recursive: true });
  await mustRun(tools.compiler.command, [...flagsOf(tools), '-I', runtime('cuda'), '-I', runtime('include'), '-c', join(packageRoot(), 'bench', 'cuda', 'program.cu'), '-o', object]);
  return object;
}

export interface Built {
  /** Where the program and its files lie. */
  readonly folder: string;
  readonly kernels: readonly string[];
}

/** @param object of {@link buildProgram} @throws SpcError, or Error with the compiler's messages */
export async function buildCase(c: Case, object: string, tools: Tools): Promise<Built> {
  const folder = join(tools.folder, 'layer'), layer = layerOf(c), { command } = tools.compiler;
  rmSync(folder, { recursive: true, force: true });
  const { files, manifest } = compileModel({ bytes: layer.onnx, name: 'layer' }, { target: 'cuda', name: 'layer', weights: 'file', gpuArch: [tools.arch], ...(c.kernel === undefined ? {} : { layouts: { [NODE]: c.kernel } }) });
  writeFiles(files, folder);
  for (const part of ['dense', 'input', 'columns'] as const) if (layer[part]) writeFileSync(join(folder, `${part}.f16`), layer[part]);
  await mustRun(command, [...flagsOf(tools), '-c', 'layer.cu', '-o', 'layer.o'], { cwd: folder });
  await mustRun(command, ['-o', 'program', object, 'layer.o', '-ldl'], { cwd: folder });
  return { folder, kernels: manifest.layers.map((l) => l.schedule) };
}

/** Longer than any case takes on a working machine. */
const TIMEOUT_MS = 600_000;

/** @returns what the program printed; where it ended badly without a word, how @throws Error where it printed something else */
export async function runCase(c: Case, { folder }: Built, options: { readonly rounds: number; readonly blockMs: number }): Promise<Line[]> {
  const { rows, depth, columns } = productOf(c.shape);
  const child = await runProcess(join(folder, 'program'), [rows, depth, columns, c.pattern, isCold(c) ? 'cold' : 'warm', options.rounds, options.blockMs].map(String), { cwd: folder, timeoutMs: TIMEOUT_MS });
  const lines = child.stdout.split('\n').filter((l) => l !== '').map((l) => lineSchema.parse(JSON.parse(l)));
  const failed = lines.some((l) => 'failed' in l);
  return child.code === 0 || failed ? lines : [...lines, { failed: `the program ended with ${child.signal ?? `code ${child.code}`}: ${child.stderr.trim().split('\n').at(-1) ?? ''}` }];
}
