/** What the choice of tiles changes in a graph: strided 1x1 convolutions, epilogues that do not fit, constants of all pixels. */
import { expect, test } from 'vitest';
import type { ConvAttrs } from '../../compiler/core/conv.js';
import { GraphBuilder } from '../../compiler/ir/build.js';
import type { Layout } from '../../compiler/ir/layout.js';
import { operandsOf, typeOf, valueOf, type Graph, type Node, type Value } from '../../compiler/ir/types.js';
import { verifyGraph } from '../../compiler/ir/verify.js';
import { add, arg, f32, max, mul, unary } from '../../compiler/kir/build.js';
import { expectSameMeaning, graphOf, kindsOf, randomTensor } from '../../test/support/graphs.js';
import { isPixelConstant, selectLayout, type LayoutModel } from './index.js';

/** Everything in tiles; epilogues of one operation at most fit. */
const model: LayoutModel = {
  rows: () => [{ layout: 'rows', kernel: 'rows', nanoseconds: 1000, bytes: 0 }], tiles: (_, __, over) => [{ layout: over, kernel: 'tiles', nanoseconds: 1, bytes: 0 }], conversion: () => 1,
  epilogueFits: (_, n) => n.epilogue === undefined || n.epilogue.expr.kind === 'arg' || (n.epilogue.expr.kind === 'binary' && n.epilogue.expr.a.kind === 'arg'),
  readsWhole: (_, n) => n.kind === 'slice', phasesFit: () => true,
};

const conv = (g: GraphBuilder, x: Value, channels: number, kernel: number, stride: number, more: Partial<ConvAttrs> = {}): Value =>
  g.op('conv', [x, g.constant(randomTensor('f32', [kernel, kernel, x.type.shape.at(-1)!, channels], 3))],
    { strides: [stride, stride], dilations: [1, 1], pads: [[0, 0], [0, 0]], group: 1, layout: 'nsc', out: 'f32', ...more })[0]!;
const input = (g: GraphBuilder, shape: readonly number[], name = 'x'): Value => g.input(name, { dtype: 'f32', shape });

function selected(graph: Graph, lanes: Layout['over'] = 'pixels', m = model): Graph {
  const after = selectLayout(graph, m, { lanes }).graph;
  expect(verifyGraph(after)).toEqual([]);
  expectSameMeaning(graph, after, 1e-6);
  return after;
}

test.each([[1, 6, 8, 2], [2, 7, 5, 2], [1, 9, 9, 3], [1, 1, 1, 2], [3, 4, 7, 4]])('%i images of %ix%i, strided by %i: the pixels that a 1x1 convolution takes are a tensor', (n, height, width, stride) => {
  const after = selected(graphOf((g) => conv(g, input(g, [n, height, width, 3]), 5, 1, stride)));
  expect(kindsOf(after)).toEqual(['relayout', 'slice', 'conv', 'relayout']);
  const [, slice, product] = after.nodes as [Node, Node, Node & { kind: 'conv' }];
  expect(typeOf(after, slice.outputs[0]!).shape).toEqual([n, Math.ceil(height / stride), Math.ceil(width / stride), 3]);
  expect(product.attrs.strides).toEqual([1, 1]);
  expect(valueOf(after, product.inputs[0]!).layout).toMatchObject({ phases: 1, height: Math.ceil(height / stride), width: Math.ceil(width / stride) });
});

test.each<readonly [string, (g: GraphBuilder) => Value, Layout['over']]>([
  ['of 3x3', (g) => conv(g, input(g, [1, 7, 7, 3]), 5, 3, 2), 'pixels'],
  ['with pads', (g) => conv(g, input(g, [1, 7, 7, 3]), 5, 1, 2, { pads: [[1, 1], [1, 1]] }), 'pixels'],
  ['without stride', (g) => conv(g, input(g, [1, 7, 7, 3]), 5, 1, 1), 'pixels'],
  ['over images', (g) => conv(g, input(g, [17, 7, 7, 3]), 5, 1, 2), 'images'],
])('a convolution %s reads its operand itself', (_, build, over) => {
  expect(kindsOf(selected(graphOf(build), over))).toEqual(['relayout', 'conv', 'relayout']);
});

