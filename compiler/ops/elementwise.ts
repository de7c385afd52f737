/** ONNX operators that are one scalar expression on every element, with numpy broadcasting. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { dtypes, isFloat, isInteger } from '../ir/dtype.js';
import { numberAt, denseData, type Tensor } from '../ir/tensor.js';
import type { Value } from '../ir/types.js';
import { add, and, binary, cast, compare, constant, div, max, min, mod, mul, not, or, select, sub, unary } from '../kir/build.js';
import type { BinaryOp, CompareOp, Expr, UnaryOp } from '../kir/types.js';
import { allInputs, normalAxis, requireFloat, sameDtype } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

type Attributes = OnnxNode['attr'];
type UnaryExpr = (x: Expr, attr: Attributes) => Expr;

/** A constant of the type of `x`. */
const like = (x: Expr, value: number): Expr => constant(x.type.dtype as Parameters<typeof constant>[0], value);
const neg = (x: Expr): Expr => unary('neg', x);
const exp = (x: Expr): Expr => unary('exp', x);
const square = (x: Expr): Expr => mul(x, x);
const scale = (x: Expr, factor: number): Expr => mul(x, like(x, factor));
const positive = (x: Expr): Expr => compare('gt', x, like(x, 0));
const negative = (x: Expr): Expr => compare('lt', x, like(x, 0));

/** log(1 + exp(x)) without overflow. */
const softplus = (x: Expr): Expr => add(max(x, like(x, 0)), unary('log1p', exp(neg(unary('abs', x)))));
/** x cut to [0, 1]. */
const unit = (x: Expr): Expr => max(min(x, like(x, 1)), like(x, 0));

function gelu(x: Expr, attr: Attributes): Expr {
  const half = scale(x, 0.5);
  const inner = attr.string('approximate', 'none') === 'tanh'
    ? unary('tanh', scale(add(x, scale(mul(square(x), x), 0.044715)), Math.sqrt(2 / Math.PI)))
    : unary('erf', scale(x, Math.SQRT1_2));
  return mul(half, add(inner, like(x, 1)));
}

function shrink(x: Expr, attr: Attributes): Expr {
  const lambd = attr.float('lambd', 0.5), bias = like(x, attr.float('bias', 0));
  return select(compare('lt', x, like(x, -lambd)), add(x, bias), select(compare('gt', x, like(x, lambd)), sub(x, bias), like(x, 0)));
}

function isInf(x: Expr, attr: Attributes): Expr {
  const signs = [...(attr.int('detect_positive', 1) ? [Infinity] : []), ...(attr.int('detect_negative', 1) ? [-Infinity] : [])];
  return signs.map((s) => compare('eq', x, like(x, s))).reduceRight((a, b) => or(a, b), constant('bool', 0));
}

/** Functions of floating-point numbers that kernel IR has by name. */
const floatFunctions: Record<string, UnaryOp> = {
  Acos: 'acos', Acosh: 'acosh', Asin: 'asin', Asinh: 'asinh', Atan: 'atan', Atanh: 'atanh', Ceil: 'ceil', Cos: 'cos', Cosh: 'cosh', Erf: 'erf',
  Exp: 'exp', Floor: 'floor', IsNaN: 'isnan', Log: 'log', Round: 'round', Sigmoid: 'sigmoid', Sin: 'sin', Sinh: 'sinh', Sqrt: 'sqrt', Tan: 'tan', Tanh: 'tanh',
};

const floatExpressions: Record<string, UnaryExpr> = {
  Reciprocal: (x) => div(like(x, 1), x),
  Softplus: softplus,
  Softsign: (x) => div(x, add(unary('abs', x), like(x, 1))),
  Mish: (x) => mul(x, unary('tanh', softplus(x))),
  Gelu: gelu,
  HardSwish: (x) => mul(x, unit(add(scale(x, 1 / 6), like(x, 0.5)))),
  HardSigmoid: (x, attr) => unit(add(scale(x, attr.float('alpha', 0.2)), like(x, attr.float('beta', 0.5)))),
  LeakyRelu: (x, attr) => select(negative(x), scale(x, attr.float('alpha', 0.01)), x),
  Elu: (x, attr) => select(negative(x), scale(unary('expm1', x), attr.float('alpha', 1)), x),
  Celu: (x, attr) => {
    const alpha = attr.float('alpha', 1);
    return select(negative(x), scale(unary('expm1', scale(x, 1 / alpha)), alpha), x);
  },
  Selu: (x, attr) => {
    const gamma = attr.float('gamma', 1.0507009873554805), alpha = attr.float('alpha', 1.6732632423543772);
    return select(positive(x), scale(x, gamma), scale(unary('expm1', x), gamma * alpha));
  },
  ThresholdedRelu: (x, attr) => select(compare('gt', x, like(x, attr.float('alpha', 1))), x, like(x, 0)),
  IsInf: isInf,
  ...Object.fromEntries(Object.entries(floatFunctions).map(([op, f]): [string, UnaryExpr] => [op, (x) => unary(f, x)])),
};

