import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Project, ts } from 'ts-morph';
import { afterAll, describe, expect, test } from 'vitest';
import { compile, load, SpcError, type DType, type Port } from '../../compiler/index.js';
import { tensorOf } from '../../compiler/ir/tensor.js';
import { node, onnxModel } from '../../test/support/onnx-builder.js';
import { isas } from '../../backends/cpu/isa.js';
import { nodeFiles } from './declarations.js';
import { missingInstructions } from './load.js';

const dir = mkdtempSync(join(tmpdir(), 'spc-load-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const compiler = spawnSync('cc', ['--version']).status === 0;
const cacheDir = join(dir, 'cache');

/** total = a + b . W over 4, and how many of them: two inputs and outputs of different types. */
const model = onnxModel({
  inputs: { a: { dtype: 'f32', shape: [1, 2] }, 'b:0': { dtype: 'f32', shape: [1, 4] }, n: { dtype: 'i64', shape: [3] } },
  nodes: [node('MatMul', ['b:0', 'W'], ['p']), node('Add', ['a', 'p'], ['total']), node('Add', ['n', 'n'], ['twice']), node('Greater', ['total', 'zero'], ['flags/positive'])],
  outputs: ['total', 'twice', 'flags/positive'],
  initializers: { W: tensorOf('f32', [4, 2], [1, 0, 0, 1, 1, 0, 0, -1]), zero: tensorOf('f32', [], [0]) },
});
const inputs = { a: Float32Array.of(10, 20), 'b:0': Float32Array.of(1, 2, 3, 40), n: BigInt64Array.of(1n, -2n, 2n ** 40n) };

describe.skipIf(!compiler)('load', () => {
  test('runs typed arrays, into new arrays or given ones', async () => {
    const folder = join(dir, 'plain');
    await compile(model, { output: folder, name: 'sums' });
    const m = await load(folder, { cacheDir });
    expect(m.inputs.map((p) => [p.name, p.dtype, p.shape])).toEqual([['a', 'f32', [1, 2]], ['b:0', 'f32', [1, 4]], ['n', 'i64', [3]]]);
    const results = m.run(inputs);
    expect(results).toEqual({ total: Float32Array.of(14, -18), twice: BigInt64Array.of(2n, -4n, 2n ** 41n), 'flags/positive': Uint8Array.of(1, 0) });
    const total = new Float32Array(2);
    expect(m.run(inputs, { total })['total']).toBe(total);
    expect(total).toEqual(Float32Array.of(14, -18));
    // Views into larger buffers, and two models at once.
    const wide = new Float32Array(9);
    wide.set([1, 2, 3, 40], 3);
    const other = await load(folder, { cacheDir, threads: 2 });
    expect(other.run({ ...inputs, 'b:0': wide.subarray(3, 7) })['total']).toEqual(Float32Array.of(14, -18));
    other.dispose();
    expect(m.run(inputs)['total']).toEqual(Float32Array.of(14, -18));
    m.dispose();
    m.dispose();
    expect(() => m.run(inputs)).toThrow(/disposed/);
  });

  test('says which array is missing, of the wrong type or of the wrong length', async () => {
    const m = await load(join(dir, 'plain'), { cacheDir });
    const run = (change: Record<string, unknown>): (() => unknown) => () => m.run({ ...inputs, ...change } as never);
    expect(run({ a: undefined })).toThrow(/input 'a' must be a Float32Array of 2 elements, got nothing/);
    expect(run({ a: new Float64Array(2) })).toThrow(/got Float64Array of 2/);
    expect(run({ n: new BigInt64Array(4) })).toThrow(/'n' must be a BigInt64Array of 3 elements, got BigInt64Array of 4/);
    expect(run({ c: new Float32Array(1) })).toThrow(/no input 'c'/);
    m.dispose();
  });

  test.each(['auto', 'file'] as const)('many contexts share nothing; weights: %s', async (weights) => {
    const folder = join(dir, `weights-${weights}`);
    await compile(model, { output: folder, name: 'sums', weights });
    const models = await Promise.all([0, 1, 2].map(() => load(folder, { cacheDir })));
    models.forEach((m, i) => expect(m.run({ ...inputs, a: Float32Array.of(i, i) })['total']).toEqual(Float32Array.of(4 + i, -38 + i)));
    models.forEach((m) => m.dispose());
  });

  test('builds once, and again when a source or a flag changes', async () => {
    const log = join(dir, 'log'), cc = join(dir, 'cc');
    writeFileSync(log, '');
    writeFileSync(cc, `#!/bin/sh\ncase "$*" in *-shared*) echo link >> ${log};; esac\nexec cc "$@"\n`);
    chmodSync(cc, 0o755);
    const folder = join(dir, 'cached'), options = { cacheDir: join(dir, 'cache2'), compiler: cc };
    const links = async (more: object = {}): Promise<number> => {
      (await load(folder, { ...options, ...more })).dispose();
      return readFileSync(log, 'utf8').split('\n').length - 1;
    };
    await compile(model, { output: folder, name: 'sums' });
    expect([await links(), await links(), await links({ flags: ['-O1'] }), await links()]).toEqual([1, 1, 2, 2]);
    writeFileSync(join(folder, 'sums.c'), `${readFileSync(join(folder, 'sums.c'), 'utf8')}/* changed */\n`);
    expect(await links()).toBe(3);
    expect(readdirSync(options.cacheDir).filter((f) => f.startsWith('.'))).toEqual([]);
  });

  test('profiles', async () => {
    const m = await load(join(dir, 'plain'), { cacheDir, profile: true });
    expect([m.profile?.length, m.native.stepNames.length]).toEqual([m.manifest.layers.length, m.manifest.layers.length]);
    for (let i = 0; i < 100; i++) m.run(inputs);
    expect(m.profile!.every((s) => s > 0 && s < 1)).toBe(true);
    m.dispose();
  });

  test('a failing compiler is a diagnostic with its message', async () => {
    const cc = join(dir, 'bad');
    writeFileSync(cc, '#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "sums.c:7: not today" >&2\nexit 1\n');
    chmodSync(cc, 0o755);
    await expect(load(join(dir, 'plain'), { cacheDir: join(dir, 'cache3'), compiler: cc })).rejects.toThrow(/SPC5502[\s\S]*not today/);
    await expect(load(join(dir, 'plain'), { cacheDir: join(dir, 'cache3'), compiler: join(dir, 'absent') })).rejects.toThrow(/SPC5501/);
    await expect(load(dir)).rejects.toThrow(/SPC6110/);
  });
});

test('instructions that the machine lacks are noticed before they run', () => {
  expect(missingInstructions(['-O3', '-march=x86-64-v4'], isas['x86-64-v3'])).toBe('x86-64-v4');
  expect(missingInstructions(['-O3', '-march=x86-64-v3'], isas['x86-64-v4'])).toBeUndefined();
  expect(missingInstructions(['-O3'], isas.generic)).toBeUndefined();
});

test('a manifest that is damaged or hostile is refused', async () => {
  const { files } = await compile(model, { name: 'sums' });
  const manifest = JSON.parse(files.get('manifest.json') as string) as Record<string, unknown>;
  for (const [i, change] of [{ schemaVersion: 99 }, { name: 'a; rm' }, { sources: ['../evil.c'] }, { inputs: [{ name: 'a', dtype: 'f31', shape: [1], bytes: 4 }] }, { inputs: 3 }].entries()) {
    const folder = mkdtempSync(join(dir, `bad${i}-`));
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...manifest, ...change }));
    await expect(load(folder), JSON.stringify(change)).rejects.toThrow(/SPC6111/);
  }
  await compile(model, { name: 'sums', target: 'fpga', output: join(dir, 'fpga') });
  await expect(load(join(dir, 'fpga'))).rejects.toThrow(/SPC5505/);
});

