/**
 * How a pass makes a new graph. The editor works on a copy: nodes are added, values get new definitions, uses move; `finish` drops
 * what nothing needs any more and puts the nodes in execution order.
 *
 * A value keeps its meaning (and its ONNX name) for life: a rewrite gives it another definition (`define`), or moves its uses to a
 * value that means the same (`replaceUses`). That is what lets two stages of the compiler be compared value by value.
 */
import { coreOp, type OpAttrs, type OpKind } from '../core/index.js';
import type { DType } from './dtype.js';
import { foldNode } from './fold.js';
import type { Tensor } from './tensor.js';
import { firstFreeId, formatType, operandsOf, sameShape, type Epilogue, type Graph, type Node, type NodeId, type NodeOf, type Origin, type TensorType, type Value, type ValueId } from './types.js';

export interface NodeExtras {
  readonly epilogue?: Epilogue | undefined;
  readonly origins?: readonly Origin[];
  /** Of a new value: the value that its elements are, in another order or shape. */
  readonly elementsOf?: ValueId;
}

/** Types of a node's outputs: what the operator infers, output 0 in the epilogue's element type. */
export function outputTypes(kind: OpKind, attrs: unknown, inputs: readonly TensorType[], epilogue?: Epilogue): TensorType[] {
  return coreOp(kind).infer(attrs, inputs).map((t, i) => ({
    dtype: i === 0 && epilogue ? (epilogue.expr.type.dtype as DType) : t.dtype,
    shape: t.shape,
  }));
}

/** Origins of several nodes, each once, in order. */
export function mergeOrigins(...nodes: readonly (Node | undefined)[]): Origin[] {
  const seen = new Map<string, Origin>();
  for (const o of nodes.flatMap((n) => n?.origins ?? [])) if (!seen.has(`${o.op}\0${o.node}`)) seen.set(`${o.op}\0${o.node}`, o);
  return [...seen.values()];
}

export class GraphEditor {
  private readonly values: Map<ValueId, Value>;
  private readonly nodes: Map<NodeId, Node>;
  private readonly producers = new Map<ValueId, NodeId>();
  private readonly readers = new Map<ValueId, Set<NodeId>>();
  private outputs: Graph['outputs'];
  private readonly names: Set<string>;
  private readonly wanted = new Map<ValueId, string>();
  private readonly maybeDead = new Set<NodeId>();
  private nextId: number;

  constructor(private readonly source: Graph) {
    this.values = new Map(source.values);
    this.nodes = new Map(source.nodes.map((n) => [n.id, n]));
    this.outputs = source.outputs;
    this.names = new Set([...source.values.values()].map((v) => v.name));
    this.nextId = firstFreeId(source);
    for (const node of source.nodes) this.connect(node);
  }

  // --- questions -------------------------------------------------------------------------------------------------------------

  value(id: ValueId): Value {
    const v = this.values.get(id);
    if (!v) throw new Error(`SPC9001: value %${id} is not in graph ${this.source.name}`);
    return v;
  }
  type(id: ValueId): TensorType { return this.value(id).type; }
  shape(id: ValueId): readonly number[] { return this.value(id).type.shape; }
  constantOf(id: ValueId): Tensor | undefined { return this.value(id).constant; }
  /** The node that computes a value; undefined for inputs and constants. */
  producer(id: ValueId): Node | undefined {
    const node = this.producers.get(id);
    return node === undefined ? undefined : this.nodes.get(node);
  }
  /** The producer, if it is of this kind and has no epilogue. */
  producerOf<K extends OpKind>(id: ValueId, kind: K): NodeOf<K> | undefined {
    const node = this.producer(id);
    return node && node.kind === kind && !node.epilogue ? (node as unknown as NodeOf<K>) : undefined;
  }
  /** Nodes that read a value, each once. */
  users(id: ValueId): Node[] { return [...(this.readers.get(id) ?? [])].map((n) => this.nodes.get(n)!); }
  isOutput(id: ValueId): boolean { return this.outputs.some((o) => o.value === id); }
  /** True where one node alone reads the value, and the graph's caller does not. */
  hasOneUser(id: ValueId): boolean { return this.readers.get(id)?.size === 1 && !this.isOutput(id); }
  has(node: Node): boolean { return this.nodes.get(node.id) === node; }

