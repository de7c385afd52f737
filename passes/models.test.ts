/** Real models: what the passes must make of them, and that they mean the same afterwards. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { factsOf, sparsityOf } from '../compiler/ir/analysis.js';
import { formatGraph } from '../compiler/ir/print.js';
import { parseGraph } from '../compiler/ir/parse.js';
import type { Graph } from '../compiler/ir/types.js';
import { importModel } from '../compiler/onnx/import.js';
import { runPasses } from './manager.js';
import { channelsLastPasses, pipelineFor } from './pipeline.js';
import { shrinkChannels } from './shrink-channels.js';
import { sunk, transposedElements } from './sink-transposes.js';
import { expectSameMeaning } from '../test/support/graphs.js';

/** Models of this repository first, then those beside it. */
const pathOf = (name: string): string => ['examples/models', '../shared/models'].map((dir) => `${dir}/${name}`).find((p) => existsSync(p)) ?? '';
const imported = (name: string): Graph => importModel({ bytes: readFileSync(pathOf(name)), name }, { dims: { batch: 1, batch_size: 1, N: 1, unk__0: 1 } }).graph;
const optimised = (graph: Graph, passes = channelsLastPasses): Graph => runPasses(graph, pipelineFor({ passes }), { verifyEach: true }).graph;
const countsOf = (graph: Graph): Record<string, number> => graph.nodes.reduce<Record<string, number>>((n, { kind }) => ({ ...n, [kind]: (n[kind] ?? 0) + 1 }), {});

/** Nodes that remain (reshapes cost nothing and are not listed). */
const wanted: readonly (readonly [model: string, counts: Record<string, number>])[] = [
  ['mnist-cnn/mnist.onnx', { conv: 2, pool: 2, matmul: 1 }],
  ['mlperf-tiny/ic_resnet8_fp32.onnx', { conv: 9, reduce: 1, matmul: 1, softmax: 1 }],
  ['mlperf-tiny/kws_dscnn_fp32.onnx', { conv: 5, reduce: 1, matmul: 5, softmax: 1 }],
  ['mlperf-tiny/vww_mobilenetv1_025_fp32.onnx', { conv: 14, matmul: 14, reduce: 1, softmax: 1 }],
  ['mlperf-tiny/ad_autoencoder_fp32.onnx', { matmul: 10 }],
  ['qonnx-std/TFC_2W2A.onnx', { elementwise: 1, matmul: 4 }],
  ['jets-pruned/KERAS_3layer_70pruned_retrained.onnx', { matmul: 4, softmax: 1 }],
  ['micro-kws/micro_kws_m_static_fp32.onnx', { conv: 3, pool: 3, matmul: 3, softmax: 1 }],
  ['micro-kws/micro_kws_m_static_qdq.onnx', { elementwise: 1, conv: 3, pool: 3, matmul: 3, softmax: 1 }],
  ['micro-kws/micro_kws_m_static_qoperator.onnx', { elementwise: 1, conv: 3, pool: 3, matmul: 3, softmax: 1 }],
];
for (const [name, counts] of wanted) {
  test.skipIf(pathOf(name) === '')(`${name} becomes ${JSON.stringify(counts)}`, () => {
    const graph = imported(name), after = optimised(graph);
    const { reshape: _, ...rest } = countsOf(after);
    expect(rest).toEqual(counts);
    expectSameMeaning(graph, after, 1e-4);
    const text = formatGraph(after, { constants: 'all' });
    expect(formatGraph(parseGraph(text), { constants: 'all' })).toBe(text);
  });
}

const resnet56 = 'resnet56-pruned/sniplevel_30_0.8.onnx';
test.skipIf(pathOf(resnet56) === '')('a pruned ResNet-56: one node a convolution, one transpose, no zero lost but with its whole channel', () => {
  const graph = imported(resnet56), after = optimised(graph);
  const { reshape: _, ...rest } = countsOf(after);
  expect(rest).toEqual({ transpose: 1, conv: 57, reduce: 1, matmul: 1 });
  expect(after.nodes.filter((n) => n.kind === 'conv' && !n.epilogue).length).toBeLessThanOrEqual(2); // shortcut convolutions meet another one
  expectSameMeaning(graph, after, 1e-4);
  const work = (g: Graph): number => factsOf(g).macs, nonZeros = (g: Graph): number[] => g.nodes.flatMap((n) => (n.kind === 'conv' ? [sparsityOf(g.values.get(n.inputs[1]!)!.constant!).nnz] : [])).sort((a, b) => a - b);
  const whole = runPasses(graph, pipelineFor({ passes: channelsLastPasses }).filter((p) => p !== shrinkChannels)).graph;
  expect([work(whole), nonZeros(whole)]).toEqual([work(graph), nonZeros(graph)]);
  expect(work(after)).toBeLessThan(work(graph));
  nonZeros(after).forEach((n, i) => expect(n).toBeLessThanOrEqual(nonZeros(graph)[i]!));
});

const magika = 'magika/model.onnx';
test.skipIf(pathOf(magika) === '')('magika: the one-hot product is a lookup, softmax is one again', () => {
  const graph = imported(magika), after = optimised(graph);
  expect(countsOf(after)).toMatchObject({ gather: 1, conv: 1, matmul: 1, softmax: 1 });
  expect(countsOf(after)).not.toHaveProperty('transpose');
  expect(factsOf(after).macs).toBeLessThan(0.92 * factsOf(graph).macs);
});

const vit = 'vit-cifar/ibp_3_3_8.onnx';
test.skipIf(pathOf(vit) === '')('a vision transformer keeps only the transposes of its heads', () => {
  const graph = imported(vit), after = optimised(graph);
  expect(countsOf(after)).toMatchObject({ matmul: 25, softmax: 3, conv: 1 });
  expect(countsOf(after)).not.toHaveProperty('elementwise');
  expect(transposedElements(after)).toBe(transposedElements(sunk(after)));
  expectSameMeaning(graph, after, 1e-4);
});
