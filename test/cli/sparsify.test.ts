/** `--sparsify` on the verbs that compile: every engine runs the sparsified model. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { findOnnxRuntime } from '../../compiler/cli/onnxruntime.js';
import { randomTensor } from '../../compiler/io/random.js';
import { node, onnxModel } from '../support/onnx-builder.js';
import { spc, workspace } from './support.js';

const w = workspace(), env = { SPC_CACHE_DIR: w.path('cache') };
afterAll(() => w.remove());
const model = w.file('mlp.onnx', onnxModel({
  inputs: { x: { dtype: 'f32', shape: [4, 32] } }, outputs: ['y'],
  initializers: Object.fromEntries([1, 2, 3].map((i) => [`w${i}`, randomTensor({ dtype: 'f32', shape: [32, 32] }, i)])),
  nodes: [node('MatMul', ['x', 'w1'], ['a'], {}, { name: 'first' }), node('MatMul', ['a', 'w2'], ['b'], {}, { name: 'middle' }), node('MatMul', ['b', 'w3'], ['y'], {}, { name: 'last' })],
}));
const compilers = spawnSync('cc', ['--version']).status === 0 && spawnSync('c++', ['--version']).status === 0;

interface Document {
  readonly exitCode: number;
  readonly ok: boolean;
  readonly comparisons: readonly { readonly against: string }[];
  readonly outputs: readonly { readonly data: readonly number[] }[];
  readonly diagnostics: readonly { readonly code: string; readonly severity: string; readonly message: string }[];
}
const json = (...args: readonly string[]): Document => JSON.parse(spc([...args, '--json'], { env }).stdout) as Document;

test('compile tells once what was changed, in the manifest too, and --fail-on warning takes it for one', () => {
  const out = w.path('build'), r = spc(['compile', model, '-o', out, '--target', 'cuda', '--sparsify', '2:4'], { env });
  expect(r.code, r.stderr).toBe(0);
  expect(r.stderr.match(/SPC3006/g)).toHaveLength(1);
  expect(r.stderr).toMatch(/warning SPC3006: .*middle \(MatMul\)[\s\S]*spc compare/);
  expect(r.stderr).toMatch(/note SPC3007: .*first layer/);
  const manifest = JSON.parse(readFileSync(`${out}/manifest.json`, 'utf8')) as { options: { sparsify: { pattern: string } }; diagnostics: { code: string }[] };
  expect([manifest.options.sparsify.pattern, manifest.diagnostics.map((d) => d.code)]).toEqual(['2:4', ['SPC3006', 'SPC3007']]);
  expect(spc(['compile', model, '-o', w.path('no'), '--sparsify', '2:4', '--fail-on', 'warning'], { env }).code).toBe(6);
});

describe.skipIf(!compilers)('verify and run', () => {
  test.each([['cpu', 'block:4x1:0.75'], ['cuda', '2:4']])('%s: the reference and ONNX Runtime read the sparsified weights', (target, pattern) => {
    const d = json('verify', model, '--target', target, '--device', 'emulator', '--sparsify', pattern);
    expect([d.exitCode, d.ok, d.comparisons.map((c) => c.against)]).toEqual([0, true, ['reference', ...(findOnnxRuntime() ? ['onnxruntime'] : [])]]);
    expect(d.diagnostics.map((x) => x.code)).toEqual(['SPC3006', 'SPC3007']);
  });

  test('every engine answers as the others, and not as the dense model', () => {
    const answer = (...more: readonly string[]): readonly number[] => {
      const d = json('run', model, '--random', '1', ...more);
      expect(d.diagnostics.some((x) => x.code === 'SPC3006')).toBe(more.includes('--sparsify'));
      return d.outputs[0]!.data;
    };
    const far = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));
    const compiled = answer('--sparsify', '2:4');
    for (const engine of ['reference', ...(findOnnxRuntime() ? ['onnxruntime'] : [])]) expect(far(answer('--sparsify', '2:4', '--engine', engine), compiled)).toBeLessThan(1e-4);
    expect(far(answer(), compiled)).toBeGreaterThan(0.1);
  });
});

test.each([
  [['inspect', '--sparsify', 'nonsense'], 'SPC3001'], [['inspect', '--sparsify', '2:4:6'], 'SPC3001'], [['inspect', '--include-first-last'], 'SPC6002'],
  [['inspect', '--sparsify', 'dense'], 'SPC3003'], [['compile', '--dry-run', '--sparsify', ''], 'SPC6001'],
])('%j ends with %s', ([verb, ...flags], code) => {
  const r = spc([verb!, model, ...flags, '--json'], { env });
  expect([r.code, (JSON.parse(r.stdout) as Document).diagnostics.map((d) => d.code)]).toEqual([2, [code]]);
});

test('a build folder is compiled already', () => {
  expect(spc(['compile', model, '-o', w.path('folder')], { env }).code).toBe(0);
  const r = spc(['run', w.path('folder'), '--random', '1', '--sparsify', '2:4'], { env });
  expect([r.code, r.stderr]).toEqual([2, expect.stringMatching(/SPC6002.*build folder/)]);
});
