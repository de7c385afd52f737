/**
 * Timing without JavaScript in the loop: a few lines of C, built into the model's library, that call the model, or ONNX Runtime's
 * Run, back to back and read a monotonic clock around them.
 */
import { xoshiro128 } from '../io/random.js';

export const timingSource = `/* Times back-to-back calls: seconds for all of them, negative where one fails. */
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

double spc_time_model(model_run run, void *context, const void *const *inputs, void *const *outputs, long runs) {
  const double start = now();
  for (long i = 0; i < runs; ++i)
    if (run(context, inputs, outputs)) return -1.0;
  return now() - start;
}

double spc_time_onnxruntime(ort_run run, void *session, const void *options, const void *input_names, const void *inputs, size_t input_count,
                            const void *output_names, size_t output_count, void *outputs, long runs) {
  const double start = now();
  for (long i = 0; i < runs; ++i)
    if (run(session, options, input_names, inputs, input_count, output_names, output_count, outputs)) return -1.0;
  return now() - start;
}
`;

export interface Timer {
  /** Seconds that `runs` back-to-back inferences take. */
  time(runs: number): number;
  /** Memory that the timed calls use by address; it lives as long as the timer. */
  readonly memory: readonly ArrayBufferView[];
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
