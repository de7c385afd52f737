/**
 * Reordering of output rows so that rows computed together need the same columns.
 *
 * A kernel that keeps a block of rows in registers loads each column that any of them needs once; the fewer columns a block needs, the
 * fewer loads a non-zero costs. The order of rows is free: it is the order of the output's channels, which the consumer can absorb.
 * Finding the best order is a balanced hypergraph partitioning (columns are nets, rows are vertices), so it is searched: blocks grow
 * greedily by overlap of supports, then rows of different blocks are swapped as long as that saves loads (Kernighan and Lin, 1970).
 */

/** Where weights are: row-major, 1 for a non-zero. */
export interface RowMask {
  readonly rows: number;
  readonly cols: number;
  readonly bits: Uint8Array;
}

export interface RowClustering {
  /** Row `order[i]` of the matrix comes i-th. */
  readonly order: readonly number[];
  /** Column loads of all blocks, in the order given and in the new one. */
  readonly loadsBefore: number;
  readonly loadsAfter: number;
}

/** Array elements that the search may touch: about half a second. */
const DEFAULT_OPERATIONS = 1e8;

/** Neighbours of each vertex on one side of a bipartite graph: those of vertex v are `list` from `starts[v]` to `starts[v + 1]`. */
interface Adjacency {
  readonly starts: Uint32Array;
  readonly list: Uint32Array;
}

function columnsOfRows({ rows, cols, bits }: RowMask): Adjacency {
  const starts = new Uint32Array(rows + 1);
  for (let i = 0, r = 0; r < rows; r++) {
    starts[r + 1] = starts[r]!;
    for (const end = i + cols; i < end; i++) starts[r + 1]! += bits[i]!;
  }
  const list = new Uint32Array(starts[rows]!);
  for (let i = 0, e = 0, r = 0; r < rows; r++) for (let c = 0; c < cols; c++) if (bits[i++]) list[e++] = c;
  return { starts, list };
}

/** The same edges seen from the other side, which has `count` vertices. */
function transposed(a: Adjacency, count: number): Adjacency {
  const starts = new Uint32Array(count + 1), list = new Uint32Array(a.list.length);
  for (const w of a.list) starts[w + 1]!++;
  for (let w = 0; w < count; w++) starts[w + 1]! += starts[w]!;
  const next = starts.slice();
  for (let v = 0; v + 1 < a.starts.length; v++) for (let e = a.starts[v]!; e < a.starts[v + 1]!; e++) list[next[a.list[e]!]!++] = v;
  return { starts, list };
}

interface Problem {
  readonly rows: number;
  readonly cols: number;
  readonly rowsPerBlock: number;
  readonly blocks: number;
  readonly columnsOf: Adjacency;
  readonly rowsOf: Adjacency;
  readonly bits: Uint8Array;
}

/** Operations left. Counting them instead of reading a clock makes the result the same everywhere. */
interface Budget {
  left: number;
}

const identity = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** How many rows of each block need each column, [blocks, cols]. */
function columnCounts(p: Problem, order: readonly number[]): Uint32Array {
  const counts = new Uint32Array(p.blocks * p.cols);
  order.forEach((r, i) => {
    const block = Math.floor(i / p.rowsPerBlock) * p.cols;
    for (let e = p.columnsOf.starts[r]!; e < p.columnsOf.starts[r + 1]!; e++) counts[block + p.columnsOf.list[e]!]!++;
  });
  return counts;
}

const loadsOf = (p: Problem, order: readonly number[]): number => columnCounts(p, order).reduce((n, count) => n + (count ? 1 : 0), 0);

/**
 * One block after another: begin with the fullest row left, then always add the row that needs most of the columns that the block loads
 * already (each of them saves a load). Rows that the budget does not reach follow as they were.
 */
