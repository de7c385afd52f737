/*
 * spc_gather.h - products with parts of a constant matrix: w in panels of rows that have a list of columns each (spc_panels). Lists of whole chunks of 16 bytes
 * gather from any source of spc_gemm.h; lists of single columns need x with its features one below the other (spc_transpose, spc_features), so that a column
 * of w is a row of x in memory, and gathering it a matter of addresses.
 */
#ifndef SPC_GATHER_H
#define SPC_GATHER_H

#include "spc_gemm.h"

/*
 * Panels of w, TILES tiles of 16 rows each; blockIdx.y is the panel. Blocks of all panels lie one after the other, starts[p] being the first of panel p.
 * For every block there are LIST entries in `columns`, each the first of as many neighbouring columns of w as come to one, or the number of columns of w where
 * there are none; after the last block another LIST of them, which are looked at only.
 */
template <class Form, int TILES, int LIST> struct spc_panels {
  typedef Form form;
  const unsigned char *tiles;
  const uint32_t *starts;
  const int32_t *columns;
  /* `part` of the gridDim.z parts of the panel's blocks. */
  SPC_MEMBER int from(int part) const {
    const int first = (int)starts[blockIdx.y], blocks = (int)starts[blockIdx.y + 1] - first;
    return first + blocks * part / (int)gridDim.z;
  }
  SPC_MEMBER int begin() const { return from((int)blockIdx.z); }
  SPC_MEMBER int end() const { return from((int)blockIdx.z + 1); }
  SPC_MEMBER const unsigned char *tile(int row, int block) const { return tiles + ((size_t)block * TILES + row % TILES) * Form::tile_bytes; }
  SPC_MEMBER typename Form::part stream(int row, int block, int lane) const { return Form::stream(tile(row, block), lane); }
  template <class Element> SPC_MEMBER void copy(unsigned char *shared, int row, int block, int chunk) const { spc_copy16(shared + 16 * chunk, tile(row, block) + 16 * chunk, true); }
  template <class Element> SPC_MEMBER int column(int block, int k) const { return columns[block * LIST + k / (spc_per_block<Element> / LIST)]; }
};

/*
 * A part of the ring with features one below the other, as many as 128 bytes of a column of x have, of BN columns each. Groups of eight columns are swapped by the
 * feature's number, so that the features which a load takes together lie in different banks.
 */
template <class Element, class Source, int BN, int THREADS> struct spc_feature_part {
  static constexpr int size = (int)sizeof(typename Element::stored), row_bytes = BN * size, count = BN * 8 / THREADS, row_chunks = row_bytes / 16;
  /* Groups of eight columns in a feature, and in the 128 bytes of all banks; rows after which groups begin at the first bank again. */
  static constexpr int groups = BN / 8, lines = 16 / size, period = groups < lines ? lines / groups : 1, swaps = groups < lines ? groups : lines;
  static_assert(BN * 8 % THREADS == 0, "threads copy equally many chunks");
  static_assert((swaps & (swaps - 1)) == 0, "groups are swapped by exclusive or");
  const Source &source;
  int k[count];
  SPC_MEMBER spc_feature_part(const Source &s) : source(s) {}
  SPC_DEVICE int place(int row, int group) { return row * row_bytes + (group ^ row / period % swaps) * 8 * size; }
  template <class Weights> SPC_MEMBER void find(const Weights &weights, int block) {
    SPC_UNROLL
    for (int i = 0; i < count; i++) k[i] = weights.template column<Element>(block, ((int)threadIdx.x + i * THREADS) / row_chunks);
  }
  SPC_MEMBER void fill(unsigned char *part) const {
    SPC_UNROLL
    for (int i = 0; i < count; i++) {
      const int c = (int)threadIdx.x + i * THREADS, n = c % row_chunks * spc_per16<Element>;
      source.copy(part + place(c / row_chunks, n / 8) + n % 8 * size, (int)blockIdx.x * BN + n, k[i]);
    }
  }
  template <int HALF> SPC_DEVICE void load(uint32_t (&b)[4], const unsigned char *part, int eight, int lane) {
    if (size == 2) spc_load_matrices_transposed(b, part + place(32 * HALF + lane, eight));
    else {
      SPC_UNROLL
      for (int r = 0; r < 4; r++) b[r] = spc_shared_load4(part + place(16 * HALF + 4 * r + lane % 4, eight) + lane / 4 * 4);
    }
  }
};

/* K features of x, PITCH columns each: x[K][PITCH]. PITCH is a multiple of the columns of a block of threads. */
template <class Element, int K, int PITCH> struct spc_features {
  template <int BN, int THREADS> using part = spc_feature_part<Element, spc_features, BN, THREADS>;
  const typename Element::stored *x;
  SPC_MEMBER void copy(void *shared, int n, int k) const { spc_copy16(shared, k < K ? x + (size_t)k * PITCH + n : x, k < K); }
};

/* Columns of any source as features[k][PITCH], for blocks of 128 bytes of k; zeros beyond the source. A block of threads takes 64 columns by such a block. */
template <class Element, int PITCH> struct spc_transpose {
  typedef typename Element::stored stored;
  static constexpr int columns = 64, threads = 256, shared_bytes = columns * 128, per16 = spc_per16<Element>;
  /* Chunks are swapped so that neither eight chunks of a column nor those of columns eight apart meet in a bank. */
  SPC_DEVICE int place(int n, int chunk) { return n * 128 + (chunk ^ (n & 7) ^ (n >> 3 & 7)) * 16; }
  template <class Source> SPC_DEVICE void run(const Source &source, stored *features) {
    SPC_SHARED(memory);
    const int n0 = (int)blockIdx.x * columns, k0 = (int)blockIdx.y * spc_per_block<Element>;
    for (int c = (int)threadIdx.x; c < columns * 8; c += threads) source.copy(memory + place(c / 8, c % 8), source.at(n0 + c / 8), k0 + c % 8 * per16);
    spc_copy_commit();
    spc_copy_wait<0>();
    __syncthreads();
    for (int c = (int)threadIdx.x; c < columns * 8; c += threads) {
      const int k = c / (columns / per16), n = c % (columns / per16) * per16;
      union {
        stored element[per16];
        uint4 all;
      } chunk;
      SPC_UNROLL
      for (int i = 0; i < per16; i++) chunk.element[i] = *(const stored *)(memory + place(n + i, k / per16) + k % per16 * (int)sizeof(stored));
      *(uint4 *)(features + (size_t)(k0 + k) * PITCH + n0 + n) = chunk.all;
    }
  }
};

#endif
