/** Random networks of the operators that run in tiles: sizes that are multiples of nothing, all strides and pads, branches, weights of all densities. */
import { tensorOf, type DenseTensor } from '../../compiler/ir/tensor.js';
import { elementCount } from '../../compiler/ir/types.js';
import { node, type NodeSpec } from '../support/onnx-builder.js';
import { randomSource, type RandomSource } from '../support/random-stream.js';

export interface Network {
  readonly seed: number;
  readonly nodes: readonly NodeSpec[];
  readonly input: DenseTensor;
  readonly initializers: Readonly<Record<string, DenseTensor>>;
  readonly outputs: readonly string[];
}

export interface NetworkKind {
  /** Spatial dimensions of convolutional networks; rows are matrices of any rank, heads those that are transposed as attention does it. */
  readonly of: 'images' | 'sequences' | 'rows' | 'heads';
  /** Only what is defined for NaN and infinities: sums, products, clamps. */
  readonly plain?: boolean;
  /** Matrices of 2 to 16 rows only, or of 1 to 3. */
  readonly few?: 'rows' | 'vectors';
  readonly input?: (random: RandomSource) => number;
  /** Often only the largest elements stay: of the channels of each pixel, or of a row. */
  readonly winners?: boolean;
  /** Weights are there or not in blocks of 16 rows that share a column, now and then with zeros within. */
  readonly blocks?: boolean;
  /** Size of what is added: biases and other constants; 1 unless told. */
  readonly scale?: number;
}

