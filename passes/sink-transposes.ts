/**
 * Pushes transposes towards the outputs until they meet their inverse. One rule an operator: op(transpose(x)) becomes
 * transpose(op'(x)), with whatever the operator says about dimensions renamed.
 */
import { rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import { elementCount, type Graph, type Node, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import type { OpAttrs, OpKind } from '../compiler/core/index.js';
import { compose, inverse, isIdentity, movesOnlyOnes, permute, reshapeBeforeTranspose, toChannelsLast } from './permutations.js';
import { definePass } from './types.js';

/** `id` with its dimensions in another order: renamed where that costs nothing, else by a transpose. */
export function transposed(e: GraphEditor, id: ValueId, perm: readonly number[]): ValueId {
  if (isIdentity(perm)) return id;
  const before = e.producerOf(id, 'transpose'), { name } = e.value(id);
  if (before) return transposed(e, before.inputs[0]!, compose(before.attrs.perm, perm));
  const shape = e.shape(id);
  if (movesOnlyOnes(shape, perm)) return reshaped(e, id, permute(shape, perm));
  return e.add('transpose', [id], { perm: [...perm] }, nameInOrder(e, id, name, perm), { elementsOf: id });
}

/** Name of a value in another order of dimensions; constants, of which the old order goes, keep theirs. */
function nameInOrder(e: GraphEditor, id: ValueId | undefined, name: string, perm: readonly number[]): string {
  if (id !== undefined && e.constantOf(id)) return name;
  return `${name}_${perm.length > 2 && perm.join() === toChannelsLast(perm.length).join() ? 'nsc' : perm.join('')}`;
}

/** `id` under another shape. */
export function reshaped(e: GraphEditor, id: ValueId, shape: readonly number[]): ValueId {
  const own = e.shape(id);
  if (own.length === shape.length && own.every((d, i) => d === shape[i])) return id;
  const before = e.producerOf(id, 'reshape');
  return before ? reshaped(e, before.inputs[0]!, shape) : e.add('reshape', [id], { shape: [...shape] }, e.constantOf(id) ? e.value(id).name : `${e.value(id).name}_reshaped`, { elementsOf: id });
}

/** With as many leading dimensions of extent 1 as make it `rank` dimensions. */
const ofRank = (e: GraphEditor, id: ValueId, rank: number): ValueId =>
  reshaped(e, id, [...Array.from({ length: rank - e.shape(id).length }, () => 1), ...e.shape(id)]);

const transposeBefore = (e: GraphEditor, id: ValueId): NodeOf<'transpose'> | undefined => e.producerOf(id, 'transpose');

/** Defines the node's output as the transpose of `kind` on `inputs`, which lie in the order before the transpose. */
function sinkBelow<K extends OpKind>(e: GraphEditor, node: Node, kind: K, inputs: readonly ValueId[], attrs: OpAttrs[K], perm: readonly number[]): true {
  const output = node.outputs[0]!;
  const y = e.add(kind, inputs, attrs, nameInOrder(e, undefined, e.value(output).name, inverse(perm)), { origins: node.origins, elementsOf: output });
  if (isIdentity(perm)) e.replaceUses(output, y);
  else if (e.constantOf(y) === undefined && movesOnlyOnes(e.shape(y), perm)) e.define([output], 'reshape', [y], { shape: e.shape(output) }, { origins: node.origins });
  else e.define([output], 'transpose', [y], { perm: [...perm] }, { origins: node.origins });
  return true;
}

/**
 * The order in which the operands of a broadcasting node (all of `rank` or less) had better be read: the one that saves more
 * elements from being moved than it costs others to be.
 */
function commonOrder(e: GraphEditor, inputs: readonly ValueId[], rank: number): readonly number[] | undefined {
  const perms = inputs.flatMap((i) => { const t = transposeBefore(e, i); return t && t.attrs.perm.length === rank ? [t.attrs.perm] : []; });
  const gain = (perm: readonly number[]): number => [...new Set(inputs)].reduce((sum, id) => {
    const t = transposeBefore(e, id), shape = e.shape(id), size = elementCount(shape);
    if (t?.attrs.perm.join() === perm.join()) return sum + size;
    // another transpose only changes; constants are transposed while compiling
    if (t || e.constantOf(id)) return sum;
    const padded = [...Array.from({ length: rank - shape.length }, () => 1), ...shape];
    return movesOnlyOnes(padded, inverse(perm)) ? sum : sum - size;
  }, 0);
  const best = perms.sort((a, b) => gain(b) - gain(a))[0];
  return best && gain(best) > 0 ? best : undefined;
}

/** Coordinates renamed: dimension d after the transpose is dimension perm[d] before it. */
const before = <T>(items: readonly T[], perm: readonly number[]): T[] => permute(items, inverse(perm));
const ascending = (items: readonly number[]): number[] => [...items].sort((a, b) => a - b);

type SinkRules = { readonly [K in OpKind]?: (e: GraphEditor, node: NodeOf<K>) => boolean };

/** A rule for an operator whose first operand is a transpose; its other operands are not touched. */
function sink<K extends OpKind>(renamed: (attrs: OpAttrs[K], perm: readonly number[]) => { attrs: OpAttrs[K]; perm?: readonly number[] } | undefined) {
  return (e: GraphEditor, node: NodeOf<K>): boolean => {
    const t = transposeBefore(e, node.inputs[0]!), n = node as unknown as Node;
    const next = t && node.outputs.length === 1 ? renamed(node.attrs, t.attrs.perm) : undefined;
    return next !== undefined && sinkBelow(e, n, node.kind as K, [t!.inputs[0]!, ...node.inputs.slice(1)], next.attrs, next.perm ?? t!.attrs.perm);
  };
}

/** Order that remains when dimensions are removed. */
function withoutAxes(perm: readonly number[], removed: readonly number[]): number[] {
  const kept = perm.filter((p) => !removed.includes(p)), sorted = ascending(kept);
  return kept.map((p) => sorted.indexOf(p));
}

const rules: SinkRules = {
  elementwise(e, node) {
    const shape = e.shape(node.outputs[0]!), perm = commonOrder(e, node.inputs, shape.length);
    if (!perm) return false;
    const inputs = node.inputs.map((id) => transposed(e, ofRank(e, id, shape.length), inverse(perm)));
    const attrs = { ...node.attrs, ...(node.attrs.shape ? { shape: before(shape, perm) } : {}) };
    return sinkBelow(e, node as unknown as Node, 'elementwise', inputs, attrs, perm);
  },
  concat(e, node) {
    const perm = commonOrder(e, node.inputs, e.shape(node.outputs[0]!).length);
    if (!perm) return false;
    const inputs = node.inputs.map((id) => transposed(e, id, inverse(perm)));
    return sinkBelow(e, node as unknown as Node, 'concat', inputs, { axis: perm[node.attrs.axis]! }, perm);
  },
  reduce: sink<'reduce'>((a, perm) => {
    const axes = a.axes.map((d) => perm[d]!);
    return { attrs: { ...a, axes: ascending(axes) }, perm: a.keepdims ? perm : withoutAxes(perm, axes) };
  }),
  argReduce: sink<'argReduce'>((a, perm) => {
    const axis = perm[a.axis]!;
    return { attrs: { ...a, axis }, perm: a.keepdims ? perm : withoutAxes(perm, [axis]) };
  }),
  kWinners(e, node) {
    const t = transposeBefore(e, node.inputs[0]!);
    if (!t) return false;
    const inputs = node.inputs.map((id) => transposed(e, id, inverse(t.attrs.perm)));
    return sinkBelow(e, node as unknown as Node, 'kWinners', inputs, { ...node.attrs, axes: node.attrs.axes.map((d) => t.attrs.perm[d]!) }, t.attrs.perm);
  },
  softmax: sink<'softmax'>((a, perm) => ({ attrs: { ...a, axis: perm[a.axis]! } })),
  cumsum: sink<'cumsum'>((a, perm) => ({ attrs: { ...a, axis: perm[a.axis]! } })),
  normalize: sink<'normalize'>((a, perm) => ({ attrs: { ...a, axes: ascending(a.axes.map((d) => perm[d]!)) } })),
  pad: sink<'pad'>((a, perm) => ({ attrs: { ...a, before: before(a.before, perm), after: before(a.after, perm) } })),
  slice: sink<'slice'>((a, perm) => ({ attrs: { starts: before(a.starts, perm), steps: before(a.steps, perm), shape: before(a.shape, perm) } })),
  resample: sink<'resample'>((a, perm) => ({ attrs: { ...a, axes: [...a.axes].map((r) => ({ ...r, axis: perm[r.axis]! })).sort((p, q) => p.axis - q.axis) } })),
  reshape(e, node) {
    const t = transposeBefore(e, node.inputs[0]!);
    if (!t) return false;
    const source = t.inputs[0]!, next = reshapeBeforeTranspose(e.shape(source), t.attrs.perm, node.attrs.shape);
    return next !== undefined && sinkBelow(e, node as unknown as Node, 'reshape', [source], { shape: next.shape }, next.perm);
  },
  transpose(e, node) {
    const t = transposeBefore(e, node.inputs[0]!), output = node.outputs[0]!;
    if (!t) {
      if (!movesOnlyOnes(e.shape(node.inputs[0]!), node.attrs.perm)) return false;
      e.define([output], 'reshape', node.inputs, { shape: e.shape(output) }, { origins: node.origins });
      return true;
    }
    const perm = compose(t.attrs.perm, node.attrs.perm);
    if (isIdentity(perm)) e.replaceUses(output, t.inputs[0]!);
    else e.define([output], 'transpose', t.inputs, { perm }, { origins: node.origins });
    return true;
  },
  matmul: flattenedRows,
};

/** A flattened transpose times a constant: the constant's rows move instead of the activations. */
function flattenedRows(e: GraphEditor, node: NodeOf<'matmul'>): boolean {
  const [a, b] = node.inputs as [ValueId, ValueId], flat = e.producerOf(a, 'reshape');
  const t = flat && transposeBefore(e, flat.inputs[0]!), shapeB = e.shape(b);
  if (!flat || !t || !e.constantOf(b) || shapeB.length !== 2 || node.attrs.transA || node.attrs.transB) return false;
  const { perm } = t.attrs, source = t.inputs[0]!, shape = e.shape(source), k = shapeB[0]!;
  // trailing dimensions that make up a row, and are permuted among themselves
  let first = shape.length, row = 1;
  while (first > 0 && (row < k || perm.slice(0, first).some((p) => p >= first))) row *= permute(shape, perm)[--first]!;
  const rows = perm.slice(first).map((p) => p - first);
  if (row !== k || perm.slice(0, first).some((p, d) => p !== d)) return false;
  const { name } = e.value(b), columns = shapeB[1]!;
  const parts = e.add('reshape', [b], { shape: [...rows.map((r) => shape[first + r]!), columns] }, name);
  const moved = e.add('transpose', [parts], { perm: [...inverse(rows), rows.length] }, name);
  e.update(node as unknown as Node, { inputs: [reshaped(e, source, e.shape(a)), e.add('reshape', [moved], { shape: shapeB }, name)] });
  return true;
}

const sinkThrough: Rule = (e, node) => {
  if (node.epilogue || node.outputs.length !== 1 || elementCount(e.shape(node.outputs[0]!)) === 0) return false;
  const rule = rules[node.kind] as ((e: GraphEditor, node: Node) => boolean) | undefined;
  return rule?.(e, node) ?? false;
};

/** Elements that transposes move each time the graph runs. */
export const transposedElements = (graph: Graph): number =>
  graph.nodes.reduce((sum, n) => (n.kind === 'transpose' ? sum + elementCount(graph.values.get(n.outputs[0]!)!.type.shape) : sum), 0);

/** Sinks all transposes; the graph stays as it was where that moves more elements than before. */
export function sunk(graph: Graph): Graph {
  const next = rewrite(graph, sinkThrough);
  return transposedElements(next) <= transposedElements(graph) ? next : graph;
}

export const sinkTransposes = definePass({
  name: 'sink-transposes',
  doc: 'pushes transposes through other operators until they cancel or become constants',
  run: sunk,
});
