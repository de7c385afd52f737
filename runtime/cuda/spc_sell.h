/*
 * spc_sell.h - products of many columns with few weights, without tensor cores: all that a very sparse matrix has, or what 2:4 tiles could not take.
 *
 * Sliced ELLPACK (Monakov et al., HiPEAC 2010; Kreutzer et al., SIAM J. Sci. Comput. 36(5), 2014): a slice is 128 rows of w, four neighbouring
 * ones a lane. Its first rows of all lanes are as many steps as the longest of them has weights, then come the second ones, and so on. A step is a weight for
 * each lane and where its factors are. Every row is summed by one lane in a fixed order: no atomics, no shuffles.
 *
 * A block of threads has all of a few columns in shared memory, feature by feature: 16 bytes are one feature of as many columns as fit, so that one load is a
 * lane's factors for all of them. Lanes want different features: the compiler orders the weights of a row so that eight lanes (whose 16 bytes pass together) meet in
 * few banks, and fills up with features that are zero.
 */
#ifndef SPC_SELL_H
#define SPC_SELL_H

#include "spc_gemm.h"

/* Steps of all slices: a table (four entries a slice, and the last end), then the steps, 32 weights and 32 places of 16 bits each. */
template <class Element> struct spc_slices {
  typedef typename Element::stored stored;
  static constexpr int rows = 128, step_bytes = 32 * ((int)sizeof(stored) + 2);
  const unsigned char *packed;
  int slices, blocks; /* blocks of 128 bytes of a column */
  SPC_MEMBER const uint32_t *table() const { return (const uint32_t *)packed; }
  SPC_MEMBER const unsigned char *step(uint32_t i) const { return packed + (4 * slices + 1 + 31) / 32 * 128 + (size_t)i * step_bytes; }
};

template <class Element, int WARPS> struct spc_sell {
  typedef typename Element::stored stored;
  static constexpr int threads = 32 * WARPS, columns = spc_per16<Element>;
  /* Features that are zero, one for every place of 16 bytes in the banks. */
  static constexpr int zeros = 8;

  /* Where feature k lies: neighbouring chunks of 8 features begin at different banks, so that writing them down meets none. As backends/cuda/slices.ts has it. */
  SPC_DEVICE int place(int k) { return k ^ (k >> 3 & 7); }

  /* All features of the columns from n0 on. A thread copies 16 bytes of a column to a place of its own, waits, and lays its elements down. */
  template <class Source> SPC_DEVICE void fill(unsigned char *memory, const Source &source, int blocks, int n0) {
    const int features = blocks * spc_per_block<Element>;
    unsigned char *landing = memory + (features + zeros + (int)threadIdx.x) * 16;
    for (int c = (int)threadIdx.x; c < blocks * columns * 8; c += threads) {
      const int chunk = c % 8, column = c / 8 % columns, k = c / (8 * columns) * spc_per_block<Element> + chunk * spc_per16<Element>;
      source.copy(landing, source.at(n0 + column), k);
      spc_copy_commit();
      spc_copy_wait<0>();
      SPC_UNROLL
      for (int i = 0; i < spc_per16<Element>; i++) ((stored *)memory)[place(k + i) * columns + column] = ((const stored *)landing)[i];
    }
    if ((int)threadIdx.x < zeros) *(uint4 *)(memory + (features + (int)threadIdx.x) * 16) = uint4{0, 0, 0, 0};
  }

  /* sums += the weights of one row from step `from` to step `to`, times their factors. */
  SPC_DEVICE void add(float (&sums)[columns], const spc_slices<Element> &weights, uint32_t from, uint32_t to, const unsigned char *memory, int lane) {
    for (uint32_t i = from; i < to; i++) {
      const unsigned char *step = weights.step(i);
      const float w = Element::to(((const stored *)step)[lane]);
      const uint4 x = spc_shared_load16(memory + ((const uint16_t *)(step + 32 * sizeof(stored)))[lane] * 16);
      const uint32_t words[4] = {x.x, x.y, x.z, x.w};
      SPC_UNROLL
      for (int c = 0; c < columns; c++) sums[c] += w * element(words, c);
    }
  }
  SPC_DEVICE float element(const uint32_t (&words)[4], int c) {
    if constexpr (sizeof(stored) == 2) return Element::to((stored)(words[c / 2] >> 16 * (c % 2)));
    else return spc_bits_to_f32(words[c]);
  }

  /**
   * The columns of blockIdx.x times the slices that warps of all blockIdx.y take in turns.
   * @param store called for groups of four neighbouring rows of w: store(float (&v)[4], m, n)
   */
  template <class Source, class Store> SPC_DEVICE void run(const spc_slices<Element> &weights, const Source &source, Store store) {
    SPC_SHARED(memory);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, n0 = (int)blockIdx.x * columns;
    fill(memory, source, weights.blocks, n0);
    __syncthreads();
    for (int slice = (int)blockIdx.y * WARPS + warp; slice < weights.slices; slice += WARPS * (int)gridDim.y) {
      float sums[4][columns] = {};
      SPC_UNROLL
      for (int r = 0; r < 4; r++) add(sums[r], weights, weights.table()[4 * slice + r], weights.table()[4 * slice + r + 1], memory, lane);
      SPC_UNROLL
      for (int c = 0; c < columns; c++) {
        float quad[4] = {sums[0][c], sums[1][c], sums[2][c], sums[3][c]};
        store(quad, slice * weights.rows + 4 * lane, n0 + c);
      }
    }
  }
};

#endif
