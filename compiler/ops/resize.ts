/** ONNX Resize and Upsample: constant scales become tables of taps and weights, one an axis (core `resample`). */
import type { ResampledAxis } from '../core/resample.js';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { tensorOf, toNumbers } from '../ir/tensor.js';
import type { Value } from '../ir/types.js';
import { and, cast, constant, select } from '../kir/build.js';
import { normalAxis, tableSize } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

/** One axis: input and output extent, ratio output/input (not always the quotient of the two), region of interest in [0, 1]. */
interface Axis {
  readonly axis: number;
  readonly input: number;
  readonly output: number;
  readonly scale: number;
  readonly roi: readonly [number, number];
}

/** Coordinate in the input of output position `x` (ONNX Resize, coordinate_transformation_mode). `length` is the real-valued output extent. */
type Coordinate = (x: number, a: Axis, length: number) => number;
// coordinates are rounded to single precision, as the scales are: 4 / 1.3333334 is meant to be 3
const halfPixel: Coordinate = (x, a) => Math.fround((x + 0.5) / a.scale) - 0.5;
const coordinates: Record<string, Coordinate> = {
  half_pixel: halfPixel,
  half_pixel_symmetric: (x, a, length) => (a.input / 2) * (1 - a.output / length) + halfPixel(x, a, length),
  pytorch_half_pixel: (x, a, length) => (length > 1 ? halfPixel(x, a, length) : -0.5),
  align_corners: (x, a, length) => (length === 1 ? 0 : (x * (a.input - 1)) / (length - 1)),
  asymmetric: (x, a) => Math.fround(x / a.scale),
  tf_half_pixel_for_nn: (x, a) => Math.fround((x + 0.5) / a.scale),
  tf_crop_and_resize: (x, a, length) => {
    const [start, end] = a.roi, last = a.input - 1;
    return start * last + (length > 1 ? (x * (end - start) * last) / (length - 1) : ((end - start) * last) / 2);
  },
};

const nearest: Record<string, (x: number) => number> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

/** Weight of an element at distance `t` from the sampled position; zero from `reach` on. */
interface Filter { readonly reach: number; weight(t: number): number }
const linear: Filter = { reach: 1, weight: (t) => Math.max(0, 1 - Math.abs(t)) };
/** Keys' cubic convolution. */
const cubic = (a: number): Filter => ({
  reach: 2,
  weight(distance) {
    const t = Math.abs(distance);
    if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
  },
});

const clamp = (i: number, extent: number): number => Math.min(Math.max(i, 0), extent - 1);

function nearestTaps(a: Axis, at: readonly number[], round: (x: number) => number): ResampledAxis {
  return { axis: a.axis, taps: 1, index: at.map((x) => clamp(round(x), a.input)) };
}

/** Taps of an interpolating filter, widened by `stretch` (antialiasing); beyond the border the nearest element counts, or nothing. */
function filterTaps(a: Axis, at: readonly number[], filter: Filter, stretch: number, excludeOutside: boolean): ResampledAxis {
  const first = Math.floor(-filter.reach * stretch) + 1, taps = 2 - 2 * first;
  tableSize(taps * at.length);
  const index: number[] = [], weight: number[] = [];
  for (const x of at) {
    const base = Math.floor(x);
    const positions = Array.from({ length: taps }, (_, t) => base + first + t);
    const weights = positions.map((p) => (excludeOutside && (p < 0 || p >= a.input) ? 0 : filter.weight((p - x) / stretch)));
    const total = weights.reduce((s, w) => s + w, 0);
    for (const p of positions) index.push(clamp(p, a.input));
    for (const w of weights) weight.push(w / total);
  }
  return { axis: a.axis, taps, index, weight };
}

interface Settings {
  readonly mode: string;
  readonly coordinate: string;
  readonly nearestMode: string;
}

