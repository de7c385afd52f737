/** Whole trained models through both thin targets, against ONNX Runtime. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { Precision } from '../../backends/cuda/target.js';
import { compileModel, readModel } from '../../compiler/driver.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { tensorOf, toNumbers, type Tensor } from '../../compiler/ir/tensor.js';
import { elementCount } from '../../compiler/ir/types.js';
import { compareTensors } from '../support/compare.js';
import { loadOnnxRuntime, runOnnxRuntime } from '../support/onnxruntime.js';
import { numbers } from './graphs.js';
import { buildCSimulation, buildEmulation, hasGxx, runProgram, temporaryFolder } from './support.js';

const example = (path: string): string => join(packageRoot(), 'examples', path);
const shared = (path: string): string => resolve(packageRoot(), '../shared/models', path);
const ort = loadOnnxRuntime();

interface Case {
  readonly name: string;
  readonly path: string;
  /** Inputs of several inferences, and what class each should get where that is known. */
  readonly samples: (shape: readonly number[]) => readonly { readonly input: Tensor; readonly label?: number }[];
}

/** Handwritten digits as floats 0..255. */
function digits(shape: readonly number[]): { input: Tensor; label: number }[] {
  const read = (kind: string): Buffer => gunzipSync(readFileSync(example(`data/mnist-500-${kind}-ubyte.gz`)));
  const images = read('images-idx3').subarray(16), labels = read('labels-idx1').subarray(8);
  return Array.from({ length: 10 }, (_, i) => ({ input: tensorOf('f32', shape, [...images.subarray(784 * i, 784 * (i + 1))]), label: labels[i]! }));
}
const random = (scale: number) => (shape: readonly number[]): { input: Tensor }[] =>
  [1, 2, 3].map((seed) => ({ input: tensorOf('f32', shape, numbers(elementCount(shape), seed).map((x) => x * scale)) }));

const cases: readonly Case[] = [
  { name: 'MNIST CNN', path: example('models/mnist-cnn/mnist.onnx'), samples: digits },
  { name: 'KWS DS-CNN', path: example('models/mlperf-tiny/kws_dscnn_fp32.onnx'), samples: random(40) },
  { name: 'ResNet-8', path: shared('mlperf-tiny/ic_resnet8_fp32.onnx'), samples: random(10) },
  { name: 'ViT', path: shared('vit-cifar/ibp_3_3_8.onnx'), samples: random(1) },
  { name: 'jets MLP', path: shared('jets-pruned/KERAS_3layer.onnx'), samples: random(1) },
  { name: 'jets MLP, 72 % sparse', path: shared('jets-pruned/KERAS_3layer_70pruned_retrained.onnx'), samples: random(1) },
  { name: 'jets MLP, 98.7 % sparse', path: shared('jets-pruned/KERAS_3layer_95pruned_retrained.onnx'), samples: random(1) },
];

interface Variant {
  readonly target: 'cuda' | 'fpga';
  readonly precision?: Precision;
  readonly build: typeof buildEmulation;
  /** Largest difference from ONNX Runtime, of the largest output: each stored activation is rounded by 2^-11 (f16) or 2^-8 (bf16). */
  readonly tolerance: number;
}
const variants: Readonly<Record<string, Variant>> = {
  'cuda, fp32': { target: 'cuda', precision: 'fp32', build: buildEmulation, tolerance: 2e-5 },
  'cuda, fp16': { target: 'cuda', precision: 'fp16', build: buildEmulation, tolerance: 4e-3 },
  'cuda, bf16': { target: 'cuda', precision: 'bf16', build: buildEmulation, tolerance: 3e-2 },
  // activations are cut, not rounded, to 10 bits of fraction
  'cuda, tf32': { target: 'cuda', precision: 'tf32', build: buildEmulation, tolerance: 8e-3 },
  fpga: { target: 'fpga', build: buildCSimulation, tolerance: 2e-5 },
};
const argmax = (t: Tensor): number => { const x = toNumbers(t); return x.indexOf(Math.max(...x)); };

describe.each(Object.entries(variants))('%s', (_, { target, precision, build, tolerance }) => {
  for (const { name, path, samples } of cases) {
    test.skipIf(!hasGxx || !ort || !existsSync(path))(name, async () => {
      const { plan, files } = compileModel(readModel(path), { target, name: 'model', ...(precision ? { precision } : {}) });
      const folder = temporaryFolder();
      try {
        const program = build(files, folder.path, 'model');
        const schedules = target === 'cuda' ? ['0', '1', '2', '3'] : ['0'];
        let known = 0, right = 0;
        for (const { input, label } of samples(plan.inputs[0]!.type.shape)) {
          const expected = await runOnnxRuntime(ort!, readFileSync(path), { [plan.inputs[0]!.name]: input });
          const [first, ...others] = schedules.map((seed) => runProgram(program, plan, [input], { SPC_EMU_SEED: seed }));
          plan.outputs.forEach((o, i) => {
            const largest = Math.max(1, ...toNumbers(expected[o.name]!).map(Math.abs));
            expect(compareTensors(first![i]!, expected[o.name]!, { relative: 1e-4, absolute: tolerance * largest }).problem, o.name).toBeUndefined();
          });
          for (const other of others) expect(other.map((t) => t.data)).toEqual(first!.map((t) => t.data));
          if (label !== undefined) { known++; if (argmax(first![0]!) === label) right++; }
        }
        expect(right).toBe(known);
      } finally {
        folder.dispose();
      }
    });
  }
});
