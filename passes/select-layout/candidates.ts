/** Ways to run each node: as the target predicts them, as they were measured, and as the user and the code budget allow them. */
import { SpcError, type Diagnostic } from '../../compiler/diagnostics/diagnostic.js';
import { isRejected, optionKey, type LayoutDecision, type LayoutOption, type LayoutSettings, type RejectedOption } from '../../compiler/ir/layout-choice.js';
import type { Layout } from '../../compiler/ir/layout.js';
import { formatType, typeOf, type Graph, type Node, type NodeId } from '../../compiler/ir/types.js';
import { nodesInTiles, type NodeOptions } from './labels.js';
import type { LayoutModel } from './model.js';

/** Bytes of straight-line code of a model where nobody says otherwise. */
export const DEFAULT_CODE_BUDGET = 256 * 2 ** 20;

/** All ways to run a node: rows first. */
export type Candidates = readonly (LayoutOption | RejectedOption)[];

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const time = (o: LayoutOption): string => `${o.nanoseconds < 999_500 ? `${(o.nanoseconds / 1000).toPrecision(3)} us` : `${(o.nanoseconds / 1e6).toPrecision(3)} ms`}${o.measured ? ' measured' : ''}`;
const reject = (o: LayoutOption | RejectedOption, reason: string): RejectedOption =>
  (isRejected(o) ? o : { layout: o.layout, kernel: o.kernel, ...(o.form ? { form: o.form } : {}), reason });

export const candidatesOf = (graph: Graph, model: Pick<LayoutModel, 'rows' | 'tiles'>, over: Layout['over'], { measured }: LayoutSettings): Map<NodeId, Candidates> => {
  const timed = (node: Node, o: LayoutOption | RejectedOption): LayoutOption | RejectedOption => {
    const nanoseconds = isRejected(o) || !measured?.size ? undefined : measured.get(optionKey(graph, node, o));
    return nanoseconds === undefined || isRejected(o) ? o : { ...o, nanoseconds, measured: true };
  };
  return new Map(graph.nodes.map((n) => [n.id, [...model.rows(graph, n), ...model.tiles(graph, n, over)].map((o) => timed(n, o))]));
};

/** Whether an option is what a user asked for: a layout, or a kernel by the first words of its name. */
const isWanted = (o: LayoutOption | RejectedOption, wanted: string): boolean =>
  (wanted === 'rows' || wanted === 'tiles' ? (o.layout === 'rows') === (wanted === 'rows') : o.kernel === wanted || o.kernel.startsWith(`${wanted} `));

const isProduct = (n: Node): boolean => n.kind === 'conv' || n.kind === 'matmul';

/**
 * Rejects what the user does not want. Of the layers that an ONNX node became part of, the product that it is first in is meant where there is one.
 * @throws SpcError SPC1019 for names that no layer has, SPC3202 where a layer has nothing in the wanted layout; all of them at once
 */
export function withLayoutsFixed(graph: Graph, candidates: ReadonlyMap<NodeId, Candidates>, { layouts = {} }: LayoutSettings): ReadonlyMap<NodeId, Candidates> {
  const fixed = new Map(candidates), problems: Diagnostic[] = [];
  for (const [name, wanted] of Object.entries(layouts)) {
    const all = graph.nodes.filter((n) => n.origins.some((o) => o.node === name)), products = all.filter(isProduct), own = products.filter((n) => n.origins[0]!.node === name);
    if (all.length === 0) {
      const known = [...new Set(graph.nodes.filter(isProduct).flatMap((n) => n.origins.slice(0, 1).map((o) => o.node)))];
      problems.push({ code: 'SPC1019', severity: 'error', message: `no layer is made of an ONNX node '${name}'`, hint: known.length ? `products are: ${known.slice(0, 12).join(', ')}${known.length > 12 ? ', ...' : ''}` : 'the model has no products' });
    }
    for (const n of [own, products, all].find((l) => l.length > 0) ?? []) {
      const options = fixed.get(n.id)!, left = options.map((o) => (isWanted(o, wanted) ? o : reject(o, `it is fixed to ${wanted}`)));
      if (left.some((o) => !isRejected(o))) fixed.set(n.id, left);
      else problems.push({
        code: 'SPC3202', severity: 'error', node: name, op: n.origins.find((o) => o.node === name)!.op, shapes: n.inputs.map((id) => formatType(typeOf(graph, id))),
        message: `the layer cannot run in ${wanted}: ${options.filter(isRejected).map((o) => `${o.kernel}: ${o.reason}`).join('; ') || 'there is no such kernel for it'}`,
        hint: `leave the choice to spc, or ask for ${options.flatMap((o) => (isRejected(o) ? [] : [`${o.layout === 'rows' ? 'rows' : 'tiles'} (${o.kernel || 'loop nest'}, ${time(o)})`])).join(' or ')}`,
      });
    }
  }
  if (problems.length > 0) throw new SpcError(problems);
  return fixed;
}

