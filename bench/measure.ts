/** One row of the benchmark: compile, build, check, and time beside the peers in this process. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openOnnxRuntime } from '../compiler/cli/onnxruntime.js';
import { honestRatio, modelTimer, onnxRuntimeTimer, timeSideBySide, timingSource, type Timer } from '../compiler/cli/timing.js';
import { compileModel, readModel, writeFiles, type CompileOptions, type ModelSource } from '../compiler/driver.js';
import { randomInputs, type Range } from '../compiler/io/random.js';
import { denseData, toNumbers, type DenseTensor } from '../compiler/ir/tensor.js';
import type { Graph } from '../compiler/ir/types.js';
import type { Manifest } from '../compiler/manifest.js';
import { load, type LoadedModel } from '../runtime/node/load.js';
import { compareTensors } from '../test/support/compare.js';
import { modelFile, modelNamed } from '../test/models/models.js';
import { networkBytes } from './networks/builder.js';
import { networkNamed } from './networks/index.js';
import { measurePeaks } from './peaks.js';
import { AS_TRAINED } from './plan.js';
import { countsOf, prune, type Counts } from './prune.js';
import type { Measured, RowKey, RowResult } from './results.js';

export const peerNames = ['onnxruntime', 'dense'] as const;
export type PeerName = (typeof peerNames)[number];

export interface MeasureOptions {
  /** Of the whole campaign: built libraries, and dense models that several rows compare with. */
  readonly workFolder: string;
  /** Program of {@link buildPeaks}. */
  readonly peaksProgram: string;
  /** To pin to; undefined: not pinned. */
  readonly cpu?: string;
  /** `dense` is spc's own code for the same network before pruning. */
  readonly peers: readonly PeerName[];
  readonly rounds: number;
  readonly blockSeconds: number;
}

/** What a row runs. */
interface Workload {
  readonly source: ModelSource;
  readonly options: CompileOptions;
  readonly range: Range;
  readonly pruned: string;
  readonly unfit: readonly string[];
  /** Known for networks of our own; undefined for models from files. */
  readonly counts?: Counts;
}

function workload({ network, batch, pattern }: RowKey): Workload {
  if (pattern === AS_TRAINED) {
    const m = modelNamed(network);
    return { source: readModel(modelFile(m)!), options: m.dims ? { dims: m.dims } : {}, range: m.range, pruned: 'as trained', unfit: [] };
  }
  const entry = networkNamed(network), { network: built, unfit } = prune(entry.build(batch), pattern);
  return { source: { bytes: networkBytes(built), name: network }, options: {}, range: built.range, pruned: entry.pruned, unfit, counts: countsOf(built) };
}

/** Of the matrices and filters of an imported model. */
function zerosOf(graph: Graph): Pick<Counts, 'elements' | 'nonZeros'> {
  let elements = 0, nonZeros = 0;
  for (const { constant } of graph.values.values()) {
    if (!constant || constant.shape.length < 2) continue;
    const data = denseData(constant);
    elements += data.length;
    for (const x of data) if (Number(x) !== 0) nonZeros++;
  }
  return { elements, nonZeros };
}

/** Largest error, of the largest output, that counts as rounding: sums in another order through some fifty layers. */
const TOLERANCE = 1e-3;

/** Rounds are fewer where they would take longer than this together. */
const SECONDS_A_ROW = 8, FEWEST_ROUNDS = 5;

const MODEL_NAME = 'model';

async function build(w: Pick<Workload, 'source' | 'options'>, folder: string, cacheDir: string): Promise<{ readonly model: LoadedModel; readonly graph: Graph; readonly compile: Measured['compile'] }> {
  const began = performance.now(), compiled = compileModel(w.source, { ...w.options, name: MODEL_NAME });
  writeFiles(compiled.files, folder);
  const written = performance.now(), model = await loadTimed(folder, cacheDir);
  return { model, graph: compiled.imported, compile: { spc_s: (written - began) / 1000, cc_s: (performance.now() - written) / 1000 } };
}

const loadTimed = (folder: string, cacheDir: string): Promise<LoadedModel> => load(folder, { cacheDir, extraSources: new Map([['spc_timing.c', timingSource]]) });

/** spc's code for the network before pruning, compiled for the first row that wants it. */
async function denseModel({ network, batch }: RowKey, { workFolder }: MeasureOptions): Promise<LoadedModel> {
  const folder = join(workFolder, `dense-${network}-${batch}`);
  return existsSync(folder) ? loadTimed(folder, workFolder) : (await build(workload({ network, batch, pattern: 'dense' }), folder, workFolder)).model;
}

