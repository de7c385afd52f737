/** Builds one kernel: names its parameters, addresses strided tensors, applies the epilogue at every store. */
import type { DType } from '../ir/dtype.js';
import { gridVectors, LANES, layoutElements, phaseVectors, type Layout } from '../ir/layout.js';
import type { Tensor } from '../ir/tensor.js';
import { contiguousStrides, elementCount, type NarrowType, type TensorType, type ValueId } from '../ir/types.js';
import { add, asIndex, cast, div, forLoop, load, mapExpr, mod, mul, rangeBegin, rangeEnd, ref, store } from './build.js';
import type { Routine } from './routine.js';
import type { CallArgument, Expr, KernelParam, LoopAttrs, ScalarType, Stmt } from './types.js';

/** A tensor as a kernel sees it: a parameter, and where element (i, j, ...) lies from its pointer. */
export interface TensorRef extends TensorType {
  readonly param: string;
  /** In elements. */
  readonly strides: readonly number[];
  readonly offset: number;
  /** Element type in memory, where it is narrower than `dtype`: conversions happen at loads and stores. */
  readonly stored?: NarrowType;
  /** Present where memory is not row-major; strides then mean nothing. */
  readonly layout?: Layout;
}

export const tensorRef = (param: string, type: TensorType, strides = contiguousStrides(type.shape), offset = 0, layout?: Layout): TensorRef =>
  ({ param, dtype: type.dtype, shape: type.shape, strides, offset, ...(layout ? { layout } : {}) });

export const isContiguous = (t: TensorRef): boolean => {
  if (t.layout) return false;
  const want = contiguousStrides(t.shape);
  return t.shape.every((d, i) => d === 1 || t.strides[i] === want[i]);
};

/** Address of element `at` in a tile layout: the leading dimensions, flattened, are its pixels. */
function addressInTiles(l: Layout, shape: readonly number[], at: readonly Expr[]): Expr {
  const pixel = at.slice(0, -1).reduce<Expr>((e, i, d) => add(mul(e, shape[d]!), i), asIndex(0));
  const whole = at.length === 4 && shape[1] === l.height && shape[2] === l.width;
  const x = whole ? at[2]! : mod(pixel, l.width), y = whole ? at[1]! : mod(div(pixel, l.width), l.height), n = whole ? at[0]! : div(pixel, l.width * l.height);
  const element = (vector: Expr, lane: Expr): Expr => add(add(mul(vector, l.pitch * LANES), mul(at.at(-1)!, LANES)), lane);
  if (l.over === 'images') return element(add(mul(add(mul(div(n, LANES), l.rows), add(y, l.top)), l.columns), add(x, l.left)), mod(n, LANES));
  const s = l.phases, size = gridVectors(l), p = add(mul(div(y, s), l.columns), div(x, s));
  const grid = add(mul(n, s * s), add(mul(mod(y, s), s), mod(x, s)));
  return element(add(add(mul(grid, phaseVectors(l)), l.before), mod(p, size)), div(p, size));
}

/** An epilogue whose inputs are tensors of this kernel. */
export interface BoundEpilogue {
  readonly expr: Expr;
  readonly inputs: readonly TensorRef[];
}

/**
 * The epilogue's expression on a computed value, which is taken in the element type that the expression reads: sums of f16 are
 * f32 until here.
 */
function applyEpilogue(epilogue: BoundEpilogue, value: Expr, operands: readonly Expr[]): Expr {
  return mapExpr(epilogue.expr, (x) => {
    if (x.kind !== 'arg') return x;
    if (x.index === 0) return cast(value, x.type.dtype);
    const operand = operands[x.index - 1];
    if (!operand) throw new Error(`SPC9002: epilogue argument ${x.index} has no value`);
    return operand;
  });
}

export class KernelBuilder {
  private readonly used = new Map<string, number>();
  private readonly extra: KernelParam[] = [];
  private readonly brought: { readonly name: string; readonly tensor: Tensor }[] = [];
  private readonly streams: Routine[] = [];
  private readonly further: { readonly id: ValueId; readonly ref: TensorRef }[] = [];

  /** @param tensorOf a value of the graph under a parameter's name, where there is a graph */
  constructor(readonly epilogue?: BoundEpilogue, private readonly tensorOf?: (id: ValueId, param: string) => TensorRef) {}

  /** A fresh local name: `base`, `base1`, `base2`, ... Asked for `x` and `x1`, no name is given twice. */
  name(base: string): string {
    let n = this.used.get(base) ?? 0;
    let name = n === 0 ? base : `${base}${n}`;
    while (this.used.has(name) && name !== base) name = `${base}${++n}`;
    this.used.set(base, n + 1);
    if (name !== base) this.used.set(name, 1);
    return name;
  }

  /** Working memory of `size` elements, supplied by the memory planner (uninitialised at entry). */
  scratch(base: string, dtype: DType, size: number): string {
    const name = this.name(base);
    this.extra.push({ name, dtype, size, role: 'scratch' });
    return name;
  }
  get scratchParams(): readonly KernelParam[] { return this.extra; }

  /** A constant that the kernel brings along (masks, tables too large for the code). Its parameter's name. */
  constant(base: string, tensor: Tensor): string {
    const name = this.name(base);
    this.brought.push({ name, tensor });
    return name;
  }
  get constants(): readonly { readonly name: string; readonly tensor: Tensor }[] { return this.brought; }

