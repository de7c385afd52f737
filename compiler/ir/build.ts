/**
 * Builds graphs node by node: types are inferred as it goes, and what can be computed at once is (shape chains arrive as
 * constants where an operator asks for them).
 */
import { coreOp, type OpAttrs, type OpKind } from '../core/index.js';
import { broadcastShapes, type ElementwiseAttrs } from '../core/elementwise.js';
import { arg, constant } from '../kir/build.js';
import { evaluateNode } from '../kir/evaluate.js';
import type { Expr } from '../kir/types.js';
import { checkedElementCount, denseData, numberAt, type Tensor } from './tensor.js';
import { elementCount, sameShape, type Graph, type Node, type NodeOf, type Origin, type TensorType, type Value, type ValueId } from './types.js';

/** Results up to this many elements are folded while building; larger ones wait for the pass fold-constants. */
const FOLD_LIMIT = 1 << 16;
/** The same for products of constants, by multiply-accumulates. */
const FOLD_MACS_LIMIT = 1 << 24;

/** The literal that stands for a constant of one element, exact in every type. */
function literalOf(v: Value): Expr | undefined {
  if (!v.constant || elementCount(v.type.shape) !== 1) return undefined;
  const data = denseData(v.constant), element = data[0]!;
  return constant(v.type.dtype, typeof element === 'bigint' ? element : numberAt(v.type.dtype, data, 0));
}

export class GraphBuilder {
  private readonly values = new Map<ValueId, Value>();
  private readonly nodes: Node[] = [];
  private readonly inputIds: ValueId[] = [];
  private readonly names = new Map<string, ValueId>();
  private nextId = 0;
  /** ONNX node that new nodes come from. */
  origin: Origin = { node: '', op: '' };
  /** Wanted names of the next node's outputs. */
  outputNames: readonly string[] = [];

  constructor(readonly name: string) {}

  private uniqueName(wanted: string, id: ValueId): string {
    let name = wanted || 'v';
    for (let i = 1; this.names.has(name); i++) name = `${wanted || 'v'}_${i}`;
    this.names.set(name, id);
    return name;
  }

  private newValue(type: TensorType, name: string, tensor?: Tensor): Value {
    checkedElementCount(type.dtype, type.shape);
    const id = this.nextId++;
    const value: Value = { id, name: this.uniqueName(name, id), type: { dtype: type.dtype, shape: type.shape }, ...(tensor ? { constant: tensor } : {}) };
    this.values.set(value.id, value);
    return value;
  }

  input(name: string, type: TensorType): Value {
    const v = this.newValue(type, name);
    this.inputIds.push(v.id);
    return v;
  }

  constant(tensor: Tensor, name = 'const'): Value {
    return this.newValue(tensor, name, tensor);
  }

  /** A point in time for {@link rename}. */
  mark(): number {
    return this.nextId;
  }

  /**
   * Gives a value its ONNX name once its operator is lowered; intermediate values of the operator give way. Values made before
   * `since` (a {@link mark}) keep theirs: an Identity returns its input. Returns the value under its name.
   */
  rename(value: Value, name: string, since: number): Value {
    if (value.id < since || value.name === name) return value;
    const holder = this.values.get(this.names.get(name) ?? -1);
    if (holder && holder.id < since) return value;
    this.names.delete(value.name);
    this.names.set(name, value.id);
    const renamed = { ...value, name };
    this.values.set(value.id, renamed);
    if (holder) this.values.set(holder.id, { ...holder, name: this.uniqueName(name, holder.id) });
    return renamed;
  }

  /** Adds a node of a core operator; returns its outputs (constants where all inputs are and the result is small). */
  op<K extends OpKind>(kind: K, inputs: readonly Value[], attrs: OpAttrs[K]): Value[] {
    const operands = inputs.map((v) => v.type);
    const types = coreOp(kind).infer(attrs, operands);
    for (const t of types) checkedElementCount(t.dtype, t.shape);
    const origins = this.origin.node === '' && this.origin.op === '' ? [] : [this.origin];
    const names = types.map((_, i) => this.outputNames[i] ?? this.origin.node);
    const isCheap = !coreOp(kind).foldLate && types.every((t) => elementCount(t.shape) <= FOLD_LIMIT) && (coreOp(kind).macs?.(attrs, operands, types) ?? 0) <= FOLD_MACS_LIMIT;
    if (isCheap && inputs.every((v) => v.constant)) {
      const results = evaluateNode(kind, attrs, inputs.map((v) => v.constant!), types);
      return results.map((t, i) => this.constant(t, names[i]));
    }
    const outputs = types.map((t, i) => this.newValue(t, names[i] ?? 'v'));
    const node = { id: this.nextId++, kind, inputs: inputs.map((v) => v.id), outputs: outputs.map((v) => v.id), attrs, origins } as NodeOf<K>;
    this.nodes.push(node as Node);
    return outputs;
  }

  /** An elementwise node; `f` gets one expression an input (a literal for a constant of one element) and returns the result's. */
  map(inputs: readonly Value[], f: (...args: Expr[]) => Expr, shape?: readonly number[]): Value {
    const operands = inputs.filter((v) => literalOf(v) === undefined);
    const kept = [...new Set(operands.length ? operands : inputs)];
    const expr = f(...inputs.map((v) => (kept.includes(v) ? arg(kept.indexOf(v), v.type.dtype) : literalOf(v)!)));
    const full = broadcastShapes(...inputs.map((v) => v.type.shape), ...(shape ? [shape] : []));
    const attrs: ElementwiseAttrs = { expr, ...(sameShape(full, broadcastShapes(...kept.map((v) => v.type.shape))) ? {} : { shape: full }) };
    return this.op('elementwise', kept, attrs)[0]!;
  }

  /** `v` broadcast to `shape`; itself where it has it already. */
  expand(v: Value, shape: readonly number[]): Value {
    const full = broadcastShapes(v.type.shape, shape);
    return sameShape(full, v.type.shape) ? v : this.map([v], (x) => x, full);
  }

  reshape(v: Value, shape: readonly number[]): Value {
    return sameShape(shape, v.type.shape) ? v : this.op('reshape', [v], { shape })[0]!;
  }

  transpose(v: Value, perm: readonly number[]): Value {
    return perm.every((p, i) => p === i) ? v : this.op('transpose', [v], { perm })[0]!;
  }

  finish(outputs: readonly { readonly name: string; readonly value: Value }[]): Graph {
    return { name: this.name, values: this.values, nodes: this.nodes, inputs: this.inputIds, outputs: outputs.map((o) => ({ name: o.name, value: o.value.id })) };
  }
}
