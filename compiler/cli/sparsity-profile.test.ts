import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { node, onnxModel } from '../../test/support/onnx-builder.js';
import { randomSource } from '../../test/support/random-stream.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { compileModel } from '../driver.js';
import { encodeNpy } from '../io/npy.js';
import { denseTensor, tensorOf, toNumbers, type DenseTensor } from '../ir/tensor.js';
import { elementCount } from '../ir/types.js';
import { evaluateGraph } from '../kir/evaluate.js';
import { readProfile, type SparsityProfile } from '../sparsity/profile.js';
import { loadFiles, runLoaded } from './source.js';
import { profileSparsity } from './sparsity-profile.js';
import { createTerminal } from './terminal.js';
import { tuneModel } from './tune.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-profile-')), at = (name: string): string => join(folder, name), terminal = createTerminal({ quiet: true, json: true });
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const random = randomSource(3), tensor = (shape: readonly number[], shift = 0): DenseTensor => tensorOf('f32', shape, Array.from({ length: elementCount(shape) }, () => random.next() * 2 - 1 + shift));
/** Activations of which few are left, then a product with weights that have no zeros. */
const bytes = onnxModel({
  inputs: { x: { dtype: 'f32', shape: [1, 4, 6, 6] } },
  nodes: [
    node('Conv', ['x', 'w1', 'b1'], ['sums'], { pads: [1, 1, 1, 1] }, { name: 'conv' }), node('Relu', ['sums'], ['few'], {}, { name: 'relu' }),
    node('Flatten', ['few'], ['flat'], { axis: 1 }, { name: 'flatten' }), node('Gemm', ['flat', 'w2'], ['y'], {}, { name: 'product' }),
  ],
  outputs: { y: { dtype: 'f32' } },
  initializers: { w1: tensor([16, 4, 3, 3]), b1: tensor([16], -4), w2: tensor([576, 300]) },
});
const kernelOf = (zeros?: SparsityProfile['zeros']): string => compileModel({ bytes }, { cpu: 'x86-64-v4', ...(zeros ? { zeros } : {}) }).manifest.layers.at(-1)!.schedule;

test('what was measured decides how a product runs; more that is active later changes nothing but time', async () => {
  const samples = 5, data = tensor([samples, 4, 6, 6]);
  writeFileSync(at('model.onnx'), bytes);
  writeFileSync(at('x.npy'), encodeNpy(data));
  await profileSparsity(at('model.onnx'), at('zeros.json'), { input: [at('x.npy')], samples }, terminal);
  const profile = JSON.parse(readFileSync(at('zeros.json'), 'utf8')) as SparsityProfile, plain = compileModel({ bytes });
  // the same, counted by the evaluator
  const few = plain.imported.nodes.find((n) => n.origins.some((o) => o.node === 'relu'))!.outputs[0]!, shown = { ...plain.imported, outputs: [{ name: 'few', value: few }] };
  const zeros = Array.from({ length: samples }, (_, i) => toNumbers(evaluateGraph(shown, [denseTensor('f32', [1, 4, 6, 6], data.data.slice(i * 144, (i + 1) * 144))])[0]!).filter((v) => v === 0).length);
  expect(profile).toMatchObject({ schemaVersion: 1, samples, zeros: { few: expect.closeTo(zeros.reduce((a, b) => a + b) / (samples * 576), 3) as number, y: 0 } });
  expect(profile.zeros['few']).toBeGreaterThan(0.9);

  expect(kernelOf()).not.toContain('active columns');
  expect(kernelOf(readProfile(at('zeros.json')))).toBe('active columns, whole');
  expect(kernelOf({ few: 0 })).not.toContain('active columns');

  const compiled = compileModel({ bytes }, { zeros: readProfile(at('zeros.json')) }), model = await loadFiles(compiled.files, {}, terminal);
  expect(compiled.manifest.options).toMatchObject({ profiled: true });
  // all active
  const x = denseTensor('f32', [1, 4, 6, 6], new Float32Array(144).fill(9)), got = toNumbers(runLoaded(model, [x])[0]!), want = toNumbers(evaluateGraph(plain.imported, [x])[0]!);
  model.dispose();
  expect(Math.max(...want.map((v, i) => Math.abs(v - got[i]!)))).toBeLessThan(1e-4 * Math.max(...want.map(Math.abs)));
}, 60_000);

const codeOf = (f: () => unknown): string => {
  try { f(); } catch (error) { if (error instanceof SpcError) return error.diagnostics[0]!.code; throw error; }
  return 'none';
};
test('a file that is no profile, or one of another model, is refused', () => {
  for (const [i, text] of ['{', 'null', '{"schemaVersion":2,"zeros":{}}', '{"schemaVersion":1,"zeros":{"few":1.5}}', '{"schemaVersion":1}'].entries()) {
    writeFileSync(at(`bad${i}.json`), text);
    expect([text, codeOf(() => readProfile(at(`bad${i}.json`)))]).toEqual([text, 'SPC6108']);
  }
  expect(codeOf(() => readProfile(at('nothing.json')))).toBe('SPC6100');
  expect(codeOf(() => compileModel({ bytes }, { zeros: { other: 0.5 } }))).toBe('SPC6108');
});

test('products with sparse activations are not tuned: alone they would have none', async () => {
  const winners = onnxModel({
    inputs: { x: { dtype: 'f32', shape: [1, 400] } },
    nodes: [
      node('TopK', ['x', 'k'], ['best', 'where'], { axis: 1 }, { name: 'topk' }), node('ScatterElements', ['zeros', 'where', 'best'], ['few'], { axis: 1 }, { name: 'scatter' }),
      node('Gemm', ['few', 'w'], ['y'], {}, { name: 'product' }),
    ],
    outputs: { y: { dtype: 'f32' } },
    initializers: { k: { kind: 'dense', dtype: 'i64', shape: [1], data: BigInt64Array.of(20n) }, zeros: denseTensor('f32', [1, 400], new Float32Array(400)), w: tensor([400, 300]) },
  });
  const measured = await tuneModel({ bytes: winners }, {}, terminal);
  expect(measured.size).toBe(0);
  expect(compileModel({ bytes: winners }, { measured }).manifest.layers.at(-1)!.schedule).toBe('active columns, whole');
});
