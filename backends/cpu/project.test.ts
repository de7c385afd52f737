/** The CMake project of a model with sparse products. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { writeFiles } from '../../compiler/driver.js';
import { elementCount } from '../../compiler/ir/types.js';
import { hasTool, mustRun } from '../../test/support/processes.js';
import { compileSparse, sparseShape, type SparseWay } from '../../test/support/sparse-model.js';
import { isas } from './isa.js';
import { nativeIsa } from './target.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-project-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const able = hasTool('cmake') && process.platform === 'linux' && process.arch === 'x64';
const cases: readonly (readonly [string, SparseWay])[] = [['gcc', 'mixed'], ['clang', 'bytes']];

describe.each(cases)('with %s, streams as %s', (cc, way) => {
  const dir = join(folder, way), { files, manifest } = compileSparse(way), output = (): Float32Array => new Float32Array(readFileSync(join(dir, '0.bin')).buffer);
  /** Builds. @returns the objects that were made, without the folder and the ending */
  const build = async (): Promise<string[]> => [...(await mustRun('cmake', ['--build', 'out'], { cwd: dir })).matchAll(/Building \w+ object \S*?(\w+)\.\w+\.o$/gm)].map((m) => m[1]!).sort();

  test.skipIf(!able || !hasTool(cc))('builds without warnings, and again what a changed binary is part of', async () => {
    writeFiles(files, dir);
    await mustRun('cmake', ['-S', '.', '-B', 'out', `-DCMAKE_C_COMPILER=${cc}`, `-DCMAKE_ASM_COMPILER=${cc}`, '-DCMAKE_C_FLAGS=-Wall -Wextra -Werror', '-DCMAKE_POLICY_VERSION_MINIMUM=3.13'], { cwd: dir });
    expect(await build()).toEqual(manifest.sources.map((s) => s.replace(/\.\w+$/, '')).sort());
    expect(await build()).toEqual([]);
    const library = join(dir, 'out', 'libsparse.a');
    for (const binary of [...files.keys()].filter((f) => f.endsWith('.bin'))) {
      const before = readFileSync(library), content = Uint8Array.from(readFileSync(join(dir, binary))), { mtimeMs } = statSync(library);
      // for file systems that tell time in steps
      while (Date.now() < mtimeMs + 20) await setTimeout(10);
      content[content.length - 1]! ^= 1;
      writeFileSync(join(dir, binary), content);
      expect(await build(), binary).toEqual([binary.replace(/\.bin$/, '')]);
      expect(Buffer.compare(before, readFileSync(library)), binary).not.toBe(0);
    }
    if (nativeIsa().lanes < isas['x86-64-v4'].lanes) return;
    writeFiles(files, dir);
    await build();
    writeFileSync(join(dir, 'x'), new Uint8Array(new Float32Array(elementCount(sparseShape)).fill(1).buffer));
    await mustRun(join(dir, 'out', 'sparse_main'), ['x'], { cwd: dir });
    expect([output().length, output().every((v) => v >= 0), output().some((v) => v > 1)]).toEqual([elementCount(sparseShape), true, true]);
  }, 60_000);
});
