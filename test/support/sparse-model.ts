/** A small model with sparse products, and every way in which its stream functions are written. */
import { compileModel, type CompileOptions, type CompileResult } from '../../compiler/driver.js';
import { tensorOf, type DenseTensor } from '../../compiler/ir/tensor.js';
import { elementCount } from '../../compiler/ir/types.js';
import { node, onnxModel } from './onnx-builder.js';
import { randomSource } from './random-stream.js';

export const sparseShape = [1, 32, 40, 40] as const;

/** Two convolutions and their sum, nine weights of ten being zero; a constant that is too large for an array. */
export function sparseModel(): Uint8Array {
  const random = randomSource(31);
  const weights = (of: readonly number[]): DenseTensor => tensorOf('f32', of, Array.from({ length: elementCount(of) }, () => (random.next() < 0.1 ? random.next() - 0.5 : 0)));
  return onnxModel({
    inputs: { x: { dtype: 'f32', shape: sparseShape } }, outputs: ['y'],
    nodes: [
      node('Add', ['x', 'p'], ['z']), node('Conv', ['z', 'w1', 'b1'], ['a'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }, { name: 'first' }), node('Relu', ['a'], ['r']),
      node('Conv', ['r', 'w2'], ['b'], { kernel_shape: [1, 1] }, { name: 'second' }), node('Add', ['b', 'z'], ['s']), node('Relu', ['s'], ['y']),
    ],
    initializers: {
      p: tensorOf('f32', sparseShape, Array.from({ length: elementCount(sparseShape) }, () => random.next())), w1: weights([96, 32, 3, 3]),
      b1: tensorOf('f32', [96], Array.from({ length: 96 }, () => random.next() - 0.5)), w2: weights([32, 96, 1, 1]),
    },
  });
}

export const sparseWays = {
  bytes: {}, text: { asm: 'text' }, tables: { codeBudget: 0 },
  // the first convolution has code, the second tables
  mixed: { codeBudget: 35_000 }, 'tables for AVX2': { cpu: 'x86-64-v3', codeBudget: 0 }, 'code for AVX2': { cpu: 'x86-64-v3' }, 'text for NEON': { cpu: 'aarch64' },
} as const satisfies Readonly<Record<string, CompileOptions>>;

export type SparseWay = keyof typeof sparseWays;

/** The model, called `sparse`. */
export const compileSparse = (way: SparseWay, more: CompileOptions = {}): CompileResult => compileModel({ bytes: sparseModel(), name: 'sparse' }, { cpu: 'x86-64-v4', ...sparseWays[way], ...more });
