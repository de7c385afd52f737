import { rewrite, type GraphEditor, type Rule, mergeOrigins } from '../compiler/ir/edit.js';
import { broadcastShapes } from '../compiler/core/elementwise.js';
import { sameShape, type Node, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import { arg, exprSize, mapExpr, substituteArgs } from '../compiler/kir/build.js';
import { countArg, isCheap, normalForm } from './expressions.js';
import { definePass } from './types.js';

/** Operations in one fused expression: what fits registers, and a compiler's patience. */
const MAX_SIZE = 96;

const stripped = (shape: readonly number[]): readonly number[] => {
  const first = shape.findIndex((d) => d !== 1);
  return first < 0 ? [] : shape.slice(first);
};
/** Equal up to leading dimensions of extent 1, which broadcasting ignores. */
export const alignedShapes = (a: readonly number[], b: readonly number[]): boolean => sameShape(stripped(a), stripped(b));

/** The operand that an elementwise node computes for this one alone, if it can be computed inside it. */
function fusable(e: GraphEditor, node: NodeOf<'elementwise'>, index: number): NodeOf<'elementwise'> | undefined {
  const id = node.inputs[index]!, p = e.producerOf(id, 'elementwise');
  if (!p || !e.hasOneUser(id) || !alignedShapes(e.shape(id), e.shape(node.outputs[0]!))) return undefined;
  const times = countArg(node.attrs.expr, index);
  if (times > 1 && !isCheap(p.attrs.expr)) return undefined;
  return exprSize(node.attrs.expr) + times * exprSize(p.attrs.expr) <= MAX_SIZE ? p : undefined;
}

const fuse: Rule = (e, node) => {
  if (node.kind !== 'elementwise' || node.epilogue) return false;
  const consumer = node as unknown as NodeOf<'elementwise'>;
  const index = consumer.inputs.findIndex((_, i) => fusable(e, consumer, i));
  if (index < 0) return false;
  const p = fusable(e, consumer, index)!, inputs: ValueId[] = [...consumer.inputs, ...p.inputs];
  const inner = mapExpr(p.attrs.expr, (x) => (x.kind === 'arg' ? { ...x, index: x.index + consumer.inputs.length } : x));
  const joined = substituteArgs(consumer.attrs.expr, consumer.inputs.map((id, i) => (i === index ? inner : arg(i, e.type(id).dtype))));
  const form = normalForm(e, joined, inputs), shape = e.shape(node.outputs[0]!);
  const natural = broadcastShapes(...form.inputs.map((i) => e.shape(i)));
  e.define(node.outputs, 'elementwise', form.inputs, { expr: form.expr, ...(sameShape(natural, shape) ? {} : { shape }) },
    { origins: mergeOrigins(p as unknown as Node, node) });
  return true;
};

export const fuseElementwise = definePass({
  name: 'fuse-elementwise',
  doc: 'joins chains and trees of elementwise nodes into one, without computing anything twice',
  run: (graph) => rewrite(graph, fuse),
});
