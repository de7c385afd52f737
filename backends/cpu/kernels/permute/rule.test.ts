/** Products in permute form: packed and interpreted, and as machine code between guard pages, against float64. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileModel, type CompileResult } from '../../../../compiler/driver.js';
import { packageRoot } from '../../../../compiler/emit/runtime-files.js';
import { isBf16, roundedToBf16 } from '../../../../compiler/ir/bf16.js';
import { tensorOf, toNumbers, type DenseTensor } from '../../../../compiler/ir/tensor.js';
import { interpretPermute, PERMUTE_LANES, type PermuteWeights } from '../../../../compiler/kir/permute.js';
import { buildObjects, linkDriver, runDriver, type NativeOptions } from '../../../../test/support/native.js';
import { node, onnxModel } from '../../../../test/support/onnx-builder.js';
import { hasTool } from '../../../../test/support/processes.js';
import { randomSource } from '../../../../test/support/random-stream.js';
import { pointWindow } from '../../../../compiler/core/window.js';
import { isas } from '../../isa.js';
import { sparseRows, type SparseRows } from '../sparse-rows.js';
import { packProduct, partition, permuteFunction } from './pack.js';

interface Case {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly batch: number;
  /** [column][row] */
  readonly weights: Float32Array;
}

const random = randomSource(77);
/** @param density of row r of the matrix */
function matrix(name: string, rows: number, columns: number, batch: number, density: (row: number) => number): Case {
  const share = Array.from({ length: rows }, (_, r) => density(r));
  return { name, rows, columns, batch, weights: Float32Array.from({ length: rows * columns }, (_, i) => (random.next() < share[i % rows]! ? random.next() * 2 - 1 : 0)) };
}

const plainCases: readonly Case[] = [
  ...Array.from({ length: 14 }, (_, i) => matrix(`columns ${2 + 5 * i}`, 2 + 3 * i, 2 + 5 * i, 1 + i % 3, () => 0.4)),
  matrix('more blocks than registers', 70, 600, 2, () => 0.1), matrix('very sparse', 200, 700, 1, () => 0.01),
  matrix('empty rows', 64, 100, 1, (r) => (r % 3 ? 0 : 0.2)), matrix('full rows', 64, 520, 1, (r) => (r % 20 ? 0.05 : 1)), matrix('every other weight', 33, 47, 1, () => 0.55),
  { ...matrix('one column', 40, 300, 1, () => 0), weights: Float32Array.from({ length: 40 * 300 }, (_, i) => (Math.floor(i / 40) === 17 ? i % 40 - 20.5 : 0)) },
  { ...matrix('weights of all sizes', 32, 64, 1, () => 0.3), weights: Float32Array.from({ length: 32 * 64 }, (_, i) => (i % 3 ? 0 : [1e-44, -3e-39, 3e37, -1e30, 1, 1e-31][i % 7 % 6]!)) },
];

const rounded = (c: Case): Case => ({ ...c, name: `${c.name}, bf16`, weights: roundedToBf16(tensorOfWeights(c)).data as Float32Array });
const tensorOfWeights = ({ weights }: Case): DenseTensor => ({ kind: 'dense', dtype: 'f32', shape: [weights.length], data: weights });
/** Some of them once more with weights of bf16. */
const cases: readonly Case[] = [...plainCases, ...plainCases.filter((_, i) => i < 6 || i > 13).map(rounded)];

const rowsOf = (c: Case): SparseRows => sparseRows({ window: pointWindow, group: 1, channels: c.columns, rows: c.rows, depth: c.columns, weights: c.weights }, PERMUTE_LANES);

const SHAPE = { ratio: 1.1, sources: 2.5 };
/** What the kernel computes, by the interpreter. */
function interpreted(c: Case, x: Float32Array, masked: boolean, shape = SHAPE): Float32Array {
  const type: PermuteWeights = isBf16(tensorOfWeights(c)) ? 'bf16' : 'f32', m = rowsOf(c), { parts, words, loose } = packProduct(m, shape, type), sums = new Float32Array(m.rowOf.length), y = new Float32Array(c.rows);
  for (const [i, part] of parts.entries()) {
    interpretPermute(permuteFunction(m, part, type, masked, `f${i}`, ''), x, words.subarray(part.offset), sums.subarray(part.first * PERMUTE_LANES), part.groups);
  }
  loose.lanes.forEach((lane, i) => { sums[lane]! += loose.weights[i]! * x[loose.columns[i]!]!; });
  m.rowOf.forEach((r, lane) => { if (r >= 0) y[r] = sums[lane]!; });
  return y;
}

