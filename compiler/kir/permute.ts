/**
 * Permute programs: products of a sparse matrix with one vector, in which lanes are rows of the matrix.
 *
 * Sixteen rows are summed at a time. Vectors of sixteen neighbouring elements of x, called blocks, lie in registers; a step names one to four of
 * them, and every lane takes one element of those, which is a permutation of two registers that an instruction does at once:
 *
 *     for each group of 16 rows:
 *       for each step: acc[l] += w[l] * block[source[l]][column[l]]
 *
 * Which blocks a step reads is the same for all groups of a function: it is in the code, which stays in the first cache. What differs is data: a
 * weight and six bits (source and column) for each lane and step, four bytes together where those bits take the place of the lowest of the weight.
 */

/** Lanes of a group, and elements of a block. */
export const PERMUTE_LANES = 16;
/** Blocks that a step may read. */
export const MOST_SOURCES = 4;
/** Bits that say which element of a step's blocks a lane takes: source * 16 + column. */
export const INDEX_BITS = 6;
/** Steps whose indices share a vector of words, where they are not in the weights. */
export const INDICES_PER_WORD = 5;

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
  /** Indices in words of their own, so that weights are what they were; otherwise in the lowest bits of the weights. */
  readonly exact: boolean;
  /** Lanes whose weight is zero are left out, whatever x is there: what 0 times infinity would spoil. */
  readonly masked: boolean;
}

export interface PermuteStep {
  /** Blocks to load before. */
  readonly loads: readonly number[];
  /** Blocks in registers, at most four. */
  readonly sources: readonly number[];
}

/** Words of one group: a vector a step, and one before every five steps where indices are apart. */
export const groupWords = (steps: number, exact: boolean): number => PERMUTE_LANES * (steps + (exact ? Math.ceil(steps / INDICES_PER_WORD) : 0));

/** Where the weights of step t of a group are among its words, and where and how far to the left its indices. */
export function wordPlaces(t: number, exact: boolean): { readonly weights: number; readonly indices: number; readonly shift: number } {
  if (!exact) return { weights: t * PERMUTE_LANES, indices: t * PERMUTE_LANES, shift: 0 };
  const block = Math.floor(t / INDICES_PER_WORD), own = t % INDICES_PER_WORD, first = block * (INDICES_PER_WORD + 1) * PERMUTE_LANES;
  return { weights: first + (1 + own) * PERMUTE_LANES, indices: first, shift: own * INDEX_BITS };
}

/** Runs a permute function: what the emitted forms must agree with (sums of two halves, products rounded with the sum). */
export function interpretPermute(f: PermuteFunction, x: Float32Array, words: Uint32Array, sums: Float32Array, groups: number): void {
  const lanes = PERMUTE_LANES, floats = new Float32Array(words.buffer, words.byteOffset, words.length), length = groupWords(f.steps.length, f.exact);
  const held = new Int32Array(f.registers).fill(-1);
  for (let g = 0; g < groups; g++) {
    const acc = new Float32Array(2 * lanes);
    f.steps.forEach(({ loads, sources }, t) => {
      for (const b of loads) held[b % f.registers] = b;
      const { weights, indices, shift } = wordPlaces(t, f.exact);
      for (let l = 0; l < lanes; l++) {
        const w = floats[g * length + weights + l]!, index = words[g * length + indices + l]! >>> shift & 63;
        // two sources are told apart by one bit, four by two; a third one is in the place of both of the second pair
        const pair = sources.length > 2 ? index >> 5 : 0, second = index >> 4 & 1;
        const source = sources.length === 1 ? 0 : pair === 0 ? second : sources.length === 3 ? 2 : 2 + second;
        const block = sources[source]!, column = block * lanes + (index & 15);
        if (held[block % f.registers] !== block) throw new Error(`SPC9008: step ${t} of ${f.name} reads block ${block}, which is in no register`);
        if (f.masked && (f.exact ? w === 0 : words[g * length + weights + l] === 0)) continue;
        const a = t % 2 * lanes + l;
        acc[a] = acc[a]! + w * (column < f.columns ? x[column]! : 0);
      }
    });
    for (let l = 0; l < lanes; l++) sums[g * lanes + l] = acc[l]! + acc[lanes + l]!;
  }
}
