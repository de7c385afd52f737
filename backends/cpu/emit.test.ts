/** The files of a model with sparse products: the same every time, and objects as they must be. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { writeFiles, type CompileResult } from '../../compiler/driver.js';
import { hasTool, mustRun } from '../../test/support/processes.js';
import { compileSparse, sparseWays, type SparseWay } from '../../test/support/sparse-model.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-emit-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const files = (way: SparseWay): CompileResult['files'] => compileSparse(way).files;
const ways = Object.keys(sparseWays) as SparseWay[];

test.each(ways)('%s: the same model gives the same files, byte for byte', (way) => {
  const first = files(way), second = compileSparse(way).files;
  expect([...second.keys()]).toEqual([...first.keys()]);
  for (const [file, content] of first) expect(Buffer.compare(Buffer.from(content), Buffer.from(second.get(file)!)), file).toBe(0);
});

test('each way writes what it says', () => {
  const streams = (way: SparseWay): string[] => [...files(way).keys()].filter((f) => /^sparse_streams.*\.(S|c|bin)$/.test(f)).sort();
  const code = ['sparse_streams.S', 'sparse_streams.bin'], tables = ['sparse_streams_portable.c', 'sparse_streams_tables.bin', 'sparse_streams_tables.c'];
  expect(ways.map(streams)).toEqual([code, code.slice(0, 1), tables, [...code, ...tables], tables, code, code.slice(0, 1)]);
});

/** Compiles a project, warnings being errors. @returns its folder and its objects */
async function objects(cc: string, way: SparseWay): Promise<{ readonly dir: string; readonly names: readonly string[] }> {
  const dir = join(folder, `${way}-${cc}`.replaceAll(' ', '-')), compiled = compileSparse(way), { manifest } = compiled, sources = manifest.sources.filter((s) => s !== 'main.c');
  writeFiles(compiled.files, dir);
  // -O3 takes long, and what is looked at here does not depend on it
  const flags = [...manifest.compileFlags.filter((f) => f !== '-O3'), '-O1', '-fPIC', '-Wall', '-Wextra', '-Werror', '-I.', '-c'], assembly = sources.filter((s) => s.endsWith('.S'));
  await mustRun(cc, [...flags, ...sources.filter((s) => !assembly.includes(s))], { cwd: dir });
  if (assembly.length > 0) await mustRun(cc, ['-fPIC', '-Werror', '-I.', '-c', ...assembly], { cwd: dir });
  return { dir, names: sources.map((s) => s.replace(/\.[cS]$/, '.o')) };
}

const able = process.platform === 'linux' && process.arch === 'x64' && hasTool('readelf');

describe.each(['gcc', 'clang'])('%s', (cc) => {
  // mixed models have bytes and tables too
  test.skipIf(!able || !hasTool(cc)).each(['text', 'mixed', 'tables for AVX2', 'code for AVX2'] as const)('%s: no warnings, no executable stack, position independent, nothing exported but the API', async (way) => {
    const { dir, names } = await objects(cc, way), read = (...args: readonly string[]): Promise<string> => mustRun('readelf', ['-W', ...args], { cwd: dir });
    for (const o of names) {
      const sections = await read('-S', o), mark = /\.note\.GNU-stack.*/.exec(sections)?.[0] ?? '';
      expect(mark, `${o} marks its stack`).toMatch(/PROGBITS/);
      expect(mark, o).not.toMatch(/ X /);
      expect(sections, `${o} has no section that is written and executed`).not.toMatch(/ WAX /);
    }
    await mustRun(cc, ['-shared', '-Wl,-z,text', '-Wl,--fatal-warnings', '-o', 'model.so', ...names, '-lm', '-lpthread'], { cwd: dir });
    expect(await read('-d', 'model.so')).not.toMatch(/TEXTREL/);
    expect(await read('-l', 'model.so')).toMatch(/GNU_STACK.* RW /);
    const exported = [...(await read('--dyn-syms', 'model.so')).matchAll(/ (?:GLOBAL|WEAK) +DEFAULT +\d+ (\w+)$/gm)].map((m) => m[1]!);
    expect(exported.sort()).toEqual(['sparse_create', 'sparse_destroy', 'sparse_info', 'sparse_run']);
  });
});

test.skipIf(!able || !hasTool('gcc') || !hasTool('objcopy'))('bytes and text are the same code', async () => {
  const [bytes, text] = await Promise.all((['bytes', 'text'] as const).map(async (way) => {
    const dir = join(folder, `assembled-${way}`);
    writeFiles(files(way), dir);
    await mustRun('gcc', ['-I.', '-c', 'sparse_streams.S'], { cwd: dir });
    await mustRun('objcopy', ['-O', 'binary', '-j', '.text', 'sparse_streams.o', 'code.bin'], { cwd: dir });
    return readFileSync(join(dir, 'code.bin'));
  }));
  expect(bytes!.length).toBeGreaterThan(10_000);
  expect(Buffer.compare(bytes!, text!)).toBe(0);
  expect(Buffer.compare(bytes!, Buffer.from(files('bytes').get('sparse_streams.bin')!))).toBe(0);
});
