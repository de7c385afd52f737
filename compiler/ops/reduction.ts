/** ONNX reductions over axes: sums, norms, extrema and where they are, running sums. */
import { dtypes, isInteger, type DType } from '../ir/dtype.js';
import type { ReduceAttrs } from '../core/reduce.js';
import type { Value } from '../ir/types.js';
import { add, arg, cast, compare, constant, div, mul, select, sub, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { intsParam, normalAxes, normalAxis, requireFloat, requiredInt } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

type Extent = Pick<ReduceAttrs, 'axes' | 'keepdims'>;

/** What is reduced over; undefined where the operator is asked to do nothing. Axes are an attribute or (ReduceSum 13, all of 18) an input. */
function extentOf(n: OnnxNode, x: Value): Extent | undefined {
  const given = intsParam(n, 1, 'axes') ?? [], rank = x.type.shape.length;
  if (given.length === 0 && n.attr.int('noop_with_empty_axes', 0)) return undefined;
  return { axes: given.length ? normalAxes(given, rank) : x.type.shape.map((_, d) => d), keepdims: n.attr.int('keepdims', 1) !== 0 };
}

interface Reduction {
  readonly op: ReduceAttrs['op'];
  /** Applied to every element before, and to every result after; `count` elements went into one. */
  readonly before?: (x: Expr) => Expr;
  readonly after?: (y: Expr, count: number) => Expr;
  /** True where integers have to leave the integers in between. */
  readonly real?: boolean;
}

const square = (x: Expr): Expr => mul(x, x);

const reductions: Record<string, Reduction> = {
  ReduceSum: { op: 'sum' },
  ReduceProd: { op: 'prod' },
  ReduceMax: { op: 'max' },
  ReduceMin: { op: 'min' },
  ReduceMean: { op: 'sum', after: (y, count) => div(y, constant(y.type.dtype, count)) },
  ReduceL1: { op: 'sum', before: (x) => unary('abs', x) },
  ReduceL2: { op: 'sum', before: square, after: (y) => unary('sqrt', y), real: true },
  ReduceSumSquare: { op: 'sum', before: square },
  ReduceLogSum: { op: 'sum', after: (y) => unary('log', y), real: true },
};

/** Type in which a reduction runs: half precision in single, so that no intermediate result overflows or is rounded. */
function workingType(dtype: DType, r: Reduction): DType {
  if (isInteger(dtype)) return r.real ? 'f64' : dtype;
  return dtypes[dtype].bytes === 2 && (r.before || r.after) ? 'f32' : dtype;
}

const reductionOp = (op: string, r: Reduction): OnnxOp => defineOnnxOp({
  op,
  lower(n) {
    const x = n.input(0, 'data'), extent = extentOf(n, x), own = x.type.dtype, via = workingType(own, r);
    if (!extent) return x;
    const count = extent.axes.reduce((c, a) => c * x.type.shape[a]!, 1);
    const element = cast(arg(0, own), via);
    const mapped = r.before ? r.before(element) : element;
    const total = n.g.op('reduce', [x], { op: r.op, ...extent, ...(mapped.kind === 'arg' ? {} : { map: mapped }) })[0]!;
    return via === own && !r.after ? total : n.g.map([total], (y) => cast(r.after ? r.after(y, count) : y, own));
  },
});

/** log(sum(exp(x))), shifted by the maximum against overflow; where that is infinite, by nothing. */
const logSumExp = defineOnnxOp({
  op: 'ReduceLogSumExp',
  lower(n) {
    const x = n.input(0, 'data'), extent = extentOf(n, x);
    requireFloat(x);
    if (!extent) return x;
    const { g } = n, over = { ...extent, keepdims: true };
    const peak = g.op('reduce', [x], { op: 'max', ...over })[0]!;
    const shift = g.map([peak], (m) => select(compare('lt', unary('abs', m), constant(m.type.dtype, Infinity)), m, constant(m.type.dtype, 0)));
    const powers = g.map([x, shift], (e, s) => unary('exp', sub(e, s)));
    const result = g.map([g.op('reduce', [powers], { op: 'sum', ...over })[0]!, shift], (sum, s) => add(unary('log', sum), s));
    return extent.keepdims ? result : g.reshape(result, x.type.shape.filter((_, d) => !extent.axes.includes(d)));
  },
});

const argReduceOp = (op: 'max' | 'min'): OnnxOp => defineOnnxOp({
  op: op === 'max' ? 'ArgMax' : 'ArgMin',
  lower(n) {
    const x = n.input(0, 'data');
    return n.g.op('argReduce', [x], {
      op,
      axis: normalAxis(n.attr.int('axis', 0), x.type.shape.length),
      keepdims: n.attr.int('keepdims', 1) !== 0,
      take: n.attr.int('select_last_index', 0) ? 'last' : 'first',
    });
  },
});

const cumSum = defineOnnxOp({
  op: 'CumSum',
  limits: 'the axis must be a constant',
  lower(n) {
    const x = n.input(0, 'x'), axis = normalAxis(requiredInt(n, 1, 'axis'), x.type.shape.length);
    return n.g.op('cumsum', [x], { axis, exclusive: n.attr.int('exclusive', 0) !== 0, reverse: n.attr.int('reverse', 0) !== 0 });
  },
});

export const reductionOps: readonly OnnxOp[] = [
  ...Object.entries(reductions).map(([op, r]) => reductionOp(op, r)),
  logSumExp,
  argReduceOp('max'),
  argReduceOp('min'),
  cumSum,
];
