/**
 * Dimensions that pruning emptied really go (structured sparsity, Wen et al. 2016, arXiv 1608.03665). A channel can be removed where
 * nobody needs it: all weights that read it are zero, or it is one constant everywhere, which its readers then add to their sums. It
 * goes from its producer, from all its readers and from whatever hands it on, or stays in all of them.
 */
import { GraphEditor, rewrite } from '../compiler/ir/edit.js';
import { tensorOf } from '../compiler/ir/tensor.js';
import type { Graph, Node, ValueId } from '../compiler/ir/types.js';
import { add, arg } from '../compiler/kir/build.js';
import { cutWeights, flowOf, productConstants, shiftOf, usedInputs, type ChannelConstants, type Flow, type Product } from './channel-flow.js';
import { trimKernel } from './trim-kernels.js';
import { definePass } from './types.js';

/** A value with channels. Channels are numbered through all values from `first`, so that groups of them are sets of numbers. */
interface Channels {
  readonly axis: number;
  readonly first: number;
  readonly constants: ChannelConstants;
  /** Whether an output of the graph depends on the channel. */
  readonly isLive: Uint8Array;
  /** Whether the channel must stay, whatever it holds. */
  readonly isPinned: Uint8Array;
}

interface Analysis {
  readonly channels: ReadonlyMap<ValueId, Channels>;
  readonly flows: ReadonlyMap<Node, Flow>;
  readonly size: number;
}

const inputChannels = (p: Product, channels: ReadonlyMap<ValueId, Channels>): Channels | undefined => {
  const c = channels.get(p.node.inputs[0]!);
  return c?.axis === p.inputAxis ? c : undefined;
};
const unknown = (n: number): ChannelConstants => new Array<undefined>(n).fill(undefined);

/** Forward: which values have channels, and which of these are constants. */
function findChannels(e: GraphEditor, nodes: readonly Node[]): Analysis {
  const channels = new Map<ValueId, Channels>(), flows = new Map<Node, Flow>();
  let size = 0;
  for (const node of nodes) {
    const flow = flowOf(e, node, (id) => channels.get(id)?.axis);
    if (!flow) continue;
    const constants = flow.role === 'product' ? productConstants(flow, inputChannels(flow, channels)?.constants ?? unknown(flow.inputs))
      : flow.constants((operand) => channels.get(node.inputs[operand]!)!.constants);
    flows.set(node, flow);
    channels.set(node.outputs[0]!, { axis: flow.axis, first: size, constants, isLive: new Uint8Array(constants.length), isPinned: new Uint8Array(constants.length) });
    size += constants.length;
  }
  return { channels, flows, size };
}

/** Backward: which channels the outputs depend on, and which must stay for a reader that cannot do without. */
function findUses(graph: Graph, { channels, flows }: Analysis): void {
  const pin = (id: ValueId): void => { const c = channels.get(id); c?.isLive.fill(1); c?.isPinned.fill(1); };
  for (const o of graph.outputs) pin(o.value);
  for (const node of [...graph.nodes].reverse()) {
    const flow = flows.get(node), own = channels.get(node.outputs[0]!);
    if (!flow || !own) node.inputs.concat(node.epilogue?.inputs ?? []).forEach(pin);
    else if (flow.role === 'product') {
      const read = inputChannels(flow, channels);
      if (!read) { pin(node.inputs[0]!); continue; }
      usedInputs(flow, (o) => own.isLive[o] === 1).forEach((used, i) => {
        if (!used) return;
        read.isLive[i] = 1;
        // beside the data a padded convolution sees zeros, which the constant is not
        if (flow.padded && read.constants[i] !== 0) read.isPinned[i] = 1;
      });
    } else {
      const slots = own.constants.flatMap((_, c) => flow.from(c).map((s) => ({ ...s, isLive: own.isLive[c] === 1 && (flow.reads?.(c) ?? true) })));
      node.inputs.forEach((id, operand) => {
        const source = channels.get(id), handed = slots.filter((s) => s.operand === operand);
        if (handed.length === 0) pin(id);
        else for (const s of handed) if (s.isLive) source!.isLive[s.channel] = 1;
      });
    }
  }
}

/** Channels that stay, by value: those that must, all that go with them, and at least one of each value. */
function keptChannels({ channels, flows, size }: Analysis): Map<ValueId, number[]> {
  const parent = Int32Array.from({ length: size }, (_, i) => i);
  const root = (i: number): number => { while (parent[i] !== i) i = parent[i] = parent[parent[i]!]!; return i; };
  for (const [node, flow] of flows) {
    if (flow.role === 'product') continue;
    const { first, constants } = channels.get(node.outputs[0]!)!;
    constants.forEach((_, c) => { for (const s of flow.from(c)) parent[root(first + c)] = root(channels.get(node.inputs[s.operand]!)!.first + s.channel); });
  }
  const stays = new Uint8Array(size);
  for (const { first, constants, isLive, isPinned } of channels.values()) {
    constants.forEach((constant, c) => { if (isPinned[c] || (isLive[c] && constant === undefined)) stays[root(first + c)] = 1; });
  }
  const keptOf = ({ first, constants }: Channels): number[] => constants.flatMap((_, c) => (stays[root(first + c)] ? [c] : []));
  for (const c of channels.values()) if (keptOf(c).length === 0) stays[root(c.first)] = 1;
  return new Map([...channels].map(([id, c]) => [id, keptOf(c)]));
}

