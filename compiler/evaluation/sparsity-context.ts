/** How sparse a model is, and relative to what: without that, the accuracy of a sparse model says little. */
import { bytesOfType, macsOf, sparsityOf, zeroValueOf } from '../ir/analysis.js';
import type { Tensor } from '../ir/tensor.js';
import type { Graph, Node, ValueId } from '../ir/types.js';

export interface WeightContext {
  /** ONNX node that multiplies with it. */
  readonly node: string;
  readonly op: string;
  readonly shape: readonly number[];
  readonly nonZeros: number;
  readonly elements: number;
}

export interface SparsityContext {
  /** Of the weights of convolutions and matrix products, in the shapes that the file gives them. */
  readonly nonZeros: number;
  readonly elements: number;
  readonly density: number;
  /** Multiply-accumulates of an inference, and those of them on non-zero weights. */
  readonly macs: number;
  readonly nonZeroMacs: number;
  /** Size of the model file, and of its weights stored densely. */
  readonly fileBytes: number;
  readonly weightBytes: number;
  readonly weights: readonly WeightContext[];
}

/** The constant that an operand comes from: itself, or behind operators that move or dequantise it. */
function constantBehind(graph: Graph, producers: ReadonlyMap<ValueId, Node>, id: ValueId): Tensor | undefined {
  const constant = graph.values.get(id)?.constant, producer = producers.get(id);
  if (constant || !producer || !['dequantize', 'quantize', 'transpose', 'reshape'].includes(producer.kind)) return constant;
  return constantBehind(graph, producers, producer.inputs[0]!);
}

/** @param graph the model as imported, before any pass */
export function sparsityContext(graph: Graph, fileBytes: number): SparsityContext {
  const producers = new Map(graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  let macs = 0, nonZeroMacs = 0;
  // a weight that several nodes share is counted once, its work as often as it is done
  const weights = new Map<Tensor, WeightContext>();
  for (const node of graph.nodes) {
    const work = macsOf(graph, node);
    if (work === 0) continue;
    const constant = node.inputs.map((i) => constantBehind(graph, producers, i)).find((t) => t !== undefined);
    const facts = constant && sparsityOf(constant, zeroValueOf(constant));
    macs += work;
    nonZeroMacs += facts ? work * (1 - facts.zeroFraction) : work;
    const origin = node.origins[0];
    if (constant && facts) weights.set(constant, { node: origin?.node ?? node.kind, op: origin?.op ?? node.kind, shape: constant.shape, nonZeros: facts.nnz, elements: facts.total });
  }
  const all = [...weights.values()], nonZeros = all.reduce((n, w) => n + w.nonZeros, 0), elements = all.reduce((n, w) => n + w.elements, 0);
  return {
    nonZeros, elements, density: elements === 0 ? 1 : nonZeros / elements, macs, nonZeroMacs: Math.round(nonZeroMacs),
    fileBytes, weightBytes: [...weights.keys()].reduce((n, t) => n + bytesOfType(t), 0), weights: all,
  };
}
