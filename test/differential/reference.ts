/**
 * The ONNX operators of the differential tests in float64, each written down as the standard defines it: what every kernel, layout and
 * form of code is compared with. Nothing of the compiler is used.
 */
import type { NodeSpec } from '../support/onnx-builder.js';

export interface Numbers {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

type Attributes = NonNullable<NodeSpec['attributes']>;
/** What a weight of zero makes of an activation that is infinite or no number: nothing, as where zeros are skipped, or NaN. */
export type Zeros = 'skipped' | 'multiplied';
type Operator = (inputs: readonly Numbers[], attributes: Attributes, zeros: Zeros) => Numbers | readonly Numbers[];

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const ints = (attributes: Attributes, name: string, otherwise: readonly number[]): readonly number[] => (attributes[name] as readonly number[] | undefined) ?? otherwise;
const int = (attributes: Attributes, name: string, otherwise: number): number => (attributes[name] as number | undefined) ?? otherwise;
const numbers = (shape: readonly number[], at: (i: number) => number): Numbers => ({ shape, data: Float64Array.from({ length: count(shape) }, (_, i) => at(i)) });

/** A window over one or two dimensions; one dimension is a row. */
function windowsOf(shape: readonly number[], kernel: readonly number[], attributes: Attributes) {
  const rank = kernel.length, two = (a: readonly number[], missing: number): readonly [number, number] => (rank === 1 ? [missing, a[0]!] : [a[0]!, a[1]!]);
  const ones = kernel.map(() => 1), pads = ints(attributes, 'pads', [...kernel, ...kernel].map(() => 0));
  const input = two(shape.slice(2), 1), size = two(kernel, 1), stride = two(ints(attributes, 'strides', ones), 1), dilation = two(ints(attributes, 'dilations', ones), 1);
  const before = two(pads.slice(0, rank), 0), after = two(pads.slice(rank), 0);
  const extent = (d: 0 | 1): number => Math.floor((input[d] + before[d] + after[d] - dilation[d] * (size[d] - 1) - 1) / stride[d]) + 1;
  const output = [extent(0), extent(1)] as const;
  /** Source pixel of a tap, -1 outside the image. */
  const source = (p: number, tap: number): number => {
    const y = Math.floor(p / output[1]) * stride[0] + Math.floor(tap / size[1]) * dilation[0] - before[0], x = (p % output[1]) * stride[1] + (tap % size[1]) * dilation[1] - before[1];
    return y < 0 || x < 0 || y >= input[0] || x >= input[1] ? -1 : y * input[1] + x;
  };
  return { pixels: input[0] * input[1], taps: size[0] * size[1], outputs: output[0] * output[1], shape: rank === 1 ? [output[1]] : [...output], source };
}

const conv: Operator = ([x, w, b], attributes, zeros) => {
  const [images, channels] = x!.shape as [number, number], [rows, depth, ...kernel] = w!.shape as [number, number, ...number[]];
  const g = windowsOf(x!.shape, kernel, attributes), perGroup = rows / int(attributes, 'group', 1), y = new Float64Array(images * rows * g.outputs);
  for (let n = 0; n < images; n++) for (let r = 0; r < rows; r++) {
    const to = (n * rows + r) * g.outputs, first = Math.floor(r / perGroup) * depth;
    if (b) y.fill(b.data[r]!, to, to + g.outputs);
    for (let c = 0; c < depth; c++) for (let tap = 0; tap < g.taps; tap++) {
      const weight = w!.data[(r * depth + c) * g.taps + tap]!, from = (n * channels + first + c) * g.pixels;
      if (weight === 0 && zeros === 'skipped') continue;
      for (let p = 0; p < g.outputs; p++) {
        const s = g.source(p, tap);
        if (s >= 0) y[to + p]! += weight * x!.data[from + s]!;
      }
    }
  }
  return { shape: [images, rows, ...g.shape], data: y };
};

const pool = (combine: (values: readonly number[], taps: number, attributes: Attributes) => number): Operator => ([x], attributes) => {
  const [images, channels] = x!.shape as [number, number], g = windowsOf(x!.shape, ints(attributes, 'kernel_shape', []), attributes);
  return numbers([images, channels, ...g.shape], (i) => {
    const from = Math.floor(i / g.outputs) * g.pixels, values: number[] = [];
    for (let tap = 0; tap < g.taps; tap++) { const s = g.source(i % g.outputs, tap); if (s >= 0) values.push(x!.data[from + s]!); }
    return combine(values, g.taps, attributes);
  });
};

const sum = (values: Iterable<number>): number => { let s = 0; for (const v of values) s += v; return s; };

/** Last dimension of x times w [K, N] (transposed: [N, K]). */
const product = (x: Numbers, w: Numbers, transposed: boolean, zeros: Zeros, bias?: Numbers): Numbers => {
  const k = x.shape.at(-1)!, n = transposed ? w.shape[0]! : w.shape[1]!;
  return numbers([...x.shape.slice(0, -1), n], (i) => {
    const row = Math.floor(i / n) * k, column = i % n;
    let s = bias ? bias.data[column]! : 0;
    for (let j = 0; j < k; j++) { const weight = w.data[transposed ? column * k + j : j * n + column]!; if (weight !== 0 || zeros === 'multiplied') s += weight * x.data[row + j]!; }
    return s;
  });
};

/** Operands broadcast as NumPy does. */
const map = (f: (...args: number[]) => number): Operator => (inputs) => {
  const rank = Math.max(...inputs.map((x) => x.shape.length)), shapes = inputs.map((x) => [...new Array<number>(rank - x.shape.length).fill(1), ...x.shape]);
  const shape = Array.from({ length: rank }, (_, d) => Math.max(...shapes.map((s) => s[d]!)));
  return numbers(shape, (i) => {
    const at = shapes.map(() => 0);
    for (let d = 0, rest = i, size = count(shape); d < rank; d++) {
      size /= shape[d]!;
      const coordinate = Math.floor(rest / size);
      rest %= size;
      shapes.forEach((s, k) => { at[k] = at[k]! * s[d]! + (s[d] === 1 ? 0 : coordinate); });
    }
    return f(...inputs.map((x, k) => x.data[at[k]!]!));
  });
};

/** Rows of the last dimension. */
const rowwise = (f: (row: Float64Array, i: number) => number): Operator => ([x]) => {
  const width = x!.shape.at(-1)!;
  return numbers(x!.shape, (i) => { const from = i - (i % width); return f(x!.data.subarray(from, from + width), i % width); });
};

/** Lines of elements along an axis, as their indices. */
function* linesOf(shape: readonly number[], axis: number): Generator<readonly number[]> {
  const inner = count(shape.slice(axis + 1)), extent = shape[axis]!;
  for (let i = 0; i < count(shape) / extent; i++) {
    const first = Math.floor(i / inner) * extent * inner + (i % inner);
    yield Array.from({ length: extent }, (_, j) => first + j * inner);
  }
}

/** Values and positions, the largest first, equal ones by position. */
const topK: Operator = ([x, k], a) => {
  const axis = int(a, 'axis', -1), n = k!.data[0]!, shape = x!.shape.map((d, i) => (i === axis ? n : d)), values = new Float64Array(count(shape)), indices = new Float64Array(count(shape));
  const into = linesOf(shape, axis);
  for (const line of linesOf(x!.shape, axis)) {
    const best = line.map((at, j) => ({ value: x!.data[at]!, j })).sort((p, q) => q.value - p.value || p.j - q.j);
    (into.next().value as readonly number[] | undefined)?.forEach((at, i) => { values[at] = best[i]!.value; indices[at] = best[i]!.j; });
  }
  return [{ shape, data: values }, { shape, data: indices }];
};
const scatterElements: Operator = ([data, indices, updates], a) => {
  const axis = int(a, 'axis', 0), y = data!.data.slice(), from = linesOf(indices!.shape, axis);
  for (const line of linesOf(data!.shape, axis)) (from.next().value as readonly number[] | undefined)?.forEach((at) => { y[line[indices!.data[at]!]!] = updates!.data[at]!; });
  return { shape: data!.shape, data: y };
};

/** Abramowitz and Stegun 7.1.26 is not enough: the series, all terms positive, converges fast for the numbers of these tests. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x, s = x;
  for (let n = 1; n < 200 && Math.abs(term) > 1e-18 * Math.abs(s); n++) { term *= (2 * x * x) / (2 * n + 1); s += term; }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * s;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
// NaN stays NaN
const clip = (x: number, low: number, high: number): number => (x < low ? low : x > high ? high : x);

const operators: Readonly<Record<string, Operator>> = {
  Conv: conv,
  MaxPool: pool((values) => Math.max(...values)),
  AveragePool: pool((values, taps, a) => sum(values) / (int(a, 'count_include_pad', 0) ? taps : values.length)),
  GlobalAveragePool: ([x]) => {
    const [images, channels, ...spatial] = x!.shape as [number, number, ...number[]], size = count(spatial);
    return numbers([images, channels, ...spatial.map(() => 1)], (i) => sum(x!.data.subarray(i * size, (i + 1) * size)) / size);
  },
  MatMul: ([x, w], _, zeros) => product(x!, w!, false, zeros),
  Gemm: ([x, w, b], a, zeros) => product(x!, w!, int(a, 'transB', 0) === 1, zeros, b),
  Relu: map((x) => clip(x, 0, Infinity)),
  Clip: map(clip),
  Sigmoid: map(sigmoid),
  Erf: map(erf),
  Tanh: map(Math.tanh),
  HardSwish: map((x) => x * clip(x / 6 + 0.5, 0, 1)),
  LeakyRelu: ([x]) => map((v) => (v < 0 ? Math.fround(0.01) * v : v))([x!], {}, 'skipped'),
  Add: map((a, b) => a + b),
  Sub: map((a, b) => a - b),
  Mul: map((a, b) => a * b),
  Softmax: (inputs, ...rest) => rowwise((row, i) => { const top = Math.max(...row); return Math.exp(row[i]! - top) / sum(row.map((v) => Math.exp(v - top))); })(inputs, ...rest),
  LayerNormalization: ([x, scale, shift], ...rest) => rowwise((row, i) => {
    const mean = sum(row) / row.length, variance = sum(row.map((v) => (v - mean) ** 2)) / row.length;
    return ((row[i]! - mean) / Math.sqrt(variance + Math.fround(1e-5))) * scale!.data[i]! + shift!.data[i]!;
  })([x!], ...rest),
  Flatten: ([x]) => ({ shape: [x!.shape[0]!, count(x!.shape.slice(1))], data: x!.data }),
  Transpose: ([x], a) => {
    const perm = ints(a, 'perm', []), shape = perm.map((p) => x!.shape[p]!), strides = perm.map((p) => count(x!.shape.slice(p + 1)));
    return numbers(shape, (i) => {
      let at = 0;
      for (let d = shape.length - 1, rest = i; d >= 0; rest = Math.floor(rest / shape[d]!), d--) at += (rest % shape[d]!) * strides[d]!;
      return x!.data[at]!;
    });
  },
  TopK: topK,
  ScatterElements: scatterElements,
  Reshape: ([x, shape]) => ({ shape: [...shape!.data], data: x!.data }),
};

/** All values of a network by name. */
export function evaluateNetwork(nodes: readonly NodeSpec[], given: ReadonlyMap<string, Numbers>, zeros: Zeros = 'skipped'): Map<string, Numbers> {
  const values = new Map(given);
  for (const n of nodes) {
    const results = [operators[n.op]!(n.inputs.map((name) => values.get(name)!), n.attributes ?? {}, zeros)].flat();
    n.outputs.forEach((name, i) => values.set(name, results[i] as Numbers));
  }
  return values;
}
