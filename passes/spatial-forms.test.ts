import { expect, test } from 'vitest';
import type { ConvAttrs } from '../compiler/core/conv.js';
import { spatialForms } from './spatial-forms.js';
import { applied, graphOf, kindsOf, randomTensor } from './testing.js';

const attrs = (over: Partial<ConvAttrs>): ConvAttrs => ({ strides: [1, 1], dilations: [1, 1], pads: [[0, 0], [0, 0]], group: 1, layout: 'nsc', out: 'f32', ...over });

test.each([
  ['height', [2, 9, 1, 3], [5, 1, 3, 4], [[2, 1], [0, 0]]],
  ['width', [1, 1, 9, 4], [1, 3, 2, 6], [[0, 0], [1, 1]]],
] as const)('a convolution along %s alone has one spatial axis', (_, x, w, pads) => {
  const graph = graphOf((g) => g.op('conv', [g.input('x', { dtype: 'f32', shape: x }), g.constant(randomTensor('f32', w, 5), 'w')],
    attrs({ pads, strides: [2, 2], group: x[3] / w[2] }))[0]!);
  const after = applied(graph, spatialForms);
  expect(kindsOf(after)).toEqual(['reshape', 'conv', 'reshape']);
  expect(after.nodes[1]!.kind === 'conv' && after.nodes[1]!.attrs.strides).toEqual([2]);
});

test('padding along an axis of extent 1 keeps it', () => {
  const graph = graphOf((g) => g.op('conv', [g.input('x', { dtype: 'f32', shape: [1, 9, 1, 3] }), g.constant(randomTensor('f32', [5, 1, 3, 4], 5), 'w')], attrs({ pads: [[0, 0], [1, 1]] }))[0]!);
  expect(kindsOf(applied(graph, spatialForms))).toEqual(['conv']);
});

test.each([
  ['2-D', [2, 3, 5, 4], [2, 3, 4, 6], { strides: [2, 3] }],
  ['1-D', [1, 7, 2], [4, 2, 3], { strides: [4], dilations: [1], pads: [[0, 0]] }],
] as const)('a transposed convolution without overlap is a matrix product (%s)', (_, x, w, over) => {
  const graph = graphOf((g) => g.op('convTranspose', [g.input('x', { dtype: 'f32', shape: x }), g.constant(randomTensor('f32', w, 5), 'w')],
    { ...attrs(over), outputPadding: over.strides.map(() => 0) })[0]!);
  expect(kindsOf(applied(graph, spatialForms))).toEqual(['reshape', 'matmul', 'reshape', 'transpose', 'reshape']);
});

test('overlapping windows stay a transposed convolution', () => {
  const graph = graphOf((g) => g.op('convTranspose', [g.input('x', { dtype: 'f32', shape: [1, 3, 3, 2] }), g.constant(randomTensor('f32', [3, 3, 2, 2], 5), 'w')],
    { ...attrs({ strides: [2, 2] }), outputPadding: [0, 0] })[0]!);
  expect(kindsOf(applied(graph, spatialForms))).toEqual(['convTranspose']);
});
