/** Selections and products with sparse activations, built and run against the reference evaluator. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { KWinnersAttrs } from '../../../../compiler/core/k-winners.js';
import { elementCount, type Value } from '../../../../compiler/ir/types.js';
import { add, arg, f32, max } from '../../../../compiler/kir/build.js';
import { buildPlan } from '../../../../compiler/plan/build.js';
import { randomSource } from '../../../../test/support/random-stream.js';
import { canRun, runTiles, TileCases, tileBuilds, worstDifference, type TileBuild } from '../../../../test/support/tile-harness.js';
import type { KernelRule } from '../../../types.js';
import { isas } from '../../isa.js';
import { cpuTarget } from '../../target.js';
import { columnForms, type ColumnForm } from './columns.js';
import { activeLinearRule } from './linear.js';
import { selectionRule } from './selection.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-activations-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const random = randomSource(23), matmul = { transA: false, transB: false, out: 'f32' } as const;
const builds = [0, 3, 4].map((i) => tileBuilds[i]!), nameOf = (b: TileBuild): string => `${b.isa} with ${b.compiler}`;

function selections(): TileCases {
  const c = new TileCases(), select = (name: string, shape: readonly number[], attrs: KWinnersAttrs): void => c.op(name, 'kWinners', [c.input(shape)], attrs);
  for (const ties of ['lowest', 'all'] as const) {
    for (const [channels, k] of [[8, 1], [64, 7], [30, 8], [65, 3], [64, 20], [5, 2], [8, 8]] as const) select(`${k} of ${channels} channels, ${ties}`, [2, 3, 7, channels], { axes: [3], k, ties });
    for (const [n, k] of [[1600, 160], [1500, 150], [999, 1], [100, 100], [70, 69]] as const) select(`${k} of ${n}, ${ties}`, [2, n], { axes: [1], k, ties });
    select(`an image, in another order of positions, ${ties}`, [2, 5, 4, 16], { axes: [3, 1, 2], k: 30, ties });
    select(`rows of an image, ${ties}`, [3, 5, 4, 16], { axes: [2, 3], k: 7, ties });
  }
  return c;
}

/** Weights of rows by columns with so many blocks of `block` rows. */
function weights(depth: number, n: number, density: number, block: number): Float32Array {
  const w = new Float32Array(depth * n);
  for (let c = 0; c < depth; c++) for (let r = 0; r < n; r += block) if (random.next() < density) for (let i = r; i < Math.min(n, r + block); i++) w[c * n + i] = random.next() * 2 - 1;
  return w;
}

/** Weights of which each column has one in every set of `size` rows. */
function complementaryWeights(depth: number, n: number, size: number): Float32Array {
  const w = new Float32Array(depth * n);
  for (let c = 0; c < depth; c++) for (let r = 0; r < n; r += size) { const at = r + Math.floor(random.next() * size); if (at < n) w[c * n + at] = random.next() * 2 - 1; }
  return w;
}

function products(): TileCases {
  const c = new TileCases();
  const matrices: (readonly [name: string, depth: number, n: number, weights: () => Float32Array])[] = [
    ...([[96, 130, 0.1, 1], [64, 64, 0.2, 16], [50, 12, 1, 1], [33, 75, 0.05, 4], [16, 1, 0.5, 1], [40, 200, 0.9, 1], [20, 70, 0, 1]] as const)
      .map(([depth, n, density, block]) => [`${density} in blocks of ${block}`, depth, n, () => weights(depth, n, density, block)] as const),
    ...([[48, 260, 8], [30, 45, 3], [25, 37, 16]] as const).map(([depth, n, size]) => [`complementary ${size}`, depth, n, () => complementaryWeights(depth, n, size)] as const),
  ];
  for (const [kind, depth, n, data] of matrices) {
    const name = `${depth} to ${n}, ${kind}`, w = (): Value => c.constant([depth, n], data()), k = Math.ceil(depth / 8);
    const winners = (shape: readonly number[], axes: readonly number[]): Value => c.node('kWinners', [c.input(shape)], { axes, k: axes.length > 1 ? k : Math.min(k, shape[axes[0]!]!), ties: 'lowest' });
    const bias = { expr: max(add(arg(0, 'f32'), arg(1, 'f32')), f32(0)), inputs: [c.constant([n]).id] };
    c.op(`${name}, selected on the way`, 'matmul', [winners([3, depth], [1]), w()], matmul, undefined, bias);
    c.op(`${name}, batches`, 'matmul', [winners([2, 2, depth], [2]), w()], matmul, undefined, bias);
    c.op(`${name}, through a reshape`, 'matmul', [c.node('reshape', [winners([2, depth, 1, 1], [1, 2, 3])], { shape: [2, depth] }), w()], matmul);
  }
  return c;
}

