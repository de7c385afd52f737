/**
 * Storage layouts of a constant sparse operand. A layout turns a weight matrix into named arrays of constants (values, indices, masks)
 * that a kernel reads, and says which weight each stored value is. It knows no operator and no target.
 */
import { isFloat, type DType, type TypedArray } from '../ir/dtype.js';
import { newArray, storedValue, type DenseTensor } from '../ir/tensor.js';

/**
 * Weights as a matrix: one row an output channel, one column a position of the reduction. `zero` is what an absent weight is worth: 0, or
 * the zero point of quantised weights.
 */
export interface WeightMatrix {
  readonly dtype: DType;
  readonly rows: number;
  readonly cols: number;
  readonly zero: number;
  /** Row-major elements in the storage type of `dtype`. */
  readonly data: TypedArray;
  /** Row-major, 1 where the weight is not `zero`. */
  readonly bits: Uint8Array;
}

/**
 * A matrix over `data`, which is not copied. A negative zero counts as zero.
 * @throws RangeError where the number of elements is not rows x cols, or a float type has a zero point
 */
export function weightMatrix(dtype: DType, rows: number, cols: number, data: TypedArray, zero = 0): WeightMatrix {
  if (data.length !== rows * cols) throw new RangeError(`a ${rows} x ${cols} matrix has ${rows * cols} elements, not ${data.length}`);
  if (zero !== 0 && isFloat(dtype)) throw new RangeError(`${dtype} weights have no zero point`);
  const bits = new Uint8Array(data.length);
  if (dtype === 'f16' || dtype === 'bf16') {
    for (let i = 0; i < bits.length; i++) bits[i] = ((data[i] as number) & 0x7fff) === 0 ? 0 : 1;
  } else {
    const absent = storedValue(dtype, zero);
    for (let i = 0; i < bits.length; i++) bits[i] = data[i] === absent ? 0 : 1;
  }
  return { dtype, rows, cols, zero, data, bits };
}

/** An array for `length` stored values, all absent weights. */
export const absentValues = (m: Pick<WeightMatrix, 'dtype' | 'zero'>, length: number): TypedArray =>
  newArray(m.dtype, length).fill(storedValue(m.dtype, m.zero) as never);

/** Whether a layout can hold a matrix; if not, the first thing that prevents it, in words, and where in the matrix it is. */
export type Acceptance =
  | { readonly ok: true }
  | { readonly ok: false; readonly reason: string; readonly row?: number; readonly col?: number };

export const accepted: Acceptance = { ok: true };
export const rejected = (reason: string, row?: number, col?: number): Acceptance =>
  ({ ok: false, reason, ...(row !== undefined && { row }), ...(col !== undefined && { col }) });

/** What a layout made of a matrix. Every array is a constant that a kernel can take as it is. */
export interface Packed<Params, Name extends string> {
  readonly rows: number;
  readonly cols: number;
  readonly dtype: DType;
  readonly zero: number;
  readonly params: Params;
  readonly arrays: Readonly<Record<Name | 'values', DenseTensor>>;
}

export interface Layout<Params, Name extends string> {
  /** One line for docs and reports. */
  readonly doc: string;
  /** Short name with its parameters, e.g. `bsr 4x1`. */
  label(params: Params): string;
  accepts(m: WeightMatrix, params: Params): Acceptance;
  /** The arrays of an accepted matrix. `values` holds the weights; slots that pad hold `zero`. */
  pack(m: WeightMatrix, params: Params): Packed<Params, Name>['arrays'];
  /**
   * The meaning of the arrays: calls `visit` for every element of `values` that lies inside the matrix, in the order stored. Slots that
   * pad are visited too, because a kernel multiplies by them: at weights that are absent, so that an infinite activation times a pad makes
   * NaN only where the dense product is NaN as well. (The exception is a grouped `bsr` whose block row has no empty block to pad with.)
   */
  visit(p: Packed<Params, Name>, visit: (row: number, col: number, slot: number) => void): void;
}

/** Checks the types at the definition. */
export const defineLayout = <Params, Name extends string>(layout: Layout<Params, Name>): Layout<Params, Name> => layout;

export type IndexDType = 'u16' | 'u32';

/** The narrowest type that holds the indices 0..count-1. */
export const indexType = (count: number): IndexDType => (count <= 0x10000 ? 'u16' : 'u32');

export const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 1;
export const ceilDiv = (a: number, b: number): number => Math.ceil(a / b);
export const roundUp = (a: number, b: number): number => ceilDiv(a, b) * b;
