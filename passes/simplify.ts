/** Local rewrites that make a graph smaller or plainer and cost nothing. */
import { broadcastShapes } from '../compiler/core/elementwise.js';
import { rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import { isFloat } from '../compiler/ir/dtype.js';
import { numberAt } from '../compiler/ir/tensor.js';
import { elementCount, sameShape, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import { arg, constant, div } from '../compiler/kir/build.js';
import type { OpKind } from '../compiler/core/index.js';
import { formatExpr } from '../compiler/ir/print.js';
import { normalForm } from './expressions.js';
import { compose, isIdentity, movesOnlyOnes } from './permutations.js';
import { definePass } from './types.js';

/** A rule for nodes of one kind without an epilogue. */
function ruleFor<K extends OpKind>(kind: K, apply: (e: GraphEditor, node: NodeOf<K>, output: ValueId) => boolean): Rule {
  return (e, node) => node.kind === kind && !node.epilogue && apply(e, node as unknown as NodeOf<K>, node.outputs[0]!);
}

/** All uses of the node's output move to a value that is the same. */
function become(e: GraphEditor, output: ValueId, same: ValueId): true {
  e.replaceUses(output, same);
  return true;
}

/** Operands that are only broadcast are read where they come from. */
function readThroughExpand(e: GraphEditor, id: ValueId): ValueId {
  const source = e.producerOf(id, 'elementwise');
  return source && source.inputs.length === 1 && source.attrs.expr.kind === 'arg' ? readThroughExpand(e, source.inputs[0]!) : id;
}

const elementwiseNormalForm = ruleFor('elementwise', (e, node, output) => {
  const sources = node.attrs.expr.kind === 'arg' ? node.inputs : node.inputs.map((i) => readThroughExpand(e, i));
  const { expr, inputs } = normalForm(e, node.attrs.expr, sources);
  const type = e.type(output);
  if (expr.kind === 'arg' && sameShape(e.shape(inputs[0]!), type.shape)) return become(e, output, inputs[0]!);
  const natural = broadcastShapes(...inputs.map((i) => e.shape(i)));
  const shape = sameShape(natural, type.shape) ? undefined : type.shape;
  const same = inputs.length === node.inputs.length && inputs.every((id, i) => id === node.inputs[i]) && (shape === undefined) === (node.attrs.shape === undefined);
  if (same && formatExpr(expr) === formatExpr(node.attrs.expr)) return false;
  e.define(node.outputs, 'elementwise', inputs, { expr, ...(shape ? { shape } : {}) }, { origins: node.origins });
  return true;
});

/** A maximum starts from -infinity: bounding it by that (jax writes so) changes nothing. */
const boundedMaximum = ruleFor('elementwise', (e, node, output) => {
  const { expr } = node.attrs, x = node.inputs[0];
  const max = node.inputs.length === 1 ? e.producerOf(x!, 'reduce') : undefined;
  const bound = expr.kind === 'binary' && expr.op === 'max' ? [expr.a, expr.b] : [];
  const applies = max?.attrs.op === 'max' && !node.attrs.shape && bound.some((b) => b.kind === 'arg') && bound.some((b) => b.kind === 'const' && b.value === -Infinity);
  return applies && become(e, output, x!);
});

const reshapes = ruleFor('reshape', (e, node, output) => {
  const x = node.inputs[0]!;
  if (sameShape(e.shape(x), e.shape(output))) return become(e, output, x);
  const before = e.producerOf(x, 'reshape');
  if (!before) return false;
  e.define(node.outputs, 'reshape', before.inputs, node.attrs, { origins: node.origins });
  return true;
});

/** A reduction whose dimensions a reshape puts back keeps them. */
const keepReduced = ruleFor('reshape', (e, node) => {
  const x = node.inputs[0]!, before = e.producerOf(x, 'reduce');
  if (!before || before.attrs.keepdims || !e.hasOneUser(x)) return false;
  const kept = e.shape(before.inputs[0]!).map((d, i) => (before.attrs.axes.includes(i) ? 1 : d));
  if (!sameShape(kept, node.attrs.shape)) return false;
  e.define(node.outputs, 'reduce', before.inputs, { ...before.attrs, keepdims: true }, { origins: before.origins });
  return true;
});

const transposes = ruleFor('transpose', (e, node, output) => {
  const x = node.inputs[0]!, { perm } = node.attrs;
  if (isIdentity(perm)) return become(e, output, x);
  const before = e.producerOf(x, 'transpose');
  if (before) {
    const both = compose(before.attrs.perm, perm);
    if (isIdentity(both)) return become(e, output, before.inputs[0]!);
    e.define(node.outputs, 'transpose', before.inputs, { perm: both }, { origins: node.origins });
    return true;
  }
  if (!movesOnlyOnes(e.shape(x), perm)) return false;
  e.define(node.outputs, 'reshape', [x], { shape: e.shape(output) }, { origins: node.origins });
  return true;
});

const wholeSlice = ruleFor('slice', (e, node, output) => {
  const x = node.inputs[0]!;
  if (sameShape(e.shape(x), e.shape(output)) && node.attrs.steps.every((s, d) => s > 0 || node.attrs.shape[d]! <= 1)) return become(e, output, x);
  const before = e.producerOf(x, 'slice');
  if (!before) return false;
  const attrs = {
    starts: node.attrs.starts.map((s, d) => before.attrs.starts[d]! + s * before.attrs.steps[d]!),
    steps: node.attrs.steps.map((s, d) => s * before.attrs.steps[d]!),
    shape: node.attrs.shape,
  };
  e.define(node.outputs, 'slice', before.inputs, attrs, { origins: node.origins });
  return true;
});

const emptyPad = ruleFor('pad', (e, node, output) =>
  [...node.attrs.before, ...node.attrs.after].every((n) => n === 0) && become(e, output, node.inputs[0]!));

/** Empty parts go, concatenations of concatenations become one. */
const concats = ruleFor('concat', (e, node, output) => {
  const { axis } = node.attrs;
  const parts = node.inputs.filter((i) => e.shape(i)[axis] !== 0).flatMap((i) => {
    const inner = e.producerOf(i, 'concat');
    return inner && inner.attrs.axis === axis && e.hasOneUser(i) ? inner.inputs : [i];
  });
  if (parts.length === 1) return become(e, output, parts[0]!);
  if (parts.length === 0 || (parts.length === node.inputs.length && parts.every((p, i) => p === node.inputs[i]))) return false;
  e.define(node.outputs, 'concat', parts, node.attrs, { origins: node.origins });
  return true;
});

/** Over extents of 1 nothing is reduced. */
const trivialReduce = ruleFor('reduce', (e, node, output) => {
  const x = node.inputs[0]!, shape = e.shape(x);
  if (elementCount(shape) === 0) return false;
  if (node.attrs.axes.every((a) => shape[a] === 1)) {
    const mapped = node.attrs.map ? e.add('elementwise', [x], { expr: node.attrs.map }, e.value(output).name, { origins: node.origins }) : x;
    e.define(node.outputs, 'reshape', [mapped], { shape: e.shape(output) }, { origins: node.origins });
    return true;
  }
  return false;
});

/** A pool over the whole input is a reduction, which has no layout; one of single elements is nothing. */
const poolIsReduce = ruleFor('pool', (e, node, output) => {
  const { attrs } = node, x = node.inputs[0]!, type = e.type(x);
  if (attrs.indices !== undefined || attrs.pads.some((p) => p[0] !== 0 || p[1] !== 0)) return false;
  const axes = attrs.kernel.map((_, d) => d + (attrs.layout === 'ncs' ? 2 : 1));
  if (attrs.kernel.every((k) => k === 1) && attrs.strides.every((s) => s === 1)) return become(e, output, x);
  const whole = axes.every((a, d) => type.shape[a] === attrs.kernel[d] && attrs.dilations[d] === 1 && e.shape(output)[a] === 1);
  if (!whole || (attrs.mode === 'average' && !isFloat(type.dtype))) return false;
  const reduced = { op: attrs.mode === 'max' ? 'max' as const : 'sum' as const, axes, keepdims: true };
  if (attrs.mode !== 'average') {
    e.define(node.outputs, 'reduce', [x], reduced, { origins: node.origins });
    return true;
  }
  const sum = e.add('reduce', [x], reduced, e.value(output).name, { origins: node.origins });
  e.define(node.outputs, 'elementwise', [sum], { expr: div(arg(0, type.dtype), constant(type.dtype, elementCount(attrs.kernel))) }, { origins: node.origins });
  return true;
});

/** Indices that are known and evenly spaced are a slice. */
const gatherIsSlice = ruleFor('gather', (e, node, output) => {
  const [x, indices] = node.inputs as [ValueId, ValueId], { axis } = node.attrs;
  const t = e.constantOf(indices), shape = e.shape(x), extent = shape[axis]!;
  if (!t || t.kind === 'sparse' || t.data.length === 0 || elementCount(shape) === 0) return false;
  const at = Array.from({ length: t.data.length }, (_, i) => numberAt(t.dtype, t.data, i)).map((i) => (i < 0 ? i + extent : i));
  const step = at.length > 1 ? at[1]! - at[0]! : 1;
  if (step === 0 || at.some((i, n) => i < 0 || i >= extent || i !== at[0]! + n * step)) return false;
  const only = <T>(other: (d: number) => T, here: T): T[] => shape.map((_, d) => (d === axis ? here : other(d)));
  const part = e.add('slice', [x], { starts: only(() => 0, at[0]!), steps: only(() => 1, step), shape: only((d) => shape[d]!, at.length) }, e.value(output).name, { origins: node.origins });
  e.define(node.outputs, 'reshape', [part], { shape: e.shape(output) }, { origins: node.origins });
  return true;
});

export const simplificationRules: readonly Rule[] =
  [elementwiseNormalForm, boundedMaximum, reshapes, keepReduced, transposes, wholeSlice, emptyPad, concats, trivialReduce, poolIsReduce, gatherIsSlice];

export const simplify = definePass({
  name: 'simplify',
  doc: 'removes what does nothing and composes reshapes, transposes, slices and concatenations; uniform constants become literals',
  run: (graph) => rewrite(graph, ...simplificationRules),
});
