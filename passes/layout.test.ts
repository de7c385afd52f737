/** Transposes: sinking, cancelling, channels last. */
import { describe, expect, test } from 'vitest';
import type { ConvAttrs } from '../compiler/core/conv.js';
import type { GraphBuilder } from '../compiler/ir/build.js';
import type { Value } from '../compiler/ir/types.js';
import { add, constant, max, mul, unary } from '../compiler/kir/build.js';
import { channelsLast } from './channels-last.js';
import { foldPadding } from './fold-padding.js';
import { simplify } from './simplify.js';
import { sinkTransposes, transposedElements } from './sink-transposes.js';
import { applied, graphOf, kindsOf, randomTensor } from '../test/support/graphs.js';

const input = (g: GraphBuilder, shape: readonly number[], name = 'x'): Value => g.input(name, { dtype: 'f32', shape });
const toLast = [0, 2, 3, 1], toFirst = [0, 3, 1, 2];

/** op between a transpose and its inverse: the transposes must go. */
describe('sink-transposes removes the pair around', () => {
  test.each<[string, (g: GraphBuilder, x: Value) => Value]>([
    ['an elementwise node', (g, x) => g.map([x], (e) => unary('tanh', e))],
    ['a per-channel constant', (g, x) => g.map([x, g.constant(randomTensor('f32', [3, 1, 1], 1))], add)],
    ['a constant of full shape', (g, x) => g.map([x, g.constant(randomTensor('f32', [3, 4, 5], 1))], mul)],
    ['a gate of one value a channel', (g, x) => g.map([x, input(g, [2, 3, 1, 1], 'gate')], mul)],
    ['an expansion', (g, x) => g.expand(g.op('reduce', [x], { op: 'sum', axes: [2], keepdims: true })[0]!, [2, 3, 4, 5])],
    ['a concatenation', (g, x) => g.op('concat', [x, g.transpose(input(g, [2, 4, 5, 7], 'y'), toFirst)], { axis: 1 })[0]!],
    ['a reduction that keeps dimensions', (g, x) => g.op('reduce', [x], { op: 'max', axes: [1], keepdims: true })[0]!],
    ['a softmax', (g, x) => g.op('softmax', [x], { axis: 1, mode: 'soft' })[0]!],
    ['a normalisation', (g, x) => g.op('normalize', [x], { axes: [2, 3], epsilon: 1e-5, center: true })[0]!],
    ['a running sum', (g, x) => g.op('cumsum', [x], { axis: 2, exclusive: true, reverse: false })[0]!],
    ['a pad', (g, x) => g.op('pad', [x], { mode: 'edge', before: [0, 1, 2, 0], after: [0, 0, 1, 3] })[0]!],
    ['a slice', (g, x) => g.op('slice', [x], { starts: [0, 2, 0, 1], steps: [1, -1, 2, 1], shape: [2, 2, 2, 3] })[0]!],
    ['a resampling', (g, x) => g.op('resample', [x], { axes: [{ axis: 3, taps: 1, index: [0, 0, 1, 2, 4, 4] }] })[0]!],
  ])('%s', (_, op) => {
    const after = applied(graphOf((g) => g.transpose(op(g, g.transpose(input(g, [2, 4, 5, 3]), toFirst)), toLast)), sinkTransposes, 1e-6);
    expect(kindsOf(after)).not.toContain('transpose');
  });

  test('a reduction without its dimensions', () => {
    const after = applied(graphOf((g) => g.op('reduce', [g.transpose(input(g, [2, 4, 5, 3]), toFirst)], { op: 'sum', axes: [2, 3], keepdims: false })), sinkTransposes, 1e-6);
    expect(kindsOf(after)).toEqual(['reduce']);
    expect(after.nodes[0]!.attrs).toMatchObject({ axes: [1, 2] });
  });
  test('the position of a maximum', () => {
    const after = applied(graphOf((g) => g.op('argReduce', [g.transpose(input(g, [2, 5, 3]), [0, 2, 1])], { op: 'max', axis: 1, keepdims: false, take: 'first' })), sinkTransposes, 0);
    expect(kindsOf(after)).toEqual(['argReduce']);
  });
});

test('a flattened transpose times a constant: the rows of the constant move', () => {
  const after = applied(graphOf((g) => {
    const flat = g.reshape(g.transpose(input(g, [2, 3, 4, 5]), toFirst), [2, 60]);
    return g.op('matmul', [flat, g.constant(randomTensor('f32', [60, 7], 3))], { transA: false, transB: false, out: 'f32' });
  }), sinkTransposes);
  expect(kindsOf(after)).toEqual(['reshape', 'matmul']);
});

test('attention heads: a reshape that splits and a transpose commute', () => {
  const after = applied(graphOf((g) => g.transpose(g.reshape(g.transpose(input(g, [2, 5, 12]), [0, 2, 1]), [2, 3, 4, 5]), [0, 3, 1, 2])), sinkTransposes, 0);
  expect(transposedElements(after)).toBe(0);
});

test('a transpose stays where sinking it would move more', () => {
  const graph = graphOf((g) => {
    const t = g.transpose(input(g, [2, 3, 4]), [0, 2, 1]);
    return [g.map([t, input(g, [2, 4, 3], 'a')], add), g.map([t, input(g, [2, 4, 3], 'b')], mul)];
  });
  expect(transposedElements(applied(graph, sinkTransposes, 0))).toBe(24);
});

