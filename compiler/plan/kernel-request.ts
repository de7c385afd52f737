/** What a target's kernel rules are asked with. */
import type { KernelRequest } from '../../backends/types.js';
import type { LayoutOption } from '../ir/layout-choice.js';
import { contiguousStrides, valueOf, type Graph, type Node, type ValueId } from '../ir/types.js';
import { tensorRef, type BoundEpilogue, type TensorRef } from '../kir/kernel-builder.js';

const roleNames: Readonly<Record<string, readonly string[]>> = { conv: ['x', 'w'], matmul: ['a', 'b'] };

/** A value as a kernel sees it. */
export function refOf(graph: Graph, id: ValueId, name: string): TensorRef {
  const { type, layout, stored } = valueOf(graph, id), t = tensorRef(name, type, contiguousStrides(type.shape), 0, layout);
  return stored ? { ...t, stored } : t;
}

/** The tensors that a node's kernel sees, under their parameters' names. */
export function requestFor(graph: Graph, node: Node, decided?: LayoutOption): KernelRequest {
  const names = roleNames[node.kind] ?? node.inputs.map((_, i) => (node.inputs.length === 1 ? 'x' : `x${i}`)), ref = (id: ValueId, name: string): TensorRef => refOf(graph, id, name);
  return {
    graph, node, inputs: node.inputs.map((id, i) => ref(id, names[i] ?? `x${i}`)), constants: node.inputs.map((id) => valueOf(graph, id).constant),
    outputs: node.outputs.map((id, i) => ref(id, node.outputs.length === 1 ? 'y' : `y${i}`)),
    ...(node.epilogue ? { epilogue: { expr: node.epilogue.expr, inputs: node.epilogue.inputs.map((id, i) => ref(id, `e${i}`)) } satisfies BoundEpilogue } : {}), ...(decided ? { decided } : {}),
  };
}
