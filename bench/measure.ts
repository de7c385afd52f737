/** One row of the benchmark: compile, build, check, and time beside the peers in this process. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openOnnxRuntime, type OrtSession } from '../compiler/cli/onnxruntime.js';
import type { ModelFile } from '../compiler/cli/source.js';
import { honestRatio, modelTimer, onnxRuntimeTimer, timeSideBySide, timingSource, type Timer } from '../compiler/cli/timing.js';
import { compileModel, readModel, writeFiles, type CompileOptions } from '../compiler/driver.js';
import { randomInputs, type Range } from '../compiler/io/random.js';
import { dtypes, isInteger } from '../compiler/ir/dtype.js';
import { denseData, toNumbers, type DenseTensor } from '../compiler/ir/tensor.js';
import { elementCount, type Graph } from '../compiler/ir/types.js';
import type { Manifest } from '../compiler/manifest.js';
import { load, type LoadedModel } from '../runtime/node/load.js';
import type { TypeSpec } from '../test/support/onnx-builder.js';
import { compareTensors } from '../test/support/compare.js';
import { modelFile, modelNamed } from '../test/models/models.js';
import { networkBytes } from './networks/builder.js';
import { networkNamed } from './networks/index.js';
import { measurePeaks } from './peaks.js';
import { AS_TRAINED } from './plan.js';
import { startPeer, type Job } from './peers/engine.js';
import type { Environment } from '../test/support/python-environment.js';
import { isPythonPeer, type PythonPeerName } from './peers/index.js';
import { countsOf, prune, type Counts } from './prune.js';
import { threadsOf, type Measured, type OwnPeer, type PeerName, type RowKey, type RowResult } from './results.js';

export interface MeasureOptions {
  /** Of the whole campaign: built libraries, and dense models that several rows compare with. */
  readonly workFolder: string;
  /** Program of {@link buildPeaks}. */
  readonly peaksProgram: string;
  /** CPUs to pin to, one a thread, the first for rows of one thread; undefined: not pinned. */
  readonly cpus?: readonly string[];
  readonly peers: readonly PeerName[];
  readonly environments: Readonly<Partial<Record<PythonPeerName, Environment>>>;
  readonly rounds: number;
  readonly blockSeconds: number;
}

/** What a row runs. */
interface Workload {
  readonly source: ModelFile;
  readonly options: CompileOptions;
  readonly range: Range;
  readonly pruned: string;
  readonly unfit: readonly string[];
  /** Known for networks of our own; undefined for models from files. Multiply-adds are not counted where data decide which activations are 0, nor in integers, whose peak is another. */
  readonly counts?: Pick<Counts, 'elements' | 'nonZeros'> & { readonly macs: number | null };
}

