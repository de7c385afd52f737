/** Products on tensor cores, run by the emulation: against float64, for sizes with every tail. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../compiler/ir/build.js';
import { numberAt, storedValue, tensorOf, toNumbers, type DenseTensor } from '../../../compiler/ir/tensor.js';
import { arg, constant, max } from '../../../compiler/kir/build.js';
import { requestFor } from '../../../compiler/plan/kernel-request.js';
import { randomNumbers } from '../../../test/support/graphs.js';
import { depthOf, expected, graphOfProducts, halves, residual, sizesOf, type ProductCase } from '../../../test/targets/products.js';
import { buildEmulation, emitGraph, hasGxx, runProgram, temporaryFolder } from '../../../test/targets/support.js';
import { gpus, type Gpu } from '../gpu.js';
import type { KernelRequest } from '../../types.js';
import { sparsePattern } from '../fragments.js';
import { cudaTarget } from '../target.js';
import { tensorCoreRule } from './gemm.js';
import type { ElementType } from './product.js';
import { warpgroupTilings } from './tiling.js';

interface Case extends ProductCase {
  readonly sparse: boolean;
}

const cases: readonly Case[] = [
  { rows: 64, linear: [64, 64], sparse: true },
  { rows: 64, linear: [64, 64], sparse: false },
  { rows: 130, linear: [33, 200], sparse: true, finished: true },
  { rows: 48, linear: [45, 520], sparse: true },
  { rows: 16, linear: [1, 64], sparse: true },
  { rows: 1, linear: [1, 4], sparse: true },
  { rows: 7, linear: [3, 5], sparse: false, finished: true },
  { rows: 130, linear: [16, 5000], sparse: true, finished: true },
  { rows: 64, linear: [12, 2100], sparse: false },
  { rows: 20, linear: [8, 2048], sparse: true },
  { rows: 70, linear: [17, 2100], sparse: true, finished: true },
  { rows: 33, linear: [40, 1030], sparse: false },
  { rows: 300, linear: [150, 72], sparse: true },
  { rows: 200, linear: [129, 100], sparse: false },
  { rows: 50, linear: [200, 136], sparse: true },
  { rows: 32, window: { image: [2, 9, 7, 16], kernel: [3, 3], stride: 1, pad: 1 }, sparse: true },
  { rows: 20, window: { image: [1, 8, 8, 12], kernel: [3, 3], stride: 2, pad: 1 }, sparse: true, finished: true },
  { rows: 40, window: { image: [1, 11, 6, 8], kernel: [5, 1], stride: 1, pad: 0, dilation: 2 }, sparse: false },
  { rows: 24, window: { image: [3, 5, 5, 3], kernel: [2, 2], stride: 1, pad: 0 }, sparse: false },
];
const shapeOf = (c: Case): string => `${c.sparse ? '2:4' : 'dense'} ${sizesOf(c)}`;

/** Weights [depth][rows], of which each row keeps `keep` of `of` consecutive ones (some keep fewer), as f16 has them. */
function weights(c: Case, seed: number, keep: number, of: number): DenseTensor {
  const depth = depthOf(c), all = halves(depth * c.rows, seed), choice = randomNumbers(depth * c.rows, seed + 1);
  if (c.sparse) for (let m = 0; m < c.rows; m++) for (let k = 0; k < depth; k += of) {
    const group = Array.from({ length: Math.min(of, depth - k) }, (_, i) => k + i).sort((a, b) => choice[a * c.rows + m]! - choice[b * c.rows + m]!);
    group.slice(choice[k * c.rows + m]! > 0.8 ? keep - 1 : keep).forEach((dropped) => { all[dropped * c.rows + m] = 0; });
  }
  return tensorOf('f32', c.linear ? [depth, c.rows] : [...c.window!.kernel, c.window!.image[3], c.rows], all);
}
interface Setting {
  readonly type: ElementType;
  readonly gpu: Gpu;
  /** Part of the name of the only kernels that may run. */
  readonly only: string;
  /** What names of kernels that run contain, and how many do at least. */
  readonly told: Readonly<Record<string, number>>;
}
const large = { ...gpus.sm_90a, multiprocessors: 1 }, sizes = Object.fromEntries(warpgroupTilings.map((t) => [`${t.bm}x${t.bn}`, 1]));
const settings: readonly Setting[] = [
  ...(['f16', 'bf16', 'f32'] as const).map((type): Setting => ({ type, gpu: gpus.sm_80, only: '', told: { decode: 2, shares: 2 } })),
  // of all sizes, where one multiprocessor does the work; in shares, where there are more than blocks
  { type: 'f16', gpu: large, only: 'wgmma', told: sizes },
  { type: 'bf16', gpu: large, only: 'wgmma', told: sizes },
  { type: 'f32', gpu: gpus.sm_90a, only: 'wgmma', told: { shares: 2 } },
];

