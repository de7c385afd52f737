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
 * each lane and step a weight, five bits (which of two sources, and its column), and where there are more than two sources one that tells pairs of
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
  /** Lanes whose weight is zero are left out, whatever x is there: what 0 times infinity would spoil. */
  readonly masked: boolean;
}

export interface PermuteStep {
  /** Blocks to load before. */
  readonly loads: readonly number[];
  /** Blocks in registers, at most four. */
  readonly sources: readonly number[];
}

/** Where the words of a step are among those of a group: its first weight, its first index and how far to the left that is, and its mask in halves of words. */
export interface WordPlaces {
  readonly weights: number;
  readonly indices: number;
  readonly shift: number;
  readonly mask: number;
}

/** The words of one group: masks where a step has more than two sources, then for every six steps a vector of indices and one of weights for each. */
export function groupWords(steps: readonly PermuteStep[]): { readonly length: number; readonly places: readonly WordPlaces[] } {
  const masks = steps.some((s) => s.sources.length > 2) ? Math.ceil(steps.length / MASKS_PER_VECTOR) : 0;
  return {
    length: PERMUTE_LANES * (masks + steps.length + Math.ceil(steps.length / INDICES_PER_WORD)),
    places: steps.map((_, t): WordPlaces => {
      const six = Math.floor(t / INDICES_PER_WORD), own = t % INDICES_PER_WORD, indices = (masks + six * (INDICES_PER_WORD + 1)) * PERMUTE_LANES;
      return { indices, weights: indices + (1 + own) * PERMUTE_LANES, shift: own * INDEX_BITS, mask: t };
    }),
  };
}

/** Runs a permute function: what the emitted forms must agree with (sums of two halves, products rounded with the sum). */
export function interpretPermute(f: PermuteFunction, x: Float32Array, words: Uint32Array, sums: Float32Array, groups: number): void {
  const lanes = PERMUTE_LANES, floats = new Float32Array(words.buffer, words.byteOffset, words.length), { length, places } = groupWords(f.steps);
  const held = new Int32Array(f.registers).fill(-1);
  for (let g = 0; g < groups; g++) {
    const acc = new Float32Array(2 * lanes);
    f.steps.forEach(({ loads, sources }, t) => {
      for (const b of loads) held[b % f.registers] = b;
      const { weights, indices, shift, mask } = places[t]!, pairs = sources.length > 2 ? words[g * length + (mask >> 1)]! >>> 16 * (mask & 1) : 0;
      for (let l = 0; l < lanes; l++) {
        const w = floats[g * length + weights + l]!, index = words[g * length + indices + l]! >>> shift & 31;
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
