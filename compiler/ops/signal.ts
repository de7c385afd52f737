/** ONNX signal processing: Fourier transforms as products with constant tables, windows and filter banks as constants. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { tensorOf, toNumbers } from '../ir/tensor.js';
import type { DType } from '../ir/dtype.js';
import type { Value } from '../ir/types.js';
import { mul } from '../kir/build.js';
import { dtypeAttr } from './cast.js';
import { normalAxis, requiredInt, requireFloat, tableSize } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

/** Largest Fourier table in elements. */
const LARGEST_TABLE = 1 << 24;

/** Entry (sample, bin) of the transform: cos and sin of the angle, -2 pi sample bin / length forwards. */
function phase(sample: number, bin: number, length: number, inverse: boolean): readonly [number, number] {
  const angle = ((inverse ? 2 : -2) * Math.PI * ((sample * bin) % length)) / length, scale = inverse ? 1 / length : 1;
  return [scale * Math.cos(angle), scale * Math.sin(angle)];
}

const dft = defineOnnxOp({
  op: 'DFT',
  limits: 'dft_length and axis must be constants',
  lower(n) {
    const { g } = n, x = n.input(0, 'input'), rank = x.type.shape.length, parts = x.type.shape.at(-1)!;
    requireFloat(x);
    if (rank < 2 || (parts !== 1 && parts !== 2)) throw new NodeProblem('SPC2004', `DFT needs [..., 1] (real) or [..., 2] (complex), got [${x.type.shape.join(',')}]`);
    const given = n.opset < 20 ? n.attr.int('axis', 1) : n.ints(2, 'axis')?.[0] ?? -2;
    const axis = normalAxis(given, rank), samples = x.type.shape[axis]!;
    if (axis === rank - 1) throw new NodeProblem('SPC2007', 'DFT along the dimension that holds real and imaginary parts');
    const length = n.ints(1, 'dft_length')?.[0] ?? samples, inverse = n.attr.int('inverse', 0) !== 0, oneSided = n.attr.int('onesided', 0) !== 0;
    if (inverse && oneSided) n.unsupported('a one-sided inverse transform');
    const bins = oneSided ? Math.floor(length / 2) + 1 : length, used = Math.min(samples, length);
    if (samples * parts * bins * 2 > LARGEST_TABLE) n.unsupported(`a transform of ${samples} samples to ${bins} bins: it is computed as a product with a table`);
    // rows: sample, part; columns: bin, part. Samples beyond dft_length have rows of zeros
    const table = new Array<number>(samples * parts * bins * 2).fill(0);
    for (let s = 0; s < used; s++) {
      for (let b = 0; b < bins; b++) {
        const [c, i] = phase(s, b, length, inverse);
        [[c, i], [-i, c]].slice(0, parts).forEach((row, p) => {
          const at = (s * parts + p) * bins * 2 + b * 2;
          [table[at], table[at + 1]] = [row[0]!, row[1]!];
        });
      }
    }
    const weights = g.constant(tensorOf(x.type.dtype, [samples * parts, bins * 2], table), 'dft');
    const others = x.type.shape.flatMap((_, d) => (d === axis || d === rank - 1 ? [] : [d]));
    const perm = [...others, axis, rank - 1];
    const rows = g.reshape(g.transpose(x, perm), [...others.map((d) => x.type.shape[d]!), 1, samples * parts]);
    const y = g.op('matmul', [rows, weights], { transA: false, transB: false, out: x.type.dtype })[0]!;
    return g.transpose(g.reshape(y, [...others.map((d) => x.type.shape[d]!), bins, 2]), perm.map((_, d) => perm.indexOf(d)));
  },
});

