/** One CUDA project for several architectures: each has its own kernels, and a model takes the best that its device runs. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compileModel } from '../../compiler/driver.js';
import { tensorBytes, tensorOf, toNumbers } from '../../compiler/ir/tensor.js';
import { randomNumbers } from '../support/graphs.js';
import { node, onnxModel } from '../support/onnx-builder.js';
import { hasTool } from '../support/processes.js';
import { buildEmulation, exec, hasGxx, hasNvcc, mustExec, nvcc, runProgram, temporaryFolder, writeProject } from './support.js';

const columns = 150, depth = 256, rows = 136, weights = randomNumbers(depth * rows, 1), input = tensorOf('f32', [columns, depth], randomNumbers(columns * depth, 2));
const bytes = onnxModel({
  inputs: { x: { dtype: 'f32', shape: [columns, depth] } }, outputs: ['y'], nodes: [node('MatMul', ['x', 'w'], ['y'], {}, { name: 'product' })],
  initializers: { w: tensorOf('f32', [depth, rows], weights) },
});
const compiled = compileModel({ bytes, name: 'product' }, { target: 'cuda', gpuArch: ['sm_80', 'sm_90a', 'sm_86'], weights: 'file' }), [best] = compiled.paths;

test('each path runs on tensor cores', () => expect(compiled.manifest.paths!.map((p) => p.layers[0]!.schedule)).toEqual(Array.from({ length: 3 }, () => expect.stringMatching(/^gemm f16/))));

test('the best architecture comes first, each with its source and flags; packed weights lie in the file once', () => {
  expect(compiled.manifest.paths!.map((p) => [p.arch, p.sources, p.compileFlags.at(-1)])).toEqual(['90a', '86', '80'].map((n) => [`sm_${n}`, [`product_sm_${n}.cu`], `arch=compute_${n},code=sm_${n}`]));
  expect(compiled.manifest.sources.filter((f) => f.endsWith('.cu')).sort()).toEqual(['product.cu', 'product_sm_80.cu', 'product_sm_86.cu', 'product_sm_90a.cu']);
  // every path multiplies with the same fragments: 9 tiles of 16 rows, 4 blocks of 64 columns
  expect(compiled.files.get('product_weights.bin')!.length).toBe(9 * 4 * 2048);
});

test.skipIf(!hasGxx)('every path computes the product; where none fits the device, create says so', () => {
  const x = toNumbers(input), exact = Array.from({ length: columns * rows }, (_, i) => {
    const n = Math.floor(i / rows), m = i % rows;
    return Array.from({ length: depth }, (__, k) => x[n * depth + k]! * weights[k * rows + m]!).reduce((a, b) => a + b);
  });
  for (const first of [0, 1, 2, 3]) {
    const folder = temporaryFolder();
    try {
      const program = buildEmulation(compiled.files, folder.path, 'product', [`-DSPC_FIRST_PATH=${first}`]);
      if (first === 3) {
        writeFileSync(join(folder.path, 'in0.bin'), tensorBytes(input));
        const refused = exec(program, ['-w', 'product_weights.bin', 'in0.bin'], { cwd: folder.path });
        expect(refused.status).toBe(1);
        expect(refused.stderr).toContain('create failed');
      } else {
        const [got] = runProgram(program, best!.plan, [input]);
        toNumbers(got!).forEach((v, i) => expect(Math.abs(v - exact[i]!), `path ${first}, element ${i}`).toBeLessThan(0.02));
      }
    } finally {
      folder.dispose();
    }
  }
}, 120_000);

test.skipIf(!hasGxx || !hasTool('cmake'))('its CMake project builds for the emulation', () => {
  const folder = temporaryFolder();
  try {
    writeProject(compiled.files, folder.path);
    mustExec('cmake', ['-S', '.', '-B', 'out', '-DSPC_EMULATE=ON'], { cwd: folder.path });
    mustExec('cmake', ['--build', 'out'], { cwd: folder.path });
    expect(exec('./out/product_main', []).status).not.toBe(0);
  } finally {
    folder.dispose();
  }
}, 120_000);

test.skipIf(!hasNvcc)(`nvcc compiles each source for its architecture${hasNvcc ? '' : ' (skipped: no nvcc)'}`, () => {
  const folder = temporaryFolder();
  try {
    writeProject(compiled.files, folder.path);
    for (const { sources, compileFlags } of [...compiled.manifest.paths!, { sources: ['product.cu'], compileFlags: compiled.manifest.compileFlags }]) {
      for (const f of sources) mustExec(nvcc, [...compileFlags, '-Werror', 'all-warnings', '-Xcompiler', '-Wall,-Wextra', '-c', f, '-o', `${f}.o`], { cwd: folder.path });
    }
  } finally {
    folder.dispose();
  }
}, 120_000);
