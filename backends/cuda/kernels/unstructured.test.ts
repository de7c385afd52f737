/** Products whose weights have zeros anywhere, run by the emulation: against float64, for all tails, densities and empty parts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../compiler/ir/build.js';
import { f16ToNumber, numberToF16, tensorOf, toNumbers, type DenseTensor } from '../../../compiler/ir/tensor.js';
import type { Graph, ValueId } from '../../../compiler/ir/types.js';
import { add, arg, constant, max } from '../../../compiler/kir/build.js';
import { evaluateGraph } from '../../../compiler/kir/evaluate.js';
import { randomNumbers } from '../../../test/support/graphs.js';
import { buildEmulation, emitGraph, hasGxx, runProgram, temporaryFolder } from '../../../test/targets/support.js';
import { onlyRule } from '../../../test/targets/unstructured.js';
import { cudaTarget } from '../target.js';
import type { ElementType } from './product.js';

/** y[columns][rows] = x[columns][depth] w[depth][rows]. */
interface Case {
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
  readonly density: number;
  /** Weights that are zero beside those that chance left out; where none are, chance decides alone. */
  readonly without?: (m: number, k: number) => boolean;
  readonly full?: (m: number, k: number) => boolean;
  /** An epilogue with a bias, a residual and a lower bound. */
  readonly finished?: boolean;
}

const few: readonly Case[] = [
  { rows: 1, depth: 5, columns: 1, density: 0.5 },
  { rows: 7, depth: 72, columns: 8, density: 0.6, finished: true },
  { rows: 130, depth: 200, columns: 9, density: 0.3, finished: true },
  { rows: 64, depth: 2100, columns: 16, density: 0.1 },
  { rows: 33, depth: 2100, columns: 3, density: 0.02, finished: true },
  { rows: 48, depth: 256, columns: 16, density: 0.2, full: (m) => m % 5 === 0, without: (m) => m % 16 === 3 },
  { rows: 48, depth: 256, columns: 7, density: 0.4, without: (m, k) => Math.floor(m / 16) === 1 || (k >= 64 && k < 192) },
  { rows: 32, depth: 128, columns: 2, density: 0.1, full: (m, k) => m < 16 && k < 64 },
  { rows: 20, depth: 100, columns: 4, density: 0 },
];

const many: readonly Case[] = [
  { rows: 1, depth: 8, columns: 17, density: 0, full: (_, k) => k < 3 },
  { rows: 7, depth: 72, columns: 33, density: 0.3, finished: true },
  { rows: 130, depth: 200, columns: 129, density: 0.2, finished: true },
  { rows: 300, depth: 64, columns: 40, density: 0.1 },
  { rows: 33, depth: 2100, columns: 17, density: 0.1, finished: true },
  { rows: 130, depth: 2100, columns: 24, density: 0.02 },
  { rows: 140, depth: 256, columns: 19, density: 0.1, full: (m) => m % 50 === 7, without: (m) => m % 16 === 3 || (m > 63 && m < 80) },
];
/** Of which sparse tensor cores can take all. */
const fitting: readonly Case[] = [{ rows: 1, depth: 5, columns: 17, density: 0, full: (_, k) => k > 2 }, { rows: 20, depth: 100, columns: 20, density: 0 }];

const halves = (count: number, seed: number): number[] => randomNumbers(count, seed).map((x) => f16ToNumber(numberToF16(x)));
const bias = (c: Case): number[] => Array.from({ length: c.rows }, (_, m) => m / 64 - 1);
const weights = (c: Case, seed: number): number[] => {
  const all = halves(c.depth * c.rows, seed), chance = randomNumbers(c.depth * c.rows, seed + 1);
  return all.map((v, at) => { const k = Math.floor(at / c.rows), m = at % c.rows; return c.without?.(m, k) ? 0 : c.full?.(m, k) || (chance[at]! + 1) / 2 < c.density ? v || 1 : 0; });
};