describe.each(builds)('$isa with $compiler', (build) => {
  const isa = isas[build.isa];
  test.skipIf(!canRun(build))('selections', () => {
    const runs = runTiles(join(folder, `select ${nameOf(build)}`), selections(), build, [selectionRule(isa)]);
    expect(runs.filter((r) => worstDifference(r) > 0).map((r) => r.name)).toEqual([]);
    expect(new Set(runs.map((r) => r.step.choice.kernel))).toEqual(new Set(['select in networks', 'select by counting']));
  }, 60_000);

  // each matrix meets three forms
  const inTurn: KernelRule = {
    name: 'in turn',
    candidates(r) {
      const i = r.graph.nodes.filter((n) => n.kind === 'matmul').findIndex((n) => n === r.node);
      const n = columnForms.length, first = (i + Math.floor(i / 3)) % n;
      return [...columnForms.keys()].map((f) => activeLinearRule(isa, [columnForms[(first + f) % n]!]).candidates(r)).find((found) => found.length > 0) ?? [];
    },
  };
  test.skipIf(!canRun(build))('products', () => {
    const runs = runTiles(join(folder, `products ${nameOf(build)}`), products(), build, [inTurn]);
    expect(runs.filter((r) => worstDifference(r) > 1e-5).map((r) => `${r.name}: ${worstDifference(r)}`)).toEqual([]);
    expect(new Set(runs.map((r) => r.step.choice.kernel))).toEqual(new Set(columnForms.filter((f) => f.name !== 'complementary' || isa.lanes === 16).map((f) => `active columns, ${f.name}`)));
  }, 60_000);
});

/** A matrix of which column 3 has weights in some rows only, and an infinite activation there. */
function infinite(form: ColumnForm): { readonly cases: TileCases; readonly rows: ReadonlySet<number> } {
  const c = new TileCases(), depth = 40, n = 100, w = form.name === 'complementary' ? complementaryWeights(depth, n, 4) : weights(depth, n, 0.5, 1), rows = new Set([2, 17, 50]);
  for (let r = 0; r < n; r++) w[3 * n + r] = rows.has(r) ? 1 : 0;
  c.op('', 'matmul', [c.node('kWinners', [c.input([1, depth])], { axes: [1], k: 5, ties: 'lowest' }), c.constant([depth, n], w)], matmul);
  (c.inputs[0]!.kind === 'dense' ? c.inputs[0]!.data : [])[3] = Infinity;
  return { cases: c, rows };
}
test.skipIf(!canRun(builds[0]!)).each(columnForms.map((f) => [f.name, f] as const))('an infinite activation reaches no output through a zero weight: %s', (name, form: ColumnForm) => {
  const { cases, rows } = infinite(form), [r] = runTiles(join(folder, `infinite ${name}`), cases, builds[0]!, [activeLinearRule(isas['x86-64-v4'], [form])]);
  expect(r!.got.length).toBe(elementCount([1, 100]));
  r!.got.forEach((y, i) => expect([i, y === Infinity, Number.isFinite(y)]).toEqual([i, rows.has(i), !rows.has(i)]));
});

test('the selection becomes a step of its own where something else reads it', () => {
  const c = new TileCases(), winners = c.node('kWinners', [c.input([1, 256])], { axes: [1], k: 8, ties: 'lowest' });
  for (const name of ['a', 'b']) c.op(name, 'matmul', [winners, c.constant([256, 300], weights(256, 300, 0.9, 1))], matmul);
  const plan = buildPlan(c.graph(), cpuTarget('x86-64-v4'));
  expect(plan.steps.map((s) => s.choice.kernel)).toEqual(['select in networks', 'active columns, whole', 'active columns, whole']);
  expect(plan.steps[1]!.choice.reason).toContain('8 winners of 256');
});
