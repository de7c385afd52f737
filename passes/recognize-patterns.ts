/**
 * Operators that exporters took apart, put together again: softmax, layer normalisation, lookups written as products with one-hot
 * matrices. (GELU, SiLU, HardSwish and the like need no recognition: they are scalar expressions and fuse as such.)
 */
import { mergeOrigins, rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import { isInteger } from '../compiler/ir/dtype.js';
import { denseTensor, newArray, denseData, numberAt } from '../compiler/ir/tensor.js';
import { elementCount, sameShape, type Node, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import { and, arg, compare, constant, select, substituteArgs } from '../compiler/kir/build.js';
import type { Expr } from '../compiler/kir/types.js';
import { formula, type Formula } from './formula.js';
import { definePass } from './types.js';

const isArg = (x: Expr, index: number): boolean => x.kind === 'arg' && x.index === index;
const literalOf = (x: Expr): number | undefined => (x.kind === 'const' ? Number(x.value) : undefined);

/** Both orders of a commutative operation. */
const orders = (x: Expr, op: 'add' | 'mul'): [Expr, Expr][] => (x.kind === 'binary' && x.op === op ? [[x.a, x.b], [x.b, x.a]] : []);

/** The reduction that a value is, over the same dimensions that `like` has. */
function reduction(e: GraphEditor, id: ValueId, op: 'sum' | 'max'): NodeOf<'reduce'> | undefined {
  const node = e.producerOf(id, 'reduce');
  return node && node.attrs.op === op && node.attrs.keepdims ? node : undefined;
}

/** exp(x - max x) / sum exp(x - max x), or the same without the maximum. */
const softmax: Rule = (e, node) => {
  if (node.kind !== 'elementwise' || node.epilogue || node.inputs.length !== 2) return false;
  const { expr } = node.attrs;
  if (expr.kind !== 'binary' || expr.op !== 'div' || expr.a.kind !== 'arg' || expr.b.kind !== 'arg') return false;
  const numerator = node.inputs[expr.a.index]!, sum = reduction(e, node.inputs[expr.b.index]!, 'sum');
  if (!sum || sum.attrs.map || sum.inputs[0] !== numerator || sum.attrs.axes.length !== 1) return false;
  const f = formula(e, numerator, 2);
  if (f.expr.kind !== 'unary' || f.expr.op !== 'exp') return false;
  const inner = f.expr.a;
  let x: ValueId | undefined;
  if (inner.kind === 'arg') x = f.inputs[inner.index];
  else if (inner.kind === 'binary' && inner.op === 'sub' && inner.a.kind === 'arg') {
    x = f.inputs[inner.a.index];
    if (x === undefined || !isMaximum(e, f, inner.b, x, sum.attrs.axes)) return false;
  }
  if (x === undefined || !sameShape(e.shape(x), e.shape(node.outputs[0]!))) return false;
  e.define(node.outputs, 'softmax', [x], { axis: sum.attrs.axes[0]!, mode: 'soft' }, { origins: mergeOrigins(e.producer(numerator), sum as unknown as Node, node) });
  return true;
};

/** Whether `part` is the maximum of `x` over `axes`. */
function isMaximum(e: GraphEditor, f: Formula, part: Expr, x: ValueId, axes: readonly number[]): boolean {
  const max = part.kind === 'arg' ? reduction(e, f.inputs[part.index]!, 'max') : undefined;
  return max !== undefined && !max.attrs.map && max.inputs[0] === x && max.attrs.axes.join() === axes.join();
}

/** The divisor by which `part` makes a mean of argument `index`: part = arg / n, or arg * (1 / n). */
function meanDivisor(part: Expr): { readonly index: number; readonly n: number } | undefined {
  if (part.kind !== 'binary' || part.a.kind !== 'arg') return undefined;
  const c = literalOf(part.b);
  if (c === undefined || (part.op !== 'div' && part.op !== 'mul')) return undefined;
  return { index: part.a.index, n: part.op === 'div' ? c : 1 / c };
}

/** The mean over `axes` that a value is: axes and the tensor averaged, seen through what is summed. */
function mean(e: GraphEditor, f: Formula, part: Expr): NodeOf<'reduce'> | undefined {
  const m = meanDivisor(part), sum = m && reduction(e, f.inputs[m.index]!, 'sum');
  if (!sum) return undefined;
  const count = elementCount(sum.attrs.axes.map((a) => e.shape(sum.inputs[0]!)[a]!));
  return Math.abs(m.n - count) <= 1e-6 * count ? sum : undefined;
}

/** x - mean(x) over some axes: what is centred, and over which axes. */
function centredOf(e: GraphEditor, id: ValueId): { readonly x: ValueId; readonly axes: readonly number[] } | undefined {
  const f = formula(e, id, 2);
  if (f.expr.kind !== 'binary' || f.expr.op !== 'sub' || f.expr.a.kind !== 'arg') return undefined;
  const x = f.inputs[f.expr.a.index]!, sum = mean(e, f, f.expr.b);
  return sum && !sum.attrs.map && sum.inputs[0] === x ? { x, axes: sum.attrs.axes } : undefined;
}

/** sqrt(mean(d * d) + epsilon). */
function rootMeanSquare(e: GraphEditor, f: Formula, part: Expr, d: ValueId): { readonly axes: readonly number[]; readonly epsilon: number } | undefined {
  if (part.kind !== 'unary' || part.op !== 'sqrt') return undefined;
  const terms = orders(part.a, 'add').find(([, c]) => literalOf(c) !== undefined);
  const sum = mean(e, f, terms?.[0] ?? part.a), epsilon = terms ? literalOf(terms[1])! : 0;
  if (!sum) return undefined;
  const square = sum.attrs.map ? { expr: sum.attrs.map, inputs: sum.inputs } : formula(e, sum.inputs[0]!, 1);
  const isSquare = square.expr.kind === 'binary' && square.expr.op === 'mul' && isArg(square.expr.a, 0) && isArg(square.expr.b, 0);
  return isSquare && square.inputs[0] === d ? { axes: sum.attrs.axes, epsilon } : undefined;
}

/** d / sqrt(mean(d^2) + epsilon), also written as a product with the reciprocal; d is x or x - mean(x). */
const normalization: Rule = (e, node) => {
  if (node.kind !== 'elementwise' || node.epilogue || node.attrs.shape) return false;
  const output = node.outputs[0]!;
  for (const d of node.inputs) {
    if (e.constantOf(d) || !sameShape(e.shape(d), e.shape(output))) continue;
    // the node as an expression of d (argument 0) and of what the other operands are made of
    const inputs: ValueId[] = [d];
    const parts = node.inputs.map((id) => {
      const f = id === d ? { expr: arg(0, e.type(d).dtype), inputs: [d] } : formula(e, id);
      const at = f.inputs.map((v) => (inputs.includes(v) ? inputs.indexOf(v) : inputs.push(v) - 1));
      return substituteArgs(f.expr, f.inputs.map((v, i) => arg(at[i]!, e.type(v).dtype)));
    });
    const f: Formula = { expr: substituteArgs(node.attrs.expr, parts), inputs };
    const root = quotient(f.expr), rms = root && rootMeanSquare(e, f, root, d);
    if (!rms) continue;
    const centred = centredOf(e, d), center = centred !== undefined && centred.axes.join() === rms.axes.join();
    e.define(node.outputs, 'normalize', [center ? centred.x : d], { axes: rms.axes, epsilon: rms.epsilon, center },
      { origins: mergeOrigins(e.producer(d), node) });
    return true;
  }
  return false;
};

/** r where the expression is a0 / r or a0 * (1 / r). */
function quotient(x: Expr): Expr | undefined {
  if (x.kind !== 'binary') return undefined;
  if (x.op === 'div' && isArg(x.a, 0)) return x.b;
  const factor = orders(x, 'mul').find(([a]) => isArg(a, 0))?.[1];
  return factor?.kind === 'binary' && factor.op === 'div' && literalOf(factor.a) === 1 ? factor.b : undefined;
}

/** Length of the run 0, 1, 2, ... that a constant is along its last dimension; undefined where it is something else. */
function iota(e: GraphEditor, id: ValueId): number | undefined {
  const t = e.constantOf(id);
  if (!t || !isInteger(t.dtype) || t.shape.at(-1) !== elementCount(t.shape)) return undefined;
  const data = denseData(t);
  for (let i = 0; i < data.length; i++) if (numberAt(t.dtype, data, i) !== i) return undefined;
  return data.length;
}

/**
 * onehot(index) x W picks rows of W. An index outside the table has no 1 in its row: it picks a row of zeros put behind the
 * table.
 */
const oneHotProduct: Rule = (e, node) => {
  if (node.kind !== 'matmul' || node.epilogue || node.attrs.transA || node.attrs.transB) return false;
  const [a, b] = node.inputs as [ValueId, ValueId], table = e.constantOf(b);
  const hot = e.producerOf(a, 'elementwise') ?? e.producerOf(e.producerOf(a, 'reshape')?.inputs[0] ?? a, 'elementwise');
  const f = hot && formula(e, hot.outputs[0]!, 3);
  if (!f || !table || table.shape.length !== 2 || f.expr.kind !== 'cast' || f.expr.a.kind !== 'compare' || f.expr.a.op !== 'eq') return false;
  const { a: left, b: right } = f.expr.a;
  if (left.kind !== 'arg' || right.kind !== 'arg') return false;
  const [x, y] = [f.inputs[left.index]!, f.inputs[right.index]!], index = iota(e, y) === undefined ? y : x, run = index === x ? y : x;
  const [rows, columns] = table.shape as [number, number], shape = e.shape(index), { dtype } = e.type(index);
  if (iota(e, run) !== rows || shape.at(-1) !== 1 || elementCount(e.shape(a)) !== elementCount(shape) * rows) return false;
  const { name } = e.value(b), output = node.outputs[0]!;
  const extended = newArray(table.dtype, (rows + 1) * columns);
  extended.set(denseData(table) as never);
  const padded = e.constant(denseTensor(table.dtype, [rows + 1, columns], extended), `${name}_rows`);
  const i = arg(0, dtype), last = constant(dtype, rows);
  const inside = and(compare('ge', i, constant(dtype, 0)), compare('lt', i, last));
  const row = e.add('elementwise', [index], { expr: select(inside, i, last) }, `${e.value(index).name}_row`, { origins: node.origins });
  const flat = e.add('reshape', [row], { shape: e.shape(output).slice(0, -1) }, `${e.value(index).name}_flat`);
  e.define(node.outputs, 'gather', [padded, flat], { axis: 0 }, { origins: mergeOrigins(hot as unknown as Node, node) });
  return true;
};

export const recognizePatterns = definePass({
  name: 'recognize-patterns',
  doc: 'finds softmax, layer normalisation and one-hot lookups that an exporter took apart',
  run: (graph) => rewrite(graph, softmax, normalization, oneHotProduct),
});
