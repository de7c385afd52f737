/** Fusion of elementwise work, and recognition of what exporters took apart. */
import { describe, expect, test } from 'vitest';
import type { GraphBuilder } from '../compiler/ir/build.js';
import { coreOp } from '../compiler/core/index.js';
import { formatExpr } from '../compiler/ir/print.js';
import { tensorOf } from '../compiler/ir/tensor.js';
import type { Graph, Node, Value } from '../compiler/ir/types.js';
import { add, arg, cast, compare, constant, div, max, min, mul, sub, unary } from '../compiler/kir/build.js';
import type { Expr } from '../compiler/kir/types.js';
import { eliminateCommonSubexpressions } from './eliminate-common-subexpressions.js';
import { foldLookups } from './fold-lookups.js';
import { fuseElementwise } from './fuse-elementwise.js';
import { fuseEpilogue } from './fuse-epilogue.js';
import { recognizePatterns } from './recognize-patterns.js';
import { simplify } from './simplify.js';
import { applied, graphOf, kindsOf, randomTensor } from '../test/support/graphs.js';

const f = (x: number): Expr => constant('f32', x);
const input = (g: GraphBuilder, shape: readonly number[], name = 'x'): Value => g.input(name, { dtype: 'f32', shape });
const matmul = (g: GraphBuilder, x: Value, columns: number, seed = 3): Value =>
  g.op('matmul', [x, g.constant(randomTensor('f32', [x.type.shape.at(-1)!, columns], seed))], { transA: false, transB: false, out: 'f32' })[0]!;
const constantOf = (g: GraphBuilder, shape: readonly number[], seed = 4): Value => g.constant(randomTensor('f32', shape, seed));
const relu = (g: GraphBuilder, x: Value): Value => g.map([x], (e) => max(e, f(0)));
const epilogueOf = (n: Node | undefined): string => (n?.epilogue ? formatExpr(n.epilogue.expr) : 'none');
const reduceOver = (g: GraphBuilder, op: 'sum' | 'max', x: Value, axis: number): Value => g.op('reduce', [x], { op, axes: [axis], keepdims: true })[0]!;
const run = (build: (g: GraphBuilder) => Value | readonly Value[], tolerance = 1e-6): Graph => applied(graphOf(build), [simplify, fuseElementwise, fuseEpilogue], tolerance);

describe('fuse-elementwise', () => {
  test('a chain and a diamond become one node', () => {
    const after = run((g) => {
      const x = input(g, [2, 3]), gate = g.map([g.map([x], (e) => add(e, f(3)))], (e) => min(max(e, f(0)), f(6)));
      return g.map([g.map([x, gate], mul)], (e) => div(e, f(6)));
    });
    expect(kindsOf(after)).toEqual(['elementwise']);
    expect(after.nodes[0]!.inputs).toHaveLength(1);
  });
  test('what two nodes read is computed once', () => {
    const after = run((g) => { const e = g.map([input(g, [2, 3])], (v) => unary('exp', v)); return [g.map([e], (v) => add(v, f(1))), g.map([e], (v) => mul(v, f(2)))]; });
    expect(kindsOf(after)).toHaveLength(3);
  });
  test('what is broadcast afterwards is computed before', () => {
    const after = run((g) => g.map([input(g, [2, 3]), g.map([input(g, [3], 'row')], (v) => unary('exp', v))], add));
    expect(kindsOf(after)).toEqual(['elementwise', 'elementwise']);
  });
  test('a costly operand that is used twice stays apart', () => {
    const after = run((g) => { const e = g.map([input(g, [4])], (v) => unary('exp', v)); return g.map([e], (v) => mul(v, v)); });
    expect(kindsOf(after)).toHaveLength(2);
  });
  test('expressions are bounded', () => {
    const after = run((g) => Array.from({ length: 300 }).reduce<Value>((v) => g.map([v], (e) => sub(mul(e, f(0.5)), f(0.25))), input(g, [4])));
    expect(kindsOf(after).length).toBeGreaterThan(1);
    expect(kindsOf(after).length).toBeLessThan(20);
  });
});

