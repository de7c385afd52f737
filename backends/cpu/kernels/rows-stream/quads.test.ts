/** Integer products in fours, built and run on memory with guards: equal to ONNX Runtime's to the last bit (what is dequantised, to a few). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { emitModel, optimiseModel } from '../../../../compiler/driver.js';
import { packageRoot } from '../../../../compiler/emit/runtime-files.js';
import { tensorOf, toNumbers, type DenseTensor } from '../../../../compiler/ir/tensor.js';
import { elementCount } from '../../../../compiler/ir/types.js';
import { buildPlan } from '../../../../compiler/plan/build.js';
import { buildObjects, linkDriver, runDriver, type NativeOptions } from '../../../../test/support/native.js';
import { node, onnxModel, type NodeSpec } from '../../../../test/support/onnx-builder.js';
import { loadOnnxRuntime, runOnnxRuntime } from '../../../../test/support/onnxruntime.js';
import { hasTool } from '../../../../test/support/processes.js';
import { randomSource } from '../../../../test/support/random-stream.js';
import { isas } from '../../isa.js';
import { nativeIsa } from '../../target.js';
import { quadsRule } from './quads.js';

const ort = loadOnnxRuntime(), isa = isas['x86-64-v4-vnni'], canRun = ort !== undefined && hasTool('gcc') && nativeIsa() === isa;
const folder = mkdtempSync(join(tmpdir(), 'spc-quads-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Small = 'u8' | 'i8';
const range = { u8: [0, 255], i8: [-128, 127] } as const;

/** A product of each kind for all numbers of rows; extremes are frequent. */
function products(seed: number, sizes: readonly number[]) {
  const random = randomSource(seed), { integer, pick } = random;
  const nodes: NodeSpec[] = [], initializers: Record<string, DenseTensor> = {}, inputs: Record<string, DenseTensor> = {}, outputs: string[] = [];
  const small = (dtype: Small, shape: readonly number[], density = 1): DenseTensor => {
    const [low, high] = range[dtype];
    return tensorOf(dtype, shape, Array.from({ length: elementCount(shape) }, () => (random.next() < density ? pick([low, high, integer(low, high)]) : 0)));
  };
  const constant = (name: string, t: DenseTensor): string => { initializers[name] = t; return name; };
  const scalar = (name: string, value: number): string => constant(name, tensorOf('f32', [], [value]));
  const zero = (name: string, dtype: Small): string => constant(name, tensorOf(dtype, [], [pick([...range[dtype], integer(range[dtype][0], range[dtype][1])])]));
  const add = (dtype: Small, x: readonly number[], w: readonly number[], layer: (id: string, x: string, w: string) => readonly NodeSpec[], density = pick([0.05, 0.1, 0.2])): void => {
    const id = `n${outputs.length}`;
    inputs[`${id}_x`] = small(dtype, x);
    constant(`${id}_w`, small('i8', w, density));
    nodes.push(...layer(id, `${id}_x`, `${id}_w`));
    outputs.push(`${id}_y`);
  };
  const weightScales = (id: string, n: number): string[] => [constant(`${id}_ws`, tensorOf('f32', [n], Array.from({ length: n }, () => 0.001 + random.next() * 0.01))), constant(`${id}_wz`, tensorOf('i8', [n], Array.from({ length: n }, () => 0)))];
  for (const rows of sizes) {
    const k = pick([3, 4, 9, 64, 130, 1100]), n = pick([1, 5, 16, 31, 40, 70]);
    for (const dtype of ['u8', 'i8'] as const) {
      add(dtype, [rows, k], [k, n], (id, x, w) => [node('MatMulInteger', rows % 2 ? [x, w] : [x, w, zero(`${id}_z`, dtype)], [`${id}_y`])]);
      add(dtype, [rows, k], [k, n], (id, x, w) => [node('QLinearMatMul', [x, scalar(`${id}_xs`, 0.02), zero(`${id}_xz`, dtype), w, ...weightScales(id, n), scalar(`${id}_ys`, 0.1), zero(`${id}_yz`, dtype)], [`${id}_y`])]);
    }
  }
  // dequantised - product - bias - quantised: the epilogue has a vector for each row's outputs
  add('u8', [20, 64], [64, 50], (id, x, w) => [
    node('DequantizeLinear', [x, scalar(`${id}_xs`, 0.02), zero(`${id}_xz`, 'u8')], [`${id}_a`]), node('DequantizeLinear', [w, scalar(`${id}_ws`, 0.01), constant(`${id}_wz`, tensorOf('i8', [], [0]))], [`${id}_b`]),
    node('MatMul', [`${id}_a`, `${id}_b`], [`${id}_p`]), node('Relu', [`${id}_p`], [`${id}_y`])]);
  // a convolution of one pixel, and a result that is added to
  add('u8', [1, 40, 5, 7], [33, 40, 1, 1], (id, x, w) => [node('ConvInteger', [x, w, zero(`${id}_z`, 'u8')], [`${id}_y`], { kernel_shape: [1, 1] })]);
  add('i8', [19, 64], [64, 37], (id, x, w) => {
    inputs[`${id}_r`] = tensorOf('i32', [19, 37], Array.from({ length: 19 * 37 }, () => integer(-1000, 1000)));
    return [node('MatMulInteger', [x, w], [`${id}_p`]), node('Add', [`${id}_p`, `${id}_r`], [`${id}_y`])];
  });
  return { nodes, initializers, inputs, outputs };
}

