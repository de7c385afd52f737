/** Projections against numbers from an independent prototype, against exhaustive search, and as properties. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { countOnes, energyKept, fullMask, type Matrix } from './matrix.js';
import { formatPattern, leaf, type Pattern } from './pattern.js';
import { parsePattern, projectSpec } from './parse.js';
import { project } from './project.js';
import { satisfies } from './satisfies.js';

/** Gaussian numbers of a linear congruential generator, the one that the expected numbers were made with. */
function gaussian(rows: number, cols: number, seed = 42): Matrix {
  let state = seed;
  const uniform = (): number => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return state / 2 ** 32; };
  return { rows, cols, data: Float64Array.from({ length: rows * cols }, () => Math.sqrt(-2 * Math.log(uniform() + 1e-12)) * Math.cos(2 * Math.PI * uniform())) };
}

describe('share of the squared norm kept, 64x64 Gaussian, 75 % sparse, blocks of 4, partitions of 16', () => {
  const matrix = gaussian(64, 64);
  test.each([
    ['unstructured:0.75', 0.7240], ['part-xy:4:0.75', 0.6934], ['part-x:16:0.75', 0.6921], ['part-y:16:0.75', 0.6920], ['complementary:4', 0.6206],
    ['block-x:4:0.75', 0.4911], ['block-y:4:0.75', 0.4954], ['block-x-part-y:4:16:0.75', 0.4744], ['block-y-part-x:4:16:0.75', 0.4767],
    ['block-x-part-xy:4:4:0.75', 0.4717], ['block-x-part-x:4:4:0.75', 0.4386], ['block-xy:4:0.75', 0.3681], ['block-xy-part-x:4:4:0.75', 0.3382], ['2:4', 0.8672],
    ['complementary-balanced:4', 0.6151],
  ])('%s', (text, expected) => {
    const { pattern, mask } = projectSpec(matrix, parsePattern(text), 1);
    expect(energyKept(matrix, mask)).toBeCloseTo(expected, 4);
    expect(satisfies(mask, pattern)).toBe(true);
    expect(countOnes(mask.bits)).toBe(text === '2:4' ? 2048 : 1024);
  });

  test('reordering filters makes complementary packs keep more, and columns 2:4', () => {
    for (const [text, least] of [['complementary:4', 0.665], ['2:4', 0.89]] as const) {
      const { pattern, mask } = projectSpec(matrix, parsePattern(`perm(${text})`), 1);
      expect(energyKept(matrix, mask)).toBeGreaterThan(least);
      expect(satisfies(mask, pattern)).toBe(true);
    }
  });
});

const spec = (text: string, m: Matrix, seed = 1): Pattern => parsePattern(text).resolve(m, seed);
const texts = ['unstructured:0.6', '2:4', '1:3', '2:4:y', 'block:2x3:0.5', 'part-xy:3:0.6', 'block-x-part-xy:2:2:0.5', 'row-balanced:0.5', 'column-balanced:0.5', 'filter:0.5',
  'shape:0.5', 'complementary:4', 'nest(block:4x4:0.5,2:4)', 'nest(block:3x5:0.5,unstructured:0.5)', 'sum(block:4x4:0.7,unstructured:0.8)', 'sum(block:4x4:0.7,1:4)'];

test('a projection is in its pattern, and projecting again changes nothing, for all sizes', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 13 }), fc.integer({ min: 1, max: 13 }), fc.integer({ min: 1 }), fc.constantFrom(...texts), (rows, cols, seed, text) => {
    const m = gaussian(rows, cols, seed);
    let pattern: Pattern;
    try { pattern = spec(text, m); } catch { return; } // nothing would be left on so small a matrix
    const mask = project(m, pattern);
    expect(satisfies(mask, pattern)).toBe(true);
    const again = project({ ...m, data: m.data.map((x, i) => x * mask.bits[i]!) }, pattern);
    expect(again.bits.every((b, i) => b >= mask.bits[i]! || m.data[i] === 0)).toBe(true);
  }), { seed: 3, numRuns: 300 });
});

test('leaves and nests keep at least as much as any other mask of the pattern', () => {
  // all 2^12 masks of a 3x4 matrix
  for (const text of ['unstructured:0.5', 'part-x:2:0.5', 'block:1x2:0.5', '2:3:y', 'part-xy:2:0.5', 'nest(leaf:1x2:3x1:2,1:2)', 'nest(leaf:3x2:1x2:1,1:3:y)']) {
    for (let seed = 1; seed <= 3; seed++) {
      const m = gaussian(3, 4, seed), pattern = spec(text, m);
      let best = 0;
      for (let code = 0; code < 4096; code++) {
        const mask = { rows: 3, cols: 4, bits: Uint8Array.from({ length: 12 }, (_, i) => (code >> i) & 1) };
        if (satisfies(mask, pattern)) best = Math.max(best, energyKept(m, mask));
      }
      expect(energyKept(m, project(m, pattern)), `${text} seed ${seed}`).toBeCloseTo(best, 12);
    }
  }
});

