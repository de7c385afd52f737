/** ONNX normalisation operators: a core `normalize` (or constants), then scale and bias as elementwise nodes that later become epilogues. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { GraphBuilder } from '../ir/build.js';
import { accumulatorOf } from '../core/matmul.js';
import { elementCount, type Value } from '../ir/types.js';
import { add, arg, binary, cast, compare, constant, div, mul, select, sub, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { normalAxes, normalAxis, requireFloat, requireInference } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';
import { perChannel } from './windows.js';

const reciprocalRoot = (variance: Expr, epsilon: number): Expr =>
  div(constant(variance.type.dtype, 1), unary('sqrt', add(variance, constant(variance.type.dtype, epsilon))));

/** x * scale + bias, computed in at least single precision. */
function scaleAndShift(g: GraphBuilder, x: Value, scale: Value | undefined, bias: Value | undefined): Value {
  const type = accumulatorOf(x.type.dtype), out = x.type.dtype;
  const wide = (e: Expr): Expr => cast(e, type);
  if (scale && bias) return g.map([x, scale, bias], (e, s, b) => cast(add(mul(wide(e), wide(s)), wide(b)), out));
  if (scale) return g.map([x, scale], (e, s) => cast(mul(wide(e), wide(s)), out));
  return bias ? g.map([x, bias], (e, b) => cast(add(wide(e), wide(b)), out)) : x;
}

/** Mean and variance over `axes`, kept as dimensions of extent 1, in at least single precision. */
function moments(g: GraphBuilder, x: Value, axes: readonly number[]): { readonly mean: Value; readonly variance: Value } {
  const type = accumulatorOf(x.type.dtype), count = elementCount(axes.map((a) => x.type.shape[a]!));
  const average = (v: Value, map?: Expr): Value =>
    g.map([g.op('reduce', [v], { op: 'sum', axes, keepdims: true, ...(map ? { map } : {}) })[0]!], (s) => div(s, constant(type, count)));
  const mean = average(x, cast(arg(0, x.type.dtype), type));
  const centred = g.map([x, mean], (e, m) => sub(cast(e, type), m));
  return { mean, variance: average(centred, mul(arg(0, type), arg(0, type))) };
}

const batchNormalization = defineOnnxOp({
  op: 'BatchNormalization',
  lower(n) {
    const { g } = n, x = n.input(0, 'X'), rank = x.type.shape.length, { shape } = x.type;
    requireFloat(x);
    requireInference(n);
    // opset 7 and 8 may normalise every position of a channel on its own
    const shaped = n.opset < 9 && n.attr.int('spatial', 1) === 0 ? (v: Value): Value => g.reshape(v, shape.slice(1)) : (v: Value): Value => perChannel(n, v, Math.max(rank, 2));
    const [scale, bias, mean, variance] = [n.input(1, 'scale'), n.input(2, 'B'), n.input(3, 'mean'), n.input(4, 'var')];
    const epsilon = n.attr.float('epsilon', 1e-5);
    const apply = (m: Value, v: Value): Value => {
      const factor = g.map([scale, v], (s, e) => mul(s, reciprocalRoot(cast(e, s.type.dtype), epsilon)));
      const shift = g.map([bias, m, factor], (b, e, f) => sub(b, mul(cast(e, f.type.dtype), f)));
      return scaleAndShift(g, x, shaped(factor), shaped(shift));
    };
    if (n.opset < 14 || !n.attr.int('training_mode', 0)) {
      if (n.outputCount > 1 && n.usesOutput(1)) n.unsupported('outputs of training', 'export the model for inference');
      return apply(mean, variance);
    }
    const batch = moments(g, x, shape.flatMap((_, d) => (d === 1 ? [] : [d])));
    const current = [batch.mean, batch.variance].map((v) => g.reshape(v, [shape[1]!]));
    const momentum = n.attr.float('momentum', 0.9);
    const running = [mean, variance].map((old, i) =>
      g.map([old, current[i]!], (a, b) => add(mul(a, constant(a.type.dtype, momentum)), mul(cast(b, a.type.dtype), constant(a.type.dtype, 1 - momentum)))));
    return [apply(current[0]!, current[1]!), ...running];
  },
});

const instanceNormalization = defineOnnxOp({
  op: 'InstanceNormalization',
  lower(n) {
    const x = n.input(0, 'input'), rank = x.type.shape.length;
    requireFloat(x);
    const y = n.g.op('normalize', [x], { axes: x.type.shape.flatMap((_, d) => (d < 2 ? [] : [d])), epsilon: n.attr.float('epsilon', 1e-5), center: true })[0]!;
    return scaleAndShift(n.g, y, perChannel(n, n.input(1, 'scale'), rank), perChannel(n, n.input(2, 'B'), rank));
  },
});

/** Layer normalisation, with (centred) or without (RMS) the mean; the statistics are computed apart where the model uses them. */
function layerNormalization(n: OnnxNode, x: Value, scale: Value | undefined, bias: Value | undefined, center: boolean, statistics: readonly ('mean' | 'deviation')[]): (Value | undefined)[] {
  requireFloat(x);
  const { g } = n, rank = x.type.shape.length, first = normalAxis(n.attr.int('axis', -1), rank);
  const axes = x.type.shape.flatMap((_, d) => (d < first ? [] : [d])), epsilon = n.attr.float('epsilon', 1e-5);
  const y = scaleAndShift(g, g.op('normalize', [x], { axes, epsilon, center })[0]!, scale, bias);
  const used = statistics.map((s, i) => (n.usesOutput(i + 1) ? s : undefined));
  if (used.every((s) => !s)) return [y];
  const { mean, variance } = moments(g, x, axes);
  const meanSquare = center ? variance : g.map([variance, mean], (v, m) => add(v, mul(m, m)));
  return [y, ...used.map((s) => (s === 'mean' ? mean : s === 'deviation' ? g.map([meanSquare], (v) => reciprocalRoot(v, epsilon)) : undefined))];
}

