/** Products with lanes over outputs, built and run, whatever they cost: sizes, tails, windows, pools, weights that are zero inside a block. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { ConvAttrs } from '../../../../compiler/core/conv.js';
import type { PoolAttrs } from '../../../../compiler/core/pool.js';
import { roundedToBf16 } from '../../../../compiler/ir/bf16.js';
import { elementCount, type Epilogue, type Value } from '../../../../compiler/ir/types.js';
import { add, arg, f32, max, unary } from '../../../../compiler/kir/build.js';
import { randomSource } from '../../../../test/support/random-stream.js';
import { canRun, runTiles, TileCases, worstDifference, type TileBuild } from '../../../../test/support/tile-harness.js';
import { isas } from '../../isa.js';
import { blocksRule, pooledBlocksRule } from './rule.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-blocks-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const random = randomSource(23);
/** Weights [..., outputs] in blocks of 16 outputs, some of them with zeros inside where `holes`. */
function blocks(shape: readonly number[], density: number, holes = false): Float32Array {
  const outputs = shape.at(-1)!, kept = new Map<number, boolean>();
  return Float32Array.from({ length: elementCount(shape) }, (_, i) => {
    const block = Math.floor(i / outputs) * outputs + Math.floor((i % outputs) / 16);
    if (!kept.has(block)) kept.set(block, random.next() < density);
    return kept.get(block) && !(holes && random.next() < 0.2) ? random.next() * 2 - 1 : 0;
  });
}

/** Blocks of 16 outputs of which some are gone: the pattern no longer begins where a vector does. */
function cutBlocks(depth: number, outputs: number, density: number): Float32Array {
  const whole = 2 * outputs, all = blocks([depth, whole], density), kept = Array.from({ length: whole }, (_, i) => i).filter(() => random.next() < 0.8).slice(0, outputs);
  return Float32Array.from({ length: depth * outputs }, (_, i) => all[Math.floor(i / outputs) * whole + kept[i % outputs]!]!);
}

type Then = 'relu' | 'sigmoid' | 'residual' | 'angle';

class BlockCases extends TileCases {
  /** Bias, then a clamp or something longer, then a residual. */
  private epilogue(kind: Then | undefined, shape: readonly number[]): Epilogue | undefined {
    if (!kind) return undefined;
    const biased = add(arg(0, 'f32'), arg(1, 'f32')), bias = this.constant([shape.at(-1)!]).id;
    if (kind === 'residual') return { expr: max(add(biased, arg(2, 'f32')), f32(0)), inputs: [bias, this.input(shape).id] };
    // no vector form
    if (kind === 'angle') return { expr: { kind: 'binary', op: 'atan2', a: biased, b: f32(2), type: biased.type }, inputs: [bias] };
    return { expr: kind === 'relu' ? max(biased, f32(0)) : unary('sigmoid', biased), inputs: [bias] };
  }
  matmul(x: readonly number[], outputs: number, density: number, { holes = false, cut = false, bf16 = false, then }: { holes?: boolean; cut?: boolean; bf16?: boolean; then?: Then } = {}): void {
    const k = x.at(-1)!, values = cut ? cutBlocks(k, outputs, density) : blocks([k, outputs], density, holes), shape = [k, outputs];
    const weights = this.constant(shape, bf16 ? roundedToBf16({ kind: 'dense', dtype: 'f32', shape, data: values }).data as Float32Array : values);
    this.op(`[${x}] to ${outputs}`, 'matmul', [this.input(x), weights], { transA: false, transB: false, out: 'f32' }, undefined, this.epilogue(then, [...x.slice(0, -1), outputs]));
  }
  conv(x: readonly number[], kernel: readonly number[], outputs: number, density: number, options: Partial<ConvAttrs> & { holes?: boolean; pool?: readonly number[]; then?: Then; first?: boolean } = {}): void {
    const { holes = false, pool, then, first, ...attrs } = options, spatial = kernel.length, group = attrs.group ?? 1, shape = [...kernel, x.at(-1)! / group, outputs];
    const full: ConvAttrs = { strides: kernel.map(() => 1), dilations: kernel.map(() => 1), pads: kernel.map(() => [0, 0] as const), group, layout: 'nsc', out: 'f32', ...attrs };
    const operands: Value[] = [this.input(x), this.constant(shape, blocks(shape, density, holes))], name = `${kernel.join('x')} of [${x}] to ${outputs}`;
    const y = x.map((d, i) => (i === 0 ? d : i > spatial ? outputs : Math.floor((d + full.pads[i - 1]![0] + full.pads[i - 1]![1] - (kernel[i - 1]! - 1) * full.dilations[i - 1]! - 1) / full.strides[i - 1]!) + 1));
    if (!pool) return this.op(name, 'conv', operands, full, undefined, this.epilogue(then, y));
    const windows: PoolAttrs = { mode: 'max', kernel: pool, strides: pool, dilations: pool.map(() => 1), pads: pool.map(() => [0, 0] as const), ceil: false, countIncludePad: false, layout: 'nsc' };
    const pooled = y.map((d, i) => (i === 0 || i > spatial ? d : Math.floor(d / pool[i - 1]!)));
    const sums = this.node('conv', operands, full, undefined, first ? this.epilogue('relu', y) : undefined);
    this.op(`${name}, pooled`, 'pool', [sums], windows, undefined, this.epilogue(then, pooled));
  }
}

