/** Which rows there are: networks by patterns by batch, single layers, real models; and the goals set for some of them. */
import { modelFile, modelNamed } from '../test/models/models.js';
import { rowName, sameRow, threadsOf, type MeasuredRow, type PeerName, type RowKey } from './results.js';

/** The pattern of models that came sparse. */
export const AS_TRAINED = 'as trained';

/** Share of zeros of a pattern that keeps the best elements wherever they are; undefined for other patterns. */
export function sparsityOf(pattern: string): number | undefined {
  if (pattern === 'dense') return 0;
  const [name, share] = pattern.split(':');
  return name === 'unstructured' ? Number(share) : undefined;
}

const unstructured = (...sparsities: readonly number[]): string[] => sparsities.map((s) => `unstructured:${s}`);
const levels = unstructured(0.5, 0.7, 0.8, 0.9, 0.95);
const structured = ['block:4x1:0.9', 'block:16x1:0.9', '2:4', 'complementary:8', 'rbgp4:0.875'];
const everyPattern = ['dense', ...levels, ...structured];
/** For what takes a minute a row, most of it compiling. */
const mostPatterns = ['dense', ...levels, 'block:4x1:0.9', '2:4'];
/** For what takes a second and more an inference. */
const fewPatterns = ['dense', ...unstructured(0.9)];

const rowsOf = (network: string, batch: number, patterns: readonly string[]): RowKey[] => patterns.map((pattern) => ({ network, batch, pattern }));

const small = ['lenet5', 'gsc', 'dlrm'], large = ['mobilenetv1', 'resnet50'];
/** Batch 1 only: 16 take ONNX Runtime seconds an inference. */
const largest = ['vgg16', 'bert-base'];

const networkRows: readonly RowKey[] = [
  ...small.flatMap((n) => [1, 16].flatMap((batch) => rowsOf(n, batch, everyPattern))),
  ...large.flatMap((n) => [...rowsOf(n, 1, everyPattern), ...rowsOf(n, 16, fewPatterns)]),
  ...largest.flatMap((n) => rowsOf(n, 1, mostPatterns)),
  ...rowsOf('bert-linears', 1, fewPatterns),
];

const shapes = ['512', '2048', '768x3072'];
/** Layers alone, by name and number of columns: a batch of 16 or 64 vectors, an image of 14x14 or 28x28. */
const layers = (shape: string): readonly (readonly [network: string, batch: number])[] =>
  [[`linear-${shape}`, 16], [`linear-${shape}`, 64], [`conv1x1-${shape}@14`, 1], [`conv1x1-${shape}@28`, 1]];
/** The layers of which every sparsity is measured; of the others 90 %. */
const isFullShape = ({ network, batch }: Pick<RowKey, 'network' | 'batch'>): boolean => (network.startsWith('linear') ? batch === 16 : network.endsWith('@14'));
const layerPatterns = [...unstructured(0.5, 0.7, 0.8, 0.9), 'block:4x1:0.95', 'block:4x1:0.98'];
const layerRows: readonly RowKey[] = shapes.flatMap((shape) => layers(shape).flatMap(([network, batch]) => rowsOf(network, batch, isFullShape({ network, batch }) ? layerPatterns : unstructured(0.9))));

const smallBatchPatterns = [...unstructured(0.9, 0.95), 'block:16x1:0.9', 'block:16x1:0.95'];
/** Fewer vectors than a vector register has lanes. */
const smallBatchRows: readonly RowKey[] = shapes.flatMap((shape) => [...rowsOf(`linear-${shape}`, 1, smallBatchPatterns), ...[4, 8].flatMap((batch) => rowsOf(`linear-${shape}`, batch, unstructured(0.9)))]);

/** The speech network at the sparsity that it is known for, in blocks. */
const gscBlocks: RowKey = { network: 'gsc', batch: 1, pattern: 'block:16x1:0.95' };

/** 8-bit integers, against ONNX Runtime's own; quads of inputs are what one instruction multiplies. */
const integerRows: readonly RowKey[] = shapes.flatMap((shape) => [16, 64].flatMap((batch) => rowsOf(`int8-linear-${shape}`, batch, ['unstructured:0.9', 'block:1x4:0.9'])));

/** Sparse weights and sparse activations together. */
const winnerRows: readonly RowKey[] = ['unstructured:0.95', 'block:16x1:0.95'].map((pattern) => ({ network: 'gsc-kwta', batch: 1, pattern }));

/** What other settings are measured on: long and short inferences, convolutions and matrices. */
const samples: readonly RowKey[] = [
  ...['resnet50', 'mobilenetv1', 'bert-linears'].map((network) => ({ network, batch: 1, pattern: 'unstructured:0.9' })),
  { network: 'gsc', batch: 16, pattern: 'unstructured:0.95' }, { network: 'linear-2048', batch: 16, pattern: 'unstructured:0.9' },
];
const threadRows: readonly RowKey[] = samples.map((row) => ({ ...row, threads: 2 }));
const avx2Rows: readonly RowKey[] = [{ network: 'resnet50', batch: 1, pattern: 'unstructured:0.8' }, ...samples].map((row) => ({ ...row, cpu: 'x86-64-v3' }));

/** On one thread and all of the machine's instructions. */
export const isUsual = (row: RowKey): boolean => row.cpu === undefined && threadsOf(row) === 1;

export const isFull = (row: RowKey): boolean => isUsual(row) && isFullShape(row);

/** Layers alone, as against whole networks. */
export const isLayer = ({ network }: RowKey): boolean => /^(int8-)?(linear|conv1x1|bert-linears)/.test(network);

