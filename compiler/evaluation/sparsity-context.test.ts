import { expect, test } from 'vitest';
import { graphOf, randomTensor } from '../../test/support/graphs.js';
import { tensorOf, toNumbers } from '../ir/tensor.js';
import { rangeOf, withNoise } from './noise.js';
import { sparsityContext } from './sparsity-context.js';

const product = { transA: false, transB: false, out: 'f32' } as const;

test('weights are counted once, their work as often as it is done', () => {
  const graph = graphOf((g) => {
    const x = g.input('x', { dtype: 'f32', shape: [10, 2] }), w = g.constant(tensorOf('f32', [2, 2], [1, 0, 0, 0]));
    g.origin = { node: 'first', op: 'MatMul' };
    const y = g.op('matmul', [x, w], product)[0]!;
    g.origin = { node: 'second', op: 'MatMul' };
    return g.op('matmul', [y, w], product)[0]!;
  });
  expect(sparsityContext(graph, 99)).toMatchObject({ nonZeros: 1, elements: 4, density: 0.25, macs: 80, nonZeroMacs: 20, fileBytes: 99, weightBytes: 16, weights: [{ op: 'MatMul', shape: [2, 2] }] });
});

test('quantised weights: the zero point is zero; a product of activations is dense', () => {
  const graph = graphOf((g) => {
    const x = g.input('x', { dtype: 'f32', shape: [3, 4] }), q = g.constant(tensorOf('u8', [4, 2], [128, 128, 7, 128, 128, 128, 130, 128]));
    const w = g.op('dequantize', [q, g.constant(tensorOf('f32', [], [0.5])), g.constant(tensorOf('u8', [], [128]))], { out: 'f32' })[0]!;
    const y = g.op('matmul', [x, w], product)[0]!;
    return g.op('matmul', [y, y], { ...product, transA: true });
  });
  const context = sparsityContext(graph, 0);
  expect([context.nonZeros, context.elements]).toEqual([2, 8]);
  expect(context.macs - context.nonZeroMacs).toBe(3 * 4 * 2 * 0.75);
});

test('noise replaces the share that it should, always the same, within the range', () => {
  const t = randomTensor('f32', [40, 50], 1), range = { low: 5, high: 6 }, noisy = withNoise(t, 0.3, range, 7);
  const replaced = toNumbers(noisy).filter((x) => x >= 5);
  expect(Math.abs(replaced.length / 2000 - 0.3)).toBeLessThan(0.04);
  expect(replaced.every((x) => x < 6)).toBe(true);
  const original = toNumbers(t);
  expect(toNumbers(noisy).every((x, i) => x >= 5 || x === original[i])).toBe(true);
  expect(withNoise(t, 0.3, range, 7)).toEqual(noisy);
  expect(withNoise(t, 0, range, 7)).toBe(t);
  const indices = tensorOf('i64', [2], [1, 2]);
  expect(withNoise(indices, 1, range, 7)).toBe(indices);
  expect(rangeOf([tensorOf('f32', [2], [1, -3]), tensorOf('f32', [1], [2])])).toEqual({ low: -3, high: 2 });
});