const numericExpressions: Record<string, UnaryExpr> = {
  Abs: (x) => unary('abs', x),
  Neg: neg,
  Relu: (x) => max(x, like(x, 0)),
  // the last branch is 0, or the NaN that x is
  Sign: (x) => select(positive(x), like(x, 1), x.type.dtype.startsWith('u') ? x : select(negative(x), like(x, -1), x)),
  Shrink: shrink,
};

const unaryOp = (op: string, f: UnaryExpr, check: (v: Value) => void): OnnxOp => defineOnnxOp({
  op,
  lower(n) {
    const x = n.input(0, 'X');
    check(x);
    return n.g.map([x], (e) => f(e, n.attr));
  },
});

function requireFamily(what: string, families: readonly string[]): (v: Value) => void {
  return (v) => {
    if (!families.includes(dtypes[v.type.dtype].family)) throw new NodeProblem('SPC2001', `needs a ${what} operand, not ${v.type.dtype}`);
  };
}
const requireNumeric = requireFamily('numeric', ['float', 'int', 'uint']);
const requireInteger = requireFamily('integer', ['int', 'uint']);
const requireBool = requireFamily('bool', ['bool']);
const requireAny = (): void => {};

type BinaryExpr = (a: Expr, b: Expr, n: OnnxNode) => Expr;
const byName = (op: BinaryOp): BinaryExpr => (a, b) => binary(op, a, b);
const comparing = (op: CompareOp): BinaryExpr => (a, b) => compare(op, a, b);

/** Python's remainder, with the sign of the divisor, unless `fmod` asks for C's. */
function modulo(a: Expr, b: Expr, n: OnnxNode): Expr {
  const remainder = mod(a, b);
  if (n.attr.int('fmod', 0) || a.type.dtype.startsWith('u')) return remainder;
  const wrongSign = and(compare('ne', remainder, like(a, 0)), compare('ne', negative(remainder), negative(b)));
  return select(wrongSign, add(remainder, b), remainder);
}

/** Shifting by the width or more gives 0, where C leaves it undefined. */
function bitShift(a: Expr, b: Expr, n: OnnxNode): Expr {
  const direction = n.attr.string('direction');
  if (direction !== 'LEFT' && direction !== 'RIGHT') n.unsupported(`direction '${direction}'`, 'LEFT and RIGHT are defined');
  const width = dtypes[a.type.dtype as keyof typeof dtypes].bytes * 8;
  return select(compare('lt', b, like(b, width)), binary(direction === 'LEFT' ? 'shl' : 'shr', a, b), like(a, 0));
}

/** Operands of one type; the check is on that type. */
const binaryTable: readonly (readonly [op: string, f: BinaryExpr, check: (v: Value) => void])[] = [
  ['Add', byName('add'), requireNumeric], ['Sub', byName('sub'), requireNumeric], ['Mul', byName('mul'), requireNumeric], ['Div', byName('div'), requireNumeric],
  ['Mod', modulo, requireNumeric],
  ['BitShift', bitShift, requireInteger],
  ['BitwiseAnd', byName('and'), requireInteger], ['BitwiseOr', byName('or'), requireInteger], ['BitwiseXor', byName('xor'), requireInteger],
  ['And', byName('and'), requireBool], ['Or', byName('or'), requireBool], ['Xor', byName('xor'), requireBool],
  ['Equal', comparing('eq'), requireAny],
  ['Less', comparing('lt'), requireNumeric], ['LessOrEqual', comparing('le'), requireNumeric],
  ['Greater', comparing('gt'), requireNumeric], ['GreaterOrEqual', comparing('ge'), requireNumeric],
];

/** Up to opset 6, dimension 0 of `b` lies on dimension `axis` of `a` instead of both ending together. */
function legacyAligned(n: OnnxNode, a: Value, b: Value): Value {
  if (n.opset >= 7 || !n.attr.has('axis')) return b;
  const axis = normalAxis(n.attr.int('axis'), a.type.shape.length), trailing = a.type.shape.length - axis - b.type.shape.length;
  return n.g.reshape(b, [...b.type.shape, ...Array.from({ length: Math.max(0, trailing) }, () => 1)]);
}

const binaryOp = (op: string, f: BinaryExpr, check: (v: Value) => void): OnnxOp => defineOnnxOp({
  op,
  lower(n) {
    const a = n.input(0, 'A'), b = legacyAligned(n, a, n.input(1, 'B'));
    sameDtype(a, b);
    check(a);
    return n.g.map([a, b], (x, y) => f(x, y, n));
  },
});