test('the tensor cores of warpgroups compete where the GPU has them, and take what is large', () => {
  const product = (columns: number, constantWeights = true): KernelRequest => {
    const g = new GraphBuilder('m'), x = g.input('x', { dtype: 'f32', shape: [columns, 128] });
    const w = constantWeights ? g.constant(tensorOf('f32', [128, 2048], Array.from({ length: 128 * 2048 }, (_, i) => (Math.floor(i / 2048) % 4 > 1 ? 0 : 1)))) : g.input('w', { dtype: 'f32', shape: [128, 2048] });
    const [y] = g.op('matmul', [x, w], { transA: false, transB: false, out: 'f32' }), graph = g.finish([{ name: 'y', value: y! }]);
    return requestFor(graph, graph.nodes[0]!);
  };
  const names = (gpu: Gpu, columns: number): string[] => [...tensorCoreRule(gpu, 'f16').candidates(product(columns))].sort((a, b) => a.nanoseconds - b.nanoseconds).map((c) => c.choice.kernel.replace(/ f16.*/, '')).filter((kernel) => kernel !== 'rows in slices');
  expect(names(gpus.sm_90a, 8192)).toEqual(['2:4 wgmma', 'wgmma', 'gemm', '2:4 gemm']);
  expect(names(gpus.sm_90a, 4)[0]).toBe('2:4 decode');
  expect(names(gpus.sm_80, 8192)).toEqual(['2:4 gemm', 'gemm']);
  expect(tensorCoreRule(gpus.sm_90a, 'f16').refusals!(product(64, false)).map((r) => r.kernel)).toContain('wgmma');
});

describe.skipIf(!hasGxx).each(settings.map((s) => [s.type, s.only || 'mma', s.gpu.arch, s] as const))('%s %s on %s', (type, _, __, { gpu, only, told }) => {
  const { keep, of } = sparsePattern(type), folder = temporaryFolder(), tensors = cases.map((c, i) => weights(c, 10 * i + 1, keep, of)), { graph, inputs } = graphOfProducts(cases, tensors), rule = tensorCoreRule(gpu, type);
  const target = { ...cudaTarget(), kernels: [{ ...rule, candidates: (r: KernelRequest) => rule.candidates(r).filter((c) => c.choice.kernel.includes(only)) }] }, { plan, files } = emitGraph(graph, target);
  let runs: readonly (readonly DenseTensor[])[] = [];
  beforeAll(() => {
    const program = buildEmulation(files, folder.path, 'model');
    runs = ['0', '1', '2'].map((seed) => runProgram(program, plan, inputs, { SPC_EMU_SEED: seed }));
  }, 240_000);
  afterAll(() => folder.dispose());

  test('sparse tensor cores take what has the pattern', () => {
    const kernels = plan.steps.map((s) => s.choice.kernel);
    for (const [part, least] of Object.entries(told)) expect(kernels.filter((k) => k.includes(part)).length, kernels.join('; ')).toBeGreaterThanOrEqual(least);
    expect(plan.steps.map((s) => s.choice.status)).toEqual(cases.map((c) => (c.sparse ? 'sparse-kernel' : 'dense-kernel')));
  });
  test.each(cases.map((c, i) => [shapeOf(c), c, i] as const))('%s', (_, c, i) => {
    const { y, magnitude } = expected(c, toNumbers(inputs[plan.inputs.findIndex((p) => p.name === `x${i}`)]!), toNumbers(tensors[i]!), c.finished ? toNumbers(residual(c, i)) : undefined), got = toNumbers(runs[0]![i]!);
    // operands are rounded to 8 bits where they are bf16
    const unit = type === 'bf16' ? 2 ** -7 : 2 ** -22;
    got.forEach((v, at) => expect(Math.abs(v - y[at]!), `element ${at}`).toBeLessThanOrEqual(magnitude[at]! * unit + 1e-6));
  });
  test('every schedule gives the same bits', () => {
    for (const r of runs) expect(r.map((t) => Buffer.from(t.data.buffer).toString('hex'))).toEqual(runs[0]!.map((t) => Buffer.from(t.data.buffer).toString('hex')));
  });
});