function resample(n: OnnxNode, x: Value, axes: readonly Axis[], s: Settings): Value {
  const coordinate = coordinates[s.coordinate] ?? n.unsupported(`coordinate_transformation_mode='${s.coordinate}'`);
  const round = nearest[s.nearestMode] ?? n.unsupported(`nearest_mode='${s.nearestMode}'`);
  const filter = s.mode === 'linear' ? linear : s.mode === 'cubic' ? cubic(n.attr.float('cubic_coeff_a', -0.75)) : undefined;
  if (s.mode !== 'nearest' && !filter) n.unsupported(`mode='${s.mode}'`);
  const antialias = n.attr.int('antialias', 0) !== 0, excludeOutside = n.attr.int('exclude_outside', 0) !== 0;
  const positions = axes.map((a) => Array.from({ length: tableSize(a.output) }, (_, i) => coordinate(i, a, a.scale * a.input)));
  const changed = axes.flatMap((a, i) => {
    if (a.input === a.output && a.scale === 1 && s.coordinate !== 'tf_crop_and_resize') return [];
    if (a.input === 0) throw new NodeProblem('SPC2006', `dimension ${a.axis} is empty and cannot be resized`);
    return [filter ? filterTaps(a, positions[i]!, filter, antialias ? Math.max(1, 1 / a.scale) : 1, excludeOutside) : nearestTaps(a, positions[i]!, round)];
  });
  const y = changed.length ? n.g.op('resample', [x], { axes: changed })[0]! : x;
  if (s.coordinate !== 'tf_crop_and_resize') return y;
  // positions outside the image have a value of their own
  const rank = x.type.shape.length;
  const inside = axes.flatMap((a, i) => {
    const flags = positions[i]!.map((p) => (p >= 0 && p <= a.input - 1 ? 1 : 0));
    return flags.includes(0) ? [n.g.constant(tensorOf('bool', Array.from({ length: rank }, (_, d) => (d === a.axis ? a.output : 1)), flags), 'inside')] : [];
  });
  if (!inside.length) return y;
  const outside = n.attr.float('extrapolation_value', 0);
  return n.g.map([y, ...inside], (e, ...flags) => select(flags.reduce(and), e, cast(constant('f32', outside), e.type.dtype)));
}

const constantNumbers = (n: OnnxNode, i: number, what: string): number[] => {
  const t = n.constant(i, what);
  return t ? toNumbers(t) : [];
};

/** Output extents from sizes or scales, and the policy that keeps the aspect ratio. */
function axesOf(n: OnnxNode, x: Value): Axis[] {
  const rank = x.type.shape.length, listed = n.attr.ints('axes', Array.from({ length: rank }, (_, d) => d)).map((a) => normalAxis(a, rank));
  const scales = constantNumbers(n, 2, 'scales'), sizes = n.ints(3, 'sizes') ?? [], roi = constantNumbers(n, 1, 'roi');
  const given = sizes.length ? sizes : scales;
  if (given.length !== listed.length) throw new NodeProblem('SPC1006', `Resize of ${listed.length} dimension(s) needs as many 'scales' or 'sizes', not ${given.length}`);
  const ratios = sizes.map((s, i) => s / x.type.shape[listed[i]!]!);
  const policy = n.attr.string('keep_aspect_ratio_policy', 'stretch');
  const common = sizes.length && policy !== 'stretch' ? (policy === 'not_larger' ? Math.min(...ratios) : Math.max(...ratios)) : undefined;
  return listed.map((axis, i) => {
    const input = x.type.shape[axis]!, scale = common ?? (sizes.length ? ratios[i]! : scales[i]!);
    if (!(scale > 0)) throw new NodeProblem('SPC2004', `scale ${scale} in dimension ${axis}`);
    const output = common !== undefined ? Math.floor(common * input + 0.5) : sizes.length ? sizes[i]! : Math.floor(Math.fround(input * scale));
    return { axis, input, output, scale, roi: [roi[i] ?? 0, roi[listed.length + i] ?? 1] };
  });
}

const resize = defineOnnxOp({
  op: 'Resize',
  limits: 'scales, sizes and roi must be constants',
  lower(n) {
    const x = n.input(0, 'X'), mode = n.attr.string('mode', 'nearest');
    if (n.opset < 11) return upsampled(n, x, constantNumbers(n, 1, 'scales'), mode);
    const settings = { mode, coordinate: n.attr.string('coordinate_transformation_mode', 'half_pixel'), nearestMode: n.attr.string('nearest_mode', 'round_prefer_floor') };
    return resample(n, x, axesOf(n, x), settings);
  },
});

/** Before opset 11 there is one rule for coordinates. */
function upsampled(n: OnnxNode, x: Value, scales: readonly number[], mode: string): Value {
  if (scales.length !== x.type.shape.length) throw new NodeProblem('SPC1006', `${scales.length} scales for rank ${x.type.shape.length}`);
  const axes = scales.map((scale, axis): Axis => {
    const input = x.type.shape[axis]!;
    return { axis, input, scale, output: Math.floor(Math.fround(input * scale)), roi: [0, 1] };
  });
  return resample(n, x, axes, { mode: mode === 'bilinear' ? 'linear' : mode, coordinate: 'asymmetric', nearestMode: 'floor' });
}

const upsample = defineOnnxOp({
  op: 'Upsample',
  limits: 'scales must be constants',
  lower: (n) => upsampled(n, n.input(0, 'X'), n.attr.has('scales') ? n.attr.floats('scales') : constantNumbers(n, 1, 'scales'), n.attr.string('mode', 'nearest')),
});

export const resizeOps: readonly OnnxOp[] = [resize, upsample];
