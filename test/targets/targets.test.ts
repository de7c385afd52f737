/** Both thin targets against the reference evaluator, compiled without warnings and run. */
import { describe, expect, test } from 'vitest';
import { cudaTarget as cudaTargetFor } from '../../backends/cuda/target.js';
import { fpgaTarget } from '../../backends/fpga/target.js';
import { evaluateGraph } from '../../compiler/kir/evaluate.js';
import { compareTensors } from '../support/compare.js';
import { hasTool } from '../support/processes.js';
import { samples, type Sample } from './graphs.js';
import { buildCSimulation, buildEmulation, emitGraph, exec, hasGxx, hasNvcc, mustExec, nvcc, runProgram, temporaryFolder, writeProject } from './support.js';

/** Every operator's loop nest, without tensor cores: as exact as the evaluator. */
const cudaTarget = cudaTargetFor('fp32');

const builders = {
  cuda: { target: cudaTarget, build: buildEmulation },
  fpga: { target: fpgaTarget, build: buildCSimulation },
} as const;

/** Differences from the evaluator, in words. */
function problems(s: Sample, results: ReturnType<typeof runProgram>): string[] {
  const expected = evaluateGraph(s.graph, s.inputs);
  return results.flatMap((r, i) => {
    const { problem } = compareTensors(r, expected[i]!, { relative: r.dtype === 'f16' ? 2e-3 : r.dtype === 'bf16' ? 1e-2 : 2e-6, absolute: 2e-6 });
    return problem ? [`output ${i}: ${problem}`] : [];
  });
}

describe.skipIf(!hasGxx).each(Object.entries(builders))('%s', (name, { target, build }) => {
  test.each(samples)('$name: as the evaluator', (s) => {
    const folder = temporaryFolder();
    try {
      const { plan, files } = emitGraph(s.graph, target);
      const program = build(files, folder.path, 'model', ['-O0', '-fsanitize=address,undefined', '-fno-sanitize-recover=all']);
      expect(problems(s, runProgram(program, plan, s.inputs))).toEqual([]);
    } finally {
      folder.dispose();
    }
  });

  test('the same plan gives the same files, without paths of this machine', () => {
    const { graph } = samples[2]!;
    const a = emitGraph(graph, target).files, b = emitGraph(graph, target).files;
    expect([...a]).toEqual([...b]);
    for (const [path, content] of a) expect(String(content), path).not.toContain(process.cwd());
    expect(a.has(name === 'cuda' ? 'model.cu' : 'model.cpp')).toBe(true);
  });
});

