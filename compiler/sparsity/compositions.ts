/** Nests (blocks that survive, and a pattern inside them) and sums (full blocks, and a finer pattern elsewhere), found by their outer blocks. */
import { xoshiro128 } from '../io/random.js';
import { RULE_BITS, detectLeaves, type LeafCandidate } from './detect-leaf.js';
import { blockPlace } from './blocks.js';
import { countOnes, newMask, type Mask } from './matrix.js';
import { blocksInside, leaf, type Extent, type Leaf, type Pattern } from './pattern.js';
import { forTiles, maskWhere, sizesUpTo, type TileCounts } from './pyramid.js';
import { log2Choose } from './sizes.js';

interface Composition {
  readonly pattern: Pattern;
  readonly bits: number;
  readonly utilisation: number;
}

/** Outer blocks that are looked for. */
const SIZES = [4, 5, 8, 10, 16, 20, 32, 64] as const;
const MIN_AREA = 8;
const PROBES = 1024;
/** Clusters, which all trained weights have, look like a little structure: a composition of parts with unequal counts must save this share of the bits for positions. */
const SAVING = 0.1;

/** A size of outer blocks, and what a composition with them would take. */
interface Outer {
  readonly tiles: TileCounts;
  readonly estimate: number;
}

/**
 * @param base the best leaf: what the rest of a sum would be stored as, and what an estimate must beat
 * @param limit bits of the best candidate so far
 */
export function bestComposition(mask: Mask, base: LeafCandidate, limit: number, value: number): Composition[] {
  const nnz = countOnes(mask.bits), nests: Outer[] = [], sums: Outer[] = [];
  const unit = base.utilisation === 1 && base.pattern.kind === 'leaf' ? base.pattern.block[0] * base.pattern.block[1] : 1;
  const kernel = mask.kernel ?? 1, random = xoshiro128(nnz);
  forTiles(mask, sizesUpTo(SIZES, mask.rows), sizesUpTo([...SIZES, kernel], mask.cols), (t) => {
    const area = t.tile[0] * t.tile[1];
    if (area < MIN_AREA || (t.rows === 1 && t.cols === 1)) return 'go on';
    const { any, full } = occupancy(t, mask);
    if (any < t.counts.length) {
      const estimate = nnz * value + log2Choose(t.counts.length, any) + unitPositions(nnz, any * area, unit);
      if (estimate < limit) nests.push({ tiles: t, estimate });
    }
    const rest = nnz - full * area;
    if (full >= 2 && rest > 0 && full * area >= nnz / 20) {
      const estimate = nnz * value + log2Choose(t.counts.length, full) + unitPositions(rest, mask.bits.length - full * area, unit);
      if (estimate < limit) sums.push({ tiles: t, estimate });
    }
    return 'go on';
  }, (tile) => hasUniformBlock(mask, tile, random));
  const promising = (list: Outer[]): Outer[] => list.sort((a, b) => a.estimate - b.estimate).slice(0, 2);
  const worthIt = (found: Composition[]): Composition[] => found.filter((x) => x.bits - nnz * value <= (1 - SAVING) * (limit - nnz * value));
  return [...promising(nests).flatMap((o) => nestAt(mask, o, value, worthIt)), ...worthIt(promising(sums).flatMap((o) => sumAt(mask, o, nnz, value)))];
}

/** Positions of non-zeros that come in units of `unit`, among `cells`. */
const unitPositions = (nnz: number, cells: number, unit: number): number => log2Choose(Math.ceil(cells / unit), Math.ceil(nnz / unit));

/** Whether any of some random blocks is empty or full; with 2 % of all blocks so, it is missed once in 10^9 times. */
function hasUniformBlock(mask: Mask, [by, bx]: Extent, random: () => number): boolean {
  const rows = Math.ceil(mask.rows / by), cols = Math.ceil(mask.cols / bx);
  for (let k = 0; k < PROBES; k++) {
    const at = blockPlace(mask, { block: [by, bx] }, random() % rows, random() % cols);
    if (isUniform(mask, at)) return true;
  }
  return false;
}

function isUniform(mask: Mask, { start, rows, cols }: ReturnType<typeof blockPlace>): boolean {
  const first = mask.bits[start];
  for (let y = 0; y < rows; y++) for (let x = 0; x < cols; x++) if (mask.bits[start + y * mask.cols + x] !== first) return false;
  return true;
}

