/** Minimum s-t cut by augmenting shortest paths (Edmonds and Karp 1972): graphs of some thousand edges. */

export interface CutEdge {
  readonly from: number;
  readonly to: number;
  /** May be Infinity. */
  readonly capacity: number;
}

/** Vertices 0 (source) to count - 1; vertex 1 is the sink. True for those on the source's side. */
export function minimumCut(count: number, edges: readonly CutEdge[]): boolean[] {
  const to: number[] = [], left: number[] = [], of: number[][] = Array.from({ length: count }, () => []);
  for (const e of edges) {
    of[e.from]!.push(to.length); to.push(e.to); left.push(e.capacity);
    of[e.to]!.push(to.length); to.push(e.from); left.push(0);
  }
  for (;;) {
    const via = new Array<number>(count).fill(-1), seen = new Array<boolean>(count).fill(false), queue = [0];
    seen[0] = true;
    for (let head = 0; head < queue.length && !seen[1]; head++) {
      for (const e of of[queue[head]!]!) {
        const next = to[e]!;
        if (seen[next] || left[e]! <= 1e-9) continue;
        seen[next] = true;
        via[next] = e;
        queue.push(next);
      }
    }
    if (!seen[1]) return seen;
    let flow = Infinity;
    for (let v = 1; v !== 0; v = to[via[v]! ^ 1]!) flow = Math.min(flow, left[via[v]!]!);
    if (flow === Infinity) throw new Error('SPC9006: no cut separates the source from the sink');
    for (let v = 1; v !== 0; v = to[via[v]! ^ 1]!) {
      left[via[v]!]! -= flow;
      left[via[v]! ^ 1]! += flow;
    }
  }
}
