/**
 * Prints kernel IR as C-like source. C, CUDA C++ and HLS C++ differ in a dialect table, not in the printer.
 *
 * Storage types f16 and bf16 are uint16_t in memory and float in expressions; conversions happen at loads and stores through
 * the dialect's helper functions (runtime/<target>).
 */
import type { BinaryOp, CallArgument, Expr, Kernel, KType, ScalarType, Stmt, UnaryOp } from '../kir/types.js';
import { commentSafe, Writer } from './writer.js';

export interface Dialect {
  readonly name: 'c' | 'cuda' | 'hls';
  /** Type of an element in memory. */
  readonly storage: { readonly [T in ScalarType]: string };
  /** Type of a value in an expression. */
  readonly value: { readonly [T in ScalarType]: string };
  /** Type name of a vector of `lanes` values; undefined where the dialect has none. */
  vectorType?(type: KType): string;
  /** Lines before a loop (pragmas). */
  beforeLoop(loop: Extract<Stmt, { kind: 'for' }>): readonly string[];
  /** Lines at the head of a loop's body (HLS pragmas). */
  insideLoop(loop: Extract<Stmt, { kind: 'for' }>): readonly string[];
}

const types = { f32: 'float', f64: 'double', i8: 'int8_t', i16: 'int16_t', i32: 'int32_t', i64: 'int64_t', u8: 'uint8_t', u16: 'uint16_t', u32: 'uint32_t', u64: 'uint64_t' };
export const cTypes = {
  storage: { ...types, f16: 'uint16_t', bf16: 'uint16_t', bool: 'uint8_t', index: 'long' },
  value: { ...types, f16: 'float', bf16: 'float', bool: 'int', index: 'long' },
} as const;

const floatSuffix = (t: ScalarType): string => (t === 'f64' ? '' : 'f');
const isFloatType = (t: ScalarType): boolean => t === 'f32' || t === 'f64' || t === 'f16' || t === 'bf16';
const isSmallInt = (t: ScalarType): boolean => t === 'i8' || t === 'i16' || t === 'u8' || t === 'u16';
const compareOps = { eq: '==', ne: '!=', lt: '<', le: '<=', gt: '>', ge: '>=' } as const;
const infix: Partial<Record<BinaryOp, string>> = { add: '+', sub: '-', mul: '*', div: '/', mod: '%', and: '&', or: '|', xor: '^', shl: '<<', shr: '>>' };
const libm: Partial<Record<UnaryOp, string>> = {
  floor: 'floor', ceil: 'ceil', round: 'nearbyint', trunc: 'trunc', sqrt: 'sqrt', exp: 'exp', log: 'log', log1p: 'log1p', expm1: 'expm1',
  sin: 'sin', cos: 'cos', tan: 'tan', asin: 'asin', acos: 'acos', atan: 'atan', sinh: 'sinh', cosh: 'cosh', tanh: 'tanh',
  asinh: 'asinh', acosh: 'acosh', atanh: 'atanh', erf: 'erf', abs: 'fabs',
};
/** Operations for which the runtime header has its own f32 versions (vectorisable, within a few ulp). */
const runtimeMath: ReadonlySet<UnaryOp> = new Set(['exp', 'log', 'tanh', 'erf', 'sigmoid', 'round']);

/** A literal that the compiler reads back as exactly this value. */
export function literal(type: ScalarType, value: number | bigint): string {
  if (typeof value === 'bigint') {
    if (type === 'u64') return `UINT64_C(${value})`;
    return value === -(2n ** 63n) ? 'INT64_MIN' : `INT64_C(${value})`;
  }
  if (!isFloatType(type)) {
    if (type === 'u32') return `${value}u`;
    return value === -2147483648 ? '(-2147483647 - 1)' : String(value);
  }
  if (Number.isNaN(value)) return 'NAN';
  if (!Number.isFinite(value)) return value < 0 ? '-INFINITY' : 'INFINITY';
  const x = type === 'f64' ? value : Math.fround(value);
  const text = type === 'f64' ? String(x) : shortestF32(x);
  return `${/[.e]/.test(text) ? text : `${text}.0`}${floatSuffix(type)}`;
}

