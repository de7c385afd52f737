/**
 * Labelled samples: a file with one sample a row (or a folder that holds it and its labels), and what a model is fed with of it.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { dtypes, isFloat } from '../ir/dtype.js';
import { denseData, denseTensor, newArray, numberAt, storedValue, toNumbers, type DenseTensor, type Tensor } from '../ir/tensor.js';
import { elementCount, formatType } from '../ir/types.js';
import { dataError } from './errors.js';
import { convertExactly, readDataFile, readTensorFile, type InputPort } from './inputs.js';

export interface LabelledData {
  readonly samples: number;
  /** Samples in the files: more where a limit was given. */
  readonly rows: number;
  /** Right class of each sample. */
  readonly labels: readonly number[];
  /** One sample a row: the only input's data (or its raw bytes), or one tensor an input, by name. */
  readonly inputs: Tensor | Uint8Array | ReadonlyMap<string, Tensor>;
  /** Where they come from, for messages. */
  readonly file: string;
}

export interface LabelledSources {
  /** .npy, .npz, IDX, .pb or raw, packed with gzip or not; or a folder with such a file and its labels. */
  readonly data: string;
  /** .npy, IDX, .pb, raw bytes, or text with one number a line; not needed beside MNIST's names and with a member of an .npz. */
  readonly labels?: string;
  /** Only so many of the first samples. */
  readonly limit?: number;
}

const LABEL_NAME = /label|target|^y(?![a-z])/i, DATA_NAME = /image|input|sample|data|^x(?![a-z])/i;
const labelsMissing = (message: string): Error => dataError('SPC6120', message, 'give --labels FILE (.npy, IDX, raw bytes, or text with one class a line), or an .npz with a member `labels`');

/** The data file in a folder, and its labels. */
function filesIn(folder: string): { readonly data: string; readonly labels: string | undefined } {
  const names = readdirSync(folder).filter((n) => statSync(join(folder, n)).isFile()).sort();
  const data = names.filter((n) => DATA_NAME.test(n) && !LABEL_NAME.test(n)), labels = names.filter((n) => LABEL_NAME.test(n));
  if (data.length !== 1 || labels.length > 1) {
    throw dataError('SPC6120', `${folder}: which file holds the samples${labels.length > 1 ? ' and which their labels' : ''}? It has ${names.join(', ') || 'no files'}`, 'name the files: --data FILE --labels FILE');
  }
  return { data: join(folder, data[0]!), labels: labels[0] && join(folder, labels[0]) };
}

/** MNIST's `t10k-images-idx3-ubyte` goes with `t10k-labels-idx1-ubyte`. */
function labelsBeside(data: string): string | undefined {
  const name = basename(data), candidate = join(dirname(data), name.replace('images', 'labels').replace('idx3', 'idx1'));
  return name.includes('images') && existsSync(candidate) ? candidate : undefined;
}

/** Lines of a text file without the empty ones at its end. */
const linesOf = (file: string): string[] => Buffer.from(readDataFile(file)).toString('utf8').trimEnd().split(/\r?\n/);

function readLabels(file: string): number[] {
  if (/\.(txt|csv)$/i.test(file)) return linesOf(file).map((l) => (l.trim() === '' ? NaN : Number(l)));
  const content = readTensorFile(file);
  if (content instanceof Map) throw labelsMissing(`${file}: is an archive; which member holds the labels?`);
  return content instanceof Uint8Array ? [...content] : toNumbers(content as Tensor);
}

/** @throws SpcError SPC6120 where labels are missing or do not fit the samples, SPC6100 to SPC6107 for files that cannot be read */
export function readLabelled(sources: LabelledSources): LabelledData {
  const folder = existsSync(sources.data) && statSync(sources.data).isDirectory() ? filesIn(sources.data) : undefined;
  const file = folder?.data ?? sources.data, content = readTensorFile(file);
  const member = content instanceof Map ? ([...content.keys()] as string[]).find((n) => LABEL_NAME.test(n)) : undefined;
  const labelFile = sources.labels ?? folder?.labels ?? labelsBeside(file);
  if (labelFile === undefined && member === undefined) throw labelsMissing(`${file}: there are no labels for these samples`);
  const labels = labelFile === undefined ? toNumbers((content as ReadonlyMap<string, Tensor>).get(member!)!) : readLabels(labelFile);
  if (labels.length === 0) throw labelsMissing(`${labelFile ?? file}: has no labels`);
  const inputs = content instanceof Map ? new Map([...(content as ReadonlyMap<string, Tensor>)].filter(([n]) => n !== member)) : (content as Tensor | Uint8Array);
  const rows = labels.length, samples = Math.min(rows, sources.limit ?? Infinity);
  const limited = (x: Tensor | Uint8Array, what: string): Tensor | Uint8Array => firstRows(x, rows, samples, what);
  return {
    samples, rows, labels: labels.slice(0, samples), file,
    inputs: inputs instanceof Map ? new Map([...inputs].map(([name, t]) => [name, limited(t, `${file}:${name}`) as Tensor])) : limited(inputs as Tensor | Uint8Array, file),
  };
}

