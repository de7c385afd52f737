/** Every flag of every verb, once: its spelling, its meaning and how its text becomes a value. */
import type { TargetName } from '../../backends/index.js';
import type { CpuName } from '../../backends/cpu/target.js';
import { devices, type Device } from '../../runtime/node/toolchain.js';
import { gpuNames, type GpuName } from '../../backends/cuda/gpu.js';
import { precisions, type Precision } from '../../backends/cuda/target.js';
import type { EmitOptions } from '../../backends/types.js';
import { gateNames, gates, type GateLimits } from '../evaluation/gates.js';
import type { Normalisation } from '../io/labelled.js';
import type { Range } from '../io/random.js';

/** The text of a flag is no value of it; becomes a usage error that names the flag. */
export class BadFlagValue extends Error {}

export interface Flag<T> {
  /** As commander takes it: `-t, --target <name>`. */
  readonly syntax: string;
  readonly doc: string;
  /** `previous` is the value so far, for flags that may be repeated. Absent on flags without a value. */
  readonly parse?: (text: string, previous: T | undefined) => T;
  /** Value of a flag that may stand without one. */
  readonly bare?: string;
  /** Shown in the help; the verb applies it. */
  readonly fallback?: string;
}

const flag = <T>(syntax: string, doc: string, parse: (text: string, previous: T | undefined) => T, fallback?: string): Flag<T> =>
  ({ syntax, doc, parse, ...(fallback === undefined ? {} : { fallback }) });
const boolean = (syntax: string, doc: string): Flag<boolean> => ({ syntax, doc });
const text = (t: string): string => {
  if (t === '') throw new BadFlagValue('it is empty');
  return t;
};
const repeated = (t: string, previous: readonly string[] | undefined): readonly string[] => [...(previous ?? []), t];

const oneOf = <T extends string>(choices: readonly T[]) => (t: string): T => {
  const found = choices.find((c) => c === t);
  if (found === undefined) throw new BadFlagValue(`'${t}' is none of ${choices.join(', ')}`);
  return found;
};

const whole = (low: number, high = Number.MAX_SAFE_INTEGER) => (t: string): number => {
  const n = Number(t);
  if (!/^\d+$/.test(t) || n < low || n > high) throw new BadFlagValue(`'${t}' is not a whole number from ${low}${high === Number.MAX_SAFE_INTEGER ? ' up' : ` to ${high}`}`);
  return n;
};

function nonNegative(t: string): number {
  const n = Number(t);
  if (t.trim() === '' || !(n >= 0) || !Number.isFinite(n)) throw new BadFlagValue(`'${t}' is not a number of 0 or more`);
  return n;
}

function dims(t: string, previous: Readonly<Record<string, number>> | undefined): Readonly<Record<string, number>> {
  const entries = t.split(',').map((part): [string, number] => {
    const at = part.lastIndexOf('=');
    if (at < 1) throw new BadFlagValue(`'${part}' is not NAME=NUMBER`);
    return [part.slice(0, at), whole(0)(part.slice(at + 1))];
  });
  return { ...previous, ...Object.fromEntries(entries) };
}

/** NAME=TEXT; the text may hold an equals sign, a name may not. */
function assignments(t: string, previous: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const at = t.indexOf('=');
  if (at < 1 || at === t.length - 1) throw new BadFlagValue(`'${t}' is not NAME=PATTERN`);
  return { ...previous, [t.slice(0, at)]: t.slice(at + 1) };
}

/** `NODE=rows|tiles,...`, or one `NODE=KERNEL`: names of ONNX nodes may have commas and equals signs in them. */
function layouts(t: string, previous: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const found = [...t.matchAll(/(.+?)=(rows|tiles)(?:,|$)/gy)];
  if (found.reduce((n, m) => n + m[0].length, 0) === t.length && !t.endsWith(',')) return { ...previous, ...Object.fromEntries(found.map((m) => [m[1]!, m[2]!])) };
  const at = t.lastIndexOf('=');
  if (found.length > 0 || at < 1 || at === t.length - 1) throw new BadFlagValue(`'${t}' is not NODE=rows or NODE=tiles, separated by commas, nor one NODE=KERNEL`);
  return { ...previous, [t.slice(0, at)]: t.slice(at + 1) };
}

