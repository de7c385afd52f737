/** `spc bench`: how long a model takes, alone or against ONNX Runtime on the same inputs, and where the time goes. */
import { spawnSync } from 'node:child_process';
import { readInputs } from '../../io/inputs.js';
import type { Tensor } from '../../ir/tensor.js';
import { findOnnxRuntime, onnxRuntimeMissing, openOnnxRuntime } from '../onnxruntime.js';
import { compileFromFlags, loadFiles, readBindings, readModelFile } from '../source.js';
import { honestRatio, lastAllowedCpu, modelTimer, onnxRuntimeTimer, timeSideBySide, timingSource, type Timing } from '../timing.js';
import type { ExitCode } from '../exit-codes.js';
import type { Outcome, RunVerb } from '../verb.js';

const DEFAULT_SEED = 1, PINNED = 'SPC_BENCH_PINNED';

/** Starts the same command again on one CPU. @returns its exit code, or undefined where that is not possible */
function runPinned(): ExitCode | undefined {
  const cpu = lastAllowedCpu();
  if (cpu === undefined || spawnSync('taskset', ['--version']).status !== 0) return undefined;
  const child = spawnSync('taskset', ['-c', cpu, process.execPath, ...process.execArgv, ...process.argv.slice(1)], { stdio: 'inherit', env: { ...process.env, [PINNED]: cpu } });
  return child.status === null ? undefined : (child.status as ExitCode);
}

const microseconds = (t: Timing): number => t.seconds * 1e6;
const show = (us: number): string => (us < 1000 ? `${us.toPrecision(4)} us` : `${(us / 1000).toPrecision(4)} ms`);

export const run: RunVerb = async ([path], flags, terminal) => {
  const threads = flags.threads ?? 1;
  if (flags.compare === 'onnxruntime' && !findOnnxRuntime()) throw onnxRuntimeMissing();
  if (flags.pin !== false && threads === 1 && path !== '-' && process.env[PINNED] === undefined) {
    const exitCode = runPinned();
    // The pinned process has printed everything.
    if (exitCode !== undefined) process.exit(exitCode);
  }
  const file = readModelFile(path!), compiled = await compileFromFlags(file, flags, terminal);
  const model = await loadFiles(compiled.files, { threads, extraSources: new Map([['spc_timing.c', timingSource]]) }, terminal);
  const seed = flags.random ?? DEFAULT_SEED;
  const inputs = readInputs(model.inputs, { files: flags.input ?? [], seed, ...(flags.randomRange ? { range: flags.randomRange } : {}) });
  const rounds = flags.rounds ?? 15, blockSeconds = (flags.blockMs ?? 40) / 1000;
  const bound = Object.entries(readBindings(flags.bind ?? [])).map(([name, tensor]) => ({ name, tensor }));
  const peer = flags.compare === 'onnxruntime'
    ? openOnnxRuntime(file, [...model.inputs.map((p, i) => ({ name: p.name, tensor: inputs[i]! })), ...bound], model.outputs, { threads }) : undefined;
  const timers = [modelTimer(model, inputs), ...(peer ? [onnxRuntimeTimer(model, peer)] : [])];
  const [ours, theirs] = timeSideBySide(timers, { rounds, blockSeconds, onRound: (r) => terminal.progress(r / rounds, 'timing') });
  const pinned = process.env[PINNED] ?? null;
  terminal.print(`spc          ${show(microseconds(ours!))} an inference (median of ${rounds} blocks of ${ours!.runsPerBlock}; fastest ${show(ours!.fastest * 1e6)}, slowest ${show(ours!.slowest * 1e6)})`);
  let comparison: Record<string, unknown> = {};
  if (theirs) {
    const ratio = honestRatio(ours!, theirs);
    terminal.print(`onnxruntime  ${show(microseconds(theirs))} (fastest ${show(theirs.fastest * 1e6)}, slowest ${show(theirs.slowest * 1e6)})`);
    terminal.print(`ratio        ${ratio.toFixed(3)} (onnxruntime / spc: above 1, spc is faster)`);
    comparison = { peer: `onnxruntime ${findOnnxRuntime()?.version}`, peer_us: microseconds(theirs), peerBlocks_us: theirs.blocks.map((b) => b * 1e6), ratio };
  }
  terminal.print(`${threads} ${threads === 1 ? 'thread' : 'threads'}${pinned === null ? ', not pinned' : `, pinned to CPU ${pinned}`}`);
  peer?.dispose();
  model.dispose();
  const layers = flags.perLayer ? await profileLayers(compiled.files, inputs, threads, terminal, blockSeconds * rounds) : undefined;
  return {
    result: {
      model: compiled.manifest.model, cpu: compiled.manifest.options['cpu'] ?? null, threads, pinnedCpu: pinned, rounds, seed: flags.input ? null : seed,
      spc_us: microseconds(ours!), spcBlocks_us: ours!.blocks.map((b) => b * 1e6), runsPerBlock: ours!.runsPerBlock, ...comparison, ...(layers ? { layers } : {}),
    },
    diagnostics: compiled.diagnostics,
  } satisfies Outcome;
};

/** A second context of the model with its profile on: the clock is read between layers, which short ones feel. */
async function profileLayers(files: ReadonlyMap<string, string | Uint8Array>, inputs: readonly Tensor[], threads: number,
  terminal: Parameters<RunVerb>[2], seconds: number): Promise<readonly Record<string, unknown>[]> {
  const model = await loadFiles(files, { threads, profile: true, extraSources: new Map([['spc_timing.c', timingSource]]) }, terminal);
  const timer = modelTimer(model, inputs);
  const runs = Math.max(3, Math.round(seconds / Math.max(timer.time(3) / 3, 1e-7)));
  timer.time(Math.ceil(runs / 10));
  model.profile!.fill(0);
  timer.time(runs);
  const rows = model.manifest.layers.map((l, i) => ({
    index: i, nodes: l.nodes, kind: l.kind, status: l.status, kernel: l.schedule, macs: l.macs, nonZeroMacs: l.nonZeroMacs,
    predicted_us: l.nanoseconds === undefined ? null : l.nanoseconds / 1000, us: (model.profile![i]! / runs) * 1e6,
  }));
  model.dispose();
  const total = rows.reduce((s, r) => s + r.us, 0);
  terminal.print();
  // multiply-adds that are done: a sparse kernel skips those with zeros
  const done = (r: (typeof rows)[number]): number => (r.status === 'sparse-kernel' ? r.nonZeroMacs : r.macs);
  terminal.table(['#', 'layer', 'us', 'predicted', 'share', 'GMAC/s done', 'status', 'kernel'], [...rows].sort((a, b) => b.us - a.us).map((r) => [
    String(r.index), r.nodes.map((n) => `${n.name} (${n.op})`).join(' + ').slice(0, 60) || r.kind, r.us.toPrecision(4), r.predicted_us === null ? '' : r.predicted_us.toPrecision(4), `${((100 * r.us) / total).toFixed(1)}%`,
    r.macs > 0 ? (done(r) / (r.us * 1e3)).toFixed(2) : '', r.status, r.kernel,
  ]), [0, 2, 3, 4, 5]);
  return rows;
}
