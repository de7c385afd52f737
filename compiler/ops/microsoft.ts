/** Operators of ONNX Runtime's own domain com.microsoft that quantisation and optimisation tools leave in models. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { saturate } from '../core/quantize.js';
import { elementCount, type Value } from '../ir/types.js';
import { add, arg, cast, compare, constant, div, mul, select, sub, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { withoutZeroPoint } from './linear.js';
import { normalAxis, requireFloat } from './params.js';
import { poolAttrs } from './pooling.js';
import { dequantized, multiplierOf, quantized, requantized, scaleAt } from './quantization.js';
import { softmaxOf } from './softmax.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

const microsoft = (op: string, lower: OnnxOp['lower'], limits?: string): OnnxOp =>
  defineOnnxOp({ op, domain: 'com.microsoft', lower, ...(limits ? { limits } : {}) });

const f32 = (x: number): Expr => constant('f32', x);
const real = (q: Expr, zero: Expr | undefined): Expr => cast(zero ? sub(cast(q, 'i32'), cast(zero, 'i32')) : cast(q, 'i32'), 'f32');

/** A + B or A * B of quantised tensors; the sum (or product) is rescaled and rounded once. */
const qLinearBinary = (op: string, combine: 'add' | 'mul'): OnnxOp => microsoft(op, (n) => {
  const { g } = n, a = n.input(0, 'A'), b = n.input(3, 'B'), [sa, sb, sc] = [scaleAt(n, 1, 'A'), scaleAt(n, 4, 'B'), scaleAt(n, 6, 'C')];
  const out = sc.zero?.type.dtype ?? a.type.dtype;
  const operands = [a, b, sa.scale, sb.scale, sc.scale], zeros = [sa.zero, sb.zero, sc.zero], present = zeros.filter((z): z is Value => z !== undefined);
  return g.map([...operands, ...present], (x, y, p, q, r, ...rest) => {
    const [zx, zy, zc] = zeros.map((z) => (z ? rest[present.indexOf(z)] : undefined));
    const result = combine === 'add'
      ? add(mul(real(x!, zx), div(p!, r!)), mul(real(y!, zy), div(q!, r!)))
      : mul(mul(real(x!, zx), real(y!, zy)), div(mul(p!, q!), r!));
    return saturate(unary('round', zc ? add(result, cast(zc, 'f32')) : result), out);
  });
});

/** Dequantise, compute in single precision, quantise: how ONNX Runtime defines the others. Inputs: X, its parameters, Y's parameters. */
const throughFloat = (op: string, f: (n: OnnxNode, x: Value) => Value): OnnxOp => microsoft(op, (n) => {
  const x = n.input(0, 'X'), y = scaleAt(n, 3, 'Y');
  return quantized(n.g, f(n, dequantized(n.g, x, scaleAt(n, 1, 'X'))), y, y.zero?.type.dtype ?? x.type.dtype);
});

const leakyRelu = (n: OnnxNode, x: Value): Value =>
  n.g.map([x], (e) => select(compare('lt', e, f32(0)), mul(e, f32(n.attr.float('alpha', 0.01))), e));

function averagePool(n: OnnxNode, x: Value): Value {
  const layout = n.attr.int('channels_last', 0) ? 'nsc' as const : 'ncs' as const, { shape } = x.type;
  return n.g.op('pool', [x], poolAttrs(n, layout === 'ncs' ? shape.slice(2) : shape.slice(1, -1), 'average', layout))[0]!;
}

const qLinearGlobalAveragePool = microsoft('QLinearGlobalAveragePool', (n) => {
  const { g } = n, x = n.input(0, 'X'), [sx, sy] = [scaleAt(n, 1, 'X'), scaleAt(n, 3, 'Y')], rank = x.type.shape.length;
  const axes = x.type.shape.flatMap((_, d) => (n.attr.int('channels_last', 0) ? d > 0 && d < rank - 1 : d > 1) ? [d] : []);
  const count = elementCount(axes.map((d) => x.type.shape[d]!));
  const centred = withoutZeroPoint(g, x, sx.zero);
  const sum = g.op('reduce', [centred], { op: 'sum', axes, keepdims: true, map: cast(arg(0, centred.type.dtype), 'i32') })[0]!;
  const multiplier = g.map([sx.scale, sy.scale], (a, b) => div(a, mul(b, f32(count))));
  return requantized(g, sum, multiplier, sy.zero, sy.zero?.type.dtype ?? x.type.dtype);
});

