/** `--sparsify`: what is told of it, and that the result is the model that `spc sparsify` writes. */
import { expect, test } from 'vitest';
import { node, onnxModel } from '../test/support/onnx-builder.js';
import { compile } from './index.js';
import { compileModel } from './driver.js';
import { randomTensor } from './io/random.js';
import { sparsifyModel } from './sparsity/sparsify.js';
import { sparsifySource } from './sparsify-source.js';

/** Four layers in a row, of which the two in the middle may change, and a product of two activations. */
const bytes = onnxModel({
  inputs: { x: { dtype: 'f32', shape: [32, 64] } }, outputs: ['y'],
  initializers: Object.fromEntries([1, 2, 3, 4].map((i) => [`w${i}`, randomTensor({ dtype: 'f32', shape: [64, 64] }, i)])),
  nodes: [
    node('MatMul', ['x', 'w1'], ['a'], {}, { name: 'first' }), node('MatMul', ['a', 'w2'], ['b'], {}, { name: 'second' }), node('Transpose', ['b'], ['t'], { perm: [1, 0] }),
    node('MatMul', ['b', 't'], ['s'], {}, { name: 'scores' }), node('MatMul', ['s', 'b'], ['c'], {}, { name: 'mixed' }),
    node('MatMul', ['c', 'w3'], ['d'], {}, { name: 'third' }), node('MatMul', ['d', 'w4'], ['y'], {}, { name: 'last' }),
  ],
});
const source = { bytes, name: 'm' };

test('one warning says what was changed and how to check it, one note what was not and why', () => {
  const [warning, note, ...more] = sparsifySource(source, '2:4').diagnostics!;
  expect(more).toEqual([]);
  expect([warning!.code, warning!.severity]).toEqual(['SPC3006', 'warning']);
  expect(warning!.message).toMatch(/^weights of 2 layers were set to zero for 2:4, and the accuracy has changed by an unknown amount: second \(MatMul\) from 0\.0 % to 50\.0 % zeros, \d\d\.\d % of its squared norm kept; third \(MatMul\) from/);
  expect(warning!.hint).toMatch(/spc compare/);
  expect([note!.code, note!.severity]).toEqual(['SPC3007', 'note']);
  expect(note!.message).toBe('left as they were: scores (MatMul), mixed (MatMul): no operand is a constant; first (MatMul): it is a first layer; last (MatMul): it is a last layer');
});

test('a model that has the pattern is not called changed', () => {
  const all = { includeFirstLast: true } as const, again = sparsifySource(sparsifySource(source, '2:4', all), '2:4', all);
  expect(again.diagnostics!.map((d) => d.code)).toEqual(['SPC3006', 'SPC3007', 'SPC3007']);
  expect(again.diagnostics![2]!.message).toBe('left as they were: first (MatMul), second (MatMul), third (MatMul), last (MatMul): it has the pattern; scores (MatMul), mixed (MatMul): no operand is a constant');
});

test('it is the model that spc sparsify writes; the manifest says how it came about, and the files are the same every time', async () => {
  expect(sparsifySource(source, 'unstructured:0.8').bytes).toEqual(sparsifyModel(bytes, { pattern: 'unstructured:0.8' }).model);
  const options = { target: 'cuda', name: 'm' } as const, once = await compile(bytes, { ...options, sparsify: '2:4' }), again = await compile(bytes, { ...options, sparsify: '2:4' });
  expect([...once.files]).toEqual([...again.files]);
  const { sha256 } = compileModel(source, options).manifest.model;
  expect(once.manifest.options['sparsify']).toEqual({ pattern: '2:4', of: sha256 });
  expect(String(once.files.get('m.cu'))).toContain(sha256);
  expect(once.diagnostics.map((d) => d.code)).toEqual(['SPC3006', 'SPC3007']);
  const products = (layers: typeof once.manifest.layers): string[] => layers.filter((l) => l.weights).map((l) => l.status);
  expect(products(once.manifest.layers)).toEqual(['dense-kernel', 'sparse-kernel', 'sparse-kernel', 'dense-kernel']);
  expect(products((await compile(bytes, options)).manifest.layers)).toEqual(Array(4).fill('dense-kernel'));
});