test('compile in memory writes nothing and reports what it found', async () => {
  const { files, manifest } = await compile(model, { name: 'sums', emit: ['node'] });
  expect([...files.keys()]).toEqual(expect.arrayContaining(['sums.c', 'sums.h', 'manifest.json', 'sums.d.ts', 'sums.js', 'package.json']));
  expect(manifest.macs).toBe(8);
  await expect(compile(join(dir, 'absent.onnx'))).rejects.toThrow(SpcError);
  await expect(compile(new Uint8Array([1, 2, 3]))).rejects.toThrow(/SPC1001/);
});

test('the generated declarations make right calls compile and wrong ones not', () => {
  const port = (name: string, dtype: DType, shape: number[]): Port => ({ name, dtype, shape, bytes: 0 });
  const texts = nodeFiles({ name: 'my_net2', inputs: [port('x', 'f32', [2]), port('odd "name"/0', 'i64', [1])], outputs: [port('h', 'f16', [2]), port('ok', 'bool', [])] });
  const project = new Project({ compilerOptions: { strict: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, skipLibCheck: true, types: ['node'], noEmit: true }, skipAddingFilesFromTsConfig: true });
  const root = new URL('../../', import.meta.url).pathname;
  project.compilerOptions.set({ paths: { spc: [`${root}compiler/index.ts`] } });
  project.createSourceFile(`${root}virtual/my_net2.d.ts`, texts.get('my_net2.d.ts')!);
  const errors = (body: string): string[] => {
    const file = project.createSourceFile(`${root}virtual/use.ts`, `import { loadMyNet2 } from './my_net2.js';\nconst m = await loadMyNet2({ threads: 2 });\n${body}\nexport {};\n`, { overwrite: true });
    return file.getPreEmitDiagnostics().map((d) => ts.flattenDiagnosticMessageText(d.compilerObject.messageText, ' '));
  };
  const call = (x: string): string => `const r = m.run({ x: ${x}, 'odd "name"/0': new BigInt64Array(1) }); const h: Uint16Array = r.h, ok: Uint8Array = r.ok; void [h, ok];`;
  expect(errors(call('new Float32Array(2)'))).toEqual([]);
  expect(errors(call('new Float64Array(2)')).join()).toMatch(/Float64Array/);
  expect(errors('m.run({ x: new Float32Array(2) });').join()).toMatch(/odd/);
  expect(errors(`${call('new Float32Array(2)')} void r.nothing;`).join()).toMatch(/nothing/);
});