/** The node's epilogue as given; operands after the first are values. */
const withEpilogue = (graph: Graph, epilogue: (n: Node) => Node['epilogue']): Graph =>
  ({ ...graph, nodes: graph.nodes.map((n): Node => { const e = epilogue(n); return e ? { ...n, epilogue: e } : n; }) });

test('what does not fit of an epilogue is an elementwise node in tiles, with the operands that it reads only', () => {
  const g = new GraphBuilder('m'), x = input(g, [1, 5, 5, 3]), a = input(g, [1, 5, 5, 4], 'a'), bias = g.constant(randomTensor('f32', [4], 9));
  const y = conv(g, x, 4, 1, 1), sum = add(arg(0, 'f32'), arg(2, 'f32'));
  // (y + bias) sigmoid(y + bias) a: operand 1 is a, operand 2 the bias
  const graph = withEpilogue(g.finish([{ name: 'y', value: y }]), () => ({ expr: mul(mul(sum, unary('sigmoid', sum)), arg(1, 'f32')), inputs: [a.id, bias.id] }));
  const after = selected(graph), [product, rest] = after.nodes.filter((n) => n.kind !== 'relayout') as [Node, Node];
  expect(product.epilogue).toEqual({ expr: add(arg(0, 'f32'), arg(1, 'f32')), inputs: [bias.id] });
  expect([rest.kind, rest.inputs.length, rest.outputs]).toEqual(['elementwise', 2, graph.nodes[0]!.outputs]);
  expect(valueOf(after, rest.outputs[0]!).layout).toEqual(valueOf(after, product.outputs[0]!).layout);
});

test('an epilogue that fits stays', () => {
  const graph = withEpilogue(graphOf((g) => conv(g, input(g, [1, 5, 5, 3]), 4, 1, 1)), () => ({ expr: max(arg(0, 'f32'), f32(0)), inputs: [] }));
  expect(kindsOf(selected(graph))).toEqual(['relayout', 'conv', 'relayout']);
});

test('a constant with a value for every pixel is converted once to each layout that reads it, one for each channel is not', () => {
  const g = new GraphBuilder('m'), shape = [1, 6, 6, 4], x = input(g, shape), table = g.constant(randomTensor('f32', shape, 5), 'table'), scale = g.constant(randomTensor('f32', [4], 6));
  const twice = g.map([g.map([x, table], add), table], mul), scaled = g.map([twice, scale], mul), y = conv(g, scaled, 4, 3, 1, { pads: [[1, 1], [1, 1]] });
  const graph = withEpilogue(g.finish([{ name: 'y', value: y }]), (n) => (n.kind === 'conv' ? { expr: add(arg(0, 'f32'), arg(1, 'f32')), inputs: [table.id] } : undefined));
  for (const over of ['pixels', 'images'] as const) {
    const after = selected(graph, over), conversions = after.nodes.filter((n) => n.kind === 'relayout');
    expect(conversions.map((n) => n.inputs[0]).filter((id) => id === table.id || id === scale.id)).toEqual([table.id]);
    const readers = after.nodes.filter((n) => n.kind !== 'relayout');
    expect(readers.some((n) => operandsOf(n).includes(table.id))).toBe(false);
    expect(readers.some((n) => operandsOf(n).includes(scale.id))).toBe(true);
  }
});

test('which constants have a value for every pixel', () => {
  const of = (shape: readonly number[], dtype: 'f32' | 'f64' = 'f32'): boolean => isPixelConstant({ type: { dtype, shape }, constant: randomTensor(dtype, shape, 1) }, [1, 6, 6, 4]);
  expect([of([1, 6, 6, 4]), of([4]), of([]), of([1, 1, 1, 4]), of([6, 6, 4]), of([1, 6, 6, 4], 'f64')]).toEqual([true, false, false, false, false, false]);
  expect(isPixelConstant({ type: { dtype: 'f32', shape: [1, 1, 4] }, constant: randomTensor('f32', [1, 1, 4], 1) }, [1, 1, 4])).toBe(false);
  expect(isPixelConstant({ type: { dtype: 'f32', shape: [2, 4] } }, [2, 4])).toBe(false);
});
