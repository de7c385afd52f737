/** Compressed rows, several side by side: built and run against the reference evaluator and float64; what zeros do; what is chosen; threads. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { pointWindow } from '../../../../compiler/core/window.js';
import { add, arg, f32, max, mul, unary } from '../../../../compiler/kir/build.js';
import { buildPlan } from '../../../../compiler/plan/build.js';
import { randomSource } from '../../../../test/support/random-stream.js';
import { canRun, runTiles, TileCases, tileBuilds, worstDifference } from '../../../../test/support/tile-harness.js';
import { cpuTarget } from '../../target.js';
import { sparseRows } from '../sparse-rows.js';
import { packRows } from './pack.js';
import { csrRule } from './rule.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-csr-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const random = randomSource(51), matmul = { transA: false, transB: false, out: 'f32' } as const;

/** [column][row]; `density` of each row. */
function weights(depth: number, n: number, density: (row: number) => number): Float32Array {
  return Float32Array.from({ length: depth * n }, (_, i) => (random.next() < density(i % n) ? random.next() * 2 - 1 : 0));
}

const matrices: readonly (readonly [name: string, depth: number, n: number, density: (row: number) => number])[] = [
  ['a tenth', 96, 130, () => 0.1], ['few rows', 300, 3, () => 0.2], ['one row', 50, 1, () => 0.3], ['one column', 1, 40, () => 0.4], ['whole groups', 64, 32, () => 0.3], ['very sparse', 200, 90, () => 0.01],
  ['empty rows', 70, 50, (r) => (r % 3 ? 0 : 0.3)], ['full rows among empty ones', 80, 45, (r) => (r % 9 ? 0 : 1)], ['only what is beyond the group', 33, 16, (r) => (r ? 0.5 : 0)], ['wide', 70_000, 5, () => 0.002],
];

function products(): TileCases {
  const c = new TileCases();
  for (const [name, depth, n, density] of matrices) {
    for (const vectors of depth > 1000 ? [2] : [1, 2, 3]) {
      const w = c.constant([depth, n], weights(depth, n, density)), bias = c.constant([n]).id, other = c.input([vectors, n]).id;
      const epilogues = [
        undefined, { expr: max(add(arg(0, 'f32'), arg(1, 'f32')), f32(0)), inputs: [bias] },
        { expr: add(mul(unary('tanh', arg(0, 'f32')), arg(1, 'f32')), arg(2, 'f32')), inputs: [bias, other] },
      ];
      c.op(`${name}, ${vectors}`, 'matmul', [c.input(vectors === 2 ? [2, 1, depth] : [vectors, depth]), w], matmul, undefined, vectors === 2 ? undefined : epilogues[(depth + vectors) % 3]);
    }
  }
  return c;
}

describe.each(tileBuilds)('$isa with $compiler', (build) => {
  test.skipIf(!canRun(build))('products', () => {
    const runs = runTiles(join(folder, `${build.isa} ${build.compiler}`), products(), build, [csrRule([1, 1, 1, 1])]);
    expect(runs.filter((r) => worstDifference(r) > 1e-5).map((r) => `${r.name}: ${worstDifference(r)}`)).toEqual([]);
    expect([...new Set(runs.map((r) => r.step.choice.kernel))].sort()).toEqual(['csr 1x16', 'csr 2x8', 'csr 3x8']);
  }, 60_000);
});

test.skipIf(!canRun(tileBuilds[0]!)).each([Infinity, -Infinity, NaN])('%s reaches the rows that have a weight for it', (special) => {
  const c = new TileCases(), depth = 40, n = 50, w = weights(depth, n, () => 0.3), rows = new Set([0, 17, 49]);
  for (let r = 0; r < n; r++) w[3 * n + r] = rows.has(r) ? 1 : 0;
  c.op('', 'matmul', [c.input([1, depth]), c.constant([depth, n], w)], matmul);
  (c.inputs[0]!.kind === 'dense' ? c.inputs[0]!.data : [])[3] = special;
  const [r] = runTiles(join(folder, `special ${special}`), c, tileBuilds[0]!, [csrRule([1, 1, 1, 1])]);
  expect(r!.got.length).toBe(n);
  r!.got.forEach((y, i) => expect([i, Number.isFinite(y) || y]).toEqual([i, rows.has(i) ? special : true]));
});

test('parts that threads share take about as long each', () => {
  const depth = 1000, n = 3000, { bounds, starts } = packRows(sparseRows({ window: pointWindow, group: 1, channels: depth, rows: n, depth, weights: weights(depth, n, (r) => (r / n) ** 2 * 0.3) }, 8), 8);
  expect([bounds[0], bounds.at(-1)]).toEqual([0, n / 8]);
  const steps = Array.from({ length: bounds.length - 1 }, (_, p) => starts[bounds[p + 1]!]! - starts[bounds[p]!]!), shares = [0, 1, 2, 3].map((t) => steps.slice(t * steps.length / 4, (t + 1) * steps.length / 4).reduce((a, b) => a + b, 0));
  expect(Math.max(...shares) / Math.min(...shares)).toBeLessThan(1.1);
});

test('many vectors and dense weights are left to others', () => {
  const c = new TileCases(), of = (vectors: number, density: number): void => c.op(`${vectors} ${density}`, 'matmul', [c.input([vectors, 256]), c.constant([256, 256], weights(256, 256, () => density))], matmul);
  of(1, 0.1); of(3, 0.1); of(1, 1); of(64, 0.1);
  expect(buildPlan(c.graph(), cpuTarget('x86-64-v3')).steps.map((s) => s.choice.kernel.split(' ')[0])).toEqual(['csr', 'csr', 'gemm', 'gemm']);
});