  /** A value of the graph that is no operand of the node: a nodes's that the kernel absorbs. */
  operand(id: ValueId, base: string): TensorRef {
    if (!this.tensorOf) throw new Error('SPC9002: a kernel outside of a graph has no further operands');
    const t = this.tensorOf(id, this.name(base));
    this.further.push({ id, ref: t });
    return t;
  }
  get operands(): readonly { readonly id: ValueId; readonly ref: TensorRef }[] { return this.further; }

  /** Calls a routine, which becomes part of the kernel where it is new. */
  callRoutine(f: Routine, ...args: readonly CallArgument[]): Stmt {
    if (!this.streams.includes(f)) this.streams.push(f);
    return { kind: 'call', name: f.name, routine: true, args };
  }
  get routines(): readonly Routine[] { return this.streams; }

  /** Address of element `at` of `t`, in elements. */
  address(t: TensorRef, at: readonly (Expr | number)[]): Expr {
    if (t.layout) return addressInTiles(t.layout, t.shape, at.map(asIndex));
    let e: Expr = asIndex(t.offset);
    at.forEach((i, d) => {
      if (t.shape[d] !== 1) e = add(mul(asIndex(i), t.strides[d]!), e);
    });
    return e;
  }

  load(t: TensorRef, at: readonly (Expr | number)[]): Expr {
    return load(t.param, t.dtype, this.address(t, at));
  }

  /** Loads with numpy broadcasting: `at` indexes a shape of which `t.shape` is a broadcastable suffix. */
  loadBroadcast(t: TensorRef, at: readonly (Expr | number)[]): Expr {
    return this.load(t, at.slice(at.length - t.shape.length).map((i, d) => (t.shape[d] === 1 ? 0 : i)));
  }

  /**
   * Stores `value` as element `at` of the node's output, through the epilogue if there is one. Use `storeRaw` for a second
   * output or for intermediate results.
   */
  store(t: TensorRef, at: readonly (Expr | number)[], value: Expr): Stmt { return this.storeThrough(this.epilogue, t, at, value); }

  /** The same through a given epilogue: the node's in another form. */
  storeThrough(epilogue: BoundEpilogue | undefined, t: TensorRef, at: readonly (Expr | number)[], value: Expr): Stmt {
    return this.storeRaw(t, at, epilogue ? applyEpilogue(epilogue, value, epilogue.inputs.map((e) => this.loadBroadcast(e, at))) : value);
  }

  storeRaw(t: TensorRef, at: readonly (Expr | number)[], value: Expr): Stmt {
    return store(t.param, this.address(t, at), cast(value, t.dtype));
  }

  /** A loop nest over `shape`; `body` gets one index expression a dimension. Dimensions of extent 1 make no loop. */
  forEach(shape: readonly number[], body: (at: Expr[]) => readonly Stmt[], attrs: LoopAttrs = { parallel: true }, base = 'i'): Stmt[] {
    const names = shape.map((d) => (d === 1 ? undefined : this.name(base)));
    const at = names.map((n) => (n === undefined ? asIndex(0) : ref(n)));
    return names.reduceRight<readonly Stmt[]>(
      (inner, n, d) => (n === undefined ? inner : [forLoop(n, shape[d]!, inner, attrs)]), body(at)) as Stmt[];
  }

  /**
   * Items one after the other, of which workers take parts: like a parallel loop, but every worker has its own of the working memory that `body` asks for
   * (up to 16 do; where one does all, it is the same memory for each item).
   */
  eachWithScratch(count: number, body: (item: Expr) => readonly Stmt[], base = 'i'): Stmt[] {
    if (count === 1) return [...body(asIndex(0))];
    const workers = Math.min(count, 16), before = this.extra.length, item = this.name(base), statements = body(ref(item));
    const own = this.extra.slice(before).map(({ name, size }) => ({ param: name, size: Math.ceil(size / LANES) * LANES }));
    own.forEach(({ size }, i) => { this.extra[before + i] = { ...this.extra[before + i]!, size: size * workers }; });
    const edge = (e: Expr): Expr => (workers === count ? e : div(mul(e, count), workers));
    return [{ kind: 'range', extent: workers, ...(own.length > 0 ? { own } : {}), body: [forLoop(item, edge(rangeEnd), statements, {}, edge(rangeBegin))] }];
  }

  /** A mutable local, for accumulators. */
  variable(base: string, init: Expr): { readonly declare: Stmt; readonly ref: Expr; set(value: Expr): Stmt } {
    const name = this.name(base);
    return {
      declare: { kind: 'var', name, value: init },
      ref: ref(name, init.type),
      set: (value) => ({ kind: 'assign', name, value }),
    };
  }

  /** An immutable local. */
  let(base: string, value: Expr): { readonly declare: Stmt; readonly ref: Expr } {
    const name = this.name(base);
    return { declare: { kind: 'let', name, value }, ref: ref(name, value.type) };
  }

  /** A constant table in the kernel (indices, filter taps); read it with `load(name, dtype, i)`. */
  table(base: string, dtype: ScalarType, values: readonly (number | bigint)[]): { readonly declare: Stmt; readonly name: string } {
    const name = this.name(base);
    return { declare: { kind: 'array', name, dtype, size: values.length, init: values }, name };
  }
}

/** Parameter of a tensor reference: everything from its pointer to its last element. */
export function paramOf(t: TensorRef, role: KernelParam['role']): KernelParam {
  if (t.layout) return { name: t.param, dtype: t.stored ?? t.dtype, size: layoutElements(t.layout), role };
  const last = t.shape.reduce((s, d, i) => s + Math.max(0, d - 1) * Math.abs(t.strides[i]!), t.offset);
  return { name: t.param, dtype: t.stored ?? t.dtype, size: elementCount(t.shape) === 0 ? 0 : last + 1, role };
}
