/**
 * Permute programs: products of a sparse matrix with one vector, in which lanes are rows of the matrix.
 *
 * Sixteen rows are summed at a time. Vectors of sixteen neighbouring elements of x, called blocks, lie in registers; a step names one to four of
 * them, and every lane takes one element of those, which is a permutation of two registers that an instruction does at once:
 *
 *     for each group of 16 rows:
 *       for each step: acc[l] += w[l] * block[source[l]][column[l]]
 *
 * Which blocks a step reads is the same for all groups of a function: it is in the code, which stays in the first cache. What differs is data: for
 * each lane and step a weight (f32; or bf16, two steps in a word), five bits (which of two sources, and its column), and where there are more than two sources one that tells pairs of
 * them apart.
 */

/** Lanes of a group, and elements of a block. */
export const PERMUTE_LANES = 16;
/** Blocks that a step may read. */
export const MOST_SOURCES = 4;
/** Bits that say which element of two blocks a lane takes. */
export const INDEX_BITS = 5;
/** Steps whose indices share a vector of words. */
export const INDICES_PER_WORD = 6;
/** Steps whose masks share a vector of words: 16 bits each, the lanes that read the second pair of sources. */
export const MASKS_PER_VECTOR = 32;

/** What every form of a permute function is called with, as C sees it: `void f(const float *x, const uint32_t *words, float *sums, long groups)`, at least one group. */
export interface PermuteFunction {
  readonly kind: 'permute';
  /** Unique in its kernel; the emitted symbol is made of it. */
  readonly name: string;
  /** Comment lines. */
  readonly doc: readonly string[];
  /** Elements of x; those of the last block beyond them count as zero and are not read. */
  readonly columns: number;
  /** Registers that hold blocks: block b is in register b mod `registers` from its load to that of another one. */
  readonly registers: number;
  readonly steps: readonly PermuteStep[];
  readonly weights: PermuteWeights;
  /** Lanes whose weight is zero are left out, whatever x is there: what 0 times infinity would spoil. */
  readonly masked: boolean;
}

export type PermuteWeights = 'f32' | 'bf16';

export interface PermuteStep {
  /** Blocks to load before. */
  readonly loads: readonly number[];
  /** Blocks in registers, at most four. */
  readonly sources: readonly number[];
}

/** Where the words of a step are among those of a group: its first weight and which half of the word that is (0: the lower one, or all of it), its first index and how far to the left that is, and its mask in halves of words. */
export interface WordPlaces {
  readonly weights: number;
  readonly half: 0 | 1;
  readonly indices: number;
  readonly shift: number;
  readonly mask: number;
}

/** The words of one group: masks where a step has more than two sources, then for every six steps a vector of indices and one of weights for each, or in bf16 for each two. */
export function groupWords(steps: readonly PermuteStep[], weights: PermuteWeights): { readonly length: number; readonly places: readonly WordPlaces[] } {
  const perVector = weights === 'bf16' ? 2 : 1, masks = steps.some((s) => s.sources.length > 2) ? Math.ceil(steps.length / MASKS_PER_VECTOR) : 0;
  return {
    length: PERMUTE_LANES * (masks + Math.ceil(steps.length / perVector) + Math.ceil(steps.length / INDICES_PER_WORD)),
    places: steps.map((_, t): WordPlaces => {
      const six = Math.floor(t / INDICES_PER_WORD), own = t % INDICES_PER_WORD, indices = (masks + six * (INDICES_PER_WORD / perVector + 1)) * PERMUTE_LANES;
      return { indices, weights: indices + (1 + Math.floor(own / perVector)) * PERMUTE_LANES, half: own % perVector ? 1 : 0, shift: own * INDEX_BITS, mask: t };
    }),
  };
}

/** Runs a permute function: what the emitted forms must agree with (sums of two halves, products rounded with the sum). */
export function interpretPermute(f: PermuteFunction, x: Float32Array, words: Uint32Array, sums: Float32Array, groups: number): void {
  const lanes = PERMUTE_LANES, { length, places } = groupWords(f.steps, f.weights), bits = new Uint32Array(1), float = new Float32Array(bits.buffer);
  const weightAt = (word: number, half: 0 | 1): number => {
    bits[0] = f.weights === 'f32' ? words[word]! : half === 0 ? words[word]! << 16 : words[word]! & 0xffff0000;
    return float[0]!;
  };
  const held = new Int32Array(f.registers).fill(-1);
  for (let g = 0; g < groups; g++) {
    const acc = new Float32Array(2 * lanes);
    f.steps.forEach(({ loads, sources }, t) => {
      for (const b of loads) held[b % f.registers] = b;
      const { weights, half, indices, shift, mask } = places[t]!, pairs = sources.length > 2 ? words[g * length + (mask >> 1)]! >>> 16 * (mask & 1) : 0;
      for (let l = 0; l < lanes; l++) {
        const w = weightAt(g * length + weights + l, half), index = words[g * length + indices + l]! >>> shift & 31;
        // a third source is in the place of both of the second pair
        const pair = pairs >> l & 1, second = index >> 4;
        const source = sources.length === 1 ? 0 : pair === 0 ? second : sources.length === 3 ? 2 : 2 + second;
        const block = sources[source]!, column = block * lanes + (index & 15);
        if (held[block % f.registers] !== block) throw new Error(`SPC9008: step ${t} of ${f.name} reads block ${block}, which is in no register`);
        if (f.masked && w === 0) continue;
        const a = t % 2 * lanes + l;
        acc[a] = acc[a]! + w * (column < f.columns ? x[column]! : 0);
      }
    });
    for (let l = 0; l < lanes; l++) sums[g * lanes + l] = acc[l]! + acc[lanes + l]!;
  }
}
