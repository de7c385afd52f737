/*
 * spc_decode.h - products of a constant matrix with at most 16 columns: reading the weights takes the time. Each block of threads has 16 rows
 * of w; its warps share the blocks of a row, and stream the tiles of weights (spc_gemm.h) from memory straight into registers, AHEAD at a time.
 * Columns lie in shared memory, as many blocks of them as there is room for.
 */
#ifndef SPC_DECODE_H
#define SPC_DECODE_H

#include "spc_gemm.h"

/** @tparam COLUMNS 8 or 16 */
template <class Element, class Weights, int COLUMNS, int WARPS> struct spc_decode {
  typedef typename Weights::form Form;
  static constexpr int threads = 32 * WARPS, NI = COLUMNS / 8, AHEAD = 4;
  /* Blocks of 128 bytes of a column in shared memory at a time. */
  static constexpr int room = 32, block_bytes = COLUMNS * 128;
  static constexpr int sheet_bytes = WARPS * 16 * COLUMNS * 4;
  static constexpr int work_bytes = room * block_bytes > sheet_bytes ? room * block_bytes : sheet_bytes;
  static constexpr int shared_bytes = work_bytes + WARPS * Form::scratch_bytes;

  /* The columns' elements of `count` blocks from `first` on. */
  template <class Source> SPC_DEVICE void fill(unsigned char *memory, const Source &source, int first, int count) {
    for (int c = (int)threadIdx.x; c < count * COLUMNS * 8; c += threads) {
      const int chunk = c % 8, row = c / 8 % COLUMNS, block = c / (8 * COLUMNS);
      source.copy(memory + block * block_bytes + row * 128 + (chunk ^ (row & 7)) * 16, source.at(row), (first + block) * spc_per_block<Element> + chunk * spc_per16<Element>);
    }
    spc_copy_commit();
    spc_copy_wait<0>();
  }

  template <int HALF> SPC_DEVICE void multiply(float (&sums)[NI][4], const typename Form::part &part, const unsigned char *block, int lane) {
    uint32_t b[NI][4];
    SPC_UNROLL
    for (int j = 0; j < NI; j++) spc_load_matrices(b[j], block + (j * 8 + (lane & 7)) * 128 + ((HALF * 4 + (lane >> 3)) ^ (lane & 7)) * 16);
    Form::template multiply<Element, HALF>(sums, part, b, Element());
  }

  /**
   * Rows 16 blockIdx.x on of w times all columns.
   * @param weights w, as spc_tiles
   * @param source of columns, as in spc_gemm
   * @param store called for groups of four neighbouring rows of w: store(float (&v)[4], m, n)
   */
  template <class Source, class Store> SPC_DEVICE void run(const Weights &weights, const Source &source, Store store) {
    SPC_SHARED(memory);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    unsigned char *scratch = memory + work_bytes + warp * Form::scratch_bytes;
    float sums[NI][4] = {};
    for (int first = weights.begin(), end = weights.end(); first < end; first += room) {
      const int count = end - first < room ? end - first : room;
      fill(memory, source, first, count);
      __syncthreads();
      for (int b0 = warp; b0 < count; b0 += WARPS * AHEAD) {
        typename Form::part part[AHEAD];
        SPC_UNROLL
        for (int i = 0; i < AHEAD; i++)
          if (b0 + i * WARPS < count) part[i] = weights.stream((int)blockIdx.x, first + b0 + i * WARPS, lane);
        SPC_UNROLL
        for (int i = 0; i < AHEAD; i++) {
          if (b0 + i * WARPS >= count) break;
          const unsigned char *block = memory + (b0 + i * WARPS) * block_bytes;
          Form::expand(part[i], scratch, lane);
          multiply<0>(sums, part[i], block, lane);
          multiply<1>(sums, part[i], block, lane);
        }
      }
      __syncthreads();
    }
    add_up((float *)memory, sums, warp, lane, store);
  }

  /* The sums of all warps, in their order. */
  template <class Store> SPC_DEVICE void add_up(float *sheet, const float (&sums)[NI][4], int warp, int lane, Store store) {
    SPC_UNROLL
    for (int j = 0; j < NI; j++)
      SPC_UNROLL
      for (int c = 0; c < 4; c++) sheet[(warp * COLUMNS + j * 8 + 2 * (lane % 4) + c % 2) * 16 + lane / 4 + 8 * (c / 2)] = sums[j][c];
    __syncthreads();
    for (int q = (int)threadIdx.x; q < COLUMNS * 4; q += threads) {
      const int column = q / 4, row = q % 4 * 4;
      float quad[4] = {};
      for (int w = 0; w < WARPS; w++)
        SPC_UNROLL
        for (int i = 0; i < 4; i++) quad[i] += sheet[(w * COLUMNS + column) * 16 + row + i];
      store(quad, (int)blockIdx.x * 16 + row, column);
    }
  }
};

#endif
