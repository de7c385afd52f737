/** Models sparsified, read back by ONNX Runtime and by spc, and their patterns detected again. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { node, onnxModel, sparseOf, type ModelSpec } from '../../test/support/onnx-builder.js';
import { loadOnnxRuntime, runOnnxRuntime } from '../../test/support/onnxruntime.js';
import { run as verb } from '../cli/verbs/sparsify.js';
import { createTerminal } from '../cli/terminal.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { randomTensor } from '../io/random.js';
import { denseData, tensorOf, toNumbers, type DenseTensor } from '../ir/tensor.js';
import { evaluateGraph } from '../kir/evaluate.js';
import { importModel } from '../onnx/import.js';
import { decodeMessage, encodeMessage } from '../onnx/proto.js';
import { tensorFromProto } from '../onnx/tensor.js';
import { replaceTensors } from '../onnx/write.js';
import { detect } from './detect.js';
import { supportOf } from './matrix.js';
import { weightsOf } from './onnx-weights.js';
import { sparsifyModel, type SparsifyOptions } from './sparsify.js';
import { toMatrices } from './view.js';

const w = (shape: number[], seed: number): DenseTensor => randomTensor({ dtype: 'f32', shape }, seed);

/** conv, grouped conv, a product whose weight is transposed, and Gemm: all that weights come as. */
const network: ModelSpec = {
  inputs: { x: { dtype: 'f32', shape: [1, 8, 6, 6] } }, outputs: { y: { dtype: 'f32', shape: [1, 5] } },
  initializers: { w1: w([16, 8, 3, 3], 1), w2: w([16, 8, 3, 3], 2), w3: w([32, 64], 3), w4: w([32, 16], 4), w5: w([16, 5], 5), shape: tensorOf('i64', [2], [1, 64]) },
  nodes: [
    node('Conv', ['x', 'w1'], ['a'], { strides: [2, 2] }, { name: 'c1' }), node('Relu', ['a'], ['b']), node('Conv', ['b', 'w2'], ['c'], { group: 2, pads: [1, 1, 1, 1] }, { name: 'c2' }),
    node('Reshape', ['c', 'shape'], ['d']), node('Transpose', ['w3'], ['w3t'], { perm: [1, 0] }), node('MatMul', ['d', 'w3t'], ['e'], {}, { name: 'm' }),
    node('Gemm', ['e', 'w4'], ['f'], {}, { name: 'g' }), node('MatMul', ['f', 'w5'], ['y'], {}, { name: 'last' }),
  ],
};
const bytes = onnxModel(network), graphOf = (b: Uint8Array) => decodeMessage('ModelProto', b).graph!;
const masksOf = (b: Uint8Array, tensor: string) => {
  const weight = weightsOf(graphOf(b)).weights.find((x) => x.tensor === tensor)!;
  return toMatrices(denseData(weight.value) as Float32Array, weight.view('rsc')).map((m) => supportOf(m));
};
const codeOf = (f: () => unknown): string => {
  try { f(); } catch (e) { if (e instanceof SpcError) return `${e.diagnostics[0]!.code}${e.diagnostics[0]!.hint ? '' : ' without a hint'}`; throw e; }
  return 'no error';
};

test('first and last layers stay; the others have the pattern in each group and behind a transpose', () => {
  const { model, layers, skipped } = sparsifyModel(bytes, { pattern: '2:4' });
  expect(layers.map((l) => [l.node, l.tensor, l.name, l.before, l.after])).toEqual([['c2', 'w2', '2:4', 0, 0.5], ['m', 'w3', '2:4', 0, 0.5], ['g', 'w4', '2:4', 0, 0.5]]);
  expect(skipped.map((s) => [s.node, s.why])).toEqual([['c1', 'it is a first layer'], ['last', 'it is a last layer']]);
  for (const l of layers) expect(l.energy).toBeGreaterThan(0.7);
  for (const t of ['w2', 'w3', 'w4']) for (const mask of masksOf(model, t)) expect(detect(mask)[0]!.name).toBe('2:4');
  expect(masksOf(model, 'w2')).toHaveLength(2);
});

