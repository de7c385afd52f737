/** Elementwise work moves into the operator that computes its operand, where the element is still in a register. */
import { coreOp, type OpKind } from '../compiler/core/index.js';
import { mergeOrigins, rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import { elementCount, sameShape, type Epilogue, type Node, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import { arg, exprSize, substituteArgs } from '../compiler/kir/build.js';
import { countArg, isCheap, normalForm } from './expressions.js';
import { reshapeGroups } from './permutations.js';
import { reshaped } from './sink-transposes.js';
import { definePass } from './types.js';

/** Which producer takes an elementwise node that could go to several: products first, for they are compute-bound; movement last. */
const rank: { readonly [K in OpKind]?: number } = { conv: 4, matmul: 4, convTranspose: 3, normalize: 2, softmax: 2, pool: 2, reduce: 2, resample: 2, elementwise: 0 };

/** Operations in one epilogue. */
const MAX_SIZE = 96;

interface Site {
  readonly producer: Node;
  /** Argument of the elementwise node that the producer computes. */
  readonly index: number;
}

/** The node that computes a value for one reader alone, seen through a reshape. */
function soleProducer(e: GraphEditor, id: ValueId): Node | undefined {
  if (!e.hasOneUser(id)) return undefined;
  const p = e.producer(id);
  return p?.kind === 'reshape' ? soleProducer(e, p.inputs[0]!) : p;
}

/**
 * A broadcast operand of a node of shape `from`, shaped to broadcast against the same elements under the shape `to`; undefined
 * where no shape does that. Dimensions that the reshape merges must be broadcast together or not at all.
 */
function fitted(e: GraphEditor, id: ValueId, from: readonly number[], to: readonly number[]): readonly number[] | undefined {
  if (sameShape(from, to)) return e.shape(id);
  const own = e.shape(id), padded = [...Array.from({ length: from.length - own.length }, () => 1), ...own];
  const shape = to.map(() => 1);
  for (const group of reshapeGroups(from, to)) {
    const full = group.input.every((d) => padded[d] === from[d]);
    if (full) group.output.forEach((d) => { shape[d] = to[d]!; });
    else if (group.input.some((d) => padded[d] !== 1)) return undefined;
  }
  return shape;
}

/** The fused epilogue, its operands' shapes included; undefined where `site` cannot take the node. */
function fusedEpilogue(e: GraphEditor, node: NodeOf<'elementwise'>, { producer, index }: Site): { expr: Epilogue['expr']; operands: { id: ValueId; shape: readonly number[] }[] } | undefined {
  const from = e.shape(node.outputs[0]!), to = e.shape(producer.outputs[0]!);
  const own = coreOp(producer.kind).infer(producer.attrs, producer.inputs.map((i) => e.type(i)))[0]!;
  const previous = producer.epilogue, inner = previous?.expr ?? arg(0, own.dtype), extra = previous?.inputs ?? [];
  const times = countArg(node.attrs.expr, index);
  if (times > 1 && !isCheap(inner, 8)) return undefined;
  if (exprSize(node.attrs.expr) + times * exprSize(inner) > MAX_SIZE) return undefined;
  // arguments: 0 the element, then the producer's operands, then the node's others
  const others = node.inputs.filter((_, i) => i !== index);
  const shapes = others.map((id) => fitted(e, id, from, to));
  if (shapes.some((s) => s === undefined)) return undefined;
  const joined = substituteArgs(node.attrs.expr, node.inputs.map((id, i) =>
    (i === index ? inner : arg(1 + extra.length + (i < index ? i : i - 1), e.type(id).dtype))));
  const operands = [...extra.map((id) => ({ id, shape: e.shape(id) })), ...others.map((id, i) => ({ id, shape: shapes[i]! }))];
  return { expr: joined, operands };
}

/** Products first; the last of equals, for what it reads besides is there by then. */
function byPreference(e: GraphEditor, sites: readonly Site[]): readonly Site[] {
  if (sites.length < 2) return sites;
  const position = new Map(e.ordered().map((n, i) => [n.id, i]));
  const preference = (s: Site): number => (rank[s.producer.kind] ?? 1) * position.size + position.get(s.producer.id)!;
  return [...sites].sort((a, b) => preference(b) - preference(a));
}

const fuse: Rule = (e, node) => {
  if (node.kind !== 'elementwise' || node.epilogue) return false;
  const consumer = node as unknown as NodeOf<'elementwise'>, output = node.outputs[0]!, count = elementCount(e.shape(output));
  if (count === 0) return false;
  const sites = consumer.inputs.flatMap((id, index): Site[] => {
    const producer = soleProducer(e, id);
    const able = producer && producer.outputs.length === 1 && producer.kind !== 'elementwise' && coreOp(producer.kind).epilogue !== false;
    return able && elementCount(e.shape(id)) === count ? [{ producer, index }] : [];
  });
  for (const site of byPreference(e, sites)) {
    const fused = fusedEpilogue(e, consumer, site);
    if (!fused) continue;
    const { producer } = site, operands = fused.operands.map(({ id, shape }) => reshaped(e, id, shape));
    const form = normalForm(e, fused.expr, operands, 1);
    const extras = { epilogue: { expr: form.expr, inputs: form.inputs }, origins: mergeOrigins(producer, node) };
    if (sameShape(e.shape(producer.outputs[0]!), e.shape(output))) e.define([output], producer.kind, producer.inputs, producer.attrs as never, extras);
    else {
      const y = e.add(producer.kind, producer.inputs, producer.attrs as never, e.value(output).name, extras);
      e.define([output], 'reshape', [y], { shape: e.shape(output) }, { origins: node.origins });
    }
    return true;
  }
  return false;
};

/** An elementwise node read by a reduction alone is computed while reducing. */
const intoReduce: Rule = (e, node) => {
  if (node.kind !== 'reduce') return false;
  const x = node.inputs[0]!, p = e.producerOf(x, 'elementwise');
  if (!p || !e.hasOneUser(x) || p.inputs.length !== 1 || !sameShape(e.shape(p.inputs[0]!), e.shape(x))) return false;
  const map = node.attrs.map ? substituteArgs(node.attrs.map, [p.attrs.expr]) : p.attrs.expr;
  if (countArg(node.attrs.map ?? arg(0, e.type(x).dtype), 0) > 1 && !isCheap(p.attrs.expr)) return false;
  e.define(node.outputs, 'reduce', p.inputs, { ...node.attrs, map },
    { origins: mergeOrigins(p as unknown as Node, node), epilogue: node.epilogue });
  return true;
};

export const fuseEpilogue = definePass({
  name: 'fuse-epilogue',
  doc: 'computes bias, residual, activation and requantisation in the operator that produces their operand, and what is reduced in the reduction',
  run: (graph) => rewrite(rewrite(graph, fuse), intoReduce),
});