interface Products { readonly graph: Graph; readonly weights: readonly number[][]; readonly inputs: readonly { readonly x: number[]; readonly r?: number[] }[] }
function productsOf(cases: readonly Case[], put: (w: number[], i: number) => void = () => undefined): Products {
  const g = new GraphBuilder('m'), epilogues = new Map<number, readonly ValueId[]>();
  const all = cases.map((c, i) => { const w = weights(c, 10 * i + 1); put(w, i); return w; });
  const inputs = cases.map((c, i) => ({ x: halves(c.columns * c.depth, 10 * i + 3), ...(c.finished ? { r: halves(c.columns * c.rows, 10 * i + 5) } : {}) }));
  const outputs = cases.map((c, i) => {
    const x = g.input(`x${i}`, { dtype: 'f32', shape: [c.columns, c.depth] }), w = g.constant(tensorOf('f32', [c.depth, c.rows], all[i]!));
    if (c.finished) epilogues.set(i, [g.constant(tensorOf('f32', [c.rows], bias(c))).id, g.input(`r${i}`, { dtype: 'f32', shape: [c.columns, c.rows] }).id]);
    return { name: `y${i}`, value: g.op('matmul', [x, w], { transA: false, transB: false, out: 'f32' })[0]! };
  });
  const graph = g.finish(outputs), expr = max(add(add(arg(0, 'f32'), arg(1, 'f32')), arg(2, 'f32')), constant('f32', 0));
  return { graph: { ...graph, nodes: graph.nodes.map((n, i) => (epilogues.has(i) ? { ...n, epilogue: { expr, inputs: epilogues.get(i)! } } : n)) }, weights: all, inputs };
}
const tensorsOf = (cases: readonly Case[], { inputs }: Products): DenseTensor[] => cases.flatMap((c, i) => {
  const { x, r } = inputs[i]!;
  return [tensorOf('f32', [c.columns, c.depth], x), ...(r ? [tensorOf('f32', [c.columns, c.rows], r)] : [])];
});

/** y and the sum of all magnitudes, in float64. */
function expected(c: Case, w: readonly number[], { x, r }: Products['inputs'][number]): { readonly y: number[]; readonly magnitude: number[] } {
  const y: number[] = [], magnitude: number[] = [], b = bias(c);
  for (let n = 0; n < c.columns; n++) for (let m = 0; m < c.rows; m++) {
    let sum = 0, size = 0;
    for (let k = 0; k < c.depth; k++) { const p = x[n * c.depth + k]! * w[k * c.rows + m]!; sum += p; size += Math.abs(p); }
    y.push(r ? Math.max(sum + b[m]! + r[n * c.rows + m]!, 0) : sum); magnitude.push(size);
  }
  return { y, magnitude };
}

/** A target whose only kernels are those under test. */
const onlyWith = (type: ElementType, kernel: RegExp): ReturnType<typeof cudaTarget> => ({ ...cudaTarget(), kernels: [onlyRule(type, 'sm_80', (_, name) => kernel.test(name))] });
const bits = (t: DenseTensor): string => Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString('base64');

const kernels: readonly { readonly name: string; readonly cases: readonly Case[]; readonly kernel: RegExp }[] = [
  { name: 'bitmap decode', cases: few, kernel: /^bitmap/ },
  { name: 'rows in slices', cases: [...many, ...fitting], kernel: /^rows in slices/ },
  { name: 'and rows in slices', cases: many, kernel: /gemm .* and rows in slices/ },
];
const types = ['f16', 'bf16', 'f32'] as const;

