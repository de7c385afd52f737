/** Compiled models as machine code: the objects of any number of models, linked into one program that runs any one of them. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { dtypes, type DType } from '../../compiler/ir/dtype.js';
import { denseTensor, tensorBytes, type Tensor } from '../../compiler/ir/tensor.js';
import { elementCount } from '../../compiler/ir/types.js';
import type { CompileResult } from '../../compiler/driver.js';
import type { Port } from '../../compiler/manifest.js';
import { failureOf, runProcess } from './processes.js';

export interface NativeOptions {
  readonly cc: string;
  /** In place of the -O3 of the manifest's flags. */
  readonly optimise: string;
  /** With AddressSanitizer and UndefinedBehaviorSanitizer. */
  readonly sanitize: boolean;
  /** Program that runs the compiler's programs, where they are for another machine. */
  readonly emulator?: string;
}

/** Every emitted source begins with the runtime's headers; gcc takes them from PREFIX.gch where that was made. */
const PREFIX = 'prefix.h';

const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer', '-g1'];

/** Warnings are errors, but for those about sanitizers' own work (GCC: loop annotations ignored). */
const flagsOf = (compileFlags: readonly string[], options: NativeOptions): string[] =>
  [...compileFlags.filter((f) => !/^-O/.test(f)), options.optimise, ...(options.sanitize ? ['-w', ...sanitizers] : ['-Wall', '-Wextra', '-Werror'])];

/** Compiles the headers that every emitted source includes, once for many models: reading them takes longer than most models. */
export async function precompileHeaders(dir: string, compileFlags: readonly string[], options: NativeOptions): Promise<void> {
  const runtime = join(packageRoot(), 'runtime');
  writeFileSync(join(dir, PREFIX), '#include "spc_runtime.h"\n#include "spc_math.h"\n#include "spc_vector.h"\n');
  const run = await runProcess(options.cc, [...flagsOf(compileFlags, options), '-I', join(runtime, 'cpu'), '-I', join(runtime, 'include'), '-x', 'c-header', PREFIX], { cwd: dir });
  const problem = failureOf(`${options.cc} on the runtime's headers`, run);
  if (problem) throw new Error(problem);
}

/** Writes and compiles a model's sources in a folder of its name, below `dir`; warnings are errors. */
export async function buildObjects(dir: string, compiled: Pick<CompileResult, 'files' | 'manifest'>, options: NativeOptions): Promise<{ readonly objects: readonly string[]; readonly problem?: string }> {
  const { name, sources: all, compileFlags } = compiled.manifest;
  const folder = join(dir, name);
  mkdirSync(folder, { recursive: true });
  for (const [path, content] of compiled.files) writeFileSync(join(folder, path), content);
  const sources = all.filter((f) => f !== 'main.c');
  const prefix = existsSync(join(dir, `${PREFIX}.gch`)) ? ['-include', `../${PREFIX}`] : [];
  const compile = (files: readonly string[], more: readonly string[]): ReturnType<typeof runProcess> =>
    runProcess(options.cc, [...flagsOf(compileFlags, options), ...more, '-c', ...files], { cwd: folder });
  const assembly = sources.filter((s) => s.endsWith('.S'));
  let run = await compile(sources.filter((s) => !s.endsWith('.S')), prefix);
  if (assembly.length > 0 && run.code === 0) run = await compile(assembly, []);
  const problem = failureOf(options.cc, run);
  return { objects: sources.map((s) => join(name, s.replace(/\.[cS]$/, '.o'))), ...(problem ? { problem } : {}) };
}

/**
 * The program: `driver INDEX INPUTS OUTPUTS` runs model INDEX on the bytes of file INPUTS and writes the outputs' bytes to OUTPUTS.
 * Every tensor lies against a page that must not be touched, once its end and once its beginning; inputs cannot be written. The
 * context is the model's own allocation once, and once memory before such a page, full of NaN, in which the model runs twice. Exit
 * status: 0 well, 2 arguments, 3 create failed, 4 run failed, 5 the runs' outputs differ.
 */
