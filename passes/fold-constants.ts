import { foldNode } from '../compiler/ir/fold.js';
import { rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import type { Tensor } from '../compiler/ir/tensor.js';
import { elementCount, type Node, type ValueId } from '../compiler/ir/types.js';
import { definePass } from './types.js';

/** Broadcasting a constant to more elements than this (and than it has) costs memory and saves nothing: its readers broadcast. */
const EXPAND_LIMIT = 1 << 16;

function isExpand(e: GraphEditor, node: Node): boolean {
  return node.kind === 'elementwise' && node.attrs.expr.kind === 'arg' && elementCount(e.shape(node.outputs[0]!)) > EXPAND_LIMIT
    && elementCount(e.shape(node.outputs[0]!)) > elementCount(e.shape(node.inputs[0]!));
}

const foldConstantNode: Rule = (e, node) => {
  const tensors = (ids: readonly ValueId[]): Tensor[] | undefined => {
    const found = ids.map((id) => e.constantOf(id));
    return found.every((t) => t !== undefined) ? found : undefined;
  };
  const inputs = tensors(node.inputs), extra = tensors(node.epilogue?.inputs ?? []);
  if (!inputs || !extra || isExpand(e, node)) return false;
  const results = foldNode(node.kind, node.attrs, inputs, node.outputs.map((o) => e.type(o)), node.epilogue && { expr: node.epilogue.expr, inputs: extra });
  results.forEach((t, i) => e.becomeConstant(node.outputs[i]!, t));
  return true;
};

export const foldConstants = definePass({
  name: 'fold-constants',
  doc: 'computes every node whose operands are all constants',
  run: (graph) => rewrite(graph, foldConstantNode),
});
