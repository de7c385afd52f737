/** The examples do what they say. They use the built package (dist), as its users do; `npm test` builds it first. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../compiler/emit/runtime-files.js';
import { failureOf, hasTool, runProcess } from './support/processes.js';

const root = packageRoot();
const folder = mkdtempSync(join(tmpdir(), 'spc-examples-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(() => {
  if (!existsSync(join(root, 'dist', 'compiler', 'cli', 'main.js'))) throw new Error('dist is missing: run npm run build first (npm test does)');
});

/** Runs a command in the repository, expects it to succeed, returns what it printed. */
async function output(command: string, ...args: string[]): Promise<string> {
  const r = await runProcess(command, args, { cwd: root });
  expect(failureOf([command, ...args].join(' '), r)).toBeUndefined();
  expect(r.stderr).not.toMatch(/warning:/);
  return r.stdout;
}

test('c-program: a C program reads a drawn digit, without warnings', async () => {
  expect(await output('sh', 'examples/c-program/build.sh', join(folder, 'c'))).toMatch(/^this is a 3 \(\d+ bytes of memory\)$/m);
});

test.skipIf(!hasTool('cmake'))('cmake: the model is compiled as part of the build', async () => {
  const build = join(folder, 'cmake');
  await output('cmake', '-S', 'examples/cmake', '-B', build);
  await output('cmake', '--build', build);
  expect(await output(join(build, 'digit'))).toMatch(/^this is a 3 /);
});

test('demo: real digits, their accuracy, and what is zero', async () => {
  const text = await output(process.execPath, '--import', 'tsx', 'examples/demo/demo.ts');
  expect(text).toMatch(/it sees a 7, it is a 7 +it sees a 2, it is a 2 +it sees a 1, it is a 1/);
  expect(text).toMatch(/^accuracy  488 of 500 /m);
  expect(text).toMatch(/^sparsity  62\.1 % of the weights are zero/m);
  expect(text).toMatch(/^layers    elementwise \(reference\)(, matmul \((dense|sparse)-kernel\)){4}; \d+ bytes/m);
  expect(text).toMatch(/^time      (\d+\.\d\d us an image; onnxruntime .*, \d+\.\d times as long|not compared)/m);
});
