/** Timing of a model on a GPU: in device buffers, launched by itself or replayed as a CUDA graph (runtime/cuda/spc_timing.cu). */
import type { LoadedModel } from '../../runtime/node/load.js';
import { loadKoffi } from '../../runtime/node/native-model.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { runtimeFile } from '../emit/runtime-files.js';
import { denseData, type Tensor } from '../ir/tensor.js';
import { finished, timingSource, type Timer } from './timing.js';

/** What models are built with that are timed so, by file name. */
export const deviceTimingSources = (): ReadonlyMap<string, string> =>
  new Map([['spc_timing.c', timingSource], ...['spc_timing.h', 'spc_timing.cu'].map((f) => [f, runtimeFile(`cuda/${f}`)] as const)]);

export interface DeviceTiming {
  /** Inputs and outputs stay on the device: every kernel is launched, or all at once as a graph. */
  readonly launches: Timer;
  readonly graph: Timer;
  /** The device's own name. */
  readonly device: string;
  dispose(): void;
}

const failed = (message: string, hint: string): SpcError => new SpcError([{ code: 'SPC5506', severity: 'error', message, hint }]);

/**
 * @param model built with {@link deviceTimingSources}, loaded without a profile
 * @param inputs in the order of its ports
 * @throws SpcError SPC5506 where the model cannot be captured, or its graph does not give the bits that launches give
 */
export function deviceTiming(model: LoadedModel, inputs: readonly Tensor[]): DeviceTiming {
  const koffi = loadKoffi(), { native, manifest: { name } } = model, memory = inputs.map(denseData);
  const addresses = BigUint64Array.from(memory.length ? memory.map((a) => koffi.address(a)) : [0n]);
  const open = native.func('void *spc_timed_open(void *info, void *run, void *context, void *inputs)'), time = native.func('double spc_timed_run(void *timed, int as_graph, long runs)');
  const timed = open((native.func(`void *${name}_info(void)`))(), native.symbol(`${name}_run_device`), native.context, addresses);
  if (timed === null) throw failed('the model cannot be captured into a CUDA graph', 'is there room on the GPU for its inputs and outputs, and was the model compiled for it (--gpu-arch)?');
  const dispose = (): void => { native.func('void spc_timed_close(void *timed)')(timed); };
  const same = native.func('int spc_timed_same(void *timed)')(timed);
  if (same !== 1) {
    dispose();
    throw failed(same === 0 ? 'replayed as a CUDA graph the model gives other results than launched' : 'an inference failed', 'this is a bug in spc or in the driver: please report it');
  }
  const timer = (asGraph: 0 | 1): Timer => ({ time: (runs) => finished(time(timed, asGraph, runs) as number), memory: [] });
  return { launches: timer(0), graph: timer(1), device: native.func('char *spc_timed_device(void)')() as string, dispose };
}
