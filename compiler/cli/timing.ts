/**
 * Timing without JavaScript in the loop: a few lines of C, built into the model's library, that call the model, or ONNX Runtime's
 * Run, back to back and read a monotonic clock around them.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { LoadedModel } from '../../runtime/node/load.js';
import { loadKoffi } from '../../runtime/node/native-model.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { xoshiro128 } from '../io/random.js';
import { denseData, newArray, type Tensor } from '../ir/tensor.js';
import { elementCount } from '../ir/types.js';
import type { OrtSession } from './onnxruntime.js';

export const timingSource = `/* Times back-to-back calls, on sets of inputs in turn: seconds for all of them, negative where one fails. */
#define _POSIX_C_SOURCE 199309L
#include <stddef.h>
#include <time.h>

typedef int (*model_run)(void *, const void *const *, void *const *);
typedef void *(*ort_run)(void *, const void *, const void *, const void *, size_t, const void *, size_t, void *);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double spc_time_model(model_run run, void *context, const void *const *inputs, size_t input_count, long sets, void *const *outputs, long runs) {
  const double start = now();
  for (long i = 0, set = 0; i < runs; ++i, set = set + 1 < sets ? set + 1 : 0)
    if (run(context, inputs + (size_t)set * input_count, outputs)) return -1.0;
  return now() - start;
}

double spc_time_onnxruntime(ort_run run, void *session, const void *options, const void *input_names, const void *const *inputs, size_t input_count,
                            const void *output_names, size_t output_count, void *outputs, long sets, long runs) {
  const double start = now();
  for (long i = 0, set = 0; i < runs; ++i, set = set + 1 < sets ? set + 1 : 0)
    if (run(session, options, input_names, inputs + (size_t)set * input_count, input_count, output_names, output_count, outputs)) return -1.0;
  return now() - start;
}
`;

export interface Timer {
  /** Seconds that `runs` back-to-back inferences take. */
  time(runs: number): number;
  /** What the timed calls use by address; it lives as long as the timer. */
  readonly memory: readonly object[];
}

/** CPUs that this process may run on, as a list of ranges; undefined where that cannot be known. */
function allowedCpus(): string | undefined {
  try {
    return /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]?.trim();
  } catch {
    return undefined;
  }
}

/** The CPUs that this process may run on, one by one; none where that cannot be known. */
export const allowedCpuNumbers = (): string[] => (allowedCpus()?.split(',') ?? []).flatMap((range) => {
  const [first, last = first] = range.split('-').map(Number) as [number, number?];
  return Array.from({ length: last - first + 1 }, (_, i) => String(first + i));
});

/** The last CPU that this process may run on (the first ones serve interrupts), or undefined where that cannot be known. */
export const lastAllowedCpu = (): string | undefined => allowedCpuNumbers().at(-1);

/** Runs `work` with this thread on one CPU, where the program taskset is there to put it. */
export function pinned<T>(work: () => T): T {
  const cpu = lastAllowedCpu(), move = (to: string): boolean => spawnSync('taskset', ['-pc', to, String(process.pid)]).status === 0;
  const before = cpu === undefined ? undefined : allowedCpus();
  const moved = cpu !== undefined && move(cpu);
  try {
    return work();
  } finally {
    if (moved && before !== undefined) move(before);
  }
}

/** @throws SpcError SPC5506 for a negative time */
export function finished(seconds: number): number {
  if (seconds < 0) throw new SpcError([{ code: 'SPC5506', severity: 'error', message: 'an inference failed while it was timed' }]);
  return seconds;
}

/** @param model built with {@link timingSource}. @param sets of inputs, each in the order of its ports; inferences take them in turn */
export function modelTimer(model: LoadedModel, ...sets: readonly (readonly Tensor[])[]): Timer {
  const koffi = loadKoffi(), { native } = model;
  const time = native.func('double spc_time_model(void *run, void *context, void *inputs, size_t input_count, long sets, void *outputs, long runs)');
  const ins = sets.flat().map(denseData), outs = model.outputs.map((p) => newArray(p.dtype, elementCount(p.shape)));
  const addresses = (arrays: readonly ArrayBufferView[]): BigUint64Array => BigUint64Array.from(arrays.length ? arrays.map((a) => koffi.address(a)) : [0n]);
  const inAddresses = addresses(ins), outAddresses = addresses(outs), run = native.symbol(`${model.manifest.name}_run`);
  return { time: (runs) => finished(time(run, native.context, inAddresses, model.inputs.length, sets.length, outAddresses, runs) as number), memory: [...ins, ...outs] };
}

/** @param model any that was built with {@link timingSource}: the loop around ONNX Runtime's Run lies in its library */
export function onnxRuntimeTimer(model: LoadedModel, session: OrtSession): Timer {
  const time = model.native.func('double spc_time_onnxruntime(void *run, void *session, void *options, void *input_names, void *inputs, size_t input_count, void *output_names, size_t output_count, void *outputs, long sets, long runs)');
  return { time: (runs) => finished(time(...session.call, session.sets, runs) as number), memory: session.memory };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  if (sorted.length === 0) throw new RangeError('median of nothing');
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export interface Timing {
  /** Median over the blocks, of the mean of a block. */
  readonly seconds: number;
  readonly fastest: number;
  readonly slowest: number;
  /** Means of the blocks, in the order in which they ran. */
  readonly blocks: readonly number[];
  readonly runsPerBlock: number;
}

/** Part of a block that runs before the clock is read, so that caches and predictors belong to the engine again. */
const WARM_UP = 0.2;

/** How many runs make a block of about `blockSeconds`. */
function calibrate(timer: Timer, blockSeconds: number): number {
  timer.time(1);
  for (let runs = 1; ; runs *= 4) {
    const seconds = timer.time(runs);
    if (seconds >= blockSeconds / 8 || runs > 1e8) return Math.max(1, Math.round((runs * blockSeconds) / Math.max(seconds, 1e-9)));
  }
}

/**
 * Times engines side by side: in every round each runs one warm block of back-to-back inferences. The order within a round is
 * drawn (fixed seed), so that no engine always follows the other.
 */
export function timeSideBySide(timers: readonly Timer[], options: { readonly rounds: number; readonly blockSeconds: number; readonly onRound?: (round: number) => void }): Timing[] {
  const runs = timers.map((t) => calibrate(t, options.blockSeconds)), blocks = timers.map((): number[] => []), random = xoshiro128(1);
  for (let round = 0; round < options.rounds; round++) {
    options.onRound?.(round);
    const order = timers.map((_, i) => ({ i, key: random() })).sort((a, b) => a.key - b.key).map((o) => o.i);
    for (const i of order) {
      timers[i]!.time(Math.ceil(runs[i]! * WARM_UP));
      blocks[i]!.push(timers[i]!.time(runs[i]!) / runs[i]!);
    }
  }
  return blocks.map((b, i) => ({ seconds: median(b), fastest: Math.min(...b), slowest: Math.max(...b), blocks: b, runsPerBlock: runs[i]! }));
}

/** Peer's time over ours. Two honest summaries of the same blocks, ratio of medians and median of each round's ratio: the lower. */
export const honestRatio = (ours: Timing, peer: Timing): number =>
  Math.min(peer.seconds / ours.seconds, median(peer.blocks.map((p, i) => p / ours.blocks[i]!)));
