/** Passes around convolutions and matrix products: folding of scales and padding, canonical forms. */
import { describe, expect, test } from 'vitest';
import type { ConvAttrs } from '../compiler/core/conv.js';
import type { GraphBuilder } from '../compiler/ir/build.js';
import { sparsityOf } from '../compiler/ir/analysis.js';
import { denseData, tensorOf, toNumbers, type SparseTensor } from '../compiler/ir/tensor.js';
import type { Graph, Node, Value } from '../compiler/ir/types.js';
import { add, constant, div, max, mul, sub } from '../compiler/kir/build.js';
import { absorbOperandTransposes, canonicalizeProducts, pointwiseConvToMatmul } from './canonicalize-products.js';
import { foldBatchNorm } from './fold-batch-norm.js';
import { foldPadding } from './fold-padding.js';
import { applied, graphOf, kindsOf, randomTensor } from '../test/support/graphs.js';

const input = (g: GraphBuilder, shape: readonly number[], name = 'x'): Value => g.input(name, { dtype: 'f32', shape });
const weights = (g: GraphBuilder, shape: readonly number[], seed = 7): Value => g.constant(randomTensor('f32', shape, seed), 'w');
const convAttrs = (over: Partial<ConvAttrs> = {}): ConvAttrs =>
  ({ strides: [1, 1], dilations: [1, 1], pads: [[0, 0], [0, 0]], group: 1, layout: 'ncs', out: 'f32', ...over });
const matmul = { transA: false, transB: false, out: 'f32' } as const;
/** Scale and shift of channels, shaped to broadcast. */
const affine = (g: GraphBuilder, v: Value, shape: readonly number[], shift = true): Value => {
  const s = g.constant(randomTensor('f32', shape, 3), 's'), t = g.constant(randomTensor('f32', shape, 4), 't');
  return shift ? g.map([v, s, t], (x, a, b) => add(mul(x, a), b)) : g.map([v, s], mul);
};
const constantOf = (graph: Graph, node: Node, i = 1) => graph.values.get(node.inputs[i]!)!.constant!;
const exprKinds = (graph: Graph): string[] => graph.nodes.map((n) => (n.kind === 'elementwise' && n.attrs.expr.kind === 'binary' ? n.attrs.expr.op : n.kind));

