/*
 * spc_wgmma.h - the product of spc_gemm.h on the tensor cores of warpgroups (sm_90a), which work on their own while threads copy: weights go from memory
 * straight into registers, in the very same packed tiles; columns lie in a ring in shared memory, where the tensor cores read them as a descriptor says.
 *
 * While block b of the weights is multiplied, the registers for b + 1 are loaded, and columns are on their way for b + 1 to b + STAGES - 2. Behind the one barrier of
 * block b all products up to b - 2 have ended, so that the part of the ring that b - 2 had is free; those of b - 1 may still be under way.
 */
#ifndef SPC_WGMMA_H
#define SPC_WGMMA_H

#include "spc_gemm.h"

/* Columns at `part`, rows of 128 bytes along the depth as spc_column_part copies them: groups of 8 are 1024 bytes apart, chunks are swapped in 128 bytes. PTX ISA 8.5, 9.7.15.5.1. */
SPC_DEVICE uint64_t spc_wgmma_columns(const unsigned char *part) {
  return (uint64_t)((spc_shared_address(part) & 0x3FFFF) >> 4) | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

/* A lane's part of a tile times 128 bytes of columns: as many bytes of a row as a fragment stands for, one after the other. */
template <class Element, int N> SPC_DEVICE void spc_wgmma_block(Element element, float (&sums)[N][4], const spc_dense::part &p, uint64_t columns) {
  SPC_UNROLL
  for (int i = 0; i < 4; i++) spc_wgmma(element, sums, p.fragment[i], columns + i * (32 >> 4));
}
template <class Element, int N> SPC_DEVICE void spc_wgmma_block(Element element, float (&sums)[N][4], const spc_sparse::part &p, uint64_t columns) {
  spc_wgmma_sparse<0>(element, sums, p.fragment[0], columns, p.places);
  spc_wgmma_sparse<1>(element, sums, p.fragment[1], columns + (64 >> 4), p.places);
}

/**
 * @tparam WARPS_M, WARPS_N warps along rows of w, of which four consecutive ones are a warpgroup, and along columns
 * @tparam STAGES parts of the ring, at least 3: one is filled, two are read
 */
template <class Element, class Weights, int BM, int BN, int WARPS_M, int WARPS_N, int STAGES> struct spc_wgmma_gemm {
  static constexpr int stage_bytes = BN * 128;
  typedef spc_tiling<Element, BM, BN, WARPS_M, WARPS_N, STAGES * stage_bytes> Tiling;
  static constexpr int MI = Tiling::MI, NI = Tiling::NI;
  static_assert(WARPS_M % 4 == 0, "warps of a group have the same columns");
  static_assert(STAGES >= 3, "one part is filled while two are read");
  typedef typename Weights::form::part Part;

  /* Rows of w that this warp multiplies: MI tiles of 16, of which a product takes one of each warp. */
  SPC_DEVICE void load(Part (&parts)[MI], const Weights &weights, int warp_m, int lane, int block) {
    SPC_UNROLL
    for (int i = 0; i < MI; i++) parts[i] = weights.stream(((int)blockIdx.y * WARPS_M + warp_m) * MI + i, block, lane);
  }

  /* Starts the products of a block. */
  SPC_DEVICE void multiply(float (&sums)[MI][NI][4], const Part (&parts)[MI], const unsigned char *columns) {
    const uint64_t descriptor = spc_wgmma_columns(columns);
    spc_wgmma_fence();
    SPC_UNROLL
    for (int i = 0; i < MI; i++) spc_wgmma_block(Element(), sums[i], parts[i], descriptor);
    spc_wgmma_commit();
  }

  /** As spc_gemm::run. */
  template <class Source, class Store> SPC_DEVICE void run(const Weights &weights, const Source &source, Store store) {
    SPC_SHARED(memory);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, warp_m = warp % WARPS_M, warp_n = warp / WARPS_M;
    const int from = weights.begin(), to = weights.end();
    typename Source::template part<BN, Tiling::threads> columns(source);
    columns.find(weights, from);
    float sums[MI][NI][4] = {};
    Part parts[2][MI];
    const auto fill = [&](int block) {
      if (block < to) {
        columns.fill(memory + (block - from) % STAGES * stage_bytes);
        columns.find(weights, block + 1);
      }
      spc_copy_commit();
    };
    /* Registers that a product reads stay as they are until it has ended: those of odd blocks are not those of even ones. */
    const auto step = [&](int block, Part (&now)[MI], Part (&next)[MI]) {
      spc_copy_wait<STAGES - 3>();
      spc_fence_async();
      __syncthreads();
      fill(block + STAGES - 2);
      multiply(sums, now, memory + (block - from) % STAGES * stage_bytes + warp_n * NI * 1024);
      spc_wgmma_wait<1>();
      if (block + 1 < to) load(next, weights, warp_m, lane, block + 1);
    };
    if (from < to) load(parts[0], weights, warp_m, lane, from);
    for (int s = 0; s < STAGES - 2; s++) fill(from + s);
    int block = from;
    for (; block + 1 < to; block += 2) {
      step(block, parts[0], parts[1]);
      step(block + 1, parts[1], parts[0]);
    }
    if (block < to) step(block, parts[0], parts[1]);
    spc_wgmma_wait<0>();
    spc_copy_wait<0>();
    Tiling::drain_sums((float *)memory, sums, warp_m, warp_n, lane, store);
  }
};

#endif
