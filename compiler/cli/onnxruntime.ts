/**
 * ONNX Runtime as a peer, where onnxruntime-node is installed: its C library (which that package ships) is called directly, so
 * that times are the engine's own, without a JavaScript layer. The C interface only ever grows at its end, so positions hold.
 */
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { loadKoffi } from '../../runtime/node/native-model.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { denseData, denseTensor, newArray, type DenseTensor, type Tensor } from '../ir/tensor.js';
import { elementCount } from '../ir/types.js';
import type { InputPort } from '../io/inputs.js';
import { onnxDataType } from '../onnx/tensor.js';
import type { ModelFile } from './source.js';

/** Positions in OrtApi, from onnxruntime_c_api.h. */
const api = {
  getErrorMessage: 2, createEnv: 3, createSession: 7, createSessionFromArray: 8, run: 9, createSessionOptions: 10,
  setGraphOptimizationLevel: 23, setIntraOpNumThreads: 24, setInterOpNumThreads: 25, createTensorWithData: 49, createCpuMemoryInfo: 69,
  releaseEnv: 92, releaseStatus: 93, releaseMemoryInfo: 94, releaseSession: 95, releaseValue: 96, releaseSessionOptions: 100,
} as const;
/** The oldest interface version that has all of these; every newer library offers it too. */
const API_VERSION = 17;
const DISABLE_OPTIMISATIONS = 0, ENABLE_ALL_OPTIMISATIONS = 99, LOG_ERRORS = 3, ARENA_ALLOCATOR = 1, DEFAULT_MEMORY = 0;

export interface OrtSession {
  /** The results, in arrays of its own that the next run overwrites. */
  run(): DenseTensor[];
  /** Arguments of a C call of OrtApi::Run: the function, then its session, names and values. */
  readonly call: readonly (bigint | number)[];
  /** How many sets of input values lie behind each other where `call` points to them. */
  readonly sets: number;
  /** What the addresses in `call` point to, the library included: it must live as long as the session. */
  readonly memory: readonly object[];
  dispose(): void;
}

/** The library inside onnxruntime-node, as seen from spc and from the user's project. */
export function findOnnxRuntime(): { readonly library: string; readonly version: string } | undefined {
  for (const from of [import.meta.url, pathToFileURL(join(process.cwd(), 'package.json')).href]) {
    try {
      const require = createRequire(from), manifest = require.resolve('onnxruntime-node/package.json');
      const folder = join(dirname(manifest), 'bin', 'napi-v6', process.platform, process.arch);
      const library = readdirSync(folder).find((f) => /^(lib)?onnxruntime(\.[\d.]*)?\.?(so|dll|dylib)(\.\d+)*$/.test(f));
      if (library) return { library: join(folder, library), version: (require(manifest) as { version: string }).version };
    } catch {
      // Not installed there: that is an answer.
    }
  }
  return undefined;
}

const problem = (message: string): SpcError => new SpcError([{ code: 'SPC5511', severity: 'error', message: `ONNX Runtime: ${message}` }]);

export const onnxRuntimeMissing = (): SpcError => new SpcError([{
  code: 'SPC5510', severity: 'error', message: 'onnxruntime-node is not installed', hint: 'install it where you run spc: npm install -D onnxruntime-node',
}]);

export interface OrtOptions {
  readonly threads?: number;
  /** All graph optimisations (default), as for timing; or none: some round quantised values in another place than the model says. */
  readonly optimise?: boolean;
  /** Further sets of inputs, for loops that take them in turn. */
  readonly more?: readonly (readonly Tensor[])[];
}

/**
 * A session, its inputs and outputs in fixed memory.
 * @param outputs names and types that the model computes
 */
