/** ONNX matrix products. */
import type { GraphBuilder } from '../ir/build.js';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { isFloat, type DType } from '../ir/dtype.js';
import { toNumbers } from '../ir/tensor.js';
import type { Value } from '../ir/types.js';
import { add, cast, constant, mul, sub } from '../kir/build.js';
import { einsum } from './einsum.js';
import { sameDtype } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

/** numpy.matmul: an operand of rank 1 is a row on the left, a column on the right, and its extra dimension leaves the result again. */
export function matmul(g: GraphBuilder, a: Value, b: Value, out: DType): Value {
  const rowVector = a.type.shape.length === 1, columnVector = b.type.shape.length === 1;
  const left = rowVector ? g.reshape(a, [1, ...a.type.shape]) : a, right = columnVector ? g.reshape(b, [...b.type.shape, 1]) : b;
  const product = g.op('matmul', [left, right], { transA: false, transB: false, out })[0]!;
  const { shape } = product.type, batch = shape.slice(0, -2);
  return g.reshape(product, [...batch, ...(rowVector ? [] : [shape.at(-2)!]), ...(columnVector ? [] : [shape.at(-1)!])]);
}

const matMul = defineOnnxOp({
  op: 'MatMul',
  lower(n) {
    const a = n.input(0, 'A'), b = n.input(1, 'B');
    return matmul(n.g, a, b, sameDtype(a, b));
  },
});

/** alpha A B + beta C, A and B transposed where asked. */
const gemm = defineOnnxOp({
  op: 'Gemm',
  lower(n) {
    const a = n.input(0, 'A'), b = n.input(1, 'B'), c = n.optional(2), dtype = sameDtype(a, b, ...(c ? [c] : []));
    if (a.type.shape.length !== 2 || b.type.shape.length !== 2) throw new NodeProblem('SPC2003', 'Gemm needs matrices of rank 2');
    const [alpha, beta] = [n.attr.float('alpha', 1), n.attr.float('beta', 1)];
    if (!isFloat(dtype) && (alpha % 1 !== 0 || beta % 1 !== 0)) n.unsupported(`alpha=${alpha}, beta=${beta} on ${dtype}`);
    const product = n.g.op('matmul', [a, b], { transA: n.attr.int('transA', 0) !== 0, transB: n.attr.int('transB', 0) !== 0, out: dtype })[0]!;
    const scaled = (e: ReturnType<typeof constant>, factor: number) => (factor === 1 ? e : mul(e, constant(dtype, factor)));
    if (!c || beta === 0) return alpha === 1 ? product : n.g.map([product], (p) => scaled(p, alpha));
    return n.g.map([product, c], (p, e) => add(scaled(p, alpha), scaled(e, beta)), product.type.shape);
  },
});

/** An 8-bit operand without its zero point: as it is where that is 0, else in 16 bits, which hold every difference. */
export function withoutZeroPoint(g: GraphBuilder, v: Value, zero: Value | undefined): Value {
  if (!zero || (zero.constant && toNumbers(zero.constant).every((z) => z === 0))) return v;
  return g.map([v, zero], (x, z) => sub(cast(x, 'i16'), cast(z, 'i16')));
}

const matMulInteger = defineOnnxOp({
  op: 'MatMulInteger',
  lower(n: OnnxNode) {
    const a = n.input(0, 'A'), b = n.input(1, 'B'), rows = n.optional(2), columns = n.optional(3);
    // one zero point for each row of A stands in a column
    const perRow = rows && rows.type.shape.length === 1 && rows.type.shape[0] !== 1 ? n.g.reshape(rows, [rows.type.shape[0]!, 1]) : rows;
    return matmul(n.g, withoutZeroPoint(n.g, a, perRow), withoutZeroPoint(n.g, b, columns), 'i32');
  },
});

export const linearOps: readonly OnnxOp[] = [matMul, gemm, matMulInteger, einsum];
