/**
 * Given the nodes that run in tiles: the layout of every value, and `relayout` nodes where what is there is not what is read.
 *
 * Extents of the grids flow forward (a convolution writes the grid that it reads), phases and halos backward from what reads them.
 */
import { firstFreeId, operandsOf, type Graph, type Node, type Value, type ValueId } from '../../compiler/ir/types.js';
import { oddPitch, sameLayout, type ImageTiles, type Layout, type PixelTiles } from '../../compiler/ir/layout.js';
import { reachOf, windowOf, type Window } from '../../compiler/core/window.js';
import { reducesPixels } from './labels.js';
import { isPixelConstant, type LayoutModel } from './model.js';

/** The pixels of a value. */
interface Space {
  readonly images: number;
  readonly height: number;
  readonly width: number;
  /** Extent of the grid at least, over all phases. */
  readonly rows: number;
  readonly columns: number;
}

/** What a consumer wants of an operand. */
interface Need {
  readonly space: Space;
  readonly phases: number;
  readonly before: number;
  readonly after: number;
  /** Over images: the border that it reads. */
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

const isSpatial = (node: Node): boolean => node.kind === 'conv' || node.kind === 'pool' || node.kind === 'slice';

/** Pixels of a tensor that nothing else says anything about: an image in four dimensions, rows otherwise, which are images where those are in lanes. */
function ownSpace(over: Layout['over'], shape: readonly number[], spatial: number): Space {
  const outer = shape.slice(0, -1);
  if (over === 'images' && spatial === 0) return ownSpace('pixels', [outer[0] ?? 1, outer.slice(1).reduce((a, b) => a * b, 1), shape.at(-1)!], 1);
  if (spatial === 2) return { images: outer[0]!, height: outer[1]!, width: outer[2]!, rows: outer[1]!, columns: outer[2]! };
  if (spatial === 1) return { images: outer[0]!, height: 1, width: outer[1]!, rows: 1, columns: outer[1]! };
  const count = outer.reduce((a, b) => a * b, 1);
  return { images: 1, height: count, width: 1, rows: count, columns: 1 };
}

export interface Assignment {
  readonly graph: Graph;
  readonly over: Layout['over'];
  readonly inTiles: ReadonlySet<number>;
  readonly model: LayoutModel;
}

export function assignLayouts({ graph, over, inTiles, model }: Assignment): Graph {
  const type = (id: ValueId): Value['type'] => graph.values.get(id)!.type;
  const isConstant = (id: ValueId): boolean => graph.values.get(id)!.constant !== undefined && !spread.has(id);
  const spread = pixelConstants(graph, inTiles), producer = new Map(graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const tiled = (id: ValueId): boolean => { const p = producer.get(id); return p !== undefined && inTiles.has(p.id) && !reducesPixels(p); };
  const windows = new Map<number, Window>(graph.nodes.flatMap((n) => (inTiles.has(n.id) ? [[n.id, windowOf(n, n.inputs.map(type))!] as const] : [])));
  /** A reshape that makes the pixels of an image channels, which they are in memory where lanes are images and there is no margin. */
  const flattens = (n: Node): boolean => n.kind === 'reshape' && type(n.inputs[0]!).shape.at(-1) !== type(n.outputs[0]!).shape.at(-1);
  /** Nodes over pixels that want no phases and no halo of their operand. */
  const whole = (n: Node): boolean => over === 'pixels' && isSpatial(n) && model.readsWhole(graph, n);
  /** Operands that a node reads in tiles: not constants. */
  const read = (n: Node): ValueId[] => [...new Set(operandsOf(n))].filter((id) => !isConstant(id));
  /** The operand whose pixels a node's windows move over. */
  const mainOperand = (n: Node): ValueId => n.inputs.find((id) => !isConstant(id) && type(id).shape.length === type(n.outputs[0]!).shape.length) ?? n.inputs[0]!;

  /** The shape that says most about a value's pixels: what it had before its leading dimensions were joined. */
  const pixelShape = (id: ValueId): readonly number[] => {
    const p = producer.get(id), { shape } = type(id), before = p?.kind === 'reshape' ? type(p.inputs[0]!).shape : [];
    return before.length > shape.length && before.at(-1) === shape.at(-1) ? pixelShape(p!.inputs[0]!) : shape;
  };
  /** Three dimensions are a sequence where there are windows over sequences, rows of matrices elsewhere. */
  const sequences = graph.nodes.some((n) => inTiles.has(n.id) && isSpatial(n) && type(n.outputs[0]!).shape.length === 3);
  const spaceOf = (shape: readonly number[]): Space => ownSpace(over, shape, shape.length === 4 ? 2 : shape.length === 3 && sequences ? 1 : 0);

  // forward: pixels and grids; of the operands as each node reads them, windows over the images that their own shapes say
  const spaces = new Map<ValueId, Space>(), readAs = new Map<Node, Space>();
  for (const node of graph.nodes) {
    if (!inTiles.has(node.id)) continue;
    const x = mainOperand(node), y = node.outputs[0]!, w = windows.get(node.id)!, s = w.stride[0], known = spaces.get(x);
    const asImages = isSpatial(node) || reducesPixels(node), wanted = spaceOf(asImages ? type(x).shape : pixelShape(x));
    const from = known && (!asImages || sameImages(known, wanted)) ? known : wanted;
    readAs.set(node, from);
    if (!known) spaces.set(x, from);
    if (reducesPixels(node)) continue;
    spaces.set(y, flattens(node) ? spaceOf(type(y).shape) : isSpatial(node) ? { ...spaceOf(type(y).shape), rows: Math.ceil(from.rows / s), columns: Math.ceil(from.columns / s) } : from);
  }

  // backward: phases of results, then what each operand must be
  const consumers = new Map<ValueId, Node[]>();
  for (const n of graph.nodes) if (inTiles.has(n.id)) for (const id of read(n)) consumers.set(id, [...(consumers.get(id) ?? []), n]);
  const phases = new Map<ValueId, number>(), needs = new Map<Node, Map<ValueId, Need>>();
  for (const node of [...graph.nodes].reverse()) {
    if (!inTiles.has(node.id)) continue;
    const y = node.outputs[0]!, wanted = new Set((consumers.get(y) ?? []).map((c) => needs.get(c)!.get(y)!.phases)), [only] = wanted;
    const free = node.kind === 'conv' && !tiled(mainOperand(node)) && operandsOf(node).every((id) => isConstant(id) || id === mainOperand(node));
    const own = over === 'pixels' && wanted.size === 1 && only! > 1 && free && model.phasesFit(graph, node, only!) ? only! : 1;
    phases.set(y, own);
    const from = readAs.get(node)!, space = spaces.get(y) ?? from, w = windows.get(node.id)!;
    const main = whole(node) ? plainNeed(from, 1) : windowNeed(over, w, own, from, space, isSpatial(node));
    needs.set(node, new Map(read(node).map((id) => [id, id === mainOperand(node) ? main : plainNeed(space, own)])));
  }

  // layouts of results: as wide as those consumers want that can read them as they are
  const layouts = new Map<ValueId, Layout>();
  const channels = (id: ValueId): number => type(id).shape.at(-1)!;
  for (const node of graph.nodes) {
    const y = node.outputs[0]!;
    if (!inTiles.has(node.id) || reducesPixels(node)) continue;
    const all = (consumers.get(y) ?? []).map((c) => needs.get(c)!.get(y)!).filter((n) => n.phases === phases.get(y) && sameGrid(n.space, spaces.get(y)!));
    layouts.set(y, layoutFor(over, spaces.get(y)!, phases.get(y)!, channels(y), all));
  }
  for (const node of graph.nodes) if (node.kind === 'reshape' && layouts.has(node.outputs[0]!)) shareLayout(node, layouts, channels);

  return withRelayouts(graph, inTiles, isConstant, layouts, (node, id) => {
    // another name of the same memory
    if (flattens(node)) return layoutFor(over, readAs.get(node)!, 1, channels(id), []);
    if (node.kind === 'reshape') return layouts.get(node.outputs[0]!)!;
    const need = needs.get(node)!.get(id)!, there = layouts.get(id);
    if (there && satisfies(there, need)) return there;
    const alike = (consumers.get(id) ?? []).map((c) => needs.get(c)!.get(id)!).filter((n) => n.phases === need.phases && sameGrid(n.space, need.space));
    return layoutFor(over, need.space, need.phases, channels(id), alike);
  });
}

const sameImages = (a: Space | Layout, b: Space | Layout): boolean => a.images === b.images && a.height === b.height && a.width === b.width;
/** Constants that differ from pixel to pixel, as nodes in tiles add them: they are converted like computed values. */
function pixelConstants(graph: Graph, inTiles: ReadonlySet<number>): ReadonlySet<ValueId> {
  const operands = graph.nodes.flatMap((n) => (!inTiles.has(n.id) ? [] : (n.kind === 'elementwise' ? operandsOf(n) : n.epilogue?.inputs ?? []).map((id) => ({ id, shape: graph.values.get(n.outputs[0]!)!.type.shape }))));
  return new Set(operands.filter(({ id, shape }) => isPixelConstant(graph.values.get(id)!, shape)).map(({ id }) => id));
}

const sameGrid = (a: Space, b: Space): boolean => sameImages(a, b) && a.rows === b.rows && a.columns === b.columns;

const plainNeed = (space: Space, phases: number): Need => ({ space, phases, before: 0, after: 0, top: 0, left: 0, bottom: 0, right: 0 });

function windowNeed(over: Layout['over'], w: Window, phases: number, x: Space, y: Space, spatial: boolean): Need {
  if (!spatial) return plainNeed(x, phases);
  const s = over === 'images' ? 1 : w.stride[0] * phases, columns = Math.ceil(x.columns / s), reach = reachOf(w, phases, columns);
  const last = (extent: number, d: 0 | 1): number => (extent - 1) * w.stride[d] + (w.kernel[d] - 1) * w.dilation[d] - w.before[d];
  return {
    space: x, phases: s, before: reach.before, after: reach.after, top: w.before[0], left: w.before[1],
    bottom: Math.max(0, last(y.height, 0) - x.height + 1), right: Math.max(0, last(y.width, 1) - x.width + 1),
  };
}

function layoutFor(over: Layout['over'], s: Space, phases: number, channels: number, needs: readonly Need[]): Layout {
  const most = (f: (n: Need) => number): number => Math.max(0, ...needs.map(f));
  const { images, height, width } = s;
  if (over === 'images') {
    const top = most((n) => n.top), left = most((n) => n.left);
    return { over, images, height, width, channels, pitch: channels, rows: top + height + most((n) => n.bottom), columns: left + width + most((n) => n.right), top, left } satisfies ImageTiles;
  }
  return {
    over, images, height, width, channels, pitch: oddPitch(channels), phases, rows: Math.ceil(s.rows / phases), columns: Math.ceil(s.columns / phases),
    before: most((n) => n.before), after: most((n) => n.after),
  } satisfies PixelTiles;
}

/** True where a layout can be read as it is by who needs that. */
function satisfies(l: Layout, n: Need): boolean {
  if (!sameImages(l, n.space)) return false;
  if (l.over === 'images') return l.top >= n.top && l.left >= n.left && l.rows - l.top - l.height >= n.bottom && l.columns - l.left - l.width >= n.right;
  return l.phases === n.phases && l.rows === Math.ceil(n.space.rows / n.phases) && l.columns === Math.ceil(n.space.columns / n.phases) && l.before >= n.before && l.after >= n.after;
}

/** A reshape is another name of its operand: both have the wider layout of the two. */
function shareLayout(node: Node, layouts: Map<ValueId, Layout>, channels: (id: ValueId) => number): void {
  const x = node.inputs[0]!, a = layouts.get(x), b = layouts.get(node.outputs[0]!)!;
  if (!a || channels(x) !== channels(node.outputs[0]!) || !sameImages(a, b)) return;
  const wide = widerOf(a, b);
  layouts.set(x, wide);
  layouts.set(node.outputs[0]!, wide);
}

function widerOf(a: Layout, b: Layout): Layout {
  if (a.over === 'pixels' && b.over === 'pixels') return { ...a, before: Math.max(a.before, b.before), after: Math.max(a.after, b.after) };
  if (a.over !== 'images' || b.over !== 'images') throw new Error('SPC9003: one name of a value lies in pixels, another in images');
  const most = (f: (l: ImageTiles) => number): number => Math.max(f(a), f(b)), top = most((l) => l.top), left = most((l) => l.left);
  return { ...a, top, left, rows: top + a.height + most((l) => l.rows - l.top - l.height), columns: left + a.width + most((l) => l.columns - l.left - l.width) };
}

/** The graph with layouts on its values, and a relayout before every reader that wants another one. */
function withRelayouts(graph: Graph, inTiles: ReadonlySet<number>, isConstant: (id: ValueId) => boolean, layouts: ReadonlyMap<ValueId, Layout>, wanted: (node: Node, id: ValueId) => Layout): Graph {
  const values = new Map<ValueId, Value>([...graph.values].map(([id, v]) => [id, layouts.has(id) ? { ...v, layout: layouts.get(id)! } : v]));
  const nodes: Node[] = [], converted = new Map<ValueId, { readonly layout: Layout | undefined; readonly value: ValueId }[]>();
  const names = new Set([...graph.values.values()].map((v) => v.name));
  let next = firstFreeId(graph);
  const convert = (id: ValueId, layout: Layout | undefined, reader: Node | undefined): ValueId => {
    const have = converted.get(id) ?? [], known = have.find((c) => sameLayout(c.layout, layout));
    if (known) return known.value;
    const from = values.get(id)!;
    // other images of the same pixels: their order is that of rows only
    if (from.layout && layout && !sameImages(from.layout, layout)) return convert(convert(id, undefined, reader), layout, reader);
    const value = next++, base = `${from.name}_${layout ? 'tiles' : 'rows'}`;
    let name = base;
    for (let i = 1; names.has(name); i++) name = `${base}_${i}`;
    names.add(name);
    values.set(value, { id: value, name, type: from.type, ...(layout ? { layout } : {}) });
    nodes.push({ id: next++, kind: 'relayout', inputs: [id], outputs: [value], attrs: {}, origins: reader?.origins.slice(0, 1) ?? [] });
    converted.set(id, [...have, { layout, value }]);
    return value;
  };
  for (const node of graph.nodes) {
    const operand = (id: ValueId): ValueId => {
      if (isConstant(id) || (graph.values.get(id)!.constant && !inTiles.has(node.id))) return id;
      const layout = inTiles.has(node.id) ? wanted(node, id) : undefined;
      return sameLayout(values.get(id)!.layout, layout) ? id : convert(id, layout, node);
    };
    const inputs = node.inputs.map(operand);
    nodes.push({ ...node, inputs, ...(node.epilogue ? { epilogue: { ...node.epilogue, inputs: node.epilogue.inputs.map(operand) } } : {}) } as Node);
  }
  const outputs = graph.outputs.map((o) => (values.get(o.value)!.layout ? { ...o, value: convert(o.value, undefined, undefined) } : o));
  return { ...graph, values, nodes, outputs };
}