const cheapest = (options: Candidates): LayoutOption | undefined =>
  options.reduce<LayoutOption | undefined>((a, b) => (isRejected(b) || (a && a.nanoseconds <= b.nanoseconds) ? a : b), undefined);

/** The best of each side. */
export function sidesOf(candidates: Candidates): NodeOptions {
  const rows = candidates.filter((o) => o.layout === 'rows'), tiles = candidates.filter((o) => o.layout !== 'rows');
  return { rows: cheapest(rows) ?? rows[0]!, tiles: cheapest(tiles) ?? tiles[0]! };
}

export interface Labelled {
  readonly candidates: ReadonlyMap<NodeId, Candidates>;
  readonly inTiles: ReadonlySet<NodeId>;
}

/**
 * Nodes in tiles such that their code keeps to the budget: while it does not, the layers that lose least time for each byte saved
 * fall to tables, and everything is weighed again, since dense may be faster than tables.
 */
export function labelWithin(graph: Graph, all: ReadonlyMap<NodeId, Candidates>, model: LayoutModel, budget = DEFAULT_CODE_BUDGET): Labelled {
  const candidates = new Map(all);
  for (;;) {
    const sides = new Map([...candidates].map(([id, c]) => [id, sidesOf(c)]));
    const inTiles = nodesInTiles(graph, sides, model);
    const coded = [...inTiles].flatMap((id) => {
      const { tiles } = sides.get(id)!;
      if (isRejected(tiles) || tiles.form !== 'assembly') return [];
      const rest = cheapest(candidates.get(id)!.filter((o) => o !== tiles));
      return [{ id, option: tiles, loss: ((rest?.nanoseconds ?? Infinity) - tiles.nanoseconds) / tiles.bytes }];
    });
    let total = coded.reduce((s, c) => s + c.option.bytes, 0);
    if (total <= budget) return { candidates, inTiles };
    const needed = total;
    for (const { id, option } of coded.sort((a, b) => a.loss - b.loss || a.id - b.id)) {
      if (total <= budget) break;
      candidates.set(id, candidates.get(id)!.map((o) => (o === option
        ? reject(o, `the model's code would take ${megabytes(needed)}, its budget is ${megabytes(budget)}, and this layer's ${megabytes(option.bytes)} gain least`) : o)));
      total -= option.bytes;
    }
  }
}

/** What was chosen of a node's candidates, and why. */
export function decide(candidates: Candidates, inTiles: boolean): LayoutDecision {
  const { rows, tiles } = sidesOf(candidates), chosen = inTiles ? tiles : rows;
  if (!chosen || isRejected(chosen)) throw new Error(`SPC9006: ${chosen?.kernel} was chosen though ${chosen?.reason}`);
  const others = candidates.filter((o) => o !== chosen), other = (inTiles ? rows : tiles) ?? cheapest(others), name = (o: LayoutOption): string => o.kernel || 'loop nest';
  const reason = !other ? 'there is no other kernel for it'
    : isRejected(other) ? `in ${inTiles ? 'tiles' : 'rows'}: ${other.reason}`
      : chosen.nanoseconds <= other.nanoseconds ? `${name(chosen)}, ${time(chosen)}, against ${name(other)}, ${time(other)}`
        : `${name(chosen)}, ${time(chosen)}: ${name(other)} would take ${time(other)} but cost more in conversions than it gains`;
  return { chosen, others, reason };
}

/** True where a target has a kernel for the node, or says why not. */
export const hasKernels = (candidates: Candidates): boolean => candidates.some((o) => o.kernel !== '');

/** True where there is something to tell about a node: a kernel of the target, or tiles. */
export const hasChoice = (candidates: Candidates): boolean => candidates.some((o) => !isRejected(o) && (o.layout !== 'rows' || o.kernel !== ''));

