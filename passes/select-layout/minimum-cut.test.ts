/** Minimum cuts against all cuts of small graphs. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { minimumCut, type CutEdge } from './minimum-cut.js';

const cutOf = (edges: readonly CutEdge[], inSource: (v: number) => boolean): number =>
  edges.reduce((sum, e) => sum + (inSource(e.from) && !inSource(e.to) ? e.capacity : 0), 0);

/** Cut capacity of the best of all ways to split the vertices with 0 on one side and 1 on the other. */
function leastCut(count: number, edges: readonly CutEdge[]): number {
  let least = Infinity;
  for (let set = 0; set < 2 ** (count - 2); set++) least = Math.min(least, cutOf(edges, (v) => v === 0 || (v > 1 && (set >> (v - 2) & 1) === 1)));
  return least;
}

const capacity = fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 0, max: 9 }) }, { weight: 1, arbitrary: fc.constant(Infinity) });
/** Loops, parallel and antiparallel edges, edges into the source and out of the sink, vertices without edges. */
const networks = fc.integer({ min: 2, max: 9 }).chain((count) => {
  const vertex = fc.integer({ min: 0, max: count - 1 });
  return fc.record({ count: fc.constant(count), edges: fc.array(fc.record({ from: vertex, to: vertex, capacity }), { maxLength: 30 }) });
});

test('the cut is the least of all cuts, and refused where that is infinite', () => {
  const seen = { cut: 0, apart: 0, infinite: 0 };
  fc.assert(fc.property(networks, ({ count, edges }) => {
    const least = leastCut(count, edges);
    if (least === Infinity) {
      seen.infinite++;
      expect(() => minimumCut(count, edges)).toThrow('SPC9006');
      return;
    }
    seen[least === 0 ? 'apart' : 'cut']++;
    const side = minimumCut(count, edges);
    expect([side.length, side[0], side[1]]).toEqual([count, true, false]);
    expect(cutOf(edges, (v) => side[v]!)).toBe(least);
  }), { seed: 3, numRuns: 3000 });
  for (const n of Object.values(seen)) expect(n).toBeGreaterThan(100);
});

test('a path through a tie is broken towards the sink: what costs nothing to leave stays there', () => {
  // 0 -> 2 -> 1 with equal capacities
  expect(minimumCut(3, [{ from: 0, to: 2, capacity: 4 }, { from: 2, to: 1, capacity: 4 }])).toEqual([true, false, false]);
  expect(minimumCut(4, [{ from: 0, to: 2, capacity: 4 }, { from: 2, to: 1, capacity: 3 }])).toEqual([true, false, true, false]);
});

test('capacities of very different size, as times of nodes are', () => {
  const edges = [{ from: 0, to: 2, capacity: 1e9 }, { from: 2, to: 3, capacity: 0.25 }, { from: 3, to: 1, capacity: 5e8 }, { from: 0, to: 3, capacity: 1e-3 }];
  expect(minimumCut(4, edges)).toEqual([true, false, true, false]);
});
