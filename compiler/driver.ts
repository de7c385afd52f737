/** The whole pipeline on one page: model bytes in, files out. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { targets, type TargetName } from '../backends/index.js';
import type { CpuName } from '../backends/cpu/target.js';
import type { GpuName } from '../backends/cuda/gpu.js';
import type { Precision } from '../backends/cuda/target.js';
import type { EmitOptions, Target } from '../backends/types.js';
import { runPasses, type PassRun, type PassOptions } from '../passes/manager.js';
import { pipelineFor } from '../passes/pipeline.js';
import { roundWeights } from '../passes/round-weights.js';
import { selectKernels, selectLayout } from '../passes/select-layout/index.js';
import { SpcError, type Diagnostic } from './diagnostics/diagnostic.js';
import { packageRoot } from './emit/runtime-files.js';
import { modelIdentifier, pathName } from './emit/writer.js';
import type { LayoutDecisions, LayoutSettings } from './ir/layout-choice.js';
import type { Tensor } from './ir/tensor.js';
import type { Graph } from './ir/types.js';
import { buildManifest, type Manifest } from './manifest.js';
import { importModel } from './onnx/import.js';
import { buildPlan } from './plan/build.js';
import type { Plan } from './plan/types.js';
import { unmetSparsity } from './require-sparse.js';
import type { Sparsification } from './sparsify-source.js';
import { withZeros } from './sparsity/profile.js';

export interface ModelSource {
  readonly bytes: Uint8Array;
  /** Folder of the model file, for external data. */
  readonly baseDir?: string;
  /** Shown in messages and the default for `CompileOptions.name`. */
  readonly name?: string;
  /** What was said of it when it was read. */
  readonly diagnostics?: readonly Diagnostic[];
  /** Where its weights were put on a pattern when it was read. */
  readonly sparsified?: Sparsification;
}

export interface CompileOptions extends LayoutSettings {
  readonly target?: TargetName;
  /** Values of symbolic dimensions, by name or as `input:axis`. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Inputs fixed at compile time. */
  readonly bind?: Readonly<Record<string, Tensor>>;
  /** C identifier that every emitted symbol begins with. */
  readonly name?: string;
  /** Instruction set, or several for one library that chooses among them at run time. */
  readonly cpu?: CpuName | readonly CpuName[];
  /** Of the CUDA target: how products are multiplied and activations stored (sums are f32); default fp16. */
  readonly precision?: Precision;
  /** GPU architectures that the project is built for, each with kernels of its own. Default sm_80. */
  readonly gpuArch?: readonly GpuName[];
  /** `auto`: arrays in C where small, a linked binary where large. `file`: the caller supplies the weights file at create. */
  readonly weights?: EmitOptions['weights'];
  /** Straight-line code as bytes of a binary file (default), or as instructions to read. */
  readonly asm?: EmitOptions['asm'];
  /** `bf16`: f32 weights of products are rounded to bf16 and stored as such where reading them takes the time; sums stay f32. */
  readonly weightType?: 'f32' | 'bf16';
  /** Fails (SPC3201) where a product with at least this percentage of zero weights is not run by a sparse kernel. */
  readonly requireSparse?: number;
  readonly passes?: PassOptions;
  /** Share of zeros of activations, by the model's names of values, as it was measured. */
  readonly zeros?: Readonly<Record<string, number>>;
  /** Told when a phase begins (progress). */
  readonly onPhase?: (phase: string) => void;
}

/** A graph with layouts chosen for a target, and how it runs. */
export interface PlannedGraph {
  readonly graph: Graph;
  /** Why nodes of the graph run in rows or in tiles. */
  readonly decisions: LayoutDecisions;
  readonly plan: Plan;
  readonly target: Target;
}

/** What the graph, the decisions and the plan are for: the only instruction set, or the best of several. */
export interface CompileResult extends PlannedGraph {
  /** As imported, before any pass. */
  readonly imported: Graph;
  /** For each of several instruction sets; one where there is nothing to choose at run time. */
  readonly paths: readonly PlannedGraph[];
  readonly manifest: Manifest;
  /** By path relative to the output folder, manifest.json included. */
  readonly files: ReadonlyMap<string, string | Uint8Array>;
  readonly diagnostics: readonly Diagnostic[];
  readonly passRuns: readonly PassRun[];
}

const spcVersion = (): string => (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }).version;

/** Chooses layouts where the target has several. @throws SpcError SPC1019, SPC3202 where settings cannot be met */
export function chooseLayouts(graph: Graph, target: Target, settings: LayoutSettings): { readonly graph: Graph; readonly decisions: LayoutDecisions } {
  if (target.layouts) return selectLayout(graph, target.layouts, settings);
  if (target.rows) return { graph, decisions: selectKernels(graph, { rows: target.rows }, settings) };
  const fixed = Object.keys(settings.layouts ?? {});
  if (fixed.length > 0) {
    throw new SpcError([{ code: 'SPC3202', severity: 'error', message: `${fixed.join(', ')}: target ${target.name} has row-major activations only`, hint: 'leave out --layout, or use --target=cpu' }]);
  }
  return { graph, decisions: new Map() };
}

