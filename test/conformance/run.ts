/** Runs ONNX's backend tests: compiles each case with spc, builds it, runs it and compares with the expected outputs. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CpuName } from '../../backends/cpu/target.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { formatType } from '../../compiler/ir/types.js';
import { modelPath, type ConformanceCase, type DataSet } from '../support/conformance-data.js';
import { compareTensors, onnxTolerance } from '../support/compare.js';
import { buildObjects, linkDriver, precompileHeaders, runDriver, type NativeOptions } from '../support/native.js';
import { loadOnnxRuntime, runOnnxRuntime } from '../support/onnxruntime.js';
import { limiter } from '../support/processes.js';
import { compileCase, type Compiled, type OperatorUse, type Outcome } from './case.js';
import { disputed } from './disputed.js';

export interface CaseResult {
  readonly suite: string;
  readonly name: string;
  readonly operators: readonly OperatorUse[];
  readonly outcome: Outcome;
}

export interface RunOptions extends Partial<NativeOptions> {
  readonly cpu?: CpuName;
  /** Compilers and cases at a time. */
  readonly jobs?: number;
  /** Keeps the folder with the emitted code (case<N> is the N-th case), and says where it is. */
  readonly keep?: boolean;
  readonly onProgress?: (done: number, of: number, what: string) => void;
}

export async function runConformance(cases: readonly ConformanceCase[], options: RunOptions = {}): Promise<CaseResult[]> {
  const native: NativeOptions = { cc: options.cc ?? 'gcc', optimise: options.optimise ?? '-O1', sanitize: options.sanitize ?? false };
  const progress = options.onProgress ?? ((): void => undefined);
  const atATime = limiter(options.jobs ?? 2);
  const dir = mkdtempSync(join(tmpdir(), 'spc-conformance-run-'));
  const outcomes = new Map<ConformanceCase, Outcome>();
  const operators = new Map<ConformanceCase, readonly OperatorUse[]>();
  const built: { readonly c: ConformanceCase; readonly compiled: Compiled; readonly objects: readonly string[] }[] = [];
  try {
    let headers: Promise<void> | undefined;
    // spc compiles in this process while C compilers run beside it
    const builds: Promise<void>[] = [];
    for (const [i, c] of cases.entries()) {
      progress(i, cases.length, `${c.suite}/${c.name}`);
      const { operators: uses, outcome } = compileCase(c, `case${i}`, { cpu: options.cpu ?? 'native' });
      operators.set(c, uses);
      if (outcome.status !== 'compiled') {
        outcomes.set(c, outcome);
        continue;
      }
      headers ??= precompileHeaders(dir, outcome.result.manifest.compileFlags, native);
      builds.push(atATime(async () => {
        await headers;
        const { objects, problem } = await buildObjects(dir, outcome.result, native);
        if (problem) outcomes.set(c, { status: 'fail', phase: 'build', message: problem });
        else built.push({ c, compiled: outcome, objects });
      }));
      await new Promise(setImmediate);
    }
    await Promise.all(builds);
    progress(cases.length, cases.length, 'running');
    if (built.length) await linkDriver(dir, built.map((b) => b.compiled.result.manifest.name), built.flatMap((b) => b.objects), join(packageRoot(), 'runtime', 'include'), native);
    await Promise.all(built.map(({ c, compiled }, index) => atATime(async () => { outcomes.set(c, await checkCase(dir, index, c, compiled)); })));
    return cases.map((c) => ({ suite: c.suite, name: c.name, operators: operators.get(c)!, outcome: outcomes.get(c)! }));
  } finally {
    if (options.keep) console.log(`emitted code and driver: ${dir}`);
    else rmSync(dir, { recursive: true, force: true });
  }
}

/** Runs every data set of a case and compares with the expected outputs, or ONNX Runtime's where those are disputed. */
async function checkCase(dir: string, index: number, c: ConformanceCase, compiled: Compiled): Promise<Outcome> {
  const reason = disputed[`${c.suite}/${c.name}`];
  if (reason === undefined) return checkSets(dir, index, compiled, compiled.sets);
  const ort = loadOnnxRuntime();
  if (!ort) return { status: 'disputed', reason };
  const model = readFileSync(modelPath(c));
  const sets = await Promise.all(compiled.sets.map(async (set): Promise<DataSet> => {
    const given = Object.fromEntries(compiled.result.manifest.inputs.flatMap((p, i) => { const item = set.inputs[compiled.inputFiles[i]!]; return item && 'tensor' in item ? [[p.name, item.tensor]] : []; }));
    const results = await runOnnxRuntime(ort, model, given);
    return { inputs: set.inputs, outputs: compiled.result.manifest.outputs.map((p) => ({ tensor: results[p.name]! })) };
  }));
  const outcome = await checkSets(dir, index, compiled, sets);
  return outcome.status === 'fail' ? outcome : { status: 'disputed', reason };
}

async function checkSets(dir: string, index: number, c: Compiled, sets: readonly DataSet[]): Promise<Outcome> {
  const { name, inputs, outputs } = c.result.manifest;
  for (const [s, set] of sets.entries()) {
    const given = c.inputFiles.map((file, i) => {
      const item = set.inputs[file];
      return item && 'tensor' in item ? item.tensor : `input '${inputs[i]!.name}': ${item?.problem ?? 'no data'}`;
    });
    const missing = given.find((t) => typeof t === 'string');
    if (missing !== undefined) return { status: 'fail', phase: 'run', message: String(missing) };
    const tensors = given.flatMap((t) => (typeof t === 'string' ? [] : [t]));
    const misfit = tensors.findIndex((t, i) => t.dtype !== inputs[i]!.dtype || t.shape.join() !== inputs[i]!.shape.join());
    if (misfit >= 0) {
      // an archive of 2022 has such data
      return { status: 'disputed', reason: `the data of input '${inputs[misfit]!.name}' are ${formatType(tensors[misfit]!)}, the model declares ${inputs[misfit]!.dtype}[${inputs[misfit]!.shape.join(',')}]` };
    }
    const actual = await runDriver(dir, index, `${name}.${s}`, tensors, outputs);
    if (typeof actual === 'string') return { status: 'fail', phase: 'run', message: actual };
    if (actual.length !== set.outputs.length) return { status: 'fail', phase: 'compare', message: `${actual.length} outputs, expected ${set.outputs.length}` };
    for (const [i, item] of set.outputs.entries()) {
      if (!('tensor' in item)) return { status: 'fail', phase: 'compare', message: `expected output ${i}: ${item.problem}` };
      const { problem } = compareTensors(actual[i]!, item.tensor, onnxTolerance(item.tensor.dtype));
      if (problem) return { status: 'fail', phase: 'compare', message: `output '${outputs[i]!.name}' ${problem}` };
    }
  }
  return c.bound.length ? { status: 'pass-bound', bound: c.bound } : { status: 'pass' };
}