interface Live {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Multiply-adds of one layer at most, for the float64 product to be quick. */
const WORK = 1_500_000;

export function randomNetwork(seed: number, { of: kind, plain = false, few, input: element, scale = 1, winners = false, blocks = false }: NetworkKind): Network {
  const random = randomSource(seed), { integer, pick } = random, chance = (p: number): boolean => random.next() < p;
  const nodes: NodeSpec[] = [], initializers: Record<string, DenseTensor> = {}, live: Live[] = [], used = new Set<string>();
  const of = kind === 'heads' ? 'rows' : kind;
  let names = 0;

  const emit = (op: string, inputs: readonly string[], shape: readonly number[], attributes: NodeSpec['attributes'] = {}): Live => {
    const y = { name: `v${nodes.length}_${op}`, shape };
    nodes.push(node(op, inputs, [y.name], attributes, { name: y.name }));
    for (const i of inputs) used.add(i);
    live.push(y);
    return y;
  };
  const constant = (shape: readonly number[], value: () => number): string => {
    const name = `c${names++}`;
    initializers[name] = tensorOf('f32', shape, Array.from({ length: elementCount(shape) }, value));
    return name;
  };
  const uniform = (): number => random.next() * 2 - 1, addend = (): number => uniform() * scale;

  /** Weights [rows, depth, ...taps] of some density, now and then with empty rows and columns, sums staying about as large as what they are of. */
  const weights = (shape: readonly number[]): string => {
    const [rows, depth] = shape as [number, number], density = pick([0, 0.03, 0.1, 0.1, 0.3, 0.3, 0.6, 1, 1]), taps = elementCount(shape) / rows / depth;
    const emptyRow = Array.from({ length: rows }, () => chance(0.15)), emptyColumn = Array.from({ length: depth }, () => chance(0.15)), holes = chance(0.3);
    const size = Math.sqrt(3 / Math.max(1, density * depth * taps));
    let i = 0;
    if (blocks) {
      const columns = depth * taps, whole = chance(0.7), kept = Array.from({ length: Math.ceil(rows / 16) * columns }, () => chance(Math.min(0.5, density)));
      return constant(shape, () => { const at = i++; return kept[Math.floor(at / columns / 16) * columns + (at % columns)] && (whole || chance(0.8)) ? uniform() * size : 0; });
    }
    return constant(shape, () => {
      const at = i++, empty = holes && (emptyRow[Math.floor(at / taps / depth)]! || emptyColumn[Math.floor(at / taps) % depth]!);
      return !empty && chance(density) ? uniform() * size : 0;
    });
  };
  const channels = (most: number): number => Math.max(1, Math.min(most, pick([1, 2, 3, 5, 8, 12, 16, 17, 30, 31, 32, 33, 40, 62, 63, 64, 70])));

  const convolve = (x: Live, wanted: { readonly rows?: number; readonly kernel?: readonly number[]; readonly stride?: number; readonly same?: boolean; readonly group?: number } = {}): Live | undefined => {
    const [images, depth, ...extent] = x.shape as [number, number, ...number[]], spatial = extent.map((_, d) => d);
    const kernel = wanted.kernel ?? (chance(0.6) ? spatial.fill(pick([1, 1, 2, 3, 3, 3, 5, 7])) : spatial.map(() => integer(1, 7)));
    const stride = wanted.stride ?? pick([1, 1, 1, 2, 2, 3]), unequal = wanted.stride === undefined && chance(0.05);
    const strides = kernel.map((_, d) => (unequal && d === 0 ? pick([1, 2, 3]) : stride)), dilations = kernel.map(() => (wanted.same || chance(0.8) ? 1 : 2));
    const padding = wanted.same ? 'same' : pick(['same', 'same', 'none', 'random'] as const);
    const before = kernel.map((k, d) => (padding === 'none' ? 0 : padding === 'same' ? Math.floor(((k - 1) * dilations[d]!) / 2) : integer(0, k)));
    const after = kernel.map((k, d) => (padding === 'none' ? 0 : padding === 'same' ? (k - 1) * dilations[d]! - before[d]! : integer(0, k)));
    const output = extent.map((e, d) => Math.floor((e + before[d]! + after[d]! - dilations[d]! * (kernel[d]! - 1) - 1) / strides[d]!) + 1);
    if (output.some((o) => o < 1)) return undefined;
    const divisors = Array.from({ length: depth }, (_, i) => i + 1).filter((g) => depth % g === 0);
    const group = wanted.group ?? (chance(0.7) ? 1 : chance(0.4) ? depth : pick(divisors));
    const most = Math.floor(WORK / (images * elementCount(output) * elementCount(kernel) * (depth / group)) / group);
    if (most < 1) return undefined;
    const rows = wanted.rows ?? group * (group === depth && chance(0.7) ? 1 : Math.max(1, Math.min(most, Math.ceil(channels(70) / group))));
    if (rows > most * group) return undefined;
    return emit('Conv', [x.name, weights([rows, depth / group, ...kernel]), ...(chance(0.7) ? [constant([rows], addend)] : [])], [images, rows, ...output], { kernel_shape: kernel, strides, dilations, pads: [...before, ...after], group });
  };
  const multiply = (x: Live, wanted?: number): Live => {
    const k = x.shape.at(-1)!, outer = x.shape.slice(0, -1), n = wanted ?? channels(Math.floor(WORK / elementCount(x.shape)) || 1), shape = [...outer, n];
    if (x.shape.length === 2 && chance(0.5)) return emit('Gemm', [x.name, weights([n, k]), constant([n], addend)], shape, { transB: 1 });
    const y = emit('MatMul', [x.name, weights([k, n])], shape);
    return chance(0.6) ? emit('Add', [y.name, constant([n], addend)], shape) : y;
  };

  const relu = (x: Live): Live => emit('Relu', [x.name], x.shape);
  const clip = (x: Live): Live => { const [low, high] = pick([[0, 6], [-0.5, 0.5], [0, 0.25], [-0.1, 100]]); return emit('Clip', [x.name, constant([], () => low!), constant([], () => high!)], x.shape); };
  const perChannel = (x: Live): readonly number[] => (of === 'rows' || x.shape.length === 2 ? [x.shape.at(-1)!] : [1, x.shape[1]!, ...x.shape.slice(2).map(() => 1)]);
  const activations: readonly ((x: Live) => Live)[] = plain ? [relu, relu, clip] : [
    relu, relu, relu, clip, clip,
    (x) => emit('Mul', [x.name, emit('Sigmoid', [x.name], x.shape).name], x.shape),
    (x) => emit('HardSwish', [x.name], x.shape),
    (x) => emit('LeakyRelu', [x.name], x.shape),
    (x) => emit('Tanh', [x.name], x.shape),
    // GELU as exporters write it
    (x) => {
      const root = emit('Mul', [x.name, constant([], () => Math.SQRT1_2)], x.shape), e = emit('Erf', [root.name], x.shape), one = emit('Add', [e.name, constant([], () => 1)], x.shape);
      return emit('Mul', [emit('Mul', [x.name, one.name], x.shape).name, constant([], () => 0.5)], x.shape);
    },
    (x) => emit('Mul', [x.name, constant(perChannel(x), uniform)], x.shape),
    (x) => emit('Add', [emit('Mul', [x.name, constant(perChannel(x), uniform)], x.shape).name, constant(perChannel(x), uniform)], x.shape),
    // a value for every pixel, as positions have it
    (x) => emit('Add', [x.name, constant(chance(0.5) ? x.shape : [1, ...x.shape.slice(1)], uniform)], x.shape),
    (x) => emit('Add', [relu(x).name, constant(chance(0.5) ? perChannel(x) : [], uniform)], x.shape),
  ];
  const maybeActive = (x: Live, p = 0.5): Live => (chance(p) ? pick(activations)(x) : x);
  const add = (a: Live, b: Live): Live => emit('Add', chance(0.5) ? [a.name, b.name] : [b.name, a.name], a.shape);

  const pool = (x: Live): Live | undefined => {
    const extent = x.shape.slice(2), kernel = extent.map(() => integer(1, 3)), stride = pick([1, 2, 2, 3]), average = chance(0.4);
    // a window must not lie in the padding as a whole
    const pads = [...kernel, ...kernel].map((k) => (chance(0.5) ? Math.floor(k / 2) : 0));
    const output = extent.map((e, d) => Math.floor((e + pads[d]! + pads[d + kernel.length]! - kernel[d]!) / stride) + 1);
    if (output.some((o) => o < 1)) return undefined;
    return emit(average ? 'AveragePool' : 'MaxPool', [x.name], [...x.shape.slice(0, 2), ...output],
      { kernel_shape: kernel, strides: kernel.map(() => stride), pads, ...(average ? { count_include_pad: chance(0.5) ? 1 : 0 } : {}) });
  };

  const flatten = (x: Live): Live => emit('Flatten', [x.name], [x.shape[0]!, elementCount(x.shape) / x.shape[0]!]);

  const image = (x: Live): Live | undefined => {
    const choice = integer(0, plain ? 13 : 18), depth = x.shape[1]!;
    if (choice < 8) { const y = convolve(x); return y && maybeActive(y); }
    if (choice < 10) { const y = convolve(x, { group: depth, rows: depth }); return y && maybeActive(y); }
    if (choice < 12) { // residual block
      const k = x.shape.slice(2).map(() => pick([1, 3])), first = convolve(x, { kernel: k, stride: 1, same: true }), inner = first && maybeActive(first);
      const second = inner && convolve(inner, { rows: depth, kernel: k, stride: 1, same: true, group: 1 });
      return second && maybeActive(add(second, x), 0.7);
    }
    if (choice < 14) { // the same with a shortcut convolution
      const stride = pick([1, 2, 2]), k = x.shape.slice(2).map(() => 3), one = k.map(() => 1);
      const first = convolve(x, { kernel: k, stride, same: true }), inner = first && maybeActive(first), rows = channels(70);
      const second = inner && convolve(inner, { rows, kernel: chance(0.5) ? k : one, stride: 1, same: true, group: 1 });
      const shortcut = second && convolve(x, { rows, kernel: one, stride, same: true, group: 1 });
      return shortcut && second.shape.join() === shortcut.shape.join() ? maybeActive(add(second, shortcut), 0.7) : shortcut;
    }
    if (choice < 16) return pool(x);
    if (choice < 18) {
      const y = emit('GlobalAveragePool', [x.name], [...x.shape.slice(0, 2), ...x.shape.slice(2).map(() => 1)]);
      return chance(0.5) ? maybeActive(multiply(flatten(y))) : y;
    }
    return elementCount(x.shape) / x.shape[0]! < 600 && chance(0.5) ? maybeActive(multiply(flatten(x))) : pick(activations)(x);
  };
  const transpose = (x: Live, perm: readonly number[]): Live => emit('Transpose', [x.name], perm.map((p) => x.shape[p]!), { perm });
  const reshape = (x: Live, shape: readonly number[]): Live => {
    initializers[`c${names}`] = { kind: 'dense', dtype: 'i64', shape: [shape.length], data: BigInt64Array.from(shape, BigInt) };
    return emit('Reshape', [x.name, `c${names++}`], shape);
  };
  /** Channels apart in heads as attention has them, rows or columns of each, a product there, and joined again. */
  const heads = (x: Live): Live => {
    const all = elementCount(x.shape.slice(0, -1)), images = pick([1, 1, 2, 3].filter((d) => all % d === 0)), count = pick([1, 2, 3, 4]), size = pick([1, 5, 8, 16, 20]);
    const wide = multiply(x, count * size), rowsOfEach = chance(0.7);
    const apart = transpose(reshape(chance(0.3) ? relu(wide) : wide, [images, all / images, count, size]), rowsOfEach ? [0, 2, 1, 3] : [0, 2, 3, 1]);
    const inner = chance(0.3) ? relu(apart) : multiply(apart, rowsOfEach ? size : undefined);
    return rowsOfEach ? multiply(reshape(transpose(inner, [0, 2, 1, 3]), [all, count * size])) : inner;
  };
  const rows = (x: Live): Live | undefined => {
    const choice = kind === 'heads' ? 9 : integer(0, plain ? 9 : 13), k = x.shape.at(-1)!;
    if (choice < 6) return maybeActive(multiply(x));
    if (choice < 8) return maybeActive(add(multiply(maybeActive(multiply(x)), k), x));
    if (choice < 9) {
      const outer = elementCount(x.shape.slice(0, -1)), first = pick([1, 2, 3, 4].filter((d) => outer % d === 0)), shape = pick([[outer, k], [first, outer / first, k], [first, outer / first, 1, k]]);
      return reshape(x, shape);
    }
    if (choice < 10) return elementCount(x.shape) * 100 <= WORK ? heads(x) : relu(x);
    if (choice < 11) return emit('Softmax', [x.name], x.shape, { axis: -1 });
    if (choice < 12) return emit('LayerNormalization', [x.name, constant([k], uniform), constant([k], uniform)], x.shape, { axis: -1 });
    return pick(activations)(x);
  };

  /** TopK, and ScatterElements into zeros. */
  const keepLargest = (x: Live): Live => {
    const axis = of === 'rows' ? x.shape.length - 1 : 1, extent = x.shape[axis]!, k = Math.min(extent, pick([1, 2, 7, 8, 9, Math.ceil(extent / 10), Math.ceil(extent / 10), extent]));
    const best = `v${nodes.length}_TopK`, zeros = constant(x.shape, () => 0), amount = `c${names++}`;
    initializers[amount] = { kind: 'dense', dtype: 'i64', shape: [1], data: BigInt64Array.of(BigInt(k)) };
    nodes.push(node('TopK', [x.name, amount], [best, `${best}_at`], { axis }, { name: best }));
    used.add(x.name);
    return emit('ScatterElements', [zeros, `${best}_at`, best], x.shape, { axis });
  };

  const batch = pick([1, 1, 1, 2, 3, 5, 7, 8, 9, 16, 17, 33]), largest = batch > 7 ? 9 : batch > 1 ? 14 : 22, extent = (): number => (chance(0.15) ? pick([1, 2, 16]) : integer(1, largest));
  const shape = of === 'images' ? [batch, channels(24), extent(), extent()] : of === 'sequences' ? [batch, channels(40), integer(1, 50)]
    : few === 'rows' ? [pick([2, 3, 4, integer(5, 8), integer(9, 16)]), pick([17, 70, 300])] : few ? [integer(1, 3), pick([70, 300, 1500])] : kind === 'heads' ? [pick([16, 32, 48, 64, integer(1, 70)]), channels(40)] : pick([[integer(1, 70), channels(70)], [integer(1, 200), channels(40)], [batch, integer(1, 20), channels(70)], [2, 3, integer(1, 9), channels(33)], [pick([16, 17]), pick([800, 1600])]]);
  const input = tensorOf('f32', shape, Array.from({ length: elementCount(shape) }, () => (element ? element(random) : uniform())));
  live.push({ name: 'x', shape });
  for (let layers = integer(1, kind === 'heads' ? 2 : 6); layers > 0; layers--) {
    const given = chance(0.8) ? live.at(-1)! : pick(live), flat = winners && given.shape.length > 2 && of === 'images' && elementCount(given.shape) / given.shape[0]! < 2000 && chance(0.3) ? flatten(given) : given;
    const x = winners && chance(0.6) ? keepLargest(flat) : flat;
    (x.shape.length === 2 || of === 'rows' ? rows : image)(x);
    const alike = live.filter((v) => v.name !== live.at(-1)!.name && v.shape.join() === live.at(-1)!.shape.join());
    if (alike.length > 0 && chance(0.2)) add(live.at(-1)!, pick(alike));
  }
  // a convolution and the pool behind it, windows side by side, as one kernel may have them
  if (of !== 'rows' && live.at(-1)!.shape.length > 2 && !plain && (blocks || chance(0.4))) {
    const last = live.at(-1)!, y = convolve(last, { kernel: last.shape.slice(2).map(() => pick([1, 3, 5])), stride: 1, same: true, ...(blocks ? { rows: 32, group: 1 } : {}) }), active = y && chance(0.5) ? relu(y) : y;
    const window = pick([2, 2, 3]), pooled = active?.shape.map((d, axis) => (axis < 2 ? d : Math.floor(d / window))) ?? [0], spatial = last.shape.slice(2);
    if (active && !pooled.includes(0)) emit('MaxPool', [active.name], pooled, { kernel_shape: spatial.map(() => window), strides: spatial.map(() => window), pads: spatial.flatMap(() => [0, 0]) });
  }
  if (nodes.length === 0) (of === 'rows' ? relu : (x: Live): Live => convolve(x, { kernel: x.shape.slice(2).map(() => 1), stride: 1, rows: 3, group: 1 })!)(live[0]!);
  // what nothing reads, and some of what something reads
  return { seed, nodes, input, initializers, outputs: live.flatMap((v) => (v.name !== 'x' && (!used.has(v.name) || chance(0.15)) ? [v.name] : [])) };
}