export function openOnnxRuntime(model: ModelFile, inputs: readonly { readonly name: string; readonly tensor: Tensor }[], outputs: readonly InputPort[], { threads = 1, optimise = true, more = [] }: OrtOptions = {}): OrtSession {
  const found = findOnnxRuntime();
  if (!found) throw onnxRuntimeMissing();
  const koffi = loadKoffi();
  const library = koffi.load(found.library), base = library.func('const void *OrtGetApiBase()')() as bigint;
  const getApi = koffi.decode(base, 'void *') as bigint;
  const table = koffi.call(getApi, koffi.proto('void *', ['uint32_t']), API_VERSION) as bigint | null;
  if (table === null) throw problem(`version ${found.version} does not offer interface ${API_VERSION}`);
  const entry = (index: number): bigint => koffi.decode(table + BigInt(index * 8), 'void *') as bigint;
  const invoke = (index: number, result: string, types: readonly string[], args: readonly unknown[]): unknown =>
    koffi.call(entry(index), koffi.proto(result, [...types]), ...args);
  const pointer = 'void *';
  const status = (index: number, types: readonly string[], args: readonly unknown[]): void => {
    const failed = invoke(index, pointer, types, args) as bigint | null;
    if (failed === null) return;
    const message = invoke(api.getErrorMessage, 'const char *', [pointer], [failed]) as string;
    invoke(api.releaseStatus, 'void', [pointer], [failed]);
    throw problem(message);
  };
  const releases: (() => void)[] = [];
  /** Calls a function whose last parameter receives a new object. */
  const create = (index: number, types: readonly string[], args: readonly unknown[], release: number): bigint => {
    const slot = new BigUint64Array(1);
    status(index, [...types, pointer], [...args, slot]);
    releases.unshift(() => invoke(release, 'void', [pointer], [slot[0]!]));
    return slot[0]!;
  };
  const dispose = (): void => { for (const release of releases.splice(0)) release(); };
  try {
    const env = create(api.createEnv, ['int', 'const char *'], [LOG_ERRORS, 'spc'], api.releaseEnv);
    const options = create(api.createSessionOptions, [], [], api.releaseSessionOptions);
    status(api.setIntraOpNumThreads, [pointer, 'int'], [options, threads]);
    status(api.setInterOpNumThreads, [pointer, 'int'], [options, 1]);
    status(api.setGraphOptimizationLevel, [pointer, 'int'], [options, optimise ? ENABLE_ALL_OPTIMISATIONS : DISABLE_OPTIMISATIONS]);
    // By path where there is one: external data are found beside it.
    const session = model.path !== undefined && process.platform !== 'win32'
      ? create(api.createSession, [pointer, 'const char *', pointer], [env, model.path, options], api.releaseSession)
      : create(api.createSessionFromArray, [pointer, pointer, 'size_t', pointer], [env, model.bytes, model.bytes.length, options], api.releaseSession);
    const memory = create(api.createCpuMemoryInfo, ['int', 'int'], [ARENA_ALLOCATOR, DEFAULT_MEMORY], api.releaseMemoryInfo);
    // koffi unloads a library that nothing refers to
    const keep: object[] = [library];
    const pin = <A extends ArrayBufferView>(a: A): A => { keep.push(a); return a; };
    const value = (t: DenseTensor): bigint => {
      const data = pin(t.data), shape = BigInt64Array.from(t.shape, BigInt);
      return create(api.createTensorWithData, [pointer, pointer, 'size_t', pointer, 'size_t', 'int'],
        [memory, data.byteLength > 0 ? data : pin(new Uint8Array(8)), data.byteLength, shape, shape.length, onnxDataType[t.dtype]], api.releaseValue);
    };
    const list = (items: readonly bigint[]): bigint => koffi.address(pin(BigUint64Array.from(items.length > 0 ? items : [0n])));
    const names = (all: readonly string[]): bigint => list(all.map((n) => koffi.address(pin(Buffer.from(`${n}\0`)))));
    const results = outputs.map((o) => denseTensor(o.dtype, o.shape, newArray(o.dtype, elementCount(o.shape))));
    const call = [
      entry(api.run), session, 0n,
      names(inputs.map((i) => i.name)), list([inputs.map((i) => i.tensor), ...more].flat().map((t) => value(denseTensor(t.dtype, t.shape, denseData(t))))), inputs.length,
      names(outputs.map((o) => o.name)), outputs.length, list(results.map(value)),
    ];
    return {
      run() {
        status(api.run, [pointer, pointer, pointer, pointer, 'size_t', pointer, 'size_t', pointer], call.slice(1));
        return results;
      },
      call, sets: 1 + more.length, memory: keep, dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}
