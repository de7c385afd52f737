import { expect, test } from 'vitest';
import { importModel } from '../../compiler/onnx/import.js';
import { randomInputs } from '../../compiler/io/random.js';
import { elementCount } from '../../compiler/ir/types.js';
import { loadOnnxRuntime, runOnnxRuntime } from '../../test/support/onnxruntime.js';
import { networkBytes, networkBuilder, type Network } from './builder.js';
import { networkNamed, networks } from './index.js';
import { bertEncoder } from './transformer.js';
import type { TypeSpec } from '../../test/support/onnx-builder.js';
import { countsOf, prune } from '../prune.js';

const ort = loadOnnxRuntime();
const declaredShapes = (n: Network): unknown[] => Object.values(n.model.outputs).map((o: string | TypeSpec) => (typeof o === 'string' ? undefined : o.shape));

/** Multiply-adds of an image or a sequence, and weights without biases, as the papers and model zoos count them. */
const golden: Readonly<Record<string, { readonly batch: number; readonly macs: number; readonly weights: number }>> = {
  lenet5: { batch: 1, macs: 2_293_000, weights: 430_500 },
  // 64 x 25, 64 x 1600, 1500 x 1600, 12 x 1500
  gsc: { batch: 1, macs: 28 * 28 * 1600 + 100 * 102_400 + 2_400_000 + 18_000, weights: 2_522_000 },
  mobilenetv1: { batch: 1, macs: 568_740_352, weights: 4_209_088 },
  resnet50: { batch: 1, macs: 4_089_184_256, weights: 25_502_912 },
  vgg16: { batch: 1, macs: 15_346_630_656, weights: 14_710_464 },
  // bottom, 351 + 128 features, top; 27 vectors with each other
  dlrm: { batch: 16, macs: 16 * (13 * 512 + 512 * 256 + 256 * 128 + 479 * 1024 + 1024 * 1024 + 1024 * 512 + 512 * 256 + 256 + 27 * 27 * 128), weights: 2_365_184 },
  'linear-512': { batch: 16, macs: 16 * 4 * 512 * 512, weights: 4 * 512 * 512 },
  'conv1x1-768x3072@14': { batch: 1, macs: 196 * 2 * 768 * 3072, weights: 2 * 768 * 3072 },
};

test.each(Object.entries(golden))('%s has the size that it is known for', (name, { batch, macs, weights }) => {
  expect(countsOf(networkNamed(name).build(batch))).toEqual({ elements: weights, nonZeros: weights, macs });
});

test('a layer of BERT-base', () => {
  const weights = 4 * 768 * 768 + 2 * 768 * 3072;
  expect(countsOf(bertEncoder(1, 1))).toEqual({ elements: weights, nonZeros: weights, macs: 128 * weights + 2 * 128 * 128 * 768 });
});

const small = ['lenet5', 'gsc', 'dlrm', 'mobilenetv1', 'linear-512', 'int8-linear-512', 'conv1x1-512@14'];

test.skipIf(ort === undefined).each(small.flatMap((name) => [[name, 1], [name, 2]] as const))(`%s, batch %d: types as ONNX Runtime's, outputs that say something${ort ? '' : ' (skipped: no onnxruntime-node)'}`, async (name, batch) => {
  const network = networkNamed(name).build(batch), bytes = networkBytes(network), { graph } = importModel({ bytes, name }, {});
  const types = graph.inputs.map((id) => graph.values.get(id)!), inputs = randomInputs(types.map((v) => v.type), 1, network.range);
  const results = await runOnnxRuntime(ort!, bytes, Object.fromEntries(types.map((v, i) => [v.name, inputs[i]!])));
  for (const o of graph.outputs) {
    const result = results[o.name]!;
    expect(result.shape).toEqual(graph.values.get(o.value)!.type.shape);
    expect(result.shape).toEqual(declaredShapes(network)[0]);
    const data = Array.from(result.data as Float32Array);
    expect(data.every(Number.isFinite)).toBe(true);
    const bytes = result.dtype === 'u8';
    expect(data.length === 1 || new Set(data).size > (bytes ? 100 : data.length / 4)).toBe(true);
    const largest = data.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
    expect(largest).toBeGreaterThan(0.01);
    expect(largest).toBeLessThan(bytes ? 256 : 100);
  }
});

