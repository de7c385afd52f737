/** Graphs on which every target must agree with the reference evaluator: operators, element types, shapes of data flow, odd sizes. */
import { GraphBuilder } from '../../compiler/ir/build.js';
import { dtypes, isFloat, type DType } from '../../compiler/ir/dtype.js';
import { tensorOf, type Tensor } from '../../compiler/ir/tensor.js';
import { elementCount, type Graph, type Value } from '../../compiler/ir/types.js';
import { add, and, binary, cast, compare, constant, div, f32, max, min, mod, mul, not, select, sub, unary } from '../../compiler/kir/build.js';
import type { Expr, UnaryOp } from '../../compiler/kir/types.js';

export interface Sample { readonly name: string; readonly graph: Graph; readonly inputs: readonly Tensor[] }

/** Reproducible numbers in (-2, 2). */
export function numbers(count: number, seed: number): number[] {
  let state = seed * 2654435761 + 12345;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 30;
  });
}
const randomTensor = (dtype: DType, shape: readonly number[], seed: number): Tensor => {
  const scale = dtype === 'f32' || dtype === 'f64' || dtype === 'f16' || dtype === 'bf16' ? 1 : 20;
  const values = numbers(elementCount(shape), seed).map((x) => (isFloat(dtype) ? x : Math.round(x * scale)));
  return tensorOf(dtype, shape, values.map((x) => (dtypes[dtype].family === 'uint' ? Math.abs(x) : dtype === 'bool' ? Number(x > 0) : x)));
};

/** Collects named outputs. */
function sample(name: string, build: (g: GraphBuilder, input: (dtype: DType, shape: readonly number[]) => Value, output: (v: Value | undefined) => void) => void): Sample {
  const g = new GraphBuilder(name);
  const inputs: Tensor[] = [], outputs: { name: string; value: Value }[] = [];
  build(
    g,
    (dtype, shape) => { inputs.push(randomTensor(dtype, shape, inputs.length + 1)); return g.input(`in${inputs.length}`, { dtype, shape }); },
    (value) => { if (value) outputs.push({ name: `out${outputs.length}`, value }); },
  );
  return { name, graph: g.finish(outputs), inputs };
}

const window2 = { strides: [1, 1], dilations: [1, 1], pads: [[1, 1], [1, 1]] } as const;

const operators = sample('operators', (g, input, output) => {
  const x = input('f32', [2, 4, 7, 5]);
  const weights = (shape: readonly number[], seed: number): Value => g.constant(randomTensor('f32', shape, seed), 'w');
  const conv = g.op('conv', [x, weights([6, 2, 3, 3], 11)], { ...window2, group: 2, layout: 'ncs', out: 'f32' })[0]!;
  output(g.map([conv, weights([6, 1, 1], 12)], (v, b) => max(add(v, b), f32(0))));
  output(g.op('convTranspose', [x, weights([4, 3, 2, 2], 13)], { ...window2, strides: [2, 2], pads: [[0, 0], [0, 0]], outputPadding: [0, 0], group: 1, layout: 'ncs', out: 'f32' })[0]);
  for (const v of g.op('pool', [x], { ...window2, mode: 'max', kernel: [3, 2], ceil: false, countIncludePad: false, layout: 'ncs', indices: 'row-major' })) output(v);
  output(g.op('pad', [x, g.constant(tensorOf('f32', [], [0.5]), 'zero')], { mode: 'constant', before: [0, 1, 2, 0], after: [0, 0, 1, 3] })[0]);
  output(g.op('slice', [x], { starts: [1, 3, 0, 4], steps: [1, -1, 3, -2], shape: [1, 4, 3, 3] })[0]);
  output(g.op('concat', [x, conv, x], { axis: 1 })[0]);
  output(g.op('transpose', [x], { perm: [3, 1, 0, 2] })[0]);
  const rows = g.reshape(x, [8, 35]);
  output(g.op('reduce', [rows], { op: 'sum', axes: [1], keepdims: false })[0]);
  output(g.op('reduce', [rows], { op: 'max', axes: [0], keepdims: true })[0]);
  output(g.op('argReduce', [rows], { op: 'min', axis: 1, keepdims: false, take: 'first' })[0]);
  output(g.op('softmax', [rows], { axis: 1, mode: 'soft' })[0]);
  output(g.op('softmax', [rows], { axis: 0, mode: 'log' })[0]);
  output(g.op('normalize', [rows], { axes: [1], epsilon: 1e-5, center: true })[0]);
  output(g.op('cumsum', [rows], { axis: 1, exclusive: true, reverse: true })[0]);
  output(g.op('matmul', [rows, weights([9, 35], 14)], { transA: false, transB: true, out: 'f32' })[0]);
  // only one of two outputs is wanted
  output(g.op('topk', [rows], { axis: 1, k: 4, largest: true })[1]);
  output(g.op('kWinners', [rows], { axes: [1], k: 3, ties: 'lowest' })[0]);
  const positions = input('i64', [3]);
  const inside = g.map([positions], (p) => mod(add(mod(p, constant('i64', 8)), constant('i64', 8)), constant('i64', 8)));
  output(g.op('gather', [rows, inside], { axis: 0 })[0]);
  const where = g.expand(g.reshape(inside, [3, 1]), [3, 35]);
  output(g.op('gatherElements', [rows, where], { axis: 0 })[0]);
  output(g.op('scatterElements', [rows, where, g.op('slice', [rows], { starts: [2, 0], steps: [1, 1], shape: [3, 35] })[0]!], { axis: 0, reduction: 'add' })[0]);
});

