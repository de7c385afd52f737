/** The leaf (or pair of leaves) that describes a mask in the fewest bits, over all block and partition sizes of interest. */
import { xoshiro128 } from '../io/random.js';
import { countOnes, onesOf, type Mask } from './matrix.js';
import { blocksInside, leaf, type Both, type Extent, type Leaf } from './pattern.js';
import { countTiles, forTiles, maskWhere, sizesUpTo, type Counts, type TileCounts } from './pyramid.js';
import { log2Choose } from './sizes.js';

/** Blocks and partitions that are looked for; besides these the kernel's size and the whole extent. */
const SIZES = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 24, 32, 64] as const;

/** Looks at random elements before blocks are counted, and an error (five standard deviations) that may be in their mean. */
const PROBES = 512, PROBE_ERROR = 0.1;
/** Rows that are counted under all partitions; under the promising ones all rows are. */
const BAND = 192;

/**
 * What a rule beyond `the best of the whole matrix` must save. Hundreds of rules are tried, and some hold by accident; 16 bits make that a matter of 2^-16 each.
 */
export const RULE_BITS = 16;

export interface LeafCandidate {
  readonly pattern: Leaf | Both;
  /** Ideal code length: values (zeros stored as padding count), log2 of the number of masks of the pattern, and the price of its rules. */
  readonly bits: number;
  /** Share of the stored values that are not padding. */
  readonly utilisation: number;
}

export interface LeafOptions {
  /** Bits of a value. */
  readonly value: number;
  /** Further sizes to try along rows and columns (a convolution kernel). */
  readonly sizes?: readonly number[];
  /** Only single elements as blocks. */
  readonly elements?: boolean;
  /** The mask is a stack of blocks of this size: partitions must divide it, and its whole is the largest. */
  readonly within?: Extent;
  /** In a stack: every block holds equally many elements. Else clusters, which all trained weights have, would look like structure. */
  readonly equalCounts?: boolean;
}

/** Fewest bits; then two rules rather than one, larger blocks, smaller partitions. */
export function compareCandidates(a: LeafCandidate, b: LeafCandidate): number {
  const first = (c: LeafCandidate): Leaf => (c.pattern.kind === 'both' ? c.pattern.horizontal : c.pattern);
  const area = (e: Extent): number => e[0] * e[1], p = first(a), q = first(b);
  return a.bits - b.bits || (b.pattern.kind === 'both' ? 1 : 0) - (a.pattern.kind === 'both' ? 1 : 0) || area(q.block) - area(p.block) || area(p.part) - area(q.part)
    || p.part[0] - q.part[0];
}

interface BlockGrid {
  readonly block: Extent;
  readonly grid: Mask;
  readonly blocks: number;
}

/**
 * @returns candidates, best first: for each block size the best of each kind of partition
 */
export function detectLeaves(mask: Mask, options: LeafOptions): LeafCandidate[] {
  const nnz = countOnes(mask.bits), found: LeafCandidate[] = [], cells = mask.rows * mask.cols;
  const limit = Math.min(cells * options.value, nnz * options.value + log2Choose(cells, nnz));
  for (const blocks of blockGrids(mask, nnz, limit, options)) found.push(...partitions(blocks, nnz, options));
  return found.sort(compareCandidates);
}

/** Block sizes worth a closer look: their values alone take fewer bits than element-wise storage, and no larger block does the same. */
function blockGrids(mask: Mask, nnz: number, limit: number, { value, sizes = [], elements, within }: LeafOptions): BlockGrid[] {
  const isWhole = (e: Extent): boolean => e[0] === mask.rows && e[1] === mask.cols;
  const single: BlockGrid = { block: [1, 1], grid: mask, blocks: nnz };
  if (elements) return [single];
  const grids: (BlockGrid & { readonly isFull: boolean })[] = [];
  const heights = divisorsOf(sizesUpTo([...SIZES, ...sizes], mask.rows), within?.[0]), widths = divisorsOf(sizesUpTo([...SIZES, ...sizes], mask.cols), within?.[1]);
  const leastFill = (nnz * value) / limit, ones = onesOf(mask), random = xoshiro128(nnz);
  forTiles(mask, heights, widths, (t) => {
    const blocks = countOccupied(t.counts), stored = blocks * t.tile[0] * t.tile[1] - overhang(t, mask);
    if (stored * value > limit) return 'skip';
    if (!isWhole(t.tile) || mask.bits.length === 1) grids.push({ block: t.tile, grid: maskWhere(t, (n) => n > 0), blocks, isFull: stored === nnz });
    return 'go on';
  }, (tile) => fillAround(mask, ones, tile, random) >= leastFill - PROBE_ERROR);
  const dividesFull = (a: BlockGrid): boolean => grids.some((b) => b !== a && b.isFull && b.block[0] % a.block[0] === 0 && b.block[1] % a.block[1] === 0);
  return grids.filter((g) => !(g.isFull && dividesFull(g)));
}