describe('fold-batch-norm', () => {
  test.each<[string, (g: GraphBuilder) => Value]>([
    ['conv', (g) => affine(g, g.op('conv', [input(g, [2, 3, 5, 5]), weights(g, [4, 3, 3, 3])], convAttrs({ pads: [[1, 1], [1, 1]] }))[0]!, [4, 1, 1])],
    ['depthwise conv', (g) => affine(g, g.op('conv', [input(g, [1, 6, 5, 5]), weights(g, [6, 1, 3, 3])], convAttrs({ group: 6 }))[0]!, [1, 6, 1, 1])],
    ['conv, channels last', (g) => affine(g, g.op('conv', [input(g, [2, 5, 5, 3]), weights(g, [3, 3, 3, 4])], convAttrs({ layout: 'nsc' }))[0]!, [4])],
    ['matmul', (g) => affine(g, g.op('matmul', [input(g, [2, 5]), weights(g, [5, 4])], matmul)[0]!, [4])],
    ['matmul, transposed weights', (g) => affine(g, g.op('matmul', [input(g, [2, 5]), weights(g, [4, 5])], { ...matmul, transB: true })[0]!, [1, 4])],
    ['transposed conv', (g) => affine(g, g.op('convTranspose', [input(g, [1, 3, 4, 4]), weights(g, [3, 2, 2, 2])], { ...convAttrs({ strides: [2, 2] }), outputPadding: [0, 0] })[0]!, [2, 1, 1])],
  ])('the scale after a %s goes into the weights, the shift stays', (_, build) => {
    const after = applied(graphOf(build), foldBatchNorm);
    expect(exprKinds(after)).toHaveLength(2);
    expect(exprKinds(after)[1]).toBe('add');
  });

  test('bias, then normalisation, written in any way', () => {
    const after = applied(graphOf((g) => {
      const y = g.op('conv', [input(g, [1, 3, 4, 4]), weights(g, [4, 3, 1, 1])], convAttrs())[0]!;
      const c = (seed: number) => g.constant(randomTensor('f32', [4, 1, 1], seed), `c${seed}`);
      const biased = g.map([y, c(1)], add), centred = g.map([biased, c(2)], sub), scaled = g.map([centred, c(9)], div);
      return g.map([g.map([c(5), scaled], (a, x) => sub(a, x))], (x) => mul(x, constant('f32', 0.5)));
    }), foldBatchNorm);
    expect(exprKinds(after)).toEqual(['conv', 'add']);
  });

  test.each<[string, (g: GraphBuilder) => Value, string[]]>([
    ['scale before a padded conv', (g) => g.op('conv', [affine(g, input(g, [2, 4, 5, 5]), [4, 1, 1], false), weights(g, [6, 2, 3, 3])], convAttrs({ group: 2, pads: [[1, 1], [1, 1]] }))[0]!, ['conv']],
    ['scale and shift before an unpadded conv', (g) => g.op('conv', [affine(g, input(g, [2, 4, 5, 5]), [4, 1, 1]), weights(g, [6, 2, 3, 3])], convAttrs({ group: 2 }))[0]!, ['conv', 'add']],
    ['scale and shift before a padded conv', (g) => g.op('conv', [affine(g, input(g, [2, 4, 5, 5]), [4, 1, 1]), weights(g, [6, 2, 3, 3])], convAttrs({ group: 2, pads: [[1, 1], [1, 1]] }))[0]!, ['add', 'conv']],
    ['scale and shift before a channels-last conv', (g) => g.op('conv', [affine(g, input(g, [2, 5, 5, 4]), [4]), weights(g, [3, 3, 2, 6])], convAttrs({ layout: 'nsc', group: 2 }))[0]!, ['conv', 'add']],
    ['scale and shift before a matmul', (g) => g.op('matmul', [affine(g, input(g, [2, 3, 5]), [5]), weights(g, [5, 4])], matmul)[0]!, ['matmul', 'add']],
    ['scale and shift before rows of a matmul', (g) => g.op('matmul', [g.reshape(affine(g, input(g, [2, 3, 5]), [5]), [6, 5]), weights(g, [5, 4])], matmul)[0]!, ['reshape', 'matmul', 'add']],
    ['a scale along another dimension', (g) => g.op('matmul', [affine(g, input(g, [2, 5]), [2, 1]), weights(g, [5, 4])], matmul)[0]!, ['add', 'matmul']],
  ])('%s', (_, build, kinds) => {
    expect(exprKinds(applied(graphOf(build), foldBatchNorm))).toEqual(kinds);
  });

  test('several products that read one scaled value each take the scale', () => {
    const after = applied(graphOf((g) => {
      const a = affine(g, input(g, [2, 5]), [5]);
      return [1, 2, 3].map((seed) => g.op('matmul', [a, weights(g, [5, 4], seed)], matmul)[0]!);
    }), foldBatchNorm);
    expect(kindsOf(after).filter((k) => k === 'matmul')).toHaveLength(3);
    expect(after.nodes.filter((n) => n.kind === 'elementwise')).toHaveLength(3);
  });

  test('zeros stay zeros, sparse weights stay sparse, subnormals become zero', () => {
    const sparse: SparseTensor = { kind: 'sparse', dtype: 'f32', shape: [5, 4], values: Float32Array.from([1, 2, 1e-30, 4]), indices: [0, 5, 10, 15] };
    const graph = graphOf((g) => {
      const y = g.op('matmul', [input(g, [2, 5]), g.constant(sparse, 'w')], matmul)[0]!;
      return g.map([y, g.constant(tensorOf('f32', [4], [-1, 2, 1e-12, 3]), 's')], mul);
    });
    const after = applied(graph, foldBatchNorm), w = constantOf(after, after.nodes[0]!);
    expect(w.kind).toBe('sparse');
    expect(toNumbers(w)).toEqual(Array.from({ length: 20 }, (_, i) => ({ 0: -1, 5: 4, 15: 12 } as Record<number, number>)[i] ?? 0));
    expect(denseData(w).every((x) => !Object.is(x, -0))).toBe(true);
    expect(sparsityOf(w).nnz).toBe(3);
  });

  test('an infinite scale is left alone', () => {
    const graph = graphOf((g) => g.map([g.op('matmul', [input(g, [2, 5]), weights(g, [5, 2])], matmul)[0]!, g.constant(tensorOf('f32', [2], [Infinity, 1]))], mul));
    expect(foldBatchNorm.run(graph, { report: () => undefined })).toBe(graph);
  });
});

