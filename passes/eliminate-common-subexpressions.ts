import { rewrite, type Rule } from '../compiler/ir/edit.js';
import { attributesText, formatExpr } from '../compiler/ir/print.js';
import { tensorHash, type Tensor } from '../compiler/ir/tensor.js';
import { formatType, type Graph, type Node, type ValueId } from '../compiler/ir/types.js';
import { definePass } from './types.js';

const nodeKey = (node: Node): string => {
  const epilogue = node.epilogue ? `${formatExpr(node.epilogue.expr)}(${node.epilogue.inputs.join()})` : '';
  return `${node.kind}(${node.inputs.join()})${attributesText(node.attrs)}${epilogue}`;
};

/** Constants with the same contents, each after the first, and that first one. */
function equalConstants(graph: Graph): Map<ValueId, ValueId> {
  const byType = new Map<string, { id: ValueId; tensor: Tensor }[]>();
  for (const v of graph.values.values()) {
    if (!v.constant || graph.inputs.includes(v.id)) continue;
    const key = `${v.constant.kind} ${formatType(v.type)}`;
    byType.set(key, [...(byType.get(key) ?? []), { id: v.id, tensor: v.constant }]);
  }
  const same = new Map<ValueId, ValueId>(), first = new Map<string, ValueId>();
  for (const [key, group] of byType) {
    if (group.length < 2) continue; // hashing is the expensive part
    for (const { id, tensor } of group) {
      const hash = `${key} ${tensorHash(tensor)}`, known = first.get(hash);
      if (known === undefined) first.set(hash, id); else same.set(id, known);
    }
  }
  return same;
}

export const eliminateCommonSubexpressions = definePass({
  name: 'eliminate-common-subexpressions',
  doc: 'computes equal nodes once and keeps equal constants once',
  run(graph) {
    const same = equalConstants(graph);
    const shareConstants: Rule = (e, node) => {
      let changed = false;
      for (const id of [...node.inputs, ...(node.epilogue?.inputs ?? [])]) {
        const first = same.get(id);
        if (first === undefined) continue;
        e.replaceUses(id, first);
        changed = true;
      }
      return changed;
    };
    // one pass in execution order suffices once operands are shared, and rewrite() repeats until nothing changes
    const seen = new Map<string, Node>();
    const shareNodes: Rule = (e, node) => {
      const key = nodeKey(node), first = seen.get(key);
      if (first?.id === node.id) return false;
      if (!first || !e.has(first)) { seen.set(key, node); return false; }
      if (nodeKey(first) !== key) return false;
      node.outputs.forEach((o, i) => e.replaceUses(o, first.outputs[i]!));
      return true;
    };
    return rewrite(graph, shareConstants, shareNodes);
  },
});