/** Fewest digits that still read back as the same binary32. */
function shortestF32(x: number): string {
  if (Object.is(x, -0)) return '-0.0';
  for (let digits = 6; digits <= 9; digits++) {
    const text = String(Number(x.toPrecision(digits)));
    if (Math.fround(Number(text)) === x) return text;
  }
  return String(x);
}

const precedence: Partial<Record<string, number>> = { '*': 3, '/': 3, '%': 3, '+': 4, '-': 4, '<<': 5, '>>': 5, '<': 6, '<=': 6, '>': 6, '>=': 6, '==': 7, '!=': 7, '&': 8, '^': 9, '|': 10, '&&': 11, '||': 12 };
const logical: Partial<Record<BinaryOp, string>> = { and: '&&', or: '||', xor: '!=' };

/** Text with the binding strength of its outermost operator (0 binds tightest). */
interface Piece { readonly text: string; readonly level: number }
const atom = (text: string): Piece => ({ text, level: 0 });
const inside = (p: Piece, level: number): string => (p.level > level ? `(${p.text})` : p.text);

const isBound = (e: Expr): boolean => e.kind === 'const' && Math.abs(Number(e.value)) < 2 ** 31;
/** min(max(constant, x), constant): what an i32 holds, whatever x is, NaN too. */
const isSaturated = (e: Expr): boolean => e.kind === 'binary' && e.op === 'min' && isBound(e.b) && e.a.kind === 'binary' && e.a.op === 'max' && isBound(e.a.a);

export class CLikePrinter {
  private readonly buffers = new Map<string, ScalarType>();

  /** @param routinePrefix what the symbols of the kernel's stream functions begin with */
  constructor(private readonly dialect: Dialect, kernel: Pick<Kernel, 'params'>, private readonly routinePrefix = '') {
    for (const p of kernel.params) this.buffers.set(p.name, p.dtype);
  }

  typeName(t: KType): string {
    if (t.lanes === 1) return this.dialect.value[t.dtype];
    if (!this.dialect.vectorType) throw new Error(`SPC9004: ${this.dialect.name} has no vectors`);
    return this.dialect.vectorType(t);
  }

  expr(e: Expr): string { return this.piece(e).text; }

  private infixPiece(op: string, a: Expr, b: Expr): Piece {
    const level = precedence[op]!;
    // compilers warn where a reader has to know that & binds before |, or << after +: parenthesise what is not plain arithmetic
    const loosest = level <= 4 ? level : level === 6 || level === 7 ? 4 : level === 11 ? 7 : 0;
    const left = this.piece(a), right = this.piece(b);
    return { text: `${inside(left, level === 11 ? 11 : loosest)} ${op} ${inside(right, level <= 4 ? level - 1 : loosest)}`, level };
  }