/** Of the blocks of random ones, the share of ones: no less on average than the share in all occupied blocks. */
function fillAround(mask: Mask, ones: Int32Array, [by, bx]: Extent, random: () => number): number {
  let hits = 0, inside = 0;
  for (let k = 0; k < PROBES; k++) {
    const u = ones[random() % ones.length]!, i = Math.floor(u / mask.cols), j = u % mask.cols;
    const y = i - (i % by) + (random() % by), x = j - (j % bx) + (random() % bx);
    if (y >= mask.rows || x >= mask.cols) continue;
    inside++;
    hits += mask.bits[y * mask.cols + x]!;
  }
  return inside === 0 ? 1 : hits / inside;
}

function largest(counts: Counts): number {
  let most = 0;
  for (let i = 0; i < counts.length; i++) if (counts[i]! > most) most = counts[i]!;
  return most;
}

function countOccupied(counts: Counts): number {
  let n = 0;
  for (let i = 0; i < counts.length; i++) if (counts[i]) n++;
  return n;
}

/** Elements outside of the matrix in occupied blocks that hang over its edge: padding in size, but no breach of the pattern. */
function overhang(t: TileCounts, mask: Mask): number {
  const [by, bx] = t.tile, below = t.rows * by - mask.rows, beside = t.cols * bx - mask.cols;
  let out = 0;
  if (beside > 0) for (let i = 0; i < t.rows; i++) if (t.counts[(i + 1) * t.cols - 1]) out += by * beside;
  if (below > 0) for (let j = 0; j < t.cols; j++) if (t.counts[(t.rows - 1) * t.cols + j]) out += (j === t.cols - 1 ? bx - beside : bx) * below;
  return out;
}

const divisorsOf = (sizes: number[], whole: number | undefined): number[] => (whole === undefined ? sizes : [...new Set([...sizes.filter((s) => whole % s === 0), whole])].sort((a, b) => a - b));

/** Partitions that people use: groups along a row or a column of any size, squares, and rectangles of powers of two. */
const isCommon = ([y, x]: Extent): boolean => y === 1 || x === 1 || y === x || (isPowerOfTwo(y) && isPowerOfTwo(x));
const isPowerOfTwo = (n: number): boolean => Number.isInteger(Math.log2(n));

/** A partition by the top rows: `keep` and therefore `bits` are lower bounds, and `exact` may still turn out false. */
interface Guess { readonly part: Extent; readonly bits: number; readonly exact: boolean }