describe('fuse-epilogue', () => {
  test('bias, residual and activation', () => {
    const after = run((g) => { const x = input(g, [2, 4]); return relu(g, g.map([g.map([matmul(g, x, 4), constantOf(g, [4])], add), x], add)); });
    expect(kindsOf(after)).toEqual(['matmul']);
    expect(epilogueOf(after.nodes[0])).toBe('max(add(add(a0:f32, a2:f32), a1:f32), 0:f32)');
  });
  test('of two producers the later one takes the sum, and reads the other', () => {
    const after = run((g) => { const x = input(g, [2, 4]), a = matmul(g, x, 5, 1), b = matmul(g, relu(g, matmul(g, x, 4, 2)), 5, 3); return g.map([a, b], sub); });
    expect(kindsOf(after)).toEqual(['matmul', 'matmul', 'matmul']);
    expect(after.nodes.at(-1)!.epilogue?.inputs).toHaveLength(1);
  });
  test('a value that others read too is stored as it is', () => {
    const after = run((g) => { const y = matmul(g, input(g, [2, 4]), 5); return [relu(g, y), y]; });
    expect(kindsOf(after)).toEqual(['matmul', 'elementwise']);
  });
  test('an activation that reads its operand twice, behind a bias', () => {
    const after = run((g) => g.map([g.map([matmul(g, input(g, [2, 4]), 5), constantOf(g, [5])], add)], (e) => mul(e, unary('sigmoid', e))));
    expect(kindsOf(after)).toEqual(['matmul']);
  });
  test('through a reshape, operands reshaped along', () => {
    const after = run((g) => {
      const x = input(g, [6, 4]), y = g.reshape(matmul(g, x, 5), [2, 3, 5]);
      return g.map([y, constantOf(g, [3, 5]), input(g, [2, 3, 5], 'residual'), constantOf(g, [5], 9), input(g, [2, 3, 1], 'row')], (a, b, c, d, e) => mul(add(add(a, c), d), add(b, e)));
    });
    // [3,5] differs between the two halves of the rows, so the node stays
    expect(kindsOf(after)).toContain('elementwise');
    const fits = run((g) => g.map([g.reshape(matmul(g, input(g, [6, 4]), 5), [2, 3, 5]), input(g, [2, 3, 5], 'residual'), constantOf(g, [5], 9), input(g, [2, 3, 1], 'row')], (a, c, d, e) => mul(add(add(a, c), d), e)));
    expect(kindsOf(fits).filter((k) => k !== 'reshape')).toEqual(['matmul']);
  });
  test('an epilogue may change the element type', () => {
    const quantise = (e: Expr): Expr => cast(min(max(f(-128), unary('round', mul(e, f(50)))), f(127)), 'i8');
    const after = run((g) => [g.map([matmul(g, input(g, [2, 4]), 5)], quantise), g.map([reduceOver(g, 'sum', input(g, [3, 9], 'y'), 1)], quantise)], 0);
    expect(kindsOf(after)).toEqual(['matmul', 'reduce']);
    expect(after.outputs.map((o) => after.values.get(o.value)!.type.dtype)).toEqual(['i8', 'i8']);
  });
  test('half precision: sums are single until the epilogue', () => {
    const after = applied(graphOf((g) => {
      const x = g.input('x', { dtype: 'f16', shape: [2, 8] }), y = g.op('matmul', [x, g.constant(randomTensor('f16', [8, 3], 2))], { transA: false, transB: false, out: 'f16' })[0]!;
      return g.map([y, g.constant(randomTensor('f16', [3], 5))], (a, b) => max(add(a, b), constant('f16', 0)));
    }), [fuseElementwise, fuseEpilogue], 2e-3);
    expect(kindsOf(after)).toEqual(['matmul']);
  });
  test('what is reduced is computed while reducing, what comes out right after', () => {
    const after = run((g) => g.map([reduceOver(g, 'sum', g.map([input(g, [3, 9])], (e) => mul(e, e)), 1)], (e) => unary('sqrt', e)), 1e-5);
    expect(kindsOf(after)).toEqual(['reduce']);
    expect(epilogueOf(after.nodes[0])).toBe('sqrt(a0:f32)');
  });

  // every operator that says it can have an epilogue must apply it, to every element and once
  const x4 = (g: GraphBuilder): Value => input(g, [2, 3, 4, 4]);
  test.each<[string, (g: GraphBuilder) => Value]>([
    ['conv', (g) => g.op('conv', [x4(g), constantOf(g, [5, 3, 3, 3])], { strides: [1, 1], dilations: [1, 1], pads: [[1, 1], [1, 1]], group: 1, layout: 'ncs', out: 'f32' })[0]!],
    ['convTranspose', (g) => g.op('convTranspose', [x4(g), constantOf(g, [3, 2, 2, 2])], { strides: [2, 2], dilations: [1, 1], pads: [[0, 0], [0, 0]], outputPadding: [1, 0], group: 1, layout: 'ncs', out: 'f32' })[0]!],
    ['pool', (g) => g.op('pool', [x4(g)], { mode: 'average', kernel: [3, 3], strides: [2, 1], dilations: [1, 1], pads: [[1, 1], [1, 0]], ceil: true, countIncludePad: false, layout: 'ncs' })[0]!],
    ['softmax', (g) => g.op('softmax', [x4(g)], { axis: 1, mode: 'soft' })[0]!],
    ['normalize', (g) => g.op('normalize', [x4(g)], { axes: [1, 2], epsilon: 1e-5, center: true })[0]!],
    ['cumsum', (g) => g.op('cumsum', [x4(g)], { axis: 2, exclusive: false, reverse: true })[0]!],
    ['concat', (g) => g.op('concat', [x4(g), input(g, [2, 1, 4, 4], 'y')], { axis: 1 })[0]!],
    ['pad', (g) => g.op('pad', [x4(g)], { mode: 'constant', before: [0, 0, 1, 0], after: [1, 0, 0, 2] })[0]!],
    ['slice', (g) => g.op('slice', [x4(g)], { starts: [0, 2, 0, 0], steps: [1, -1, 1, 3], shape: [2, 3, 4, 2] })[0]!],
    ['transpose', (g) => g.op('transpose', [x4(g)], { perm: [1, 0, 3, 2] })[0]!],
    ['gather', (g) => g.op('gather', [x4(g), g.constant(tensorOf('i64', [3], [2, 0, 1]))], { axis: 1 })[0]!],
    ['gatherElements', (g) => g.op('gatherElements', [x4(g), g.constant(tensorOf('i64', [1, 2, 2, 2], [0, 1, 2, 3, 3, 2, 1, 0]))], { axis: 3 })[0]!],
    ['gatherNd', (g) => g.op('gatherNd', [x4(g), g.constant(tensorOf('i64', [3, 2], [0, 1, 1, 2, 1, 0]))], { batchDims: 0 })[0]!],
    ['resample', (g) => g.op('resample', [x4(g)], { axes: [{ axis: 2, taps: 2, index: [0, 1, 1, 2, 2, 3], weight: [0.5, 0.5, 0.25, 0.75, 1, 0] }] })[0]!],
    ['gridSample', (g) => g.op('gridSample', [x4(g), constantOf(g, [2, 3, 3, 2])], { mode: 'linear', padding: 'zeros', alignCorners: false })[0]!],
  ])('%s applies its epilogue', (kind, build) => {
    const after = run((g) => {
      const y = build(g);
      return g.map([y, input(g, y.type.shape.slice(1), 'extra')], (a, b) => unary('tanh', add(mul(a, f(3)), b)));
    }, 1e-5);
    expect(kindsOf(after)).toEqual([kind]);
    expect(coreOp(after.nodes[0]!.kind).epilogue).not.toBe(false);
  });
});

