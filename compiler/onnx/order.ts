/** Which tensors a node reads, subgraphs included, and an order of execution. */
import type { GraphProto, NodeProto } from './proto.js';

/** Names that a node reads: its inputs, and what its subgraphs capture from outside. */
export function namesRead(node: NodeProto): string[] {
  const captured = node.attribute.flatMap((a) => [...(a.g ? [a.g] : []), ...a.graphs]).flatMap(namesCaptured);
  return [...node.input.filter((name) => name !== ''), ...captured];
}

/** Names that a subgraph reads and does not define. */
export function namesCaptured(graph: GraphProto): string[] {
  const own = new Set([
    ...graph.input.map((v) => v.name), ...graph.initializer.map((t) => t.name), ...graph.sparseInitializer.map((t) => t.values?.name ?? ''),
    ...graph.node.flatMap((n) => n.output),
  ]);
  return [...graph.node.flatMap(namesRead), ...graph.output.map((o) => o.name)].filter((name) => !own.has(name));
}

export interface Order {
  /** Node indices, every node after those whose outputs it reads; the file's order wherever that is one. */
  readonly nodes: readonly number[];
  /** Each cycle as node indices along it. Its nodes are in `nodes` too. */
  readonly cycles: readonly (readonly number[])[];
}

/** Depth-first, without recursion: the file may list a chain of any length backwards. */
export function topologicalOrder(nodes: readonly NodeProto[]): Order {
  const producer = new Map<string, number>();
  nodes.forEach((n, i) => n.output.forEach((name) => { if (name !== '' && !producer.has(name)) producer.set(name, i); }));
  const dependencies = nodes.map((n) => [...new Set(namesRead(n).map((name) => producer.get(name)).filter((p) => p !== undefined))]);
  const state = new Uint8Array(nodes.length); // 0 new, 1 on the path, 2 done
  const order: number[] = [], cycles: number[][] = [];
  for (let start = 0; start < nodes.length; start++) {
    if (state[start]) continue;
    const path: { readonly node: number; next: number }[] = [{ node: start, next: 0 }];
    state[start] = 1;
    for (let top = path.at(-1); top; top = path.at(-1)) {
      const dependency = dependencies[top.node]![top.next++];
      if (dependency === undefined) {
        state[top.node] = 2;
        order.push(top.node);
        path.pop();
      } else if (state[dependency] === 0) {
        state[dependency] = 1;
        path.push({ node: dependency, next: 0 });
      } else if (state[dependency] === 1) {
        cycles.push(path.slice(path.findIndex((p) => p.node === dependency)).map((p) => p.node));
      }
    }
  }
  return { nodes: order, cycles };
}