/** A plan as files, and what the manifest says of them. @param plans one a path of the target, where it has several */
export function emitModel(plans: Plan | readonly Plan[], target: Target, options: Omit<EmitOptions, 'onCode'>, about: Pick<Manifest, 'options' | 'model' | 'diagnostics'>): Pick<CompileResult, 'manifest' | 'files'> {
  const all = 'steps' in plans ? [plans] : plans, spc = spcVersion(), codeBytes = all.map(() => new Map<number, number>());
  const header = [`spc ${spc}; target ${target.name}: ${target.doc}`, `model sha256 ${about.model.sha256}, producer ${about.model.producer || 'unknown'}`, ...options.header];
  const withSizes: EmitOptions = { ...options, header, onCode: (step, bytes, path = 0) => { codeBytes[path]!.set(step, bytes); } };
  const emitted = target.paths ? target.paths.emit(all, withSizes) : target.emit(all[0]!, withSizes), sources = [...emitted.keys()].filter((f) => /\.(c|S|cu|cpp)$/.test(f));
  const manifest = buildManifest(all.map((plan, i) => ({ plan, codeBytes: codeBytes[i]! })), { spc, name: options.name, ...about, sources, compileFlags: target.compileFlags },
    target.paths?.targets.map(({ arch, target: { compileFlags } }) => ({ arch, compileFlags, sources: sources.filter((f) => f.replace(/[.].*/, '_').startsWith(`${pathName(options.name, arch)}_`)) })));
  return { manifest, files: new Map<string, string | Uint8Array>([...emitted, ['manifest.json', `${JSON.stringify(manifest, null, 2)}\n`]]) };
}

/** As manifest.json shows them: only what was asked for, but for what decides everything. */
const shownOptions = (target: Target, { sparsified }: ModelSource, { weights, dims, asm, layouts, codeBudget, measured, requireSparse, zeros, weightType }: CompileOptions): Manifest['options'] => ({
  target: target.name, ...(target.name === 'cpu' ? { cpu: target.doc } : {}), weights: weights ?? 'auto', dims: dims ?? {}, ...(asm ? { asm } : {}), ...(weightType ? { weightType } : {}),
  ...(layouts ? { layouts } : {}), ...(codeBudget === undefined ? {} : { codeBudget }), ...(requireSparse === undefined ? {} : { requireSparse }), ...(measured ? { tuned: true } : {}), ...(zeros ? { profiled: true } : {}),
  ...(sparsified ? { sparsify: sparsified } : {}),
});

/** The first half of compiling: a graph ready for the choice of layouts. @throws SpcError with every problem found */
export function optimiseModel(source: ModelSource, options: CompileOptions = {}): { readonly imported: ReturnType<typeof importModel>; readonly optimised: ReturnType<typeof runPasses>; readonly target: Target; readonly name: string } {
  const name = modelIdentifier(options.name || source.name || 'model');
  const target = targets[options.target ?? 'cpu']({ cpu: options.cpu ?? 'native', ...(options.precision ? { precision: options.precision } : {}), ...(options.gpuArch ? { gpuArch: options.gpuArch } : {}) });
  options.onPhase?.('import');
  const imported = importModel({ ...source, name }, { ...(options.dims ? { dims: options.dims } : {}), ...(options.bind ? { bind: options.bind } : {}) });
  const measured = options.zeros ? withZeros(imported.graph, options.zeros) : imported.graph;
  options.onPhase?.('passes');
  return { imported, optimised: runPasses(measured, [...pipelineFor(target), ...(options.weightType === 'bf16' ? [roundWeights] : [])], options.passes ?? {}), target, name };
}

/** Which products hold rounded weights in the type that they had. */
const withRoundedWeights = (plan: Plan): Plan => ({
  ...plan, steps: plan.steps.map((s) => (!s.weights || s.choice.reason.includes('bf16') ? s : { ...s, choice: { ...s.choice, reason: `${s.choice.reason}; weights are rounded to bf16 and kept as f32` } })),
});

/**
 * Compiles a model in memory.
 * @throws SpcError with every problem found
 */
export function compileModel(source: ModelSource, options: CompileOptions = {}): CompileResult {
  const { imported, optimised, target, name } = optimiseModel(source, options);

  options.onPhase?.('plan');
  const paths = (target.paths?.targets.map((p) => p.target) ?? [target]).map((own): PlannedGraph => {
    const chosen = chooseLayouts(optimised.graph, own, options);
    const plan = buildPlan(chosen.graph, own, chosen.decisions);
    return { ...chosen, target: own, plan: options.weightType === 'bf16' ? withRoundedWeights(plan) : plan };
  });
  const { requireSparse } = options, unmet = requireSparse === undefined ? [] : paths.flatMap(({ graph, plan }) => unmetSparsity(graph, plan, requireSparse));
  if (unmet.length > 0) throw new SpcError(unmet);

  options.onPhase?.('emit');
  const diagnostics = [...imported.diagnostics, ...optimised.diagnostics], { sha256, producer } = imported.info;
  const emitted = emitModel(paths.map((p) => p.plan), target, { name, header: source.sparsified ? [`its weights were put on ${source.sparsified.pattern}; sha256 before ${source.sparsified.of}`] : [], weights: options.weights ?? 'auto', ...(options.asm ? { asm: options.asm } : {}) },
    { options: shownOptions(target, source, options), model: { name: source.name ?? name, sha256, producer }, diagnostics });
  return { imported: imported.graph, ...paths[0]!, paths, ...emitted, diagnostics, passRuns: optimised.runs };
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
