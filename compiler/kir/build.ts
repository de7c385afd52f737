/** Constructors of kernel IR that type their results and fold trivial constants, so generated code reads as if written by hand. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { DType } from '../ir/dtype.js';
import type { BinaryOp, CallArgument, CompareOp, Expr, Grid, KType, LoopAttrs, ScalarType, Stmt, UnaryOp } from './types.js';

export const scalar = (dtype: ScalarType): KType => ({ dtype, lanes: 1 });
export const vector = (dtype: ScalarType, lanes: number): KType => ({ dtype, lanes });

const is64 = (d: ScalarType): boolean => d === 'i64' || d === 'u64';

/** A constant; numbers become bigints for 64-bit element types. */
export function constant(dtype: ScalarType, value: number | bigint, lanes = 1): Expr {
  if (is64(dtype) && typeof value === 'number' && !Number.isInteger(value)) throw unfit(`constant ${value} as ${dtype}`);
  const exact = is64(dtype) ? BigInt(value) : Number(value);
  return { kind: 'const', type: { dtype, lanes }, value: exact };
}
export const f32 = (value: number): Expr => constant('f32', value);
export const index = (value: number): Expr => constant('index', value);
/** Numbers stand for index constants wherever an index expression is wanted. */
export const asIndex = (e: Expr | number): Expr => (typeof e === 'number' ? index(e) : e);
export const ref = (name: string, type: KType | ScalarType = 'index'): Expr =>
  ({ kind: 'ref', name, type: typeof type === 'string' ? scalar(type) : type });
export const arg = (i: number, dtype: DType): Expr => ({ kind: 'arg', index: i, type: scalar(dtype) });

const isConst = (e: Expr, value: number): boolean => e.kind === 'const' && Number(e.value) === value && !Object.is(e.value, -0);

function foldIndex(op: BinaryOp, a: number, b: number): number | undefined {
  switch (op) {
    case 'add': return a + b;
    case 'sub': return a - b;
    case 'mul': return a * b;
    case 'div': return b === 0 ? undefined : Math.trunc(a / b);
    case 'mod': return b === 0 ? undefined : a % b;
    case 'min': return b < a ? b : a;
    case 'max': return b > a ? b : a;
    default: return undefined;
  }
}

/** Where an operator's own checks leave it to this, operands of the model have types that do not fit: a problem of its node. */
const unfit = (what: string): NodeProblem => new NodeProblem('SPC2001', `the element types do not fit: ${what}`, 'ONNX converts no element types by itself; insert a Cast');

function sameType(op: string, a: Expr, b: Expr): KType {
  if (a.type.dtype !== b.type.dtype) throw unfit(`${op} of ${a.type.dtype} and ${b.type.dtype}`);
  if (a.type.lanes === b.type.lanes) return a.type;
  if (a.type.lanes === 1) return b.type;
  if (b.type.lanes === 1) return a.type;
  throw new Error(`SPC9002: kernel IR ${op} of ${a.type.lanes} and ${b.type.lanes} lanes`);
}

export function binary(op: BinaryOp, a: Expr, b: Expr): Expr {
  const type = sameType(op, a, b);
  if (type.dtype === 'index') {
    if (a.kind === 'const' && b.kind === 'const') {
      const folded = foldIndex(op, Number(a.value), Number(b.value));
      if (folded !== undefined) return index(folded);
    }
    if (op === 'add') { if (isConst(a, 0)) return b; if (isConst(b, 0)) return a; }
    if (op === 'sub' && isConst(b, 0)) return a;
    // c1 - (x - c2) -> (c1 + c2) - x
    if (op === 'sub' && a.kind === 'const' && b.kind === 'binary' && b.op === 'sub' && b.b.kind === 'const') {
      return binary('sub', index(Number(a.value) + Number(b.b.value)), b.a);
    }
    if (op === 'mul') { if (isConst(a, 1)) return b; if (isConst(b, 1)) return a; if (isConst(a, 0) || isConst(b, 0)) return index(0); }
    if (op === 'div' && isConst(b, 1)) return a;
    if (op === 'mod' && isConst(b, 1)) return index(0);
    // (x + c1) + c2 -> x + (c1 + c2), which is how nested offsets arise
    if (op === 'add' && b.kind === 'const' && a.kind === 'binary' && a.op === 'add' && a.b.kind === 'const') {
      return binary('add', a.a, index(Number(a.b.value) + Number(b.value)));
    }
  }
  return { kind: 'binary', type, op, a, b };
}
type IndexLike = Expr | number;
const bin = (op: BinaryOp) => (a: IndexLike, b: IndexLike): Expr => binary(op, asIndex(a), asIndex(b));
/** Operands of one dtype; plain numbers are index constants. */
export const add = bin('add');
export const sub = bin('sub');
export const mul = bin('mul');
export const div = bin('div');
export const mod = bin('mod');
export const min = bin('min');
export const max = bin('max');