const unaryOps: readonly UnaryOp[] = ['neg', 'abs', 'floor', 'ceil', 'round', 'trunc', 'exp', 'expm1', 'sin', 'cos', 'tanh', 'erf', 'sigmoid', 'asinh', 'atan'];

const types = sample('types', (g, input, output) => {
  const floats: readonly DType[] = ['f32', 'f64', 'f16', 'bf16'];
  const integers: readonly DType[] = ['i8', 'i16', 'i32', 'i64', 'u8', 'u16', 'u32', 'u64'];
  for (const dtype of floats) {
    const a = input(dtype, [3, 5]), b = input(dtype, [5]);
    for (const op of unaryOps) output(g.map([a], (x) => unary(op, x)));
    output(g.map([a, b], (x, y) => select(compare('lt', x, y), min(x, y), div(x, add(mul(y, y), constant(dtype, 1))))));
    output(g.map([a, b], (x, y) => binary('atan2', x, y)));
    for (const to of ['i32', 'f16', 'bool', 'u8', 'i64'] as const) if (to !== dtype) output(g.map([a], (x) => cast(to === 'u8' ? unary('abs', x) : x, to)));
  }
  for (const dtype of integers) {
    const a = input(dtype, [4, 6]), b = input(dtype, [6]);
    const both = (f: (x: Expr, y: Expr) => Expr): void => output(g.map([a, b], f));
    both((x, y) => add(mul(x, y), sub(x, y)));
    both(div);
    both(mod);
    both((x, y) => binary('xor', and(x, y), max(x, y)));
    both((x, y) => compare('ge', x, y));
    both((x) => cast(not(x), 'f32'));
    output(g.op('reduce', [a], { op: 'sum', axes: [1], keepdims: true })[0]);
  }
  const p = input('bool', [7]), q = input('bool', [7]);
  output(g.map([p, q], (x, y) => and(not(x), y)));
  output(g.map([p, q], (x, y) => select(binary('xor', x, y), f32(1.5), f32(-0.25))));
});

const dataflow = sample('dataflow', (g, input, output) => {
  const x = input('f32', [3, 4]);
  input('f32', [2]); // nobody reads it
  const double = g.map([x], (v) => mul(v, f32(2)));
  const relu = g.map([double], (v) => max(v, f32(0)));
  const square = g.op('matmul', [relu, relu], { transA: false, transB: true, out: 'f32' })[0]!; // one operand twice
  const turned = g.op('transpose', [double], { perm: [1, 0] })[0]!;
  const joined = g.op('matmul', [square, g.op('transpose', [turned], { perm: [1, 0] })[0]!], { transA: false, transB: false, out: 'f32' })[0]!;
  output(g.map([joined, double, x, relu], (a, b, c, d) => add(add(a, b), mul(c, d)))); // a residual over four branches
  output(relu);
  output(relu); // the same value twice
  output(x); // an input as it is
  output(g.constant(tensorOf('f32', [2, 2], [1, 2, 3, 4]), 'four'));
  output(g.reshape(square, [9]));
});

const oddSizes = sample('odd_sizes', (g, input, output) => {
  const scalar = input('f32', []), empty = input('f32', [0, 3]), one = input('f32', [1, 1, 1]);
  output(g.map([scalar], (v) => add(v, f32(1))));
  output(g.map([scalar, one], (a, b) => mul(a, b)));
  output(g.map([empty], (v) => add(v, f32(1))));
  output(g.op('reduce', [empty], { op: 'sum', axes: [0], keepdims: false })[0]);
  output(g.op('concat', [empty, g.expand(g.reshape(one, [1, 1]), [2, 3])], { axis: 0 })[0]);
  output(g.op('matmul', [g.reshape(one, [1, 1]), g.reshape(scalar, [1, 1])], { transA: false, transB: false, out: 'f32' })[0]);
});

export const samples: readonly Sample[] = [operators, types, dataflow, oddSizes];
