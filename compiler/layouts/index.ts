/**
 * The table of layouts. `LayoutKind` and `LayoutSpec` are derived from it: adding a layout is one file and one line here, and what must
 * know every layout then fails to compile until it does. What all layouts have in common follows from the three functions of each.
 */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { dtypes } from '../ir/dtype.js';
import { numberAt, type DenseTensor } from '../ir/tensor.js';
import { bitmap } from './bitmap.js';
import { bsr } from './bsr.js';
import { complementary } from './complementary.js';
import { dense } from './dense.js';
import { graphProduct } from './graph-product.js';
import { nm } from './n-m.js';
import { absentValues, weightMatrix, type Acceptance, type Layout, type Packed, type WeightMatrix } from './types.js';

export const layouts = {
  bitmap,
  bsr,
  complementary,
  dense,
  graphProduct,
  nm,
} as const;

export type LayoutKind = keyof typeof layouts;
type ParamsOf<K extends LayoutKind> = (typeof layouts)[K] extends Layout<infer P, infer _> ? P : never;
type NamesOf<K extends LayoutKind> = (typeof layouts)[K] extends Layout<infer _, infer N> ? N : never;

/** A layout with its parameters, e.g. `{ kind: 'bsr', params: { by: 4, bx: 1 } }`. */
export type LayoutSpec<K extends LayoutKind = LayoutKind> = { readonly [L in K]: { readonly kind: L; readonly params: ParamsOf<L> } }[K];

/** A matrix in a layout. Narrowing by `kind` gives the names of its arrays. */
export type PackedWeights<K extends LayoutKind = LayoutKind> = { readonly [L in K]: { readonly kind: L } & Packed<ParamsOf<L>, NamesOf<L>> }[K];

/** The definition of a kind, the types of its parameters forgotten (a spec always carries those of its own kind). */
const layout = (kind: LayoutKind): Layout<unknown, string> => layouts[kind] as Layout<unknown, string>;

export const layoutLabel = (spec: LayoutSpec): string => layout(spec.kind).label(spec.params);

/** Whether the layout can hold the matrix, or the first reason why not. */
export const accepts = (m: WeightMatrix, spec: LayoutSpec): Acceptance => layout(spec.kind).accepts(m, spec.params);

/** @throws NodeProblem SPC3101 where the layout does not accept the matrix */
export function packWeights<S extends LayoutSpec>(m: WeightMatrix, spec: S): PackedWeights<S['kind']> {
  const acceptance = accepts(m, spec);
  if (!acceptance.ok) throw new NodeProblem('SPC3101', `weights do not fit the layout ${layoutLabel(spec)}: ${acceptance.reason}`, 'choose another layout, or prune to the pattern that this one needs');
  const { rows, cols, dtype, zero } = m;
  return { kind: spec.kind, params: spec.params, rows, cols, dtype, zero, arrays: layout(spec.kind).pack(m, spec.params) } as PackedWeights as PackedWeights<S['kind']>;
}

/** Calls `visit` for every stored value with its place in the matrix and in `values`, in the order stored (see {@link Layout.visit}). */
export const visitStored = (p: PackedWeights, visit: (row: number, col: number, slot: number) => void): void => layout(p.kind).visit(p, visit);

/** The matrix that was packed. */
export function unpackWeights(p: PackedWeights): WeightMatrix {
  const data = absentValues(p, p.rows * p.cols), stored = p.arrays.values.data;
  const { bits } = weightMatrix(p.dtype, 1, stored.length, stored, p.zero);
  visitStored(p, (row, col, slot) => { if (bits[slot]) data[row * p.cols + col] = stored[slot] as never; });
  return weightMatrix(p.dtype, p.rows, p.cols, data, p.zero);
}

/**
 * The product that the arrays stand for: y = (W - zero) x, summed in double precision in the order stored.
 * @param x activations [cols, n], row-major
 * @returns y [rows, n]
 */
export function multiplyPacked(p: PackedWeights, x: ArrayLike<number>, n = 1): Float64Array {
  if (x.length !== p.cols * n) throw new RangeError(`${p.cols} x ${n} activations expected, ${x.length} given`);
  const y = new Float64Array(p.rows * n), stored = p.arrays.values;
  visitStored(p, (row, col, slot) => {
    const weight = numberAt(stored.dtype, stored.data, slot) - p.zero;
    for (let j = 0; j < n; j++) y[row * n + j]! += weight * x[col * n + j]!;
  });
  return y;
}

/** Bytes of all arrays together. */
export const packedBytes = (p: PackedWeights): number =>
  Object.values<DenseTensor>(p.arrays).reduce((bytes, t) => bytes + t.data.length * dtypes[t.dtype].bytes, 0);

export { weightMatrix, type Acceptance, type WeightMatrix } from './types.js';
export { supportRowOrder, type GraphFactor, type GraphProductParams } from './graph-product.js';