/** The transform of overlapping frames is a strided convolution with the windowed table. */
const stft = defineOnnxOp({
  op: 'STFT',
  limits: 'frame_step and frame_length must be constants',
  lower(n) {
    const { g } = n, x = n.input(0, 'signal'), step = requiredInt(n, 1, 'frame_step'), window = n.optional(2);
    requireFloat(x);
    const signal = x.type.shape.length === 2 ? g.reshape(x, [...x.type.shape, 1]) : x;
    const [batch, , parts] = signal.type.shape as [number, number, number];
    const length = n.ints(3, 'frame_length')?.[0] ?? window?.type.shape[0] ?? n.unsupported('neither window nor frame_length');
    const bins = n.attr.int('onesided', 1) ? Math.floor(length / 2) + 1 : length;
    if (bins * 2 * parts * length > LARGEST_TABLE) n.unsupported(`frames of ${length} samples: the transform is a product with a table`);
    const table: number[] = [];
    for (let b = 0; b < bins; b++) {
      for (const out of [0, 1]) {
        for (let p = 0; p < parts; p++) {
          for (let s = 0; s < length; s++) {
            const [c, i] = phase(s, b, length, false);
            table.push(out === 0 ? (p === 0 ? c : -i) : p === 0 ? i : c);
          }
        }
      }
    }
    const dtype = x.type.dtype, plain = g.constant(tensorOf(dtype, [bins * 2, parts, length], table), 'stft');
    const weights = window ? g.map([plain, window], mul) : plain;
    const y = g.op('conv', [g.transpose(signal, [0, 2, 1]), weights],
      { strides: [step], dilations: [1], pads: [[0, 0]], group: 1, layout: 'ncs', out: dtype })[0]!;
    const frames = y.type.shape[2]!;
    return g.reshape(g.transpose(y, [0, 2, 1]), [batch, frames, bins, 2]);
  },
});

const windowType = (n: OnnxNode): DType => (n.attr.has('output_datatype') ? dtypeAttr(n, 'output_datatype') : 'f32');

/** A sum of cosines with the given coefficients: Hann, Hamming and Blackman windows differ in these. */
const windowOp = (op: string, coefficients: readonly number[]): OnnxOp => defineOnnxOp({
  op,
  limits: 'size must be a constant',
  lower(n) {
    const size = requiredInt(n, 0, 'size'), period = n.attr.int('periodic', 1) ? size : size - 1;
    const value = (i: number): number => coefficients.reduce((s, c, h) => s + c * Math.cos((2 * Math.PI * h * i) / Math.max(1, period)), 0);
    return n.g.constant(tensorOf(windowType(n), [size], Array.from({ length: tableSize(size) }, (_, i) => value(i))), op);
  },
});

const scalarOf = (n: OnnxNode, i: number, what: string): number => {
  const t = n.constant(i, what);
  if (!t) throw new NodeProblem('SPC1006', `'${what}' is missing`);
  return toNumbers(t)[0]!;
};

/** Triangular filters, equally spaced on the mel scale (2595 log10(1 + f / 700)). */
function melFilters(n: OnnxNode, dtype: DType): Value {
  const [bands, length, rate] = [requiredInt(n, 0, 'num_mel_bins'), requiredInt(n, 1, 'dft_length'), requiredInt(n, 2, 'sample_rate')];
  const mel = (hertz: number): number => 2595 * Math.log10(1 + hertz / 700);
  const low = mel(scalarOf(n, 3, 'lower_edge_hertz')), high = mel(scalarOf(n, 4, 'upper_edge_hertz'));
  const bins = Math.floor(length / 2) + 1, step = (high - low) / (bands + 2);
  const edges = Array.from({ length: tableSize(bands + 2) }, (_, i) => Math.floor(((length + 1) * 700 * (10 ** ((i * step + low) / 2595) - 1)) / rate));
  const filters = new Array<number>(tableSize(bins * bands)).fill(0);
  const set = (bin: number, band: number, value: number): void => { if (bin >= 0 && bin < bins) filters[bin * bands + band] = value; };
  for (let band = 0; band < bands; band++) {
    const [from, top, to] = [edges[band]!, edges[band + 1]!, edges[band + 2]!];
    if (top === from) set(top, band, 1);
    else for (let b = from; b <= top; b++) set(b, band, (b - from) / (top - from));
    for (let b = top; b < to; b++) set(b, band, (to - b) / (to - top));
  }
  return n.g.constant(tensorOf(dtype, [bins, bands], filters), 'mel');
}

const melWeightMatrix = defineOnnxOp({
  op: 'MelWeightMatrix',
  limits: 'all inputs must be constants',
  lower: (n) => melFilters(n, windowType(n)),
});

export const signalOps: readonly OnnxOp[] = [
  dft,
  stft,
  windowOp('HannWindow', [0.5, -0.5]),
  windowOp('HammingWindow', [25 / 46, -21 / 46]),
  windowOp('BlackmanWindow', [0.42, -0.5, 0.08]),
  melWeightMatrix,
];
