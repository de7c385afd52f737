/** A sparse matrix as groups of rows whose weights alternate, and what longer rows have beyond their group's. */
import type { SparseRows } from '../sparse-rows.js';

export interface PackedRows {
  /** Columns in one word of `columns`, the first in its lowest bits. */
  readonly perWord: number;
  /** The columns of the weights. */
  readonly columns: BigUint64Array;
  /** Weight of the row in lane l at step i: weights[i * side + l]; the steps of group g are those from starts[g] to starts[g + 1]. */
  readonly weights: Float32Array;
  readonly starts: Uint32Array;
  /** Row of each lane; a row stands in several lanes of the first group where there are too few. */
  readonly rowOf: Uint32Array;
  /** Groups of parts that take about as long: part p has those from bounds[p] to bounds[p + 1]. */
  readonly bounds: Uint32Array;
  readonly rest: { readonly rows: Uint32Array; readonly starts: Uint32Array; readonly columns: Uint32Array; readonly weights: Float32Array };
}

/** Parts that threads share, at most. */
const PARTS = 240;
/** What a group takes beside its steps, in steps. */
const GROUP_STEPS = 4;

/** Bounds of at most `parts` runs of items with about the same cost each. */
function boundsOf(costs: readonly number[], parts: number): Uint32Array {
  const total = costs.reduce((a, b) => a + b, 0), count = Math.min(parts, costs.length), bounds = new Uint32Array(count + 1);
  for (let item = 0, before = 0, part = 0; part <= count; part++) {
    while (item < costs.length && before + costs[item]! / 2 < (total * part) / count) before += costs[item++]!;
    bounds[part] = part === count ? costs.length : item;
  }
  return bounds;
}

/** Lanes of the first group that have no row of their own. */
const missingLanes = ({ rowOf }: SparseRows): number => rowOf.findIndex((r) => r >= 0);

/** Weights that all rows of each group have. */
export const stepsOf = (m: SparseRows, side: number): number[] => Array.from({ length: m.groups }, (_, g) => {
  const lane = Math.max(g * side, missingLanes(m));
  return m.starts[lane + 1]! - m.starts[lane]!;
});

export function packRows(m: SparseRows, side: number): PackedRows {
  const perWord = m.columns > 1 << 16 ? 2 : 4, bits = BigInt(64 / perWord), missing = missingLanes(m);
  const laneOf = Array.from({ length: m.rowOf.length }, (_, lane) => Math.max(lane, missing)), count = (lane: number): number => m.starts[lane + 1]! - m.starts[lane]!;
  const steps = stepsOf(m, side), starts = new Uint32Array(m.groups + 1);
  steps.forEach((s, g) => { starts[g + 1] = starts[g]! + s; });
  // not empty, as C has no such arrays
  const size = Math.max(1, starts[m.groups]!) * side, columns = new BigUint64Array(size / perWord), weights = new Float32Array(size), rest: number[] = [], restLanes: number[] = [], restStarts = [0];
  laneOf.forEach((own, lane) => {
    const g = Math.floor(lane / side), from = m.starts[own]!;
    for (let i = 0; i < steps[g]!; i++) {
      const to = (starts[g]! + i) * side + lane % side, word = Math.floor(to / perWord);
      weights[to] = m.weights[from + i]!;
      columns[word]! |= BigInt(m.columnOf[from + i]!) << bits * BigInt(to % perWord);
    }
    if (count(own) === steps[g] || own !== lane) return;
    for (let i = from + steps[g]!; i < m.starts[own + 1]!; i++) rest.push(i);
    restLanes.push(own);
    restStarts.push(rest.length);
  });
  return {
    perWord, columns, weights, starts, rowOf: Uint32Array.from(laneOf, (lane) => m.rowOf[lane]!), bounds: boundsOf(steps.map((s) => s + GROUP_STEPS), PARTS),
    rest: {
      rows: Uint32Array.from(restLanes, (lane) => m.rowOf[lane]!), starts: Uint32Array.from(restStarts),
      columns: Uint32Array.from(rest, (i) => m.columnOf[i]!), weights: Float32Array.from(rest, (i) => m.weights[i]!),
    },
  };
}
