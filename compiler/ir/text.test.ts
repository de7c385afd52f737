import { expect, test } from 'vitest';
import { add, arg, cast, compare, constant, div, fma, max, mul, select, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { graphOf, randomTensor } from '../../test/support/graphs.js';
import { foldNode } from './fold.js';
import { parseExpr, parseGraph } from './parse.js';
import { formatExpr, formatGraph } from './print.js';
import { denseData, tensorOf, type SparseTensor } from './tensor.js';
import { verifyGraph } from './verify.js';
import { sparsityOf } from './analysis.js';

const sparse: SparseTensor = { kind: 'sparse', dtype: 'f32', shape: [4, 3], values: Float32Array.from([1.5, -2]), indices: [1, 11] };

function sample() {
  return graphOf((g) => {
    const x = g.input('x "quoted"', { dtype: 'f32', shape: [2, 4] });
    g.origin = { node: 'fc\n1', op: 'Gemm' };
    const w = g.constant(sparse, 'w'), b = g.constant(randomTensor('f32', [1, 3], 1), 'b'), big = g.constant(randomTensor('f32', [2, 30], 2), 'big');
    const y = g.op('matmul', [x, w], { transA: false, transB: false, out: 'f32' })[0]!;
    const z = g.map([y, b], (p, q) => max(add(p, q), constant('f32', -0)));
    const s = g.op('reduce', [z], { op: 'sum', axes: [1], keepdims: true, map: mul(arg(0, 'f32'), arg(0, 'f32')) })[0]!;
    const [values, positions] = g.op('topk', [big], { axis: 1, k: 2, largest: true });
    return [g.map([s, values!], add), positions!, g.constant(tensorOf('i64', [2], [-3, 2 ** 40]), 'n')];
  });
}

test('a graph prints and parses back to the same graph, constants embedded', () => {
  const graph = sample(), text = formatGraph(graph, { constants: 'all' });
  const back = parseGraph(text);
  expect(formatGraph(back, { constants: 'all' })).toBe(text);
  expect(back.nodes).toEqual(graph.nodes);
  expect([...back.values.values()].find((v) => v.name === 'w')?.constant).toEqual(sparse);
  expect(back.inputs).toEqual(graph.inputs);
  expect(back.outputs).toEqual(graph.outputs);
  expect(verifyGraph(back)).toEqual([]);
});

test('elided constants come back with their type and number of non-zeros, the same each time', () => {
  const graph = graphOf((g) => {
    const data = Array.from({ length: 600 }, (_, i) => (i % 5 === 0 ? i + 1 : 0));
    return g.op('matmul', [g.input('x', { dtype: 'f32', shape: [1, 20] }), g.constant(tensorOf('f32', [20, 30], data), 'w')], { transA: false, transB: false, out: 'f32' })[0]!;
  });
  const text = formatGraph(graph);
  expect(text).toMatch(/const %1 "w" f32\[20,30\] sha=[0-9a-f]{12} nnz=120\/600/);
  const constant = (t: string) => [...parseGraph(t).values.values()].find((v) => v.name === 'w')!.constant!;
  expect(sparsityOf(constant(text))).toEqual({ nnz: 120, total: 600, zeroFraction: 0.8 });
  expect(constant(text)).toEqual(constant(text));
});

test('an epilogue keeps its operands and expression', () => {
  const text = 'graph "g"\ninput %0 "x" f32[2,2]\nconst %1 "w" f32[2,2] = [1, 2, 3, 4]\nconst %2 "b" f32[2] = [0.5, -Infinity]\n'
    + 'n4: %3 "y" f32[2,2] = matmul(%0, %1) {transA: false, transB: false, out: "f32"} epilogue(%2) `max(add(a0:f32, a1:f32), 0:f32)` from "Gemm" "fc", "Relu" "r"\noutput "y" %3\n';
  const graph = parseGraph(text);
  expect(verifyGraph(graph)).toEqual([]);
  expect(formatGraph(graph)).toBe(text);
});

const exprs: readonly Expr[] = [
  constant('f32', NaN), constant('f64', -Infinity), constant('f32', -0), constant('i64', -(2n ** 63n)), constant('bool', 1), constant('f32', 1.1754943508222875e-38),
  select(compare('le', arg(0, 'i8'), arg(1, 'i8')), cast(arg(0, 'i8'), 'f32'), unary('sigmoid', arg(2, 'f32'))),
  fma(arg(0, 'f32'), arg(1, 'f32'), constant('f32', 2)), div(unary('neg', arg(0, 'f32')), constant('f32', 3)),
];
test.each(exprs.map((e) => [formatExpr(e), e] as const))('expression %s', (text, e) => {
  const back = parseExpr(text);
  expect(back).toEqual(e);
  if (e.kind === 'const') expect(Object.is((back as typeof e).value, e.value)).toBe(true);
});

test.each([
  ['n1: %0 "x" f32[1] = nonsense() {}', /core operator/],
  ['input %0 "x" f99[1]', /element type/],
  ['input %0 "x" f32[1', /','/],
  ['const %0 "x" f32[1] = [oops]', /a number/],
  ['output "y" %0 more', /end of the line/],
])('what is not a graph is refused: %s', (line, message) => {
  expect(() => parseGraph(`graph "g"\n${line}\n`)).toThrow(message);
  expect(() => parseGraph(`graph "g"\n${line}\n`)).toThrow(/SPC1090.*line 2/);
});

test('transposing and reshaping keep a sparse tensor sparse', () => {
  const dense = { ...sparse, kind: 'dense' as const, data: denseData(sparse) };
  for (const [kind, attrs, shape] of [['transpose', { perm: [1, 0] }, [3, 4]], ['reshape', { shape: [2, 6] }, [2, 6]]] as const) {
    const [got] = foldNode(kind, attrs, [sparse], [{ dtype: 'f32', shape }]), [want] = foldNode(kind, attrs, [dense], [{ dtype: 'f32', shape }]);
    expect(got!.kind).toBe('sparse');
    expect(denseData(got!)).toEqual(denseData(want!));
  }
});

test.each([['f32', [0, -0, 1, 2], 0, 2], ['f16', [0, -0, 1, 2], 0, 2], ['u8', [128, 128, 0, 5], 128, 2], ['i64', [0, 7, 0, 0], 0, 1]] as const)(
  'zeros of %s are counted against the zero point', (dtype, numbers, zero, nnz) => {
    expect(sparsityOf(tensorOf(dtype, [4], numbers), zero)).toEqual({ nnz, total: 4, zeroFraction: 1 - nnz / 4 });
  });
