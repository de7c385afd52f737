/** A model's shared library, called through its C interface (runtime/include/spc.h) with koffi. Knows addresses, not names. */
import { createRequire } from 'node:module';
import type koffiType from 'koffi';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import type { TypedArray } from '../../compiler/ir/dtype.js';

/** As in spc.h. */
const ABI_VERSION = 1;
const statusMeanings = ['ok', 'a null pointer or misaligned memory', 'out of memory', 'threads could not be started',
  'weights missing, or not those of this model', 'no fitting device, or it failed',
  'the processor lacks the instructions that the model was compiled for'] as const;

export interface NativeOptions {
  readonly threads?: number;
  /** Contents of the weights file, for models compiled with `--weights=file`. */
  readonly weights?: Uint8Array;
  /** Add up each layer's time. */
  readonly profile?: boolean;
}

export interface NativeModel {
  /** One array a port, in the order of the manifest. Outputs are overwritten. */
  run(inputs: readonly TypedArray[], outputs: readonly TypedArray[]): void;
  /** Address of an exported function, and of the context: for timing loops in C. */
  symbol(name: string): bigint;
  /** An exported function, by its C prototype. */
  func(prototype: string): (...args: unknown[]) => unknown;
  readonly context: bigint;
  /** Of the model, or of the path that this machine takes where it has several (`pathName`). */
  readonly name: string;
  readonly stepNames: readonly string[];
  /** Seconds a layer since creation, where asked for; the same array all the time. */
  readonly profile: Float64Array | undefined;
  dispose(): void;
}

/** koffi loads native code: only when a model is really run. */
export const loadKoffi = (): typeof koffiType => createRequire(import.meta.url)('koffi') as typeof koffiType;

const problem = (code: string, message: string, hint?: string): SpcError =>
  new SpcError([{ code, severity: 'error', message, ...(hint ? { hint } : {}) }]);

/** @param name the manifest's symbol prefix */
export function openNativeModel(library: string, name: string, options: NativeOptions = {}): NativeModel {
  const koffi = loadKoffi();
  let lib: ReturnType<typeof koffi.load>;
  try {
    lib = koffi.load(library);
  } catch (error) {
    throw problem('SPC5503', `${library} cannot be loaded: ${(error as Error).message}`);
  }
  const pointer = 'void *';
  const infoType = koffi.struct({
    abi_version: 'int32_t', name: 'char *', input_count: 'int32_t', output_count: 'int32_t', inputs: pointer, outputs: pointer,
    context_bytes: 'size_t', alignment: 'size_t', weights_bytes: 'size_t', step_count: 'int32_t', step_names: pointer,
  });
  const optionsType = koffi.struct({
    threads: 'int32_t', parallel_for: pointer, parallel_user: pointer, weights: pointer, weights_bytes: 'size_t', profile: pointer,
  });
  const info = koffi.decode(lib.func(`${name}_info`, pointer, [])(), infoType) as {
    abi_version: number; name: string; alignment: number; weights_bytes: number; step_count: number; step_names: bigint;
  };
  if (info.abi_version !== ABI_VERSION) {
    throw problem('SPC5503', `${library} has ABI version ${info.abi_version}, this spc knows ${ABI_VERSION}`, 'compile the model again with this version of spc');
  }
  if (Number(info.weights_bytes) > 0 && options.weights?.length !== Number(info.weights_bytes)) {
    throw problem('SPC5504', `the model needs its weights file of ${info.weights_bytes} bytes, got ${options.weights?.length ?? 'none'}`);
  }
  // Fixed address: typed arrays' memory does not move while they live, and `keep` keeps them alive.
  const profile = options.profile ? new Float64Array(info.step_count) : undefined;
  const address = (a: ArrayBufferView | undefined): bigint | null => (a && a.byteLength > 0 ? koffi.address(a) : null);
  const keep: { weights: Uint8Array | undefined; readonly profile: Float64Array | undefined } = { weights: options.weights && aligned(options.weights, Number(info.alignment), koffi), profile };
  const slot = new BigUint64Array(1);
  const native = {
    threads: options.threads ?? 1, parallel_for: null, parallel_user: null,
    weights: address(keep.weights), weights_bytes: options.weights?.length ?? 0, profile: address(keep.profile),
  };
  check('create', lib.func(`${name}_create`, 'int', [koffi.pointer(optionsType), pointer, pointer])(native, null, slot) as number);
  const context = slot[0]!;
  const run = lib.func(`${name}_run`, 'int', [pointer, pointer, pointer]);
  const destroy = lib.func(`${name}_destroy`, 'void', [pointer]);
  /** C wants a pointer even for a tensor without elements. */
  const nothing = new Uint8Array(64);
  const addresses = (arrays: readonly TypedArray[]): BigUint64Array => {
    const list = new BigUint64Array(Math.max(arrays.length, 1));
    arrays.forEach((a, i) => { list[i] = koffi.address(a.byteLength > 0 ? a : nothing); });
    return list;
  };
  let live = true;
  return {
    run(inputs, outputs) {
      if (!live) throw problem('SPC5506', 'the model has been disposed of');
      check('run', run(context, addresses(inputs), addresses(outputs)) as number);
    },
    symbol: (s) => lib.symbol(s) as bigint,
    func: (prototype) => lib.func(prototype) as (...args: unknown[]) => unknown,
    context,
    name: info.name,
    stepNames: info.step_count > 0 ? (koffi.decode(info.step_names, 'char *', info.step_count) as string[]) : [],
    profile: keep.profile,
    dispose() {
      if (live) destroy(context);
      keep.weights = undefined;
      live = false;
    },
  };
}

/** A copy of `bytes` whose address is a multiple of `alignment`. */
function aligned(bytes: Uint8Array, alignment: number, koffi: typeof koffiType): Uint8Array {
  const memory = new Uint8Array(bytes.length + alignment);
  const offset = Number(BigInt.asUintN(64, -koffi.address(memory)) % BigInt(alignment));
  const copy = memory.subarray(offset, offset + bytes.length);
  copy.set(bytes);
  return copy;
}

function check(what: string, status: number): void {
  if (status !== 0) throw problem('SPC5506', `${what} failed: ${statusMeanings[status] ?? `status ${status}`}`);
}