  private piece(e: Expr): Piece {
    const t = e.type;
    switch (e.kind) {
      case 'const':
        return atom(t.lanes === 1 ? negativeInParens(literal(t.dtype, e.value)) : `spc_splat_${t.dtype}x${t.lanes}(${literal(t.dtype, e.value)})`);
      case 'ref': return atom(e.name);
      case 'arg': throw new Error(`SPC9004: expression argument ${e.index} was not substituted`);
      case 'binary': return this.binaryPiece(e);
      case 'compare': return this.infixPiece(compareOps[e.op], e.a, e.b);
      case 'unary': return this.unaryPiece(e);
      case 'select':
        if (t.lanes > 1) return atom(`spc_select_${t.dtype}x${t.lanes}(${this.expr(e.cond)}, ${this.expr(e.a)}, ${this.expr(e.b)})`);
        return { text: `${inside(this.piece(e.cond), 10)} ? ${inside(this.piece(e.a), 10)} : ${inside(this.piece(e.b), 10)}`, level: 13 };
      case 'cast': return this.castPiece(e);
      case 'load': return this.loadPiece(e);
      case 'splat': return atom(`spc_splat_${t.dtype}x${t.lanes}(${this.expr(e.a)})`);
      case 'lanes': return atom(`(${this.typeName(t)}){${e.elements.map((x) => this.expr(x)).join(', ')}}`);
      case 'fma':
        if (t.lanes > 1 && !isFloatType(t.dtype)) return atom(`spc_fma_${t.dtype}x${t.lanes}(${this.expr(e.a)}, ${this.expr(e.b)}, ${this.expr(e.c)})`);
        return { text: `${inside(this.piece(e.a), 3)} * ${inside(this.piece(e.b), 3)} + ${inside(this.piece(e.c), 4)}`, level: 4 };
      case 'dot2': return atom(`spc_dot2_i32x${t.lanes}(${e.buffer} + ${inside(this.piece(e.index), 4)}, ${this.expr(e.b)}, ${this.expr(e.c)})`);
      case 'hsum': return atom(`spc_hsum_${e.a.type.dtype}x${e.a.type.lanes}(${this.expr(e.a)})`);
    }
  }

  private binaryPiece(e: Extract<Expr, { kind: 'binary' }>): Piece {
    const t = e.type.dtype;
    if (e.op === 'min' || e.op === 'max') {
      const a = this.piece(e.a), b = this.piece(e.b);
      return atom(`spc_${e.op}${e.type.lanes > 1 ? `_${t}x${e.type.lanes}` : ''}(${a.text}, ${b.text})`);
    }
    if (e.op === 'pow' || e.op === 'atan2') {
      return atom(isFloatType(t) ? `${e.op}${floatSuffix(t)}(${this.expr(e.a)}, ${this.expr(e.b)})` : `spc_ipow_${t}(${this.expr(e.a)}, ${this.expr(e.b)})`);
    }
    if (e.op === 'mod' && isFloatType(t)) return atom(`fmod${floatSuffix(t)}(${this.expr(e.a)}, ${this.expr(e.b)})`);
    if ((e.op === 'div' || e.op === 'mod') && !isFloatType(t) && t !== 'index' && !(e.b.kind === 'const' && Number(e.b.value) !== 0)) {
      return atom(`spc_i${e.op}(${this.expr(e.a)}, ${this.expr(e.b)})`);
    }
    if (e.op === 'add' && t === 'index' && e.b.kind === 'const' && e.b.value < 0) {
      return this.infixPiece('-', e.a, { ...e.b, value: -Number(e.b.value) });
    }
    const piece = this.infixPiece((t === 'bool' && e.type.lanes === 1 && logical[e.op]) || infix[e.op]!, e.a, e.b);
    // C computes small integers as int: bring the result back into its type
    return isSmallInt(t) && e.type.lanes === 1 ? { text: `(${this.dialect.value[t]})(${piece.text})`, level: 2 } : piece;
  }

  private unaryPiece(e: Extract<Expr, { kind: 'unary' }>): Piece {
    const t = e.a.type.dtype, a = this.piece(e.a);
    const suffix = e.type.lanes > 1 ? `_${t}x${e.type.lanes}` : '';
    switch (e.op) {
      case 'neg': return { text: `-${inside(a, 1)}`, level: 2 };
      case 'not':
        // lanes of a vector comparison are all ones or all zeros
        if (e.type.lanes > 1) return { text: `~${inside(a, 1)}`, level: 2 };
        return t === 'bool' ? { text: `!${inside(a, 0)}`, level: 2 } : { text: `(${this.dialect.value[t]})~${inside(a, 0)}`, level: 2 };
      case 'isnan': case 'isinf': return { text: `${e.op}(${a.text}) != 0`, level: 7 };
      case 'abs': if (!isFloatType(t)) return t.startsWith('u') ? a : atom(`spc_iabs(${a.text})`); break;
      case 'floor': case 'ceil': case 'round': case 'trunc': if (!isFloatType(t)) return a; break;
      default:
    }
    if (suffix) return atom(`spc_${e.op}${suffix}(${a.text})`);
    if (e.op === 'sigmoid' || (t !== 'f64' && runtimeMath.has(e.op))) return atom(`spc_${e.op}${t === 'f64' ? '_f64' : '_f32'}(${a.text})`);
    return atom(`${libm[e.op]}${floatSuffix(t)}(${a.text})`);
  }