/** The first samples of all. */
function firstRows(x: Tensor | Uint8Array, rows: number, samples: number, what: string): Tensor | Uint8Array {
  if (x instanceof Uint8Array) {
    if (x.length % rows !== 0) throw dataError('SPC6120', `${what}: its ${x.length} bytes are not ${rows} samples of one size, which the labels count`);
    return x.subarray(0, (x.length / rows) * samples);
  }
  if (x.shape[0] !== rows) throw dataError('SPC6120', `${what}: is ${formatType(x)}, but there are ${rows} labels`, 'the first axis counts the samples');
  return samples === rows ? x : denseTensor(x.dtype, [samples, ...x.shape.slice(1)], denseData(x).subarray(0, samples * elementCount(x.shape.slice(1))));
}

/** Values of samples beside their class, by column: text, one line a sample, its values separated by commas, with or without a first line of names. */
export function readGroups(file: string, { rows, samples }: LabelledData): { readonly name: string; readonly values: readonly string[] }[] {
  const lines = linesOf(file).map((l) => l.split(',').map((cell) => cell.trim())), columns = lines[0]!.length;
  const names = lines.length === rows + 1 ? lines.shift()! : columns === 1 ? ['group'] : Array.from({ length: columns }, (_, i) => `column ${i + 1}`);
  if (lines.length !== rows || lines.some((l) => l.length !== columns)) {
    throw dataError('SPC6120', `${file}: has ${lines.length} lines; ${rows} samples need one line each, all with as many values (${columns})`);
  }
  return names.map((name, c) => ({ name, values: lines.slice(0, samples).map((l) => l[c]!) }));
}

/** (x - mean) / deviation, on every element before a model sees it. */
export interface Normalisation {
  readonly mean: number;
  readonly deviation: number;
}

export interface Feed {
  /** Samples that one inference takes. */
  readonly batch: number;
  /** The model's inputs for samples `first` to `first + batch - 1`; behind the last sample it is repeated. */
  inputsAt(first: number): DenseTensor[];
}

const squeezed = (shape: readonly number[]): string => shape.filter((d) => d !== 1).join(',');

/** Samples that one row of the port holds: its first axis is the batch unless a sample alone fills it. */
function batchOf(port: InputPort, source: Tensor, what: string): number {
  const sample = source.shape.slice(1), isFlat = [sample, port.shape.slice(1)].some((s) => s.filter((d) => d !== 1).length <= 1);
  if (squeezed(sample) === squeezed(port.shape.slice(1))) return port.shape[0] ?? 1;
  if (squeezed(sample) === squeezed(port.shape)) return 1;
  if (isFlat && elementCount(sample) === elementCount(port.shape.slice(1))) return port.shape[0]!;
  throw dataError('SPC6105', `${what}: holds samples of ${source.dtype}[${sample.join(',')}], but input '${port.name}' is ${formatType(port)}`);
}

/** Raw bytes are elements of the port's type, row-major and little-endian. */
function fromRaw(bytes: Uint8Array, port: InputPort, labels: number, what: string): Tensor {
  const [rows = 1, ...sample] = port.shape, { array, bytes: width } = dtypes[port.dtype], size = elementCount(sample) * width;
  if (rows === 0 || bytes.length !== labels * size) {
    throw dataError('SPC6105', `${what}: has ${bytes.length} bytes; ${labels} samples for input '${port.name}' (${formatType(port)}) need ${size} each`);
  }
  return denseTensor(port.dtype, [labels, ...sample], new array(Uint8Array.from(bytes).buffer, 0, bytes.length / width));
}

function inType(source: Tensor, port: InputPort, by: Normalisation | undefined, what: string): DenseTensor['data'] {
  if (!by || !isFloat(port.dtype)) return convertExactly(source, port, what);
  const from = denseData(source), to = newArray(port.dtype, from.length);
  for (let i = 0; i < from.length; i++) to[i] = storedValue(port.dtype, (numberAt(source.dtype, from, i) - by.mean) / by.deviation) as never;
  return to;
}

/**
 * What a model is fed with. Data of another element type are converted where every value survives exactly, and by `normalisation`.
 * @throws SpcError SPC6103 to SPC6105 where data and inputs do not fit
 */
export function feedFor({ inputs, labels, samples, file }: LabelledData, ports: readonly InputPort[], normalisation?: Normalisation): Feed {
  const sources = ports.map((port): Tensor => {
    const source = inputs instanceof Map ? ((inputs.get(port.name) ?? (ports.length === 1 && inputs.size === 1 ? [...inputs.values()][0] : undefined)) as Tensor | undefined)
      : ports.length === 1 ? (inputs as Tensor | Uint8Array) : undefined;
    if (!source) throw dataError('SPC6104', `${file}: has no samples for input '${port.name}' ${formatType(port)}`, 'give an .npz with one member an input, named as it is, and one called `labels`');
    return source instanceof Uint8Array ? fromRaw(source, port, labels.length, file) : source;
  });
  const batches = ports.map((port, i) => batchOf(port, sources[i]!, file)), batch = batches[0] ?? 1;
  if (batches.some((b) => b !== batch || b < 1)) throw dataError('SPC6105', `${file}: the inputs take different numbers of samples at once (${batches.join(', ')})`, 'bind the batch dimension with --dim');
  const elements = sources.map((s, i) => inType(s, ports[i]!, normalisation, file));
  return {
    batch,
    inputsAt: (first) => ports.map((port, p) => {
      const all = elements[p]!, size = elementCount(sources[p]!.shape.slice(1)), data = newArray(port.dtype, elementCount(port.shape));
      for (let row = 0; row < batch; row++) {
        const sample = Math.min(first + row, samples - 1);
        data.set(all.subarray(sample * size, (sample + 1) * size) as never, row * size);
      }
      return denseTensor(port.dtype, port.shape, data);
    }),
  };
}
