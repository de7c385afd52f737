/** Products of panels with their own columns, run by the emulation: against float64, every pattern in every way that it can be gathered, sizes with every tail. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tensorOf, toNumbers, type DenseTensor } from '../../../compiler/ir/tensor.js';
import { parsePattern, projectSpec } from '../../../compiler/sparsity/parse.js';
import { randomNumbers } from '../../../test/support/graphs.js';
import { depthOf, expected, gatheringRule, graphOfProducts, halves, residual, sizesOf, type ProductCase } from '../../../test/targets/products.js';
import { buildEmulation, emitGraph, hasGxx, replays, runProgram, temporaryFolder } from '../../../test/targets/support.js';
import { gpus, type Gpu } from '../gpu.js';
import { cudaTarget } from '../target.js';
import type { ElementType } from './product.js';

/** What a kernel's name tells: columns in chunks or one by one, sparse or dense tensor cores. */
const ways = { chunks: /^gather-gemm.* chunks/, sparseChunks: /^\d:\d gather-gemm.* chunks/, columns: /^gather.* columns$/, sparseColumns: /^\d:\d gather.* columns$/ } as const;

interface Case extends ProductCase {
  readonly name: string;
  readonly way: keyof typeof ways;
  /** Whether row m of the weights has a non-zero in column k, by name of a pattern or by itself. */
  readonly mask: string | ((m: number, k: number) => boolean);
}

const random = (seed: number): ((i: number) => number) => { const numbers = randomNumbers(1 << 16, seed).map((v) => (v + 1) / 2); return (i) => numbers[i % numbers.length]!; };
const chance = random(7), spread = (m: number): number => (m * 37) % 101;
/** Panels of v rows keep `width` of every `of` columns, of which each row has two. */
const vectors = (v: number, of: number) => (m: number, k: number): boolean => {
  const group = Math.floor(k / of), start = Math.floor(4 * chance(31 * Math.floor(m / v) + group)), place = k % of - start;
  return place >= 0 && place < 4 && (place === m % 4 || place === (m + 1 + (group % 3)) % 4);
};
const blocks = (by: number, bx: number, density: number) => (m: number, k: number): boolean => chance(1009 * Math.floor(m / by) + Math.floor(k / bx)) < density;

const allCases: readonly Case[] = [
  { name: '32x32 blocks', rows: 128, linear: [70, 512], mask: blocks(32, 32, 0.25), way: 'chunks', finished: true },
  { name: '16x8 blocks', rows: 90, linear: [33, 520], mask: blocks(16, 8, 0.15), way: 'chunks' },
  { name: 'blocks of shuffled rows', rows: 101, linear: [40, 512], mask: (m, k) => blocks(16, 8, 0.15)(spread(m), k), way: 'chunks', finished: true },
  { name: 'blocks in which two of four are zero', rows: 64, linear: [40, 512], mask: (m, k) => k % 2 === 0 && blocks(32, 32, 0.3)(m, k), way: 'sparseChunks' },
  { name: '16x1 blocks', rows: 96, linear: [45, 400], mask: blocks(16, 1, 0.1), way: 'columns', finished: true },
  { name: '16x1 blocks', rows: 96, linear: [45, 400], mask: blocks(16, 1, 0.1), way: 'sparseColumns' },
  { name: '4x4 blocks', rows: 130, linear: [33, 300], mask: blocks(4, 4, 0.1), way: 'sparseColumns', finished: true },
  { name: 'V:N:M 64:2:10', rows: 128, linear: [64, 520], mask: vectors(64, 10), way: 'sparseColumns' },
  { name: 'V:N:M 32:2:8, shuffled', rows: 101, linear: [130, 260], mask: (m, k) => vectors(32, 8)(spread(m), k), way: 'sparseColumns', finished: true },
  { name: 'product of graphs', rows: 256, linear: [48, 512], mask: 'rbgp4(4x16:0.5,16x1,4x32:0.5,1x1)', way: 'columns' },
  { name: 'product of graphs', rows: 128, linear: [40, 512], mask: 'rbgp4(4x16:0.5,4x1,4x8:0.5,2x4)', way: 'columns', finished: true },
  { name: 'unstructured', rows: 130, linear: [50, 333], mask: (m, k) => chance(m * 333 + k) < 0.03, way: 'columns', finished: true },
  { name: 'unstructured', rows: 70, linear: [50, 333], mask: (m, k) => chance(m * 333 + k) < 0.2, way: 'sparseColumns', finished: true },
  { name: 'few columns, many weights', rows: 40, linear: [9, 6000], mask: (m, k) => blocks(8, 1, 0.1)(spread(m), k), way: 'columns', finished: true },
  { name: 'a depth that is no multiple of a chunk', rows: 64, linear: [33, 333], mask: blocks(32, 32, 0.25), way: 'chunks' },
  { name: 'rows without weights', rows: 140, linear: [20, 256], mask: (m, k) => m >= 70 && m < 75 && k > 100, way: 'chunks', finished: true },
  { name: 'no weights at all', rows: 20, linear: [5, 200], mask: () => false, way: 'chunks', finished: true },
  { name: 'one weight', rows: 33, linear: [7, 200], mask: (m, k) => m === 21 && k === 199, way: 'columns' },
  { name: 'one row', rows: 1, linear: [1, 300], mask: (_, k) => k % 7 === 0, way: 'columns' },
  { name: 'blocks of input channels', rows: 64, window: { image: [2, 9, 7, 64], kernel: [3, 3], stride: 1, pad: 1 }, mask: (m, k) => blocks(32, 16, 0.3)(m, k % 64), way: 'chunks', finished: true },
  { name: 'whole taps', rows: 40, window: { image: [1, 8, 8, 24], kernel: [3, 3], stride: 2, pad: 1 }, mask: (_, k) => [1, 4, 5].includes(Math.floor(k / 24)), way: 'chunks' },
  { name: 'single columns of windows', rows: 24, window: { image: [3, 5, 5, 30], kernel: [2, 2], stride: 1, pad: 0 }, mask: (m, k) => chance(1000 + m * 120 + k) < 0.2, way: 'sparseColumns' },
];