  private castPiece(e: Extract<Expr, { kind: 'cast' }>): Piece {
    const from = e.a.type.dtype, to = e.type.dtype, a = this.piece(e.a);
    if (e.type.lanes > 1) {
      if (to === 'i32' && e.a.kind === 'unary' && e.a.op === 'round' && isSaturated(e.a.a)) return atom(`spc_nearest_i32x${e.type.lanes}(${this.piece(e.a.a).text})`);
      const exact = isSaturated(e.a) ? `__builtin_convertvector(${a.text}, ${this.typeName({ dtype: 'i32', lanes: e.type.lanes })})` : `spc_to_i32x${e.type.lanes}(${a.text})`;
      const integer = isFloatType(from) && !isFloatType(to) ? exact : a.text;
      return atom(to === 'i32' && integer !== a.text ? integer : `__builtin_convertvector(${integer}, ${this.typeName(e.type)})`);
    }
    if (to === 'bool') return { text: `${inside(a, 5)} != 0`, level: 7 };
    // values of f16/bf16 type are kept as floats that such a type can represent
    if (to === 'f16') return atom(`spc_f16_to_f32(spc_f32_to_f16((float)${inside(a, 2)}))`);
    if (to === 'bf16') return atom(`spc_bf16_to_f32(spc_f32_to_bf16((float)${inside(a, 2)}))`);
    if (isFloatType(from) && !isFloatType(to)) return atom(`spc_to_${to}(${a.text})`);
    return { text: `(${this.dialect.value[to]})${inside(a, 2)}`, level: 2 };
  }

  private loadPiece(e: Extract<Expr, { kind: 'load' }>): Piece {
    const stored = this.buffers.get(e.buffer) ?? e.type.dtype;
    if (e.type.lanes > 1) {
      const at = `${e.buffer} + ${inside(this.piece(e.index), 4)}`;
      if (e.of) return atom(`spc_load_${e.of}_${stored}x${e.type.lanes}(${at})`);
      return atom(e.count !== undefined ? `spc_loadn_${stored}x${e.type.lanes}(${at}, ${this.countText(e.count)})` : `spc_load_${stored}x${e.type.lanes}(${at})`);
    }
    const text = `${e.buffer}[${this.expr(e.index)}]`;
    return atom(stored === 'f16' ? `spc_f16_to_f32(${text})` : stored === 'bf16' ? `spc_bf16_to_f32(${text})` : text);
  }

