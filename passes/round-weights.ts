/** Weights as another type would store them. */
import { isBf16, roundedToBf16 } from '../compiler/ir/bf16.js';
import { firstFreeId, operandsOf, valueOf, type Graph, type Node, type ValueId } from '../compiler/ir/types.js';
import { definePass } from './types.js';

const products: ReadonlySet<Node['kind']> = new Set<Node['kind']>(['conv', 'convTranspose', 'matmul']);

export const roundWeights = definePass({
  name: 'round-weights',
  doc: 'rounds the f32 constants that products multiply with to bf16 values (--weight-type=bf16), so that kernels may store 16 bits and all compute the same',
  run(graph: Graph): Graph {
    const rounded = new Map<ValueId, ValueId>(), values = new Map(graph.values);
    let next = firstFreeId(graph);
    const round = (id: ValueId): ValueId => {
      const { constant, name, type } = valueOf(graph, id);
      if (constant?.dtype !== 'f32' || constant.shape.length < 2 || isBf16(constant)) return id;
      const known = rounded.get(id) ?? next++;
      if (!rounded.has(id)) values.set(known, { id: known, name: `${name}_bf16_${known}`, type, constant: roundedToBf16(constant) });
      rounded.set(id, known);
      return known;
    };
    const nodes = graph.nodes.map((n): Node => (products.has(n.kind) ? { ...n, inputs: n.inputs.map(round) } as Node : n));
    if (rounded.size === 0) return graph;
    const used = new Set([...nodes.flatMap((n) => operandsOf(n)), ...graph.outputs.map((o) => o.value)]);
    for (const id of rounded.keys()) if (!used.has(id)) values.delete(id);
    return { ...graph, nodes, values };
  },
});
