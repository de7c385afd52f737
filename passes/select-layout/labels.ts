/** Which nodes run in tiles: the assignment of least total time, conversions included, as a minimum cut. */
import { operandsOf, typeOf, valueOf, type Graph, type Node, type NodeId, type ValueId } from '../../compiler/ir/types.js';
import { minimumCut, type CutEdge } from './minimum-cut.js';
import { isRejected, type LayoutOption, type RejectedOption } from '../../compiler/ir/layout-choice.js';
import type { LayoutModel } from './model.js';

export interface NodeOptions {
  readonly rows: LayoutOption | RejectedOption;
  readonly tiles: LayoutOption | RejectedOption;
}

/** What tiles must gain at least: predictions are not better than this, and dense code must never be made slower. */
const MARGIN = 1.05;

/** True where a node's result is row-major even if the node reads tiles. */
export const reducesPixels = (node: Node): boolean => node.kind === 'reduce';

/**
 * Source side: tiles. A node on the sink's side pays its time in rows, one on the source's that in tiles; a value with its producer
 * on one side and some consumer on the other pays one conversion, through a vertex that stands for "converted".
 */
export function nodesInTiles(graph: Graph, options: ReadonlyMap<NodeId, NodeOptions>, model: LayoutModel): ReadonlySet<NodeId> {
  const SOURCE = 0, SINK = 1, edges: CutEdge[] = [];
  let count = 2;
  const vertex = new Map<NodeId, number>(graph.nodes.map((n) => [n.id, count++]));
  const producer = new Map<ValueId, Node>(graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const consumers = new Map<ValueId, number[]>();
  const use = (id: ValueId, by: number): void => void consumers.set(id, [...(consumers.get(id) ?? []), by]);
  for (const node of graph.nodes) {
    const v = vertex.get(node.id)!, o = options.get(node.id)!;
    edges.push({ from: SOURCE, to: v, capacity: isRejected(o.rows) ? Infinity : o.rows.nanoseconds }, { from: v, to: SINK, capacity: isRejected(o.tiles) ? Infinity : o.tiles.nanoseconds * MARGIN });
    for (const id of new Set(operandsOf(node))) if (!valueOf(graph, id).constant) use(id, v);
  }
  for (const o of graph.outputs) if (!valueOf(graph, o.value).constant) use(o.value, SINK);
  for (const [id, users] of consumers) {
    const p = producer.get(id), from = p && !reducesPixels(p) ? vertex.get(p.id)! : SINK, cost = model.conversion(typeOf(graph, id));
    const toRows = count++, toTiles = count++;
    edges.push({ from, to: toRows, capacity: from === SINK ? 0 : cost }, { from: toTiles, to: from, capacity: cost });
    for (const user of users) {
      edges.push({ from: toRows, to: user, capacity: Infinity });
      if (user !== SINK) edges.push({ from: user, to: toTiles, capacity: Infinity });
    }
  }
  const side = minimumCut(count, edges);
  return new Set(graph.nodes.filter((n) => side[vertex.get(n.id)!]).map((n) => n.id));
}
