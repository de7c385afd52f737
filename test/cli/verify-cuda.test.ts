/** `spc verify --target=cuda`: where a wrong answer comes from, found on the same device. */
import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isas } from '../../backends/cpu/isa.js';
import { nativeIsa } from '../../backends/cpu/target.js';
import { precisions } from '../../backends/cuda/target.js';
import { bisectPasses, compareLayers } from '../../compiler/cli/bisect.js';
import { loadFiles } from '../../compiler/cli/source.js';
import { createTerminal } from '../../compiler/cli/terminal.js';
import { compileModel, type CompileResult } from '../../compiler/driver.js';
import { randomInputs, randomTensor } from '../../compiler/io/random.js';
import { tensorOf, toNumbers } from '../../compiler/ir/tensor.js';
import { valueOf } from '../../compiler/ir/types.js';
import { evaluateGraph } from '../../compiler/kir/evaluate.js';
import { pipelineFor } from '../../passes/pipeline.js';
import { definePass } from '../../passes/types.js';
import { node, onnxModel } from '../support/onnx-builder.js';
import { hasGxx } from '../targets/support.js';
import { spc, workspace } from './support.js';

const w = workspace(), cache = w.path('cache');
let before: string | undefined;
beforeAll(() => { before = process.env['SPC_CACHE_DIR']; process.env['SPC_CACHE_DIR'] = cache; });
afterAll(() => {
  if (before === undefined) delete process.env['SPC_CACHE_DIR'];
  else process.env['SPC_CACHE_DIR'] = before;
  w.remove();
});

/** Three products, of which the second ends in a clamp and is stored in 16 bits. */
const bytes = onnxModel({
  inputs: { x: { dtype: 'f32', shape: [20, 64] } }, outputs: ['y'],
  initializers: Object.fromEntries([1, 2, 3].map((i) => [`w${i}`, randomTensor({ dtype: 'f32', shape: [64, 64] }, i)])),
  nodes: [
    node('MatMul', ['x', 'w1'], ['a'], {}, { name: 'first' }), node('MatMul', ['a', 'w2'], ['b'], {}, { name: 'middle' }), node('Relu', ['b'], ['r'], {}, { name: 'clamp' }),
    node('MatMul', ['r', 'w3'], ['y'], {}, { name: 'last' }),
  ],
});
const layouts = { first: 'gemm', middle: 'gemm', last: 'gemm' };

describe.skipIf(!hasGxx)('layers', () => {
  test('a library with several paths tells which one this machine takes', async () => {
    const options = { name: 'net' }, terminal = createTerminal({ quiet: true });
    const taken = async (files: CompileResult['files']): Promise<string> => {
      const model = await loadFiles(files, { device: 'emulator' }, terminal);
      model.dispose();
      return model.native.name;
    };
    expect(await taken(compileModel({ bytes }, { ...options, target: 'cuda', gpuArch: ['sm_80', 'sm_90a'] }).files)).toBe('net_sm_90a');
    expect(await taken(compileModel({ bytes }, { ...options, target: 'cuda', gpuArch: ['sm_80'] }).files)).toBe('net');
    expect(await taken(compileModel({ bytes }, { ...options, cpu: ['generic', 'x86-64-v3'] }).files)).toBe(nativeIsa().lanes >= isas['x86-64-v3'].lanes ? 'net_x86_64_v3' : 'net_generic');
  }, 120_000);

  test.each(precisions)('%s: each agrees with its definition', async (precision) => {
    const c = compileModel({ bytes, name: 'net' }, { target: 'cuda', precision, ...(precision === 'fp32' ? {} : { layouts }) });
    const inputs = randomInputs(c.imported.inputs.map((id) => ({ name: valueOf(c.imported, id).name, ...valueOf(c.imported, id).type })), 1);
    const all = await compareLayers(c, { device: 'emulator' }, inputs, { rtol: 2 ** -8, atol: 2 ** -8 }, createTerminal({ quiet: true }));
    expect(all.map((l) => [l.kernel.split(' ')[0], l.comparison.ok])).toEqual(Array(3).fill([precision === 'fp32' ? 'loop' : 'gemm', true]));
    // sums of 64 products in another order differ in the last bits; values stored in 16 bits in more
    const [, middle] = all;
    if (precision === 'bf16') expect(middle!.comparison.maxAbs).toBeGreaterThan(1e-3);
  }, 120_000);

  test.each([['sm_80'], ['sm_80,sm_90a']])('for %s: a compiler that computes something else is caught, with the layer at fault', (archs) => {
    const model = w.file('net.onnx', bytes), evil = w.file('evil-c++', `#!/bin/sh
for a in "$@"; do case "$a" in */net.cu|*/net_sm_90a.cu) sed -i 's/spc_max(\\(.*\\), 0\\.0f)/spc_max(\\1, 1.0f)/' "$a";; esac; done
exec c++ "$@"
`);
    chmodSync(evil, 0o755);
    const r = spc(['verify', model, '--target', 'cuda', '--device', 'emulator', '--gpu-arch', archs, '--layout', 'middle=gemm', '--json'], { env: { CXX: evil, SPC_CACHE_DIR: w.path('evil-cache') } });
    const d = JSON.parse(r.stdout) as { ok: boolean; fault: { pass: unknown; layer: { nodes: { node: string }[]; kernel: string } } };
    expect([r.code, d.ok, d.fault.pass], r.stderr).toEqual([1, false, null]);
    expect([d.fault.layer.nodes.map((n) => n.node), d.fault.layer.kernel]).toEqual([['middle', 'clamp'], expect.stringMatching(/^gemm/)]);
  });
});

test('a pass that changes the answer is named, among those of the target', () => {
  const { imported, target } = compileModel({ bytes, name: 'net' }, { target: 'cuda' }), passes = pipelineFor(target), tolerance = { rtol: 1e-3, atol: 1e-5 };
  const inputs = [randomTensor({ dtype: 'f32', shape: [20, 64] }, 1)], expected = evaluateGraph(imported, inputs);
  expect(passes.map((p) => p.name)).toContain('narrow-activations');
  expect(bisectPasses(imported, passes, inputs, expected, tolerance)).toBeUndefined();
  const careless = definePass({
    name: 'careless', doc: 'forgets the sign of a weight',
    run: (graph) => ({ ...graph, values: new Map([...graph.values].map(([id, v]) => [id, v.constant ? { ...v, constant: tensorOf('f32', v.constant.shape, toNumbers(v.constant).map(Math.abs)) } : v] as const)) }),
  });
  expect(bisectPasses(imported, [...passes.slice(0, 5), careless, ...passes.slice(5)], inputs, expected, tolerance)).toMatchObject({ pass: 'careless', output: 'y' });
});
