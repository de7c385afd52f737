/** Rows and columns of panels: what order finds, what groups hold, and when there is nothing to gather. */
import { expect, test } from 'vitest';
import { newArray } from '../../../compiler/ir/tensor.js';
import { weightMatrix, type WeightMatrix } from '../../../compiler/layouts/index.js';
import { randomNumbers } from '../../../test/support/graphs.js';
import { gpus } from '../gpu.js';
import { gatherProducts } from './gather.js';
import { cutRows, NONE, packPanels, sparseCut, type Cut } from './panels.js';

function matrix(rows: number, cols: number, isKept: (m: number, k: number) => boolean): WeightMatrix {
  const data = newArray('f16', rows * cols);
  for (let m = 0; m < rows; m++) for (let k = 0; k < cols; k++) if (isKept(m, k)) data[m * cols + k] = 0x3c00 + ((m * cols + k) % 64);
  return weightMatrix('f16', rows, cols, data);
}
const chances = randomNumbers(1 << 16, 3).map((v) => (v + 1) / 2), chance = (i: number): number => chances[i % chances.length]!;
const blocks = (m: number, k: number): boolean => chance(1009 * Math.floor(m / 32) + Math.floor(k / 32)) < 0.25;
const shuffled = (m: number): number => (m * 77) % 256;
const best = (m: WeightMatrix, height: number, run: number): Cut => cutRows(m, [16, 32, 64], run).filter((c) => c.height === height).reduce((a, b) => (b.share < a.share ? b : a));

test('rows that share columns are found in any order', () => {
  const inOrder = best(matrix(256, 512, blocks), 32, 8), anyhow = best(matrix(256, 512, (m, k) => blocks(shuffled(m), k)), 32, 8);
  expect(anyhow.share).toBe(inOrder.share);
  expect(inOrder.share).toBeLessThan(0.35);
});

test('every row is in one panel, and every non-zero in its columns', () => {
  const m = matrix(130, 300, (r, k) => chance(300 * r + k) < 0.05);
  for (const cut of cutRows(m, [16, 32, 64], 1)) {
    expect(cut.panels.flatMap((p) => [...p.rows]).sort((a, b) => a - b)).toEqual(Array.from({ length: 130 }, (_, i) => i));
    for (const { rows, columns } of cut.panels) expect(columns).toEqual(Array.from({ length: 300 }, (_, k) => k).filter((k) => rows.some((r) => m.bits[r * 300 + k])));
  }
});

test('V:N:M keeps its columns in order', () => {
  const m = matrix(64, 240, (r, k) => k % 10 < 4 && (k % 10 === r % 4 || k % 10 === (r + 1) % 4)), [sparse] = [sparseCut(m, best(m, 64, 1))];
  expect(sparse!.panels[0]!.columns).toEqual(Array.from({ length: 240 }, (_, k) => k).filter((k) => k % 10 < 4));
});

test.each([0.05, 0.2])('groups of unstructured columns of density %d have the pattern', (density) => {
  const m = matrix(64, 400, (r, k) => chance(400 * r + k) < density), cut = best(m, 64, 1), sparse = sparseCut(m, cut)!;
  for (const [i, { rows, columns }] of sparse.panels.entries()) {
    expect(columns.filter((c) => c !== NONE).sort((a, b) => a - b)).toEqual(cut.panels[i]!.columns);
    for (let first = 0; first < columns.length; first += 4) for (const r of rows) {
      expect(columns.slice(first, first + 4).filter((c) => c !== NONE && m.bits[r * 400 + c]).length).toBeLessThanOrEqual(2);
    }
  }
  expect(sparse.panels.reduce((n, p) => n + p.blocks, 0)).toBeLessThanOrEqual(1.25 * cut.panels.reduce((n, p) => n + p.blocks, 0));
});

test('a matrix without non-zeros still has a block', () => {
  const m = matrix(40, 100, () => false), packed = packPanels(m, cutRows(m, [16, 32], 8)[0]!, false);
  expect(packed.starts).toEqual([0, 1, 1, 1]);
  expect(packed.columns).toEqual(Array<number>(16).fill(100));
  expect(packed.tiles.every((b) => b === 0)).toBe(true);
});

test('what is not worth gathering is refused with its number', () => {
  const gather = gatherProducts(gpus.sm_80, 'f16');
  expect(gather.refusals({ batches: 1 }, matrix(128, 512, (r, k) => chance(512 * r + k) < 0.8))).toEqual([{ kernel: 'gather-gemm', reason: 'panels of 16 rows still use 100 % of the columns' }]);
  expect(gather.refusals({ batches: 1 }, matrix(128, 512, blocks))).toEqual([]);
});
