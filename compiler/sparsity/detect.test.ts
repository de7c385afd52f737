/** The detector finds again what the projector, the generators and people make; the bits it reports are checked by hand. */
import { describe, expect, test } from 'vitest';
import { randomTensor, xoshiro128 } from '../io/random.js';
import { drawComplementary } from './complementary.js';
import { detect } from './detect.js';
import { fullMask, kronecker, newMask, permuted, supportOf, type Mask, type Matrix } from './matrix.js';
import { formatPattern } from './pattern.js';
import { parsePattern, projectSpec } from './parse.js';

const random = (rows: number, cols: number, seed: number, kernel = 1): Matrix => ({ rows, cols, kernel, data: randomTensor({ dtype: 'f32', shape: [rows, cols] }, seed).data as Float32Array });

const simple = ['unstructured:0.5', 'unstructured:0.75', 'unstructured:0.95', 'block:4x1:0.8', 'block:16x1:0.9', 'block:5x7:0.5', 'row-balanced:0.9', 'column-balanced:0.9', 'filter:0.5', 'shape:0.5',
  '2:4', '1:4', '4:8', '1:3', '2:4:y', 'complementary:4', 'complementary:8', 'transposable:2:4', 'complementary-balanced:4', 'part-x&y:16:0.75'];
const talk = ['block-x:4:0.75', 'block-y:4:0.75', 'block-xy:4:0.75', 'part-x:16:0.75', 'part-y:16:0.75', 'part-xy:4:0.75', 'block-x-part-x:4:4:0.75', 'block-y-part-x:4:16:0.75', 'block-xy-part-x:4:4:0.75',
  'block-x-part-y:4:16:0.75', 'block-x-part-xy:4:4:0.75'];
const composed = ['nest(block:8x8:0.5,2:4)', 'nest(block:16x16:0.5,unstructured:0.5)', 'nest(filter:0.5,1:4)', 'sum(block:8x8:0.9,unstructured:0.95)', 'sum(block:16x16:0.9,block:4x4:0.9)'];

describe.each([[64, 96], [128, 192], [128, 320]])('%ix%i', (rows, cols) => {
  const matrix = random(rows, cols, 11);
  test.each(['rbgp4:0.75', 'rbgp4:0.9'])('%s is found again', (text) => {
    const { mask } = projectSpec(matrix, parsePattern(text), 3), { pattern } = detect(mask)[0]!;
    // a sparse factor may happen to be a product itself, so the chain may be finer
    expect(pattern.kind === 'graph' && pattern.factors.reduce(kronecker).bits).toEqual(mask.bits);
  });
  test.each([...simple, ...talk, ...(rows < 100 ? [] : composed)])('%s is found again', (text) => {
    const { pattern, mask } = projectSpec(matrix, parsePattern(text), 3);
    expect(formatPattern(detect(mask)[0]!.pattern)).toBe(formatPattern(pattern));
  });
});

test('sizes that do not divide: blocks and groups over the edge', () => {
  const matrix = random(61, 70, 5);
  for (const text of ['2:4', 'complementary:4', 'block:4x1:0.8', 'block-x-part-y:4:8:0.75', 'row-balanced:0.8', 'part-xy:4:0.75']) {
    const { pattern, mask } = projectSpec(matrix, parsePattern(text), 1);
    expect(formatPattern(detect(mask)[0]!.pattern)).toBe(formatPattern(pattern));
  }
});

test('channels and kernels of a convolution, columns in crs order', () => {
  const matrix = random(32, 16 * 9, 5, 9);
  for (const [text, name] of [['channel:0.5', 'channels removed'], ['kernel:0.75', 'kernels removed']] as const) {
    const { pattern, mask } = projectSpec(matrix, parsePattern(text), 1), [best] = detect(mask);
    expect([formatPattern(best!.pattern), best!.name]).toEqual([formatPattern(pattern), name]);
  }
});

test('removed filters and channels at once are a product of two graphs', () => {
  const rows: Mask = { rows: 24, cols: 1, bits: Uint8Array.from({ length: 24 }, (_, i) => (i % 5 < 3 ? 1 : 0)) };
  const cols: Mask = { rows: 1, cols: 40, bits: Uint8Array.from({ length: 40 }, (_, i) => (i % 7 < 3 ? 1 : 0)) };
  expect(detect(kronecker(rows, cols))[0]!.name).toBe('rows and columns removed');
});