const isFull = (t: TileCounts, mask: Mask, i: number, j: number): boolean => t.counts[i * t.cols + j] === blocksInside([mask.rows, mask.cols], t.tile, i, j);

/** Blocks with a one, and blocks without a zero. */
function occupancy(t: TileCounts, mask: Mask): { readonly any: number; readonly full: number } {
  const area = t.tile[0] * t.tile[1], isCutOff = t.rows * t.tile[0] > mask.rows || t.cols * t.tile[1] > mask.cols;
  let any = 0, full = 0;
  for (let b = 0; b < t.counts.length; b++) {
    if (t.counts[b]) any++;
    if (t.counts[b] === area) full++;
  }
  if (isCutOff) for (let i = 0; i < t.rows; i++) for (let j = 0; j < t.cols; j++) if ((i === t.rows - 1 || j === t.cols - 1) && t.counts[i * t.cols + j] !== area && isFull(t, mask, i, j)) full++;
  return { any, full };
}

/** The chosen blocks one below the other; padded with zeros where they hang over the edge. */
function stacked(mask: Mask, block: Extent, grid: Mask): Mask {
  const places = Array.from(grid.bits.keys()).filter((b) => grid.bits[b]), out = newMask(places.length * block[0], block[1]);
  places.forEach((b, k) => {
    const at = blockPlace(mask, { block }, Math.floor(b / grid.cols), b % grid.cols);
    for (let y = 0; y < at.rows; y++) out.bits.set(mask.bits.subarray(at.start + y * mask.cols, at.start + y * mask.cols + at.cols), (k * block[0] + y) * block[1]);
  });
  return out;
}

/** The grid of blocks kept as a pattern of its own: which of them, in elements of the matrix. */
function outerLeaf(grid: Mask, block: Extent): { readonly pattern: Leaf; readonly bits: number } | undefined {
  const best = detectLeaves(grid, { value: 0, elements: true }).find((c) => c.pattern.kind === 'leaf' && c.utilisation === 1);
  return best?.pattern.kind === 'leaf' ? { pattern: { ...best.pattern, block }, bits: best.bits } : undefined;
}

/** Inside rows or columns that survive (dimensions that can shrink), anything goes; inside other blocks, equal counts. */
function nestAt(mask: Mask, { tiles }: Outer, value: number, worthIt: (found: Composition[]) => Composition[]): Composition[] {
  const block = tiles.tile, grid = maskWhere(tiles, (ones) => ones > 0), outer = outerLeaf(grid, block), stack = stacked(mask, block, grid);
  if (!outer) return [];
  const nest = (inner: LeafCandidate): Composition => ({ pattern: { kind: 'nest', outer: outer.pattern, inner: inner.pattern }, bits: outer.bits + inner.bits + RULE_BITS, utilisation: inner.utilisation });
  const equal = detectLeaves(stack, { value, within: block, equalCounts: true }).slice(0, 1).map(nest);
  const shrinks = tiles.rows === 1 || tiles.cols === 1;
  return [...equal, ...(shrinks ? worthIt(detectLeaves(stack, { value, within: block }).slice(0, 1).map(nest)) : [])];
}

function sumAt(mask: Mask, { tiles }: Outer, nnz: number, value: number): Composition[] {
  const block = tiles.tile, grid = maskWhere(tiles, (_, b) => isFull(tiles, mask, Math.floor(b / tiles.cols), b % tiles.cols));
  const coarse = outerLeaf(grid, block);
  const others = maskWhere(tiles, (_, b) => !grid.bits[b]);
  const restMask = stacked(mask, block, others), rest = countOnes(restMask.bits);
  const best = detectLeaves(restMask, { value, within: block })[0];
  if (!coarse || !best || best.pattern.kind !== 'leaf') return [];
  const isWhole = !best.pattern.exact && best.pattern.part[0] * best.pattern.block[0] === block[0] && best.pattern.part[1] * best.pattern.block[1] === block[1];
  const inner = best.pattern.block, cells: Extent = [Math.ceil(mask.rows / inner[0]), Math.ceil(mask.cols / inner[1])];
  const fine = isWhole ? leaf(inner, cells, Math.round(rest / best.utilisation / (inner[0] * inner[1]))) : best.pattern;
  const covered = (nnz - rest) * value;
  return [{ pattern: { kind: 'sum', coarse: coarse.pattern, fine }, bits: covered + coarse.bits + best.bits + RULE_BITS, utilisation: nnz / (nnz - rest + rest / best.utilisation) }];
}
