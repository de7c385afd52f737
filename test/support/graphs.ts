/** What the tests of passes share: small graphs, seeded inputs, and the comparison of a graph's meaning before and after. */
import { expect } from 'vitest';
import { GraphBuilder } from '../../compiler/ir/build.js';
import { isFloat, type DType } from '../../compiler/ir/dtype.js';
import { tensorOf, toNumbers, type DenseTensor } from '../../compiler/ir/tensor.js';
import { elementCount, valueOf, type Graph, type Value } from '../../compiler/ir/types.js';
import { verifyGraph } from '../../compiler/ir/verify.js';
import { evaluateGraph } from '../../compiler/kir/evaluate.js';
import type { Pass } from '../../passes/types.js';

/** Uniform numbers in [-1, 1), the same for the same seed (linear congruential, Numerical Recipes). */
export function randomNumbers(count: number, seed: number): number[] {
  let state = seed >>> 0;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31) - 1;
  });
}

export function randomTensor(dtype: DType, shape: readonly number[], seed: number): DenseTensor {
  const numbers = randomNumbers(elementCount(shape), seed);
  const signed = dtype.startsWith('i');
  return tensorOf(dtype, shape, isFloat(dtype) ? numbers : dtype === 'bool' ? numbers.map((x) => (x > 0 ? 1 : 0)) : numbers.map((x) => Math.floor((signed ? x : Math.abs(x)) * 100)));
}

/** Builds a graph whose outputs are what `build` returns. */
export function graphOf(build: (g: GraphBuilder) => Value | readonly Value[]): Graph {
  const g = new GraphBuilder('test');
  const result = build(g);
  return g.finish((Array.isArray(result) ? (result as readonly Value[]) : [result as Value]).map((value, i) => ({ name: `y${i}`, value })));
}

export const kindsOf = (graph: Graph): string[] => graph.nodes.map((n) => n.kind);

/**
 * Runs passes and checks that the result is well-formed and computes the same on random inputs.
 * @param tolerance largest difference, relative to the largest output
 */
export function applied(graph: Graph, passes: Pass | readonly Pass[], tolerance = 1e-5): Graph {
  const after = [passes].flat().reduce<Graph>((g, p) => p.run(g, { report: () => undefined }), graph);
  expect(verifyGraph(after)).toEqual([]);
  expectSameMeaning(graph, after, tolerance);
  return after;
}

export function expectSameMeaning(before: Graph, after: Graph, tolerance: number): void {
  for (const seed of [1, 2]) {
    const inputs = before.inputs.map((id, i) => { const { type } = valueOf(before, id); return randomTensor(type.dtype, type.shape, seed * 100 + i); });
    const want = evaluateGraph(before, inputs), got = evaluateGraph(after, inputs);
    expect(got.map((t) => [t.dtype, t.shape])).toEqual(want.map((t) => [t.dtype, t.shape]));
    want.forEach((w, o) => {
      const a = toNumbers(w), b = toNumbers(got[o]!), scale = Math.max(1e-6, ...a.map((x) => (Number.isFinite(x) ? Math.abs(x) : 0)));
      a.forEach((x, i) => { if (!(Object.is(x, b[i]) || Math.abs(x - b[i]!) <= tolerance * scale)) expect.fail(`output ${o}, element ${i}: ${x} before, ${b[i]} after`); });
    });
  }
}