/** Models whose own numbers have 16 bits, by what multiplies them: the type itself, one that holds it, and one that is neither. */
describe.skipIf(!hasGxx).each([['f16', 'f16'], ['f16', 'f32'], ['f16', 'bf16'], ['bf16', 'bf16'], ['bf16', 'f32']] as const)('operands of %s multiplied as %s', (dtype, type) => {
  const round = (x: number): number => numberAt(dtype, [storedValue(dtype, x)] as never, 0);
  const products = [{ rows: 40, columns: 33, depth: 72 }, { rows: 20, columns: 5, depth: 192 }, { rows: 64, columns: 20, depth: 2048 }];

  test('products, with an epilogue in that type', () => {
    const folder = temporaryFolder(), g = new GraphBuilder('m'), numbers = (count: number, seed: number): number[] => randomNumbers(count, seed).map(round);
    const xs = products.map(({ columns, depth }, i) => tensorOf(dtype, [columns, depth], numbers(columns * depth, 2 * i + 1)));
    const ws = products.map(({ rows, depth }, i) => tensorOf(dtype, [depth, rows], numbers(depth * rows, 2 * i + 2).map((v, at) => (Math.floor(at / rows) % 4 > 1 ? 0 : v))));
    const outputs = products.map((_, i) => g.op('matmul', [g.input(`x${i}`, { dtype, shape: xs[i]!.shape }), g.constant(ws[i]!)], { transA: false, transB: false, out: dtype })[0]!);
    const graph = g.finish(outputs.map((value, i) => ({ name: `y${i}`, value })));
    const clamped = { ...graph, nodes: graph.nodes.map((n) => ({ ...n, epilogue: { expr: max(arg(0, dtype), constant(dtype, -1)), inputs: [] } })) };
    const { plan, files } = emitGraph(clamped, { ...cudaTarget(), kernels: [tensorCoreRule(gpus.sm_80, type)] });
    try {
      const results = runProgram(buildEmulation(files, folder.path, 'model'), plan, xs);
      expect(plan.steps.every((s) => s.choice.status !== 'reference')).toBe(true);
      // operands lose 8 bits as bf16, which has no more; sums are rounded to the type
      const lost = type === 'bf16' && dtype === 'f16' ? 2 ** -7 : 2 ** -20, unit = dtype === 'f16' ? 2 ** -11 : 2 ** -8;
      products.forEach(({ rows, columns, depth }, i) => {
        const x = toNumbers(xs[i]!), w = toNumbers(ws[i]!), got = toNumbers(results[i]!);
        for (let n = 0; n < columns; n++) for (let m = 0; m < rows; m++) {
          let sum = 0, magnitude = 0;
          for (let k = 0; k < depth; k++) { const p = x[n * depth + k]! * w[k * rows + m]!; sum += p; magnitude += Math.abs(p); }
          const y = Math.max(sum, -1);
          expect(Math.abs(got[n * rows + m]! - y), `product ${i}, row ${m} of column ${n}`).toBeLessThanOrEqual(magnitude * lost + Math.abs(y) * unit * 1.01 + 1e-6);
        }
      });
    } finally {
      folder.dispose();
    }
  }, 120_000);
});