test('an encoder layer imports with the shapes that the builder tells', () => {
  const network = bertEncoder(1, 1), { graph } = importModel({ bytes: networkBytes(network), name: 'bert' }, {});
  expect(graph.outputs.map((o) => graph.values.get(o.value)!.type.shape)).toEqual(declaredShapes(network));
});

test('the same seed gives the same file, another seed another', () => {
  const bytes = (seed: number): Buffer => {
    const b = networkBuilder(seed);
    return Buffer.from(networkBytes(b.finish([b.linear(b.input('x', [1, 3]), { out: 2 })])));
  };
  expect(bytes(1).equals(bytes(1))).toBe(true);
  expect(bytes(1).equals(bytes(2))).toBe(false);
});

test('pruning leaves the first and the last layer, keeps the variance, and says which layers do not fit', () => {
  const dense = networkNamed('lenet5').build(1), { network, unfit } = prune(dense, 'unstructured:0.9');
  expect(unfit).toEqual([]);
  const share = network.weights.map((w) => {
    const data = network.model.initializers![w.name]!, zeros = Array.from((data as { data: Float32Array }).data).filter((x) => x === 0).length;
    return zeros / elementCount(data.shape);
  });
  expect(share.map((s) => Math.round(s * 1000) / 1000)).toEqual([0, 0.9, 0.9, 0]);
  const energy = (n: typeof dense, name: string): number => (n.model.initializers![name] as { data: Float32Array }).data.reduce((s, x) => s + x * x, 0);
  const { name } = dense.weights[2]!;
  expect(energy(network, name) / energy(dense, name)).toBeCloseTo(1, 4);
  // 12 outputs of 1500 are no graph product of tiles
  expect(prune(networkNamed('gsc').build(1), 'rbgp4:0.875').unfit.length).toBeGreaterThan(0);
});

test('no output loses all of its weights, at the same number of non-zeros, as far as there is room', () => {
  const rowsOf = (network: string, pattern: string, layer: number): { readonly empty: number; readonly nonZeros: number } => {
    const { network: n } = prune(networkNamed(network).build(1), pattern), { shape, data } = n.model.initializers![n.weights[layer]!.name] as { shape: readonly number[]; data: Float32Array };
    const width = data.length / shape[0]!, counts = Array.from({ length: shape[0]! }, (_, r) => data.subarray(r * width, (r + 1) * width).reduce((s, x) => s + Number(x !== 0), 0));
    return { empty: counts.filter((c) => c === 0).length, nonZeros: counts.reduce((s, c) => s + c, 0) };
  };
  expect(rowsOf('gsc', 'unstructured:0.95', 0)).toEqual({ empty: 0, nonZeros: 80 });
  expect(rowsOf('gsc', 'unstructured:0.95', 3)).toEqual({ empty: 0, nonZeros: 900 });
  expect(rowsOf('gsc', 'block:16x1:0.95', 0)).toEqual({ empty: 0, nonZeros: 5 * 16 });
  // 333 of 512 x 13: a row each for as many rows
  expect(rowsOf('dlrm', 'unstructured:0.95', 0)).toEqual({ empty: 512 - 333, nonZeros: 333 });
});

test('a block pattern is in blocks of outputs, whichever axis numbers them', () => {
  const b = networkBuilder(), x = b.input('x', [8, 16]);
  const network = b.finish([b.linear(b.linear(x, { out: 8 }), { out: 12, form: 'matmul' })]);
  const { network: pruned } = prune(network, 'block:4x1:0.5');
  const at = (i: number): { shape: readonly number[]; data: Float32Array } => pruned.model.initializers![pruned.weights[i]!.name] as never;
  const [gemm, matmul] = [at(0), at(1)];
  for (let k = 0; k < 16; k++) for (let o = 0; o < 8; o++) expect(gemm.data[o * 16 + k] === 0).toBe(gemm.data[(o - (o % 4)) * 16 + k] === 0);
  for (let k = 0; k < 8; k++) for (let o = 0; o < 12; o++) expect(matmul.data[k * 12 + o] === 0).toBe(matmul.data[k * 12 + (o - (o % 4))] === 0);
});

test('an unknown network is named with those there are', () => {
  expect(() => networkNamed('lenet')).toThrow(/lenet5/);
  expect(Object.keys(networks).length).toBeGreaterThan(10);
});
