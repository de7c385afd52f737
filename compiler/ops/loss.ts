/** ONNX loss functions. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { Value } from '../ir/types.js';
import { compare, constant, div, mul, select, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { requireFloat } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

/** -weight[target] * logProbability[target], 0 where the target is to be ignored, then summed or averaged (by weight). */
function negativeLogLikelihood(n: OnnxNode, x: Value, target: Value, weight: Value | undefined): Value {
  const { g } = n, dtype = x.type.dtype, rank = x.type.shape.length, { shape } = target.type;
  requireFloat(x);
  if (rank < 2 || shape.length !== rank - 1) throw new NodeProblem('SPC2004', `targets [${shape.join(',')}] do not fit scores [${x.type.shape.join(',')}]`);
  const picked = g.reshape(g.op('gatherElements', [x, g.reshape(target, [shape[0]!, 1, ...shape.slice(1)])], { axis: 1 })[0]!, shape);
  const ignored = n.attr.has('ignore_index') ? n.attr.int('ignore_index') : undefined;
  const unlessIgnored = (t: Expr, e: Expr): Expr => (ignored === undefined ? e : select(compare('ne', t, constant(t.type.dtype, ignored)), e, constant(dtype, 0)));
  const weights = weight
    ? g.map([target, g.op('gather', [weight, target], { axis: 0 })[0]!], unlessIgnored)
    : g.map([target], (t) => unlessIgnored(t, constant(dtype, 1)));
  // select, not a product with 0: what is ignored may be infinite
  const losses = g.map([target, picked, weights], (t, p, w) => unlessIgnored(t, mul(unary('neg', p), w)));
  const reduction = n.attr.string('reduction', 'mean');
  if (reduction === 'none') return losses;
  const total = (v: Value): Value => g.op('reduce', [v], { op: 'sum', axes: shape.map((_, d) => d), keepdims: false })[0]!;
  if (reduction === 'sum') return total(losses);
  if (reduction !== 'mean') n.unsupported(`reduction='${reduction}'`);
  return g.map([total(losses), total(weights)], div);
}

const nllLoss = defineOnnxOp({
  op: 'NegativeLogLikelihoodLoss',
  lower: (n) => negativeLogLikelihood(n, n.input(0, 'input'), n.input(1, 'target'), n.optional(2)),
});

const softmaxCrossEntropyLoss = defineOnnxOp({
  op: 'SoftmaxCrossEntropyLoss',
  lower(n) {
    const scores = n.input(0, 'scores');
    requireFloat(scores);
    const logProbabilities = n.g.op('softmax', [scores], { axis: 1, mode: 'log' })[0]!;
    return [negativeLogLikelihood(n, logProbabilities, n.input(1, 'labels'), n.optional(2)), logProbabilities];
  },
});

export const lossOps: readonly OnnxOp[] = [nllLoss, softmaxCrossEntropyLoss];
