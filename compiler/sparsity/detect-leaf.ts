/** The leaf (or pair of leaves) that describes a mask in the fewest bits, over all block and partition sizes of interest. */
import { countOnes, type Mask } from './matrix.js';
import { blocksInside, leaf, type Both, type Extent, type Leaf } from './pattern.js';
import { forTiles, sizesUpTo, type TileCounts } from './pyramid.js';
import { log2Choose } from './sizes.js';

/** Blocks and partitions that are looked for; besides these the kernel's size and the whole extent. */
const SIZES = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 24, 32, 64] as const;

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
  forTiles(mask, heights, widths, (t) => {
    let blocks = 0, stored = 0;
    const bits = new Uint8Array(t.counts.length), [by, bx] = t.tile;
    for (let i = 0; i < bits.length; i++) if (t.counts[i]) { bits[i] = 1; blocks++; }
    // the cut-off part of a block over the edge is padding only in size, not in the pattern
    for (let i = 0; i < t.rows; i++) for (let j = 0; j < t.cols; j++) if (bits[i * t.cols + j]) stored += Math.min(by, mask.rows - i * by) * Math.min(bx, mask.cols - j * bx);
    if (stored * value > limit) return 'skip';
    if (!isWhole(t.tile) || mask.rows * mask.cols === 1) grids.push({ block: t.tile, grid: { rows: t.rows, cols: t.cols, bits }, blocks, isFull: stored === nnz });
    return 'go on';
  });
  const dividesFull = (a: BlockGrid): boolean => grids.some((b) => b !== a && b.isFull && b.block[0] % a.block[0] === 0 && b.block[1] % a.block[1] === 0);
  return grids.filter((g) => !(g.isFull && dividesFull(g)));
}

const divisorsOf = (sizes: number[], whole: number | undefined): number[] => (whole === undefined ? sizes : [...new Set([...sizes.filter((s) => whole % s === 0), whole])].sort((a, b) => a - b));

type Kind = 'whole' | 'horizontal' | 'vertical' | 'rectangle';

function partitions({ block, grid, blocks }: BlockGrid, nnz: number, { value, sizes = [], within }: LeafOptions): LeafCandidate[] {
  const blockBits = block[0] * block[1] * value, best = new Map<Kind, LeafCandidate>();
  const exactGroups: { horizontal?: Leaf; vertical?: Leaf } = {};
  const inBlocks = (axis: 0 | 1): number | undefined => within && Math.max(1, within[axis] / block[axis]);
  const offer = (kind: Kind, c: LeafCandidate): void => {
    const other = best.get(kind);
    if (!other || compareCandidates(c, other) < 0) best.set(kind, c);
  };
  const area = block[0] * block[1];
  if (!within) {
    offer('whole', { pattern: leaf(block, [grid.rows, grid.cols], blocks), bits: blocks * blockBits + log2Choose(grid.bits.length, blocks), utilisation: utilisation(nnz, blocks * area) });
  } else {
    offer('whole', variableCount(grid, block, [inBlocks(0)!, inBlocks(1)!], blocks, nnz, value));
  }
  const heights = divisorsOf(sizesUpTo([...SIZES, ...sizes], grid.rows), inBlocks(0)), widths = divisorsOf(sizesUpTo([...SIZES, ...sizes], grid.cols), inBlocks(1));
  forTiles(grid, heights, widths, (t) => {
    const [qy, qx] = t.tile, size = qy * qx, isWhole = qy === grid.rows && qx === grid.cols;
    if (size === 1 || isWhole) return 'go on';
    let keep = 0;
    for (let i = 0; i < t.counts.length; i++) if (t.counts[i]! > keep) keep = t.counts[i]!;
    const exact = countIfExact(t, grid, keep) === blocks, pattern = leaf(block, t.tile, keep, exact);
    const kind: Kind = qy === 1 ? 'horizontal' : qx === 1 ? 'vertical' : 'rectangle';
    offer(kind, { pattern, bits: t.counts.length * (keep * blockBits + log2Choose(size, keep)) + RULE_BITS, utilisation: utilisation(nnz, t.counts.length * keep * area) });
    if (exact && keep < size && (kind === 'horizontal' || kind === 'vertical')) {
      const known = exactGroups[kind];
      if (!known || size < known.part[0] * known.part[1]) exactGroups[kind] = pattern;
    }
    return 'go on';
  });
  const { horizontal, vertical } = exactGroups;
  if (horizontal && vertical) {
    return [...best.values(), { pattern: { kind: 'both', horizontal, vertical }, bits: blocks * blockBits + bothPositions(grid, blocks, horizontal, vertical) + 2 * RULE_BITS, utilisation: utilisation(nnz, blocks * area) }];
  }
  return [...best.values()];
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
  let keep = 0;
  forTiles(grid, [...new Set([1, part[0]])], [...new Set([1, part[1]])], (t) => {
    if (t.tile[0] === part[0] && t.tile[1] === part[1]) for (const n of t.counts) keep = Math.max(keep, n);
    return 'go on';
  });
  const area = block[0] * block[1];
  return { pattern: leaf(block, part, keep, false), bits: blocks * area * value + log2Choose(grid.bits.length, blocks) + RULE_BITS, utilisation: utilisation(nnz, blocks * area) };
}
