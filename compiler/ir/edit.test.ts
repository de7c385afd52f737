import { expect, test } from 'vitest';
import { graphOf, kindsOf } from '../../test/support/graphs.js';
import { add, arg, constant, max, mul, unary } from '../kir/build.js';
import { GraphEditor, mergeOrigins, rewrite } from './edit.js';
import { tensorOf } from './tensor.js';
import { verifyGraph } from './verify.js';

const chain = () => graphOf((g) => {
  const x = g.input('x', { dtype: 'f32', shape: [2] });
  g.origin = { node: 'a', op: 'Neg' };
  const a = g.map([x], (e) => unary('neg', e));
  g.origin = { node: 'b', op: 'Relu' };
  return [g.map([a], (e) => max(e, constant('f32', 0))), g.map([x], (e) => mul(e, e))];
});

test('the source graph stays as it was', () => {
  const graph = chain(), before = JSON.stringify([graph.nodes, [...graph.values]]);
  const e = new GraphEditor(graph);
  e.replaceUses(graph.nodes[0]!.outputs[0]!, graph.inputs[0]!);
  e.finish();
  expect(JSON.stringify([graph.nodes, [...graph.values]])).toBe(before);
});

test('finishing drops what nothing reads and keeps inputs', () => {
  const graph = chain(), e = new GraphEditor(graph);
  e.replaceUses(graph.nodes[0]!.outputs[0]!, graph.inputs[0]!);
  const next = e.finish();
  expect(next.nodes).toHaveLength(2);
  expect([...next.values.values()].map((v) => v.name)).not.toContain('a');
  expect(next.inputs).toEqual(graph.inputs);
  expect(verifyGraph(next)).toEqual([]);
});

test('a redefined value keeps name and readers; new nodes land before those that read them', () => {
  const graph = chain(), e = new GraphEditor(graph), [neg] = graph.nodes;
  const twice = e.add('elementwise', [graph.inputs[0]!], { expr: mul(arg(0, 'f32'), constant('f32', 2)) }, 'a');
  e.define(neg!.outputs, 'elementwise', [twice], { expr: unary('neg', arg(0, 'f32')) }, { origins: neg!.origins });
  const next = e.finish();
  expect(next.values.get(neg!.outputs[0]!)?.name).toBe('a');
  expect(next.values.get(twice)?.name).toBe('a_1');
  expect(next.nodes.findIndex((n) => n.outputs[0] === twice)).toBeLessThan(next.nodes.findIndex((n) => n.outputs[0] === neg!.outputs[0]));
  expect(verifyGraph(next)).toEqual([]);
});

test('uses are counted by node, outputs of the graph included', () => {
  const graph = chain(), e = new GraphEditor(graph), x = graph.inputs[0]!, a = graph.nodes[0]!.outputs[0]!;
  expect(e.users(x)).toHaveLength(2);
  expect(e.hasOneUser(a)).toBe(true);
  expect(e.hasOneUser(graph.outputs[0]!.value)).toBe(false);
  e.replaceUses(a, x);
  e.sweep();
  expect(e.users(x)).toHaveLength(2);
  expect(e.producer(a)).toBeUndefined();
});

test('nodes on constants become constants at once', () => {
  const graph = chain(), e = new GraphEditor(graph);
  const c = e.constant(tensorOf('f32', [2, 1], [1, 2]), 'c');
  const t = e.add('transpose', [c], { perm: [1, 0] }, 'c');
  expect(e.constantOf(t)?.shape).toEqual([1, 2]);
  expect(e.producer(t)).toBeUndefined();
});

test('a definition of another type is refused', () => {
  const graph = chain(), e = new GraphEditor(graph);
  expect(() => e.define(graph.nodes[0]!.outputs, 'reshape', graph.inputs, { shape: [2, 1] })).toThrow(/SPC9004.*f32\[2\].*f32\[2,1\]/);
});

test('a cycle is noticed', () => {
  const graph = chain(), e = new GraphEditor(graph), [neg, relu] = graph.nodes;
  e.define(neg!.outputs, 'elementwise', relu!.outputs, { expr: unary('neg', arg(0, 'f32')) });
  expect(() => e.ordered()).toThrow(/cycle/);
});

test('rules that never stop are an error; rules that do nothing give the same graph', () => {
  const graph = chain();
  expect(rewrite(graph, () => false)).toBe(graph);
  expect(() => rewrite(graph, (e, n) => { e.update(n, {}); return true; })).toThrow(/SPC9005/);
});

test('origins are merged in order, each once', () => {
  const [a, b] = chain().nodes;
  expect(mergeOrigins(a, b, a).map((o) => o.node)).toEqual(['a', 'b']);
});

test('an epilogue changes the element type of output 0', () => {
  const graph = chain(), e = new GraphEditor(graph), x = graph.inputs[0]!;
  const y = e.add('elementwise', [x], { expr: add(arg(0, 'f32'), arg(0, 'f32')) }, 'y', { epilogue: { expr: unary('isnan', arg(0, 'f32')), inputs: [] } });
  expect(e.type(y).dtype).toBe('bool');
  expect(kindsOf(graph)).toHaveLength(3);
});