export function compare(op: CompareOp, a: IndexLike, b: IndexLike): Expr {
  const [x, y] = [asIndex(a), asIndex(b)];
  return { kind: 'compare', op, a: x, b: y, type: { dtype: 'bool', lanes: sameType(op, x, y).lanes } };
}
export const unary = (op: UnaryOp, a: Expr): Expr =>
  ({ kind: 'unary', op, a, type: op === 'isnan' || op === 'isinf' ? { dtype: 'bool', lanes: a.type.lanes } : a.type });
export const and = (a: Expr, b: Expr): Expr => binary('and', a, b);
export const or = (a: Expr, b: Expr): Expr => binary('or', a, b);
export const not = (a: Expr): Expr => unary('not', a);
export function select(cond: Expr, a: Expr, b: Expr): Expr {
  if (cond.type.dtype !== 'bool') throw unfit(`select on ${cond.type.dtype}`);
  return { kind: 'select', cond, a, b, type: sameType('select', a, b) };
}
/** C conversion rules: float to integer truncates, integers wrap, anything to bool is `!= 0`. */
export const cast = (a: Expr, dtype: ScalarType): Expr =>
  a.type.dtype === dtype ? a : a.kind === 'const' && dtype === 'index' ? index(Number(a.value)) : { kind: 'cast', a, type: { dtype, lanes: a.type.lanes } };
export const load = (buffer: string, dtype: ScalarType, at: IndexLike): Expr =>
  ({ kind: 'load', buffer, index: asIndex(at), type: scalar(dtype) });
/** Whether the first `count` of `lanes` elements are not all of them, as far as is known here. */
const isPart = (count: number | Expr | undefined, lanes: number): count is number | Expr => count !== undefined && (typeof count !== 'number' || count < lanes);
export const vload = (buffer: string, type: KType, at: IndexLike, count?: number | Expr): Expr =>
  ({ kind: 'load', buffer, index: asIndex(at), type, ...(isPart(count, type.lanes) ? { count } : {}) });
/** Every other one of 2 x lanes elements of a bf16 buffer. */
export const loadHalf = (buffer: string, type: KType, at: IndexLike, of: 'even' | 'odd'): Expr => ({ kind: 'load', buffer, index: asIndex(at), type, of });
export const splat = (a: Expr, lanes: number): Expr => (a.type.lanes === lanes ? a : { kind: 'splat', a, type: { dtype: a.type.dtype, lanes } });
/** A vector of scalars of one element type. */
export const lanesOf = (elements: readonly Expr[]): Expr => ({ kind: 'lanes', elements, type: vector(elements[0]!.type.dtype, elements.length) });
export const fma = (a: Expr, b: Expr, c: Expr): Expr => ({ kind: 'fma', a, b, c, type: c.type });
export const dot2 = (buffer: string, at: IndexLike, b: Expr, c: Expr): Expr => ({ kind: 'dot2', buffer, index: asIndex(at), b, c, type: c.type });
export const hsum = (a: Expr): Expr => ({ kind: 'hsum', a, type: scalar(a.type.dtype) });

export const forLoop = (name: string, to: IndexLike, body: readonly Stmt[], attrs: LoopAttrs = {}, from: IndexLike = 0, step = 1): Stmt =>
  ({ kind: 'for', name, from: asIndex(from), to: asIndex(to), step, attrs, body });
/** Units of the enclosing range that its body does: from the first of these up to the second. */
export const rangeBegin = ref('begin'), rangeEnd = ref('end');
export const range = (extent: number, body: readonly Stmt[]): Stmt => ({ kind: 'range', extent, body });
export const letStmt = (name: string, value: Expr): Stmt => ({ kind: 'let', name, value });
export const varStmt = (name: string, value: Expr): Stmt => ({ kind: 'var', name, value });
export const assign = (name: string, value: Expr): Stmt => ({ kind: 'assign', name, value });
export const store = (buffer: string, at: IndexLike, value: Expr, count?: number | Expr): Stmt =>
  ({ kind: 'store', buffer, index: asIndex(at), value, ...(isPart(count, value.type.lanes) ? { count } : {}) });