test('kept weights are the old ones, everything else in the file too, also fields that nobody knows', () => {
  const unknown = Uint8Array.of(0xfa, 0x3f, 3, 1, 2, 3); // field 1023
  const odd = Buffer.concat([bytes, unknown]), { model } = sparsifyModel(odd, { pattern: 'unstructured:0.8', includeFirstLast: true });
  const before = graphOf(odd), after = graphOf(model);
  expect(Buffer.from(model.subarray(model.length - unknown.length))).toEqual(Buffer.from(unknown));
  expect(after.initializer.map((t) => t.name)).toEqual(before.initializer.map((t) => t.name));
  before.initializer.forEach((t, i) => {
    const old = toNumbers(tensorFromProto(t)), now = toNumbers(tensorFromProto(after.initializer[i]!));
    now.forEach((x, k) => { if (x !== 0) expect(x).toBe(old[k]); });
    if (t.name !== 'shape') expect(now.filter((x) => x === 0).length / now.length).toBeCloseTo(0.8, 1);
  });
  expect(after.node).toEqual(before.node);
  // replacing nothing changes nothing
  expect(Buffer.from(replaceTensors(odd, () => undefined))).toEqual(Buffer.from(odd));
});

const ort = loadOnnxRuntime();

test.skipIf(!ort).each<[string, SparsifyOptions]>([
  ['dense tensors', { pattern: 'block:4x1:0.75', includeFirstLast: true, layers: { last: 'unstructured:0.5' } }], ['sparse_initializer', { pattern: '2:4', sparseInitializer: true }],
])('ONNX Runtime and spc agree on the new model: %s', async (_, options) => {
  const { model } = sparsifyModel(bytes, options), x = w([1, 8, 6, 6], 9);
  const ours = toNumbers(evaluateGraph(importModel({ bytes: model }).graph, [x])[0]!), theirs = await runOnnxRuntime(ort!, model, { x });
  toNumbers(theirs['y']!).forEach((t, i) => expect(ours[i]).toBeCloseTo(t, 3));
});

test('sparse_initializer: names and order of positions; a sparse model can be sparsified again', () => {
  const { model } = sparsifyModel(bytes, { pattern: '2:4', sparseInitializer: true }), graph = graphOf(model);
  expect(graph.initializer.map((t) => t.name)).toEqual(['w1', 'w5', 'shape']);
  expect(graph.sparseInitializer.map((t) => t.values!.name)).toEqual(['w2', 'w3', 'w4']);
  const again = sparsifyModel(model, { pattern: '1:4' });
  expect(again.layers.map((l) => [l.before, l.after])).toEqual([[0.5, 0.75], [0.5, 0.75], [0.5, 0.75]]);
  const given = onnxModel({ ...network, initializers: { ...network.initializers, w2: sparseOf(network.initializers!['w2'] as DenseTensor) } });
  expect(sparsifyModel(given, { pattern: '2:4' }).layers.map((l) => l.node)).toContain('c2');
});

test('a global threshold takes the smallest of all layers together, but no layer whole', () => {
  const scaled = { ...network, initializers: { ...network.initializers, w2: { ...w([16, 8, 3, 3], 2), data: (w([16, 8, 3, 3], 2).data as Float32Array).map((x) => x / 1e4) } } };
  const { layers } = sparsifyModel(onnxModel(scaled), { pattern: 'unstructured:0.5', global: true });
  const size = (l: { shape: readonly number[] }): number => l.shape.reduce((a, b) => a * b), total = layers.reduce((s, l) => s + size(l), 0);
  expect(layers.reduce((s, l) => s + l.after * size(l), 0) / total).toBeCloseTo(0.5, 3);
  const c2 = layers.find((l) => l.node === 'c2')!;
  expect(1 - c2.after).toBeCloseTo(0.01, 2);
  expect(c2.after).toBeLessThan(1);
  const kept = sparsifyModel(onnxModel(scaled), { pattern: 'unstructured:0.5', global: true, layers: { c2: 'dense' } });
  expect(kept.layers.map((l) => l.node)).toEqual(['m', 'g']);
  expect(kept.skipped.find((s) => s.node === 'c2')!.why).toBe('asked for');
});

