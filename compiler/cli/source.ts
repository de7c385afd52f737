/** From the command line's words to a model: reading, compiling, and running what was compiled. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load, type LoadedModel, type LoadOptions } from '../../runtime/node/load.js';
import { ownGpuArch } from '../../runtime/node/toolchain.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { compileModel, readModel, writeFiles, type CompileOptions, type CompileResult, type ModelSource } from '../driver.js';
import { readTensor } from '../io/inputs.js';
import { sparsifySource } from '../sparsify-source.js';
import { readProfile } from '../sparsity/profile.js';
import { denseData, denseTensor, tensorOf, type DenseTensor, type Tensor } from '../ir/tensor.js';
import type { FlagValues } from './flags.js';
import type { Terminal } from './terminal.js';

/** A model file; `path` only where it is one that others can open too. */
export interface ModelFile extends ModelSource {
  readonly path?: string;
}

export const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

/** Reads the model, and puts its weights on the pattern of --sparsify: every engine then runs the same bytes. */
export function readModelFile(path: string, { sparsify, includeFirstLast }: FlagValues = {}): ModelFile {
  if (sparsify === undefined && includeFirstLast) throw new SpcError([{ code: 'SPC6002', severity: 'error', message: '--include-first-last says which layers --sparsify changes', hint: 'add --sparsify PATTERN' }]);
  const file = path === '-' ? { bytes: readFileSync(0), name: 'model' } : { path, ...readModel(path) };
  return sparsify === undefined ? file : sparsifySource(file, sparsify, includeFirstLast ? { includeFirstLast } : {});
}

/** `NAME=FILE`, or `NAME=NUMBER` for a scalar: whole numbers as int64, others as float32. */
export function readBindings(bindings: readonly string[]): Record<string, Tensor> {
  return Object.fromEntries(bindings.map((b): [string, Tensor] => {
    const at = b.indexOf('='), name = b.slice(0, at), value = b.slice(at + 1);
    if (at < 1 || value === '') throw new SpcError([{ code: 'SPC6002', severity: 'error', message: `--bind ${b}: write NAME=FILE or NAME=NUMBER` }]);
    if (existsSync(value) || !Number.isFinite(Number(value))) return [name, readTensor(value)];
    const n = Number(value);
    return [name, Number.isSafeInteger(n) ? denseTensor('i64', [], BigInt64Array.of(BigInt(value))) : tensorOf('f32', [], [n])];
  }));
}

const phases = ['import', 'passes', 'plan', 'emit'] as const;

/** Compiles as the flags say; with --tune, after the ways to run each product were timed. */
export async function compileFromFlags(source: ModelSource, flags: FlagValues, terminal: Terminal, more: CompileOptions = {}): Promise<CompileResult> {
  const options: CompileOptions = {
    ...(flags.target ? { target: flags.target } : {}), ...(flags.cpu ? { cpu: flags.cpu } : {}), ...(flags.weights ? { weights: flags.weights } : {}),
    ...(flags.name ? { name: flags.name } : {}), ...(flags.dim ? { dims: flags.dim } : {}), ...(flags.bind ? { bind: readBindings(flags.bind) } : {}),
    ...(flags.asm ? { asm: flags.asm } : {}), ...(flags.layout ? { layouts: flags.layout } : {}), ...(flags.codeBudget === undefined ? {} : { codeBudget: flags.codeBudget * 2 ** 20 }),
    ...(flags.precision ? { precision: flags.precision } : {}), ...(flags.gpuArch ? { gpuArch: flags.gpuArch } : {}),
    ...(flags.weightType ? { weightType: flags.weightType } : {}),
    ...(flags.requireSparse === undefined ? {} : { requireSparse: flags.requireSparse }),
    ...(flags.sparsityProfile === undefined ? {} : { zeros: readProfile(flags.sparsityProfile) }),
    onPhase: (phase) => terminal.progress(Math.max(0, phases.findIndex((p) => p === phase)) / phases.length, phase),
    ...more,
  };
  const measured = flags.tune ? await (await import('./tune.js')).tuneModel(source, options, terminal) : undefined;
  const compiled = compileModel(source, { ...options, ...(measured ? { measured } : {}) });
  terminal.progress(1, 'compiled');
  return compiled;
}

/** The same for this machine: of GPUs, for the one that is here, where the flags name none. @throws SpcError SPC5508 where a GPU is wanted and there is none */
export async function compileToRun(source: ModelSource, flags: FlagValues, terminal: Terminal): Promise<CompileResult> {
  const onOwnGpu = flags.target === 'cuda' && flags.device !== 'emulator' && flags.gpuArch === undefined;
  return compileFromFlags(source, flags, terminal, onOwnGpu ? { gpuArch: [await ownGpuArch()] } : {});
}

/** Builds emitted files in a temporary folder (the library itself stays in the cache) and loads them. */
export async function loadFiles(files: CompileResult['files'], options: LoadOptions, terminal: Terminal): Promise<LoadedModel> {
  const work = mkdtempSync(join(tmpdir(), 'spc-'));
  try {
    writeFiles(files, join(work, 'model'));
    terminal.progress(1, 'C compiler');
    return await load(join(work, 'model'), options);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** How flags want a compiled model loaded. */
export const loadOptionsOf = (flags: FlagValues): Pick<LoadOptions, 'threads' | 'device'> => ({ threads: flags.threads ?? 1, ...(flags.device ? { device: flags.device } : {}) });

/** Runs a loaded model on tensors in the order of its inputs. */
export function runLoaded(model: LoadedModel, inputs: readonly Tensor[]): DenseTensor[] {
  const results = model.run(Object.fromEntries(model.inputs.map((p, i) => [p.name, denseData(inputs[i]!)])));
  return model.outputs.map((p) => denseTensor(p.dtype, p.shape, results[p.name]!));
}
