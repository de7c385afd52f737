/** Reads the text form of a graph (print.ts) back. */
import { coreOps, type OpKind } from '../core/index.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { and, arg, binary, cast, compare, constant, fma, hsum, ref, select, splat, unary } from '../kir/build.js';
import type { BinaryOp, CompareOp, Expr, KType, ScalarType, UnaryOp } from '../kir/types.js';
import { dtypes, type DType, type TypedArray } from './dtype.js';
import { parseLayout } from './layout.js';
import { denseTensor, newArray, storedValue, type Tensor } from './tensor.js';
import { narrowTypes, elementCount, type Epilogue, type Graph, type Node, type Origin, type TensorType, type Value, type ValueId } from './types.js';

/** A constant of which the text gives only type, hash and number of non-zeros. */
export interface ElidedConstant {
  readonly name: string;
  readonly type: TensorType;
  readonly sha: string;
  readonly nnz: number;
}

export interface ParseOptions {
  /** Supplies elided constants; the default stands in seeded random ones of the same type and number of non-zeros. */
  readonly resolve?: (c: ElidedConstant) => Tensor;
}

const binaryOps: ReadonlySet<string> = new Set<BinaryOp>(['add', 'sub', 'mul', 'div', 'mod', 'min', 'max', 'pow', 'atan2', 'and', 'or', 'xor', 'shl', 'shr']);
const compareOps: ReadonlySet<string> = new Set<CompareOp>(['eq', 'ne', 'lt', 'le', 'gt', 'ge']);

/** Random values that depend on the hash alone: small integers for integer types, [-1, 1) for floats. */
function randomConstant({ type, sha, nnz }: ElidedConstant): Tensor {
  let state = Number.parseInt(sha.slice(0, 8), 16) >>> 0 || 1;
  const next = (): number => { // xorshift32 (Marsaglia 2003)
    state ^= state << 13; state >>>= 0; state ^= state >>> 17; state ^= state << 5; state >>>= 0;
    return state / 2 ** 32;
  };
  const count = elementCount(type.shape), data = newArray(type.dtype, count);
  const float = dtypes[type.dtype].family === 'float';
  let left = nnz;
  for (let i = 0; i < count; i++) { // selection sampling: exactly nnz elements (Knuth 3.4.2, algorithm S)
    if (next() * (count - i) >= left) continue;
    left--;
    data[i] = storedValue(type.dtype, float ? (next() - 0.5) * 2 || 0.5 : 1 + Math.floor(next() * (type.dtype === 'bool' ? 1 : 100))) as never;
  }
  return denseTensor(type.dtype, type.shape, data);
}

/** A scanner over one line. */
class Scanner {
  private at = 0;
  constructor(private readonly text: string, private readonly line: number) {}

