/**
 * Per-channel scale and shift (what inference leaves of BatchNormalization) move into the weights of the product before or after
 * them. Only the scale needs to: a shift is an epilogue for free.
 */
import { convGeometry } from '../compiler/core/conv.js';
import { mergeOrigins, rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import { isFloat } from '../compiler/ir/dtype.js';
import { contiguousStrides, sameShape, type Node, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import { denseData, numberAt, tensorOf, type Tensor } from '../compiler/ir/tensor.js';
import { evaluateNode } from '../compiler/kir/evaluate.js';
import { add, arg, constant, div, mapExpr, mul, sub, substituteArgs, unary } from '../compiler/kir/build.js';
import type { Expr } from '../compiler/kir/types.js';
import { broadcastShapes } from '../compiler/core/elementwise.js';
import { alongAxis, scaleAlong } from './channels.js';
import { countArg, renumber } from './expressions.js';
import { reshaped } from './sink-transposes.js';
import { definePass } from './types.js';

/** x * scale + shift; an absent scale is 1, an absent shift 0. */
interface Affine { readonly scale?: Expr | undefined; readonly shift?: Expr | undefined }

const plus = (a: Expr | undefined, b: Expr | undefined): Expr | undefined => (a && b ? add(a, b) : a ?? b);
const times = (a: Expr | undefined, b: Expr | undefined): Expr | undefined => (a && b ? mul(a, b) : a ?? b);

/** An expression as an affine function of argument `x`, its coefficients free of x. */
function affine(e: Expr, x: number): Affine | undefined {
  if (e.kind === 'arg' && e.index === x) return {};
  if (countArg(e, x) === 0) return undefined;
  const reads = (part: Expr): boolean => countArg(part, x) > 0;
  if (e.kind === 'unary' && e.op === 'neg') {
    const a = affine(e.a, x), minus = constant(e.type.dtype, -1);
    return a && { scale: times(a.scale, minus) ?? minus, shift: a.shift && unary('neg', a.shift) };
  }
  if (e.kind !== 'binary' || (reads(e.a) && reads(e.b))) return undefined;
  const inner = affine(reads(e.a) ? e.a : e.b, x), other = reads(e.a) ? e.b : e.a;
  if (!inner) return undefined;
  switch (e.op) {
    case 'add': return { ...inner, shift: plus(inner.shift, other) };
    case 'sub': {
      if (reads(e.a)) return { ...inner, shift: inner.shift ? sub(inner.shift, other) : unary('neg', other) };
      const minus = constant(e.type.dtype, -1);
      return { scale: times(inner.scale, minus) ?? minus, shift: inner.shift ? sub(other, inner.shift) : other };
    }
    case 'mul': return { scale: times(inner.scale, other) ?? other, shift: inner.shift && mul(inner.shift, other) };
    case 'div': return reads(e.a) ? { scale: inner.scale ? div(inner.scale, other) : div(constant(e.type.dtype, 1), other), shift: inner.shift && div(inner.shift, other) } : undefined;
    default: return undefined;
  }
}

interface AffineNode {
  readonly node: NodeOf<'elementwise'>;
  /** The one operand that is not constant, and its argument number. */
  readonly x: ValueId;
  readonly form: Affine;
  readonly constants: readonly (Tensor | undefined)[];
}

/** A node that scales and shifts one operand by constants, in floating point and without changing the shape. */
function affineNode(e: GraphEditor, node: Node | undefined): AffineNode | undefined {
  if (node?.kind !== 'elementwise' || node.epilogue) return undefined;
  const constants = node.inputs.map((i) => e.constantOf(i));
  const index = constants.findIndex((c) => !c), x = node.inputs[index];
  if (x === undefined || constants.filter((c) => !c).length !== 1 || !sameShape(e.shape(x), e.shape(node.outputs[0]!))) return undefined;
  const { dtype } = e.type(x);
  if (!isFloat(dtype) || constants.some((c) => c && c.dtype !== dtype)) return undefined;
  const form = affine(node.attrs.expr, index);
  return form && { node: node as unknown as NodeOf<'elementwise'>, x, form, constants };
}

/** Coefficients as a tensor. */
function coefficient(a: AffineNode, e: Expr): Tensor | undefined {
  const used = a.constants.flatMap((t, i) => (t && countArg(e, i) > 0 ? [{ t, i }] : []));
  const to = a.constants.map((_, i) => used.findIndex((u) => u.i === i));
  const shape = broadcastShapes(...used.map((u) => u.t.shape));
  const [result] = evaluateNode('elementwise', { expr: renumber(e, to), shape }, used.map((u) => u.t), [{ dtype: e.type.dtype as 'f32', shape }]);
  return result && denseData(result).every((_, i) => Number.isFinite(numberAt(result.dtype, result.data, i))) ? result : undefined;
}

/** Two affine nodes in a row are one. */
const compose: Rule = (e, node) => {
  const outer = affineNode(e, node), inner = outer && e.hasOneUser(outer.x) ? affineNode(e, e.producer(outer.x)) : undefined;
  if (!outer || !inner) return false;
  const inputs = [...outer.node.inputs, ...inner.node.inputs];
  const shifted = mapExpr(inner.node.attrs.expr, (x) => (x.kind === 'arg' ? { ...x, index: x.index + outer.node.inputs.length } : x));
  const expr = substituteArgs(outer.node.attrs.expr, outer.node.inputs.map((id, i) => (id === outer.x ? shifted : arg(i, e.type(id).dtype))));
  const used = inputs.map((_, i) => countArg(expr, i) > 0);
  const kept = inputs.filter((_, i) => used[i]);
  const to = inputs.map((_, i) => used.slice(0, i).filter(Boolean).length);
  e.define(node.outputs, 'elementwise', kept, { expr: renumber(expr, to) }, { origins: mergeOrigins(inner.node as unknown as Node, node) });
  return true;
};

/** Constants that could be one scale and one shift become that. */
const mergeConstants: Rule = (e, node) => {
  const a = affineNode(e, node), wanted = (a?.form.scale ? 1 : 0) + (a?.form.shift ? 1 : 0);
  if (!a || a.node.inputs.length - 1 <= wanted) return false;
  const coefficients = [a.form.scale, a.form.shift].map((c) => c && coefficient(a, c));
  if ((a.form.scale && !coefficients[0]) || (a.form.shift && !coefficients[1])) return false;
  const { dtype } = e.type(a.x), { name } = e.value(node.outputs[0]!);
  const [scale, shift] = coefficients.map((t, i) => t && e.constant(t, `${name}_${i === 0 ? 'scale' : 'shift'}`));
  const inputs = [a.x, scale, shift].filter((id) => id !== undefined);
  const scaled = scale === undefined ? arg(0, dtype) : mul(arg(0, dtype), arg(1, dtype));
  e.define(node.outputs, 'elementwise', inputs, { expr: shift === undefined ? scaled : add(scaled, arg(inputs.length - 1, dtype)) }, { origins: node.origins });
  return true;
};

/** Where the weights of a product lie, and which of their dimensions is the output channel. */
function product(e: GraphEditor, node: Node | undefined) {
  if (!node || node.epilogue || (node.kind !== 'conv' && node.kind !== 'matmul' && node.kind !== 'convTranspose')) return undefined;
  const w = node.inputs[1]!, tensor = e.constantOf(w);
  if (!tensor || !isFloat(tensor.dtype) || node.attrs.out !== tensor.dtype) return undefined;
  const rank = tensor.shape.length, outRank = e.shape(node.outputs[0]!).length;
  if (node.kind === 'matmul') return { node, w, tensor, outputAxis: node.attrs.transB ? rank - 2 : rank - 1, channelAxis: outRank - 1 };
  const first = node.attrs.layout === 'ncs';
  if (node.kind === 'convTranspose') {
    return node.attrs.group === 1 ? { node, w, tensor, outputAxis: first ? 1 : rank - 1, channelAxis: first ? 1 : outRank - 1 } : undefined;
  }
  return { node, w, tensor, outputAxis: first ? 0 : rank - 1, channelAxis: first ? 1 : outRank - 1 };
}

/** product -> scale and shift: the scale goes into the weights. */
const intoProducer: Rule = (e, node) => {
  const a = affineNode(e, node);
  if (!a?.form.scale || !e.hasOneUser(a.x)) return false;
  const p = product(e, e.producer(a.x)), scale = p && coefficient(a, a.form.scale);
  const factors = scale && alongAxis(scale, e.shape(a.x), p.channelAxis);
  const shift = a.form.shift && p ? coefficient(a, a.form.shift) : undefined;
  if (!p || !factors || (a.form.shift && !shift)) return false;
  const weights = e.constant(scaleAlong(p.tensor, p.outputAxis, (o) => factors[o]!), e.value(p.w).name);
  const inputs = [p.node.inputs[0]!, weights], origins = mergeOrigins(p.node, node);
  if (!shift) {
    e.define(node.outputs, p.node.kind, inputs, p.node.attrs, { origins });
    return true;
  }
  const y = e.add(p.node.kind, inputs, p.node.attrs, e.value(a.x).name, { origins: p.node.origins });
  addShift(e, node, y, e.constant(shift, `${e.value(node.outputs[0]!).name}_shift`));
  return true;
};

function addShift(e: GraphEditor, node: Node, y: ValueId, shift: ValueId): void {
  const { dtype } = e.type(y);
  e.define(node.outputs, 'elementwise', [y, shift], { expr: add(arg(0, dtype), arg(1, dtype)) }, { origins: node.origins });
}

/** True where products with constant weights are all that read a value: folding into each of them removes its computation. */
function foldableReaders(e: GraphEditor, x: ValueId): boolean {
  return !e.isOutput(x) && e.users(x).every((u) => (u.kind === 'reshape' ? foldableReaders(e, u.outputs[0]!) : u.inputs[0] === x && product(e, u) !== undefined));
}

/**
 * scale and shift -> product: weights are scaled by input channel, the shift becomes one of the output. A padded convolution
 * sees zeros beside shifted values, so there the shift must be 0.
 */
const intoConsumer: Rule = (e, node) => {
  if (node.kind !== 'conv' && node.kind !== 'matmul') return false;
  const p = product(e, node), read = node.inputs[0]!;
  // rows of a matrix product may be seen through a reshape that keeps them whole
  const rows = node.kind === 'matmul' ? e.producerOf(read, 'reshape') : undefined;
  const x = rows && e.shape(rows.inputs[0]!).at(-1) === e.shape(read).at(-1) ? rows.inputs[0]! : read;
  const a = p && foldableReaders(e, x) ? affineNode(e, e.producer(x)) : undefined;
  if (!p || !a || p.tensor.kind === 'sparse' || (node.kind === 'matmul' && (node.attrs.transA || p.tensor.shape.length !== 2))) return false;
  const shape = e.shape(x), axis = node.kind === 'conv' && node.attrs.layout === 'ncs' ? 1 : shape.length - 1;
  const scale = a.form.scale && coefficient(a, a.form.scale), shift = a.form.shift && coefficient(a, a.form.shift);
  const factors = scale && alongAxis(scale, shape, axis), offsets = shift && alongAxis(shift, shape, axis);
  if ((a.form.scale && !factors) || (a.form.shift && !offsets)) return false;
  if (offsets && node.kind === 'conv' && node.attrs.pads.some((q) => q[0] > 0 || q[1] > 0)) return false;

  // input channel and output channel of a weight
  const { tensor } = p, rank = tensor.shape.length, strides = contiguousStrides(tensor.shape);
  const inputAxis = node.kind === 'conv' ? (node.attrs.layout === 'ncs' ? 1 : rank - 2) : node.attrs.transB ? 1 : 0;
  const outputs = tensor.shape[p.outputAxis]!, perGroup = tensor.shape[inputAxis]!;
  const perGroupOut = node.kind === 'conv' ? convGeometry(node.attrs, node.inputs.map((i) => e.type(i))).outChannels / node.attrs.group : outputs;
  const outputOf = (position: number): number => Math.floor(position / strides[p.outputAxis]!) % outputs;
  const inputOf = (coordinate: number, position: number): number => Math.floor(outputOf(position) / perGroupOut) * perGroup + coordinate;

  const weights = factors ? scaleAlong(tensor, inputAxis, (c, at) => factors[inputOf(c, at)]!) : tensor;
  const w = factors ? e.constant(weights, e.value(p.w).name) : p.w;
  const origins = mergeOrigins(node, a.node as unknown as Node);
  const source = reshaped(e, a.x, e.shape(read));
  if (!offsets) {
    e.define(node.outputs, node.kind, [source, w], node.attrs, { origins });
    return true;
  }
  const sums = new Array<number>(outputs).fill(0), data = denseData(tensor);
  for (let i = 0; i < data.length; i++) {
    const coordinate = Math.floor(i / strides[inputAxis]!) % perGroup;
    sums[outputOf(i)]! += numberAt(tensor.dtype, data, i) * offsets[inputOf(coordinate, i)]!;
  }
  const outRank = e.shape(node.outputs[0]!).length;
  const shiftShape = Array.from({ length: outRank - p.channelAxis }, (_, i) => (i === 0 ? outputs : 1));
  const y = e.add(node.kind, [source, w], node.attrs, e.value(node.outputs[0]!).name, { origins });
  addShift(e, node, y, e.constant(tensorOf(tensor.dtype, shiftShape, sums), `${e.value(node.outputs[0]!).name}_shift`));
  return true;
};

export const foldBatchNorm = definePass({
  name: 'fold-batch-norm',
  doc: 'moves per-channel scales into the weights of the neighbouring convolution or matrix product',
  run: (graph) => rewrite(graph, compose, intoProducer, intoConsumer, mergeConstants),
});
