import fc from 'fast-check';
import { expect, test } from 'vitest';
import { placeInArena, type Lifetime } from './memory.js';

const lifetimes = fc.array(fc.record({ bytes: fc.integer({ min: 0, max: 5000 }), from: fc.integer({ min: 0, max: 20 }), length: fc.integer({ min: 0, max: 6 }) }), { maxLength: 30 })
  .map((xs) => xs.map((x, id): Lifetime => ({ id, bytes: x.bytes, from: x.from, to: x.from + x.length })));

test('tensors that live at the same time never overlap, and all are aligned', () => {
  fc.assert(fc.property(lifetimes, (items) => {
    const { offsets, bytes } = placeInArena(items, 64);
    for (const a of items) {
      const start = offsets.get(a.id)!;
      expect(start % 64).toBe(0);
      expect(start + a.bytes).toBeLessThanOrEqual(bytes);
      for (const b of items) {
        if (a.id >= b.id || a.from > b.to || b.from > a.to || a.bytes === 0 || b.bytes === 0) continue;
        const other = offsets.get(b.id)!;
        expect(start + a.bytes <= other || other + b.bytes <= start).toBe(true);
      }
    }
  }), { seed: 7, numRuns: 300 });
});

test('a chain of tensors needs two of them at a time', () => {
  const items = Array.from({ length: 10 }, (_, id): Lifetime => ({ id, bytes: 1024, from: id, to: id + 1 }));
  expect(placeInArena(items, 64).bytes).toBe(2048);
});

test('nothing to place needs no memory', () => {
  expect(placeInArena([], 64)).toEqual({ offsets: new Map(), bytes: 0 });
});