/** Real models that were trained sparse. */
const realRows: readonly RowKey[] = ['jets-70', 'jets-95', 'mnist-pruned', 'tfc-w2a2', 'unsw-w2a2', 'resnet56-simdoc', 'resnet56-snip', 'resnet56-taylor']
  .map((network) => ({ network, batch: 1, pattern: AS_TRAINED }));

export const allRows: readonly RowKey[] = [...networkRows, gscBlocks, ...winnerRows, ...layerRows, ...smallBatchRows, ...integerRows, ...realRows, ...threadRows, ...avx2Rows];

/** Rows in the order of the plan, others behind. */
export function inPlanOrder<R extends RowKey>(rows: readonly R[]): R[] {
  const place = (r: RowKey): number => {
    const at = allRows.findIndex((p) => sameRow(p, r));
    return at < 0 ? allRows.length : at;
  };
  return rows.map((row) => ({ row, at: place(row) })).sort((a, b) => a.at - b.at).map((x) => x.row);
}

export const quickRows: readonly RowKey[] = ['lenet5', 'gsc'].flatMap((n) => rowsOf(n, 1, ['dense', 'unstructured:0.9', 'block:4x1:0.9']));

/** Why a row cannot be measured on this machine; undefined where it can. @param cpus that may be used */
export function absence(row: RowKey, cpus: number): string | undefined {
  if (threadsOf(row) > cpus) return `${threadsOf(row)} threads need as many CPUs, there ${cpus === 1 ? 'is one' : `are ${cpus}`}`;
  return row.pattern === AS_TRAINED && modelFile(modelNamed(row.network)) === undefined ? `${modelNamed(row.network).file} is not here` : undefined;
}

export interface Goal {
  readonly row: RowKey;
  readonly text: string;
  readonly goal: number;
  /** `atMost`: smaller is better (seconds). */
  readonly sense: 'atLeast' | 'atMost';
  readonly measured: (row: MeasuredRow) => number | undefined;
}

/** Of patterns that goals are set for. */
function patternWords(pattern: string): string {
  const [name, ...rest] = pattern.split(':'), percent = `${Math.round(100 * Number(rest.at(-1)))} %`;
  return name === 'dense' ? name : name === 'block' ? `${rest[0]} blocks ${percent}` : percent;
}
const against = (peer: PeerName) => (row: RowKey, goal: number): Goal =>
  ({ row, goal, sense: 'atLeast', measured: (r) => r.result.peers[peer]?.ratio, text: `${rowName(row)}, batch ${row.batch}, ${patternWords(row.pattern)}` });
const beats = against('onnxruntime');

/** Share of 1/density that counts on an instruction set with half the lanes. */
const AVX2_SHARE = 0.8;

const layerGoals = new Map([['unstructured:0.5', 2.0], ['unstructured:0.7', 3.3], ['unstructured:0.8', 4.9], ['unstructured:0.9', 9.3], ['block:4x1:0.95', 20], ['block:4x1:0.98', 46]]);

const smallBatchGoals = new Map([['1 unstructured:0.9', 9], ['1 unstructured:0.95', 16], ['1 block:16x1:0.9', 15], ['1 block:16x1:0.95', 34], ['4 unstructured:0.9', 6.5], ['8 unstructured:0.9', 9]]);

/** Ratios to ONNX Runtime on as many threads (k-winner-take-all: to its dense ReLU network), of two threads to one, and the time of one compilation. */
export const goals: readonly Goal[] = [
  ...layerRows.filter(isFull).map((row) => beats(row, layerGoals.get(row.pattern)!)),
  ...([['resnet50', 0.8, 4.2], ['resnet50', 0.9, 7], ['resnet50', 0.95, 10], ['mobilenetv1', 0.9, 4.5], ['bert-linears', 0.9, 9], ['bert-base', 0.9, 7]] as const)
    .map(([network, sparsity, goal]) => beats({ network, batch: 1, pattern: `unstructured:${sparsity}` }, goal)),
  beats({ network: 'gsc', batch: 16, pattern: 'unstructured:0.95' }, 18),
  ...[...small, ...large, ...largest].map((network) => beats({ network, batch: 1, pattern: 'dense' }, 1)),
  {
    row: { network: 'resnet50', batch: 1, pattern: 'unstructured:0.9' }, goal: 20, sense: 'atMost', text: 'resnet50, 90 %: seconds to compile and build',
    measured: ({ result: { compile } }) => compile.spc_s + compile.cc_s,
  },
  ...smallBatchRows.map((row) => beats(row, smallBatchGoals.get(`${row.batch} ${row.pattern}`)!)),
  beats({ network: 'gsc', batch: 1, pattern: 'unstructured:0.95' }, 14),
  beats(gscBlocks, 24),
  ...winnerRows.map((row) => against('onnxruntime-relu')(row, row.pattern.startsWith('block') ? 32 : 20)),
  ...integerRows.map((row) => beats(row, row.pattern.startsWith('block') ? 11 : 3.3)),
  ...threadRows.map((row) => against('one-thread')(row, 1.9)),
  // mobilenetv1 has other layers than those that are pruned
  ...avx2Rows.filter((r) => r.network !== 'mobilenetv1').map((row) => beats(row, Math.round((10 * AVX2_SHARE) / (1 - sparsityOf(row.pattern)!)) / 10)),
];

/** Each row once. */
export const distinctRows = (rows: readonly RowKey[]): RowKey[] => rows.filter((r, i) => rows.findIndex((o) => sameRow(o, r)) === i);
export const goalRows: readonly RowKey[] = distinctRows(goals.map((g) => g.row));

export const isMet = ({ goal, sense }: Goal, value: number): boolean => (sense === 'atLeast' ? value >= goal : value <= goal);