/** Pins the calling thread: what it starts from here on stays on the CPU too, the engine's threads outside of the timing do not. */
function pin(cpu: string): void {
  const { status, stderr } = spawnSync('taskset', ['-c', '-p', cpu, String(process.pid)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cannot pin to CPU ${cpu}: ${stderr}`);
}

const layersOf = (m: Manifest): Measured['layers'] => {
  const having = (status: Manifest['layers'][number]['status']): number => m.layers.filter((l) => l.status === status).length;
  return { sparse: having('sparse-kernel'), dense: having('dense-kernel'), reference: having('reference') };
};

const run = (model: LoadedModel, inputs: readonly DenseTensor[]): DenseTensor[] => {
  const results = model.run(Object.fromEntries(model.inputs.map((p, i) => [p.name, inputs[i]!.data])));
  return model.outputs.map((p) => ({ kind: 'dense', dtype: p.dtype, shape: p.shape, data: results[p.name]! }));
};

interface Check {
  readonly maxError: number;
  readonly largest: number;
}

/** @throws Error where the results are not ONNX Runtime's, or ONNX Runtime's say nothing */
export function check(actual: readonly DenseTensor[], expected: readonly DenseTensor[]): Check {
  const numbers = expected.flatMap((t) => toNumbers(t));
  const largest = numbers.reduce((s, x) => Math.max(s, Math.abs(x)), 0);
  if (!Number.isFinite(largest) || largest === 0) throw new Error(`ONNX Runtime's outputs say nothing: the largest is ${largest}`);
  const differences = actual.map((t, i) => compareTensors(t, expected[i]!, { relative: 0, absolute: TOLERANCE * largest }));
  const problem = differences.find((d) => d.problem !== undefined)?.problem;
  if (problem !== undefined) throw new Error(`wrong result: ${problem}; the largest output is ${largest.toPrecision(3)}`);
  return { maxError: Math.max(...differences.map((d) => d.maxError)), largest };
}

/** Rounds that fit the time of a row, where single inferences are longer than a block. */
export function affordableRounds(timers: readonly Pick<Timer, 'time'>[], { rounds, blockSeconds }: Pick<MeasureOptions, 'rounds' | 'blockSeconds'>): number {
  const blocks = timers.map((t) => 2 * t.time(1)).filter((seconds) => seconds > 2 * blockSeconds);
  return Math.max(Math.min(rounds, FEWEST_ROUNDS), Math.min(rounds, Math.floor(SECONDS_A_ROW / blocks.reduce((s, x) => s + x, 0))));
}

export async function measure(key: RowKey, options: MeasureOptions): Promise<RowResult> {
  const work = mkdtempSync(join(options.workFolder, 'row-'));
  const releases: (() => void)[] = [() => rmSync(work, { recursive: true, force: true })];
  try {
    const w = workload(key), folder = key.pattern === 'dense' ? join(options.workFolder, `dense-${key.network}-${key.batch}`) : join(work, 'model');
    const { model, graph, compile } = await build(w, folder, key.pattern === 'dense' ? options.workFolder : work);
    releases.unshift(() => model.dispose());
    const inputs = randomInputs(model.inputs, 1, w.range), named = model.inputs.map((p, i) => ({ name: p.name, tensor: inputs[i]! }));
    const reference = openOnnxRuntime({ ...w.source }, named, model.outputs, { optimise: false });
    const checked = check(run(model, inputs), reference.run());
    reference.dispose();

    const peers: Record<PeerName, () => Promise<Timer>> = {
      onnxruntime: async () => {
        const session = openOnnxRuntime({ ...w.source }, named, model.outputs);
        releases.unshift(() => session.dispose());
        return onnxRuntimeTimer(model, session);
      },
      dense: async () => {
        const dense = await denseModel(key, options);
        releases.unshift(() => dense.dispose());
        return modelTimer(dense, inputs);
      },
    };
    // a dense row is its own dense code; of a model that came sparse there is no dense form
    const wanted = options.peers.filter((p) => p === 'onnxruntime' || (key.pattern !== 'dense' && key.pattern !== AS_TRAINED));
    const timers = [modelTimer(model, inputs)];
    for (const p of wanted) timers.push(await peers[p]());
    if (options.cpu !== undefined) pin(options.cpu);
    const peaks = measurePeaks(options.peaksProgram, options.cpu), rounds = affordableRounds(timers, options);
    const [ours, ...theirs] = timeSideBySide(timers, { rounds, blockSeconds: options.blockSeconds });
    return {
      status: 'measured', pruned: w.pruned, weights: w.counts ? { elements: w.counts.elements, nonZeros: w.counts.nonZeros } : zerosOf(graph), macs: w.counts?.macs ?? null,
      unfit: [...w.unfit], ...checked, layers: layersOf(model.manifest), spc_us: ours!.seconds * 1e6,
      peers: Object.fromEntries(wanted.map((p, i) => [p, { us: theirs[i]!.seconds * 1e6, ratio: honestRatio(ours!, theirs[i]!) }])), rounds, peaks, compile,
    };
  } finally {
    for (const release of releases) release();
  }
}
