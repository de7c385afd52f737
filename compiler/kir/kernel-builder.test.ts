import { expect, test } from 'vitest';
import { KernelBuilder } from './kernel-builder.js';

test('names are fresh, also where one base is another with a number', () => {
  const k = new KernelBuilder();
  const names = ['x', 'x1', 'x', 'x', 'x1', 'x11', 'x1', 'y'].map((base) => k.name(base));
  expect(names.slice(0, 2)).toEqual(['x', 'x1']);
  expect(new Set(names).size).toBe(names.length);
});
