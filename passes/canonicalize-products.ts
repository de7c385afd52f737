/** Brings matrix products into the form that targets expect: constant B is [K, N], and rows are one dimension. */
import { rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import { elementCount, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import { identity } from './permutations.js';
import { definePass } from './types.js';

const swapLast = (rank: number): number[] => [...identity(rank).slice(0, -2), rank - 1, rank - 2];
const isSwapLast = (perm: readonly number[]): boolean => swapLast(perm.length).every((p, d) => p === perm[d]);

/** An operand read through a transpose of its last two dimensions. */
function unswapped(e: GraphEditor, id: ValueId): ValueId | undefined {
  const t = e.producerOf(id, 'transpose');
  return t && isSwapLast(t.attrs.perm) ? t.inputs[0] : undefined;
}

/** Constants are transposed now. */
const transposedConstants: Rule = (e, node) => {
  if (node.kind !== 'matmul') return false;
  const [a, b] = node.inputs as [ValueId, ValueId];
  const { transA, transB } = node.attrs;
  if (e.constantOf(b) && transB) {
    const plain = e.add('transpose', [b], { perm: swapLast(e.shape(b).length) }, e.value(b).name);
    e.update(node, { inputs: [a, plain], attrs: { ...node.attrs, transB: false } });
    return true;
  }
  if (e.constantOf(a) && transA) {
    const plain = e.add('transpose', [a], { perm: swapLast(e.shape(a).length) }, e.value(a).name);
    e.update(node, { inputs: [plain, b], attrs: { ...node.attrs, transA: false } });
    return true;
  }
  return false;
};

/** Computed operands are read as they lie; with a constant B, packed rows are worth the transpose of A. */
const absorbTransposes: Rule = (e, node) => {
  if (node.kind !== 'matmul') return false;
  const [a, b] = node.inputs as [ValueId, ValueId];
  if (e.constantOf(b)) return false;
  const { transA, transB } = node.attrs;
  const [plainA, plainB] = [unswapped(e, a), unswapped(e, b)];
  if (plainA === undefined && plainB === undefined) return false;
  e.update(node, {
    inputs: [plainA ?? a, plainB ?? b],
    attrs: { ...node.attrs, transA: transA !== (plainA !== undefined), transB: transB !== (plainB !== undefined) },
  });
  return true;
};

/** A[batch..., M, K] x B[1..., K, N], B constant: one product of all rows. */
const rowsAsOne: Rule = (e, node) => {
  if (node.kind !== 'matmul' || node.epilogue || node.attrs.transA || node.attrs.transB) return false;
  const [a, b] = node.inputs as [ValueId, ValueId], shapeA = e.shape(a), shapeB = e.shape(b), output = node.outputs[0]!;
  if (!e.constantOf(b) || elementCount(shapeB.slice(0, -2)) !== 1 || (shapeA.length === 2 && shapeB.length === 2)) return false;
  const k = shapeA.at(-1)!, rows = elementCount(shapeA.slice(0, -1)), name = e.value(output).name;
  const a2 = shapeA.length === 2 ? a : e.add('reshape', [a], { shape: [rows, k] }, `${e.value(a).name}_rows`);
  const b2 = shapeB.length === 2 ? b : e.add('reshape', [b], { shape: shapeB.slice(-2) }, e.value(b).name);
  const product = e.add('matmul', [a2, b2], node.attrs, name, { origins: node.origins });
  e.define(node.outputs, 'reshape', [product], { shape: e.shape(output) }, { origins: node.origins });
  return true;
};

/** 1x1 convolutions in channels-last order are matrix products over pixels. */
const pointwiseConv: Rule = (e, node) => {
  if (node.kind !== 'conv' || node.epilogue) return false;
  const { attrs, inputs, outputs } = node as unknown as NodeOf<'conv'>;
  const [x, w] = inputs as [ValueId, ValueId];
  const plain = attrs.layout === 'nsc' && attrs.group === 1 && attrs.strides.every((s) => s === 1) && attrs.pads.every((p) => p[0] === 0 && p[1] === 0);
  const shapeW = e.shape(w);
  if (!plain || elementCount(shapeW.slice(0, -2)) !== 1) return false;
  const channels = e.shape(x).at(-1)!, output = outputs[0]!;
  const rows = e.add('reshape', [x], { shape: [elementCount(e.shape(x)) / channels, channels] }, `${e.value(x).name}_pixels`);
  const matrix = e.add('reshape', [w], { shape: shapeW.slice(-2) }, e.value(w).name);
  const product = e.add('matmul', [rows, matrix], { transA: false, transB: false, out: attrs.out }, e.value(output).name, { origins: node.origins });
  e.define(outputs, 'reshape', [product], { shape: e.shape(output) }, { origins: node.origins });
  return true;
};

export const canonicalizeProducts = definePass({
  name: 'canonicalize-products',
  doc: 'one form for matrix products: constant operands untransposed, all rows in one dimension',
  run: (graph) => rewrite(graph, transposedConstants, rowsAsOne),
});

export const pointwiseConvToMatmul = definePass({
  name: 'pointwise-conv-to-matmul',
  doc: 'turns 1x1 convolutions in channels-last order into matrix products',
  run: (graph) => rewrite(graph, pointwiseConv),
});

export const absorbOperandTransposes = definePass({
  name: 'absorb-operand-transposes',
  doc: 'products of computed matrices read a transposed operand where it lies',
  run: (graph) => rewrite(graph, absorbTransposes),
});
