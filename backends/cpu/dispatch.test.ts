/** One library for several instruction sets: each path computes the bits of a library of its own, and the processor's best is taken. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { writeFiles, type CompileOptions, type CompileResult } from '../../compiler/driver.js';
import { elementCount } from '../../compiler/ir/types.js';
import { load } from '../../runtime/node/load.js';
import { hasTool, mustRun } from '../../test/support/processes.js';
import { compileSparse, sparseShape, type SparseWay } from '../../test/support/sparse-model.js';
import { nativeIsa, type CpuName } from './target.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-dispatch-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cpus = ['generic', 'x86-64-v4', 'x86-64-v3'] as const, bestFirst = ['x86-64-v4', 'x86-64-v3', 'generic'] as const;
const able = process.platform === 'linux' && process.arch === 'x64' && nativeIsa().name.startsWith('x86-64-v4');
const strict = ['-O1', '-Wall', '-Wextra', '-Werror'];
const input = Float32Array.from({ length: elementCount(sparseShape) }, (_, i) => Math.sin(i));

let count = 0;
/** Builds a compiled model and runs it. */
async function results(compiled: CompileResult, compiler: string, flags: readonly string[] = [], threads = 1): Promise<Buffer> {
  const dir = join(folder, String(count++));
  writeFiles(compiled.files, dir);
  const model = await load(dir, { compiler, cacheDir: join(folder, 'cache'), flags: [...strict, ...flags], threads });
  const { y } = model.run({ x: input });
  model.dispose();
  return Buffer.from(y!.buffer);
}

const several = (way: SparseWay, more: CompileOptions = {}): CompileResult => compileSparse(way, { cpu: cpus, ...more });
/** A sparse model without tables of its own way, so that each path takes its fastest form. */
const alone = (cpu: CpuName, more: CompileOptions = {}): CompileResult => compileSparse('bytes', { cpu, ...more });

describe.each([['gcc', {}, bestFirst], ['clang', { weights: 'file' }, ['generic']]] as const)('%s, %o', (cc, more, checked) => {
  test.skipIf(!able || !hasTool(cc))('each path has the bits of its own library, for any number of threads', async () => {
    const all = several('bytes', more), found = new Map<string, Buffer>();
    for (const cpu of checked) {
      const first = bestFirst.indexOf(cpu), [taken, own] = [await results(all, cc, first === 0 ? [] : [`-DSPC_FIRST_PATH=${first}`], 1 + first), await results(alone(cpu, more), cc)];
      expect(taken.equals(own), cpu).toBe(true);
      found.set(cpu, taken);
    }
    if (checked.length === 1) return;
    // so that equality says which one ran
    expect(found.get('x86-64-v4')!.equals(found.get('generic')!)).toBe(false);
    await expect(results(all, cc, ['-DSPC_FIRST_PATH=3'])).rejects.toThrow('create failed: the processor lacks the instructions');
  }, 240_000);
});

test('the manifest has the layers, sources and flags of each path', () => {
  const { manifest, files, paths } = several('bytes');
  expect(manifest.paths!.map((p) => p.arch)).toEqual(bestFirst);
  expect(manifest.compileFlags.some((f) => f.startsWith('-march'))).toBe(false);
  for (const [i, p] of manifest.paths!.entries()) {
    expect(p.layers.length).toBe(paths[i]!.plan.steps.length);
    expect(p.sources.length).toBeGreaterThan(0);
    expect(p.sources.filter((s) => !manifest.sources.includes(s) || !files.has(s))).toEqual([]);
    expect(p.compileFlags).toEqual(alone(p.arch as CpuName).manifest.compileFlags);
  }
  expect(manifest.paths!.flatMap((p) => p.sources).sort()).toEqual(manifest.sources.filter((s) => !['main.c', 'sparse.c', 'sparse_weights.c'].includes(s)).sort());
  expect(manifest.layers).toEqual(manifest.paths![0]!.layers);
  expect(manifest.paths![0]!.layers.map((l) => l.schedule)).not.toEqual(manifest.paths![2]!.layers.map((l) => l.schedule));
  // one instruction set, however often it is named, is no choice
  expect(compileSparse('bytes', { cpu: ['x86-64-v3', 'x86-64-v3'] }).files).toEqual(alone('x86-64-v3').files);
});

test('the same model gives the same files, and constants that paths share lie in the weights once', () => {
  const first = several('bytes'), second = several('bytes');
  for (const [file, content] of first.files) expect(Buffer.compare(Buffer.from(content), Buffer.from(second.files.get(file)!)), file).toBe(0);
  const bytes = (c: CompileResult): number => c.files.get('sparse_weights.bin')!.length;
  expect(bytes(first)).toBeLessThan(bestFirst.reduce((n, cpu) => n + bytes(alone(cpu)), 0));
});

test.skipIf(!able || !hasTool('cmake') || !hasTool('gcc') || !hasTool('readelf'))('as a CMake project: each source has its flags, only the API is exported', async () => {
  const dir = join(folder, 'cmake'), all = several('bytes');
  writeFiles(all.files, dir);
  writeFileSync(join(dir, 'x'), new Uint8Array(input.buffer));
  await mustRun('cmake', ['-S', '.', '-B', 'out', '-DCMAKE_C_COMPILER=gcc', '-DCMAKE_C_FLAGS=-Wall -Wextra -Werror', '-DCMAKE_C_FLAGS_RELEASE=-O1', '-DCMAKE_POLICY_VERSION_MINIMUM=3.13'], { cwd: dir });
  await mustRun('cmake', ['--build', 'out', '-j2'], { cwd: dir });
  await mustRun('gcc', ['-shared', '-o', 'model.so', '-Wl,--whole-archive', 'out/libsparse.a', '-Wl,--no-whole-archive', '-lm', '-lpthread'], { cwd: dir });
  const symbols = await mustRun('readelf', ['-W', '--dyn-syms', 'model.so'], { cwd: dir });
  expect([...symbols.matchAll(/ (?:GLOBAL|WEAK) +DEFAULT +\d+ (\w+)$/gm)].map((m) => m[1]!).sort()).toEqual(['sparse_create', 'sparse_destroy', 'sparse_info', 'sparse_run']);
  await mustRun(join(dir, 'out', 'sparse_main'), ['x'], { cwd: dir });
  const { y } = await load(dir, { cacheDir: join(folder, 'cache') }).then((m) => m.run({ x: input }));
  expect(readFileSync(join(dir, '0.bin')).equals(Buffer.from(y!.buffer))).toBe(true);
}, 240_000);