/** The product between the channels that are left. `define` gives the last node its output. */
function cutProduct(e: GraphEditor, p: Product, x: ValueId, { own, kept, read, keptOfRead }: ProductChannels, define: Define): void {
  const inputs = keptOfRead ?? Array.from({ length: p.inputs }, (_, i) => i), { node } = p, staying = new Set(inputs);
  const name = e.value(node.outputs[0]!).name, weights = e.constant(cutWeights(p, inputs, kept), e.value(node.inputs[1]!).name);
  // what the removed constants contributed, to outputs that matter
  const shift = shiftOf(p, read ? read.constants.map((k, i) => (staying.has(i) ? undefined : k)) : unknown(p.inputs)), left = kept.map((o) => (own.isLive[o] ? shift[o]! : 0));
  if (left.every((s) => s === 0)) return define(node.kind, [x, weights], node.attrs);
  const y = e.add(node.kind, [x, weights], node.attrs as never, name, { origins: node.origins }), { dtype } = e.type(y);
  define('elementwise', [y, alongChannels(e, y, p.axis, left, `${name}_shift`)], { expr: add(arg(0, dtype), arg(1, dtype)) });
}

interface ProductChannels {
  readonly own: Channels;
  readonly kept: readonly number[];
  /** Of the operand, where it has channels. */
  readonly read: Channels | undefined;
  readonly keptOfRead: readonly number[] | undefined;
}

/** A constant of one number a channel that broadcasts to `like`. */
const alongChannels = (e: GraphEditor, like: ValueId, axis: number, numbers: readonly number[], name: string): ValueId =>
  e.constant(tensorOf(e.type(like).dtype, e.shape(like).slice(axis).map((_, i) => (i === 0 ? numbers.length : 1)), numbers), name);

type Define = (kind: Node['kind'], inputs: readonly ValueId[], attrs: unknown) => void;

function removeChannels(graph: Graph): Graph {
  const e = new GraphEditor(graph), analysis = findChannels(e, graph.nodes), { channels, flows } = analysis;
  findUses(graph, analysis);
  const kept = keptChannels(analysis);
  const isCut = (id: ValueId): boolean => kept.has(id) && kept.get(id)!.length < channels.get(id)!.constants.length;
  // Values are looked at in order, so operands have been cut before.
  const smaller = new Map<ValueId, ValueId>();
  let changed = false;
  for (const node of graph.nodes) {
    const flow = flows.get(node), [y] = node.outputs;
    if (!flow || y === undefined) continue;
    const define: Define = (kind, inputs, attrs) => {
      changed = true;
      if (isCut(y)) smaller.set(y, e.add(kind, inputs, attrs as never, e.value(y).name, { origins: node.origins }));
      else e.define([y], kind, inputs, attrs as never, { origins: node.origins });
    };
    const own = channels.get(y)!;
    if (flow.role === 'product' && own.constants.every((k) => k !== undefined)) {
      // a layer of which nothing is left
      const { dtype, shape } = e.type(y), left = kept.get(y)!;
      const values = alongChannels(e, y, own.axis, left.map((c) => own.constants[c]!), `${e.value(y).name}_constant`);
      define('elementwise', [values], { expr: arg(0, dtype), shape: shape.map((d, i) => (i === own.axis ? left.length : d)) });
    } else if (isCut(y) || node.inputs.some((id) => smaller.has(id))) {
      const inputs = node.inputs.map((id) => smaller.get(id) ?? id);
      if (flow.role === 'product') {
        const read = inputChannels(flow, channels);
        cutProduct(e, flow, inputs[0]!, { own, kept: kept.get(y)!, read, keptOfRead: read && kept.get(node.inputs[0]!) }, define);
      } else {
        const cut = flow.cut(e, kept.get(y)!, inputs);
        define(node.kind, cut.inputs, cut.attrs);
      }
    }
  }
  return changed ? e.finish() : graph;
}

export const shrinkChannels = definePass({
  name: 'shrink-channels',
  doc: 'removes filters, channels and kernel borders that pruning has emptied',
  // a kernel that lost its borders may need no padding, so that constants get through; one that lost channels may lose borders
  run(graph) {
    for (let before = graph; ;) {
      const after = removeChannels(rewrite(before, trimKernel));
      if (after === before) return after;
      before = after;
    }
  },
});