const layerNorm = (domain: string): OnnxOp => defineOnnxOp({
  op: 'LayerNormalization',
  domain,
  lower: (n) => layerNormalization(n, n.input(0, 'X'), n.input(1, 'Scale'), n.optional(2), true, ['mean', 'deviation']),
});
const rmsNorm = (op: string, domain: string): OnnxOp => defineOnnxOp({
  op,
  domain,
  lower: (n) => layerNormalization(n, n.input(0, 'X'), n.input(1, 'scale'), undefined, false, ['deviation']),
});

/** Layer normalisation of input + skip + bias, a fusion of ONNX Runtime's; the fourth output is that sum. */
const skipLayerNorm = (op: string, center: boolean): OnnxOp => defineOnnxOp({
  op,
  domain: 'com.microsoft',
  lower(n) {
    const beta = center ? n.optional(3) : undefined, bias = n.optional(center ? 4 : 3);
    const sum = n.g.map([n.input(0, 'input'), n.input(1, 'skip'), ...(bias ? [bias] : [])], (...terms) => terms.reduce(add));
    if (n.usesOutput(1) || n.usesOutput(2)) n.unsupported('outputs mean and inv_std_var');
    return [layerNormalization(n, sum, n.input(2, 'gamma'), beta, center, [])[0], undefined, undefined, sum];
  },
});

const groupNormalization = defineOnnxOp({
  op: 'GroupNormalization',
  lower(n) {
    const { g } = n, x = n.input(0, 'X'), { shape } = x.type, groups = n.attr.int('num_groups'), channels = shape[1]!;
    requireFloat(x);
    if (groups < 1 || channels % groups !== 0) throw new NodeProblem('SPC2004', `${channels} channels in ${groups} groups`);
    const size = elementCount(shape.slice(1)) / groups;
    const y = g.op('normalize', [g.reshape(x, [shape[0]!, groups, size])], { axes: [2], epsilon: n.attr.float('epsilon', 1e-5), center: true })[0]!;
    // until opset 20 scale and bias belong to groups, since 21 to channels
    const [scale, bias] = [n.input(1, 'scale'), n.input(2, 'bias')];
    if (scale.type.shape[0] !== channels) return g.reshape(scaleAndShift(g, y, perChannel(n, scale, 3), perChannel(n, bias, 3)), shape);
    return scaleAndShift(g, g.reshape(y, shape), perChannel(n, scale, shape.length), perChannel(n, bias, shape.length));
  },
});

/** x / (bias + alpha / size * sum of squares over neighbouring channels) ^ beta. */
const lrn = defineOnnxOp({
  op: 'LRN',
  lower(n) {
    const { g } = n, x = n.input(0, 'X'), [batch, channels] = x.type.shape, size = n.attr.int('size');
    requireFloat(x);
    const [alpha, beta, bias] = [n.attr.float('alpha', 0.0001), n.attr.float('beta', 0.75), n.attr.float('bias', 1)];
    const squares = g.reshape(g.map([x], (e) => mul(e, e)), [batch!, 1, channels!, elementCount(x.type.shape.slice(2))]);
    const sums = g.op('pool', [squares], {
      mode: 'sum', kernel: [size, 1], strides: [1, 1], dilations: [1, 1], pads: [[Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)], [0, 0]],
      ceil: false, countIncludePad: false, layout: 'ncs',
    })[0]!;
    return g.map([x, g.reshape(sums, x.type.shape)], (e, s) => {
      const c = (v: number): Expr => constant(e.type.dtype, v);
      return div(e, binary('pow', add(c(bias), mul(c(alpha / size), s)), c(beta)));
    });
  },
});

/** (x - mean) / (deviation + 1e-9), the epsilon of the ONNX function body moved under the root. */
const meanVarianceNormalization = defineOnnxOp({
  op: 'MeanVarianceNormalization',
  lower(n) {
    const x = n.input(0, 'X');
    requireFloat(x);
    return n.g.op('normalize', [x], { axes: normalAxes(n.attr.ints('axes', [0, 2, 3]), x.type.shape.length), epsilon: 1e-18, center: true });
  },
});

/** x divided by its 1- or 2-norm along an axis; 0 stays 0. */
const lpNormalization = defineOnnxOp({
  op: 'LpNormalization',
  lower(n) {
    const x = n.input(0, 'input'), axis = normalAxis(n.attr.int('axis', -1), x.type.shape.length), p = n.attr.int('p', 2);
    requireFloat(x);
    if (p !== 1 && p !== 2) n.unsupported(`p=${p}`);
    const e = arg(0, x.type.dtype);
    const norm = n.g.op('reduce', [x], { op: 'sum', axes: [axis], keepdims: true, map: p === 1 ? unary('abs', e) : mul(e, e) })[0]!;
    return n.g.map([x, norm], (v, s) => select(compare('eq', s, constant(s.type.dtype, 0)), constant(v.type.dtype, 0), div(v, p === 1 ? s : unary('sqrt', s))));
  },
});

export const normalizationOps: readonly OnnxOp[] = [
  batchNormalization,
  instanceNormalization,
  layerNorm(''),
  layerNorm('com.microsoft'),
  rmsNorm('RMSNormalization', ''),
  rmsNorm('SimplifiedLayerNormalization', ''),
  rmsNorm('SimplifiedLayerNormalization', 'com.microsoft'),
  skipLayerNorm('SkipLayerNormalization', true),
  skipLayerNorm('SkipSimplifiedLayerNormalization', false),
  groupNormalization,
  lrn,
  meanVarianceNormalization,
  lpNormalization,
];
