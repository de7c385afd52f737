/**
 * The algebra of sparsity patterns. A pattern is a set of masks over a matrix; six constructors make all that spc knows, so the
 * projector, the detector and the size formulas need six cases and not one for every name in the literature.
 */
import { countOnes, kronecker, type Mask, type MatrixShape } from './matrix.js';

/** [along rows' direction (vertical, Y), along columns' (horizontal, X)] */
export type Extent = readonly [y: number, x: number];

/**
 * A grid of blocks of `block` elements, tiled by partitions of `part` blocks. A mask is in the pattern iff it is constant on each block and each
 * partition keeps exactly (`exact`) or at most `keep` blocks. Where sizes do not divide, the matrix is padded with zero rows and columns:
 * blocks that lie outside are never needed, so a partition that reaches over the edge keeps min(keep, its blocks inside).
 */
export interface Leaf {
  readonly kind: 'leaf';
  readonly block: Extent;
  readonly part: Extent;
  readonly keep: number;
  readonly exact: boolean;
}

/** Two rules at once: every horizontal group of the one (part [1, p]) and every vertical group of the other (part [q, 1]), over the same blocks. */
export interface Both {
  readonly kind: 'both';
  readonly horizontal: Leaf;
  readonly vertical: Leaf;
}

/** One fixed mask, the Kronecker product of the factors (outermost first): a product of bipartite graphs. */
export interface Graph {
  readonly kind: 'graph';
  readonly factors: readonly Mask[];
}

/** `inner` holds inside each block that `outer` keeps; the rest is zero. */
export interface Nest {
  readonly kind: 'nest';
  readonly outer: Leaf;
  readonly inner: Pattern;
}

/** Union of a coarse part and a fine part: large blocks, and small ones where large do not pay. */
export interface Sum {
  readonly kind: 'sum';
  readonly coarse: Pattern;
  readonly fine: Pattern;
}

/** `base` holds after reordering: row i of the reordered matrix is row `rows[i]` of the original. */
export interface Perm {
  readonly kind: 'perm';
  readonly rows?: readonly number[];
  readonly cols?: readonly number[];
  readonly base: Pattern;
}

export type Pattern = Leaf | Both | Graph | Nest | Sum | Perm;

export const leaf = (block: Extent, part: Extent, keep: number, exact = true): Leaf => ({ kind: 'leaf', block, part, keep, exact });

/** Blocks and partitions of a leaf on a matrix, the padded ones included. */
export function gridOf(shape: MatrixShape, p: Pick<Leaf, 'block' | 'part'>): { readonly grid: Extent; readonly parts: Extent } {
  const grid: Extent = [Math.ceil(shape.rows / p.block[0]), Math.ceil(shape.cols / p.block[1])];
  return { grid, parts: [Math.ceil(grid[0] / p.part[0]), Math.ceil(grid[1] / p.part[1])] };
}

/** Number of blocks of partition (i, j) that lie in the matrix. */
export const blocksInside = (grid: Extent, part: Extent, i: number, j: number): number =>
  Math.min(part[0], grid[0] - i * part[0]) * Math.min(part[1], grid[1] - j * part[1]);

/** A leaf without partitions: the best `keep` blocks of the whole matrix. */
export const wholeLeaf = (shape: MatrixShape, block: Extent, keep: number): Leaf => leaf(block, gridOf(shape, { block, part: [1, 1] }).grid, keep);

const size = (e: Extent): string => `${e[0]}x${e[1]}`;

/**
 * Text of a pattern, complete for leaves and what is made of them (`parsePattern` reads it back); graphs and permutations are summarised.
 */
