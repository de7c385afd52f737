import { describe, expect, test } from 'vitest';
import type { GraphBuilder } from '../compiler/ir/build.js';
import { denseTensor } from '../compiler/ir/tensor.js';
import { elementCount, type Graph, type NodeOf, type Value } from '../compiler/ir/types.js';
import { cast, compare, f32, mul, select } from '../compiler/kir/build.js';
import { applied, graphOf, kindsOf, randomTensor } from '../test/support/graphs.js';
import { eliminateDeadCode } from './eliminate-dead-code.js';
import { channelsLast } from './channels-last.js';
import { recognizeKWinners } from './recognize-k-winners.js';
import { simplify } from './simplify.js';
import { sinkTransposes } from './sink-transposes.js';

const shape = [2, 6, 3, 4], x = (g: GraphBuilder, of = shape): Value => g.input('x', { dtype: 'f32', shape: of });
const zeros = (g: GraphBuilder, of: readonly number[] = shape): Value => g.constant(denseTensor('f32', of, new Float32Array(elementCount(of))));
const topk = (g: GraphBuilder, v: Value, axis: number, k: number, largest = true): readonly Value[] => g.op('topk', [v], { axis, k, largest });
const scatter = (g: GraphBuilder, into: Value, indices: Value, updates: Value, axis: number): Value =>
  g.op('scatterElements', [into, indices, updates], { axis, reduction: 'none' })[0]!;
/** TopK, then ScatterElements into zeros. */
const scattered = (g: GraphBuilder, v: Value, axis: number, k: number): Value => {
  const [values, indices] = topk(g, v, axis, k);
  return scatter(g, zeros(g, v.type.shape), indices!, values!, axis);
};
const last = (g: GraphBuilder, values: Value, axis: number, k: number): Value => g.op('slice', [values], {
  starts: shape.map((_, d) => (d === axis ? k - 1 : 0)), steps: shape.map(() => 1), shape: values.type.shape.map((d, i) => (i === axis ? 1 : d)),
})[0]!;
const winners = (graph: Graph): NodeOf<'kWinners'>['attrs'][] => graph.nodes.flatMap((n) => (n.kind === 'kWinners' ? [n.attrs] : []));
const passes = [simplify, recognizeKWinners, eliminateDeadCode];

describe('recognize-k-winners', () => {
  test.each<[string, (g: GraphBuilder) => Value]>([
    ['values', (g) => scattered(g, x(g), 1, 2)],
    ['gathered values', (g) => {
      const v = x(g), [, indices] = topk(g, v, 1, 2);
      return scatter(g, zeros(g), indices!, g.op('gatherElements', [v, indices!], { axis: 1 })[0]!, 1);
    }],
  ])('TopK and ScatterElements of %s into zeros', (_, build) => {
    const after = applied(graphOf(build), passes);
    expect(kindsOf(after)).toEqual(['kWinners']);
    expect(winners(after)).toEqual([{ axes: [1], k: 2, ties: 'lowest' }]);
  });

  test('boosted: judged by other values than are kept', () => {
    const after = applied(graphOf((g) => {
      const v = x(g), boosted = g.map([v, g.constant(randomTensor('f32', [6, 1, 1], 5))], mul), [, indices] = topk(g, boosted, 1, 3);
      return scatter(g, zeros(g), indices!, g.op('gatherElements', [v, indices!], { axis: 1 })[0]!, 1);
    }), passes);
    expect(kindsOf(after)).toEqual(['elementwise', 'kWinners']);
    expect(after.nodes[1]!.inputs).toHaveLength(2);
  });

  test.each<[string, (g: GraphBuilder, v: Value, kth: Value) => Value]>([
    ['Where', (g, v, kth) => g.map([v, kth], (a, t) => select(compare('ge', a, t), a, f32(0)))],
    ['Where, as two nodes and the other way round', (g, v, kth) => g.map([g.map([v, kth], (a, t) => compare('le', t, a)), v], (m, a) => select(m, a, f32(0)))],
    ['Mul by a mask', (g, v, kth) => g.map([v, g.map([g.map([v, kth], (a, t) => compare('ge', a, t))], (m) => cast(m, 'f32'))], mul)],
  ])('a comparison with the k-th: %s', (_, build) => {
    const after = applied(graphOf((g) => { const v = x(g); return build(g, v, last(g, topk(g, v, 1, 3)[0]!, 1, 3)); }), passes);
    expect(winners(after)).toEqual([{ axes: [1], k: 3, ties: 'all' }]);
    expect(kindsOf(after)).toEqual(['kWinners']);
  });

  test('the comparison keeps ties, and what an elementwise node computed is still compared as a whole', () => {
    const after = applied(graphOf((g) => {
      const v = g.map([x(g)], (a) => select(compare('gt', a, f32(0)), a, f32(0)));
      return g.map([v, last(g, topk(g, v, 1, 5)[0]!, 1, 5)], (a, t) => select(compare('ge', a, t), a, f32(0)));
    }), passes);
    expect(kindsOf(after)).toEqual(['elementwise', 'kWinners']);
  });

  test.each<[string, (g: GraphBuilder) => Value]>([
    ['the smallest', (g) => { const [values, indices] = topk(g, x(g), 1, 2, false); return scatter(g, zeros(g), indices!, values!, 1); }],
    ['another axis', (g) => { const [values, indices] = topk(g, x(g, [6, 6]), 1, 2); return scatter(g, zeros(g, [6, 6]), indices!, values!, 0); }],
    ['not into zeros', (g) => { const [values, indices] = topk(g, x(g), 1, 2); return scatter(g, g.constant(randomTensor('f32', shape, 3)), indices!, values!, 1); }],
    ['a larger tensor', (g) => { const [values, indices] = topk(g, x(g, [2, 6]), 1, 2); return scatter(g, zeros(g, [2, 7]), indices!, values!, 1); }],
    ['not the last of the best', (g) => { const v = x(g); return g.map([v, last(g, topk(g, v, 1, 3)[0]!, 1, 2)], (a, t) => select(compare('ge', a, t), a, f32(0))); }],
    ['greater, not greater or equal', (g) => { const v = x(g); return g.map([v, last(g, topk(g, v, 1, 3)[0]!, 1, 3)], (a, t) => select(compare('gt', a, t), a, f32(0))); }],
  ])('left alone: %s', (_, build) => {
    expect(winners(applied(graphOf(build), passes))).toEqual([]);
  });

  test('winners of a flattened image compete over its dimensions; transpositions pass, ties still go by the original position', () => {
    // few different values: ties decide
    const after = applied(graphOf((g) => {
      const coarse = g.map([g.op('pool', [x(g, [2, 4, 4, 6])], { op: 'max', kernel: [2, 2], strides: [2, 2], dilations: [1, 1], pads: [[0, 0], [0, 0]], layout: 'ncs', countPad: false } as never)[0]!],
        (a) => select(compare('gt', a, f32(0.7)), f32(2), select(compare('gt', a, f32(0.3)), f32(1), a)));
      const flat = scattered(g, g.reshape(coarse, [2, 24]), 1, 9), w = g.constant(randomTensor('f32', [24, 5], 9));
      return g.op('matmul', [flat, w], { transA: false, transB: false, out: 'f32' })[0]!;
    }), [simplify, recognizeKWinners, channelsLast, sinkTransposes, eliminateDeadCode]);
    expect(kindsOf(after).filter((k) => k === 'transpose')).toHaveLength(1); // of the input
    expect(winners(after)).toEqual([{ axes: [3, 1, 2], k: 9, ties: 'lowest' }]);
  });
});