  fail(wanted: string): never {
    throw new SpcError([{ code: 'SPC1090', severity: 'error', message: `IR text, line ${this.line}, column ${this.at + 1}: expected ${wanted}, found '${this.text.slice(this.at, this.at + 20)}'` }]);
  }
  private space(): void { while (this.text[this.at] === ' ') this.at++; }
  get done(): boolean { this.space(); return this.at >= this.text.length; }
  /** Takes what matches, or nothing. */
  match(pattern: RegExp): string | undefined {
    this.space();
    const sticky = new RegExp(pattern.source, 'y');
    sticky.lastIndex = this.at;
    const m = sticky.exec(this.text);
    if (!m) return undefined;
    this.at = sticky.lastIndex;
    return m[0];
  }
  take(pattern: RegExp, wanted: string): string { return this.match(pattern) ?? this.fail(wanted); }
  try(symbol: string): boolean {
    this.space();
    if (!this.text.startsWith(symbol, this.at)) return false;
    this.at += symbol.length;
    return true;
  }
  need(symbol: string): void { if (!this.try(symbol)) this.fail(`'${symbol}'`); }
  string(): string { return JSON.parse(this.take(/"(?:[^"\\]|\\.)*"/, 'a string')) as string; }
  integer(): number { return Number(this.take(/\d+/, 'an integer')); }
  id(): ValueId { this.need('%'); return this.integer(); }
  list<T>(open: string, close: string, item: () => T): T[] {
    const out: T[] = [];
    this.need(open);
    while (!this.try(close)) {
      if (out.length > 0) this.need(',');
      out.push(item());
    }
    return out;
  }
  number(): number | bigint | undefined {
    const text = this.match(/-?(?:\d+n|Infinity|NaN|\d+(?:\.\d+)?(?:e[+-]?\d+)?)/);
    if (text === undefined) return undefined;
    return text.endsWith('n') ? BigInt(text.slice(0, -1)) : Number(text);
  }
  type(): TensorType {
    const dtype = this.take(/[a-z]+\d*/, 'an element type');
    if (!(dtype in dtypes)) this.fail('an element type');
    return { dtype: dtype as DType, shape: this.list('[', ']', () => this.integer()) };
  }
}

function scalarType(s: Scanner): KType {
  const m = /^(index|bool|bf16|[fiu]\d+)(?:x(\d+))?$/.exec(s.take(/[a-z]+\d*(?:x\d+)?/, 'a scalar type'));
  if (!m) s.fail('a scalar type');
  return { dtype: m[1] as ScalarType, lanes: Number(m[2] ?? 1) };
}

function expr(s: Scanner): Expr {
  const value = s.number();
  if (value !== undefined) {
    s.need(':');
    const type = scalarType(s);
    return constant(type.dtype, value, type.lanes);
  }
  if (s.try('$')) {
    const name = s.take(/\w+/, 'a name');
    s.need(':');
    return ref(name, scalarType(s));
  }
  const index = s.match(/a\d+(?=:)/);
  if (index !== undefined) {
    s.need(':');
    return arg(Number(index.slice(1)), scalarType(s).dtype as DType);
  }
  const op = s.take(/[a-z]\w*/, 'an expression');
  const parameter = s.try('<') ? s.take(/\w+/, 'a type') : undefined;
  if (parameter !== undefined) s.need('>');
  const [a, b, c] = s.list('(', ')', () => expr(s));
  if (!a) s.fail('an operand');
  if (op === 'cast') return cast(a, parameter as ScalarType);
  if (op === 'splat') return splat(a, Number(parameter));
  if (op === 'hsum') return hsum(a);
  if (!b) return unary(op as UnaryOp, a);
  if (c) return op === 'fma' ? fma(a, b, c) : op === 'select' ? select(a, b, c) : s.fail('fma or select');
  if (op === 'and') return and(a, b);
  if (binaryOps.has(op)) return binary(op as BinaryOp, a, b);
  return compareOps.has(op) ? compare(op as CompareOp, a, b) : s.fail('an operator');
}

function quotedExpr(s: Scanner): Expr {
  s.need('`');
  const e = expr(s);
  s.need('`');
  return e;
}

/** Parses a scalar expression as `formatExpr` prints it. */
export const parseExpr = (text: string): Expr => expr(new Scanner(text, 1));

function attribute(s: Scanner): unknown {
  if (s.try('{')) {
    const out: Record<string, unknown> = {};
    while (!s.try('}')) {
      if (Object.keys(out).length > 0) s.need(',');
      const field = s.take(/\w+/, 'a name');
      s.need(':');
      out[field] = attribute(s);
    }
    return out;
  }
  const value = s.number();
  if (value !== undefined) return value;
  const word = s.match(/true|false|null|undefined/);
  if (word !== undefined) return word === 'true' ? true : word === 'false' ? false : word === 'null' ? null : undefined;
  if (s.match(/(?=\[)/) !== undefined) return s.list('[', ']', () => attribute(s));
  return s.match(/(?=`)/) !== undefined ? quotedExpr(s) : s.string();
}

function fromBase64(s: Scanner, dtype: DType): TypedArray {
  const bytes = Uint8Array.from(Buffer.from(s.string(), 'base64'));
  return new dtypes[dtype].array(bytes.buffer, 0, bytes.byteLength / dtypes[dtype].bytes);
}

function constantOf(s: Scanner, name: string, type: TensorType, options: ParseOptions): Tensor {
  const elided = s.match(/(?:sparse )?(?=sha=)/);
  if (elided !== undefined) {
    s.need('sha=');
    const sha = s.take(/[0-9a-f]+/, 'a hash');
    s.need('nnz=');
    const nnz = s.integer();
    s.need('/');
    s.integer();
    return (options.resolve ?? randomConstant)({ name, type, sha, nnz });
  }
  s.need('=');
  if (s.try('sparse')) {
    s.need('base64');
    const values = fromBase64(s, type.dtype);
    return { kind: 'sparse', ...type, values, indices: s.list('[', ']', () => s.integer()) };
  }
  if (s.try('base64')) return denseTensor(type.dtype, type.shape, fromBase64(s, type.dtype));
  const items = s.list('[', ']', () => s.number() ?? s.fail('a number'));
  const data = newArray(type.dtype, items.length);
  items.forEach((v, i) => { data[i] = v as never; });
  return denseTensor(type.dtype, type.shape, data);
}

/**
 * Parses a graph.
 * @throws SpcError SPC1090 with line and column where the text is not a graph
 */
export function parseGraph(text: string, options: ParseOptions = {}): Graph {
  let name = '';
  const values = new Map<ValueId, Value>(), nodes: Node[] = [], inputs: ValueId[] = [], outputs: { name: string; value: ValueId }[] = [];
  const declare = (s: Scanner): Value => {
    const id = s.id(), valueName = s.string();
    const type = s.type(), stored = narrowTypes.find((t) => s.try(`as ${t}`)), text = s.try('@ ') ? s.take(/\w+\([^)]*\)/, 'a layout') : undefined;
    const layout = text === undefined ? undefined : parseLayout(text) ?? s.fail('a layout');
    const value: Value = { id, name: valueName, type, ...(stored ? { stored } : {}), ...(layout ? { layout } : {}) };
    values.set(id, value);
    return value;
  };
  text.split('\n').forEach((line, i) => {
    const s = new Scanner(line, i + 1);
    if (s.done || s.try('//')) return;
    if (s.try('graph ')) name = s.string();
    else if (s.try('input ')) inputs.push(declare(s).id);
    else if (s.try('const ')) {
      const v = declare(s);
      values.set(v.id, { ...v, constant: constantOf(s, v.name, v.type, options) });
    } else if (s.try('output ')) outputs.push({ name: s.string(), value: s.id() });
    else nodes.push(nodeLine(s, declare));
    if (!s.done) s.fail('the end of the line');
  });
  return { name, values, nodes, inputs, outputs };
}

function nodeLine(s: Scanner, declare: (s: Scanner) => Value): Node {
  s.need('n');
  const id = s.integer();
  s.need(':');
  const outputs: ValueId[] = [];
  do outputs.push(declare(s).id); while (s.try(','));
  s.need('=');
  const kind = s.take(/\w+/, 'an operator');
  if (!(kind in coreOps)) s.fail('a core operator');
  const inputs = s.list('(', ')', () => s.id());
  const attrs = attribute(s);
  let epilogue: Epilogue | undefined;
  if (s.try('epilogue')) {
    const extra = s.list('(', ')', () => s.id());
    epilogue = { expr: quotedExpr(s), inputs: extra };
  }
  const origins: Origin[] = [];
  if (s.try('from')) do { const op = s.string(); origins.push({ op, node: s.string() }); } while (s.try(','));
  return { id, kind: kind as OpKind, inputs, outputs, attrs, ...(epilogue ? { epilogue } : {}), origins } as unknown as Node;
}