const qLinearConcat = microsoft('QLinearConcat', (n) => {
  const { g } = n, y = scaleAt(n, 0, 'Y'), parts = [];
  for (let i = 2; i < n.inputs.length; i += 3) {
    const x = n.input(i, 'X');
    parts.push(quantized(g, dequantized(g, x, scaleAt(n, i + 1, 'X')), y, y.zero?.type.dtype ?? x.type.dtype));
  }
  return g.op('concat', parts, { axis: normalAxis(n.attr.int('axis'), parts[0]!.type.shape.length) });
});

/** Gemm on quantised operands; without scales for Y the result is f32. */
const qGemm = microsoft('QGemm', (n) => {
  const { g } = n, a = n.input(0, 'A'), b = n.input(3, 'B'), bias = n.optional(6), alpha = n.attr.float('alpha', 1);
  const transB = n.attr.int('transB', 0) !== 0;
  const perColumn = (v: Value): Value => (transB ? g.reshape(v, [elementCount(v.type.shape), 1]) : v);
  const [sa, zb] = [scaleAt(n, 1, 'A'), n.optional(5)];
  const left = withoutZeroPoint(g, a, sa.zero), right = withoutZeroPoint(g, b, zb && (elementCount(zb.type.shape) === 1 ? g.reshape(zb, []) : perColumn(zb)));
  const product = g.op('matmul', [left, right], { transA: n.attr.int('transA', 0) !== 0, transB, out: 'i32' })[0]!;
  const sum = bias ? g.map([product, bias], add) : product;
  const scaleB = n.input(4, 'b_scale'), single = elementCount(scaleB.type.shape) === 1 ? g.reshape(scaleB, []) : scaleB;
  const scale = alpha === 1 ? single : g.map([single], (s) => mul(s, f32(alpha)));
  if (!n.optional(7)) return g.map([sum, sa.scale, scale], (s, p, q) => mul(cast(s, 'f32'), mul(p, q)));
  const y = scaleAt(n, 7, 'y');
  return requantized(g, sum, multiplierOf(g, sa.scale, scale, y.scale), y.zero, y.zero?.type.dtype ?? a.type.dtype);
});

const fusedMatMul = microsoft('FusedMatMul', (n) => {
  const { g } = n, a = n.input(0, 'A'), b = n.input(1, 'B'), alpha = n.attr.float('alpha', 1);
  if (n.attr.int('transBatchA', 0) || n.attr.int('transBatchB', 0)) n.unsupported('transBatchA or transBatchB');
  if (a.type.shape.length < 2 || b.type.shape.length < 2) throw new NodeProblem('SPC2003', 'FusedMatMul needs operands of rank 2 or more');
  const y = g.op('matmul', [a, b], { transA: n.attr.int('transA', 0) !== 0, transB: n.attr.int('transB', 0) !== 0, out: a.type.dtype })[0]!;
  return alpha === 1 ? y : g.map([y], (e) => mul(e, constant(e.type.dtype, alpha)));
});

const gelu = (x: Expr, tanh: boolean): Expr => {
  const c = (v: number): Expr => constant(x.type.dtype, v);
  const inner = tanh
    ? unary('tanh', mul(c(Math.sqrt(2 / Math.PI)), add(x, mul(c(0.044715), mul(x, mul(x, x))))))
    : unary('erf', mul(x, c(Math.SQRT1_2)));
  return mul(mul(c(0.5), x), add(c(1), inner));
};
/** GELU of the input, or of input + bias. */
const geluOp = (op: string, tanh: boolean): OnnxOp => microsoft(op, (n) => {
  const x = n.input(0, 'X'), bias = n.optional(1);
  requireFloat(x);
  return bias ? n.g.map([x, bias], (e, b) => gelu(add(e, b), tanh)) : n.g.map([x], (e) => gelu(e, tanh));
});

export const microsoftOps: readonly OnnxOp[] = [
  qLinearBinary('QLinearAdd', 'add'),
  qLinearBinary('QLinearMul', 'mul'),
  throughFloat('QLinearAveragePool', averagePool),
  throughFloat('QLinearSigmoid', (n, x) => n.g.map([x], (e) => unary('sigmoid', e))),
  throughFloat('QLinearLeakyRelu', leakyRelu),
  throughFloat('QLinearSoftmax', (n, x) => softmaxOf(n, x, 'soft', n.attr.int('opset', 13))),
  qLinearGlobalAveragePool,
  qLinearConcat,
  qGemm,
  fusedMatMul,
  geluOp('Gelu', false),
  geluOp('BiasGelu', false),
  geluOp('FastGelu', true),
];