function growBlocks(p: Problem, budget: Budget): number[] {
  const { starts, list } = p.columnsOf, order: number[] = [], taken = new Uint8Array(p.rows);
  const degree = (r: number): number => starts[r + 1]! - starts[r]!;
  while (order.length < p.rows && budget.left > 0) {
    const loaded = new Uint8Array(p.cols), overlap = new Uint32Array(p.rows), end = Math.min(p.rows, order.length + p.rowsPerBlock);
    while (order.length < end) {
      let best = -1;
      for (let r = 0; r < p.rows; r++) {
        if (taken[r]) continue;
        if (best < 0 || overlap[r]! > overlap[best]! || (overlap[r] === overlap[best] && degree(r) > degree(best))) best = r;
      }
      taken[best] = 1;
      order.push(best);
      budget.left -= p.rows;
      for (let e = starts[best]!; e < starts[best + 1]!; e++) {
        const c = list[e]!;
        if (loaded[c]) continue;
        loaded[c] = 1;
        for (let f = p.rowsOf.starts[c]!; f < p.rowsOf.starts[c + 1]!; f++) overlap[p.rowsOf.list[f]!]!++;
        budget.left -= p.rowsOf.starts[c + 1]! - p.rowsOf.starts[c]!;
      }
    }
  }
  for (let r = 0; r < p.rows; r++) if (!taken[r]) order.push(r);
  return order;
}

/** Swaps rows of different blocks while that saves loads, for each row the best swap there is. */
function swapRows(p: Problem, start: readonly number[], budget: Budget): number[] {
  const { starts, list } = p.columnsOf, order = [...start];
  budget.left -= p.blocks * list.length;
  if (budget.left <= 0) return order;
  const counts = columnCounts(p, order);
  const blockOf = new Uint32Array(p.rows), place = new Uint32Array(p.rows);
  order.forEach((r, i) => { place[r] = i; blockOf[r] = Math.floor(i / p.rowsPerBlock); });
  /** Columns that only this row of its block needs. */
  const alone = new Int32Array(p.rows);
  /** [blocks, rows]: columns of the row that the block does not load. */
  const missing = new Int32Array(p.blocks * p.rows);
  for (let r = 0; r < p.rows; r++) {
    for (let b = 0; b < p.blocks; b++) {
      let absent = 0, single = 0;
      for (let e = starts[r]!; e < starts[r + 1]!; e++) {
        const count = counts[b * p.cols + list[e]!]!;
        if (count === 0) absent++;
        else if (count === 1) single++;
      }
      missing[b * p.rows + r] = absent;
      if (b === blockOf[r]) alone[r] = single;
    }
  }

  /** Moves a row into (step 1) or out of (step -1) a block and keeps the tables true. */
  const change = (r: number, b: number, step: 1 | -1): void => {
    if (step === 1) blockOf[r] = b;
    alone[r] = 0;
    for (let e = starts[r]!; e < starts[r + 1]!; e++) {
      const c = list[e]!, before = counts[b * p.cols + c]!, after = before + step;
      counts[b * p.cols + c] = after;
      // Only the first and the second row of a column in a block change what others gain.
      if (Math.min(before, after) > 1) continue;
      budget.left -= p.rowsOf.starts[c + 1]! - p.rowsOf.starts[c]!;
      for (let f = p.rowsOf.starts[c]!; f < p.rowsOf.starts[c + 1]!; f++) {
        const other = p.rowsOf.list[f]!;
        if (Math.min(before, after) === 0) missing[b * p.rows + other]! -= step;
        else if (other !== r && blockOf[other] === b) alone[other]! -= step;
      }
      if (step === 1 && after === 1) alone[r]!++;
    }
  };

  /** Columns that both rows need and that are loaded for one of them only: swapping saves no load there. */
  const shared = (r: number, s: number): number => {
    const a = blockOf[r]! * p.cols, b = blockOf[s]! * p.cols;
    let n = 0;
    for (let e = starts[r]!; e < starts[r + 1]!; e++) {
      const c = list[e]!;
      if (p.bits[s * p.cols + c]) n += (counts[a + c] === 1 ? 1 : 0) + (counts[b + c] === 1 ? 1 : 0);
    }
    budget.left -= starts[r + 1]! - starts[r]!;
    return n;
  };

  for (let improved = true; improved && budget.left > 0;) {
    improved = false;
    for (let r = 0; r < p.rows && budget.left > 0; r++) {
      const a = blockOf[r]!;
      let best = -1, bestChange = 0;
      for (let s = 0; s < p.rows; s++) {
        const b = blockOf[s]!;
        if (b === a) continue;
        const bound = missing[b * p.rows + r]! - alone[r]! + missing[a * p.rows + s]! - alone[s]!;
        if (bound >= bestChange) continue;
        const exact = bound + shared(r, s);
        if (exact < bestChange) [best, bestChange] = [s, exact];
      }
      budget.left -= p.rows;
      if (best < 0) continue;
      const b = blockOf[best]!;
      change(r, a, -1);
      change(best, b, -1);
      change(r, b, 1);
      change(best, a, 1);
      [order[place[r]!], order[place[best]!]] = [best, r];
      [place[r], place[best]] = [place[best]!, place[r]!];
      improved = true;
    }
  }
  return order;
}

