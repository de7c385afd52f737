/** Which rows share a function, and what that is predicted to cost. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pointWindow, tapsOf, type Window } from '../../../../compiler/core/window.js';
import { MAX_ROWS } from '../../../../compiler/kir/stream.js';
import { isas } from '../../isa.js';
import { randomSource } from '../../../../test/support/random-stream.js';
import { costOf } from './cost.js';
import { nonZeros, type StreamProduct } from './product.js';
import { plainRowBlocks, rowBlocks } from './row-blocks.js';

const square: Window = { ...pointWindow, kernel: [2, 2] };

/** Non-zeros by chance, in blocks of so many rows. */
function product({ group, perGroup, depth, density, block, taps, seed }: { readonly group: number; readonly perGroup: number; readonly depth: number; readonly density: number; readonly block: number; readonly taps: boolean; readonly seed: number }): StreamProduct {
  const random = randomSource(seed), window = taps ? square : pointWindow, rows = group * perGroup, columns = tapsOf(window).length * depth, weights = new Float32Array(columns * rows);
  for (let c = 0; c < columns; c++) for (let r = 0; r < rows; r += block) if (random.next() < density) weights.fill(1 + random.next(), c * rows + r, c * rows + Math.min(rows, r + block));
  return { window, group, channels: depth * group, rows, depth, weights };
}
const products = fc.record({
  group: fc.integer({ min: 1, max: 4 }), perGroup: fc.oneof(fc.integer({ min: 1, max: 140 }), fc.constantFrom(1, 16, 31, 32, 62, 64)), depth: fc.integer({ min: 1, max: 40 }),
  density: fc.constantFrom(0, 0.01, 0.03, 0.06, 0.1, 0.5, 1), block: fc.constantFrom(1, 1, 4, 8, 16), taps: fc.boolean(), seed: fc.integer(),
}).map(product);
const densityOf = (p: StreamProduct): number => nonZeros(p) / p.weights.length;

/** Column loads of blocks, counted. */
function loadsOf(p: StreamProduct, blocks: readonly (readonly number[])[]): number {
  const columns = p.weights.length / p.rows;
  let loads = 0;
  for (const block of blocks) for (let c = 0; c < columns; c++) if (block.some((r) => p.weights[c * p.rows + r] !== 0)) loads++;
  return loads;
}

test('every row is in one block, of at most as many as there are registers, all of one group', () => {
  fc.assert(fc.property(products, (p) => {
    for (const blocks of [plainRowBlocks(p, MAX_ROWS).blocks, rowBlocks(p, densityOf(p), MAX_ROWS)]) {
      expect(blocks.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: p.rows }, (_, r) => r));
      for (const block of blocks) {
        expect(block.length).toBeGreaterThan(0);
        expect(block.length).toBeLessThanOrEqual(MAX_ROWS);
        expect(new Set(block.map((r) => Math.floor(r / (p.rows / p.group)))).size).toBe(1);
      }
    }
  }), { seed: 4, numRuns: 300 });
});

test('few columns are counted exactly; clustered rows load no more', () => {
  let clustered = 0;
  fc.assert(fc.property(products, (p) => {
    const plain = plainRowBlocks(p, MAX_ROWS), loads = loadsOf(p, plain.blocks);
    expect(plain.loads).toBe(loads);
    const found = loadsOf(p, rowBlocks(p, densityOf(p), MAX_ROWS));
    expect(found).toBeLessThanOrEqual(loads);
    if (found < loads) clustered++;
  }), { seed: 5, numRuns: 200 });
  expect(clustered).toBeGreaterThan(10);
});

test('blocks of 4, 8 and 16 rows on the same columns are not cut', () => {
  for (const block of [4, 8, 16]) {
    const p = product({ group: 1, perGroup: 192, depth: 120, density: 0.1, block, taps: false, seed: 3 });
    for (const rows of rowBlocks(p, densityOf(p), MAX_ROWS)) expect([rows[0]! % block, rows.length % block]).toEqual([0, 0]);
  }
});

const rows = fc.record({ p: products, form: fc.constantFrom('assembly' as const, 'tables' as const), tiles: fc.integer({ min: 1, max: 50 }), seed: fc.integer() });
test('more non-zeros never cost less', () => {
  const isa = isas['x86-64-v4'];
  fc.assert(fc.property(rows, ({ p, form, tiles, seed }) => {
    const random = randomSource(seed), weights = p.weights.slice();
    let before = costOf(isa, p, tiles, 1, form);
    expect(before.products).toBe(nonZeros(p));
    for (let step = 0; step < 4; step++) {
      for (let i = random.integer(1, 20); i > 0; i--) weights[random.integer(0, weights.length - 1)] = 1;
      const after = costOf(isa, { ...p, weights: weights.slice() }, tiles, 1, form);
      expect(after.nanoseconds).toBeGreaterThanOrEqual(before.nanoseconds * (1 - 1e-12));
      expect([after.products >= before.products, after.bytes >= before.bytes, after.density >= before.density]).toEqual([true, true, true]);
      before = after;
    }
  }), { seed: 6, numRuns: 150 });
});

test('more tiles, phases and narrower vectors cost more, tables less memory and more time', () => {
  const p = product({ group: 1, perGroup: 64, depth: 40, density: 0.3, block: 1, taps: false, seed: 8 }), wide = isas['x86-64-v4'], time = (...rest: readonly [number, number?]): number => costOf(wide, p, ...rest).nanoseconds;
  expect(time(20)).toBeGreaterThan(time(10));
  expect(time(1, 4)).toBeGreaterThan(time(1, 1));
  expect(costOf(isas['x86-64-v3'], p, 10, 1, 'tables').nanoseconds).toBeGreaterThan(costOf(wide, p, 10, 1, 'tables').nanoseconds);
  const [code, tables] = (['assembly', 'tables'] as const).map((form) => costOf(wide, p, 100, 1, form));
  expect([tables!.bytes < code!.bytes, tables!.nanoseconds > code!.nanoseconds]).toEqual([true, true]);
});
