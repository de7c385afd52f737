/** Prints kernel IR as JavaScript: numbers for floats, small integers and index; BigInts for 64-bit integers. */
import type { DType } from '../ir/dtype.js';
import type { Expr, ScalarType, Stmt, UnaryOp } from './types.js';

export interface JsRuntime {
  f16ToNumber(bits: number): number;
  numberToF16(x: number): number;
  bf16ToNumber(bits: number): number;
  numberToBf16(x: number): number;
  roundEven(x: number): number;
  erf(x: number): number;
  sigmoid(x: number): number;
  divBig(a: bigint, b: bigint): bigint;
  modBig(a: bigint, b: bigint): bigint;
  powBig(a: bigint, b: bigint): bigint;
  toBig(x: number): bigint;
}

/** Integer power modulo 2^64; a negative exponent truncates to 0 unless the base is 1 or -1. */
function powBig(base: bigint, exponent: bigint): bigint {
  if (exponent < 0n) return base === 1n ? 1n : base === -1n ? (exponent & 1n ? -1n : 1n) : 0n;
  let result = 1n;
  for (let b = base, e = exponent; e > 0n; e >>= 1n) {
    if (e & 1n) result = BigInt.asIntN(64, result * b);
    b = BigInt.asIntN(64, b * b);
  }
  return result;
}

/** Error function: Maclaurin series below 2.5, continued fraction of erfc above (Abramowitz & Stegun 7.1.5, 7.1.14). */
function erf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = x, sum = x;
    for (let n = 1; n < 100 && Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}