  /** Nodes so that every one comes after those that it reads; otherwise as they were. */
  ordered(): Node[] {
    const done = new Set<NodeId>(), out: Node[] = [];
    for (const root of this.nodes.values()) {
      // explicit stack: models are deeper than JavaScript's
      const stack: { node: Node; next: number }[] = done.has(root.id) ? [] : [{ node: root, next: 0 }];
      while (stack.length > 0) {
        const top = stack.at(-1)!;
        const operand = operandsOf(top.node)[top.next++];
        if (operand === undefined) {
          stack.pop();
          if (!done.has(top.node.id)) out.push(top.node);
          done.add(top.node.id);
          continue;
        }
        const producer = this.producer(operand);
        if (producer && !done.has(producer.id)) {
          if (stack.length > this.nodes.size) throw new Error(`SPC9001: the nodes of graph ${this.source.name} form a cycle at '${this.value(operand).name}'`);
          stack.push({ node: producer, next: 0 });
        }
      }
    }
    return out;
  }

  // --- changes ---------------------------------------------------------------------------------------------------------------

  constant(tensor: Tensor, name: string): ValueId {
    return this.newValue(tensor, name, tensor);
  }

  /**
   * Adds a node whose outputs are new values; with constant operands only, its results become constants at once.
   * @returns the first output (others: `producer(id).outputs`)
   */
  add<K extends OpKind>(kind: K, inputs: readonly ValueId[], attrs: OpAttrs[K], name: string, extras: NodeExtras = {}): ValueId {
    const types = outputTypes(kind, attrs, inputs.map((i) => this.type(i)), extras.epilogue);
    const operands = inputs.map((i) => this.constantOf(i));
    if (!extras.epilogue && operands.length > 0 && operands.every((t) => t !== undefined)) {
      return foldNode(kind, attrs, operands, types).map((t) => this.constant(t, name))[0]!;
    }
    const outputs = types.map((t) => this.newValue(t, name, undefined, extras.elementsOf));
    this.insert(kind, inputs, attrs, outputs, extras);
    return outputs[0]!;
  }

  /** Gives values another definition; their former producer goes. Types must stay as they are. */
  define<K extends OpKind>(outputs: readonly ValueId[], kind: K, inputs: readonly ValueId[], attrs: OpAttrs[K], extras: NodeExtras = {}): Node {
    const types = outputTypes(kind, attrs, inputs.map((i) => this.type(i)), extras.epilogue);
    outputs.forEach((id, i) => {
      const was = this.type(id), now = types[i]!;
      if (was.dtype !== now.dtype || !sameShape(was.shape, now.shape)) {
        throw new Error(`SPC9004: '${this.value(id).name}' was ${formatType(was)} and would become ${formatType(now)} as a ${kind}`);
      }
      this.removeProducer(id);
    });
    return this.insert(kind, inputs, attrs, outputs, extras);
  }

  /** The same node with something else about it. */
  update(node: Node, change: { readonly inputs?: readonly ValueId[]; readonly attrs?: unknown; readonly epilogue?: Epilogue | undefined }): Node {
    const extras = { origins: node.origins, epilogue: 'epilogue' in change ? change.epilogue : node.epilogue };
    return this.define(node.outputs, node.kind, change.inputs ?? node.inputs, (change.attrs ?? node.attrs) as never, extras);
  }

  /** A computed value turns out to be constant. */
  becomeConstant(id: ValueId, tensor: Tensor): void {
    this.removeProducer(id);
    this.values.set(id, { ...this.value(id), constant: tensor });
  }

  /** Everyone who reads `from` reads `to`, which means the same. */
  replaceUses(from: ValueId, to: ValueId): void {
    const swap = (ids: readonly ValueId[]): ValueId[] => ids.map((i) => (i === from ? to : i));
    for (const node of this.users(from)) {
      this.disconnect(node);
      this.connect({ ...node, inputs: swap(node.inputs), ...(node.epilogue ? { epilogue: { ...node.epilogue, inputs: swap(node.epilogue.inputs) } } : {}) } as Node);
    }
    this.outputs = this.outputs.map((o) => (o.value === from ? { ...o, value: to } : o));
    this.noticeUnused(from);
  }

