/** What is emitted for the real models: the same bytes every time, no warnings, no access outside, nothing undefined. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { randomInputs } from '../../compiler/io/random.js';
import { tensorBytes } from '../../compiler/ir/tensor.js';
import { writeFiles } from '../../compiler/driver.js';
import { readManifest } from '../../runtime/node/manifest.js';
import { buildObjects, linkDriver, runDriver } from '../support/native.js';
import { failureOf, hasTool, runProcess } from '../support/processes.js';
import { strict } from './build.js';
import { absence, compileReal, modelFile, modelNamed, realModels } from './models.js';

async function inFolder<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'spc-sources-'));
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const hasClang = hasTool('clang');
const hasGcc = hasTool('gcc');

for (const m of realModels) {
  const missing = modelFile(m) === undefined;
  test.skipIf(missing)(`${m.name}: compiled twice, every file has the same bytes${absence(m)}`, () => {
    const [first, second] = [compileReal(m), compileReal(m)];
    expect([...second.files.keys()]).toEqual([...first.files.keys()]);
    for (const [path, content] of first.files) expect(Buffer.from(content).equals(Buffer.from(second.files.get(path)!)), path).toBe(true);
  });

  // gcc with the same flags and its optimiser's warnings: outputs.test.ts
  test.skipIf(missing || !hasClang)(`${m.name}: clang has nothing to warn of${absence(m)}${hasClang ? '' : ' (skipped: no clang)'}`, { timeout: 120_000 }, () => inFolder(async (dir) => {
    const { files, manifest } = compileReal(m);
    writeFiles(files, join(dir, 'build'));
    const run = await runProcess('clang', [...manifest.compileFlags, ...strict, '-fsyntax-only', ...manifest.sources], { cwd: join(dir, 'build') });
    expect(failureOf('clang', run)).toBeUndefined();
  }));

  test.skipIf(missing || !hasGcc)(`${m.name}: runs clean under AddressSanitizer and UndefinedBehaviorSanitizer${absence(m)}`, { timeout: 600_000 }, () => inFolder(async (dir) => {
    const options = { cc: 'gcc', optimise: '-O1', sanitize: true }, compiled = compileReal(m);
    const { objects, problem } = await buildObjects(dir, compiled, options);
    expect(problem).toBeUndefined();
    await linkDriver(dir, [compiled.manifest.name], objects, join(packageRoot(), 'runtime', 'include'), options);
    const inputs = randomInputs(readManifest(join(dir, compiled.manifest.name)).inputs, 1, m.range);
    expect(await runDriver(dir, 0, 'run', inputs, compiled.manifest.outputs)).not.toBeTypeOf('string');
  }));
}

// valgrind knows no AVX-512
const hasValgrind = hasTool('valgrind');
test.skipIf(!hasValgrind || !hasGcc).each(['mnist-cnn', 'kws-dscnn'])(`%s: its program runs clean under valgrind${hasValgrind ? '' : ' (skipped: no valgrind)'}`, { timeout: 300_000 }, (name) => inFolder(async (dir) => {
  const m = modelNamed(name), folder = join(dir, 'build');
  const { files, manifest } = compileReal(m, { cpu: 'generic' });
  writeFiles(files, folder);
  const flags = manifest.compileFlags.filter((f) => !f.startsWith('-O'));
  const build = await runProcess('gcc', [...flags, '-O1', '-g', ...strict, ...manifest.sources, '-o', 'program', '-lm', '-lpthread'], { cwd: folder });
  expect(failureOf('gcc', build)).toBeUndefined();
  const inputs = randomInputs(readManifest(folder).inputs, 1, m.range).map((t, i) => {
    writeFileSync(join(folder, `in${i}.raw`), tensorBytes(t));
    return `in${i}.raw`;
  });
  const run = await runProcess('valgrind', ['--error-exitcode=9', '--leak-check=full', '--quiet', './program', ...inputs], { cwd: folder });
  expect(failureOf('valgrind', run), run.stderr).toBeUndefined();
}));