  statement(w: Writer, s: Stmt): void {
    switch (s.kind) {
      case 'for': {
        for (const l of this.dialect.beforeLoop(s)) w.line(l);
        const step = s.step === 1 ? `++${s.name}` : `${s.name} += ${s.step}`;
        w.block(`for (${this.dialect.value.index} ${s.name} = ${this.expr(s.from)}; ${s.name} < ${inside(this.piece(s.to), 5)}; ${step})`, () => {
          for (const l of this.dialect.insideLoop(s)) w.line(l);
          this.statements(w, s.body);
        });
        break;
      }
      case 'range':
        w.block('', () => {
          w.line(`const ${this.dialect.value.index} begin = 0, end = ${s.extent};`);
          this.statements(w, s.body);
        });
        break;
      case 'while': w.block(`while (${this.expr(s.cond)})`, () => this.statements(w, s.body)); break;
      case 'if':
        w.block(`if (${this.expr(s.cond)})`, () => this.statements(w, s.then));
        if (s.else.length) w.block('else', () => this.statements(w, s.else));
        break;
      case 'let': w.line(`const ${this.typeName(s.value.type)} ${s.name} = ${this.expr(s.value)};`); break;
      case 'var': w.line(`${this.typeName(s.value.type)} ${s.name} = ${this.expr(s.value)};`); break;
      case 'assign': w.line(this.assignText(s.name, s.value)); break;
      case 'store': this.storeStatement(w, s); break;
      case 'array': {
        this.buffers.set(s.name, s.dtype);
        const storage = this.dialect.storage[s.dtype];
        const init = s.init ? ` = {${s.init.map((v) => literal(s.dtype, v)).join(', ')}}` : '';
        w.line(`${s.init ? 'static const ' : ''}${storage} ${s.name}[${Math.max(1, s.size)}]${init};`);
        break;
      }
      case 'call': `${s.routine ? this.routinePrefix : ''}${s.name}(${s.args.map((a) => this.argument(a)).join(', ')});`.split('\n').forEach((l) => w.line(l)); break;
      case 'comment': w.line(`/* ${commentSafe(s.text)} */`); break;
    }
  }

  private countText(count: number | Expr): string { return typeof count === 'number' ? String(count) : `(int)${inside(this.piece(count), 2)}`; }

  private argument(a: CallArgument): string {
    if (a.kind === 'null') return 'NULL';
    if (a.kind === 'object') return `${a.type}{${a.args.map((x) => this.argument(x)).join(', ')}}`;
    if (a.kind === 'function') return this.functionText(a);
    if (a.kind !== 'pointer') return this.expr(a);
    return a.index.kind === 'const' && a.index.value === 0 ? a.buffer : `${a.buffer} + ${inside(this.piece(a.index), 4)}`;
  }

  private functionText({ params, body }: Extract<CallArgument, { kind: 'function' }>): string {
    const w = new Writer(), { value } = this.dialect;
    const declarations = params.map(({ name, dtype, size }) => {
      if (size !== undefined) this.buffers.set(name, dtype);
      return size === undefined ? `${value[dtype]} ${name}` : `const ${value[dtype]} (&${name})[${size}]`;
    });
    w.block(`[&](${declarations.join(', ')})`, () => this.statements(w, body));
    return w.text().trimEnd();
  }

  private assignText(name: string, value: Expr): string {
    const accumulates = value.kind === 'binary' && value.op === 'add' && value.a.kind === 'ref' && value.a.name === name && !isSmallInt(value.type.dtype);
    return accumulates ? `${name} += ${this.expr(value.b)};` : `${name} = ${this.expr(value)};`;
  }

  private storeStatement(w: Writer, s: Extract<Stmt, { kind: 'store' }>): void {
    const stored = this.buffers.get(s.buffer) ?? s.value.type.dtype, { lanes } = s.value.type;
    const value = this.expr(s.value);
    if (lanes > 1) {
      const at = `${s.buffer} + ${inside(this.piece(s.index), 4)}`;
      w.line(s.count !== undefined ? `spc_storen_${stored}x${lanes}(${at}, ${value}, ${this.countText(s.count)});` : `spc_store_${stored}x${lanes}(${at}, ${value});`);
      return;
    }
    const converted = stored === 'f16' ? `spc_f32_to_f16(${value})` : stored === 'bf16' ? `spc_f32_to_bf16(${value})`
      : stored === 'bool' ? `(uint8_t)${inside(this.piece(s.value), 2)}` : value;
    w.line(`${s.buffer}[${this.expr(s.index)}] = ${converted};`);
  }

  statements(w: Writer, body: readonly Stmt[]): void {
    for (const s of body) this.statement(w, s);
  }
}

const negativeInParens = (text: string): string => (text.startsWith('-') ? `(${text})` : text);