function workload({ network, batch, pattern, cpu }: RowKey): Workload {
  const options = cpu === undefined ? {} : { cpu };
  if (pattern === AS_TRAINED) {
    const m = modelNamed(network), path = modelFile(m)!;
    return { source: { ...readModel(path), path }, options: m.dims ? { ...options, dims: m.dims } : options, range: m.range, pruned: 'as trained', unfit: [] };
  }
  const entry = networkNamed(network), { network: built, unfit } = prune(entry.build(batch), pattern), counts = countsOf(built);
  return { source: { bytes: networkBytes(built), name: network }, options, range: built.range, pruned: entry.pruned, unfit, counts: entry.relu === undefined && built.weights.every((w) => w.scale === undefined) ? counts : { ...counts, macs: null } };
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

/** Sets of inputs that inferences take in turn, so that no engine learns one by heart; fewer where they would push weights out of the caches. */
const MOST_SETS = 64, BYTES_OF_SETS = 256 << 10;

function inputSets(ports: LoadedModel['inputs'], range: Range): readonly (readonly DenseTensor[])[] {
  const bytes = ports.reduce((sum, p) => sum + elementCount(p.shape) * dtypes[p.dtype].bytes, 0), sets = Math.max(1, Math.min(MOST_SETS, Math.floor(BYTES_OF_SETS / bytes)));
  return Array.from({ length: sets }, (_, i) => randomInputs(ports, 1 + i, range));
}

const MODEL_NAME = 'model';

/** Where a model is built: its sources, the libraries, and the threads that it is loaded with. */
interface Place {
  readonly folder: string;
  readonly cacheDir: string;
  readonly threads: number;
}

/** Compiles and builds, so that {@link loadTimed} finds the library. */
async function build(w: Pick<Workload, 'source' | 'options'>, place: Place): Promise<{ readonly graph: Graph; readonly compile: Measured['compile'] }> {
  const began = performance.now(), compiled = compileModel(w.source, { ...w.options, name: MODEL_NAME });
  writeFiles(compiled.files, place.folder);
  const written = performance.now();
  (await loadTimed(place)).dispose();
  return { graph: compiled.imported, compile: { spc_s: (written - began) / 1000, cc_s: (performance.now() - written) / 1000 } };
}

const loadTimed = ({ folder, cacheDir, threads }: Place): Promise<LoadedModel> => load(folder, { cacheDir, threads, extraSources: new Map([['spc_timing.c', timingSource]]) });

/** Of the network before pruning: kept for the other rows that compare with it. */
const densePlace = (key: RowKey, { workFolder }: MeasureOptions): Place =>
  ({ folder: join(workFolder, `dense-${key.network}-${key.batch}-${key.cpu ?? 'native'}`), cacheDir: workFolder, threads: threadsOf(key) });

/** spc's code for the network before pruning, compiled for the first row that wants it. */
async function denseModel(key: RowKey, options: MeasureOptions): Promise<LoadedModel> {
  const place = densePlace(key, options);
  if (!existsSync(place.folder)) await build(workload({ ...key, pattern: 'dense' }), place);
  return loadTimed(place);
}

/** Pins the calling thread: what it starts from here on stays on the CPUs too, Node's own threads outside of the timing do not. */
function pin(cpus: string): void {
  const { status, stderr } = spawnSync('taskset', ['-c', '-p', cpus, String(process.pid)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cannot pin to CPU ${cpus}: ${stderr}`);
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

/** @param unit difference that is allowed in integers. @throws Error where the results are not ONNX Runtime's, or ONNX Runtime's say nothing */
export function check(actual: readonly DenseTensor[], expected: readonly DenseTensor[], unit = 0): Check {
  const numbers = expected.flatMap((t) => toNumbers(t));
  const largest = numbers.reduce((s, x) => Math.max(s, Math.abs(x)), 0);
  if (!Number.isFinite(largest) || largest === 0) throw new Error(`ONNX Runtime's outputs say nothing: the largest is ${largest}`);
  const differences = actual.map((t, i) => compareTensors(t, expected[i]!, { relative: 0, absolute: TOLERANCE * largest }));
  const problem = differences.find((d, i) => d.problem !== undefined && !(isInteger(expected[i]!.dtype) && d.maxError <= unit))?.problem;
  if (problem !== undefined) throw new Error(`wrong result: ${problem}; the largest output is ${largest.toPrecision(3)}`);
  return { maxError: Math.max(...differences.map((d) => d.maxError)), largest };
}

/** Rounds that fit the time of a row, where single inferences are longer than a block. */
export function affordableRounds(timers: readonly Pick<Timer, 'time'>[], { rounds, blockSeconds }: Pick<MeasureOptions, 'rounds' | 'blockSeconds'>): number {
  const blocks = timers.map((t) => 2 * t.time(1)).filter((seconds) => seconds > 2 * blockSeconds);
  return Math.max(Math.min(rounds, FEWEST_ROUNDS), Math.min(rounds, Math.floor(SECONDS_A_ROW / blocks.reduce((s, x) => s + x, 0))));
}

/** Peers that have nothing to say on some rows: a dense row is its own dense code; of a model that came sparse there is no dense form. */
const sayNothing: Readonly<Partial<Record<PeerName, (key: RowKey) => boolean>>> = {
  dense: ({ pattern }) => pattern === 'dense' || pattern === AS_TRAINED,
  'onnxruntime-relu': ({ network, pattern }) => pattern === AS_TRAINED || networkNamed(network).relu === undefined,
  'one-thread': (key) => threadsOf(key) === 1,
};

/** The row's network with ReLU in place of k-winner-take-all, in ONNX Runtime. @param sets inputs of the row */
function openRelu(key: RowKey, sets: readonly (readonly DenseTensor[])[], threads: number): OrtSession {
  const { network } = prune(networkNamed(networkNamed(key.network).relu!).build(key.batch), key.pattern), { inputs = {}, outputs } = network.model;
  const results = Object.entries(outputs).map(([name, type]) => ({ name, dtype: 'f32' as const, shape: (type as TypeSpec).shape as readonly number[] }));
  return openOnnxRuntime({ bytes: networkBytes(network), name: key.network }, Object.keys(inputs).map((name, i) => ({ name, tensor: sets[0]![i]! })), results, { threads, more: sets.slice(1) });
}

/** The model as a file: its own where it came from one. */
function modelPath(source: ModelFile, folder: string): string {
  if (source.path !== undefined) return source.path;
  const path = join(folder, 'model.onnx');
  writeFileSync(path, source.bytes);
  return path;
}

/** Compiles, checks and times one row. Peers in other processes that cannot run it are told in `absent`; whatever else goes wrong fails the row. */
export async function measure(key: RowKey, options: MeasureOptions): Promise<RowResult> {
  const work = mkdtempSync(join(options.workFolder, 'row-')), threads = threadsOf(key), cpus = options.cpus?.slice(0, threads).join(',');
  const releases: (() => void)[] = [() => rmSync(work, { recursive: true, force: true })];
  const released = <T extends { dispose(): void }>(x: T): T => {
    releases.unshift(() => x.dispose());
    return x;
  };
  try {
    const w = workload(key), place = key.pattern === 'dense' ? densePlace(key, options) : { folder: join(work, 'model'), cacheDir: work, threads };
    const { graph, compile } = await build(w, place);
    // after the build, which may use all CPUs; before any engine is made, whose threads inherit those of this one
    if (cpus !== undefined) pin(cpus);
    const model = released(await loadTimed(place));
    const sets = inputSets(model.inputs, w.range), [inputs, ...more] = sets as readonly [readonly DenseTensor[], ...(readonly DenseTensor[])[]], named = model.inputs.map((p, i) => ({ name: p.name, tensor: inputs[i]! }));
    const reference = openOnnxRuntime({ ...w.source }, named, model.outputs, { optimise: false }), expected = reference.run(), checked = check(run(model, inputs), expected);
    reference.dispose();

    const about: Record<string, string> = {}, absent: Record<string, string> = {};
    const own: Readonly<Record<OwnPeer, () => Timer | Promise<Timer>>> = {
      onnxruntime: () => onnxRuntimeTimer(model, released(openOnnxRuntime({ ...w.source }, named, model.outputs, { threads, more }))),
      'onnxruntime-relu': () => onnxRuntimeTimer(model, released(openRelu(key, sets, threads))),
      dense: async () => modelTimer(released(await denseModel(key, options)), ...sets),
      'one-thread': async () => modelTimer(released(await loadTimed({ ...place, threads: 1 })), ...sets),
    };
    const job = (): Job => ({ model: modelPath(w.source, work), inputs: named, outputs: model.outputs, batch: key.batch, threads, ...(key.cpu === undefined ? {} : { isa: key.cpu }) });
    const python = (name: PythonPeerName): Timer | undefined => {
      const environment = options.environments[name] ?? { absent: 'its environment has not been made' };
      try {
        if ('absent' in environment) throw new Error(environment.absent);
        const engine = released(startPeer(name, environment.python, job(), work, cpus));
        // other engines may round to the neighbour
        check(engine.outputs, expected, 1);
        const seconds = engine.time(1);
        if (seconds > SECONDS_A_ROW / FEWEST_ROUNDS) throw new Error(`an inference takes ${seconds.toPrecision(2)} s, too long for warm blocks`);
        about[name] = engine.about;
        return engine;
      } catch (error) {
        absent[name] = error instanceof Error ? error.message : String(error);
        return undefined;
      }
    };
    const peers: { readonly name: PeerName; readonly timer: Timer }[] = [];
    for (const name of options.peers.filter((p) => !sayNothing[p]?.(key))) {
      const timer = isPythonPeer(name) ? python(name) : await own[name]();
      if (timer) peers.push({ name, timer });
    }
    const timers = [modelTimer(model, ...sets), ...peers.map((p) => p.timer)];
    const peaks = measurePeaks(options.peaksProgram, options.cpus?.[0]), rounds = affordableRounds(timers, options);
    const [ours, ...theirs] = timeSideBySide(timers, { rounds, blockSeconds: options.blockSeconds });
    return {
      status: 'measured', pruned: w.pruned, weights: w.counts ? { elements: w.counts.elements, nonZeros: w.counts.nonZeros } : zerosOf(graph), macs: w.counts?.macs ?? null,
      unfit: [...w.unfit], ...checked, layers: layersOf(model.manifest), spc_us: ours!.seconds * 1e6,
      peers: Object.fromEntries(peers.map((p, i) => [p.name, { us: theirs[i]!.seconds * 1e6, ratio: honestRatio(ours!, theirs[i]!) }])), absent, about, rounds,
      spread: Math.max(...[ours!, ...theirs].map((t) => t.seconds / t.fastest - 1)), peaks, compile,
    };
  } finally {
    for (const release of releases) release();
  }
}
