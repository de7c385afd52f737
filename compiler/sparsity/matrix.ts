/** Weights and masks as plain matrices: rows are output channels, columns the reduction. Everything in this folder works on these two. */

export interface MatrixShape {
  readonly rows: number;
  readonly cols: number;
  /** Positions of the convolution kernel (kh * kw); 1 for a linear layer. With columns in `crs` order an input channel is `kernel` neighbouring columns. */
  readonly kernel?: number;
}

/** Row-major numbers. */
export interface Matrix extends MatrixShape {
  readonly data: Float32Array | Float64Array;
}

/** Row-major 0 or 1: which elements may differ from zero. */
export interface Mask extends MatrixShape {
  readonly bits: Uint8Array;
}

export const newMask = (rows: number, cols: number): Mask => ({ rows, cols, bits: new Uint8Array(rows * cols) });
export const fullMask = (rows: number, cols: number): Mask => ({ rows, cols, bits: new Uint8Array(rows * cols).fill(1) });

/** Elements of magnitude above `tolerance` (NaN counts as such: it must not get lost). */
export function supportOf(m: Matrix, tolerance = 0): Mask {
  const bits = new Uint8Array(m.data.length);
  for (let i = 0; i < bits.length; i++) bits[i] = Math.abs(m.data[i]!) <= tolerance ? 0 : 1;
  return { ...shapeOf(m), bits };
}

export const shapeOf = ({ rows, cols, kernel }: MatrixShape): MatrixShape => ({ rows, cols, ...(kernel === undefined ? {} : { kernel }) });

export function countOnes(bits: Uint8Array): number {
  let n = 0;
  for (let i = 0; i < bits.length; i++) n += bits[i]!;
  return n;
}

/** Linear positions of the ones. */
export function onesOf(mask: Mask): Int32Array {
  const at = new Int32Array(countOnes(mask.bits));
  for (let i = 0, n = 0; i < mask.bits.length; i++) if (mask.bits[i]) at[n++] = i;
  return at;
}

/** The matrix with everything outside of the mask set to zero. */
export function masked(m: Matrix, mask: Mask): Matrix {
  const data = m.data.slice();
  for (let i = 0; i < data.length; i++) if (!mask.bits[i]) data[i] = 0;
  return { ...m, data };
}

/** Squares of the elements: what a projection in the L2 norm compares. NaN becomes infinite, so that it is kept rather than hidden. */
export function energies(m: Matrix): Matrix & { readonly data: Float64Array } {
  const data = new Float64Array(m.data.length);
  for (let i = 0; i < data.length; i++) {
    const x = m.data[i]!;
    data[i] = Number.isNaN(x) ? Infinity : x * x;
  }
  return { ...shapeOf(m), data };
}

/** Share of the squared norm that a mask keeps; 1 for a matrix of zeros. */
export function energyKept(m: Matrix, mask: Mask): number {
  let kept = 0, all = 0;
  for (let i = 0; i < m.data.length; i++) {
    const e = m.data[i]! ** 2;
    all += e;
    if (mask.bits[i]) kept += e;
  }
  return all === 0 ? 1 : kept / all;
}

/** Kronecker product: every 1 of `a` replaced by a copy of `b`. */
export function kronecker(a: Mask, b: Mask): Mask {
  const out = newMask(a.rows * b.rows, a.cols * b.cols);
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < a.cols; j++) {
      if (!a.bits[i * a.cols + j]) continue;
      for (let y = 0; y < b.rows; y++) out.bits.set(b.bits.subarray(y * b.cols, (y + 1) * b.cols), (i * b.rows + y) * out.cols + j * b.cols);
    }
  }
  return out;
}

/** Rows and columns in another order: row i of the result is row `rows[i]` of the argument. */
export function permuted<T extends Float32Array | Float64Array | Uint8Array>(shape: MatrixShape, data: T, rows?: readonly number[], cols?: readonly number[]): T {
  const out = data.slice() as T;
  for (let i = 0; i < shape.rows; i++) {
    const from = (rows ? rows[i]! : i) * shape.cols, to = i * shape.cols;
    for (let j = 0; j < shape.cols; j++) out[to + j] = data[from + (cols ? cols[j]! : j)]!;
  }
  return out;
}

export function inversePermutation(p: readonly number[]): number[] {
  const out = new Array<number>(p.length);
  p.forEach((from, to) => { out[from] = to; });
  return out;
}
