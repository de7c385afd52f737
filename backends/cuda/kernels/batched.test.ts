/** Many products at once on tensor cores: matrices of activations, and groups of channels; against float64, in the emulation. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../compiler/ir/build.js';
import { f16ToNumber, numberToF16, tensorOf, toNumbers, type DenseTensor } from '../../../compiler/ir/tensor.js';
import { elementCount } from '../../../compiler/ir/types.js';
import { arg, constant, mul } from '../../../compiler/kir/build.js';
import { randomNumbers } from '../../../test/support/graphs.js';
import { buildEmulation, emitGraph, hasGxx, replays, runProgram, temporaryFolder } from '../../../test/targets/support.js';
import type { KernelRule } from '../../types.js';
import { gpus } from '../gpu.js';
import { cudaTarget } from '../target.js';
import { tensorCoreRule } from './gemm.js';

/** y[b][n][m] = factor * sum over k of a[b][n][k] w[b][k][m], either of them stored transposed, or one for all b. */
interface Matrices {
  readonly kind: 'matrices';
  readonly batch: readonly number[];
  readonly columns: number;
  readonly depth: number;
  readonly rows: number;
  readonly transA: boolean;
  readonly transB: boolean;
  readonly shared?: 'a' | 'b';
  readonly factor?: number;
}
/** A convolution over images [n][h][w][c] in groups of channels, windows 3x3 with a border of one. */
interface Groups {
  readonly kind: 'groups';
  readonly image: readonly [number, number, number, number];
  readonly groups: number;
  readonly rows: number;
  readonly sparse: boolean;
}
const cases: readonly (Matrices | Groups)[] = [
  { kind: 'matrices', batch: [2, 3], columns: 17, depth: 16, rows: 17, transA: false, transB: true, factor: 0.25 },
  { kind: 'matrices', batch: [2, 3], columns: 17, depth: 17, rows: 16, transA: false, transB: false },
  { kind: 'matrices', batch: [5], columns: 70, depth: 130, rows: 33, transA: true, transB: false },
  { kind: 'matrices', batch: [3], columns: 1, depth: 9, rows: 1, transA: true, transB: true },
  { kind: 'matrices', batch: [], columns: 40, depth: 72, rows: 24, transA: false, transB: false },
  { kind: 'matrices', batch: [4], columns: 20, depth: 64, rows: 48, transA: false, transB: true, shared: 'a' },
  { kind: 'matrices', batch: [4], columns: 20, depth: 64, rows: 48, transA: true, transB: false, shared: 'b' },
  { kind: 'groups', image: [1, 6, 5, 32], groups: 2, rows: 40, sparse: true },
  { kind: 'groups', image: [2, 5, 7, 24], groups: 3, rows: 48, sparse: false },
  { kind: 'groups', image: [1, 4, 4, 6], groups: 6, rows: 6, sparse: false },
];
const shapeOf = (c: Matrices | Groups): string => (c.kind === 'groups' ? `${c.image.join('x')} in ${c.groups} groups of ${c.rows / c.groups} rows`
  : `${c.batch.join('x') || 1} times ${c.columns}x${c.depth}x${c.rows}${c.transA ? ', a transposed' : ''}${c.transB ? ', b transposed' : ''}${c.shared ? `, ${c.shared} shared` : ''}`);

const halves = (count: number, seed: number): number[] => randomNumbers(count, seed).map((x) => f16ToNumber(numberToF16(x)));
const sizeOfBatch = (c: Matrices): number => elementCount(c.batch);

/** A graph of all products; which inputs and constants each has. */
function graphOfAll() {
  const g = new GraphBuilder('m'), inputs: DenseTensor[] = [], operands: { readonly x: DenseTensor; readonly w: DenseTensor }[] = [];
  const input = (i: number, side: string, shape: readonly number[], seed: number) => {
    const t = tensorOf('f32', shape, halves(elementCount(shape), seed));
    inputs.push(t);
    return { value: g.input(`${side}${i}`, { dtype: 'f32', shape }), tensor: t };
  };
  const outputs = cases.map((c, i) => {
    if (c.kind === 'matrices') {
      const [a, b] = [c.shared === 'a' ? [] : c.batch, c.shared === 'b' ? c.batch.map(() => 1) : c.batch];
      const x = input(i, 'a', [...a, ...(c.transA ? [c.depth, c.columns] : [c.columns, c.depth])], 10 * i + 1), w = input(i, 'b', [...b, ...(c.transB ? [c.rows, c.depth] : [c.depth, c.rows])], 10 * i + 2);
      operands.push({ x: x.tensor, w: w.tensor });
      return g.op('matmul', [x.value, w.value], { transA: c.transA, transB: c.transB, out: 'f32' })[0]!;
    }
    const channels = c.image[3] / c.groups, depth = 9 * channels, all = halves(depth * c.rows, 10 * i + 1);
    const w = tensorOf('f32', [3, 3, channels, c.rows], all.map((v, at) => (c.sparse && Math.floor(at / c.rows) % 4 > 1 ? 0 : v))), x = input(i, 'x', c.image, 10 * i + 2);
    operands.push({ x: x.tensor, w });
    return g.op('conv', [x.value, g.constant(w)], { strides: [1, 1], dilations: [1, 1], pads: [[1, 1], [1, 1]], group: c.groups, layout: 'nsc', out: 'f32' })[0]!;
  });
  const graph = g.finish(outputs.map((value, i) => ({ name: `y${i}`, value })));
  const scaled = { ...graph, nodes: graph.nodes.map((n, i) => { const c = cases[i]!; return c.kind === 'matrices' && c.factor !== undefined ? { ...n, epilogue: { expr: mul(arg(0, 'f32'), constant('f32', c.factor)), inputs: [] } } : n; }) };
  return { graph: scaled, inputs, operands };
}