/** The same blocks in a canonical order: rows ascend in a block, whole blocks by their first row, a shorter one last. */
function canonical(p: Problem, order: readonly number[]): number[] {
  const blocks = Array.from({ length: p.blocks }, (_, b) => order.slice(b * p.rowsPerBlock, (b + 1) * p.rowsPerBlock).sort((x, y) => x - y));
  return blocks.sort((x, y) => y.length - x.length || x[0]! - y[0]!).flat();
}

/**
 * What it is worth on random masks (the worst case: no structure to find), blocks of 31 rows, loads per non-zero before -> after:
 *
 * | | 90 % sparse | 95 % | 98 % |
 * |---|---|---|---|
 * | 512 x 512 | 0.316 -> 0.287 (-9 %) | 0.521 -> 0.432 (-17 %) | 0.755 -> 0.572 (-24 %) |
 * | 2048 x 2048 | 0.311 -> 0.294 (-5 %) | 0.514 -> 0.459 (-11 %) | 0.749 -> 0.631 (-16 %) |
 *
 * The search takes 10 to 60 ms for the former and about half a second for the latter. Simulated annealing for ten times as long saved
 * at most 5 % more (512 x 512 at 98 %), 0.5 % on the larger matrices. Where blocks of b x 1 are kept, cluster the mask of the
 * blocks, with rowsPerBlock / b.
 *
 * @param rowsPerBlock rows that share column loads: consecutive ones, the last block may be shorter
 * @param operations bound of the search in array elements touched
 * @returns the order found, the identity where none needs fewer loads
 */
export function clusterRows(mask: RowMask, rowsPerBlock: number, operations = DEFAULT_OPERATIONS): RowClustering {
  if (!Number.isSafeInteger(rowsPerBlock) || rowsPerBlock < 1) throw new RangeError(`${rowsPerBlock} rows are no block`);
  const { rows, cols, bits } = mask, columnsOf = columnsOfRows(mask);
  const p: Problem = { rows, cols, bits, rowsPerBlock, blocks: Math.ceil(rows / rowsPerBlock), columnsOf, rowsOf: transposed(columnsOf, cols) };
  const budget = { left: operations }, given = identity(rows), loadsBefore = loadsOf(p, given);
  const grown = growBlocks(p, budget), start = loadsOf(p, grown) < loadsBefore ? grown : given;
  const order = canonical(p, swapRows(p, start, budget)), loadsAfter = loadsOf(p, order);
  return loadsAfter < loadsBefore ? { order, loadsBefore, loadsAfter } : { order: given, loadsBefore, loadsAfter: loadsBefore };
}