describe('graph products', () => {
  const product = (text: string, rows: number, cols: number): Mask => projectSpec(random(rows, cols, 1), parsePattern(text), 9).mask;
  const changed = (m: Mask, of: 0 | 1, share: number, seed: number): Mask => {
    const next = xoshiro128(seed);
    return { ...m, bits: m.bits.map((b) => (b === of && next() / 2 ** 32 < share ? 1 - b : b)) };
  };
  const text = 'rbgp4(16x16:0.5,2x2,8x8:0.5,4x4)', clean = product(text, 1024, 1024), chain = /^graph product S\(16,16\):0.500 x K\(2,2\) x S\(8,8\):0.500 x K\(4,4\)$/;

  test('the four factors come back', () => { expect(detect(clean)[0]!.name).toMatch(chain); });
  test('also with 1 % accidental zeros', () => {
    const [best] = detect(changed(clean, 1, 0.01, 4));
    expect(best!.name).toMatch(chain);
    expect(best!.utilisation).toBeCloseTo(0.99, 2);
  });
  test('stray non-zeros become a second, unstructured part', () => {
    const [best] = detect(changed(clean, 0, 0.003, 4));
    expect(best!.name).toMatch(/^graph product .* \+ unstructured$/);
    expect(best!.pattern.kind).toBe('sum');
  });
  test('noise is no product', () => {
    for (let seed = 1; seed <= 5; seed++) expect(detect(changed(newMask(128, 128), 0, 0.1, seed))[0]!.name).toBe('unstructured');
  });
});

test('accidents are not taken for rules: random masks are unstructured', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const { mask } = projectSpec(random(16 + (seed % 9), 16 + (seed % 7), seed), parsePattern('unstructured:0.7'), 1);
    expect(detect(mask)[0]!.name, `seed ${seed}`).toBe('unstructured');
  }
});

test('bits of 2:4: values, log2 6 for each group, and the price of a rule', () => {
  const { mask } = projectSpec(random(32, 32, 2), parsePattern('2:4'), 1), [best] = detect(mask, { value: 8 });
  expect(best!.bits).toBeCloseTo(512 * 8 + 256 * Math.log2(6) + 16, 6);
  expect(best!.utilisation).toBe(1);
});

test('three candidates, best first, dense and unstructured compared alike', () => {
  const { mask } = projectSpec(random(64, 64, 2), parsePattern('block:4x4:0.75'), 1), found = detect(mask);
  expect(found.length).toBeLessThanOrEqual(3);
  expect(found.map((c) => c.bits)).toEqual(found.map((c) => c.bits).sort((a, b) => a - b));
  expect(found.map((c) => c.name)).toContain('4x4 blocks');
});

test.each([[fullMask(8, 8), 'dense'], [newMask(8, 8), 'empty'], [newMask(0, 5), 'empty'], [fullMask(1, 1), 'dense'], [newMask(1, 1), 'empty']])('degenerate %#', (mask, name) => {
  expect(detect(mask)[0]!.name).toBe(name);
});

test('accidental zeros inside blocks cost padding, not the pattern', () => {
  const matrix = random(64, 64, 2), { mask } = projectSpec(matrix, parsePattern('block:8x8:0.75'), 1);
  const holes = { ...mask, bits: mask.bits.map((b, i) => (i % 101 === 0 ? 0 : b)) }, [best] = detect(holes);
  expect(best!.name).toBe('8x8 blocks');
  expect(best!.utilisation).toBeGreaterThan(0.98);
  expect(best!.utilisation).toBeLessThan(1);
});

describe('permuted structure, on request', () => {
  const shuffled = (mask: Mask, seed: number): Mask => {
    const next = xoshiro128(seed), order = Array.from({ length: mask.rows }, (_, i) => i).sort(() => next() - 2 ** 31);
    return { ...mask, bits: permuted(mask, mask.bits, order) };
  };
  test('blocks of rows', () => {
    const mask = shuffled(projectSpec(random(64, 128, 2), parsePattern('block:8x1:0.8'), 1).mask, 5);
    expect(detect(mask, { permuted: true })[0]!.name).toBe('8x1 blocks, permuted');
    expect(detect(mask)[0]!.name).not.toContain('8x1');
  });
  test('complementary filters', () => {
    const mask = shuffled(drawComplementary(64, 256, 4, xoshiro128(1)), 5);
    expect(detect(mask, { permuted: true })[0]!.name).toMatch(/complementary 1:4.*, permuted/);
  });
});

test('the support of a matrix leaves out what is within the tolerance', () => {
  expect([...supportOf({ rows: 1, cols: 4, data: Float32Array.of(0, -0, 1e-9, NaN) }, 1e-8).bits]).toEqual([0, 0, 0, 1]);
});
