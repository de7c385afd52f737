/**
 * Is a mask a Kronecker product? M = A (x) B with inner blocks of p x q iff for any two non-zeros u, v the offset of u is also non-zero in v's block. That
 * is cheap to refute, so all divisor pairs are tried: a few look-ups each, and one pass over the non-zeros for what survives.
 */
import { xoshiro128 } from '../io/random.js';
import { countOnes, kronecker, onesOf, type Mask } from './matrix.js';
import { edgesOf, isComplete, mergeComplete } from './pattern.js';
import { maskWhere } from './pyramid.js';

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
const PROBES = 256, MISSES = 26;

interface Split { readonly outer: Mask; readonly inner: Mask }

const divisors = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);

/** The finest product that describes the mask; a single factor where there is none. */
export function factorise(mask: Mask): Factorisation {
  const factors = mergeComplete(chain(mask));
  let missing = 0, strays = 0;
  if (factors.length === 1) return { factors, missing, strays };
  const product = factors.reduce(kronecker);
  for (let i = 0; i < mask.bits.length; i++) {
    if (mask.bits[i]! > product.bits[i]!) strays++;
    if (mask.bits[i]! < product.bits[i]!) missing++;
  }
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
  const at = onesOf(mask), random = xoshiro128(at.length);
  if (at.length === 0) return undefined;
  const sizes = divisors(mask.rows).flatMap((p) => divisors(mask.cols).map((q) => [p, q] as const)).filter(([p, q]) => p * q > 1 && p * q < mask.bits.length)
    .sort((a, b) => a[0] * a[1] - b[0] * b[1] || a[0] - b[0]);
  for (const [p, q] of [...sizes].reverse()) {
    // in a product with a complete inner block, all of a non-zero's block is non-zero
    const split = probe(mask, at, p, q, random, () => random() % (p * q)) && splitAt(mask, at.length, p, q);
    if (split && isComplete(split.inner)) return split;
  }
  for (const [p, q] of sizes) {
    const offset = (u: number): number => (Math.floor(u / mask.cols) % p) * q + ((u % mask.cols) % q);
    const split = probe(mask, at, p, q, random, () => offset(at[random() % at.length]!)) && splitAt(mask, at.length, p, q);
    if (split) return split;
  }
  return undefined;
}

/** Whether random non-zeros' blocks have non-zeros at random offsets of the given kind, nearly always. */
function probe(mask: Mask, at: Int32Array, p: number, q: number, random: () => number, offset: () => number): boolean {
  const { cols, bits } = mask;
  let misses = 0;
  for (let k = 0; k < PROBES; k++) {
    const v = at[random() % at.length]!, i = Math.floor(v / cols), j = v % cols, o = offset();
    if (!bits[(i - (i % p) + Math.floor(o / q)) * cols + j - (j % q) + (o % q)] && ++misses > MISSES) return false;
  }
  return true;
}

function splitAt(mask: Mask, nnz: number, p: number, q: number): Split | undefined {
  const { bits, rows, cols } = mask, across = cols / q, blocks = new Int32Array((rows / p) * across), offsets = new Int32Array(p * q);
  for (let i = 0, u = 0; i < rows; i++) {
    const offset = (i % p) * q, end = (Math.floor(i / p) + 1) * across;
    for (let block = end - across; block < end; block++) {
      for (let x = 0; x < q; x++) {
        if (!bits[u++]) continue;
        blocks[block] = blocks[block]! + 1;
        offsets[offset + x] = offsets[offset + x]! + 1;
      }
    }
  }
  // strays make blocks of very few and offsets of very rare non-zeros: neither belongs to the product
  const occupied = blocks.filter((n) => n > 0).sort(), usual = occupied[occupied.length >> 1]!;
  const outer = maskWhere({ tile: [p, q], rows: rows / p, cols: across, counts: blocks }, (n) => n > 0 && 4 * n >= usual), kept = edgesOf(outer);
  const inner = maskWhere({ tile: [1, 1], rows: p, cols: q, counts: offsets }, (n) => 2 * n >= kept);
  const product = kept * edgesOf(inner);
  if (product > (1 + MISSING) * nnz || product < (1 - STRAYS) * nnz) return undefined;
  let covered = 0;
  for (let i = 0, u = 0; i < rows; i++) {
    const offset = (i % p) * q, end = (Math.floor(i / p) + 1) * across;
    for (let block = end - across; block < end; block++, u += q) {
      if (outer.bits[block]) for (let x = 0; x < q; x++) covered += bits[u + x]! & inner.bits[offset + x]!;
    }
  }
  return product - covered > MISSING * nnz || nnz - covered > STRAYS * nnz ? undefined : { outer, inner };
}