/** Weights [depth][rows] or as of a convolution. */
function weights(c: Case, seed: number): DenseTensor {
  const depth = depthOf(c), all = halves(depth * c.rows, seed).map((v) => v || 0.5);
  const bits = typeof c.mask === 'string' ? projectSpec({ rows: c.rows, cols: depth, data: Float32Array.from(halves(c.rows * depth, seed + 1)) }, parsePattern(c.mask), seed).mask.bits : undefined;
  const isKept = (m: number, k: number): boolean => (bits ? bits[m * depth + k] === 1 : (c.mask as Exclude<Case['mask'], string>)(m, k));
  for (let k = 0; k < depth; k++) for (let m = 0; m < c.rows; m++) if (!isKept(m, k)) all[k * c.rows + m] = 0;
  return tensorOf('f32', c.linear ? [depth, c.rows] : [...c.window!.kernel, c.window!.image[3], c.rows], all);
}

interface Setting {
  readonly type: ElementType;
  readonly gpu: Gpu;
  readonly cases: readonly Case[];
  /** Kernels, and what their names and reasons contain at least so often. */
  readonly ways: Readonly<Record<Case['way'], RegExp>>;
  readonly told: Readonly<Record<string, number>>;
}
const onWarpgroups = { ...ways, chunks: /^gather-wgmma.* chunks/, sparseChunks: /^\d:\d gather-wgmma.* chunks/ };
const settings: readonly Setting[] = [
  ...(['f16', 'bf16', 'f32'] as const).map((type): Setting => ({ type, gpu: { ...gpus.sm_80, multiprocessors: 8 }, cases: allCases, ways, told: { shares: 1, '64x': 4, together: 3 } })),
  // warpgroups gather chunks only
  ...(['f16', 'f32'] as const).map((type): Setting => ({ type, gpu: { ...gpus.sm_90a, multiprocessors: 8 }, cases: allCases.filter((c) => c.way.toLowerCase().includes('chunks')), ways: onWarpgroups, told: { warpgroups: 5 } })),
];

describe.skipIf(!hasGxx).each(settings.map((s) => [s.type, s.gpu.arch, s] as const))('%s on %s', (type, _, { gpu, cases, ways: wanted, told }) => {
  const folder = temporaryFolder(), tensors = cases.map((c, i) => weights(c, 10 * i + 1)), { graph, inputs } = graphOfProducts(cases, tensors);
  const { plan, files } = emitGraph(graph, { ...cudaTarget(), kernels: [gatheringRule(type, cases.map((c) => wanted[c.way]), gpu)] });
  let runs: readonly (readonly DenseTensor[])[] = [], conflicts = -1;
  beforeAll(() => {
    const program = buildEmulation(files, folder.path, 'model');
    runs = ['0', '1', '2'].map((seed) => runProgram(program, plan, inputs, { SPC_EMU_SEED: seed }));
    conflicts = replays(program, inputs.length);
  }, 240_000);
  afterAll(() => folder.dispose());

  test('every product is gathered', () => {
    expect(plan.steps.map((s) => s.choice.kernel)).toEqual(cases.map((c) => expect.stringMatching(wanted[c.way]) as string));
    const texts = plan.steps.map(({ choice }) => `${choice.kernel}: ${choice.reason}`);
    for (const [part, least] of Object.entries(told)) expect(texts.filter((t) => t.includes(part)).length, texts.join('; ')).toBeGreaterThanOrEqual(least);
  });
  test.each(cases.map((c, i) => [`${c.name}, ${c.way}: ${sizesOf(c)}`, c, i] as const))('%s', (_, c, i) => {
    const { y, magnitude } = expected(c, toNumbers(inputs[plan.inputs.findIndex((p) => p.name === `x${i}`)]!), toNumbers(tensors[i]!), c.finished ? toNumbers(residual(c, i)) : undefined), got = toNumbers(runs[0]![i]!);
    // operands are rounded to 8 bits where they are bf16
    const unit = type === 'bf16' ? 2 ** -7 : 2 ** -22;
    got.forEach((v, at) => expect(Math.abs(v - y[at]!), `element ${at}`).toBeLessThanOrEqual(magnitude[at]! * unit + 1e-6));
  });
  test('every schedule gives the same bits', () => {
    for (const r of runs) expect(r.map((t) => Buffer.from(t.data.buffer).toString('hex'))).toEqual(runs[0]!.map((t) => Buffer.from(t.data.buffer).toString('hex')));
  });
  test('no banks conflict', () => { expect(conflicts).toBe(0); });
});
