/** Threads change how long a model takes, not one bit of what it computes; a caller may bring its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { denseData, tensorBytes } from '../../compiler/ir/tensor.js';
import { writeFiles } from '../../compiler/driver.js';
import { failureOf, hasTool, runProcess } from '../support/processes.js';
import { buildReal, randomInputsOf, strict } from './build.js';
import { absence, compileReal, modelFile, modelNamed } from './models.js';

const names = ['mnist-cnn', 'kws-dscnn', 'resnet8', 'tfc-w2a2', 'micro-kws-qoperator', 'vit-cifar', 'ultraface', 'silero-vad'];

for (const m of names.map(modelNamed)) {
  const missing = modelFile(m) === undefined;
  test.skipIf(missing)(`${m.name}: 2 and 3 threads compute the bits of 1${absence(m)}`, { timeout: 300_000 }, async () => {
    const one = await buildReal(m);
    const inputs = randomInputsOf(m, one, 5), expected = one.run(inputs).map((t) => Buffer.from(tensorBytes(t)));
    for (const threads of [2, 3]) {
      const many = await buildReal(m, {}, { threads });
      // several runs: a race need not show in the first
      for (let i = 0; i < 20; i++) many.run(inputs).forEach((t, o) => expect(Buffer.from(tensorBytes(t)).equals(expected[o]!)).toBe(true));
      many.loaded.dispose();
    }
    one.loaded.dispose();
  });
}

/** A caller's scheduler that runs shares last to first, each a part of the range; it counts how often it was asked. */
const hookProgram = (name: string): string => `#include <stdio.h>
#include <stdlib.h>
#include "${name}.h"
static long calls = 0;
static void backwards(void *user, spc_task task, void *argument, long extent) {
  const long parts = *(const long *)user;
  ++calls;
  for (long p = parts - 1; p >= 0; --p) {
    const long begin = extent * p / parts, end = extent * (p + 1) / parts;
    if (begin < end) task(argument, begin, end);
  }
}
static int run(const spc_options *options, const void *const *inputs, void *output, size_t bytes) {
  spc_context *context;
  if (${name}_create(options, NULL, &context) != SPC_OK) return 1;
  if (${name}_run(context, inputs, &output) != SPC_OK) return 1;
  ${name}_destroy(context);
  return bytes == 0;
}
int main(int argc, char **argv) {
  const spc_model_info *info = ${name}_info();
  const size_t in = info->inputs[0].bytes, out = info->outputs[0].bytes;
  unsigned char *input = malloc(in), *plain = malloc(out), *hooked = malloc(out);
  long parts = 4;
  spc_options none = {0}, hook = {0};
  hook.threads = (int)parts;
  hook.parallel_for = backwards;
  hook.parallel_user = &parts;
  FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (!f || fread(input, 1, in, f) != in) return 2;
  fclose(f);
  const void *inputs[1] = {input};
  if (run(&none, inputs, plain, out) || run(&hook, inputs, hooked, out)) return 3;
  int different = 0;
  for (size_t i = 0; i < out; ++i) different += plain[i] != hooked[i];
  printf("%ld calls, %d bytes differ\\n", calls, different);
  free(input); free(plain); free(hooked);
  return 0;
}
`;

test.skipIf(!hasTool('gcc'))('a caller\'s parallel-for is asked, and computes the same bits', { timeout: 120_000 }, async () => {
  const m = modelNamed('resnet8'), dir = mkdtempSync(join(tmpdir(), 'spc-hook-'));
  try {
    const { files, manifest } = compileReal(m), folder = join(dir, 'build');
    writeFiles(new Map([...files, ['hook.c', hookProgram(manifest.name)]]), folder);
    const built = await buildReal(m);
    writeFileSync(join(folder, 'input.raw'), new Uint8Array((denseData(randomInputsOf(m, built, 3)[0]!)).buffer));
    built.loaded.dispose();
    const build = await runProcess('gcc', [...manifest.compileFlags, ...strict, '-O1', 'hook.c', ...manifest.sources.filter((f) => f !== 'main.c'), '-o', 'hook', '-lm', '-lpthread'], { cwd: folder });
    expect(failureOf('gcc', build)).toBeUndefined();
    const run = await runProcess('./hook', ['input.raw'], { cwd: folder });
    expect(run.stdout).toMatch(/^[1-9]\d* calls, 0 bytes differ\n$/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
