import { expect, test } from 'vitest';
import type { ConvAttrs } from '../compiler/core/conv.js';
import { convTransposeToMatmul } from './conv-transpose-to-matmul.js';
import { applied, graphOf, kindsOf, randomTensor } from '../test/support/graphs.js';

const attrs = (over: Partial<ConvAttrs>): ConvAttrs => ({ strides: [1, 1], dilations: [1, 1], pads: [[0, 0], [0, 0]], group: 1, layout: 'nsc', out: 'f32', ...over });

test.each([
  ['2-D', [2, 3, 5, 4], [2, 3, 4, 6], { strides: [2, 3] }],
  ['1-D', [1, 7, 2], [4, 2, 3], { strides: [4], dilations: [1], pads: [[0, 0]] }],
] as const)('a transposed convolution without overlap is a matrix product (%s)', (_, x, w, over) => {
  const graph = graphOf((g) => g.op('convTranspose', [g.input('x', { dtype: 'f32', shape: x }), g.constant(randomTensor('f32', w, 5), 'w')],
    { ...attrs(over), outputPadding: over.strides.map(() => 0) })[0]!);
  expect(kindsOf(applied(graph, convTransposeToMatmul))).toEqual(['reshape', 'matmul', 'reshape', 'transpose', 'reshape']);
});

test('overlapping windows stay a transposed convolution', () => {
  const graph = graphOf((g) => g.op('convTranspose', [g.input('x', { dtype: 'f32', shape: [1, 3, 3, 2] }), g.constant(randomTensor('f32', [3, 3, 2, 2], 5), 'w')],
    { ...attrs({ strides: [2, 2] }), outputPadding: [0, 0] })[0]!);
  expect(kindsOf(applied(graph, convTransposeToMatmul))).toEqual(['convTranspose']);
});
