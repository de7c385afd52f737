/**
 * Zero points out of integer products: the sum of (q - z) w is the sum of q w less z times the sum of the weights. What is left
 * multiplies 8 bits by 8 bits, for which machines have instructions that add four products at once.
 */
import { rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import type { DType } from '../compiler/ir/dtype.js';
import { fullQuads, quadWords, weightSums } from '../compiler/ir/quads.js';
import { tensorOf, toNumbers } from '../compiler/ir/tensor.js';
import type { ValueId } from '../compiler/ir/types.js';
import { arg, sub } from '../compiler/kir/build.js';
import type { Expr } from '../compiler/kir/types.js';
import { definePass } from './types.js';

/** More fours of weights than this share being full, the product is dense. */
const SPARSE = 0.75;

const withoutCasts = (e: Expr): Expr => (e.kind === 'cast' ? withoutCasts(e.a) : e);
const isSmall = (dtype: DType): boolean => dtype === 'u8' || dtype === 'i8';

/** 8-bit integers behind a difference from one constant zero point; casts on the way hold every difference. */
function centred(e: GraphEditor, id: ValueId): { readonly q: ValueId; readonly zero: number } | undefined {
  const node = e.producerOf(id, 'elementwise'), [q] = node?.inputs ?? [];
  if (!node || q === undefined || !isSmall(e.type(q).dtype) || isSmall(e.type(id).dtype)) return undefined;
  const difference = withoutCasts(node.attrs.expr);
  if (difference.kind !== 'binary' || difference.op !== 'sub') return undefined;
  const a = withoutCasts(difference.a), b = withoutCasts(difference.b), operand = b.kind === 'arg' ? node.inputs[b.index] : undefined;
  const [zero, ...others] = b.kind === 'const' ? [Number(b.value)] : operand !== undefined && e.constantOf(operand) ? toNumbers(e.constantOf(operand)!) : [];
  return a.kind === 'arg' && a.index === 0 && zero !== undefined && others.length === 0 ? { q, zero } : undefined;
}

const rawProduct: Rule = (e, node) => {
  if (node.kind !== 'matmul' || node.epilogue || node.attrs.out !== 'i32' || node.attrs.transA || node.attrs.transB) return false;
  const [a, w] = node.inputs as [ValueId, ValueId], weights = e.constantOf(w), output = node.outputs[0]!;
  if (!weights || weights.shape.length !== 2 || e.shape(a).length !== 2 || e.shape(a)[0]! < 2) return false;
  const found = centred(e, a), words = found && quadWords(weights);
  if (!found || !words || fullQuads(words) > SPARSE * words.length) return false;
  const { name } = e.value(output), raw = e.add('matmul', [found.q, w], node.attrs, `${name}_raw`, { origins: node.origins });
  const constant = e.constant(tensorOf('i32', [weights.shape[1]!], Array.from(weightSums(weights), (s) => Math.imul(s, found.zero))), `${name}_zero`);
  e.define([output], 'elementwise', [raw, constant], { expr: sub(arg(0, 'i32'), arg(1, 'i32')) }, { origins: node.origins });
  return true;
};

export const rawProducts = definePass({
  name: 'raw-products',
  doc: 'sparse integer products of centred activations become products of the 8-bit integers themselves, less a constant for each output',
  run: (graph) => rewrite(graph, rawProduct),
});