describe.skipIf(!hasGxx)('cuda', () => {
  const operators = samples[0]!;

  test('every schedule of blocks, warps and lanes gives the same bits; few blocks suffice', () => {
    const folder = temporaryFolder();
    try {
      const { plan, files } = emitGraph(operators.graph, cudaTarget);
      const program = buildEmulation(files, folder.path, 'model', ['-DSPC_MAX_BLOCKS=2', '-DSPC_THREADS=64']);
      const runs = ['0', '1', '2', '3'].map((seed) => runProgram(program, plan, operators.inputs, { SPC_EMU_SEED: seed }).map((t) => Buffer.from(t.data.buffer).toString('hex')));
      for (const r of runs) expect(r).toEqual(runs[0]);
      expect(problems(operators, runProgram(program, plan, operators.inputs))).toEqual([]);
    } finally {
      folder.dispose();
    }
  });

  test('weights from a file: the same results; without the file, an error', () => {
    const folder = temporaryFolder();
    try {
      const { plan, files } = emitGraph(operators.graph, cudaTarget, 'model', 'file');
      const program = buildEmulation(files, folder.path, 'model');
      expect(problems(operators, runProgram(program, plan, operators.inputs))).toEqual([]);
      const without = exec(program, operators.inputs.map((_, i) => `in${i}.bin`), { cwd: folder.path });
      expect(without.status).toBe(1);
      expect(without.stderr).toContain('create failed');
    } finally {
      folder.dispose();
    }
  });

  test('the C interface: caller\'s memory, profile, device pointers, wrong arguments', () => {
    const folder = temporaryFolder();
    try {
      const { files } = emitGraph(samples[2]!.graph, cudaTarget);
      writeProject(files, folder.path);
      writeProject(new Map([['check.cpp', `
#include <stdio.h>
#include <stdlib.h>
#include "spc_cuda.h"
#include "model.h"
#define CHECK(what) do { if (!(what)) { fprintf(stderr, "line %d: %s\\n", __LINE__, #what); return 1; } } while (0)
int main() {
  const spc_model_info *info = model_info();
  CHECK(info->abi_version == SPC_ABI_VERSION && info->input_count == 2 && info->output_count == 6 && info->weights_bytes == 0);
  unsigned char *memory = (unsigned char *)aligned_alloc(info->alignment, (info->context_bytes / info->alignment + 1) * info->alignment);
  double profile[64] = {0};
  spc_options options = {};
  options.profile = profile;
  spc_context *context = NULL, *other = NULL;
  CHECK(model_create(&options, NULL, NULL) == SPC_ERROR_ARGUMENT);
  CHECK(model_create(&options, memory + 1, &context) == SPC_ERROR_ARGUMENT && context == NULL);
  CHECK(model_create(&options, memory, &context) == SPC_OK && (unsigned char *)context == memory);
  CHECK(model_create(NULL, NULL, &other) == SPC_OK);
  float x[12], unused[2] = {0, 0}, a[6][12], b[6][12];
  for (int i = 0; i < 12; i++) x[i] = 0.25f * (float)(i - 5);
  const void *inputs[] = {x, unused};
  void *first[6], *second[6];
  for (int i = 0; i < 6; i++) { first[i] = a[i]; second[i] = b[i]; CHECK(info->outputs[i].bytes <= sizeof a[i]); }
  CHECK(model_run(NULL, inputs, first) == SPC_ERROR_ARGUMENT);
  CHECK(model_run(context, NULL, first) == SPC_ERROR_ARGUMENT);
  CHECK(model_run(context, inputs, first) == SPC_OK);
  CHECK(model_run(other, inputs, second) == SPC_OK);
  for (int i = 0; i < 6; i++) CHECK(memcmp(a[i], b[i], info->outputs[i].bytes) == 0);
  for (int i = 0; i < info->step_count; i++) CHECK(profile[i] > 0 && info->step_names[i][0]);
  /* the emulation's device memory is the host's: pointers can be handed over as they are */
  memset(b, 0, sizeof b);
  CHECK(model_run_device(context, inputs, second, NULL) == SPC_OK);
  for (int i = 0; i < 6; i++) CHECK(memcmp(a[i], b[i], info->outputs[i].bytes) == 0);
  model_destroy(context);
  model_destroy(other);
  model_destroy(NULL);
  free(memory);
  return 0;
}
`]]), folder.path);
      mustExec('g++', ['-std=c++17', '-O1', '-Wall', '-Wextra', '-Werror', '-fsanitize=address,undefined', '-x', 'c++', 'model.cu', 'check.cpp', '-o', 'check'], { cwd: folder.path });
      expect(exec('./check', [], { cwd: folder.path })).toMatchObject({ status: 0 });
    } finally {
      folder.dispose();
    }
  });

  test.skipIf(!hasTool('clang++'))('clang++ compiles the emulation without warnings', () => {
    const folder = temporaryFolder();
    try {
      writeProject(emitGraph(operators.graph, cudaTarget).files, folder.path);
      mustExec('clang++', ['-std=c++17', '-fsyntax-only', '-Wall', '-Wextra', '-Werror', '-x', 'c++', 'model.cu'], { cwd: folder.path });
    } finally {
      folder.dispose();
    }
  });

  test.skipIf(!hasTool('cmake'))('its CMake project builds for the emulation', () => {
    const folder = temporaryFolder();
    try {
      writeProject(emitGraph(samples[3]!.graph, cudaTarget).files, folder.path);
      mustExec('cmake', ['-S', '.', '-B', 'out', '-DSPC_EMULATE=ON'], { cwd: folder.path });
      mustExec('cmake', ['--build', 'out'], { cwd: folder.path });
      expect(exec('./out/model_main', []).status).not.toBe(0);
    } finally {
      folder.dispose();
    }
  });
});

test.skipIf(!hasNvcc).each(samples)('nvcc compiles $name without warnings and spills', (s) => {
  const folder = temporaryFolder();
  try {
    writeProject(emitGraph(s.graph, cudaTarget).files, folder.path);
    const o = exec(nvcc, ['-std=c++17', '-arch=sm_80', '-Werror', 'all-warnings', '-Xcompiler', '-Wall,-Wextra', '-Xptxas', '-v', '-c', 'model.cu', '-o', 'model.o'], { cwd: folder.path });
    expect(o.status, o.stderr).toBe(0);
    const spills = [...o.stderr.matchAll(/(\d+) bytes spill stores/g)].map((m) => Number(m[1]));
    expect(spills.length).toBeGreaterThan(0);
    expect(Math.max(...spills)).toBe(0);
  } finally {
    folder.dispose();
  }
});

test('fpga: a weights file is refused', () => {
  expect(() => emitGraph(samples[0]!.graph, fpgaTarget, 'model', 'file')).toThrow(/SPC5001.*read-only memories/s);
});