export const ifStmt = (cond: Expr, then: readonly Stmt[], otherwise: readonly Stmt[] = []): Stmt => ({ kind: 'if', cond, then, else: otherwise });
/** The address of an element, as an argument of a call. */
export const pointer = (buffer: string, at: IndexLike = 0): CallArgument => ({ kind: 'pointer', buffer, index: asIndex(at) });
export const nullPointer: CallArgument = { kind: 'null' };
/** Calls a function of the runtime library; numbers are index constants. */
export const call = (name: string, ...args: readonly (CallArgument | number)[]): Stmt =>
  ({ kind: 'call', name, routine: false, args: args.map((a) => (typeof a === 'number' ? index(a) : a)) });
/** A call that a grid of workers runs together. */
export const gridCall = (grid: Grid, name: string, ...args: readonly CallArgument[]): Stmt => ({ kind: 'call', name, routine: false, args, grid });
export const comment = (text: string): Stmt => ({ kind: 'comment', text });

/** Smallest (largest) value of a dtype: the neutral element of max (min). Floats use the infinities. */
export function lowest(dtype: DType): Expr {
  return constant(dtype, extreme(dtype, 'low'));
}
export function highest(dtype: DType): Expr {
  return constant(dtype, extreme(dtype, 'high'));
}
function extreme(dtype: DType, end: 'low' | 'high'): number | bigint {
  const low = end === 'low';
  switch (dtype) {
    case 'f32': case 'f64': case 'f16': case 'bf16': return low ? -Infinity : Infinity;
    case 'bool': return low ? 0 : 1;
    case 'i8': return low ? -128 : 127;
    case 'i16': return low ? -32768 : 32767;
    case 'i32': return low ? -2147483648 : 2147483647;
    case 'i64': return low ? -(2n ** 63n) : 2n ** 63n - 1n;
    case 'u8': return low ? 0 : 255;
    case 'u16': return low ? 0 : 65535;
    case 'u32': return low ? 0 : 4294967295;
    case 'u64': return low ? 0n : 2n ** 64n - 1n;
  }
}

/** Rebuilds an expression bottom-up; `f` may replace any node (children are already rebuilt). */
export function mapExpr(e: Expr, f: (e: Expr) => Expr): Expr {
  const go = (x: Expr): Expr => mapExpr(x, f);
  switch (e.kind) {
    case 'const': case 'ref': case 'arg': return f(e);
    case 'binary': { const a = go(e.a), b = go(e.b); return f(binary(e.op, a, b)); }
    case 'compare': return f(compare(e.op, go(e.a), go(e.b)));
    case 'unary': return f(unary(e.op, go(e.a)));
    case 'select': return f(select(go(e.cond), go(e.a), go(e.b)));
    case 'cast': { const a = go(e.a); return f({ kind: 'cast', a, type: { dtype: e.type.dtype, lanes: a.type.lanes } }); }
    case 'load': return f({ ...e, index: go(e.index), ...(typeof e.count === 'object' ? { count: go(e.count) } : {}) });
    case 'splat': return f(splat(go(e.a), e.type.lanes));
    case 'lanes': return f(lanesOf(e.elements.map(go)));
    case 'fma': return f(fma(go(e.a), go(e.b), go(e.c)));
    case 'dot2': return f(dot2(e.buffer, go(e.index), go(e.b), go(e.c)));
    case 'hsum': return f(hsum(go(e.a)));
  }
}

/** Puts `values[i]` (scalars or vectors) in the place of argument `i`. */
export const substituteArgs = (e: Expr, values: readonly Expr[]): Expr =>
  mapExpr(e, (x) => {
    if (x.kind !== 'arg') return x;
    const v = values[x.index];
    if (!v) throw new Error(`SPC9002: expression argument ${x.index} has no value`);
    return v;
  });

/** Number of operations in an expression, a measure of its cost. */
export function exprSize(e: Expr): number {
  let n = 0;
  mapExpr(e, (x) => { if (x.kind !== 'const' && x.kind !== 'ref' && x.kind !== 'arg') n++; return x; });
  return n;
}
