/**
 * Chooses for every node whether it runs on row-major activations or in tiles (where straight-line sparse products are), so that the
 * predicted time of the whole network, conversions included, is least; then gives every value its layout.
 */
import { windowOf } from '../../compiler/core/window.js';
import type { Layout } from '../../compiler/ir/layout.js';
import { firstFreeId, typeOf, valueOf, type Graph, type Node, type NodeId, type Value } from '../../compiler/ir/types.js';
import { mapExpr, arg } from '../../compiler/kir/build.js';
import type { Expr } from '../../compiler/kir/types.js';
import { assignLayouts } from './assign.js';
import { candidatesOf, decide, hasChoice, hasKernels, labelWithin, withLayoutsFixed, type Candidates } from './candidates.js';
import type { LayoutDecisions, LayoutSettings } from '../../compiler/ir/layout-choice.js';
import type { LayoutModel } from './model.js';
import { splitEpilogue } from './split-epilogue.js';

export { isPixelConstant, type LayoutModel } from './model.js';

/** From this many images on, lanes over images waste no more than lanes over small images' pixels do, and need no halos. */
const IMAGES_IN_LANES = 8;

/** Lanes of a network: images where there are enough in every convolution, pixels otherwise. */
function lanesOf(graph: Graph): Layout['over'] {
  const batches = graph.nodes.filter((n) => n.kind === 'conv').map((n) => typeOf(graph, n.inputs[0]!).shape[0]!);
  return batches.length > 0 && Math.min(...batches) >= IMAGES_IN_LANES ? 'images' : 'pixels';
}

/** Arguments that an expression reads, renumbered from 0 in order; argument 0 stays first. */
function compact(e: Expr, inputs: readonly number[]): { readonly expr: Expr; readonly inputs: readonly number[] } {
  const used = new Set<number>();
  mapExpr(e, (x) => { if (x.kind === 'arg' && x.index > 0) used.add(x.index); return x; });
  const order = [...used].sort((a, b) => a - b);
  return { expr: mapExpr(e, (x) => (x.kind === 'arg' && x.index > 0 ? { ...x, index: order.indexOf(x.index) + 1 } : x)), inputs: order.map((i) => inputs[i - 1]!) };
}

/**
 * A strided 1x1 convolution in tiles reads one phase of its input only: the pixels that it takes become a tensor of their own, and it a
 * product at every pixel.
 */
function subsample(graph: Graph, inTiles: ReadonlySet<NodeId>): { readonly graph: Graph; readonly inTiles: ReadonlySet<NodeId> } {
  const values = new Map(graph.values), tiles = new Set(inTiles);
  let next = firstFreeId(graph);
  const nodes = graph.nodes.flatMap((node): Node[] => {
    const w = node.kind === 'conv' && inTiles.has(node.id) ? windowOf(node, node.inputs.map((id) => typeOf(graph, id))) : undefined;
    if (node.kind !== 'conv' || !w || w.stride[0] === 1 || [...w.kernel, 1].some((k) => k !== 1) || node.attrs.pads.flat().some((p) => p !== 0)) return [node];
    const x = valueOf(graph, node.inputs[0]!), y = typeOf(graph, node.outputs[0]!), shape = [...y.shape.slice(0, -1), x.type.shape.at(-1)!];
    const id = next++, slice = next++;
    values.set(id, { id, name: `${x.name}_pixels_${id}`, type: { dtype: 'f32', shape } });
    tiles.add(slice);
    return [
      { id: slice, kind: 'slice', inputs: [x.id], outputs: [id], attrs: { starts: shape.map(() => 0), steps: [1, ...node.attrs.strides, 1], shape }, origins: node.origins },
      { ...node, inputs: [id, ...node.inputs.slice(1)], attrs: { ...node.attrs, strides: node.attrs.strides.map(() => 1) } },
    ];
  });
  return { graph: { ...graph, values, nodes }, inTiles: tiles };
}

/** Products in tiles apply what fits of their epilogue; the rest becomes an elementwise node, in tiles too. */
function splitEpilogues(graph: Graph, inTiles: ReadonlySet<NodeId>, model: LayoutModel): { readonly graph: Graph; readonly inTiles: ReadonlySet<NodeId> } {
  const values = new Map(graph.values), tiles = new Set(inTiles);
  let next = firstFreeId(graph);
  const nodes = graph.nodes.flatMap((node): Node[] => {
    if (!inTiles.has(node.id) || !node.epilogue || model.epilogueFits(graph, node)) return [node];
    const { epilogue } = node, y = valueOf(graph, node.outputs[0]!), id = next++;
    const { kept, rest } = splitEpilogue(epilogue, (part) => {
      const own = compact(part, epilogue.inputs);
      return model.epilogueFits(graph, { ...node, epilogue: own } as Node);
    });
    const product: Value = { id, name: `${y.name}_product_${id}`, type: { dtype: 'f32', shape: y.type.shape } };
    values.set(id, product);
    const { epilogue: _, ...bare } = node;
    const after = compact(rest, epilogue.inputs), last = next++;
    tiles.add(last);
    return [
      { ...bare, outputs: [id], ...(kept ? { epilogue: compact(kept, epilogue.inputs) } : {}) } as Node,
      { id: last, kind: 'elementwise', inputs: [id, ...after.inputs], outputs: node.outputs, attrs: { expr: mapExpr(after.expr, (x) => (x.kind === 'arg' && x.index === 0 ? arg(0, 'f32') : x)) }, origins: node.origins },
    ];
  });
  return { graph: { ...graph, values, nodes }, inTiles: tiles };
}

/** Ways to run each node, before any is chosen. */
export const layoutCandidates = (graph: Graph, model: LayoutModel): ReadonlyMap<NodeId, Candidates> => candidatesOf(graph, model, lanesOf(graph), {});

/** The choice among kernels where a target has row-major activations only: what the others would take, and what cannot run a node and why. */
export function selectKernels(graph: Graph, { rows }: Pick<LayoutModel, 'rows'>, settings: LayoutSettings = {}): LayoutDecisions {
  const all = candidatesOf(graph, { rows, tiles: () => [] }, 'pixels', settings);
  return new Map([...withLayoutsFixed(graph, all, settings)].flatMap(([id, c]) => (hasKernels(c) ? [[id, decide(c, false)] as const] : [])));
}

/**
 * @returns the graph with layouts and conversions, and the decision for every node of the given one that has a choice
 * @throws SpcError SPC1019, SPC3202 where a layout that the settings ask for is not to be had
 */
export function selectLayout(graph: Graph, model: LayoutModel, settings: LayoutSettings = {}): { readonly graph: Graph; readonly decisions: LayoutDecisions } {
  const over = settings.lanes ?? lanesOf(graph);
  const { candidates, inTiles: chosen } = labelWithin(graph, withLayoutsFixed(graph, candidatesOf(graph, model, over, settings), settings), model, settings.codeBudget);
  const decisions = new Map([...candidates].flatMap(([id, c]) => (hasChoice(c) ? [[id, decide(c, chosen.has(id))] as const] : [])));
  if (chosen.size === 0) return { graph, decisions };
  const split = splitEpilogues(graph, chosen, model), ready = over === 'pixels' ? subsample(split.graph, split.inTiles) : split;
  return { graph: assignLayouts({ ...ready, over, model }), decisions };
}