function partitions({ block, grid, blocks }: BlockGrid, nnz: number, { value, sizes = [], within, equalCounts }: LeafOptions): LeafCandidate[] {
  const area = block[0] * block[1], blockBits = area * value;
  const limits = within && ([Math.max(1, within[0] / block[0]), Math.max(1, within[1] / block[1])] as const);
  const whole: LeafCandidate | undefined = limits && equalCounts ? undefined : limits ? variableCount(grid, block, limits, blocks, nnz, value)
    : { pattern: leaf(block, [grid.rows, grid.cols], blocks), bits: blocks * blockBits + log2Choose(grid.bits.length, blocks), utilisation: utilisation(nnz, blocks * area) };
  const bitsOf = (parts: number, keep: number, part: Extent): number => parts * (keep * blockBits + log2Choose(part[0] * part[1], keep)) + RULE_BITS;
  const measured = (part: Extent): LeafCandidate & { readonly pattern: Leaf } => {
    const t = countTiles(grid, part), keep = largest(t.counts);
    return { pattern: leaf(block, part, keep, countIfExact(t, grid, keep) === blocks), bits: bitsOf(t.counts.length, keep, part), utilisation: utilisation(nnz, t.counts.length * keep * area) };
  };

  const guesses: Guess[] = [], top: Mask = { rows: Math.min(grid.rows, BAND), cols: grid.cols, bits: grid.bits.subarray(0, Math.min(grid.rows, BAND) * grid.cols) };
  const heights = divisorsOf(sizesUpTo([...SIZES, ...sizes], grid.rows), limits?.[0]), widths = divisorsOf(sizesUpTo([...SIZES, ...sizes], grid.cols), limits?.[1]);
  forTiles(top, heights.filter((y) => y <= top.rows), widths, (t) => {
    const [qy, qx] = t.tile;
    if (qy * qx > 1 && isCommon(t.tile) && (qy < grid.rows || qx < grid.cols)) guesses.push(guess(t, top, grid, bitsOf));
    return 'go on';
  });
  if (!limits && grid.rows > top.rows) guesses.push({ part: [grid.rows, 1], bits: 0, exact: true });

  // in order of the lower bounds until none can win; then the smallest rules along rows and along columns that hold exactly
  const found: LeafCandidate[] = whole ? [whole] : [];
  let best = whole?.bits ?? Infinity;
  for (const g of guesses.sort((a, b) => a.bits - b.bits || a.part[0] * a.part[1] - b.part[0] * b.part[1])) {
    if (g.bits > best) break;
    const c = measured(g.part);
    found.push(c);
    best = Math.min(best, c.bits);
  }
  const exactGroup = (axis: 0 | 1): Leaf | undefined => {
    for (const g of guesses.filter((x) => x.exact && x.part[1 - axis] === 1).sort((a, b) => a.part[axis] - b.part[axis])) {
      const { pattern } = measured(g.part);
      if (pattern.exact && pattern.keep < pattern.part[axis]) return pattern;
    }
    return undefined;
  };
  const vertical = found.some((c) => c !== whole) ? exactGroup(0) : undefined, horizontal = vertical && exactGroup(1);
  if (horizontal && vertical) {
    const bits = blocks * blockBits + bothPositions(grid, blocks, horizontal, vertical) + 2 * RULE_BITS;
    found.push({ pattern: { kind: 'both', horizontal, vertical }, bits, utilisation: utilisation(nnz, blocks * area) });
  }
  return found.sort(compareCandidates);
}

function guess(t: TileCounts, top: Mask, grid: Mask, bitsOf: (parts: number, keep: number, part: Extent) => number): Guess {
  const [qy, qx] = t.tile, keep = largest(t.counts);
  let exact = keep < qy * qx;
  // partitions that the band or the edge cuts off hold fewer
  for (let i = 0; i < Math.floor(top.rows / qy) && exact; i++) for (let j = 0; j < Math.floor(top.cols / qx); j++) if (t.counts[i * t.cols + j] !== keep) exact = false;
  return { part: t.tile, bits: bitsOf(Math.ceil(grid.rows / qy) * Math.ceil(grid.cols / qx), keep, t.tile), exact };
}

/** Masks that obey two rules, as if these were independent (Good and Crook, 1977): 7.03 bits for a 4x4 tile of two in each row and column, of which there are 90. */
function bothPositions(grid: Mask, blocks: number, horizontal: Leaf, vertical: Leaf): number {
  const [height, width] = [vertical.part[0], horizontal.part[1]], tiles = Math.ceil(grid.rows / height) * Math.ceil(grid.cols / width);
  return tiles * (height * log2Choose(width, horizontal.keep) + width * log2Choose(height, vertical.keep) - log2Choose(height * width, Math.round(blocks / tiles)));
}

const utilisation = (nnz: number, stored: number): number => (stored === 0 ? 1 : Math.min(1, nnz / stored));

/** Blocks that the mask has if each partition keeps exactly `keep` of those inside; counts never exceed that, so equal sums mean equal counts. */
function countIfExact(t: TileCounts, grid: Mask, keep: number): number {
  const extent: Extent = [grid.rows, grid.cols], inside = (i: number, j: number): number => Math.min(keep, blocksInside(extent, t.tile, i, j));
  const lastRow = t.rows - 1, lastCol = t.cols - 1;
  return lastRow * lastCol * inside(0, 0) * (lastRow && lastCol ? 1 : 0) + (lastRow ? lastRow * inside(0, lastCol) : 0) + (lastCol ? lastCol * inside(lastRow, 0) : 0) + inside(lastRow, lastCol);
}

/** In a stack of blocks: any number of elements in each, all positions in one list or bitmap. */
function variableCount(grid: Mask, block: Extent, part: Extent, blocks: number, nnz: number, value: number): LeafCandidate {
  const keep = largest(countTiles(grid, part).counts);
  const area = block[0] * block[1];
  return { pattern: leaf(block, part, keep, false), bits: blocks * area * value + log2Choose(grid.bits.length, blocks) + RULE_BITS, utilisation: utilisation(nnz, blocks * area) };
}
