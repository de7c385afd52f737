import { expect, test } from 'vitest';
import type { Target } from '../../backends/types.js';
import { GraphBuilder } from '../ir/build.js';
import { tensorOf } from '../ir/tensor.js';
import type { Value } from '../ir/types.js';
import { add, f32, max, mul } from '../kir/build.js';
import { buildPlan } from './build.js';

const target: Target = { name: 'test', doc: '', passes: [], kernels: [], alignment: 64, inPlace: true, compileFlags: [], emit: () => new Map() };
const relu = (g: GraphBuilder, v: Value): Value => g.map([v], (x) => max(x, f32(0)));

test('elementwise chains run in place, in one piece of memory', () => {
  const g = new GraphBuilder('m');
  const x = g.input('x', { dtype: 'f32', shape: [4, 16] });
  const a = relu(g, x), b = relu(g, a), c = relu(g, b);
  const plan = buildPlan(g.finish([{ name: 'y', value: c }]), target);
  expect(plan.steps.map((s) => s.args)).toEqual([
    [{ kind: 'input', index: 0, offset: 0 }, expect.objectContaining({ kind: 'arena', offset: 0 })],
    [expect.objectContaining({ kind: 'arena', offset: 0 }), expect.objectContaining({ kind: 'arena', offset: 0 })],
    [expect.objectContaining({ kind: 'arena', offset: 0 }), { kind: 'output', index: 0, offset: 0 }],
  ]);
  expect(plan.arenaBytes).toBe(256);
});

test('a value that is read again later is not overwritten', () => {
  const g = new GraphBuilder('m');
  const x = g.input('x', { dtype: 'f32', shape: [64] });
  const a = relu(g, x), b = g.map([a], (v) => mul(v, v)), c = g.map([a, b], (v, w) => add(v, w));
  const plan = buildPlan(g.finish([{ name: 'y', value: c }]), target);
  const [, second] = plan.steps;
  expect(second!.args[0]).not.toEqual(second!.args[1]);
  expect(plan.arenaBytes).toBe(512);
});

test('a reshaped result is computed in the output itself; inputs, constants and repeated outputs are copied', () => {
  const g = new GraphBuilder('m');
  const x = g.input('x', { dtype: 'f32', shape: [2, 3] });
  const y = g.reshape(relu(g, x), [6]);
  const k = g.constant(tensorOf('f32', [2], [1, 2]), 'k');
  const plan = buildPlan(g.finish([{ name: 'y', value: y }, { name: 'x again', value: x }, { name: 'k', value: k }, { name: 'y again', value: y }]), target);
  expect(plan.steps.map((s) => s.kind)).toEqual(['elementwise', 'copy', 'copy', 'copy']);
  expect(plan.steps[0]!.args[1]).toEqual({ kind: 'output', index: 0, offset: 0 });
  expect(plan.steps[3]!.args).toEqual([{ kind: 'output', index: 0, offset: 0 }, { kind: 'output', index: 3, offset: 0 }]);
});

test('equal constants are stored once', () => {
  const g = new GraphBuilder('m');
  const x = g.input('x', { dtype: 'f32', shape: [2] });
  const constant = (): Value => g.constant(tensorOf('f32', [2], [1, 2]), 'c');
  const y = g.map([g.map([x, constant()], (a, b) => add(a, b)), constant()], (a, b) => add(a, b));
  expect(buildPlan(g.finish([{ name: 'y', value: y }]), target).constants).toHaveLength(1);
});

test('zeros that a product does not skip are part of its reason, few zeros are not', () => {
  const g = new GraphBuilder('m');
  const x = g.input('x', { dtype: 'f32', shape: [1, 4] });
  const weights = (zeros: number, name: string): Value => g.constant(tensorOf('f32', [4, 4], Array.from({ length: 16 }, (_, i) => (i < zeros ? 0 : i))), name);
  const times = (a: Value, b: Value): Value => g.op('matmul', [a, b], { transA: false, transB: false, out: 'f32' })[0]!;
  const y = times(times(x, weights(12, 'a')), weights(1, 'b'));
  const reasons = buildPlan(g.finish([{ name: 'y', value: y }]), target).steps.map((s) => s.choice.reason);
  expect(reasons[0]).toMatch(/75 % of the weights are zero/);
  expect(reasons[1]).not.toMatch(/zero/);
});