/** A slope of rank 1 that does not fit the last dimension belongs to the channels, as PyTorch's exporter writes it. */
const pRelu = defineOnnxOp({
  op: 'PRelu',
  lower(n) {
    const x = n.input(0, 'X'), slope = n.input(1, 'slope'), { shape } = x.type, [channels] = slope.type.shape;
    sameDtype(x, slope);
    requireNumeric(x);
    const perChannel = slope.type.shape.length === 1 && shape.length > 2 && channels === shape[1] && channels !== 1 && (n.opset < 7 || channels !== shape.at(-1));
    const aligned = perChannel ? n.g.reshape(slope, [channels!, ...shape.slice(2).map(() => 1)]) : slope;
    return n.g.map([x, aligned], (e, s) => select(negative(e), mul(e, s), e));
  },
});

/** Folded over any number of operands. */
const variadicTable: Record<string, (sum: Expr, count: number) => Expr> = {
  Sum: (x) => x,
  Mean: (x, count) => div(x, like(x, count)),
  Max: (x) => x,
  Min: (x) => x,
};
const variadicOp = (op: string, finish: (sum: Expr, count: number) => Expr): OnnxOp => defineOnnxOp({
  op,
  lower(n) {
    const inputs = allInputs(n);
    requireNumeric(inputs[0] ?? n.input(0, 'data_0'));
    sameDtype(...inputs);
    if (inputs.length === 1) return inputs[0]!;
    const combine = op === 'Max' ? max : op === 'Min' ? min : add;
    return n.g.map(inputs, (...args) => finish(args.reduce((a, b) => combine(a, b)), inputs.length));
  },
});

/** The one element of a constant, or undefined. */
const constantScalar = (t: Tensor | undefined): number | undefined => {
  if (!t) return undefined;
  const data = denseData(t);
  return data.length === 1 ? numberAt(t.dtype, data, 0) : undefined;
};

/** Exponents that need no pow(). */
const easyPowers: ReadonlyMap<number, (x: Expr) => Expr> = new Map([
  [0.5, (x: Expr) => unary('sqrt', x)], [1, (x) => x], [2, square], [3, (x) => mul(square(x), x)],
]);

const pow = defineOnnxOp({
  op: 'Pow',
  lower(n) {
    const x = n.input(0, 'X'), y = legacyAligned(n, x, n.input(1, 'Y'));
    requireNumeric(x);
    requireNumeric(y);
    const base = x.type.dtype, exponent = constantScalar(y.constant);
    const easy = exponent === undefined || (exponent % 1 !== 0 && !isFloat(base)) ? undefined : easyPowers.get(exponent);
    if (easy && y.type.shape.length <= x.type.shape.length) return n.g.map([x], easy);
    // an integer to a fractional power is computed in double precision, then truncated as ONNX's own reference does
    const via = isInteger(base) && isFloat(y.type.dtype) ? 'f64' : base;
    return n.g.map([x, y], (a, b) => cast(binary('pow', cast(a, via), cast(b, via)), base));
  },
});

/** Attributes up to opset 10, optional scalar inputs from 11 on. */
const clip = defineOnnxOp({
  op: 'Clip',
  lower(n) {
    const x = n.input(0, 'input'), low = n.optional(1), high = n.optional(2);
    const bounds = [low, high].filter((v) => v !== undefined);
    sameDtype(x, ...bounds);
    return n.g.map([x, ...bounds], (e, ...args) => {
      const bound = (name: string, given: Value | undefined): Expr | undefined =>
        given ? args[bounds.indexOf(given)]! : n.attr.has(name) ? like(e, n.attr.float(name)) : undefined;
      const [lowest, highest] = [bound('min', low), bound('max', high)];
      const raised = lowest ? max(e, lowest) : e;
      return highest ? min(raised, highest) : raised;
    }, x.type.shape);
  },
});

const where = defineOnnxOp({
  op: 'Where',
  lower(n) {
    const condition = n.input(0, 'condition'), x = n.input(1, 'X'), y = n.input(2, 'Y');
    requireBool(condition);
    sameDtype(x, y);
    return n.g.map([condition, x, y], select);
  },
});

export const elementwiseOps: readonly OnnxOp[] = [
  ...Object.entries(floatExpressions).map(([op, f]) => unaryOp(op, f, requireFloat)),
  ...Object.entries(numericExpressions).map(([op, f]) => unaryOp(op, f, requireNumeric)),
  unaryOp('Not', not, requireBool),
  unaryOp('BitwiseNot', not, requireInteger),
  ...binaryTable.map(([op, f, check]) => binaryOp(op, f, check)),
  ...Object.entries(variadicTable).map(([op, finish]) => variadicOp(op, finish)),
  pow,
  pRelu,
  clip,
  where,
];
