/**
 * k-winner-take-all, which exporters write as TopK and ScatterElements into zeros or as a comparison with the k-th largest, as the one
 * operator that it is. (Ahmad and Scheinkman, "How can we be so dense?", 2019; Makhzani and Frey, "k-Sparse autoencoders", 2013.)
 *
 * A dropped activation counts as 0 where a model multiplies it by a mask instead, also where it is infinite.
 */
import { mergeOrigins, rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import { denseData, numberAt } from '../compiler/ir/tensor.js';
import { elementCount, sameShape, type Node, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import type { Expr } from '../compiler/kir/types.js';
import { uniformValue } from './expressions.js';
import { formula } from './formula.js';
import { reshapeGroups } from './permutations.js';
import { definePass } from './types.js';

const asNode = (n: { readonly kind: string }): Node => n as Node;

/** The TopK of largest elements that a value is output number `output` of. */
function topkOf(e: GraphEditor, id: ValueId, output: 0 | 1): NodeOf<'topk'> | undefined {
  const node = e.producerOf(id, 'topk');
  return node && node.attrs.largest && node.outputs[output] === id ? node : undefined;
}

/** x, or x and what judges it. */
const operands = (x: ValueId, judged: ValueId): ValueId[] => (x === judged ? [x] : [x, judged]);

/** ScatterElements of the best elements, or of other elements at their positions, into zeros. */
const scattered: Rule = (e, node) => {
  if (node.kind !== 'scatterElements' || node.attrs.reduction !== 'none') return false;
  const [data, indices, updates] = node.inputs as [ValueId, ValueId, ValueId], { axis } = node.attrs;
  const best = topkOf(e, indices, 1), zeros = e.constantOf(data);
  if (!best || best.attrs.axis !== axis || !zeros || uniformValue(zeros) !== 0) return false;
  const judged = best.inputs[0]!, gathered = e.producerOf(updates, 'gatherElements');
  const x = best.outputs[0] === updates ? judged : gathered && gathered.inputs[1] === indices && gathered.attrs.axis === axis ? gathered.inputs[0]! : undefined;
  if (x === undefined || !sameShape(e.shape(x), e.shape(data)) || !sameShape(e.shape(x), e.shape(judged))) return false;
  e.define(node.outputs, 'kWinners', operands(x, judged), { axes: [axis], k: best.attrs.k, ties: 'lowest' }, { origins: mergeOrigins(asNode(best), node) });
  return true;
};

/** The TopK whose last value, along its axis, a value is; the axis is still there, with one element. */
function kthOf(e: GraphEditor, id: ValueId): NodeOf<'topk'> | undefined {
  const keeps = (best: NodeOf<'topk'> | undefined, from: ValueId): NodeOf<'topk'> | undefined => {
    const shape = best && e.shape(from).map((d, i) => (i === best.attrs.axis ? 1 : d));
    return best && best.attrs.k > 0 && sameShape(e.shape(id), shape!) ? best : undefined;
  };
  const node = e.producer(e.producerOf(id, 'reshape')?.inputs[0] ?? id);
  if (!node || node.epilogue) return undefined;
  const from = node.inputs[0]!, best = topkOf(e, from, 0);
  switch (node.kind) {
    // of one element the last is all there is
    case 'topk': return node.attrs.k === 1 ? keeps(topkOf(e, node.outputs[0]!, 0), node.outputs[0]!) : undefined;
    case 'slice': return best && node.attrs.starts[best.attrs.axis] === best.attrs.k - 1 ? keeps(best, from) : undefined;
    case 'gather': {
      const index = e.constantOf(node.inputs[1]!);
      if (!best || !index || elementCount(index.shape) !== 1 || node.attrs.axis !== best.attrs.axis) return undefined;
      const at = Number(numberAt(index.dtype, denseData(index), 0));
      return at === -1 || at === best.attrs.k - 1 ? keeps(best, from) : undefined;
    }
    default: return undefined;
  }
}

/** a >= b, as operands of a formula. */
function atLeast(x: Expr): readonly [number, number] | undefined {
  if (x.kind !== 'compare' || x.a.kind !== 'arg' || x.b.kind !== 'arg') return undefined;
  return x.op === 'ge' ? [x.a.index, x.b.index] : x.op === 'le' ? [x.b.index, x.a.index] : undefined;
}

/** The mask and what it masks: select(mask, x, 0) or x * mask. */
function masked(x: Expr): { readonly mask: Expr; readonly index: number } | undefined {
  if (x.kind === 'select') return x.a.kind === 'arg' && x.b.kind === 'const' && Number(x.b.value) === 0 ? { mask: x.cond, index: x.a.index } : undefined;
  if (x.kind !== 'binary' || x.op !== 'mul') return undefined;
  const found = ([[x.a, x.b], [x.b, x.a]] as const).find(([a, b]) => a.kind === 'arg' && b.kind === 'cast' && b.a.type.dtype === 'bool');
  return found && found[0].kind === 'arg' && found[1].kind === 'cast' ? { mask: found[1].a, index: found[0].index } : undefined;
}

/** Comparisons, and what makes numbers of them. */
const isMask = (node: NodeOf<'elementwise'>): boolean => node.attrs.expr.type.dtype === 'bool' || (node.attrs.expr.kind === 'cast' && node.attrs.expr.a.type.dtype === 'bool');

/** Elements that are not less than the k-th: all that equal it stay. */
const compared: Rule = (e, node) => {
  if (node.kind !== 'elementwise' || node.epilogue) return false;
  const own = node.attrs.expr, f = formula(e, node.outputs[0]!, 4, (n) => n.attrs.expr === own || isMask(n)), m = masked(f.expr), order = m && atLeast(m.mask);
  if (!m || !order) return false;
  const [x, judged, kth] = [m.index, ...order].map((i) => f.inputs[i]!) as [ValueId, ValueId, ValueId], best = kthOf(e, kth), shape = e.shape(node.outputs[0]!);
  if (!best || best.inputs[0] !== judged || ![x, judged].every((id) => sameShape(e.shape(id), shape)) || e.type(x).dtype !== e.type(node.outputs[0]!).dtype) return false;
  e.define(node.outputs, 'kWinners', operands(x, judged), { axes: [best.attrs.axis], k: best.attrs.k, ties: 'all' }, { origins: mergeOrigins(asNode(best), node) });
  return true;
};

/** Winners among flattened dimensions are winners among these dimensions: then transpositions can pass. */
const unflattened: Rule = (e, node) => {
  if (node.kind !== 'kWinners' || node.inputs.length !== 1) return false;
  const flat = e.producerOf(node.inputs[0]!, 'reshape'), x = flat?.inputs[0];
  if (x === undefined || elementCount(e.shape(x)) === 0) return false;
  const { attrs } = node, groups = reshapeGroups(e.shape(x), e.shape(flat!.outputs[0]!)), wide = attrs.axes.filter((a) => e.shape(flat!.outputs[0]!)[a] !== 1);
  // of a group of dimensions all compete or none, in the order in which they lie
  const own = groups.filter((g) => g.output.some((d) => wide.includes(d)));
  if (!own.every((g) => g.output.every((d, i) => wide.indexOf(d) === wide.indexOf(g.output[0]!) + i && wide.includes(d)))) return false;
  const axes = own.sort((a, b) => wide.indexOf(a.output[0]!) - wide.indexOf(b.output[0]!)).flatMap((g) => g.input);
  const y = e.add('kWinners', [x], { ...attrs, axes }, `${e.value(node.outputs[0]!).name}_unflattened`, { origins: node.origins, elementsOf: node.outputs[0]! });
  e.define(node.outputs, 'reshape', [y], { shape: e.shape(node.outputs[0]!) }, { origins: node.origins });
  return true;
};

export const recognizeKWinners = definePass({
  name: 'recognize-k-winners',
  doc: 'finds k-winner-take-all in TopK with ScatterElements into zeros, or with a comparison with the k-th largest',
  run: (graph) => rewrite(graph, scattered, compared, unflattened),
});
