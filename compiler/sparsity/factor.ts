/**
 * Is a mask a Kronecker product? M = A (x) B with inner blocks of p x q iff for any two non-zeros u, v the offset of u is also non-zero in v's block. That
 * is cheap to refute, so all divisor pairs are tried: a few look-ups each, and one pass over the non-zeros for what survives.
 */
import { xoshiro128 } from '../io/random.js';
import { countOnes, kronecker, newMask, type Mask } from './matrix.js';
import { edgesOf, isComplete, mergeComplete } from './pattern.js';

export interface Factorisation {
  /** Outermost first; neighbouring complete factors are merged. */
  readonly factors: readonly Mask[];
  /** Elements of the product that are zero in the mask, and non-zeros outside of the product. */
  readonly missing: number;
  readonly strays: number;
}

/** Accidental zeros and stray non-zeros that a product may have, relative to the non-zeros. */
const MISSING = 0.05, STRAYS = 0.02;
/** Pairs of non-zeros that are looked at before a pass over all; some misses are accidental zeros and strays. */
const PROBES = 64, MISSES = 10;

interface Split { readonly outer: Mask; readonly inner: Mask }

const divisors = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);

/** The finest product that describes the mask; a single factor where there is none. */
export function factorise(mask: Mask): Factorisation {
  const factors = mergeComplete(chain(mask)), product = factors.reduce(kronecker);
  let missing = 0, strays = 0;
  mask.bits.forEach((b, i) => {
    if (b && !product.bits[i]) strays++;
    if (!b && product.bits[i]) missing++;
  });
  const nnz = countOnes(mask.bits);
  // errors add up over the levels of the chain
  if (missing > MISSING * nnz || strays > STRAYS * nnz) return { factors: [mask], missing: 0, strays: 0 };
  return { factors, missing, strays };
}

function chain(mask: Mask): Mask[] {
  if (isComplete(mask)) return [mask];
  const split = bestSplit(mask);
  return split ? [...chain(split.outer), split.inner] : [mask];
}

/** The largest complete inner block, else the smallest that separates. */
function bestSplit(mask: Mask): Split | undefined {
  const places: number[] = [];
  mask.bits.forEach((b, i) => { if (b) places.push(i); });
  if (places.length === 0) return undefined;
  const at = Int32Array.from(places), random = xoshiro128(places.length);
  const sizes = divisors(mask.rows).flatMap((p) => divisors(mask.cols).map((q) => [p, q] as const)).filter(([p, q]) => p * q > 1 && p * q < mask.bits.length)
    .sort((a, b) => a[0] * a[1] - b[0] * b[1] || a[0] - b[0]);
  let smallest: Split | undefined, complete: Split | undefined;
  for (const [p, q] of sizes) {
    if (!mayBeProduct(mask, at, p, q, random)) continue;
    const split = splitAt(mask, at, p, q);
    if (!split) continue;
    if (isComplete(split.inner)) complete = split;
    else smallest ??= split;
  }
  return complete ?? smallest;
}

function mayBeProduct(mask: Mask, at: Int32Array, p: number, q: number, random: () => number): boolean {
  const { cols, bits } = mask;
  let misses = 0;
  for (let k = 0; k < PROBES; k++) {
    const u = at[random() % at.length]!, v = at[random() % at.length]!;
    const ui = Math.floor(u / cols), uj = u % cols, vi = Math.floor(v / cols), vj = v % cols;
    if (!bits[(vi - (vi % p) + (ui % p)) * cols + vj - (vj % q) + (uj % q)] && ++misses > MISSES) return false;
  }
  return true;
}

function splitAt(mask: Mask, at: Int32Array, p: number, q: number): Split | undefined {
  const rows = mask.rows / p, cols = mask.cols / q, blocks = new Int32Array(rows * cols), offsets = new Int32Array(p * q);
  for (const u of at) {
    const i = Math.floor(u / mask.cols), j = u % mask.cols;
    blocks[Math.floor(i / p) * cols + Math.floor(j / q)]!++;
    offsets[(i % p) * q + (j % q)]!++;
  }
  // strays make blocks of very few and offsets of very rare non-zeros: neither belongs to the product
  const occupied = blocks.filter((n) => n > 0).sort(), usual = occupied[occupied.length >> 1]!;
  const outer: Mask = { ...newMask(rows, cols), bits: Uint8Array.from(blocks, (n) => (n > 0 && 4 * n >= usual ? 1 : 0)) }, kept = edgesOf(outer);
  const inner: Mask = { ...newMask(p, q), bits: Uint8Array.from(offsets, (n) => (2 * n >= kept ? 1 : 0)) };
  const product = kept * edgesOf(inner);
  let covered = 0;
  for (const u of at) {
    const i = Math.floor(u / mask.cols), j = u % mask.cols;
    covered += outer.bits[Math.floor(i / p) * cols + Math.floor(j / q)]! & inner.bits[(i % p) * q + (j % q)]!;
  }
  // a factor of one element on either side says nothing
  const isTrivial = isComplete(outer) && outer.bits.length === 1;
  return isTrivial || product - covered > MISSING * at.length || at.length - covered > STRAYS * at.length ? undefined : { outer, inner };
}
