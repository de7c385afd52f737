/**
 * Threads under ThreadSanitizer: sparse and dense models in the forms that it sees (C, not machine code), run again and again with several threads. No access may
 * race with another, and the bits are those of one thread.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { networkBytes } from '../../bench/networks/builder.js';
import { networkNamed } from '../../bench/networks/index.js';
import { prune } from '../../bench/prune.js';
import { compileModel, writeFiles, type CompileOptions, type CompileResult } from '../../compiler/driver.js';
import { runnerOf } from '../support/machines.js';
import { hasTool, mustRun, runProcess } from '../support/processes.js';
import { compileSparse } from '../support/sparse-model.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-races-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }), 60_000);

/** Runs the model with 1 to 4 threads, several times each; says how often spc_for was asked. */
const program = (name: string): string => `#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "${name}.h"
int main(void) {
  const spc_model_info *info = ${name}_info();
  const size_t in = info->inputs[0].bytes, out = info->outputs[0].bytes;
  float *input = malloc(in);
  unsigned char *expected = malloc(out), *output = malloc(out);
  for (size_t i = 0; i < in / sizeof *input; ++i) input[i] = (float)(i * 7919 % 1009) / 504.5f - 1.0f;
  const void *inputs[1] = {input};
  void *outputs[1] = {output};
  int different = 0;
  for (int threads = 1; threads <= 4; ++threads) {
    spc_options options = {0};
    spc_context *context;
    options.threads = threads;
    if (${name}_create(&options, NULL, &context) != SPC_OK) return 1;
    for (int run = 0; run < 4; ++run) {
      memset(output, 0xa5, out);
      if (${name}_run(context, inputs, outputs) != SPC_OK) return 2;
      if (threads == 1 && run == 0) memcpy(expected, output, out);
      different += memcmp(expected, output, out) != 0;
    }
    ${name}_destroy(context);
  }
  printf("%d runs differ\\n", different);
  free(input); free(expected); free(output);
  return 0;
}
`;

const pruned = (name: string, batch: number, options: CompileOptions = { cpu: 'x86-64-v3', codeBudget: 0 }): CompileResult =>
  compileModel({ bytes: networkBytes(prune(networkNamed(name).build(batch), 'unstructured:0.9').network), name: 'raced' }, options);

const models: Readonly<Record<string, () => CompileResult>> = {
  'two convolutions from tables': () => compileSparse('tables for AVX2', { codeBudget: 0 }),
  'lenet5, batch 1': () => pruned('lenet5', 1), 'linear-512, batch 1': () => pruned('linear-512', 1), 'lenet5, batch 19': () => pruned('lenet5', 19), 'gsc, batch 2': () => pruned('gsc', 2),
};

/** Address randomisation with more bits than the sanitizer knows is turned off for the program. */
const plainly = hasTool('setarch') ? ['setarch', '-R'] : [];
const able = process.platform === 'linux' && process.arch === 'x64' && hasTool('gcc');

/** Builds and runs the program of a model, which must share something among threads: what is not shared cannot race. */
async function expectSameBits(label: string, { files, manifest }: CompileResult, flags: readonly string[]): Promise<void> {
  const dir = join(folder, label.replace(/\W+/g, '-'));
  writeFiles(new Map([...files, ['race.c', program(manifest.name)]]), dir);
  await mustRun('gcc', [...manifest.compileFlags.filter((f) => f !== '-O3'), '-O1', '-g1', '-w', ...flags, '-I.', 'race.c', ...manifest.sources.filter((s) => s !== 'main.c'), '-o', 'race', '-lm', '-lpthread'], { cwd: dir });
  const [command, ...args] = [...plainly, './race'], run = await runProcess(command!, args, { cwd: dir, timeoutMs: 120_000 });
  expect(run.stderr).toBe('');
  expect([run.code, run.stdout]).toEqual([0, '0 runs differ\n']);
  expect([...files].some(([file, content]) => file.endsWith('.c') && typeof content === 'string' && content.includes('spc_for(context, '))).toBe(true);
}

describe.each(Object.keys(models))('%s', (label) => {
  test.skipIf(!able)('no races, and the bits of one thread', () => expectSameBits(label, models[label]!(), ['-fsanitize=thread']), 120_000);
});

// the sanitizer does not see what machine code does; different bits are seen
describe.each([['permute', 1], ['permute', 2], ['stream', 9]] as const)('%s kernels on AVX-512, batch %i', (kernel, batch) => {
  test.skipIf(!able || runnerOf('x86-64-v4') === undefined)('the bits of one thread', async () => {
    const compiled = pruned('linear-512', batch, { cpu: 'x86-64-v4' });
    expect(new Set(compiled.plan.steps.filter((s) => s.weights).map((s) => s.choice.kernel.split(' ')[0]))).toEqual(new Set([kernel]));
    await expectSameBits(`${kernel} ${batch}`, compiled, []);
  }, 120_000);
});
