import { expect, test } from 'vitest';
import type { GraphBuilder } from '../compiler/ir/build.js';
import { sparsityOf } from '../compiler/ir/analysis.js';
import { denseData, tensorOf } from '../compiler/ir/tensor.js';
import type { DType } from '../compiler/ir/dtype.js';
import type { Value } from '../compiler/ir/types.js';
import { add, constant, max } from '../compiler/kir/build.js';
import { fuseElementwise } from './fuse-elementwise.js';
import { fuseEpilogue } from './fuse-epilogue.js';
import { foldConstants } from './fold-constants.js';
import { lowerQuantization, normalizeQuant } from './normalize-quant.js';
import { simplify } from './simplify.js';
import { applied, graphOf, kindsOf, randomTensor } from '../test/support/graphs.js';

const scalar = (g: GraphBuilder, dtype: DType, value: number): Value => g.constant(tensorOf(dtype, [], [value]), 'q');
const params = (g: GraphBuilder, dtype: DType, scale: number, zero: number): Value[] => [scalar(g, 'f32', scale), scalar(g, dtype, zero)];
const quantize = (g: GraphBuilder, x: Value, dtype: DType, scale: number, zero: number): Value => g.op('quantize', [x, ...params(g, dtype, scale, zero)], { out: dtype })[0]!;
const dequantize = (g: GraphBuilder, q: Value, scale: number, zero: number): Value => g.op('dequantize', [q, ...params(g, q.type.dtype, scale, zero)], { out: 'f32' })[0]!;
const quant = [normalizeQuant, lowerQuantization, foldConstants, simplify, fuseElementwise, fuseEpilogue];
const conv = { strides: [1, 1], dilations: [1, 1], pads: [[1, 1], [1, 1]], group: 1, layout: 'ncs', out: 'f32' } as const;

test('a QDQ convolution is one integer convolution with a requantising epilogue', () => {
  const after = applied(graphOf((g) => {
    const x = g.input('x', { dtype: 'u8', shape: [1, 3, 6, 6] });
    const scales = g.constant(tensorOf('f32', [4, 1, 1, 1], [0.01, 0.02, 0.03, 0.04]), 's');
    const w = g.op('dequantize', [g.constant(randomTensor('i8', [4, 3, 3, 3], 5), 'w'), scales], { out: 'f32' })[0]!;
    const y = g.op('conv', [dequantize(g, x, 0.02, 128), w], conv)[0]!;
    const biased = g.map([y, g.constant(randomTensor('f32', [4, 1, 1], 6), 'b')], add);
    return dequantize(g, quantize(g, g.map([biased], (e) => max(e, constant('f32', 0))), 'u8', 0.05, 3), 0.05, 3);
  }), quant, 2e-2); // one step of the output quantisation, where a sum falls on a tie
  expect(kindsOf(after)).toEqual(['elementwise', 'conv']);
  const [centred, product] = after.nodes;
  expect(after.values.get(centred!.outputs[0]!)!.type.dtype).toBe('i8'); // 0..255 less 128
  expect(product!.attrs).toMatchObject({ out: 'i32' });
  expect(after.values.get(product!.inputs[1]!)!.constant).toMatchObject({ dtype: 'i8' });
});

test('weights stored as uint8 with zero point 128 become signed, their pruned elements zeros', () => {
  const stored = tensorOf('u8', [8, 4], Array.from({ length: 32 }, (_, i) => (i % 4 === 0 ? 100 + i : 128)));
  const after = applied(graphOf((g) => {
    const w = dequantize(g, g.constant(stored, 'w'), 0.1, 128);
    return g.op('matmul', [dequantize(g, g.input('x', { dtype: 'i8', shape: [2, 8] }), 0.5, 0), w], { transA: false, transB: false, out: 'f32' });
  }), quant, 1e-6);
  const weights = after.values.get(after.nodes.find((n) => n.kind === 'matmul')!.inputs[1]!)!.constant!;
  expect(weights.dtype).toBe('i8');
  expect(sparsityOf(weights).nnz).toBe(sparsityOf(stored, 128).nnz);
  expect([...(denseData(weights) as Int8Array)]).toEqual([...(denseData(stored) as Uint8Array)].map((v) => v - 128));
});

test('a quantised value that is only looked at stays integer', () => {
  const after = applied(graphOf((g) => {
    const x = g.input('x', { dtype: 'u8', shape: [1, 3, 6, 6] });
    const pooled = g.op('pool', [dequantize(g, x, 0.02, 7)], { mode: 'max', kernel: [2, 2], strides: [2, 2], dilations: [1, 1], pads: [[0, 0], [0, 0]], ceil: false, countIncludePad: false, layout: 'ncs' })[0]!;
    return quantize(g, g.reshape(g.transpose(pooled, [0, 2, 3, 1]), [9, 3]), 'u8', 0.02, 7);
  }), quant, 0);
  expect(kindsOf(after)).toEqual(['pool', 'transpose', 'reshape']);
  expect([...after.values.values()].every((v) => v.type.dtype === 'u8' || v.constant)).toBe(true);
});

test('requantising with other parameters is not dropped', () => {
  const after = applied(graphOf((g) => quantize(g, dequantize(g, g.input('x', { dtype: 'u8', shape: [40] }), 0.02, 7), 'u8', 0.02, 8)), normalizeQuant, 0);
  expect(kindsOf(after)).toEqual(['dequantize', 'quantize']);
});

test('scales along the inner dimension keep the product in floating point', () => {
  const after = applied(graphOf((g) => {
    const scales = g.constant(randomTensor('f32', [8, 1], 3), 's');
    const w = g.op('dequantize', [g.constant(randomTensor('i8', [8, 4], 5), 'w'), scales], { out: 'f32' })[0]!;
    return g.op('matmul', [dequantize(g, g.input('x', { dtype: 'i8', shape: [2, 8] }), 0.5, 0), w], { transA: false, transB: false, out: 'f32' });
  }), normalizeQuant, 1e-6);
  expect(after.nodes.find((n) => n.kind === 'matmul')!.attrs).toMatchObject({ out: 'f32' });
});