const builds: readonly NativeOptions[] = [{ cc: 'gcc', optimise: '-O2', sanitize: false }, { cc: 'gcc', optimise: '-O1', sanitize: true }, ...(hasTool('clang') ? [{ cc: 'clang', optimise: '-O2', sanitize: false }] : [])];

test.skipIf(!canRun).each(builds)('equal to ONNX Runtime: $cc $optimise, sanitizers: $sanitize', async (options) => {
  const { nodes, initializers, inputs, outputs } = products(options.sanitize ? 7 : 3, options.sanitize ? [3, 7, 19, 100] : [2, 4, 5, 8, 9, 16, 17, 31, 40]), dir = mkdtempSync(join(folder, 'run-'));
  const bytes = onnxModel({ opset: 17, nodes, inputs: Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, { dtype: t.dtype, shape: t.shape }])), initializers, outputs });
  const { imported, optimised, target } = optimiseModel({ bytes, name: 'quads' }, { cpu: [isa.name] });
  const plan = buildPlan(optimised.graph, { ...target, kernels: [quadsRule(isa)] });
  const emitted = emitModel(plan, target, { name: 'quads', header: [], weights: 'auto' }, { options: { target: 'cpu', cpu: isa.name, weights: 'auto', dims: {} }, model: { name: 'quads', sha256: imported.info.sha256, producer: '' }, diagnostics: [] });
  expect(plan.steps.filter((s) => s.choice.kernel.startsWith('stream')).length).toBeGreaterThan(0.8 * outputs.length);
  const { objects, problem } = await buildObjects(dir, emitted, options);
  expect(problem).toBeUndefined();
  await linkDriver(dir, ['quads'], objects, join(packageRoot(), 'runtime', 'include'), options);
  const actual = await runDriver(dir, 0, 'quads', emitted.manifest.inputs.map((i) => inputs[i.name]!), emitted.manifest.outputs), expected = await runOnnxRuntime(ort!, bytes, inputs);
  if (typeof actual === 'string') throw new Error(actual);
  const wrong = emitted.manifest.outputs.flatMap(({ name, dtype }, o) => {
    const got = toNumbers(actual[o]!), want = toNumbers(expected[name]!), i = got.findIndex((v, j) => (dtype === 'f32' ? Math.abs(v - want[j]!) > 1e-4 : v !== want[j]));
    return i < 0 ? [] : [`${name}: element ${i} is ${got[i]} instead of ${want[i]}`];
  });
  expect(wrong).toEqual([]);
}, 60_000);