function cases(): BlockCases {
  const c = new BlockCases();
  for (const n of [1, 2, 5, 14, 31]) c.matmul([n, 70], 48, 0.3, { then: n % 2 ? 'relu' : 'residual' });
  for (const [n, outputs] of [[1, 1], [4, 5], [1, 17], [3, 100]] as const) c.matmul([n, 33], outputs, 0.5, { holes: outputs > 15, then: outputs === 17 ? 'sigmoid' : 'relu' });
  for (const [n, then] of [[1, 'relu'], [1, 'sigmoid'], [3, 'angle'], [5, 'residual'], [40, undefined]] as const) c.matmul([n, 120], 75, 0.2, { cut: true, ...(then ? { then } : {}) });
  for (const n of [1, 2, 3, 4]) c.matmul([n, 600], 56, 0.4, { bf16: true, holes: n === 2, cut: n > 2, then: 'relu' });
  for (const n of [3, 20, 33]) c.matmul([n, 1500], 40, 0.1, { holes: n === 3 });
  c.matmul([2, 3, 40], 40, 0.2, { holes: true });
  c.matmul([1, 70_000], 16, 0.01);
  c.conv([1, 14, 14, 8], [5, 5], 32, 0.1, { then: 'relu' });
  c.conv([1, 14, 14, 8], [5, 5], 32, 0.1, { pool: [2, 2], then: 'relu' });
  c.conv([2, 9, 11, 5], [3, 3], 24, 0.3, { pads: [[1, 1], [1, 1]], then: 'residual' });
  c.conv([2, 9, 11, 5], [3, 3], 24, 0.3, { pads: [[1, 1], [1, 1]], holes: true, pool: [3, 2], first: true, then: 'sigmoid' });
  c.conv([1, 17, 40, 3], [3, 2], 16, 0.4, { strides: [2, 3], dilations: [2, 1], pads: [[2, 0], [0, 1]] });
  c.conv([1, 8, 70, 6], [1, 3], 33, 0.4, { pads: [[0, 0], [2, 2]], holes: true });
  c.conv([1, 6, 7, 32], [3, 3], 64, 0.3, { group: 2, pads: [[1, 1], [1, 1]], then: 'relu' });
  c.conv([3, 50, 12], [5], 40, 0.3, { pads: [[2, 2]], then: 'relu' });
  c.conv([3, 50, 12], [5], 40, 0.3, { pool: [2], first: true });
  c.conv([1, 7, 7, 48], [1, 1], 64, 0.2, { strides: [2, 2] });
  return c;
}

/** Products of activations some of which are no numbers. @returns their results in float64, zeros skipped */
const specials = { k: 40, outputs: 48, ns: [1, 3, 9], weights: blocks([40, 48], 0.4, true) };
function withSpecials(c: TileCases): (i: number) => Float64Array {
  const { k, outputs, ns, weights } = specials, before = c.inputs.length;
  for (const n of ns) c.op(`special ${n}`, 'matmul', [c.input([n, k]), c.constant([k, outputs], weights)], { transA: false, transB: false, out: 'f32' });
  const xs = c.inputs.slice(before).map((t) => (t as { data: Float32Array }).data);
  for (const x of xs) for (const [i, v] of [[3, Infinity], [17, NaN]] as const) x[i] = v;
  return (run) => Float64Array.from({ length: ns[run]! * outputs }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < k; j++) if (weights[j * outputs + (i % outputs)] !== 0) sum += xs[run]![Math.floor(i / outputs) * k + j]! * weights[j * outputs + (i % outputs)]!;
    return sum;
  });
}

const builds: readonly TileBuild[] = [
  { isa: 'x86-64-v4', compiler: 'gcc', flags: ['-O2'] }, { isa: 'x86-64-v3', compiler: 'clang', flags: ['-O1'] },
  { isa: 'generic', compiler: 'gcc', flags: ['-O1', '-fsanitize=undefined,address', '-fno-sanitize-recover=all'] },
];
for (const build of builds) test.skipIf(!canRun(build))(`${build.isa} with ${build.compiler}`, () => {
  const isa = isas[build.isa], all = cases(), wanted = withSpecials(all), runs = runTiles(join(folder, `${build.isa}-${build.compiler}`), all, build, [pooledBlocksRule(isa), blocksRule(isa)]);
  expect(runs.filter((r) => worstDifference(r) > 2e-5).map((r) => `${r.name}: ${worstDifference(r)}`)).toEqual([]);
  expect(runs.filter((r) => !r.step.choice.kernel.startsWith('blocks')).map((r) => r.name)).toEqual([]);
  expect(runs.filter((r) => r.step.kind === 'pool' && !r.step.choice.kernel.endsWith('pooled')).map((r) => r.name)).toEqual([]);
  expect(runs.filter((r) => r.step.choice.reason.includes('bf16')).length).toBe(4);
  // patterns that were cut are found again
  expect(runs.filter((r) => r.step.choice.reason.includes('up to')).length).toBeGreaterThan(4);
  // zeros are skipped whatever they multiply
  runs.slice(-specials.ns.length).forEach(({ got, name }, i) => {
    const want = wanted(i);
    expect(want.some(Number.isNaN) && want.slice(0, specials.outputs).some(Number.isFinite)).toBe(true);
    want.forEach((w, j) => (Number.isFinite(w) ? expect(Math.abs(w - got[j]!), `${name}, ${j}`).toBeLessThan(1e-4) : expect(got[j], `${name}, ${j}`).toBe(w)));
  });
}, 60_000);
