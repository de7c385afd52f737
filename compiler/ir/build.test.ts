import { expect, test } from 'vitest';
import { add, mul } from '../kir/build.js';
import { GraphBuilder } from './build.js';
import { denseTensor, tensorOf, toNumbers } from './tensor.js';

const f32 = (...shape: number[]) => ({ dtype: 'f32', shape }) as const;

test('map: a constant of one element becomes a literal, of the same shape effect', () => {
  const g = new GraphBuilder('g');
  const x = g.input('x', f32(3));
  const y = g.map([x, g.constant(tensorOf('f32', [1, 1], [2]))], mul);
  expect(y.type.shape).toEqual([1, 3]);
  const [node] = g.finish([{ name: 'y', value: y }]).nodes;
  expect(node!.inputs).toEqual([x.id]);
  expect(node!.attrs).toMatchObject({ expr: { kind: 'binary', b: { kind: 'const', value: 2 } } });
});

test('map: 64-bit literals are exact', () => {
  const g = new GraphBuilder('g');
  const big = 2n ** 53n + 1n;
  const y = g.map([g.input('x', { dtype: 'i64', shape: [2] }), g.constant(denseTensor('i64', [], BigInt64Array.of(big)))], add);
  expect(g.finish([{ name: 'y', value: y }]).nodes[0]!.attrs).toMatchObject({ expr: { b: { value: big } } });
});

test('map: an operand used twice is read once', () => {
  const g = new GraphBuilder('g');
  const x = g.input('x', f32(3));
  expect(g.finish([{ name: 'y', value: g.map([x, x], mul) }]).nodes[0]!.inputs).toEqual([x.id]);
});

test('map: constants alone are folded, literals or not', () => {
  const g = new GraphBuilder('g');
  const two = g.constant(tensorOf('f32', [], [2])), v = g.constant(tensorOf('f32', [2], [3, 4]));
  expect(toNumbers(g.map([two, two], add).constant!)).toEqual([4]);
  expect(toNumbers(g.map([two, v], mul).constant!)).toEqual([6, 8]);
});

test('shapes that do not broadcast are refused even where one side is a literal', () => {
  const g = new GraphBuilder('g');
  expect(() => g.map([g.input('x', f32(3)), g.input('z', f32(2)), g.constant(tensorOf('f32', [], [1]))], (a, b, c) => add(add(a, b), c))).toThrow(/broadcast/);
});
