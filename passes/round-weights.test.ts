import { expect, test } from 'vitest';
import { isBf16, roundedToBf16 } from '../compiler/ir/bf16.js';
import { GraphBuilder } from '../compiler/ir/build.js';
import { tensorOf, toNumbers } from '../compiler/ir/tensor.js';
import { valueOf } from '../compiler/ir/types.js';
import { add, arg } from '../compiler/kir/build.js';
import { verifyGraph } from '../compiler/ir/verify.js';
import { evaluateGraph } from '../compiler/kir/evaluate.js';
import { roundWeights } from './round-weights.js';

const third = (n: number): number[] => Array.from({ length: n }, (_, i) => (i - 4) / 3);

test('constants of products become bf16 values; the same constant elsewhere, and biases, stay', () => {
  const b = new GraphBuilder('g'), x = b.input('x', { dtype: 'f32', shape: [3, 3] }), w = b.constant(tensorOf('f32', [3, 3], third(9)), 'w'), bias = b.constant(tensorOf('f32', [3], third(3)), 'bias');
  const [y] = b.op('matmul', [x, w], { transA: false, transB: false, out: 'f32' }), [z] = b.op('matmul', [y!, w], { transA: false, transB: false, out: 'f32' });
  const [sum] = b.op('elementwise', [z!, w], { expr: add(arg(0, 'f32'), arg(1, 'f32')) });
  const graph = b.finish([{ name: 'sum', value: sum! }]), biased = { ...graph, nodes: graph.nodes.map((n) => (n.outputs[0] === z!.id ? { ...n, epilogue: { expr: add(arg(0, 'f32'), arg(1, 'f32')), inputs: [bias.id] } } : n)) };
  const rounded = roundWeights.run(biased, { report: () => undefined });
  expect(verifyGraph(rounded)).toEqual([]);
  const [first, second, third_] = rounded.nodes;
  expect(first!.inputs[1]).toBe(second!.inputs[1]);
  expect(isBf16(valueOf(rounded, first!.inputs[1]!).constant!)).toBe(true);
  expect(third_!.inputs[1]).toBe(w.id);
  expect(second!.epilogue!.inputs).toEqual([bias.id]);
  const input = tensorOf('f32', [3, 3], third(9)), wr = toNumbers(roundedToBf16(tensorOf('f32', [3, 3], third(9)))), v = third(9).map(Math.fround), bv = third(3).map(Math.fround);
  const product = (a: readonly number[], c: readonly number[]): number[] => Array.from({ length: 9 }, (_, i) => [0, 1, 2].reduce((s, k) => s + a[Math.floor(i / 3) * 3 + k]! * c[k * 3 + (i % 3)]!, 0));
  const want = product(product(v, wr), wr).map((p, i) => p + bv[i % 3]! + v[i]!);
  toNumbers(evaluateGraph(rounded, [input])[0]!).forEach((got, i) => expect(got).toBeCloseTo(want[i]!, 5));
  expect(roundWeights.run(rounded, { report: () => undefined })).toBe(rounded);
});