  /** Removes nodes that lost their last use; `users` and `hasOneUser` then tell the truth again. */
  sweep(): void {
    for (const id of this.maybeDead) {
      this.maybeDead.delete(id);
      const node = this.nodes.get(id);
      if (node && node.outputs.every((o) => !this.readers.get(o)?.size && !this.isOutput(o))) {
        this.nodes.delete(id);
        node.outputs.forEach((o) => this.producers.delete(o));
        this.disconnect(node);
      }
    }
  }

  /** The new graph. */
  finish(): Graph {
    for (const id of this.nodes.keys()) this.maybeDead.add(id);
    this.sweep();
    const nodes = this.ordered();
    const kept = new Set<ValueId>([...this.source.inputs, ...this.outputs.map((o) => o.value), ...nodes.flatMap((n) => [...operandsOf(n), ...n.outputs])]);
    const values = new Map([...this.values].filter(([id]) => kept.has(id)));
    this.reclaimNames(values);
    return { name: this.source.name, values, nodes, inputs: this.source.inputs, outputs: this.outputs };
  }

  /** New values get the names that they were meant to have, where those who had them are gone. */
  private reclaimNames(values: Map<ValueId, Value>): void {
    const taken = new Set([...values.values()].map((v) => v.name));
    for (const [id, wanted] of this.wanted) {
      const v = values.get(id);
      if (!v || v.name === wanted || taken.has(wanted)) continue;
      taken.delete(v.name);
      taken.add(wanted);
      values.set(id, { ...v, name: wanted });
    }
  }

  // --- bookkeeping -----------------------------------------------------------------------------------------------------------

  private newValue(type: TensorType, wanted: string, constant?: Tensor, elementsOf?: ValueId): ValueId {
    const id = this.nextId++;
    let name = wanted;
    for (let i = 1; this.names.has(name); i++) name = `${wanted}_${i}`;
    this.names.add(name);
    this.wanted.set(id, wanted);
    const zeros = elementsOf === undefined ? undefined : this.value(elementsOf).zeros;
    this.values.set(id, { id, name, type: { dtype: type.dtype, shape: [...type.shape] }, ...(constant ? { constant } : {}), ...(zeros === undefined ? {} : { zeros }) });
    return id;
  }

  private insert<K extends OpKind>(kind: K, inputs: readonly ValueId[], attrs: OpAttrs[K], outputs: readonly ValueId[], extras: NodeExtras): Node {
    const node = { id: this.nextId++, kind, inputs, outputs, attrs, ...(extras.epilogue ? { epilogue: extras.epilogue } : {}), origins: extras.origins ?? [] } as unknown as Node;
    this.connect(node);
    return node;
  }

  private connect(node: Node): void {
    this.nodes.set(node.id, node);
    for (const o of node.outputs) this.producers.set(o, node.id);
    for (const i of operandsOf(node)) {
      const set = this.readers.get(i);
      if (set) set.add(node.id); else this.readers.set(i, new Set([node.id]));
    }
  }

  private disconnect(node: Node): void {
    for (const i of operandsOf(node)) {
      this.readers.get(i)?.delete(node.id);
      this.noticeUnused(i);
    }
  }

  private noticeUnused(id: ValueId): void {
    const producer = this.producers.get(id);
    if (producer !== undefined) this.maybeDead.add(producer);
  }

  private removeProducer(id: ValueId): void {
    const node = this.producer(id);
    this.producers.delete(id);
    if (node && node.outputs.every((o) => this.producers.get(o) !== node.id)) {
      this.nodes.delete(node.id);
      this.disconnect(node);
    }
  }
}

/** One rewrite tried at a node; returns whether it changed anything. */
export type Rule = (e: GraphEditor, node: Node) => boolean;

/** Rounds after which rules that undo each other are assumed. */
const MAX_ROUNDS = 500;

/** Applies rules to every node until none applies. The same graph comes back where nothing changed. */
export function rewrite(graph: Graph, ...rules: readonly Rule[]): Graph {
  const e = new GraphEditor(graph);
  let changed = false;
  for (let round = 0; ; round++) {
    let again = false;
    for (const node of e.ordered()) {
      if (e.has(node) && rules.some((rule) => e.has(node) && rule(e, node))) {
        again = true;
        e.sweep();
      }
    }
    if (!again) return changed ? e.finish() : graph;
    changed = true;
    if (round === MAX_ROUNDS) throw new Error(`SPC9005: rewriting of graph ${graph.name} does not come to an end`);
  }
}
