/**
 * The model's inputs from files: .npy, .npz, ONNX TensorProto .pb, IDX, and raw binary (row-major, little-endian, no header). A file
 * whose element type differs from the input's is converted only where every value survives exactly.
 */
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { dtypes } from '../ir/dtype.js';
import { denseData, denseTensor, newArray, numberAt, storedValue, type DenseTensor, type Tensor } from '../ir/tensor.js';
import { elementCount, formatType, type TensorType } from '../ir/types.js';
import { decodeMessage } from '../onnx/proto.js';
import { tensorFromProto } from '../onnx/tensor.js';
import { dataError } from './errors.js';
import { decodeIdx, isIdxName } from './idx.js';
import { decodeNpy } from './npy.js';
import { decodeNpz } from './npz.js';
import { randomInputs, type Range } from './random.js';

/** A model input as a file must fit it. */
export interface InputPort extends TensorType {
  readonly name: string;
}

export interface InputSources {
  /** `NAME=file`, or a file alone: an .npz, whose members are named as the inputs, or the only input's data. */
  readonly files: readonly string[];
  /** Inputs without a file are drawn from this seed. */
  readonly seed?: number;
  readonly range?: Range;
}

/** @returns one tensor a port, in order, of exactly its type */
export function readInputs(ports: readonly InputPort[], sources: InputSources): DenseTensor[] {
  const given = new Map<string, { readonly tensor: Tensor | Uint8Array; readonly what: string }>();
  const offer = (name: string, tensor: Tensor | Uint8Array, what: string): void => {
    if (!ports.some((p) => p.name === name)) {
      throw dataError('SPC6103', `${what}: the model has no input '${name}'`, `its inputs are: ${listPorts(ports)}`);
    }
    if (given.has(name)) throw dataError('SPC6103', `input '${name}' is given twice: ${given.get(name)!.what} and ${what}`);
    given.set(name, { tensor, what });
  };
  for (const argument of sources.files) {
    const { name, file } = splitArgument(argument, ports);
    const content = readTensorFile(file);
    if (content instanceof Map) {
      if (name !== undefined) {
        const member = content.get(name) ?? (content.size === 1 ? [...content.values()][0] : undefined);
        if (!member) throw dataError('SPC6103', `${file}: has no member '${name}'`, `its members are: ${[...content.keys()].join(', ')}`);
        offer(name, member, file);
      } else for (const [member, tensor] of content) offer(member, tensor, `${file}:${member}`);
    } else if (name !== undefined) offer(name, content as Tensor | Uint8Array, file);
    else if (ports.length === 1) offer(ports[0]!.name, content as Tensor | Uint8Array, file);
    else throw dataError('SPC6103', `${file}: which input is it?`, `write NAME=${file}; the inputs are: ${listPorts(ports)}`);
  }
  const missing = ports.filter((p) => !given.has(p.name));
  if (missing.length > 0 && sources.seed === undefined) {
    throw dataError('SPC6104', `no data for ${missing.length === 1 ? 'input' : 'inputs'} ${listPorts(missing)}`,
      'give --input NAME=file.npy (also .npz, .pb, or raw binary), or --random SEED');
  }
  const random = sources.seed === undefined ? [] : randomInputs(ports, sources.seed, sources.range);
  return ports.map((port, i) => {
    const source = given.get(port.name);
    return source ? fit(source.tensor, port, source.what) : random[i]!;
  });
}

const listPorts = (ports: readonly InputPort[]): string => ports.map((p) => `'${p.name}' ${formatType(p)}`).join(', ');

/** ONNX names may hold '=' and so may paths: the longest input name that the argument begins with wins. */
function splitArgument(argument: string, ports: readonly InputPort[]): { readonly name?: string; readonly file: string } {
  const name = ports.map((p) => p.name).filter((n) => argument.startsWith(`${n}=`)).sort((a, b) => b.length - a.length)[0];
  if (name !== undefined) return { name, file: argument.slice(name.length + 1) };
  const equals = argument.indexOf('=');
  return equals > 0 ? { name: argument.slice(0, equals), file: argument.slice(equals + 1) } : { file: argument };
}

