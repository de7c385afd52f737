/**
 * ONNX quantisation, and the operators that compute in quantised integers: zero points are subtracted exactly, products summed in
 * 32 bits, sums scaled in single precision, rounded half to even and saturated (as ONNX Runtime does it).
 */
import { saturate } from '../core/quantize.js';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { GraphBuilder } from '../ir/build.js';
import { isInteger, type DType } from '../ir/dtype.js';
import { elementCount, type Value } from '../ir/types.js';
import { add, cast, compare, constant, div, max, min, mul, select, sub, unary } from '../kir/build.js';
import { dtypeAttr } from './cast.js';
import { matmul, withoutZeroPoint } from './linear.js';
import { normalAxis, requireFloat } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';
import { kernelOf, perChannel, spatialOf, windowsOf } from './windows.js';

/** Quantisation parameters of a tensor, shaped to broadcast against it. */
export interface Scale { readonly scale: Value; readonly zero: Value | undefined }

/** Parameters in inputs `i` (scale) and `i + 1` (optional zero point), of one element or shaped by `shape`. */
export function scaleAt(n: OnnxNode, i: number, what: string, shape: (v: Value) => Value = (v) => v): Scale {
  const single = (v: Value): Value => (elementCount(v.type.shape) === 1 ? n.g.reshape(v, []) : shape(v));
  const zero = n.optional(i + 1);
  return { scale: single(n.input(i, `${what}_scale`)), zero: zero && single(zero) };
}

const given = (...values: readonly (Value | undefined)[]): Value[] => values.filter((v): v is Value => v !== undefined);
export const quantized = (g: GraphBuilder, x: Value, s: Scale, out: DType = s.zero?.type.dtype ?? 'u8'): Value =>
  g.op('quantize', given(x, s.scale, s.zero), { out })[0]!;
export const dequantized = (g: GraphBuilder, x: Value, s: Scale): Value =>
  g.op('dequantize', given(x, s.scale, s.zero), { out: s.scale.type.dtype })[0]!;

/** An i32 sum times `multiplier` (f32) in the quantised form that `zero` belongs to. */
export function requantized(g: GraphBuilder, sum: Value, multiplier: Value, zero: Value | undefined, out: DType = zero?.type.dtype ?? 'u8'): Value {
  return g.map(given(sum, multiplier, zero), (s, m, z) => {
    const rounded = unary('round', mul(cast(s, 'f32'), m!));
    return saturate(z ? add(rounded, cast(z, 'f32')) : rounded, out);
  });
}

/** scaleA * scaleB / scaleY, rounded to single precision after each step as ONNX Runtime does. */
export const multiplierOf = (g: GraphBuilder, a: Value, b: Value, y: Value): Value =>
  g.map([a, b, y], (sa, sb, sy) => div(mul(cast(sa, 'f32'), cast(sb, 'f32')), cast(sy, 'f32')));

/** `x`, and its parameters, in shapes that broadcast: a block of the axis becomes a dimension of its own (QuantizeLinear 21). */
function aligned(n: OnnxNode, x: Value): { readonly x: Value; readonly scale: Scale } {
  const { g } = n, { shape } = x.type, block = n.attr.int('block_size', 0), rank = shape.length;
  const scale = n.input(1, 'scale');
  if (block === 0) {
    const axis = (): number => normalAxis(n.attr.int('axis', 1), rank);
    return { x, scale: scaleAt(n, 1, 'x', (v) => g.reshape(v, [elementCount(v.type.shape), ...shape.slice(axis() + 1).map(() => 1)])) };
  }
  const axis = normalAxis(n.attr.int('axis', 1), rank), blocks = scale.type.shape[axis]!;
  if (scale.type.shape.length !== rank) throw new NodeProblem('SPC2004', `blocked scales [${scale.type.shape.join(',')}] for a tensor [${shape.join(',')}]`);
  if (blocks * block !== shape[axis]) n.unsupported(`blocks of ${block} that do not divide ${shape[axis]} elements evenly`);
  const split = (s: readonly number[], inner: number): number[] => [...s.slice(0, axis), blocks, inner, ...s.slice(axis + 1)];
  return { x: g.reshape(x, split(shape, block)), scale: scaleAt(n, 1, 'x', (v) => g.reshape(v, split(v.type.shape, 1))) };
}

const quantizeLinear = (domain: string): OnnxOp => defineOnnxOp({
  op: 'QuantizeLinear',
  domain,
  limits: '8-bit floats and 4-bit integers',
  lower(n) {
    const x = n.input(0, 'x'), a = aligned(n, x);
    const out = a.scale.zero?.type.dtype ?? (n.attr.int('output_dtype', 0) ? dtypeAttr(n, 'output_dtype') : 'u8');
    return n.g.reshape(quantized(n.g, a.x, a.scale, out), x.type.shape);
  },
});

