/** What passes do with scalar expressions: literals for uniform operands, arguments without repetition, algebra that keeps every bit. */
import type { GraphEditor } from '../compiler/ir/edit.js';
import { isFloat, type DType } from '../compiler/ir/dtype.js';
import { numberAt, type Tensor } from '../compiler/ir/tensor.js';
import type { ValueId } from '../compiler/ir/types.js';
import { evaluateNode } from '../compiler/kir/evaluate.js';
import { arg, binary, constant, mapExpr, mul, substituteArgs, unary } from '../compiler/kir/build.js';
import type { Expr, UnaryOp } from '../compiler/kir/types.js';

/** The one number that all elements are, if they are. A sparse tensor is not looked into. */
export function uniformValue(t: Tensor | undefined): number | bigint | undefined {
  if (!t || t.kind === 'sparse' || t.data.length === 0) return undefined;
  const first = t.data[0]!;
  for (let i = 1; i < t.data.length; i++) if (!Object.is(t.data[i], first)) return undefined;
  return typeof first === 'bigint' ? first : numberAt(t.dtype, t.data, 0);
}

/** Operations that cost tens of instructions; never computed twice to save a pass over memory. */
const costly: ReadonlySet<UnaryOp> = new Set<UnaryOp>([
  'exp', 'log', 'log1p', 'expm1', 'sin', 'cos', 'tan', 'asin', 'acos', 'atan', 'sinh', 'cosh', 'tanh', 'asinh', 'acosh', 'atanh', 'erf', 'sigmoid', 'sqrt',
]);

/** How often argument `index` is read. */
export function countArg(e: Expr, index: number): number {
  let n = 0;
  mapExpr(e, (x) => { if (x.kind === 'arg' && x.index === index) n++; return x; });
  return n;
}

/** True for expressions that may be computed several times: few operations, none costly. */
export function isCheap(e: Expr, limit = 2): boolean {
  let operations = 0, dear = false;
  mapExpr(e, (x) => {
    if (x.kind !== 'const' && x.kind !== 'arg') operations++;
    if ((x.kind === 'unary' && costly.has(x.op)) || (x.kind === 'binary' && ['div', 'mod', 'pow', 'atan2'].includes(x.op))) dear = true;
    return x;
  });
  return !dear && operations <= limit;
}

const isLiteral = (e: Expr, value: number): boolean => e.kind === 'const' && e.type.dtype !== 'index' && Number(e.value) === value && !Object.is(e.value, -0);
const isLeaf = (e: Expr): boolean => e.kind === 'const';

function operandsOfExpr(e: Expr): Expr[] {
  switch (e.kind) {
    case 'binary': case 'compare': return [e.a, e.b];
    case 'unary': case 'cast': return [e.a];
    case 'select': return [e.cond, e.a, e.b];
    case 'fma': return [e.a, e.b, e.c];
    default: return [];
  }
}

/** Value of an expression of literals, by the reference evaluator. */
function literal(e: Expr): Expr {
  const dtype = e.type.dtype as DType;
  const [t] = evaluateNode('elementwise', { expr: e, shape: [] }, [], [{ dtype, shape: [] }]);
  const raw = t!.data[0]!;
  return constant(dtype, typeof raw === 'bigint' ? raw : numberAt(dtype, t!.data, 0));
}

const isPowerOfTwo = (x: number): boolean => Number.isFinite(x) && x !== 0 && Number.isInteger(Math.log2(Math.abs(x))) && Math.abs(Math.log2(Math.abs(x))) < 64;