describe('fold-padding', () => {
  const padded = (g: GraphBuilder, v: Value, before: readonly number[], after: readonly number[], value = 0): Value =>
    g.op('pad', [v, ...(value === 0 ? [] : [g.constant(tensorOf('f32', [], [value]))])], { mode: 'constant', before, after })[0]!;
  const pool = { kernel: [3, 3], strides: [1, 2], dilations: [1, 1], pads: [[0, 0], [0, 0]], ceil: false, countIncludePad: false, layout: 'nsc' } as const;
  test.each<[string, (g: GraphBuilder) => Value, string[]]>([
    ['conv', (g) => g.op('conv', [padded(g, input(g, [1, 2, 4, 4]), [0, 0, 1, 2], [0, 0, 0, 1]), weights(g, [3, 2, 3, 3])], convAttrs({ pads: [[1, 0], [0, 0]] }))[0]!, ['conv']],
    ['conv behind padded channels', (g) => g.op('conv', [padded(g, input(g, [1, 2, 4, 4]), [0, 1, 1, 2], [0, 0, 0, 1]), weights(g, [3, 3, 3, 3])], convAttrs())[0]!, ['pad', 'conv']],
    ['conv behind ones', (g) => g.op('conv', [padded(g, input(g, [1, 2, 4, 4]), [0, 0, 1, 2], [0, 0, 0, 1], 1), weights(g, [3, 2, 3, 3])], convAttrs())[0]!, ['pad', 'conv']],
    ['average pool', (g) => g.op('pool', [padded(g, input(g, [1, 4, 4, 2]), [0, 1, 1, 0], [0, 1, 1, 0])], { ...pool, mode: 'average' })[0]!, ['pool']],
    ['max pool behind -infinity', (g) => g.op('pool', [padded(g, input(g, [1, 4, 4, 2]), [0, 1, 1, 0], [0, 1, 1, 0], -Infinity)], { ...pool, mode: 'max' })[0]!, ['pool']],
    ['max pool behind zeros', (g) => g.op('pool', [padded(g, input(g, [1, 4, 4, 2]), [0, 1, 1, 0], [0, 1, 1, 0])], { ...pool, mode: 'max' })[0]!, ['pad', 'pool']],
    ['max pool behind zeros, of a ReLU', (g) => g.op('pool', [padded(g, g.map([input(g, [1, 4, 4, 2])], (x) => max(x, constant('f32', 0))), [0, 1, 1, 0], [0, 1, 1, 0])], { ...pool, mode: 'max' })[0]!, ['elementwise', 'pool']],
  ])('%s', (_, build, kinds) => {
    expect(kindsOf(applied(graphOf(build), foldPadding))).toEqual(kinds);
  });
});

describe('canonicalize-products', () => {
  test('a constant right side is transposed while compiling', () => {
    const after = applied(graphOf((g) => g.op('matmul', [input(g, [2, 5]), weights(g, [4, 5])], { ...matmul, transB: true })), canonicalizeProducts);
    expect(after.nodes).toHaveLength(1);
    expect(after.nodes[0]!.attrs).toMatchObject({ transB: false });
    expect(constantOf(after, after.nodes[0]!).shape).toEqual([5, 4]);
  });
  test('all rows become one dimension', () => {
    const after = applied(graphOf((g) => g.op('matmul', [input(g, [2, 3, 4, 5]), weights(g, [1, 5, 6])], matmul)), canonicalizeProducts);
    expect(kindsOf(after)).toEqual(['reshape', 'matmul', 'reshape']);
    expect(after.values.get(after.nodes[1]!.outputs[0]!)!.type.shape).toEqual([24, 6]);
  });
  test('products of computed matrices keep their batches and read transposed operands in place', () => {
    const after = applied(graphOf((g) => {
      const q = input(g, [2, 3, 4, 5], 'q'), k = input(g, [2, 3, 6, 5], 'k');
      return g.op('matmul', [q, g.transpose(k, [0, 1, 3, 2])], matmul);
    }), [canonicalizeProducts, absorbOperandTransposes]);
    expect(kindsOf(after)).toEqual(['matmul']);
    expect(after.nodes[0]!.attrs).toMatchObject({ transA: false, transB: true });
  });
  test.each([[convAttrs({ layout: 'nsc' }), 'matmul'], [convAttrs({ layout: 'nsc', strides: [2, 1] }), 'conv'], [convAttrs({ layout: 'nsc', pads: [[1, 0], [0, 0]] }), 'conv']])('1x1 convolutions: %o', (attrs, kind) => {
    const after = applied(graphOf((g) => g.op('conv', [input(g, [2, 3, 4, 5]), weights(g, [1, 1, 5, 6])], attrs)), pointwiseConvToMatmul);
    expect(kindsOf(after)).toContain(kind);
  });
});
