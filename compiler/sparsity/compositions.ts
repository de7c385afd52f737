/** Nests (blocks that survive, and a pattern inside them) and sums (full blocks, and a finer pattern elsewhere), found by their outer blocks. */
import { RULE_BITS, detectLeaves, type LeafCandidate } from './detect-leaf.js';
import { blockPlace } from './blocks.js';
import { countOnes, newMask, type Mask } from './matrix.js';
import { blocksInside, leaf, type Extent, type Leaf, type Pattern } from './pattern.js';
import { forTiles, sizesUpTo, type TileCounts } from './pyramid.js';
import { log2Choose } from './sizes.js';

interface Composition {
  readonly pattern: Pattern;
  readonly bits: number;
  readonly utilisation: number;
}

/** Outer blocks that are looked for. */
const SIZES = [4, 5, 8, 10, 16, 20, 32, 64] as const;
const MIN_AREA = 8;

/** Blocks of one size by what is in them. */
interface Outer {
  readonly block: Extent;
  readonly grid: Mask;
  /** Of the blocks chosen. */
  readonly blocks: number;
  readonly estimate: number;
}

/**
 * @param base the best leaf: what the rest of a sum would be stored as, and what an estimate must beat
 * @param limit bits of the best candidate so far
 */
export function bestComposition(mask: Mask, base: LeafCandidate, limit: number, value: number): Composition[] {
  const nnz = countOnes(mask.bits), nests: Outer[] = [], sums: Outer[] = [];
  const unit = base.utilisation === 1 && base.pattern.kind === 'leaf' ? base.pattern.block[0] * base.pattern.block[1] : 1;
  const kernel = mask.kernel ?? 1;
  forTiles(mask, sizesUpTo(SIZES, mask.rows), sizesUpTo([...SIZES, kernel], mask.cols), (t) => {
    const area = t.tile[0] * t.tile[1];
    if (area < MIN_AREA || (t.rows === 1 && t.cols === 1)) return 'go on';
    const any = chosen(t, (n) => n > 0), full = chosen(t, (n, i, j) => n === blocksInside([mask.rows, mask.cols], t.tile, i, j));
    const anyBlocks = countOnes(any.bits), fullBlocks = countOnes(full.bits);
    if (anyBlocks < t.counts.length) {
      const estimate = nnz * value + log2Choose(t.counts.length, anyBlocks) + unitPositions(nnz, anyBlocks * area, unit);
      nests.push({ block: t.tile, grid: any, blocks: anyBlocks, estimate });
    }
    const rest = nnz - fullBlocks * area;
    if (fullBlocks >= 2 && rest > 0 && fullBlocks * area >= nnz / 20) {
      const estimate = nnz * value + log2Choose(t.counts.length, fullBlocks) + unitPositions(rest, mask.bits.length - fullBlocks * area, unit);
      sums.push({ block: t.tile, grid: full, blocks: fullBlocks, estimate });
    }
    return 'go on';
  });
  const promising = (list: Outer[]): Outer[] => list.filter((o) => o.estimate < limit).sort((a, b) => a.estimate - b.estimate).slice(0, 2);
  return [...promising(nests).flatMap((o) => nestAt(mask, o, value)), ...promising(sums).flatMap((o) => sumAt(mask, o, nnz, value))];
}

/** Positions of non-zeros that come in units of `unit`, among `cells`. */
const unitPositions = (nnz: number, cells: number, unit: number): number => log2Choose(Math.ceil(cells / unit), Math.ceil(nnz / unit));

function chosen(t: TileCounts, keep: (count: number, i: number, j: number) => boolean): Mask {
  const grid = newMask(t.rows, t.cols);
  for (let b = 0; b < grid.bits.length; b++) grid.bits[b] = keep(t.counts[b]!, Math.floor(b / t.cols), b % t.cols) ? 1 : 0;
  return grid;
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

function nestAt(mask: Mask, { block, grid }: Outer, value: number): Composition[] {
  const outer = outerLeaf(grid, block), inner = detectLeaves(stacked(mask, block, grid), { value, within: block })[0];
  if (!outer || !inner) return [];
  return [{ pattern: { kind: 'nest', outer: outer.pattern, inner: inner.pattern }, bits: outer.bits + inner.bits + RULE_BITS, utilisation: inner.utilisation }];
}

function sumAt(mask: Mask, { block, grid }: Outer, nnz: number, value: number): Composition[] {
  const coarse = outerLeaf(grid, block);
  const others: Mask = { ...grid, bits: grid.bits.map((b) => 1 - b) };
  const restMask = stacked(mask, block, others), rest = countOnes(restMask.bits);
  const best = detectLeaves(restMask, { value, within: block })[0];
  if (!coarse || !best || best.pattern.kind !== 'leaf') return [];
  const isWhole = !best.pattern.exact && best.pattern.part[0] * best.pattern.block[0] === block[0] && best.pattern.part[1] * best.pattern.block[1] === block[1];
  const inner = best.pattern.block, cells: Extent = [Math.ceil(mask.rows / inner[0]), Math.ceil(mask.cols / inner[1])];
  const fine = isWhole ? leaf(inner, cells, Math.round(rest / best.utilisation / (inner[0] * inner[1]))) : best.pattern;
  const covered = (nnz - rest) * value;
  return [{ pattern: { kind: 'sum', coarse: coarse.pattern, fine }, bits: covered + coarse.bits + best.bits + RULE_BITS, utilisation: nnz / (nnz - rest + rest / best.utilisation) }];
}
