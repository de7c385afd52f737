/** Activations of 16 bits in memory. */
import { coreOp } from '../compiler/core/index.js';
import { operandsOf, valueOf, type Graph, type NarrowType, type Node, type Value, type ValueId } from '../compiler/ir/types.js';
import { definePass, type Pass } from './types.js';

/** Values that share memory by renaming (reshape), each under its first one. */
function aliasRoots(graph: Graph): ReadonlyMap<ValueId, ValueId> {
  const roots = new Map<ValueId, ValueId>();
  for (const n of graph.nodes) if (coreOp(n.kind).alias) roots.set(n.outputs[0]!, roots.get(n.inputs[0]!) ?? n.inputs[0]!);
  return roots;
}

/** Nodes whose results do not follow steadily from their operands: indices, whole numbers, comparisons. A rounded operand would change them. */
const isDiscrete = (graph: Graph, n: Node): boolean => [...operandsOf(n), ...n.outputs].some((id) => !valueOf(graph, id).constant && valueOf(graph, id).type.dtype !== 'f32');

/**
 * Stores f32 activations as f16 or bf16: all that are computed and stay in the model, but for operands and results of nodes that also have to do with
 * integers or truth values. Sums stay f32: rounding is by 2^-11 (f16) or 2^-8 (bf16) of each stored element. f16 ends at 65504.
 */
export const narrowActivations = (stored: NarrowType): Pass => definePass({
  name: 'narrow-activations',
  doc: `stores computed f32 values in 16 bits, as --precision=fp16 or bf16 says, where they are neither inputs nor outputs of the model nor have to do with integers`,
  run(graph: Graph): Graph {
    const roots = aliasRoots(graph), rootOf = (id: ValueId): ValueId => roots.get(id) ?? id;
    const wide = new Set<ValueId>([...graph.inputs, ...graph.outputs.map((o) => o.value), ...graph.nodes.filter((n) => isDiscrete(graph, n)).flatMap((n) => [...operandsOf(n), ...n.outputs])].map(rootOf));
    const fits = (v: Value): boolean => v.type.dtype === 'f32' && !v.constant && !valueOf(graph, rootOf(v.id)).constant && !wide.has(rootOf(v.id));
    const values = new Map([...graph.values].map(([id, v]) => [id, fits(v) ? { ...v, stored } : v] as const));
    return [...values].some(([id, v]) => v !== graph.values.get(id)) ? { ...graph, values } : graph;
  },
});