/** In float64: results in order, and the sum of magnitudes behind each. */
function expected(c: Matrices | Groups, x: readonly number[], w: readonly number[]): { readonly y: number; readonly magnitude: number }[] {
  const sum = (products: readonly number[], factor = 1) => ({ y: factor * products.reduce((a, b) => a + b, 0), magnitude: products.reduce((a, b) => a + Math.abs(b), 0) });
  if (c.kind === 'matrices') {
    const { columns, depth, rows } = c;
    return Array.from({ length: sizeOfBatch(c) * columns * rows }, (_, at) => {
      const z = Math.floor(at / (columns * rows)), n = Math.floor(at / rows) % columns, m = at % rows, za = c.shared === 'a' ? 0 : z, zb = c.shared === 'b' ? 0 : z;
      return sum(Array.from({ length: depth }, (__, k) => x[za * columns * depth + (c.transA ? k * columns + n : n * depth + k)]! * w[zb * depth * rows + (c.transB ? m * depth + k : k * rows + m)]!), c.factor);
    });
  }
  const [images, height, width, all] = c.image, channels = all / c.groups;
  return Array.from({ length: images * height * width * c.rows }, (_, at) => {
    const m = at % c.rows, px = Math.floor(at / c.rows) % width, py = Math.floor(at / (c.rows * width)) % height, image = Math.floor(at / (c.rows * width * height)), group = Math.floor(m / (c.rows / c.groups));
    return sum(Array.from({ length: 9 * channels }, (__, k) => {
      const yy = py - 1 + Math.floor(k / (3 * channels)), xx = px - 1 + Math.floor(k / channels) % 3;
      return yy < 0 || xx < 0 || yy >= height || xx >= width ? 0 : x[((image * height + yy) * width + xx) * all + group * channels + k % channels]! * w[k * c.rows + m]!;
    }));
  });
}

describe.skipIf(!hasGxx).each([['f16', 'sm_80', 'gemm'], ['bf16', 'sm_80', 'gemm'], ['f32', 'sm_80', 'gemm'], ['f16', 'sm_90a', 'wgmma']] as const)('%s on %s', (type, arch, preferred) => {
  const folder = temporaryFolder(), { graph, inputs, operands } = graphOfAll(), rule = tensorCoreRule(gpus[arch], type);
  // asked without the model of costs, the rule runs everything; constant weights on the tensor cores of warpgroups where there are any
  const only: KernelRule = { ...rule, candidates(request) { const all = rule.candidates(request), some = all.filter((c) => c.choice.kernel.includes(preferred)); return some.length > 0 ? some : all; } };
  const { plan, files } = emitGraph(graph, { ...cudaTarget(), kernels: [only] });
  let runs: readonly (readonly DenseTensor[])[] = [], program = '';
  beforeAll(() => {
    program = buildEmulation(files, folder.path, 'model');
    runs = ['0', '1', '2'].map((seed) => runProgram(program, plan, inputs, { SPC_EMU_SEED: seed }));
  }, 240_000);
  afterAll(() => folder.dispose());

  test('all run on tensor cores, sparse weights on sparse ones', () => {
    expect(plan.steps.map((s) => s.choice.status)).toEqual(cases.map((c) => (c.kind === 'groups' && c.sparse ? (type === 'f32' ? 'dense-kernel' : 'sparse-kernel') : 'dense-kernel')));
    expect(plan.steps.filter((s, i) => !s.choice.kernel.includes(cases[i]!.kind === 'groups' ? preferred : 'gemm'))).toEqual([]);
  });
  test.each(cases.map((c, i) => [shapeOf(c), c, i] as const))('%s', (_, c, i) => {
    const unit = type === 'bf16' ? 2 ** -7 : 2 ** -22, got = toNumbers(runs[0]![i]!), exact = expected(c, toNumbers(operands[i]!.x), toNumbers(operands[i]!.w));
    expect(got).toHaveLength(exact.length);
    exact.forEach(({ y, magnitude }, at) => expect(Math.abs(got[at]! - y), `element ${at}`).toBeLessThanOrEqual(magnitude * unit + 1e-6));
  });
  test('banks do not conflict', () => expect(replays(program, inputs.length)).toBe(0));
  test('every schedule gives the same bits', () => {
    for (const r of runs) expect(r.map((t) => Buffer.from(t.data.buffer).toString('hex'))).toEqual(runs[0]!.map((t) => Buffer.from(t.data.buffer).toString('hex')));
  });
});