/** In float64, zeros skipped; and the sum of the terms' sizes. */
function wanted(c: Case, x: ArrayLike<number>): { readonly y: Float64Array; readonly scale: Float64Array } {
  const y = new Float64Array(c.rows), scale = new Float64Array(c.rows);
  c.weights.forEach((w, i) => {
    if (w === 0) return;
    y[i % c.rows]! += w * x[Math.floor(i / c.rows)]!;
    scale[i % c.rows]! += Math.abs(w * x[Math.floor(i / c.rows)]!);
  });
  return { y, scale };
}

const isClose = (got: number, y: number, scale: number, tolerance: number): boolean => Object.is(got, y) || Math.abs(got - y) <= tolerance * scale + 1e-45 || Math.abs(y) > 3.4e38 && got === Math.sign(y) * Infinity;

/** Of the sum of the terms' sizes, for sums in f32. */
const TOLERANCE = 40 * 2 ** -24;

function expectProduct(c: Case, x: ArrayLike<number>, got: ArrayLike<number>): void {
  const { y, scale } = wanted(c, x);
  for (let r = 0; r < c.rows; r++) expect(isClose(got[r]!, y[r]!, scale[r]!, TOLERANCE), `${c.name}: row ${r} is ${got[r]} instead of ${y[r]}`).toBe(true);
}

const vectorOf = (c: Case): Float32Array => Float32Array.from({ length: c.columns }, () => random.next() * 4 - 2);

test.each(cases)('interpreted: $name', (c) => {
  const x = vectorOf(c);
  for (const sources of [1, 2, 3.5, 4]) {
    expectProduct(c, x, interpreted(c, x, false, { ratio: 1.1, sources }));
    expectProduct(c, x, interpreted(c, x, true, { ratio: 1, sources }));
  }
});

test.each(cases)('interpreted, infinities and NaN where there are weights and where there are none: $name', (c) => {
  for (const [i, special] of [Infinity, -Infinity, NaN].entries()) {
    const x = vectorOf(c);
    x[Math.floor((i * c.columns) / 3)] = special;
    expectProduct(c, x, interpreted(c, x, true));
  }
});

test('groups share a function where they need about as many steps', () => {
  expect(partition([])).toEqual([]);
  expect(partition([10, 10, 10, 11, 50, 50])).toEqual([{ first: 0, groups: 4, steps: 11 }, { first: 4, groups: 2, steps: 50 }]);
});

test('most weights of a random matrix find a step', () => {
  const c = matrix('random', 256, 1024, 1, () => 0.1), m = rowsOf(c), { loose, words } = packProduct(m, { ratio: 1.1, sources: 3 }, 'f32'), halves = packProduct(m, { ratio: 1.1, sources: 3 }, 'bf16');
  expect(loose.weights.length).toBeLessThan(0.015 * m.weights.length);
  expect(words.length).toBeLessThan(1.45 * m.weights.length);
  expect(halves.words.length).toBeLessThan(0.85 * m.weights.length);
});

test.each(Object.values(isas))('a single vector on $name', ({ name: cpu, streams }) => {
  const { columns, rows, weights } = matrix('layer', 256, 512, 1, () => 0.1);
  const bytes = onnxModel({
    inputs: { x: { dtype: 'f32', shape: [1, columns] } }, outputs: ['y'], initializers: { w: { kind: 'dense', dtype: 'f32', shape: [columns, rows], data: weights } },
    nodes: [node('MatMul', ['x', 'w'], ['y'], {}, { name: 'product' })],
  });
  const chosen = (weightType: 'f32' | 'bf16'): string[] => compileModel({ name: 'm', bytes }, { cpu, weightType }).plan.steps.map((s) => `${s.choice.kernel.split(' ')[0]}${s.choice.reason.includes('weights of bf16') ? ', bf16' : ''}`);
  expect(chosen('f32')).toEqual([streams.code === 'avx512' ? 'permute' : 'csr']);
  if (streams.code === 'avx512') expect(chosen('bf16')).toEqual(['permute, bf16']);
});

