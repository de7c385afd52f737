/** Which step takes each weight of a row: a matching of weights with steps that read their block. */
import type { PermuteStep } from '../../../../compiler/kir/permute.js';

/** Steps that read each block: those of block b are steps[starts[b]] to steps[starts[b + 1] - 1], ascending. */
export interface Visits {
  readonly count: number;
  readonly starts: Int32Array;
  readonly steps: Int32Array;
}

export function visitsOf(steps: readonly PermuteStep[], blocks: number): Visits {
  const starts = new Int32Array(blocks + 1);
  for (const { sources } of steps) for (const b of sources) starts[b + 1]!++;
  for (let b = 0; b < blocks; b++) starts[b + 1]! += starts[b]!;
  const next = starts.slice(), list = new Int32Array(starts[blocks]!);
  steps.forEach(({ sources }, t) => { for (const b of sources) list[next[b]!++] = t; });
  return { count: steps.length, starts, steps: list };
}

/**
 * Largest matching, by augmenting paths (Kuhn 1955, breadth first). Steps that a search in vain came by lead to no free step, ever: later searches
 * leave them out, so that a row with more weights than fit costs little more than another.
 * @param blockOf block of each weight
 * @returns the weight that each step takes, -1: none
 */
export function placeWeights(blockOf: ArrayLike<number>, { count, starts, steps }: Visits): Int32Array {
  const taken = new Int32Array(count).fill(-1), stepOf = new Int32Array(blockOf.length).fill(-1);
  const seen = new Int32Array(count).fill(-1), reachedFrom = new Int32Array(count), queue = new Int32Array(count + 1), dead = blockOf.length;
  for (let i = 0; i < blockOf.length; i++) {
    let head = 0, tail = 0, found = -1;
    queue[tail++] = i;
    while (head < tail && found < 0) {
      const weight = queue[head++]!, block = blockOf[weight]!;
      for (let v = starts[block]!; v < starts[block + 1]!; v++) {
        const t = steps[v]!;
        if (seen[t] === i || seen[t] === dead) continue;
        seen[t] = i;
        reachedFrom[t] = weight;
        if (taken[t]! < 0) { found = t; break; }
        queue[tail++] = taken[t]!;
      }
    }
    if (found < 0) for (let q = 1; q < tail; q++) seen[stepOf[queue[q]!]!] = dead;
    while (found >= 0) {
      const weight = reachedFrom[found]!, before = stepOf[weight]!;
      taken[found] = weight;
      stepOf[weight] = found;
      found = before;
    }
  }
  return taken;
}
