/** What is known of the zeros of activations, and where a list of the others comes from. */
import { operandsOf, typeOf, valueOf, type Graph, type Node, type ValueId } from '../../../../compiler/ir/types.js';
import { call, pointer } from '../../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import { listMemory, selectionOf, selectList, type Selection } from './selection.js';

/** The node that computes a value, seen through reshapes that nothing else reads, and these reshapes. */
function producerOf(graph: Graph, id: ValueId, reader: Node): { readonly node: Node; readonly passed: readonly Node[]; readonly alone: boolean } | undefined {
  const node = graph.nodes.find((n) => n.outputs.includes(id));
  if (!node) return undefined;
  const alone = !graph.outputs.some((o) => o.value === id) && !graph.nodes.some((n) => n !== reader && operandsOf(n).includes(id));
  if (node.kind !== 'reshape') return { node, passed: [], alone };
  const before = producerOf(graph, node.inputs[0]!, node);
  return before && { node: before.node, passed: [...before.passed, node], alone: alone && before.alone };
}

/** The share of a value's elements that is not zero, and why that is known. */
export interface Activity {
  readonly share: number;
  readonly why: string;
}

/** Rows of activations as lists. */
export interface ActiveRows extends Activity {
  /** Selected on the way, by nodes that then become no step. */
  readonly selection?: { readonly of: Selection; readonly absorbs: readonly Node[] };
}

/** How the rows of `width` elements of a node's first operand are listed; undefined where nothing is known of their zeros. */
export function activeRows(graph: Graph, node: Node, width: number): ActiveRows | undefined {
  const id = node.inputs[0]!, found = producerOf(graph, id, node);
  const zeros = [id, ...(found?.passed ?? []).map((r) => r.inputs[0]!)].map((v) => valueOf(graph, v).zeros).find((z) => z !== undefined);
  if (found?.node.kind === 'kWinners' && !found.node.epilogue) {
    const of = selectionOf(graph, found.node), { k, axes } = found.node.attrs, n = of?.n ?? axes.reduce((s, a) => s * typeOf(graph, found.node.inputs[0]!).shape[a]!, 1);
    const known: Activity = { share: k / n, why: `${k} winners of ${n}` };
    return { ...known, ...(of && of.n === width && found.alone && !valueOf(graph, of.x).layout ? { selection: { of, absorbs: [found.node, ...found.passed] } } : {}) };
  }
  return zeros === undefined ? undefined : { share: 1 - zeros, why: `${(100 * zeros).toFixed(0)} % of the activations were zero when measured` };
}

/** Lists one row after the other. */
export interface Lister {
  readonly list: string;
  readonly values: string;
  /** Lists the row that begins at an element of the first operand. */
  row(first: Expr): Stmt;
}

/** @param x the first operand, where it is not selected on the way */
export function lister(k: KernelBuilder, rows: ActiveRows, width: number, x: TensorRef): Lister {
  const memory = listMemory(k, width);
  if (rows.selection) return { ...memory, row: selectList(k, rows.selection.of, memory, k.operand(rows.selection.of.x, 'x')) };
  return { ...memory, row: (first) => call('spc_list_nonzero', pointer(memory.list), pointer(memory.values), pointer(x.param, first), width) };
}
