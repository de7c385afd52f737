/** Patterns that appear after reordering rows: rows of like support brought together, and disjoint ones into packs. Heuristic. */
import { packRows } from './complementary.js';
import { detectLeaves, type LeafCandidate } from './detect-leaf.js';
import { permuted, type Mask } from './matrix.js';
import type { Pattern } from './pattern.js';
import { log2Factorial } from './sizes.js';

/** Pack sizes that are tried. */
const PACKS = [2, 4, 5, 8, 10, 16, 20, 32] as const;

/** Minima of hash functions over a support: rows with similar supports mostly agree in them (Broder, 1997). */
const HASHES = 8;

export function permutedCandidates(mask: Mask, value: number): { readonly pattern: Pattern; readonly bits: number; readonly utilisation: number }[] {
  const orders = [bySupport(mask), ...PACKS.flatMap((size) => byPacks(mask, size))];
  return orders.flatMap((rows) => {
    const best: LeafCandidate | undefined = detectLeaves({ ...mask, bits: permuted(mask, mask.bits, rows) }, { value, sizes: [mask.kernel ?? 1] })[0];
    return best ? [{ ...best, pattern: { kind: 'perm' as const, rows, base: best.pattern }, bits: best.bits + log2Factorial(rows.length) }] : [];
  });
}

function bySupport(mask: Mask): number[] {
  const keys = Array.from({ length: mask.rows }, (_, r) => {
    const minima = new Array<number>(HASHES).fill(2 ** 32);
    for (let j = 0; j < mask.cols; j++) {
      if (!mask.bits[r * mask.cols + j]) continue;
      for (let h = 0; h < HASHES; h++) {
        const x = Math.imul(j + 1, 0x9e3779b1 + 2 * h) ^ Math.imul(h + 1, 0x85ebca6b);
        const hash = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) >>> 0;
        if (hash < minima[h]!) minima[h] = hash;
      }
    }
    return minima;
  });
  const compare = (a: readonly number[], b: readonly number[]): number => {
    for (let h = 0; h < HASHES; h++) if (a[h] !== b[h]) return a[h]! - b[h]!;
    return 0;
  };
  return [...keys.keys()].sort((a, b) => compare(keys[a]!, keys[b]!) || a - b);
}

/** An order in which each `size` consecutive rows are disjoint, if greedy colouring finds one that wastes no place. */
function byPacks(mask: Mask, size: number): number[][] {
  if (mask.rows % size !== 0) return [];
  const packs = packRows(mask, size);
  return packs.length === mask.rows / size ? [packs.flat()] : [];
}