describe('recognize-patterns', () => {
  const patterns = [simplify, eliminateCommonSubexpressions, recognizePatterns];
  test.each([true, false])('softmax, maximum subtracted: %s', (stable) => {
    const after = applied(graphOf((g) => {
      const x = input(g, [2, 3, 7]), shifted = stable ? g.map([x, reduceOver(g, 'max', x, 1)], sub) : x, e = g.map([shifted], (v) => unary('exp', v));
      return g.map([e, reduceOver(g, 'sum', e, 1)], div);
    }), patterns);
    expect(kindsOf(after)).toEqual(['softmax']);
    expect(after.nodes[0]!.attrs).toMatchObject({ axis: 1 });
  });
  test('a sum over something else is no softmax', () => {
    const after = applied(graphOf((g) => {
      const e = g.map([input(g, [3, 7])], (v) => unary('exp', v));
      return g.map([e, reduceOver(g, 'sum', g.map([e], (v) => mul(v, v)), 1)], div);
    }), patterns);
    expect(kindsOf(after)).not.toContain('softmax');
  });
  const layerNorm = (g: GraphBuilder, x: Value, style: 'div' | 'mul'): Value => {
    const mean = g.map([reduceOver(g, 'sum', x, 2)], (s) => div(s, f(7))), d = g.map([x, mean], sub);
    const variance = g.map([reduceOver(g, 'sum', g.map([d], (e) => mul(e, e)), 2)], (s) => div(s, f(7)));
    const root = g.map([g.map([variance], (v) => add(v, f(1e-5)))], (v) => unary('sqrt', v));
    return style === 'div' ? g.map([d, root], div) : g.map([d, g.map([root], (r) => div(f(1), r))], mul);
  };
  test.each(['div', 'mul'] as const)('layer normalisation, written with %s', (style) => {
    const after = applied(graphOf((g) => g.map([g.map([layerNorm(g, input(g, [2, 3, 7]), style), constantOf(g, [7], 1)], mul), constantOf(g, [7], 2)], add)), patterns);
    expect(kindsOf(after)).toEqual(['normalize', 'elementwise', 'elementwise']);
    expect(after.nodes[0]!.attrs).toEqual({ axes: [2], epsilon: expect.closeTo(1e-5, 9) as number, center: true });
  });
  test('root mean square normalisation', () => {
    const after = applied(graphOf((g) => {
      const x = input(g, [3, 7]), square = g.op('reduce', [x], { op: 'sum', axes: [1], keepdims: true, map: mul(arg(0, 'f32'), arg(0, 'f32')) })[0]!;
      return g.map([x, g.map([square], (s) => unary('sqrt', add(mul(s, f(1 / 7)), f(1e-6))))], div);
    }), patterns);
    expect(kindsOf(after)).toEqual(['normalize']);
    expect(after.nodes[0]!.attrs).toMatchObject({ center: false });
  });
  test('a one-hot product is a lookup, indices outside the table included', () => {
    const after = applied(graphOf((g) => {
      const x = g.input('x', { dtype: 'i32', shape: [2, 40] });
      const hot = g.map([g.reshape(x, [2, 40, 1]), g.constant(tensorOf('i32', [50], Array.from({ length: 50 }, (_, i) => i)))], (a, b) => cast(compare('eq', a, b), 'f32'));
      return g.op('matmul', [hot, constantOf(g, [50, 3])], { transA: false, transB: false, out: 'f32' });
    }), patterns, 0);
    expect(kindsOf(after)).toContain('gather');
    expect(kindsOf(after)).not.toContain('matmul');
  });
});

describe('fold-lookups', () => {
  const lookup = (g: GraphBuilder, axis: number, indices: readonly number[]): Value =>
    g.op('gather', [g.constant(randomTensor('f32', [6, 5], 1), 'table'), g.map([g.input('i', { dtype: 'i32', shape: indices })], (i) => min(max(i, constant('i32', 0)), constant('i32', 4)))], { axis })[0]!;
  test.each([[0, [2, 3], [5]], [1, [4], [6, 1]], [0, [], [5]], [1, [2, 2], [6, 1, 1]]])('axis %i, indices %o, operand %o', (axis, indices, operand) => {
    const after = applied(graphOf((g) => g.map([lookup(g, axis, indices), constantOf(g, operand)], (x, b) => unary('tanh', add(x, b)))), foldLookups, 1e-7);
    expect(kindsOf(after)).toEqual(['elementwise', 'gather']);
  });
  test('what differs from index to index stays behind the lookup', () => {
    const after = applied(graphOf((g) => g.map([lookup(g, 0, [2, 3]), constantOf(g, [3, 5])], add)), foldLookups, 0);
    expect(kindsOf(after)).toEqual(['elementwise', 'gather', 'elementwise']);
  });
});