describe('channels-last', () => {
  const conv = (g: GraphBuilder, x: Value, out: number, over: Partial<ConvAttrs> = {}, seed = 5): Value => {
    const perGroup = x.type.shape[1]! / (over.group ?? 1);
    return g.op('conv', [x, g.constant(randomTensor('f32', [out, perGroup, 3, 3], seed))], { strides: [1, 1], dilations: [1, 1], pads: [[1, 1], [1, 1]], group: 1, layout: 'ncs', out: 'f32', ...over })[0]!;
  };
  const relu = (g: GraphBuilder, x: Value): Value => g.map([x], (e) => max(e, constant('f32', 0)));
  const pool = (g: GraphBuilder, x: Value): Value => g.op('pool', [x], { mode: 'max', kernel: [2, 2], strides: [2, 2], dilations: [1, 1], pads: [[0, 0], [0, 0]], ceil: false, countIncludePad: false, layout: 'ncs' })[0]!;
  const passes = [channelsLast, sinkTransposes, foldPadding, simplify];
  const head = (g: GraphBuilder, x: Value): Value => {
    const flat = g.reshape(x, [x.type.shape[0]!, x.type.shape.slice(1).reduce((a, b) => a * b, 1)]);
    return g.op('matmul', [flat, g.constant(randomTensor('f32', [flat.type.shape[1]!, 4], 6))], { transA: false, transB: false, out: 'f32' })[0]!;
  };

  test('a residual network has one transpose, at its input', () => {
    const after = applied(graphOf((g) => {
      const a = relu(g, conv(g, input(g, [2, 3, 8, 8]), 4)), b = conv(g, relu(g, conv(g, a, 4)), 4, {}, 8);
      const sum = relu(g, g.map([a, b], add)), depthwise = conv(g, sum, 4, { group: 4, strides: [2, 2] });
      return head(g, g.op('concat', [pool(g, relu(g, depthwise)), pool(g, depthwise)], { axis: 1 })[0]!);
    }), passes);
    expect(kindsOf(after).filter((k) => k === 'transpose')).toHaveLength(1);
    expect(after.nodes[0]!.kind).toBe('transpose');
    for (const n of after.nodes) if (n.kind === 'conv' || n.kind === 'pool') expect(n.attrs.layout).toBe('nsc');
  });

  test('with one input channel there is none', () => {
    const after = applied(graphOf((g) => head(g, pool(g, relu(g, conv(g, input(g, [1, 1, 8, 8]), 4))))), passes);
    expect(kindsOf(after)).toEqual(['reshape', 'conv', 'elementwise', 'pool', 'reshape', 'matmul']);
  });

  test('a TFLite model (channels last in, padded, transposed) loses its transposes', () => {
    const after = applied(graphOf((g) => {
      const x = g.op('pad', [input(g, [1, 8, 8, 3])], { mode: 'constant', before: [0, 0, 0, 0], after: [0, 1, 1, 0] })[0]!;
      const y = relu(g, conv(g, g.transpose(x, toFirst), 4, { pads: [[0, 0], [0, 0]], strides: [2, 2] }));
      return g.transpose(y, toLast);
    }), passes);
    expect(kindsOf(after)).toEqual(['conv', 'elementwise']);
  });

  test('squeeze and excitation, transposed convolution and one dimension', () => {
    const after = applied(graphOf((g) => {
      const a = conv(g, input(g, [2, 3, 6, 6]), 4);
      const mean = g.op('reduce', [a], { op: 'sum', axes: [2, 3], keepdims: true })[0]!;
      const gate = g.map([g.op('conv', [mean, g.constant(randomTensor('f32', [4, 4, 1, 1], 3))], { strides: [1, 1], dilations: [1, 1], pads: [[0, 0], [0, 0]], group: 1, layout: 'ncs', out: 'f32' })[0]!], (e) => unary('sigmoid', e));
      const scaled = g.map([a, gate], mul);
      const up = g.op('convTranspose', [scaled, g.constant(randomTensor('f32', [4, 2, 2, 2], 4))], { strides: [2, 2], dilations: [1, 1], pads: [[0, 0], [0, 0]], outputPadding: [0, 0], group: 1, layout: 'ncs', out: 'f32' })[0]!;
      const line = g.op('conv', [input(g, [2, 3, 9], 'line'), g.constant(randomTensor('f32', [5, 3, 3], 5))], { strides: [2], dilations: [1], pads: [[1, 1]], group: 1, layout: 'ncs', out: 'f32' })[0]!;
      return [head(g, up), head(g, line)];
    }), passes);
    expect(kindsOf(after).filter((k) => k === 'transpose')).toHaveLength(2);
  });

  test('a convolution with computed weights keeps its order', () => {
    const graph = graphOf((g) => g.op('conv', [input(g, [1, 2, 4, 4]), input(g, [3, 2, 3, 3], 'w')], { strides: [1, 1], dilations: [1, 1], pads: [[0, 0], [0, 0]], group: 1, layout: 'ncs', out: 'f32' }));
    expect(channelsLast.run(graph, { report: () => undefined })).toBe(graph);
  });
});
