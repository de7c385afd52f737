/**
 * Which pattern does a mask have? The one that describes it in the fewest bits, values and padding included (minimum description length). All candidates are
 * measured alike, so a report can show the runners-up and by how much they lost.
 */
import { bestComposition } from './compositions.js';
import { factorise } from './factor.js';
import { RULE_BITS, compareCandidates, detectLeaves, type LeafCandidate } from './detect-leaf.js';
import { countOnes, type Mask } from './matrix.js';
import { edgesOf, isComplete, namePattern, wholeLeaf, type Pattern } from './pattern.js';
import { permutedCandidates } from './detect-permuted.js';
import { log2Choose } from './sizes.js';

export interface Candidate {
  readonly pattern: Pattern;
  /** As people call it: `2:4`, `4x1 blocks`, `graph product ...`. */
  readonly name: string;
  /** Ideal code length under this pattern: values, zeros stored as padding, and positions as log2 of the number of masks. */
  readonly bits: number;
  /** Share of stored values that are not padding. */
  readonly utilisation: number;
}

export interface DetectOptions {
  /** Bits of a value; 32 where not given. */
  readonly value?: number;
  /** Also look for orders of rows under which a pattern appears: a heuristic, and slower. */
  readonly permuted?: boolean;
}

/** A mask denser than this is only called dense or unstructured. */
const DENSE = 0.97;
/** How many candidates are reported. */
const REPORTED = 3;

/**
 * @returns the best candidates, best first; `dense` and `unstructured` are always among those compared
 */
export function detect(mask: Mask, { value = 32, permuted = false }: DetectOptions = {}): readonly Candidate[] {
  const nnz = countOnes(mask.bits), cells = mask.bits.length;
  const dense: Sized = { pattern: wholeLeaf(mask, [1, 1], cells), bits: cells * value, utilisation: cells === 0 ? 1 : nnz / cells };
  const unstructured: Sized = { pattern: wholeLeaf(mask, [1, 1], nnz), bits: nnz * value + log2Choose(cells, nnz), utilisation: 1 };
  const found: Sized[] = [dense, ...(nnz < cells ? [unstructured] : [])];
  if (nnz > 0 && nnz <= DENSE * cells) {
    const leaves = detectLeaves(mask, { value, sizes: [mask.kernel ?? 1] });
    found.push(...leaves, ...graphCandidates(mask, nnz, value));
    const best = Math.min(...found.map((c) => c.bits));
    found.push(...bestComposition(mask, leaves[0]!, best, value));
    if (permuted) found.push(...permutedCandidates(mask, value));
  }
  const distinct = new Map<string, Candidate>();
  for (const c of found.sort(compareSized)) {
    const name = namePattern(c.pattern, mask);
    if (!distinct.has(name)) distinct.set(name, { ...c, name });
  }
  return [...distinct.values()].slice(0, REPORTED);
}

type Sized = Omit<Candidate, 'name'>;

const isLeafLike = (c: Sized): c is LeafCandidate => c.pattern.kind === 'leaf' || c.pattern.kind === 'both';
/** Where bits are equal, the simpler kind of pattern. */
const compareSized = (a: Sized, b: Sized): number => a.bits - b.bits || (isLeafLike(a) && isLeafLike(b) ? compareCandidates(a, b) : (isLeafLike(a) ? 0 : 1) - (isLeafLike(b) ? 0 : 1));

/** Products that are more than blocks (one sparse graph times a complete one), which are leaves. */
function graphCandidates(mask: Mask, nnz: number, value: number): Sized[] {
  const { factors, strays } = factorise(mask), sparse = factors.filter((f) => !isComplete(f));
  if (factors.length === 1 || (sparse.length === 1 && !isComplete(factors[0]!))) return [];
  const stored = factors.reduce((p, f) => p * edgesOf(f), 1);
  const bits = stored * value + sparse.reduce((sum, f) => sum + log2Choose(f.bits.length, edgesOf(f)) + RULE_BITS, 0);
  const graph: Sized = { pattern: { kind: 'graph', factors }, bits, utilisation: (nnz - strays) / stored };
  if (strays === 0) return [graph];
  const rest = wholeLeaf(mask, [1, 1], strays);
  return [{ pattern: { kind: 'sum', coarse: graph.pattern, fine: rest }, bits: bits + strays * value + log2Choose(mask.bits.length - stored, strays) + RULE_BITS, utilisation: nnz / (stored + strays) }];
}
