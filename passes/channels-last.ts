import { rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import type { Node, ValueId } from '../compiler/ir/types.js';
import { identity, toChannelsFirst, toChannelsLast } from './permutations.js';
import { transposed } from './sink-transposes.js';
import { definePass } from './types.js';

/** Weights [O, C, spatial...] become [spatial..., C, O]; those of a transposed convolution [C, O, spatial...] keep C before O. */
const weightOrder = (kind: 'conv' | 'convTranspose', rank: number): number[] => [...identity(rank).slice(2), ...(kind === 'conv' ? [1, 0] : [0, 1])];

/** The operator on a channels-last view of its input, its result put back. Neighbouring views cancel (sink-transposes). */
const convert: Rule = (e, node) => {
  if (node.epilogue) return false;
  switch (node.kind) {
    case 'conv': case 'convTranspose': {
      const w = node.inputs[1]!;
      if (node.attrs.layout !== 'ncs' || !e.constantOf(w)) return false;
      return inChannelsLast(e, node, [transposed(e, w, weightOrder(node.kind, e.shape(w).length))]);
    }
    case 'pool':
      return node.attrs.layout === 'ncs' && node.attrs.indices === undefined && inChannelsLast(e, node, []);
    default: return false;
  }
};

function inChannelsLast(e: GraphEditor, node: Node, others: readonly ValueId[]): true {
  const x = node.inputs[0]!, output = node.outputs[0]!, rank = e.shape(x).length;
  const y = e.add(node.kind, [transposed(e, x, toChannelsLast(rank)), ...others], { ...node.attrs, layout: 'nsc' } as never, `${e.value(output).name}_nsc`, { origins: node.origins, elementsOf: output });
  e.define([output], 'transpose', [y], { perm: toChannelsFirst(rank) }, { origins: node.origins });
  return true;
}

export const channelsLast = definePass({
  name: 'channels-last',
  doc: 'convolutions and pools read and write [N, spatial..., C], the order in which vectors of channels are contiguous',
  run: (graph) => rewrite(graph, convert),
});
