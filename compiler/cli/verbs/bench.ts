/** `spc bench`: how long a model takes, alone or against ONNX Runtime on the same inputs, on a CPU or a GPU, and where the time goes. */
import { spawnSync } from 'node:child_process';
import { SpcError } from '../../diagnostics/diagnostic.js';
import { readInputs } from '../../io/inputs.js';
import type { Tensor } from '../../ir/tensor.js';
import { deviceTiming, deviceTimingSources } from '../device-timing.js';
import type { FlagValues } from '../flags.js';
import { findOnnxRuntime, onnxRuntimeMissing, openOnnxRuntime } from '../onnxruntime.js';
import { compileToRun, loadFiles, readBindings, readModelFile } from '../source.js';
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
const span = (t: Timing): string => `fastest ${show(t.fastest * 1e6)}, slowest ${show(t.slowest * 1e6)}`;
const blocks = (t: Timing): number[] => t.blocks.map((b) => b * 1e6);

/** @throws SpcError SPC6002 for what would say nothing of a GPU */
function checkGpuFlags(flags: FlagValues): void {
  const refuse = (message: string, hint: string): never => { throw new SpcError([{ code: 'SPC6002', severity: 'error', message, hint }]); };
  if (flags.device === 'emulator') refuse('the emulation of a GPU is not timed: its times say nothing of any GPU', 'leave out --device where there is a GPU; `spc inspect --target=cuda --layers` shows predicted times');
  if (flags.compare !== undefined) refuse('spc runs ONNX Runtime on the CPU, which is no comparison for a model on a GPU', 'leave out --compare, or compare with --target=cpu');
}

export const run: RunVerb = async ([path], flags, terminal) => {
  const threads = flags.threads ?? 1, onGpu = flags.target === 'cuda';
  if (onGpu) checkGpuFlags(flags);
  if (flags.compare === 'onnxruntime' && !findOnnxRuntime()) throw onnxRuntimeMissing();
  if (!onGpu && flags.pin !== false && threads === 1 && path !== '-' && process.env[PINNED] === undefined) {
    const exitCode = runPinned();
    // The pinned process has printed everything.
    if (exitCode !== undefined) process.exit(exitCode);
  }
  const file = readModelFile(path!, flags), compiled = await compileToRun(file, flags, terminal);
  const model = await loadFiles(compiled.files, { threads, extraSources: onGpu ? deviceTimingSources() : new Map([['spc_timing.c', timingSource]]) }, terminal);
  const seed = flags.random ?? DEFAULT_SEED;
  const inputs = readInputs(model.inputs, { files: flags.input ?? [], seed, ...(flags.randomRange ? { range: flags.randomRange } : {}) });
  const rounds = flags.rounds ?? 15, blockSeconds = (flags.blockMs ?? 40) / 1000;
  const bound = Object.entries(readBindings(flags.bind ?? [])).map(([name, tensor]) => ({ name, tensor }));
  const peer = flags.compare === 'onnxruntime'
    ? openOnnxRuntime(file, [...model.inputs.map((p, i) => ({ name: p.name, tensor: inputs[i]! })), ...bound], model.outputs, { threads }) : undefined;
  const gpu = onGpu ? deviceTiming(model, inputs) : undefined;
  const timers = gpu ? [gpu.launches, gpu.graph, modelTimer(model, inputs)] : [modelTimer(model, inputs), ...(peer ? [onnxRuntimeTimer(model, peer)] : [])];
  const timings = timeSideBySide(timers, { rounds, blockSeconds, onRound: (r) => terminal.progress(r / rounds, 'timing') }), [ours] = timings;
  terminal.print(`spc          ${show(microseconds(ours!))} an inference (median of ${rounds} blocks of ${ours!.runsPerBlock}; ${span(ours!)})`);
  let more: Record<string, unknown>;
  if (gpu) {
    const [, graph, copies] = timings;
    terminal.print(`CUDA graph   ${show(microseconds(graph!))} (${span(graph!)}), results bit for bit the same`);
    terminal.print(`with copies  ${show(microseconds(copies!))} from host memory and back (${span(copies!)})`);
    terminal.print(`${gpu.device}, clocks as they are`);
    more = { gpu: gpu.device, graph_us: microseconds(graph!), graphBlocks_us: blocks(graph!), withCopies_us: microseconds(copies!), withCopiesBlocks_us: blocks(copies!) };
  } else {
    const [, theirs] = timings, pinnedCpu = process.env[PINNED] ?? null;
    let comparison: Record<string, unknown> = {};
    if (theirs) {
      const ratio = honestRatio(ours!, theirs);
      terminal.print(`onnxruntime  ${show(microseconds(theirs))} (${span(theirs)})`);
      terminal.print(`ratio        ${ratio.toFixed(3)} (onnxruntime / spc: above 1, spc is faster)`);
      comparison = { peer: `onnxruntime ${findOnnxRuntime()?.version}`, peer_us: microseconds(theirs), peerBlocks_us: blocks(theirs), ratio };
    }
    terminal.print(`${threads} ${threads === 1 ? 'thread' : 'threads'}${pinnedCpu === null ? ', not pinned' : `, pinned to CPU ${pinnedCpu}`}`);
    more = { cpu: compiled.manifest.options['cpu'] ?? null, threads, pinnedCpu, ...comparison };
  }
  gpu?.dispose();
  peer?.dispose();
  model.dispose();
  const layers = flags.perLayer ? await profileLayers(compiled.files, inputs, threads, terminal, blockSeconds * rounds) : undefined;
  if (layers && onGpu) terminal.print('The GPU is waited for around every layer: short ones take longer so than in a row.');
  return {
    result: {
      model: compiled.manifest.model, rounds, seed: flags.input ? null : seed, spc_us: microseconds(ours!), spcBlocks_us: blocks(ours!), runsPerBlock: ours!.runsPerBlock,
      ...more, ...(layers ? { layers } : {}),
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