function roundEven(x: number): number {
  const r = Math.round(x);
  return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

export const jsMath = {
  erf,
  roundEven,
  sigmoid: (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
  divBig: (a: bigint, b: bigint): bigint => (b === 0n ? 0n : a / b),
  modBig: (a: bigint, b: bigint): bigint => (b === 0n ? 0n : a % b),
  powBig,
  toBig: (x: number): bigint => (Number.isFinite(x) ? BigInt(Math.trunc(x)) : 0n),
};

const big = (d: ScalarType): boolean => d === 'i64' || d === 'u64';
const integral = (d: ScalarType): boolean => !['f32', 'f64', 'f16', 'bf16', 'index', 'bool'].includes(d);

/** Rounds a freshly computed value into its type, as the stored form would. f16 and bf16 are computed as f32, rounded at stores. */
function wrapped(type: ScalarType, e: string): string {
  switch (type) {
    case 'f32': case 'f16': case 'bf16': return `Math.fround(${e})`;
    case 'i8': return `((${e}) << 24 >> 24)`;
    case 'i16': return `((${e}) << 16 >> 16)`;
    case 'i32': return `((${e}) | 0)`;
    case 'u8': return `((${e}) & 255)`;
    case 'u16': return `((${e}) & 65535)`;
    case 'u32': return `((${e}) >>> 0)`;
    case 'i64': return `BigInt.asIntN(64, ${e})`;
    case 'u64': return `BigInt.asUintN(64, ${e})`;
    case 'f64': case 'index': case 'bool': return e;
  }
}

const mathCalls: Partial<Record<UnaryOp, string>> = {
  floor: 'Math.floor', ceil: 'Math.ceil', round: 'rt.roundEven', trunc: 'Math.trunc', sqrt: 'Math.sqrt', exp: 'Math.exp', log: 'Math.log',
  log1p: 'Math.log1p', expm1: 'Math.expm1', sin: 'Math.sin', cos: 'Math.cos', tan: 'Math.tan', asin: 'Math.asin', acos: 'Math.acos',
  atan: 'Math.atan', sinh: 'Math.sinh', cosh: 'Math.cosh', tanh: 'Math.tanh', asinh: 'Math.asinh', acosh: 'Math.acosh', atanh: 'Math.atanh',
  erf: 'rt.erf', sigmoid: 'rt.sigmoid', isnan: 'Number.isNaN',
};
/** Rounding an integer is the integer. */
const roundings: ReadonlySet<UnaryOp> = new Set(['floor', 'ceil', 'round', 'trunc']);
const compareOps = { eq: '===', ne: '!==', lt: '<', le: '<=', gt: '>', ge: '>=' } as const;

function literal(e: Extract<Expr, { kind: 'const' }>): string {
  if (typeof e.value === 'bigint') return `${e.value}n`;
  if (e.type.dtype === 'bool') return e.value ? 'true' : 'false';
  return Object.is(e.value, -0) ? '-0' : e.value < 0 ? `(${e.value})` : String(e.type.dtype === 'f32' ? Math.fround(e.value) : e.value);
}

function binaryText(e: Extract<Expr, { kind: 'binary' }>, a: string, b: string): string {
  const t = e.type.dtype;
  switch (e.op) {
    case 'add': return wrapped(t, `${a} + ${b}`);
    case 'sub': return wrapped(t, `${a} - ${b}`);
    case 'mul': return t === 'i32' ? `Math.imul(${a}, ${b})` : t === 'u32' ? `(Math.imul(${a}, ${b}) >>> 0)` : wrapped(t, `${a} * ${b}`);
    case 'div':
      if (big(t)) return wrapped(t, `rt.divBig(${a}, ${b})`);
      if (integral(t) || t === 'index') return wrapped(t === 'index' ? 'index' : t, `Math.trunc(${a} / ${b})`);
      return wrapped(t, `${a} / ${b}`);
    case 'mod':
      if (big(t)) return `rt.modBig(${a}, ${b})`;
      return wrapped(t, `${a} % ${b}`);
    case 'min': return `rt_min(${a}, ${b})`;
    case 'max': return `rt_max(${a}, ${b})`;
    case 'pow': return wrapped(t, big(t) ? `rt.powBig(${a}, ${b})` : `Math.pow(${a}, ${b})`);
    case 'atan2': return wrapped(t, `Math.atan2(${a}, ${b})`);
    case 'and': return t === 'bool' ? `(${a} && ${b})` : wrapped(t, `${a} & ${b}`);
    case 'or': return t === 'bool' ? `(${a} || ${b})` : wrapped(t, `${a} | ${b}`);
    case 'xor': return t === 'bool' ? `(${a} !== ${b})` : wrapped(t, `${a} ^ ${b}`);
    // Counts are taken modulo the width, as JavaScript and the machines do for 32 bits.
    case 'shl': return wrapped(t, big(t) ? `${a} << (${b} & 63n)` : `${a} << ${b}`);
    case 'shr': return big(t) ? `(${a} >> (${b} & 63n))` : t === 'u32' ? `(${a} >>> ${b})` : wrapped(t, `${a} >> ${b}`);
  }
}

function castText(from: ScalarType, to: ScalarType, a: string): string {
  if (to === 'bool') return big(from) ? `(${a} !== 0n)` : `(${a} !== 0)`;
  const number = from === 'bool' ? `(${a} ? 1 : 0)` : a;
  if (big(to)) return big(from) ? wrapped(to, number) : wrapped(to, from === 'bool' || integral(from) || from === 'index' ? `BigInt(${number})` : `rt.toBig(${number})`);
  if (big(from)) return integral(to) ? `Number(BigInt.as${to.startsWith('u') ? 'Uint' : 'Int'}N(${to.slice(1)}, ${number}))` : wrapped(to, `Number(${number})`);
  if (to === 'f16') return `rt.f16ToNumber(rt.numberToF16(${number}))`;
  if (to === 'bf16') return `rt.bf16ToNumber(rt.numberToBf16(${number}))`;
  if (to === 'index') return `Math.trunc(${number})`;
  return wrapped(to, number);
}

export function jsFunctionBody(body: readonly Stmt[], params: ReadonlyMap<string, DType>): string {
  const types = new Map<string, ScalarType>(params);

  const expr = (e: Expr): string => {
    if (e.type.lanes !== 1) throw new Error('SPC9003: the reference evaluator runs scalar kernel IR only');
    switch (e.kind) {
      case 'const': return literal(e);
      case 'ref': return e.name;
      case 'arg': throw new Error(`SPC9003: expression argument ${e.index} was not substituted`);
      case 'binary': return e.op === 'min' || e.op === 'max' || e.op === 'pow' || e.op === 'atan2' ? binaryText(e, expr(e.a), expr(e.b)) : `(${binaryText(e, expr(e.a), expr(e.b))})`;
      case 'compare': return `(${expr(e.a)} ${compareOps[e.op]} ${expr(e.b)})`;
      case 'unary': return unaryText(e);
      case 'select': return `(${expr(e.cond)} ? ${expr(e.a)} : ${expr(e.b)})`;
      case 'cast': return castText(e.a.type.dtype, e.type.dtype, expr(e.a));
      case 'load': return loaded(types.get(e.buffer) ?? e.type.dtype, `${e.buffer}[${expr(e.index)}]`);
      case 'fma': return `(${wrapped(e.type.dtype, `${expr(e.a)} * ${expr(e.b)} + ${expr(e.c)}`)})`;
      case 'splat': case 'hsum': return expr(e.a);
      case 'dot2': case 'lanes': throw new Error('SPC9003: the reference evaluator runs scalar kernel IR only');
    }
  };
  const unaryText = (e: Extract<Expr, { kind: 'unary' }>): string => {
    const t = e.a.type.dtype, a = expr(e.a);
    switch (e.op) {
      case 'neg': return `(${wrapped(t, `-${a}`)})`;
      case 'not': return t === 'bool' ? `(!${a})` : `(${wrapped(t, `~${a}`)})`;
      case 'abs': return big(t) ? `(${a} < 0n ? -${a} : ${a})` : wrapped(t, `Math.abs(${a})`);
      case 'isinf': return `(Math.abs(${a}) === Infinity)`;
      case 'isnan': return `Number.isNaN(${a})`;
      default: return integral(t) && roundings.has(e.op) ? a : wrapped(t, `${mathCalls[e.op]}(${a})`);
    }
  };
  const loaded = (stored: ScalarType, text: string): string =>
    stored === 'f16' ? `rt.f16ToNumber(${text})` : stored === 'bf16' ? `rt.bf16ToNumber(${text})` : stored === 'bool' ? `(${text} !== 0)` : text;
  const storedText = (stored: ScalarType, text: string): string =>
    stored === 'f16' ? `rt.numberToF16(${text})` : stored === 'bf16' ? `rt.numberToBf16(${text})` : stored === 'bool' ? `(${text} ? 1 : 0)` : text;

  const lines: string[] = [];
  const block = (stmts: readonly Stmt[], pad: string): void => stmts.forEach((s) => statement(s, pad));
  const statement = (s: Stmt, pad: string): void => {
    switch (s.kind) {
      case 'for':
        lines.push(`${pad}for (let ${s.name} = ${expr(s.from)}; ${s.name} < ${expr(s.to)}; ${s.name} += ${s.step}) {`);
        block(s.body, `${pad}  `);
        lines.push(`${pad}}`);
        break;
      case 'range':
        lines.push(`${pad}{`, `${pad}  const begin = 0, end = ${s.extent};`);
        block(s.body, `${pad}  `);
        lines.push(`${pad}}`);
        break;
      case 'while':
        lines.push(`${pad}while (${expr(s.cond)}) {`);
        block(s.body, `${pad}  `);
        lines.push(`${pad}}`);
        break;
      case 'if':
        lines.push(`${pad}if (${expr(s.cond)}) {`);
        block(s.then, `${pad}  `);
        if (s.else.length) { lines.push(`${pad}} else {`); block(s.else, `${pad}  `); }
        lines.push(`${pad}}`);
        break;
      case 'let': lines.push(`${pad}const ${s.name} = ${expr(s.value)};`); break;
      case 'var': lines.push(`${pad}let ${s.name} = ${expr(s.value)};`); break;
      case 'assign': lines.push(`${pad}${s.name} = ${expr(s.value)};`); break;
      case 'store': lines.push(`${pad}${s.buffer}[${expr(s.index)}] = ${storedText(types.get(s.buffer) ?? s.value.type.dtype, expr(s.value))};`); break;
      case 'array': {
        types.set(s.name, s.dtype);
        const init = s.init?.map((v) => (typeof v === 'bigint' ? `${v}n` : String(v))).join(', ');
        lines.push(`${pad}const ${s.name} = ${init !== undefined ? `[${init}]` : `new Array(${s.size}).fill(${big(s.dtype) ? '0n' : '0'})`};`);
        break;
      }
      case 'call': throw new Error(`SPC9002: the evaluator has no ${s.name}`);
      case 'comment': lines.push(`${pad}// ${s.text.replace(/[\r\n\u2028\u2029]/g, ' ')}`); break;
    }
  };
  lines.push("'use strict';", 'const rt_min = (a, b) => (b < a ? b : a), rt_max = (a, b) => (b > a ? b : a);');
  block(body, '');
  return lines.join('\n');
}
