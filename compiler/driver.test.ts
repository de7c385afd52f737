import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { node, onnxModel } from '../test/support/onnx-builder.js';
import { compileModel, writeFiles } from './driver.js';
import { isBf16 } from './ir/bf16.js';
import { tensorOf } from './ir/tensor.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-driver-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('files that did not change are not written again; other people\'s files stay', () => {
  const dir = join(folder, 'again');
  writeFiles(new Map<string, string | Uint8Array>([['a.c', 'one'], ['b/c.bin', Uint8Array.of(1, 2)]]), dir);
  const before = statSync(join(dir, 'a.c'));
  writeFiles(new Map<string, string | Uint8Array>([['a.c', 'one'], ['b/c.bin', Uint8Array.of(3)]]), dir);
  expect(statSync(join(dir, 'a.c'))).toMatchObject({ ino: before.ino, mtimeMs: before.mtimeMs });
  expect([...readFileSync(join(dir, 'b/c.bin'))]).toEqual([3]);
  writeFiles(new Map([['d.c', '']]), dir);
  expect(readdirSync(dir).sort()).toEqual(['a.c', 'b', 'd.c']);
});

test('what cannot be written leaves nothing behind', () => {
  const dir = join(folder, 'broken');
  expect(() => writeFiles(new Map([['a', 'a file'], ['a/b', 'in a file']]), dir)).toThrow(/EEXIST|ENOTDIR/);
  expect(readdirSync(folder)).not.toContain('broken');
  expect(readdirSync(folder).filter((f) => f.startsWith('.spc-'))).toEqual([]);
});

test('an interruption while files are written waits until the folder is complete', () => {
  const dir = join(folder, 'interrupted');
  const script = `import { writeFiles } from ${JSON.stringify(new URL('./driver.ts', import.meta.url).href)};
    const files = new Map([['a', '1'], ['b', '2']]);
    files[Symbol.iterator] = function* () { yield ['a', '1']; process.kill(process.pid, 'SIGINT'); yield ['b', '2']; };
    writeFiles(files, ${JSON.stringify(dir)});`;
  spawnSync(process.execPath, ['--import', import.meta.resolve('tsx/esm'), '--input-type=module', '-e', script]);
  expect(readdirSync(dir).sort()).toEqual(['a', 'b']);
  expect(readdirSync(folder).filter((f) => f.startsWith('.spc-'))).toEqual([]);
});

test('weights as bf16: rounded in every product, stored in 16 bits where reading them takes the time, and said', () => {
  const numbers = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i));
  const bytes = onnxModel({
    inputs: { x: { dtype: 'f32', shape: [1, 3, 8, 8] } }, outputs: ['y'], nodes: [node('Conv', ['x', 'w', 'b'], ['c'], { kernel_shape: [3, 3] }), node('Flatten', ['c'], ['f']), node('Gemm', ['f', 'v'], ['y'])],
    initializers: { w: tensorOf('f32', [4, 3, 3, 3], numbers(108)), b: tensorOf('f32', [4], numbers(4)), v: tensorOf('f32', [144, 80], numbers(144 * 80)) },
  });
  const { manifest, graph } = compileModel({ bytes }, { cpu: 'x86-64-v4', weightType: 'bf16' });
  expect(manifest.options).toMatchObject({ weightType: 'bf16' });
  expect(manifest.layers.slice(-2).map((l) => l.reason.replace(/.*: /, ''))).toEqual([expect.stringMatching(/; weights are rounded to bf16 and kept as f32$/), expect.stringMatching(/panels of bf16$/)]);
  const factors = graph.nodes.filter((n) => n.kind === 'conv' || n.kind === 'matmul').map((n) => graph.values.get(n.inputs[1]!)!.constant!);
  expect(factors.map(isBf16)).toEqual([true, true]);
  expect(compileModel({ bytes }, { cpu: 'x86-64-v4' }).manifest.layers.some((l) => l.reason.includes('bf16'))).toBe(false);
});
