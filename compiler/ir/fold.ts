/** Computes nodes whose operands are constants. Renaming and permuting keep a sparse tensor sparse. */
import type { OpKind } from '../core/index.js';
import type { TransposeAttrs } from '../core/transpose.js';
import { evaluateNode } from '../kir/evaluate.js';
import type { Expr } from '../kir/types.js';
import { newArray, type SparseTensor, type Tensor } from './tensor.js';
import { contiguousStrides, type TensorType } from './types.js';

/** Transposes coordinates, not elements. */
function transposeSparse(t: SparseTensor, perm: readonly number[]): SparseTensor {
  const from = contiguousStrides(t.shape), shape = perm.map((p) => t.shape[p]!), to = contiguousStrides(shape);
  const moved = t.indices.map((at, i) => ({ i, at: perm.reduce((sum, p, d) => sum + (Math.floor(at / from[p]!) % t.shape[p]!) * to[d]!, 0) }));
  moved.sort((a, b) => a.at - b.at);
  const values = newArray(t.dtype, t.values.length);
  moved.forEach(({ i }, n) => { values[n] = t.values[i] as never; });
  return { ...t, shape, values, indices: moved.map((m) => m.at) };
}

/** Results of a node on constants. */
export function foldNode(kind: OpKind, attrs: unknown, inputs: readonly Tensor[], types: readonly TensorType[],
  epilogue?: { readonly expr: Expr; readonly inputs: readonly Tensor[] }): Tensor[] {
  const [x] = inputs;
  if (x?.kind === 'sparse' && !epilogue) {
    if (kind === 'reshape') return [{ ...x, shape: types[0]!.shape }];
    if (kind === 'transpose') return [transposeSparse(x, (attrs as TransposeAttrs).perm)];
  }
  return evaluateNode(kind, attrs, inputs, types, epilogue);
}
