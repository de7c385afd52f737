/**
 * How channels go through operators: products make new ones from old ones, most others hand them on. A value has channels where it
 * comes from a product, by way of operators that hand on; what any other operator makes of them is not looked into.
 */
import type { OpKind } from '../compiler/core/index.js';
import type { GraphEditor } from '../compiler/ir/edit.js';
import { isFloat } from '../compiler/ir/dtype.js';
import { denseData, denseTensor, newArray, numberAt, tensorOf, type Tensor } from '../compiler/ir/tensor.js';
import { contiguousStrides, elementCount, type Node, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import { evaluateNode } from '../compiler/kir/evaluate.js';
import { alongAxis } from './channels.js';
import { uniformValue } from './expressions.js';

/** What every element of a channel is; undefined where that is not known or they differ. */
export type ChannelConstants = readonly (number | undefined)[];

/** Channel axis of a value that has channels. */
export type AxisOf = (id: ValueId) => number | undefined;

/** A convolution or matrix product with constant weights. */
export interface Product {
  readonly role: 'product';
  readonly node: Node;
  readonly axis: number;
  /** Axis of its operand that the sum runs over. */
  readonly inputAxis: number;
  readonly weights: Tensor;
  readonly inputs: number;
  readonly outputs: number;
  /** Axis of the weights that counts outputs, 0 or 1; the other one counts inputs. */
  readonly outputAxis: number;
  /** Weight (output, input, tap) is element output * outputStride + input * inputStride + tap. */
  readonly outputStride: number;
  readonly inputStride: number;
  readonly taps: number;
  /** Windows see zeros beside the data: a channel that is a constant other than 0 is not one to them. */
  readonly padded: boolean;
}

/** An operand's channel. */
export interface Slot {
  readonly operand: number;
  readonly channel: number;
}

/** An operator whose output channels each come from certain channels of its operands and stay or go with them. */
export interface Passage {
  readonly role: 'passage';
  readonly node: Node;
  readonly axis: number;
  from(channel: number): readonly Slot[];
  /** Constants of the output's channels, given the operands'. */
  constants(of: (operand: number) => ChannelConstants): ChannelConstants;
  /** False where the output channel does not depend on its sources (depthwise filters that are all zero). */
  readonly reads?: (channel: number) => boolean;
  /** The node's inputs and attributes when only some channels are left; `inputs` are already cut, constants are not. */
  cut(e: GraphEditor, kept: readonly number[], inputs: readonly ValueId[]): { readonly inputs: readonly ValueId[]; readonly attrs: unknown };
}

export type Flow = Product | Passage;

/** Some positions of one axis. */
export function select(t: Tensor, axis: number, kept: readonly number[]): Tensor {
  const extent = t.shape[axis]!, inner = contiguousStrides(t.shape)[axis]!, outer = elementCount(t.shape.slice(0, axis));
  const shape = t.shape.map((d, i) => (i === axis ? kept.length : d)), from = denseData(t), to = newArray(t.dtype, elementCount(shape));
  for (let o = 0; o < outer; o++) {
    kept.forEach((k, i) => to.set(from.subarray((o * extent + k) * inner, (o * extent + k + 1) * inner) as never, (o * kept.length + i) * inner));
  }
  return denseTensor(t.dtype, shape, to);
}

const channelRange = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

// --- products ------------------------------------------------------------------------------------------------------------------

function productFlow(e: GraphEditor, node: Node): Product | undefined {
  if (node.kind !== 'conv' && node.kind !== 'matmul' && node.kind !== 'convTranspose') return undefined;
  const weights = e.constantOf(node.inputs[1]!);
  if (!weights || !isFloat(weights.dtype) || node.attrs.out !== weights.dtype) return undefined;
  const { shape } = weights, common = { role: 'product', node, weights } as const;
  if (node.kind === 'matmul') {
    if (shape.length !== 2 || node.attrs.transA) return undefined;
    const [outputs, inputs] = node.attrs.transB ? [shape[0]!, shape[1]!] : [shape[1]!, shape[0]!];
    const rank = e.shape(node.outputs[0]!).length;
    const strides = node.attrs.transB ? { outputAxis: 0, outputStride: inputs, inputStride: 1 } : { outputAxis: 1, outputStride: 1, inputStride: outputs };
    return { ...common, axis: rank - 1, inputAxis: e.shape(node.inputs[0]!).length - 1, inputs, outputs, ...strides, taps: 1, padded: false };
  }
  if (node.attrs.layout !== 'ncs' || node.attrs.group !== 1) return undefined;
  const taps = elementCount(shape.slice(2)), [first, second] = [shape[0]!, shape[1]!];
  return node.kind === 'conv'
    ? { ...common, axis: 1, inputAxis: 1, outputAxis: 0, outputs: first, inputs: second, outputStride: second * taps, inputStride: taps, taps, padded: node.attrs.pads.some((p) => p[0] > 0 || p[1] > 0) }
    // the windows of a transposed convolution are cut off at every border
    : { ...common, axis: 1, inputAxis: 1, outputAxis: 1, outputs: second, inputs: first, outputStride: taps, inputStride: second * taps, taps, padded: true };
}

const isHalf = (t: Tensor): boolean => t.dtype === 'f16' || t.dtype === 'bf16';
/** Elements so that 0 means zero: of bit patterns both signs. */
const zeroTest = (t: Tensor): ((i: number) => boolean) => {
  const data = denseData(t);
  return isHalf(t) ? (i) => ((data[i] as number) & 0x7fff) === 0 : (i) => data[i] === 0;
};

/** Whether any tap from an input channel to an output channel is not zero. */
function connections(p: Product): (output: number, input: number) => boolean {
  const isZero = zeroTest(p.weights);
  return (o, i) => {
    const at = o * p.outputStride + i * p.inputStride;
    for (let t = 0; t < p.taps; t++) if (!isZero(at + t)) return true;
    return false;
  };
}

/**
 * What is known of a product's output channels. A weight of zero ignores its channel, whatever that holds (also an infinity, whose
 * product with zero would not be a number).
 */
export function productConstants(p: Product, input: ChannelConstants): ChannelConstants {
  const connects = connections(p), sums = shiftOf(p, input);
  const isOpen = channelRange(p.inputs).filter((i) => input[i] === undefined || (p.padded && input[i] !== 0));
  return channelRange(p.outputs).map((o) => (isOpen.some((i) => connects(o, i)) ? undefined : sums[o]));
}

/** What the channels that are constants add to each output. */
export function shiftOf(p: Product, input: ChannelConstants): number[] {
  const sums = new Array<number>(p.outputs).fill(0), data = denseData(p.weights);
  input.forEach((constant, i) => {
    if (constant === undefined || constant === 0) return;
    for (let o = 0; o < p.outputs; o++) for (let t = 0; t < p.taps; t++) sums[o]! += constant * numberAt(p.weights.dtype, data, o * p.outputStride + i * p.inputStride + t);
  });
  return sums;
}

/** Input channels that some of the outputs depend on. */
export function usedInputs(p: Product, isLive: (output: number) => boolean): Uint8Array {
  const connects = connections(p), used = new Uint8Array(p.inputs), live = channelRange(p.outputs).filter(isLive);
  for (let i = 0; i < p.inputs; i++) if (live.some((o) => connects(o, i))) used[i] = 1;
  return used;
}

/** Weights between the channels that are left. */
export const cutWeights = (p: Product, inputs: readonly number[], outputs: readonly number[]): Tensor =>
  select(select(p.weights, p.outputAxis, outputs), 1 - p.outputAxis, inputs);

// --- operators that hand channels on ---------------------------------------------------------------------------------------------

type PassageOf<K extends OpKind> = (e: GraphEditor, node: NodeOf<K>, axisOf: AxisOf) => Omit<Passage, 'role' | 'node'> | undefined;

/** Output channel c is channel c of the first operand, and stays the constant that it is, if `keeps` says so. */
const unchanged = (axis: number, keeps: (constant: number) => boolean = () => true): Omit<Passage, 'role' | 'node' | 'cut'> => ({
  axis, from: (channel) => [{ operand: 0, channel }],
  constants: (of) => of(0).map((c) => (c !== undefined && keeps(c) ? c : undefined)),
});

const sameAttrs = (attrs: unknown): Passage['cut'] => (_, __, inputs) => ({ inputs, attrs });
const shapedAttrs = (attrs: { readonly shape: readonly number[] }, axis: number): Passage['cut'] => (_, kept, inputs) =>
  ({ inputs, attrs: { ...attrs, shape: attrs.shape.map((d, i) => (i === axis ? kept.length : d)) } });

const elementwiseFlow: PassageOf<'elementwise'> = (e, node, axisOf) => {
  const shape = e.shape(node.outputs[0]!), rank = shape.length;
  /** Place of an operand's dimension that meets dimension `d` of the output; its extent is 1 where it is broadcast. */
  const own = (id: ValueId, d: number): number => d - rank + e.shape(id).length;
  const isWhole = (id: ValueId, d: number): boolean => (e.shape(id)[own(id, d)] ?? 1) > 1;
  const axes = new Set(node.inputs.flatMap((id) => { const a = axisOf(id); return a === undefined ? [] : [a + rank - e.shape(id).length]; }));
  const [axis] = axes;
  if (axis === undefined || axes.size > 1 || !node.inputs.every((id) => e.constantOf(id) || !isWhole(id, axis) || axisOf(id) !== undefined)) return undefined;
  const carriers = node.inputs.flatMap((id, operand) => (!e.constantOf(id) && isWhole(id, axis) ? [operand] : []));
  if (carriers.length === 0) return undefined;
  return {
    axis, from: (channel) => carriers.map((operand) => ({ operand, channel })),
    constants(of) {
      const known = node.inputs.map((id, operand): ChannelConstants | undefined => {
        const t = e.constantOf(id);
        return t ? alongAxis(t, shape, axis) : carriers.includes(operand) ? of(operand) : undefined;
      });
      const result: (number | undefined)[] = new Array<undefined>(shape[axis]!).fill(undefined);
      const decided = channelRange(shape[axis]!).filter((c) => known.every((k) => k?.[c] !== undefined));
      if (decided.length === 0) return result;
      const args = node.inputs.map((id, i) => tensorOf(e.type(id).dtype, [decided.length], decided.map((c) => known[i]![c]!)));
      const { dtype } = e.type(node.outputs[0]!), [t] = evaluateNode('elementwise', { expr: node.attrs.expr }, args, [{ dtype, shape: [decided.length] }]);
      decided.forEach((c, i) => { const x = numberAt(dtype, t!.data, i); if (Number.isFinite(x)) result[c] = x; });
      return result;
    },
    cut(editor, kept, inputs) {
      const { expr, shape: wanted } = node.attrs, at = axis - rank + (wanted?.length ?? 0);
      return {
        inputs: inputs.map((id, i) => {
          const t = editor.constantOf(node.inputs[i]!);
          return t && isWhole(node.inputs[i]!, axis) ? editor.constant(select(t, own(node.inputs[i]!, axis), kept), editor.value(node.inputs[i]!).name) : id;
        }),
        attrs: { expr, ...(wanted ? { shape: wanted.map((d, i) => (i === at && d > 1 ? kept.length : d)) } : {}) },
      };
    },
  };
};

/** A depthwise convolution: one filter a channel. */
const convFlow: PassageOf<'conv'> = (e, node, axisOf) => {
  const weights = e.constantOf(node.inputs[1]!), { attrs } = node, channels = weights?.shape[0];
  if (!weights || !isFloat(weights.dtype) || attrs.out !== weights.dtype || attrs.layout !== 'ncs' || attrs.group !== channels || weights.shape[1] !== 1 || axisOf(node.inputs[0]!) !== 1) return undefined;
  if (e.shape(node.inputs[0]!)[1] !== channels) return undefined;
  const taps = elementCount(weights.shape.slice(2)), isZero = zeroTest(weights), data = denseData(weights), padded = attrs.pads.some((p) => p[0] > 0 || p[1] > 0);
  const reads = (c: number): boolean => channelRange(taps).some((t) => !isZero(c * taps + t));
  return {
    axis: 1, from: (channel) => [{ operand: 0, channel }], reads,
    constants: (of) => of(0).map((k, c) => {
      if (!reads(c)) return 0;
      return k === undefined || (padded && k !== 0) ? undefined : channelRange(taps).reduce((s, t) => s + k * numberAt(weights.dtype, data, c * taps + t), 0);
    }),
    cut: (editor, kept, [x]) => ({ inputs: [x!, editor.constant(select(weights, 0, kept), editor.value(node.inputs[1]!).name)], attrs: { ...attrs, group: kept.length } }),
  };
};

const reshapeFlow: PassageOf<'reshape'> = (e, node, axisOf) => {
  const from = axisOf(node.inputs[0]!), shape = e.shape(node.inputs[0]!), to = node.attrs.shape;
  if (from === undefined) return undefined;
  // the dimension of the output that begins where the channels do
  const before = elementCount(shape.slice(0, from)), axis = to.findIndex((d, i) => d > 1 && elementCount(to.slice(0, i)) === before);
  const old = shape[from]!, now = to[axis] ?? 1;
  if (axis < 0 || old < 2 || (now % old !== 0 && old % now !== 0)) return undefined;
  // channels become several columns each (a flattened image), or several become one
  const columns = now >= old ? now / old : 1, merged = now >= old ? 1 : old / now;
  const sources = (channel: number): Slot[] => channelRange(merged).map((m) => ({ operand: 0, channel: Math.floor(channel / columns) * merged + m }));
  if (elementCount(shape.slice(from)) !== elementCount(to.slice(axis))) return undefined;
  return {
    axis, from: sources, cut: shapedAttrs(node.attrs, axis),
    constants: (of) => channelRange(now).map((c) => {
      const [first, ...rest] = sources(c).map((s) => of(0)[s.channel]);
      return rest.every((k) => k === first) ? first : undefined;
    }),
  };
};

const passages: { readonly [K in OpKind]?: PassageOf<K> } = {
  elementwise: elementwiseFlow,
  conv: convFlow,
  reshape: reshapeFlow,
  transpose(_, node, axisOf) {
    const axis = axisOf(node.inputs[0]!);
    return axis === undefined ? undefined : { ...unchanged(node.attrs.perm.indexOf(axis)), cut: sameAttrs(node.attrs) };
  },
  pool(_, node, axisOf) {
    const { attrs } = node, padded = attrs.pads.some((p) => p[0] > 0 || p[1] > 0);
    if (attrs.indices || attrs.layout !== 'ncs' || axisOf(node.inputs[0]!) !== 1) return undefined;
    // a window that lies in the padding altogether has no maximum
    const isCovered = attrs.pads.every((p, d) => Math.max(...p) <= (attrs.kernel[d]! - 1) * attrs.dilations[d]!);
    const keeps = attrs.mode === 'max' ? () => isCovered : (k: number) => k === 0 || (attrs.mode === 'average' && isCovered && !(attrs.countIncludePad && padded));
    return { ...unchanged(1, keeps), cut: sameAttrs(attrs) };
  },
  reduce(e, node, axisOf) {
    const axis = axisOf(node.inputs[0]!), { axes, keepdims, op, map } = node.attrs;
    if (axis === undefined || axes.includes(axis)) return undefined;
    const count = elementCount(axes.map((a) => e.shape(node.inputs[0]!)[a]!));
    return {
      ...unchanged(keepdims ? axis : axis - axes.filter((a) => a < axis).length), cut: sameAttrs(node.attrs),
      constants: (of) => of(0).map((k) => (k === undefined || map || op === 'prod' || count === 0 ? undefined : op === 'sum' ? k * count : k)),
    };
  },
  concat(e, node, axisOf) {
    const { axis } = node.attrs;
    if (!node.inputs.every((id) => axisOf(id) === axis)) return undefined;
    const slots = node.inputs.flatMap((id, operand) => channelRange(e.shape(id)[axis]!).map((channel) => ({ operand, channel })));
    return { axis, from: (channel) => [slots[channel]!], constants: (of) => slots.map((s) => of(s.operand)[s.channel]), cut: sameAttrs(node.attrs) };
  },
  slice(e, node, axisOf) {
    const { starts, steps, shape } = node.attrs, axis = axisOf(node.inputs[0]!);
    if (axis === undefined || starts[axis] !== 0 || steps[axis] !== 1 || shape[axis] !== e.shape(node.inputs[0]!)[axis]) return undefined;
    return { ...unchanged(axis), cut: shapedAttrs(node.attrs, axis) };
  },
  pad(e, node, axisOf) {
    const { mode, before, after } = node.attrs, axis = axisOf(node.inputs[0]!);
    if (axis === undefined || before[axis] !== 0 || after[axis] !== 0) return undefined;
    const value = node.inputs[1] === undefined ? 0 : uniformValue(e.constantOf(node.inputs[1]));
    return { ...unchanged(axis, (k) => mode !== 'constant' || k === Number(value)), cut: sameAttrs(node.attrs) };
  },
  resample(_, node, axisOf) {
    const axis = axisOf(node.inputs[0]!), { axes } = node.attrs;
    if (axis === undefined || axes.some((a) => a.axis === axis)) return undefined;
    return { ...unchanged(axis, (k) => k === 0 || axes.every((a) => !a.weight)), cut: sameAttrs(node.attrs) };
  },
};

/** What a node does with channels; undefined where that is not known. */
export function flowOf(e: GraphEditor, node: Node, axisOf: AxisOf): Flow | undefined {
  if (node.epilogue || node.outputs.length !== 1) return undefined;
  const product = productFlow(e, node);
  if (product) return product;
  const passage = (passages[node.kind] as PassageOf<OpKind> | undefined)?.(e, node as never, axisOf);
  return passage && { role: 'passage', node, ...passage };
}