function percentage(t: string): number {
  const n = nonNegative(t);
  if (n > 100) throw new BadFlagValue(`'${t}' is not a percentage`);
  return n;
}

function range(t: string): Range {
  const [low, high, ...rest] = t.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (low === undefined || high === undefined || rest.length > 0 || !(low <= high) || !Number.isFinite(high - low)) throw new BadFlagValue(`'${t}' is not LOW,HIGH with LOW <= HIGH`);
  return { low, high };
}

function normalisation(t: string): Normalisation {
  const [mean, deviation, ...rest] = t.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (mean === undefined || deviation === undefined || rest.length > 0 || !Number.isFinite(mean) || !(Math.abs(deviation) > 0)) throw new BadFlagValue(`'${t}' is not MEAN,DEVIATION with a deviation other than 0`);
  return { mean, deviation };
}

function gateLimits(t: string, previous: GateLimits | undefined): GateLimits {
  const at = t.indexOf('=');
  return { ...previous, [oneOf(gateNames)(t.slice(0, Math.max(0, at)))]: nonNegative(t.slice(at + 1)) };
}

function percentages(t: string): readonly number[] {
  const levels = t.split(',').map(nonNegative);
  if (levels.some((l, i) => l > 100 || l <= (levels[i - 1] ?? -1))) throw new BadFlagValue(`'${t}' are not ascending percentages`);
  return levels;
}

export const engines = ['compiled', 'reference', 'onnxruntime'] as const;
export type EngineName = (typeof engines)[number];

