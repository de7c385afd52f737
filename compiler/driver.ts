/** The whole pipeline on one page: model bytes in, files out. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { targets, type TargetName } from '../backends/index.js';
import type { CpuName } from '../backends/cpu/target.js';
import type { EmitOptions } from '../backends/types.js';
import { runPasses, type PassRun, type PassOptions } from '../passes/manager.js';
import { pipelineFor } from '../passes/pipeline.js';
import { selectLayout } from '../passes/select-layout/index.js';
import { SpcError, type Diagnostic } from './diagnostics/diagnostic.js';
import { packageRoot } from './emit/runtime-files.js';
import { modelIdentifier } from './emit/writer.js';
import type { Tensor } from './ir/tensor.js';
import type { Graph } from './ir/types.js';
import { buildManifest, type Manifest } from './manifest.js';
import { importModel } from './onnx/import.js';
import { buildPlan } from './plan/build.js';
import type { Plan } from './plan/types.js';

export interface ModelSource {
  readonly bytes: Uint8Array;
  /** Folder of the model file, for external data. */
  readonly baseDir?: string;
  /** Shown in messages and the default for `CompileOptions.name`. */
  readonly name?: string;
}

export interface CompileOptions {
  readonly target?: TargetName;
  /** Values of symbolic dimensions, by name or as `input:axis`. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Inputs fixed at compile time. */
  readonly bind?: Readonly<Record<string, Tensor>>;
  /** C identifier that every emitted symbol begins with. */
  readonly name?: string;
  readonly cpu?: CpuName;
  /** `auto`: arrays in C where small, a linked binary where large. `file`: the caller supplies the weights file at create. */
  readonly weights?: EmitOptions['weights'];
  readonly passes?: PassOptions;
  /** Told when a phase begins (progress). */
  readonly onPhase?: (phase: string) => void;
}

export interface CompileResult {
  /** As imported, before any pass. */
  readonly imported: Graph;
  readonly graph: Graph;
  readonly plan: Plan;
  readonly manifest: Manifest;
  /** By path relative to the output folder, manifest.json included. */
  readonly files: ReadonlyMap<string, string | Uint8Array>;
  readonly diagnostics: readonly Diagnostic[];
  readonly passRuns: readonly PassRun[];
}

const spcVersion = (): string => (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }).version;

/**
 * Compiles a model in memory.
 * @throws SpcError with every problem found
 */
export function compileModel(source: ModelSource, options: CompileOptions = {}): CompileResult {
  const phase = options.onPhase ?? ((): void => undefined);
  const name = modelIdentifier(options.name || source.name || 'model');
  const target = targets[options.target ?? 'cpu']({ cpu: options.cpu ?? 'native' });

  phase('import');
  const imported = importModel({ ...source, name }, { ...(options.dims ? { dims: options.dims } : {}), ...(options.bind ? { bind: options.bind } : {}) });

  phase('passes');
  const optimised = runPasses(imported.graph, pipelineFor(target), options.passes ?? {});

  phase('plan');
  const { graph, decisions } = target.layouts ? selectLayout(optimised.graph, target.layouts) : { graph: optimised.graph, decisions: new Map() };
  const plan = buildPlan(graph, target, decisions);

  phase('emit');
  const version = spcVersion();
  const diagnostics = [...imported.diagnostics, ...optimised.diagnostics];
  const shown = { target: target.name, ...(target.name === 'cpu' ? { cpu: target.doc } : {}), weights: options.weights ?? 'auto', dims: options.dims ?? {} };
  const header = [`spc ${version}; target ${target.name}: ${target.doc}`, `model sha256 ${imported.info.sha256}, producer ${imported.info.producer || 'unknown'}`];
  const emitted = target.emit(plan, { name, header, weights: options.weights ?? 'auto' });
  const manifest = buildManifest(plan, {
    spc: version, name, options: shown, model: { name: source.name ?? name, sha256: imported.info.sha256, producer: imported.info.producer },
    sources: [...emitted.keys()].filter((f) => /\.(c|S|cu|cpp)$/.test(f)), compileFlags: target.compileFlags, diagnostics,
  });
  const files = new Map<string, string | Uint8Array>([...emitted, ['manifest.json', `${JSON.stringify(manifest, null, 2)}\n`]]);
  return { imported: imported.graph, graph, plan, manifest, files, diagnostics, passRuns: optimised.runs };
}

/** Reads a model file. @throws SpcError SPC1001 */
export function readModel(path: string): ModelSource {
  try {
    return { bytes: readFileSync(path), baseDir: dirname(path), name: basename(path).replace(/\.onnx$/, '') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SpcError([{
      code: 'SPC1001', severity: 'error', message: `${path} cannot be read: ${code === 'EISDIR' ? 'it is a folder' : code === 'ENOENT' ? 'there is no such file' : code ?? String(error)}`,
      hint: 'give the path of an .onnx file',
    }]);
  }
}

const same = (path: string, content: string | Uint8Array): boolean => existsSync(path) && Buffer.from(content).equals(readFileSync(path));

/**
 * Writes emitted files. A new folder appears at once or not at all; in an existing one, files are replaced one by one (each by
 * a rename) and only where they changed, so that build systems rebuild what they must. An interruption (Ctrl-C) waits until
 * the folder is complete.
 */
export function writeFiles(files: ReadonlyMap<string, string | Uint8Array>, dir: string): void {
  const parent = dirname(join(dir, '.'));
  mkdirSync(parent, { recursive: true });
  uninterrupted(() => {
    const temporary = mkdtempSync(join(parent, '.spc-'));
    chmodSync(temporary, 0o777 & ~process.umask());
    try {
      for (const [path, content] of files) {
        mkdirSync(dirname(join(temporary, path)), { recursive: true });
        writeFileSync(join(temporary, path), content);
      }
      if (!existsSync(dir) || readdirSync(dir).length === 0) {
        rmSync(dir, { recursive: true, force: true });
        renameSync(temporary, dir);
        return;
      }
      for (const [path, content] of files) {
        if (same(join(dir, path), content)) continue;
        mkdirSync(dirname(join(dir, path)), { recursive: true });
        renameSync(join(temporary, path), join(dir, path));
      }
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  });
}

/** With a listener, a signal is handled by the event loop, that is after `work`; without one it ends the process in the middle. */
function uninterrupted(work: () => void): void {
  const wait = (): void => undefined, signals = ['SIGINT', 'SIGTERM'] as const;
  for (const s of signals) process.on(s, wait);
  try {
    work();
  } finally {
    for (const s of signals) process.off(s, wait);
  }
}