describe.skipIf(!hasGxx).each(kernels.flatMap((k) => types.map((type) => [k.name, type, k] as const)))('%s %s', (name, type, { cases, kernel }) => {
  const folder = temporaryFolder(), products = productsOf(cases), { plan, files } = emitGraph(products.graph, onlyWith(type, kernel));
  let runs: readonly (readonly DenseTensor[])[] = [];
  beforeAll(() => {
    const program = buildEmulation(files, folder.path, 'model');
    runs = ['0', '1', '2'].map((seed) => runProgram(program, plan, tensorsOf(cases, products), { SPC_EMU_SEED: seed }));
  }, 240_000);
  afterAll(() => folder.dispose());

  test('is what runs', () => { for (const s of plan.steps) expect(s.choice).toMatchObject({ status: 'sparse-kernel', kernel: expect.stringContaining(name) as string }); });
  test.each(cases.map((c, i) => [`${c.rows}x${c.depth} times ${c.columns}, ${c.density}`, c, i] as const))('%s', (_, c, i) => {
    const { y, magnitude } = expected(c, products.weights[i]!, products.inputs[i]!), got = toNumbers(runs[0]![i]!);
    // operands are rounded to 8 bits where they are bf16
    const unit = type === 'bf16' ? 2 ** -7 : 2 ** -22;
    got.forEach((v, at) => expect(Math.abs(v - y[at]!), `element ${at}`).toBeLessThanOrEqual(magnitude[at]! * unit + 1e-6));
  });
  test('every schedule gives the same bits', () => { for (const r of runs) expect(r.map(bits)).toEqual(runs[0]!.map(bits)); });
});

describe.skipIf(!hasGxx).each(kernels.map((k) => [k.name, k] as const))('%s', (_, { cases, kernel }) => {
  test('weights that are no numbers stay what they are', () => {
    const folder = temporaryFolder(), sizes = cases.slice(1, 3).map((c) => ({ ...c, finished: false })), rows = [7, 130];
    try {
      const products = productsOf(sizes, (w, i) => { w[3 * rows[i]! + 2] = NaN; w[5 * rows[i]! + 4] = Infinity; w[6 * rows[i]! + 5] = -Infinity; });
      const { plan, files } = emitGraph(products.graph, onlyWith('f16', kernel));
      const got = runProgram(buildEmulation(files, folder.path, 'model'), plan, tensorsOf(sizes, products));
      sizes.forEach((c, i) => {
        const { y } = expected(c, products.weights[i]!, products.inputs[i]!), kind = (v: number): string => (Number.isNaN(v) ? 'NaN' : Number.isFinite(v) ? 'finite' : String(v));
        expect(y.filter((v) => !Number.isFinite(v))).toHaveLength(3 * c.columns);
        expect(toNumbers(got[i]!).map(kind)).toEqual(y.map(kind));
      });
    } finally { folder.dispose(); }
  }, 120_000);
});

test.skipIf(!hasGxx)('columns that are windows over images', () => {
  const folder = temporaryFolder(), g = new GraphBuilder('m'), w = weights({ rows: 20, depth: 108, columns: 0, density: 0.2 }, 1), image = tensorOf('f32', [1, 8, 8, 12], halves(768, 2));
  const [y] = g.op('conv', [g.input('x', { dtype: 'f32', shape: image.shape }), g.constant(tensorOf('f32', [3, 3, 12, 20], w))], { strides: [1, 1], dilations: [1, 1], pads: [[1, 1], [1, 1]], group: 1, layout: 'nsc', out: 'f32' });
  const graph = g.finish([{ name: 'y', value: y! }]), want = toNumbers(evaluateGraph(graph, [image])[0]! as DenseTensor);
  try {
    for (const kernel of [/^rows in slices/, /gemm .* and rows in slices/]) {
      const { plan, files } = emitGraph(graph, onlyWith('f16', kernel));
      expect(plan.steps[0]!.choice.kernel).toMatch(kernel);
      toNumbers(runProgram(buildEmulation(files, folder.path, 'model'), plan, [image])[0]!).forEach((v, at) => expect(v).toBeCloseTo(want[at]!, 4));
    }
  } finally { folder.dispose(); }
}, 120_000);