const dequantizeLinear = (domain: string): OnnxOp => defineOnnxOp({
  op: 'DequantizeLinear',
  domain,
  limits: '8-bit floats and 4-bit integers',
  lower(n) {
    const x = n.input(0, 'x');
    if (!isInteger(x.type.dtype)) n.unsupported(`${x.type.dtype} input`);
    const a = aligned(n, x);
    return n.g.reshape(dequantized(n.g, a.x, a.scale), x.type.shape);
  },
});

const dynamicQuantizeLinear = defineOnnxOp({
  op: 'DynamicQuantizeLinear',
  lower(n) {
    const { g } = n, x = n.input(0, 'x'), axes = x.type.shape.map((_, d) => d);
    requireFloat(x);
    const zero = constant('f32', 0), steps = constant('f32', 255);
    const extreme = (op: 'min' | 'max'): Value => g.map([g.op('reduce', [x], { op, axes, keepdims: false })[0]!], (e) => (op === 'min' ? min(e, zero) : max(e, zero)));
    const low = extreme('min'), high = extreme('max');
    const scale = g.map([low, high], (l, h) => select(compare('eq', l, h), constant('f32', 1), div(sub(h, l), steps)));
    const point = g.map([low, scale], (l, s) => saturate(unary('round', div(sub(zero, l), s)), 'u8'));
    return [quantized(g, x, { scale, zero: point }), scale, point];
  },
});

const convInteger = defineOnnxOp({
  op: 'ConvInteger',
  lower(n) {
    const { g } = n, x = n.input(0, 'x'), w = n.input(1, 'w'), rank = x.type.shape.length;
    const windows = windowsOf(n, spatialOf(x), kernelOf(n, w)), wZero = n.optional(3), xZero = n.optional(2);
    const operands = [
      withoutZeroPoint(g, x, xZero && g.reshape(xZero, [])),
      withoutZeroPoint(g, w, wZero && perOutput(n, wZero, rank)),
    ];
    return g.op('conv', operands, { ...windows, group: n.attr.int('group', 1), layout: 'ncs', out: 'i32' });
  },
});

/** One value an output channel, shaped to broadcast against the weights [O, C/group, spatial...]. */
const perOutput = (n: OnnxNode, v: Value, rank: number): Value => {
  const count = elementCount(v.type.shape);
  return n.g.reshape(v, count === 1 ? [] : [count, ...Array.from({ length: rank - 1 }, () => 1)]);
};

const qLinearConv = (domain: string): OnnxOp => defineOnnxOp({
  op: 'QLinearConv',
  domain,
  limits: 'channels_last (com.microsoft)',
  lower(n) {
    if (n.attr.int('channels_last', 0)) n.unsupported('channels_last');
    const { g } = n, x = n.input(0, 'x'), w = n.input(3, 'w'), bias = n.optional(8), rank = x.type.shape.length;
    const [sx, sy] = [scaleAt(n, 1, 'x'), scaleAt(n, 6, 'y')];
    const wZero = n.optional(5);
    const windows = windowsOf(n, spatialOf(x), kernelOf(n, w));
    const sum = g.op('conv', [withoutZeroPoint(g, x, sx.zero), withoutZeroPoint(g, w, wZero && perOutput(n, wZero, rank))],
      { ...windows, group: n.attr.int('group', 1), layout: 'ncs', out: 'i32' })[0]!;
    const biased = bias ? g.map([sum, perChannel(n, bias, rank)], add) : sum;
    return requantized(g, biased, perChannel(n, multiplierOf(g, sx.scale, n.input(4, 'w_scale'), sy.scale), rank), sy.zero, sy.zero?.type.dtype ?? x.type.dtype);
  },
});

/** Parameters of one value a row of A: a column that broadcasts along the rows. */
const asColumn = (g: GraphBuilder) => (v: Value): Value => (v.type.shape.length === 1 ? g.reshape(v, [v.type.shape[0]!, 1]) : v);

const qLinearMatMul = defineOnnxOp({
  op: 'QLinearMatMul',
  lower(n) {
    const { g } = n, a = n.input(0, 'a'), b = n.input(3, 'b');
    const [sa, sb, sy] = [scaleAt(n, 1, 'a', asColumn(g)), scaleAt(n, 4, 'b'), scaleAt(n, 6, 'y')];
    const sum = matmul(g, withoutZeroPoint(g, a, sa.zero), withoutZeroPoint(g, b, sb.zero), 'i32');
    return requantized(g, sum, multiplierOf(g, sa.scale, sb.scale, sy.scale), sy.zero, sy.zero?.type.dtype ?? a.type.dtype);
  },
});

export const quantizationOps: readonly OnnxOp[] = [
  quantizeLinear(''),
  quantizeLinear('com.microsoft'),
  dequantizeLinear(''),
  dequantizeLinear('com.microsoft'),
  dynamicQuantizeLinear,
  convInteger,
  qLinearConv(''),
  qLinearConv('com.microsoft'),
  qLinearMatMul,
];