test('transposable 2:4 is exact, and the general matching comes within 2 % of it', () => {
  for (let seed = 1; seed <= 5; seed++) {
    const m = gaussian(4, 4, seed), pattern = spec('transposable:2:4', m);
    let best = 0, legal = 0;
    for (let code = 0; code < 65536; code++) {
      const mask = { rows: 4, cols: 4, bits: Uint8Array.from({ length: 16 }, (_, i) => (code >> i) & 1) };
      if (countOnes(mask.bits) !== 8 || !satisfies(mask, pattern)) continue;
      legal++;
      best = Math.max(best, energyKept(m, mask));
    }
    expect(legal).toBe(90);
    expect(energyKept(m, project(m, pattern))).toBeCloseTo(best, 12);
  }
});

test('double rules keep exactly what both rules say', () => {
  for (const text of ['part-x&y:4:0.75', 'part-x&y:8:0.5', 'both(3:8,3:8:y)', 'complementary-balanced:8', 'complementary-balanced:5']) {
    const m = gaussian(40, 40, 7), pattern = spec(text, m);
    expect(satisfies(project(m, pattern), pattern), text).toBe(true);
  }
});

test('ties go to the lowest index', () => {
  const m: Matrix = { rows: 2, cols: 4, data: new Float32Array(8).fill(-1) };
  expect([...project(m, spec('2:4', m)).bits]).toEqual([1, 1, 0, 0, 1, 1, 0, 0]);
  expect([...project(m, spec('unstructured:0.5', m)).bits]).toEqual([1, 1, 1, 1, 0, 0, 0, 0]);
  expect([...project(m, spec('complementary:2', m)).bits]).toEqual([1, 1, 1, 1, 0, 0, 0, 0]);
});

test('a finer constraint keeps less', () => {
  const m = gaussian(48, 48, 5), kept = (text: string): number => energyKept(m, project(m, spec(text, m)));
  const ordered = ['dense', 'unstructured:0.75', 'sum(block:4x4:0.96,unstructured:0.79)', 'part-x:16:0.75', 'part-x:8:0.75', '1:4', 'block-x-part-x:4:4:0.75', 'block-xy-part-x:4:4:0.75'].map(kept);
  expect(ordered).toEqual([...ordered].sort((a, b) => b - a));
  expect(ordered[0]).toBe(1);
});

test('a graph is the mask that it is, whatever the weights', () => {
  const m = gaussian(4, 6), checker = { rows: 2, cols: 2, bits: Uint8Array.of(1, 0, 0, 1) }, pattern: Pattern = { kind: 'graph', factors: [checker, fullMask(2, 3)] };
  expect([...project(m, pattern).bits]).toEqual([1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
  expect(() => project(gaussian(4, 4), pattern)).toThrow('4x6');
});

test('weights that are no numbers are kept', () => {
  const m: Matrix = { rows: 1, cols: 4, data: Float32Array.of(1, NaN, 5, -Infinity) };
  expect([...project(m, leaf([1, 1], [1, 4], 2)).bits]).toEqual([0, 1, 0, 1]);
});

test('text of leaves and what is made of them reads back', () => {
  const m = gaussian(24, 24);
  for (const text of [...texts, 'both(2:4,2:4:y)']) {
    const pattern = spec(text, m);
    expect(spec(formatPattern(pattern), m)).toEqual(pattern);
  }
});

test.each([
  ['', 'no pattern'], ['2:0', 'group'], ['5:4', 'keeps more'], ['unstructured', 'arguments'], ['unstructured:1', 'sparsity'], ['unstructured:90%', 'sparsity'], ['block:4:0.5', 'size'],
  ['nest(2:4)', 'arguments'], ['perm(block:2x2', 'no pattern'], ['complementary:0', 'number of filters'], ['__proto__:1', 'no pattern'], ['rbgp4(4x4:2)', 'density'], ['leaf:1x1:1x4:2:min', 'leaf'],
])('%s is refused', (text, why) => {
  expect(() => parsePattern(text)).toThrow(why);
});

test.each([
  ['unstructured:0.9999', 'nothing would be left'], ['both(2:4,1:4:y)', 'of a tile'], ['both(unstructured:0.5,2:4)', 'groups along'], ['rbgp4(8x8:0.5,2x2)', 'multiply to 16x16'],
  ['sum(sum(2:4,2:4),2:4)', 'must be blocks'],
])('%s does not fit 8x8', (text, why) => {
  expect(() => parsePattern(text).resolve({ rows: 8, cols: 8 }, 1)).toThrow(why);
});