function simplifyOne(e: Expr): Expr {
  const operands = operandsOfExpr(e);
  if (operands.length > 0 && operands.every(isLeaf)) return literal(e);
  if (e.kind === 'cast' && e.a.kind === 'cast') {
    // widening and back; or two steps of a widening
    const [inner, via, outer] = [e.a.a.type.dtype, e.a.type.dtype, e.type.dtype];
    if (inner === outer && ((inner === 'f32' && via === 'f64') || (inner === 'i32' && (via === 'i64' || via === 'f64')))) return e.a.a;
  }
  if (e.kind === 'select' && e.cond.kind === 'const') return e.cond.value ? e.a : e.b;
  if (e.kind === 'unary' && e.op === 'neg' && e.a.kind === 'unary' && e.a.op === 'neg') return e.a.a;
  if (e.kind !== 'binary') return e;
  const { op, a, b } = e, float = isFloat(e.type.dtype as DType);
  switch (op) {
    case 'add': return isLiteral(b, 0) ? a : isLiteral(a, 0) ? b : e;
    case 'sub': return isLiteral(b, 0) ? a : e;
    case 'mul': return isLiteral(b, 1) ? a : isLiteral(a, 1) ? b : e;
    case 'div':
      if (isLiteral(b, 1)) return a;
      return float && b.kind === 'const' && isPowerOfTwo(Number(b.value)) ? mul(a, constant(e.type.dtype, 1 / Number(b.value))) : e;
    case 'pow':
      if (!float || b.kind !== 'const') return e;
      if (Number(b.value) === 2) return mul(a, a);
      return Number(b.value) === 0.5 ? unary('sqrt', a) : Number(b.value) === 1 ? a : e;
    case 'max': case 'min': {
      // max(max(x, 0), -inf) and the like: two bounds on one side are one
      if (a.kind === 'binary' && a.op === op && a.b.kind === 'const' && b.kind === 'const') return binary(op, a.a, literal(binary(op, a.b, b)));
      const unbounded = op === 'max' ? -Infinity : Infinity;
      return float && b.kind === 'const' && b.value === unbounded ? a : e;
    }
    default: return e;
  }
}

/** Simplifies by rules that change no result (except the sign of a zero). */
export const simplifyExpr = (e: Expr): Expr => mapExpr(e, (x) => (x.type.dtype === 'index' ? x : simplifyOne(x)));

export interface Operands {
  readonly expr: Expr;
  readonly inputs: readonly ValueId[];
}

/**
 * Brings an expression over operands into normal form: uniform constants become literals, equal operands one argument, unread
 * ones go. The first `keep` arguments stay where they are (argument 0 of an epilogue is not an operand).
 */
export function normalForm(e: GraphEditor, expr: Expr, inputs: readonly ValueId[], keep = 0): Operands {
  const literals = inputs.map((id) => uniformValue(e.constantOf(id)));
  const types = inputs.map((id) => e.type(id).dtype);
  let result = simplifyExpr(substituteArgs(expr, [
    ...Array.from({ length: keep }, (_, i) => argOf(expr, i)),
    ...inputs.map((_, i) => (literals[i] !== undefined ? constant(types[i]!, literals[i]!) : arg(i + keep, types[i]!))),
  ]));
  const used: ValueId[] = [];
  const place = new Map<number, number>();
  inputs.forEach((id, i) => {
    if (countArg(result, i + keep) === 0) return;
    if (!used.includes(id)) used.push(id);
    place.set(i + keep, used.indexOf(id) + keep);
  });
  result = mapExpr(result, (x) => (x.kind === 'arg' && x.index >= keep ? { ...x, index: place.get(x.index)! } : x));
  return { expr: result, inputs: used };
}

/** Argument `index` as the expression reads it; any type where it does not. */
export function argOf(e: Expr, index: number): Expr {
  let found: Expr | undefined;
  mapExpr(e, (x) => { if (x.kind === 'arg' && x.index === index) found = x; return x; });
  return found ?? arg(index, 'f32');
}

/** Renumbers arguments: argument i becomes argument `to[i]`. */
export const renumber = (e: Expr, to: readonly number[]): Expr =>
  mapExpr(e, (x) => (x.kind === 'arg' ? { ...x, index: to[x.index]! } : x));
