import { mergeOrigins, rewrite, type Rule } from '../compiler/ir/edit.js';
import { sameShape, type Node, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import { definePass } from './types.js';

/**
 * f(table[index]) is f(table)[index]: what is done to every element that a lookup finds is done to the table while compiling, if
 * it depends on nothing else but constants that are the same for every index.
 */
const intoTable: Rule = (e, node) => {
  if (node.kind !== 'elementwise' || node.epilogue) return false;
  const { inputs, attrs } = node as unknown as NodeOf<'elementwise'>, output = node.outputs[0]!;
  const computed = inputs.filter((id) => !e.constantOf(id)), found = computed[0];
  const lookup = found !== undefined && computed.length === 1 && e.hasOneUser(found) ? e.producerOf(found, 'gather') : undefined;
  if (!lookup || found === undefined || !sameShape(e.shape(found), e.shape(output))) return false;
  const [table, index] = lookup.inputs as [ValueId, ValueId], { axis } = lookup.attrs;
  if (!e.constantOf(table)) return false;
  const rank = e.shape(found).length, from = axis, to = axis + e.shape(index).length;
  const shapes = inputs.map((id) => {
    const padded = [...Array.from({ length: rank - e.shape(id).length }, () => 1), ...e.shape(id)];
    return padded.slice(from, to).every((d) => d === 1) ? [...padded.slice(0, from), 1, ...padded.slice(to)] : undefined;
  });
  if (inputs.some((id, i) => id !== found && !shapes[i])) return false;
  const { name } = e.value(table);
  const operands = inputs.map((id, i) => (id === found ? table : e.add('reshape', [id], { shape: shapes[i]! }, e.value(id).name)));
  const changed = e.add('elementwise', operands, { expr: attrs.expr }, name);
  e.define([output], 'gather', [changed, index], { axis }, { origins: mergeOrigins(lookup as unknown as Node, node) });
  return true;
};

export const foldLookups = definePass({
  name: 'fold-lookups',
  doc: 'applies what follows a lookup in a constant table to the table itself',
  run: (graph) => rewrite(graph, intoTable),
});
