/** Products of few rows as straight-line code, built and run on memory with guards: against float64, and where infinities go. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { emitModel, optimiseModel } from '../../../../compiler/driver.js';
import { packageRoot } from '../../../../compiler/emit/runtime-files.js';
import { tensorOf, toNumbers, type DenseTensor } from '../../../../compiler/ir/tensor.js';
import { elementCount } from '../../../../compiler/ir/types.js';
import { buildPlan } from '../../../../compiler/plan/build.js';
import { evaluateNetwork, type Numbers } from '../../../../test/differential/reference.js';
import { buildObjects, linkDriver, runDriver, type NativeOptions } from '../../../../test/support/native.js';
import { node, onnxModel, type NodeSpec } from '../../../../test/support/onnx-builder.js';
import { hasTool } from '../../../../test/support/processes.js';
import { randomSource, type RandomSource } from '../../../../test/support/random-stream.js';
import { isas } from '../../isa.js';
import { rowsStreamRule } from './rule.js';

const canRun = hasTool('gcc') && process.arch === 'x64' && process.platform === 'linux' && readFileSync('/proc/cpuinfo', 'utf8').includes('avx512bw');
const folder = mkdtempSync(join(tmpdir(), 'spc-rows-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Activation = (y: string, shape: readonly number[], name: string) => readonly NodeSpec[];
const activations: Readonly<Record<string, Activation>> = {
  none: () => [],
  relu: (y, _, to) => [node('Relu', [y], [to])],
  clip: (y, _, to) => [node('Clip', [y, 'low', 'high'], [to])],
  silu: (y, _, to) => [node('Sigmoid', [y], [`${to}_s`]), node('Mul', [y, `${to}_s`], [to])],
  residual: (y, _, to) => [node('Add', [y, `${to}_r`], [`${to}_a`]), node('Relu', [`${to}_a`], [to])],
};

/** A network of one layer for each combination, with its inputs. */
function layers(random: RandomSource, element: () => number, step: number) {
  const nodes: NodeSpec[] = [], initializers: Record<string, DenseTensor> = { low: tensorOf('f32', [], [-0.25]), high: tensorOf('f32', [], [0.5]) }, inputs: Record<string, DenseTensor> = {}, outputs: string[] = [];
  const filled = (shape: readonly number[], value: () => number): DenseTensor => tensorOf('f32', shape, Array.from({ length: elementCount(shape) }, value));
  const uniform = (): number => random.next() * 2 - 1;
  const layer = (x: readonly number[], weights: readonly number[], y: readonly number[], density: number, activation: string): void => {
    const id = `n${outputs.length}`, linear = weights.length === 2, name = activation === 'none' ? `${id}_b` : id;
    inputs[`${id}_x`] = filled(x, element);
    initializers[`${id}_w`] = filled(weights, () => (random.next() < density ? uniform() : 0));
    initializers[`${id}_c`] = filled([linear ? weights[1]! : weights[0]!], uniform);
    if (activation === 'residual') inputs[`${id}_r`] = filled(y, uniform);
    nodes.push(...(linear ? [node('MatMul', [`${id}_x`, `${id}_w`], [`${id}_p`]), node('Add', [`${id}_p`, `${id}_c`], [`${id}_b`])]
      : [node('Conv', [`${id}_x`, `${id}_w`, `${id}_c`], [`${id}_b`], { kernel_shape: [1, 1] })]), ...activations[activation]!(`${id}_b`, y, id));
    outputs.push(name);
  };
  const kinds = Object.keys(activations);
  for (let rows = 2; rows <= 16; rows += step) {
    const k = random.pick([2, 3, 17, 40, 300, 1100]), m = random.pick([1, 5, 16, 31, 33, 70]);
    layer([rows, k], [k, m], [rows, m], random.pick([0.05, 0.1, 0.5, 1]), kinds[rows % kinds.length]!);
  }
  layer([2, 3, 40], [40, 37], [2, 3, 37], 0.2, 'residual');
  layer([1, 24, 3, 3], [50, 24, 1, 1], [1, 50, 3, 3], 0.2, 'silu');
  layer([4, 24, 1, 1], [50, 24, 1, 1], [4, 50, 1, 1], 0.2, 'relu');
  return { nodes, initializers, inputs, outputs };
}