export function formatPattern(p: Pattern): string {
  switch (p.kind) {
    case 'leaf': return `leaf:${size(p.block)}:${size(p.part)}:${p.keep}${p.exact ? '' : ':max'}`;
    case 'both': return `both(${formatPattern(p.horizontal)},${formatPattern(p.vertical)})`;
    case 'graph': return `graph(${p.factors.map(formatFactor).join(' x ')})`;
    case 'nest': return `nest(${formatPattern(p.outer)},${formatPattern(p.inner)})`;
    case 'sum': return `sum(${formatPattern(p.coarse)},${formatPattern(p.fine)})`;
    case 'perm': return `perm(${formatPattern(p.base)})`;
  }
}

export const edgesOf = (factor: Mask): number => countOnes(factor.bits);
export const isComplete = (factor: Mask): boolean => !factor.bits.includes(0);

/** The same product with neighbouring complete factors joined and those of one element left out. */
export function mergeComplete(factors: readonly Mask[]): readonly Mask[] {
  const merged = factors.filter((f) => f.bits.length > 1 || factors.length === 1).reduce<Mask[]>((out, f) => {
    const last = out.at(-1);
    if (last && isComplete(last) && isComplete(f)) out[out.length - 1] = kronecker(last, f);
    else out.push(f);
    return out;
  }, []);
  return merged.length > 0 ? merged : factors.slice(0, 1);
}

const formatFactor = (f: Mask): string => (isComplete(f) ? `K(${f.rows},${f.cols})` : `S(${f.rows},${f.cols}):${(edgesOf(f) / f.bits.length).toPrecision(3)}`);

/** Name that people use for a pattern: `2:4`, `4x1 blocks`, `complementary 1:8`... */
export function namePattern(p: Pattern, shape: MatrixShape): string {
  switch (p.kind) {
    case 'leaf': return nameLeaf(p, shape);
    case 'both': return `${nameLeaf(p.horizontal, shape)} and ${nameLeaf(p.vertical, shape)}`;
    case 'graph': return nameGraph(p);
    case 'nest': return `${namePattern(p.inner, { rows: p.outer.block[0], cols: p.outer.block[1] })} inside ${nameLeaf(p.outer, shape)}`;
    case 'sum': return `${namePattern(p.coarse, shape)} + ${namePattern(p.fine, shape)}`;
    case 'perm': return `${namePattern(p.base, shape)}, permuted`;
  }
}

function nameGraph({ factors }: Graph): string {
  const sparse = factors.filter((f) => !isComplete(f));
  if (sparse.length === 2 && sparse.some((f) => f.rows === 1) && sparse.some((f) => f.cols === 1)) return 'rows and columns removed';
  return `graph product ${factors.map(formatFactor).join(' x ')}`;
}

function nameLeaf(p: Leaf, shape: MatrixShape): string {
  const { grid } = gridOf(shape, p), kernel = shape.kernel ?? 1;
  const [by, bx] = p.block, [qy, qx] = p.part;
  const whole = qy >= grid[0] && qx >= grid[1], element = by === 1 && bx === 1;
  if (p.keep === 0) return 'empty';
  if (whole && p.keep >= grid[0] * grid[1]) return 'dense';
  if (whole && element) return 'unstructured';
  if (whole && by === 1 && bx >= shape.cols) return 'filters removed';
  if (whole && by >= shape.rows && bx === 1) return 'columns removed';
  if (whole && by >= shape.rows && bx === kernel) return 'channels removed';
  if (whole && by === 1 && bx === kernel && kernel > 1) return 'kernels removed';
  const block = element ? '' : `${by}x${bx} blocks`;
  if (whole) return block;
  const inBlocks = block === '' ? '' : `, ${block}`;
  if (qy === 1 && qx >= grid[1]) return `row-balanced${inBlocks}`;
  if (qx === 1 && qy >= grid[0]) return `column-balanced${inBlocks}`;
  if (qx === 1 && p.keep === 1 && element) return `complementary 1:${qy}`;
  if (qy === 1) return `${p.keep}:${qx}${inBlocks}`;
  if (qx === 1) return `${p.keep}:${qy} along Y${inBlocks}`;
  return `${p.keep} of ${qy}x${qx}${inBlocks}`;
}
