import { expect, test } from 'vitest';
import { tensorOf } from '../../compiler/ir/tensor.js';
import { compareTensors } from './compare.js';

const close = { relative: 1e-3, absolute: 1e-6 };
const f = (...x: number[]): ReturnType<typeof tensorOf> => tensorOf('f32', [x.length], x);

test('floats may differ by absolute + relative * |expected|, and by no more', () => {
  expect(compareTensors(f(100.09, 1e-7), f(100, 0), close).problem).toBeUndefined();
  expect(compareTensors(f(100.2), f(100), close).problem).toMatch(/element 0 is 100\.19.*, expected 100/);
  expect(compareTensors(f(0, 3e-6), f(0, 0), close).problem).toMatch(/element 1/);
  expect(compareTensors(f(100.2), f(100), close).maxError).toBeCloseTo(0.2, 3);
});

test('NaN equals NaN only, infinities themselves only', () => {
  expect(compareTensors(f(NaN, Infinity, -Infinity), f(NaN, Infinity, -Infinity), close).problem).toBeUndefined();
  for (const [a, e] of [[NaN, 0], [0, NaN], [Infinity, -Infinity], [Infinity, 3e38], [1, Infinity]]) {
    expect(compareTensors(f(a!), f(e!), close).problem).toBeDefined();
  }
  expect(compareTensors(f(-0), f(0), close).problem).toBeUndefined();
});

test('integers, element types and shapes must be the same', () => {
  expect(compareTensors(tensorOf('i32', [2], [1, 1000000]), tensorOf('i32', [2], [1, 1000001]), close).problem).toBeDefined();
  expect(compareTensors(tensorOf('i64', [1], [5]), tensorOf('i32', [1], [5]), close).problem).toBe('is i64[1], expected i32[1]');
  expect(compareTensors(tensorOf('f32', [1, 2], [1, 2]), tensorOf('f32', [2], [1, 2]), close).problem).toBe('is f32[1,2], expected f32[2]');
});

test('half-precision elements are compared by value', () => {
  expect(compareTensors(tensorOf('f16', [1], [1.001]), tensorOf('f16', [1], [1]), close).problem).toBeUndefined();
  expect(compareTensors(tensorOf('f16', [1], [1.01]), tensorOf('f16', [1], [1]), close).problem).toBeDefined();
});