const plain: NativeOptions = { cc: 'gcc', optimise: '-O2', sanitize: false };
const builds: readonly NativeOptions[] = [plain, { cc: 'gcc', optimise: '-O1', sanitize: true }, ...(hasTool('clang') ? [{ ...plain, cc: 'clang' }] : [])];

async function run(dir: string, seed: number, options: NativeOptions, special: number): Promise<readonly string[]> {
  const random = randomSource(seed), uniform = (): number => random.next() * 2 - 1;
  const network = layers(random, () => (random.next() < special ? random.pick([NaN, Infinity, -Infinity]) : uniform()), options.sanitize ? 3 : 1);
  const { inputs, nodes, initializers, outputs } = network;
  const bytes = onnxModel({ opset: 17, nodes, inputs: Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, { dtype: 'f32', shape: t.shape }])), initializers, outputs });
  const { imported, optimised, target } = optimiseModel({ bytes, name: 'rows' }, { cpu: 'x86-64-v4' });
  const plan = buildPlan(optimised.graph, { ...target, kernels: [rowsStreamRule(isas['x86-64-v4'])] });
  const emitted = emitModel(plan, target, { name: 'rows', header: [], weights: 'auto' }, { options: { target: 'cpu', cpu: 'x86-64-v4', weights: 'auto', dims: {} }, model: { name: 'rows', sha256: imported.info.sha256, producer: '' }, diagnostics: [] });
  // products by zeros alone are folded
  expect(plan.steps.filter((s) => s.choice.kernel.startsWith('stream')).length).toBeGreaterThan(outputs.length - 4);
  const { objects, problem } = await buildObjects(dir, emitted, options);
  if (problem) return [problem];
  await linkDriver(dir, ['rows'], objects, join(packageRoot(), 'runtime', 'include'), options);
  const actual = await runDriver(dir, 0, 'rows', emitted.manifest.inputs.map((i) => inputs[i.name]!), emitted.manifest.outputs);
  if (typeof actual === 'string') return [actual];
  const numbers = (t: DenseTensor): Numbers => ({ shape: t.shape, data: Float64Array.from(toNumbers(t)) });
  const expected = evaluateNetwork(nodes, new Map([...Object.entries(inputs), ...Object.entries(initializers)].map(([name, t]) => [name, numbers(t)] as const)));
  return emitted.manifest.outputs.flatMap(({ name }, o) => {
    const want = expected.get(name)!.data, got = toNumbers(actual[o]!), scale = want.reduce((m, v) => (Number.isFinite(v) ? Math.max(m, Math.abs(v)) : m), 1);
    const wrong = got.flatMap((v, i) => (Object.is(v, want[i]) || v === want[i] || Math.abs(v - want[i]!) <= 1e-5 * scale ? [] : [i]));
    return wrong.length ? [`${name}: element ${wrong[0]} is ${got[wrong[0]!]} instead of ${want[wrong[0]!]}, ${wrong.length} of ${got.length} differ`] : [];
  });
}

test.skipIf(!canRun).each(builds)('agrees with float64: $cc $optimise, sanitizers: $sanitize', async (options) => {
  const dir = mkdtempSync(join(folder, 'run-'));
  expect(await run(dir, 3, options, 0)).toEqual([]);
}, 60_000);

test.skipIf(!canRun)('NaN and infinities reach what a weight takes them to', async () => {
  expect(await run(mkdtempSync(join(folder, 'special-')), 5, plain, 0.02)).toEqual([]);
}, 60_000);