test('RBGP4 graphs depend on the seed only', () => {
  const made = (seed: number): string => masksOf(sparsifyModel(bytes, { pattern: 'rbgp4:0.5', seed }).model, 'w3')[0]!.bits.join('');
  expect(made(1)).toBe(made(1));
  expect(made(1)).not.toBe(made(2));
});

test('a weight in a Constant node, of half precision, and in a file beside the model', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spc-sparsify-'));
  try {
    const half = tensorOf('f16', [8, 8], toNumbers(w([8, 8], 3)));
    const m: ModelSpec = { inputs: { x: { dtype: 'f16', shape: [1, 8] } }, outputs: ['y'], nodes: [node('Constant', [], ['k'], { value: half }), node('MatMul', ['x', 'k'], ['y'], {}, { name: 'm' })] };
    const { model, layers } = sparsifyModel(onnxModel(m), { pattern: '2:4', includeFirstLast: true });
    expect([layers[0]!.after, toNumbers(weightsOf(graphOf(model)).weights[0]!.value).filter((x) => x === 0).length]).toEqual([0.5, 32]);

    writeFileSync(join(folder, 'data.bin'), new Uint8Array((w([8, 8], 4).data as Float32Array).buffer));
    const external = encodeMessage('ModelProto', {
      irVersion: 8, opsetImport: [{ domain: '', version: 17 }],
      graph: { name: 'g', node: [{ opType: 'MatMul', input: ['x', 'k'], output: ['y'] }], input: [], output: [{ name: 'y' }], initializer: [{ name: 'k', dims: [8, 8], dataType: 1, dataLocation: 1, externalData: [{ key: 'location', value: 'data.bin' }] }] },
    });
    const inlined = graphOf(sparsifyModel(external, { pattern: '2:4', includeFirstLast: true, baseDir: folder }).model).initializer[0]!;
    expect([inlined.dataLocation, tensorFromProto(inlined).data.length]).toEqual([0, 64]);
    expect(codeOf(() => sparsifyModel(external, { pattern: '2:4', includeFirstLast: true }))).toBe('SPC1016');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

describe('refusals', () => {
  test.each<[string, () => unknown]>([
    ['SPC1001', () => sparsifyModel(Uint8Array.of(1, 2, 3), { pattern: '2:4' })],
    ['SPC3001', () => sparsifyModel(bytes, { pattern: '2:' })],
    ['SPC3002', () => sparsifyModel(bytes, { layers: { g: 'rbgp4(3x3:0.5)' } })],
    ['SPC3003', () => sparsifyModel(bytes, { pattern: 'rbgp4(3x3,3x3)' })],
    ['SPC3003', () => sparsifyModel(onnxModel({ inputs: { x: { dtype: 'f32', shape: [1] } }, outputs: ['y'], nodes: [node('Relu', ['x'], ['y'])] }), { pattern: '2:4' })],
    ['SPC3004', () => sparsifyModel(bytes, { layers: { nowhere: '2:4' } })],
    ['SPC6002', () => sparsifyModel(bytes, { pattern: '2:4', global: true })],
  ])('%s', (code, f) => { expect(codeOf(f)).toBe(code); });
});

describe('the verb', () => {
  const folder = mkdtempSync(join(tmpdir(), 'spc-sparsify-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const terminal = createTerminal({ json: true, quiet: true }), input = join(folder, 'in.onnx'), output = join(folder, 'out.onnx');
  writeFileSync(input, bytes);

  test('writes the model and reports the layers', async () => {
    const { result } = await verb([input], { pattern: 'unstructured:0.9', output }, terminal);
    expect(result).toMatchObject({ output, layers: [{ node: 'c2' }, { node: 'm' }, { node: 'g' }] });
    expect(importModel({ bytes: readFileSync(output) }).graph.nodes.length).toBeGreaterThan(0);
  });
  test('writes nothing where it cannot', async () => {
    await expect(verb([input], { pattern: '2:4', output: join(folder, 'no', 'out.onnx') }, terminal)).rejects.toThrow('SPC6003');
    await expect(verb([input], { pattern: 'nonsense', output: join(folder, 'none.onnx') }, terminal)).rejects.toThrow('SPC3001');
    await expect(verb([input], { pattern: '2:4' }, terminal)).rejects.toThrow('SPC6002');
    expect(existsSync(join(folder, 'none.onnx'))).toBe(false);
  });
});