const cpu = process.arch === 'x64' && process.platform === 'linux' ? readFileSync('/proc/cpuinfo', 'utf8') : '', cc = ['clang', 'gcc'].find(hasTool);
const folder = mkdtempSync(join(tmpdir(), 'spc-permute-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!cc || !/avx512f.*avx512bw|avx512bw.*avx512f/.test(cpu))('as machine code', () => {
  const options: NativeOptions = { cc: cc!, optimise: '-O1', sanitize: false };
  const tensorsOf = (i: number): Readonly<Record<string, DenseTensor>> => {
    const { rows, columns, weights } = cases[i]!;
    return { [`w${i}`]: { kind: 'dense', dtype: 'f32', shape: [columns, rows], data: weights }, [`b${i}`]: tensorOf('f32', [rows], Array.from({ length: rows }, (_, r) => r % 5 - 2)) };
  };
  /** All cases as one model, every other one with a bias and an activation. */
  const bytes = onnxModel({
    inputs: Object.fromEntries(cases.map((c, i) => [`x${i}`, { dtype: 'f32' as const, shape: [c.batch, c.columns] }])), outputs: cases.map((_, i) => `y${i}`),
    initializers: Object.assign({}, ...cases.map((_, i) => tensorsOf(i))) as Readonly<Record<string, DenseTensor>>,
    nodes: cases.flatMap((_, i) => (i % 2 ? [node('MatMul', [`x${i}`, `w${i}`], [`p${i}`], {}, { name: `product${i}` }), node('Add', [`p${i}`, `b${i}`], [`s${i}`]), node('Tanh', [`s${i}`], [`y${i}`])]
      : [node('MatMul', [`x${i}`, `w${i}`], [`y${i}`], {}, { name: `product${i}` })])),
  });
  const layouts = Object.fromEntries(cases.map((_, i) => [`product${i}`, 'permute'])), forms = ['binary', 'text'] as const;
  const compiled = forms.map((asm): CompileResult => compileModel({ name: asm, bytes }, { cpu: 'x86-64-v4', layouts, asm }));
  beforeAll(async () => {
    const objects = (await Promise.all(compiled.map((m) => buildObjects(folder, m, options)))).flatMap((b) => { if (b.problem) throw new Error(b.problem); return b.objects; });
    await linkDriver(folder, forms, objects, join(packageRoot(), 'runtime/include'), options);
  }, 60_000);

  async function check(form: number, xs: readonly Float32Array[]): Promise<void> {
    const result = await runDriver(folder, form, `run${form}`, cases.map((c, i) => tensorOf('f32', [c.batch, c.columns], [...xs[i]!])), compiled[form]!.manifest.outputs);
    if (typeof result === 'string') throw new Error(result);
    cases.forEach((c, i) => {
      const y = toNumbers(result[i]!);
      for (let n = 0; n < c.batch; n++) {
        const own = xs[i]!.subarray(n * c.columns, (n + 1) * c.columns), got = y.slice(n * c.rows, (n + 1) * c.rows), { y: sums, scale } = wanted(c, own);
        if (i % 2 === 0) expectProduct(c, own, got);
        else got.forEach((v, r) => expect(isClose(v, Math.tanh(sums[r]! + r % 5 - 2), Math.max(1, scale[r]!), 1e-5), `${c.name}: row ${r}`).toBe(true));
      }
    });
  }
  const inputs = (): Float32Array[] => cases.map((c) => Float32Array.from({ length: c.batch * c.columns }, () => random.next() * 4 - 2));

  test.each(forms)('%s', async (form) => {
    const { steps } = compiled[forms.indexOf(form)]!.plan;
    expect([...new Set(steps.map((s) => s.choice.kernel.split(' ')[0]))]).toEqual(['permute']);
    await check(forms.indexOf(form), inputs());
  });
  test.each([Infinity, -Infinity, NaN])('%s among the inputs', async (special) => {
    const xs = inputs();
    for (const x of xs) x[Math.floor(random.next() * x.length)] = special;
    for (const form of forms.keys()) await check(form, xs);
  });
});
