import { expect, test } from 'vitest';
import { passingActivations, readingConstants } from './memory.js';

const MIB = 1 << 20;

test('more takes longer, and far more than proportionally where caches end', () => {
  const sizes = Array.from({ length: 40 }, (_, i) => (i + 1) * 2 * MIB), times = sizes.map(passingActivations);
  times.slice(1).forEach((t, i) => expect(t).toBeGreaterThan(times[i]!));
  expect(passingActivations(64 * MIB) / passingActivations(MIB)).toBeGreaterThan(2 * 64);
});

test('constants of a model that stays in the last cache come fast, others from memory', () => {
  expect(readingConstants(MIB, MIB)).toBeCloseTo(MIB / 80);
  expect(readingConstants(MIB, 24 * MIB)).toBeCloseTo(MIB / 54);
  expect(readingConstants(MIB, 100 * MIB)).toBeCloseTo(MIB / 28);
  expect(readingConstants(0, 0)).toBe(0);
});