function driverSource(names: readonly string[]): string {
  const declarations = names.map((n) => `const spc_model_info *${n}_info(void); spc_status ${n}_create(const spc_options *, void *, spc_context **);
spc_status ${n}_run(spc_context *, const void *const *, void *const *); void ${n}_destroy(spc_context *);`);
  return `#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "spc.h"
${declarations.join('\n')}
typedef struct {
  const spc_model_info *(*info)(void);
  spc_status (*create)(const spc_options *, void *, spc_context **);
  spc_status (*run)(spc_context *, const void *const *, void *const *);
  void (*destroy)(spc_context *);
} entry;
static const entry entries[] = {
${names.map((n) => `  {${n}_info, ${n}_create, ${n}_run, ${n}_destroy},`).join('\n')}
};
/* Memory between two pages that cannot be touched, ending before the second or beginning behind the first. */
static unsigned char *guarded(size_t bytes, int at_end, int fill) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
  unsigned char *map = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED || (room && mprotect(map + page, room, PROT_READ | PROT_WRITE))) exit(2);
  memset(map + page, fill, room);
  return map + page + (at_end ? room - bytes : 0);
}
int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const entry *e = &entries[atoi(argv[1])];
  const spc_model_info *info = e->info();
  unsigned char *inputs[2][64], *outputs[3][64];
  for (int end = 0; end < 2; end++) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    FILE *in = fopen(argv[2], "rb");
    if (!in) return 2;
    for (int i = 0; i < info->input_count; i++) {
      const size_t bytes = info->inputs[i].bytes, room = (bytes + page - 1) / page * page;
      inputs[end][i] = guarded(bytes, end, 0);
      if (fread(inputs[end][i], 1, bytes, in) != bytes) return 2;
      if (room && mprotect(inputs[end][i] - (end ? room - bytes : 0), room, PROT_READ)) return 2;
    }
    fclose(in);
  }
  for (int run = 0; run < 3; run++) for (int i = 0; i < info->output_count; i++) outputs[run][i] = guarded(info->outputs[i].bytes, run != 1, 0xa5 ^ run * 0x33);
  spc_context *own = NULL, *given = NULL;
  if (e->create(NULL, NULL, &own) != SPC_OK || e->create(NULL, guarded(info->context_bytes, 1, 0xff), &given) != SPC_OK) return 3;
  for (int run = 0; run < 3; run++) {
    if (e->run(run ? given : own, (const void *const *)inputs[run != 1], (void *const *)outputs[run]) != SPC_OK) return 4;
  }
  e->destroy(own);
  e->destroy(given);
  FILE *out = fopen(argv[3], "wb");
  if (!out) return 2;
  int other = 0;
  for (int i = 0; i < info->output_count; i++) {
    const size_t n = info->outputs[i].bytes;
    fwrite(outputs[0][i], 1, n, out);
    other |= memcmp(outputs[0][i], outputs[1][i], n) || memcmp(outputs[1][i], outputs[2][i], n);
  }
  fclose(out);
  if (other) return 5;
  return 0;
}
`;
}

/** Links the driver. @param objects of the models, relative to `dir` */
export async function linkDriver(dir: string, names: readonly string[], objects: readonly string[], include: string, options: NativeOptions): Promise<void> {
  writeFileSync(join(dir, 'driver.c'), driverSource(names));
  writeFileSync(join(dir, 'objects.txt'), `${objects.join('\n')}\n`);
  const run = await runProcess(options.cc, ['-O1', ...(options.sanitize ? sanitizers : []), ...(options.emulator ? ['-static'] : []), '-I', include, 'driver.c', '@objects.txt', '-o', 'driver', '-lm', '-lpthread'], { cwd: dir });
  const problem = failureOf(`linking ${names.length} models`, run);
  if (problem) throw new Error(problem);
}

const exitMeanings: Readonly<Record<number, string>> = { 2: 'could not read its inputs', 3: 'create failed', 4: 'run failed', 5: 'another run, in other memory or on the same context, gave other bits' };

/** Runs a model on input tensors. @returns its outputs, or the problem in words */
export async function runDriver(dir: string, index: number, label: string, inputs: readonly Tensor[], outputs: readonly Port[], emulator?: string): Promise<readonly Tensor[] | string> {
  const inFile = join(dir, `${label}.in`), outFile = join(dir, `${label}.out`);
  writeFileSync(inFile, Buffer.concat(inputs.map(tensorBytes)));
  const [program, ...args] = [...(emulator ? [emulator] : []), join(dir, 'driver'), String(index), inFile, outFile];
  const run = await runProcess(program!, args, { timeoutMs: 60_000 });
  const problem = failureOf('the compiled model', run);
  if (problem) return run.code !== null && exitMeanings[run.code] ? `the compiled model: ${exitMeanings[run.code]}` : problem;
  const bytes = readFileSync(outFile);
  let at = 0;
  return outputs.map((port) => {
    const dtype = port.dtype as DType, count = elementCount(port.shape);
    const part = Uint8Array.from(bytes.subarray(at, at + count * dtypes[dtype].bytes));
    at += part.length;
    return denseTensor(dtype, port.shape, new dtypes[dtype].array(part.buffer, 0, count));
  });
}