export const flags = {
  target: flag<TargetName>('-t, --target <name>', 'what to emit code for: cpu, cuda or fpga', oneOf(['cpu', 'cuda', 'fpga']), 'cpu'),
  cpu: flag<readonly CpuName[]>('--cpu <isa,...>', 'instruction set: native, x86-64-v3, x86-64-v4, x86-64-v4-vnni, aarch64 or generic; of several for x86-64, the best that the processor has is taken at run time', (t) => t.split(',').map(oneOf(['native', 'x86-64-v3', 'x86-64-v4', 'x86-64-v4-vnni', 'aarch64', 'generic'])), 'native'),
  precision: flag<Precision>('--precision <type>', 'of the cuda target: how products are multiplied and activations stored: fp16, bf16, tf32 (stored as f32) or fp32 (no tensor cores); sums are f32', oneOf(precisions), 'fp16'),
  gpuArch: flag<readonly GpuName[]>('--gpu-arch <arch,...>', `of the cuda target: what the project is built for (${gpuNames.join(', ')}); of several, each has its own kernels, and the best that the device runs is taken`, (t) => t.split(',').map(oneOf(gpuNames)), 'sm_80; to run on a GPU, its own'),
  device: flag<Device>('--device <device>', 'what runs a model for a GPU: gpu, or emulator (the same kernels on the CPU, slowly)', oneOf(devices), 'gpu'),
  output: flag<string>('-o, --output <path>', 'where to write: a folder for emitted files, a file for a model', text),
  name: flag<string>('--name <identifier>', 'prefix of every emitted C symbol (default: the file\'s name)', (t) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(t)) throw new BadFlagValue(`'${t}' is not a C identifier of at most 64 characters`);
    return t;
  }),
  weights: flag<EmitOptions['weights']>('--weights <where>', 'auto: C arrays where small, a linked binary where large; embed: always C arrays; file: loaded at run time', oneOf(['auto', 'embed', 'file']), 'auto'),
  weightType: flag<'f32' | 'bf16'>('--weight-type <type>', 'f32, or bf16: weights of products rounded to 16 bits, stored so where reading them takes the time; sums stay f32', oneOf(['f32', 'bf16']), 'f32'),
  dim: flag('--dim <NAME=N,...>', 'value of a symbolic dimension, by its name or as INPUT:AXIS (repeatable)', dims),
  bind: flag('--bind <NAME=FILE|NUMBER>', 'fix an input at compile time to a tensor from a file, or to a number (repeatable)', repeated),
  asm: flag<'binary' | 'text'>('--asm <form>', 'straight-line code as binary: bytes beside the assembly file; or as text: instructions to read, slow to assemble (always so for aarch64)', oneOf(['binary', 'text']), 'binary'),
  layout: flag('--layout <NODE=rows|tiles|KERNEL>', 'make the layers of an ONNX node run on row-major activations, in tiles as straight-line products do, or by the kernel of this name (as inspect --layers shows it, its first words are enough), instead of choosing (repeatable)', layouts),
  codeBudget: flag<number>('--code-budget <MiB>', 'how much straight-line code a model may have, weights in it included; layers beyond it run from tables, or dense where that is faster', nonNegative, '256'),
  tune: boolean('--tune', 'measure the ways to run each product on this machine instead of predicting; the times are kept in the cache folder'),
  sparsify: flag<string>('--sparsify <pattern>', 'put the weights on a pattern first, as `spc sparsify --pattern` does (2:4, unstructured:0.9, rbgp4:0.75, ...): for trying out what it would bring; the accuracy changes by an unknown amount', text),
  sparsityProfile: flag<string>('--sparsity-profile <file>', 'shares of zeros of activations, as run --profile-sparsity measured them: layers that gain by it read only the weights of active elements', text),
  requireSparse: { ...flag<number>('--require-sparse [percent]', 'end with exit code 6 where a product with at least this percentage of zero weights (50 where no number is given) is not run by a sparse kernel; all such layers are listed', percentage), bare: '50' },
  emit: flag<readonly 'node'[]>('--emit <what>', 'also emit: node (types and a loader for TypeScript)', (t) => t.split(',').map(oneOf(['node']))),
  dryRun: boolean('--dry-run', 'do everything but write'),
  failOn: flag<'warning'>('--fail-on <severity>', 'end with exit code 6 where there are warnings', oneOf(['warning'])),
  printIrAfter: flag<readonly string[]>('--print-ir-after <passes>', 'print the graph after these passes (names, `all`, or `change`) to stderr', (t) => t.split(',')),
  verifyEach: boolean('--verify-each', 'check the graph after every pass'),
  timePasses: boolean('--time-passes', 'show how long each pass took'),
  stopAfter: flag<string>('--stop-after <pass>', 'run no pass after this one', text),
  input: flag('-i, --input <NAME=FILE>', 'an input from .npy, .npz, .pb (ONNX TensorProto) or raw row-major bytes (repeatable; NAME= may be left out where there is no doubt)', repeated),
  random: flag<number>('--random <seed>', 'draw inputs that have no file from this seed', whole(0, 0xffffffff)),
  randomRange: flag<Range>('--random-range <low,high>', 'draw them from this range', range),
  outputDir: flag<string>('-d, --output-dir <dir>', 'write every output to DIR/NAME.npy instead of printing it', text),
  profileSparsity: flag<string>('--profile-sparsity <file>', 'write the share of zeros of every activation, over all samples, to a JSON file that compile --sparsity-profile reads', text),
  top: flag<number>('--top <k>', 'print the k largest elements of each output instead of all', whole(1)),
  engine: flag<EngineName>('--engine <name>', 'compiled (C), reference (the evaluator) or onnxruntime (where onnxruntime-node is installed)', oneOf(engines), 'compiled'),
  threads: flag<number>('--threads <n>', 'threads of the compiled model', whole(1, 1024), '1'),
  rtol: flag<number>('--rtol <x>', 'allowed difference relative to the element', nonNegative, '1e-3'),
  atol: flag<number>('--atol <x>', 'allowed difference relative to the largest magnitude in the tensor', nonNegative, '1e-5'),
  samples: flag<number>('--samples <n>', 'how many random inputs to try', whole(1, 100_000), '1'),
  compare: flag<'onnxruntime'>('--compare <peer>', 'time a peer side by side: onnxruntime', oneOf(['onnxruntime'])),
  perLayer: boolean('--per-layer', 'time every layer'),
  rounds: flag<number>('--rounds <n>', 'blocks of back-to-back runs per engine', whole(3, 10_000), '15'),
  blockMs: flag<number>('--block-ms <ms>', 'length of a block in milliseconds', whole(1, 60_000), '40'),
  pin: boolean('--no-pin', 'do not pin the process to one CPU'),
  data: flag<string>('--data <file|folder>', 'labelled samples, one a row: .npy, .npz, IDX (MNIST), .pb or raw, also packed with gzip; or a folder with such a file and its labels', text),
  labels: flag<string>('--labels <file>', 'right class of each sample: .npy, IDX, raw bytes, or text with one a line (default: found beside images with MNIST\'s names, or in the .npz)', text),
  groups: flag<string>('--groups <file>', 'text with one line a sample, columns separated by commas: what to compare by besides the class', text),
  limit: flag<number>('--limit <n>', 'take only the first n samples', whole(1)),
  normalize: flag<Normalisation>('--normalize <mean,deviation>', 'feed (x - mean) / deviation instead of x', normalisation),
  scores: flag<string>('--scores <output>', 'output that holds the class scores, where a model has several', text),
  noise: flag('--noise <percentages>', 'also compare with these shares of the inputs replaced by noise, as 0,10,20,50', percentages),
  gate: flag(`--gate <NAME=LIMIT>`, `end with exit code 6 where a limit is exceeded (repeatable): ${gateNames.map((g) => `${g}, ${gates[g].doc}`).join('; ')}`, gateLimits),
  markdown: flag<string>('--markdown <file>', 'write the report there, too', text),
  pattern: flag<string>('--pattern <pattern>', 'what to make of every layer: 2:4, unstructured:0.9, block:4x1:0.8, complementary:8, rbgp4:0.75, ...', text),
  layer: flag('--layer <NAME=PATTERN>', 'a pattern of its own for one layer, or `dense` to leave it alone (repeatable)', assignments),
  global: boolean('--global', 'one magnitude threshold over all layers (unstructured patterns)'),
  includeFirstLast: boolean('--include-first-last', 'with a pattern for all layers: also first and last layers and depthwise convolutions'),
  sparseInitializer: boolean('--sparse-initializer', 'write sparse_initializer instead of tensors with zeros'),
  seed: flag<number>('--seed <n>', 'of random graphs (rbgp4)', whole(0, 0xffffffff), '0'),
  layers: boolean('--layers', 'one line a layer'),
  json: boolean('--json', 'print one JSON document on stdout'),
  quiet: boolean('-q, --quiet', 'no notes, warnings or progress on stderr'),
  color: flag<'auto' | 'always' | 'never'>('--color <when>', 'auto, always or never (NO_COLOR is honoured)', oneOf(['auto', 'always', 'never']), 'auto'),
} as const;

export type FlagName = keyof typeof flags;
export type FlagValues = { readonly [K in FlagName]?: (typeof flags)[K] extends Flag<infer T> ? T : never };

/** On every verb. */
export const commonFlags: readonly FlagName[] = ['json', 'quiet', 'color'];
/** What decides how a model is compiled, on every verb that compiles one. */
export const compileFlags: readonly FlagName[] = ['cpu', 'precision', 'gpuArch', 'dim', 'bind', 'weights', 'weightType', 'layout', 'codeBudget', 'tune', 'sparsityProfile', 'asm'];
/** What is done to a model before it is compiled, on every verb that compiles just one. */
export const sparsifyFlags: readonly FlagName[] = ['sparsify', 'includeFirstLast'];
export const inputFlags: readonly FlagName[] = ['input', 'random', 'randomRange'];
