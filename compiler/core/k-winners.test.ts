import { expect, test } from 'vitest';
import { randomNumbers } from '../../test/support/graphs.js';
import { tensorOf, toNumbers, type Tensor } from '../ir/tensor.js';
import { contiguousStrides, elementCount } from '../ir/types.js';
import { evaluateNode } from '../kir/evaluate.js';
import { coreOps } from './index.js';
import type { KWinnersAttrs } from './k-winners.js';

const run = (attrs: KWinnersAttrs, ...inputs: Tensor[]): number[] => toNumbers(evaluateNode('kWinners', attrs, inputs, coreOps.kWinners.infer(attrs, inputs))[0]!);

/** The definition as a sort: numbers descending, NaNs last, then positions. */
function sorted({ axes, k, ties }: KWinnersAttrs, shape: readonly number[], x: readonly number[], judged = x): number[] {
  const strides = contiguousStrides(shape), n = elementCount(axes.map((a) => shape[a]!)), groups = new Map<number, { at: number; position: number }[]>();
  x.forEach((_, at) => {
    const coordinate = (d: number): number => Math.floor(at / strides[d]!) % shape[d]!;
    const group = shape.reduce((s, e, d) => (axes.includes(d) ? s : s * e + coordinate(d)), 0), position = axes.reduce((s, d) => s * shape[d]! + coordinate(d), 0);
    groups.set(group, [...(groups.get(group) ?? []), { at, position }]);
  });
  const y = x.map(() => 0), rank = (v: number): number => (Number.isNaN(v) ? 1 : 0);
  for (const members of groups.values()) {
    expect(members).toHaveLength(n);
    const order = members.sort((a, b) => {
      const p = judged[a.at]!, q = judged[b.at]!;
      return rank(p) - rank(q) || (p > q ? -1 : q > p ? 1 : 0) || a.position - b.position;
    });
    const kth = judged[order[k - 1]?.at ?? -1];
    order.forEach(({ at }, i) => { if (ties === 'all' ? k > 0 && judged[at]! >= kth! : i < k) y[at] = x[at]!; });
  }
  return y;
}

const special = [NaN, 1, -Infinity, NaN, 0, -0, 0, -1, Infinity, NaN, Infinity, Infinity, NaN, NaN, NaN, NaN, -3, -2, -2, -2, 0, 0, 0, 0, 5, 5, 5, 5];

test.each([0, 1, 2, 3, 4])('%i winners among NaNs, infinities, both zeros and equal elements', (k) => {
  for (const ties of ['lowest', 'all'] as const) {
    const attrs: KWinnersAttrs = { axes: [1], k, ties };
    expect(run(attrs, tensorOf('f32', [7, 4], special))).toEqual(sorted(attrs, [7, 4], special));
  }
});

test('dimensions compete in the order of the list', () => {
  const shape = [2, 3, 4, 2], x = randomNumbers(48, 3).map((v) => Math.round(v * 2));
  for (const axes of [[1], [3], [1, 2], [2, 1], [3, 1, 2], [0, 1, 2, 3], [3, 0]]) {
    for (const k of [0, 1, elementCount(axes.map((a) => shape[a]!)) - 1]) {
      const attrs: KWinnersAttrs = { axes, k, ties: 'lowest' };
      expect(run(attrs, tensorOf('f32', shape, x)), `${axes.join()} ${k}`).toEqual(sorted(attrs, shape, x));
    }
  }
});

test('judged by other values; integers', () => {
  const x = [1, 2, 3, 4, 5, 6], judged = [3, 9, 9, 9, 0, 1];
  const attrs: KWinnersAttrs = { axes: [1], k: 2, ties: 'lowest' };
  expect(run(attrs, tensorOf('f32', [1, 6], x), tensorOf('f32', [1, 6], judged))).toEqual([0, 2, 3, 0, 0, 0]);
  expect(run({ ...attrs, ties: 'all' }, tensorOf('i32', [1, 6], x), tensorOf('f32', [1, 6], judged))).toEqual([0, 2, 3, 4, 0, 0]);
  expect(() => run({ ...attrs, k: 7 }, tensorOf('i32', [1, 6], x))).toThrow('7 winners of 6');
});
