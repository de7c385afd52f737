/** Sparse matrices for kernels that sum several rows at a time: rows in the order of how many weights they have. */
import type { StreamProduct } from './stream/product.js';

export interface SparseRows {
  readonly columns: number;
  /** Row of each lane of all groups; -1 where there is none, in the first group only. */
  readonly rowOf: Int32Array;
  readonly groups: number;
  /** Weights of the row in lane i are those from starts[i] to starts[i + 1], by column. */
  readonly starts: Uint32Array;
  readonly columnOf: Uint32Array;
  readonly weights: Float32Array;
  /** The most weights that a row of each group has; groups ascend. */
  readonly most: Int32Array;
}

/** @param p a product without windows @param lanes rows of a group */
export function sparseRows({ rows, depth, weights }: StreamProduct, lanes: number): SparseRows {
  const count = new Int32Array(rows), groups = Math.ceil(rows / lanes);
  for (let k = 0, i = 0; k < depth; k++) for (let r = 0; r < rows; r++, i++) if (weights[i] !== 0) count[r]!++;
  const order = Array.from({ length: rows }, (_, r) => r).sort((a, b) => count[a]! - count[b]! || a - b);
  // missing rows come first, where rows have the least weights
  const rowOf = Int32Array.from({ length: groups * lanes }, (_, i) => order[i - (groups * lanes - rows)] ?? -1);
  const starts = new Uint32Array(rowOf.length + 1);
  rowOf.forEach((r, i) => { starts[i + 1] = starts[i]! + (r < 0 ? 0 : count[r]!); });
  const columnOf = new Uint32Array(starts.at(-1)!), values = new Float32Array(columnOf.length), next = new Uint32Array(rows);
  rowOf.forEach((r, i) => { if (r >= 0) next[r] = starts[i]!; });
  for (let k = 0, i = 0; k < depth; k++) {
    for (let r = 0; r < rows; r++, i++) {
      if (weights[i] === 0) continue;
      columnOf[next[r]!] = k;
      values[next[r]!++] = weights[i]!;
    }
  }
  return {
    columns: depth, rowOf, groups, starts, columnOf, weights: values,
    most: Int32Array.from({ length: groups }, (_, g) => starts[(g + 1) * lanes]! - starts[(g + 1) * lanes - 1]!),
  };
}