/** The bytes of a data file, unpacked where it is called .gz. @throws SpcError SPC6100 */
export function readDataFile(file: string): Uint8Array {
  try {
    const bytes = readFileSync(file);
    return file.endsWith('.gz') ? gunzipSync(bytes) : bytes;
  } catch (error) {
    if (file === '') throw dataError('SPC6100', 'an input names no file', 'give --input NAME=FILE');
    throw dataError('SPC6100', `${file}: cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`, 'check the path of the file');
  }
}

/** A tensor; the members of an .npz; or the bytes of a raw file. */
export function readTensorFile(file: string): Tensor | ReadonlyMap<string, Tensor> | Uint8Array {
  const bytes = readDataFile(file), name = file.replace(/\.gz$/, '');
  switch (extname(name).toLowerCase()) {
    case '.npy': return decodeNpy(bytes, file);
    case '.npz': return decodeNpz(bytes, file);
    case '.pb': return readTensorProto(bytes, file);
    default: return isIdxName(name) ? decodeIdx(bytes, file) : bytes;
  }
}

/** A file that holds one tensor with its type. */
export function readTensor(file: string): Tensor {
  const content = readTensorFile(file);
  if (content instanceof Uint8Array || content instanceof Map) throw dataError('SPC6105', `${file}: does not say which tensor it is`, 'give an .npy or .pb file');
  return content as Tensor;
}

/** A serialised ONNX TensorProto, as the conformance tests have them. */
function readTensorProto(bytes: Uint8Array, what: string): DenseTensor {
  try {
    return tensorFromProto(decodeMessage('TensorProto', bytes));
  } catch (error) {
    throw dataError('SPC6106', `${what}: is not a readable ONNX tensor (${(error as Error).message})`, error instanceof NodeProblem ? error.hint : undefined);
  }
}

function fit(source: Tensor | Uint8Array, port: InputPort, what: string): DenseTensor {
  if (source instanceof Uint8Array) {
    const { bytes, array } = dtypes[port.dtype], count = elementCount(port.shape);
    if (source.length !== count * bytes) {
      throw dataError('SPC6105', `${what}: raw data for input '${port.name}' (${formatType(port)}) must have ${count * bytes} bytes, it has ${source.length}`);
    }
    return denseTensor(port.dtype, port.shape, new array(Uint8Array.from(source).buffer, 0, count));
  }
  // Leading and inner axes of size 1 are the only freedom: [784] does for [1,784], [28,28] for [1,1,28,28].
  const squeeze = (shape: readonly number[]): string => shape.filter((d) => d !== 1).join(',');
  if (squeeze(source.shape) !== squeeze(port.shape)) {
    throw dataError('SPC6105', `${what}: is ${formatType(source)}, but input '${port.name}' is ${formatType(port)}`);
  }
  return denseTensor(port.dtype, port.shape, convertExactly(source, port, what));
}

/** Elements in the port's type; refused where one would change. */
export function convertExactly(source: Tensor, port: InputPort, what: string): DenseTensor['data'] {
  const from = denseData(source);
  if (source.dtype === port.dtype) return from;
  const to = newArray(port.dtype, from.length), wide = source.dtype === 'i64' || source.dtype === 'u64';
  for (let i = 0; i < from.length; i++) {
    const x = numberAt(source.dtype, from, i);
    if (Number.isInteger(x) || dtypes[port.dtype].family === 'float') to[i] = storedValue(port.dtype, x) as never;
    const back = numberAt(port.dtype, to, i);
    if (!Object.is(back, x) || (wide && BigInt(x) !== from[i])) {
      throw dataError('SPC6105', `${what}: is ${formatType(source)}, and its element ${i} (${from[i]}) is no ${port.dtype}, which input '${port.name}' wants`,
        `convert it on purpose, for example with x.astype('${numpyName(port)}')`);
    }
  }
  return to;
}

const numpyName = ({ dtype }: TensorType): string => {
  const { bytes, family } = dtypes[dtype];
  return family === 'bool' ? 'bool' : `${family}${bytes * 8}`;
};
