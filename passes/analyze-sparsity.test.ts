/** The analysis on graphs of known patterns, and on real models: what the projector makes is found where the compiler looks for it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { node, onnxModel, type ModelSpec } from '../test/support/onnx-builder.js';
import { packageRoot } from '../compiler/emit/runtime-files.js';
import { readModel } from '../compiler/driver.js';
import { randomTensor } from '../compiler/io/random.js';
import { denseTensor, tensorOf, type DenseTensor } from '../compiler/ir/tensor.js';
import type { Graph } from '../compiler/ir/types.js';
import { importModel } from '../compiler/onnx/import.js';
import { sparsifyModel } from '../compiler/sparsity/sparsify.js';
import { analyzeSparsity, type NodeSparsity } from './analyze-sparsity.js';
import { runPasses } from './manager.js';
import { channelsLastPasses, pipelineFor } from './pipeline.js';

const optimised = (bytes: Uint8Array): Graph => runPasses(importModel({ bytes }).graph, pipelineFor({ passes: channelsLastPasses }), {}).graph;
const byName = (graph: Graph): Map<string, NodeSparsity> => new Map([...analyzeSparsity(graph)].flatMap(([id, facts]) => graph.nodes.find((n) => n.id === id)!.origins.map((o) => [o.node, facts] as const)));
const w = (shape: number[], seed: number): DenseTensor => randomTensor({ dtype: 'f32', shape }, seed);

const network: ModelSpec = {
  inputs: { x: { dtype: 'f32', shape: [1, 16, 8, 8] } }, outputs: ['y'],
  initializers: { w1: w([32, 16, 3, 3], 1), w2: w([32, 1, 3, 3], 2), w3: w([32, 32], 3), flat: tensorOf('i64', [2], [64, 32]) },
  nodes: [
    node('Conv', ['x', 'w1'], ['a'], { pads: [1, 1, 1, 1] }, { name: 'conv' }), node('Conv', ['a', 'w2'], ['b'], { group: 32, pads: [1, 1, 1, 1] }, { name: 'depthwise' }),
    node('Reshape', ['b', 'flat'], ['c']), node('Gemm', ['c', 'w3'], ['y'], { transB: 1 }, { name: 'gemm' }),
  ],
};

describe.each([['before passes', (b: Uint8Array) => importModel({ bytes: b }).graph], ['after passes', optimised]] as const)('%s', (_, graphOf) => {
  test.each([['2:4', '2:4', 'rsc'], ['block:4x1:0.75', '4x1 blocks', 'rsc'], ['channel:0.5', 'channels removed', 'crs'], ['kernel:0.75', 'kernels removed', 'crs'], ['filter:0.5', 'filters removed', 'rsc'], ['complementary:4', 'complementary 1:4', 'rsc']])('%s on a convolution', (pattern, name, order) => {
    const facts = byName(graphOf(sparsifyModel(onnxModel(network), { layers: { conv: pattern } }).model)).get('conv')!;
    expect(facts.patterns[0]).toMatchObject({ name, order });
    expect([facts.rows, facts.cols]).toEqual([32, 144]);
  });

  test('statistics of depthwise and matrix products', () => {
    const { model } = sparsifyModel(onnxModel(network), { layers: { depthwise: 'unstructured:0.5', gemm: 'shape:0.25' } }), facts = byName(graphOf(model));
    expect(facts.get('depthwise')).toMatchObject({ rows: 32, cols: 9, nnz: 144, density: 0.5 });
    expect(facts.get('gemm')).toMatchObject({ rows: 32, cols: 32, nnz: 768, emptyRows: 0, emptyCols: 8, longestRow: 24, shortestRow: 24, tiny: 0 });
    expect(facts.get('conv')!.patterns[0]!.name).toBe('dense');
  });
});

test('forgotten masks show as tiny weights', () => {
  const data = (w([32, 32], 3).data as Float32Array).map((x, i) => (i % 2 ? x : 1e-9 * x));
  const graph = importModel({ bytes: onnxModel({ ...network, initializers: { ...network.initializers, w3: denseTensor('f32', [32, 32], data) } }) }).graph;
  expect(byName(graph).get('gemm')!.tiny).toBe(512);
});

test('quantised weights are sparse around their zero points, one for all or one an output', () => {
  for (const points of [[128], Array.from({ length: 8 }, (_, i) => 100 + i)]) {
    const pointOf = (column: number): number => points[column % points.length]!;
    const stored = tensorOf('u8', [16, 8], Array.from({ length: 128 }, (_, i) => (Math.floor(i / 8) % 4 < 2 ? pointOf(i % 8) : 7 + (i % 50))));
    const scale = tensorOf('f32', points.length === 1 ? [] : [8], points.map(() => 0.5)), zero = tensorOf('u8', points.length === 1 ? [] : [8], points);
    const graph = importModel({ bytes: onnxModel({
      inputs: { x: { dtype: 'f32', shape: [4, 16] } }, outputs: ['y'], initializers: { q: stored, scale, zero },
      nodes: [node('DequantizeLinear', ['q', 'scale', 'zero'], ['v'], { axis: 1 }), node('MatMul', ['x', 'v'], ['y'], {}, { name: 'm' })],
    }) }).graph;
    const facts = byName(graph).get('m')!;
    expect(facts, `${points.length} zero points`).toMatchObject({ rows: 8, cols: 16, nnz: 64, density: 0.5 });
    expect(facts.emptyCols).toBe(8);
  }
});

test('activations times activations have no weights, shared weights are analysed once', () => {
  const graph = importModel({ bytes: onnxModel({
    inputs: { x: { dtype: 'f32', shape: [8, 8] } }, outputs: ['z'], initializers: { k: w([8, 8], 1) },
    nodes: [node('MatMul', ['x', 'k'], ['a'], {}, { name: 'one' }), node('MatMul', ['a', 'k'], ['b'], {}, { name: 'two' }), node('MatMul', ['a', 'b'], ['z'], {}, { name: 'none' })],
  }) }).graph, facts = byName(graph);
  expect([...facts.keys()]).toEqual(['one', 'two']);
  expect(facts.get('one')).toBe(facts.get('two'));
});

const models = join(packageRoot(), '..', 'shared', 'models');
const real = ['mlperf-tiny/ic_resnet8_fp32.onnx', 'mlperf-tiny/ad_autoencoder_fp32.onnx', 'mlperf-tiny/vww_mobilenetv1_025_fp32.onnx'];
describe.skipIf(!existsSync(models))('real models', () => {
  test.each(real.flatMap((m) => ['unstructured:0.8', '2:4', 'block:4x1:0.75', 'complementary:4', 'part-x:16:0.75', 'part-y:16:0.75', 'row-balanced:0.75'].map((p) => [m, p] as const)))('%s on %s', (file, pattern) => {
    const { model, layers } = sparsifyModel(readModel(join(models, file)).bytes, { pattern }), facts = byName(importModel({ bytes: model }).graph);
    // of small matrices, several descriptions hold and any may be the shortest
    const large = layers.filter((l) => l.shape[0]! >= 32 && l.shape.reduce((a, b) => a * b) >= 2048);
    expect(large.length).toBeGreaterThan(0);
    // the weights of a dead channel are all small, so that a projection may remove it whole
    for (const l of large) expect(facts.get(l.node)!.patterns[0]!.name.replace(/ inside (filters|columns|channels) removed$/, ''), l.node).toBe(l.name);
  });

  test('pruned models keep their sparsity', () => {
    const { graph } = importModel(readModel(join(models, 'mnist-pruned/mnist_cnn_pruned.onnx')));
    for (const facts of analyzeSparsity(graph).values()) expect(facts.density).toBeLessThan(0.25);
  });
});
