/*
 * spc_bitmap.h - weights with zeros anywhere, for spc_decode: a bit for every element and the non-zeros alone, made dense in registers and
 * multiplied as such ("load as sparse, compute as dense": Xia et al., Flash-LLM, VLDB 2023; with bitmaps: Fan et al., SpInfer, EuroSys 2025).
 *
 * A packed tile is the dense one (spc_dense: fragment, lane, the 16 bytes of a lane) without its zeros, in that order, after its bits. So a
 * warp reads whole tiles as a run of memory, 16 bytes a lane, before it knows what is where. Lanes find their values by how many come before:
 * a lane has at most 8 in a fragment and all lanes before the last at most 248, so that the counts of four fragments pass through one prefix
 * sum in the bytes of one word. In this order lanes find the values of a fragment close together in shared memory: loads of two bytes meet in
 * a bank twice where half of the elements are there, hardly ever below a fifth. Ordered by registers they never would, at four prefix sums.
 */
#ifndef SPC_BITMAP_H
#define SPC_BITMAP_H

#include "spc_gemm.h"

template <class Element> struct spc_bitmap : spc_dense {
  static constexpr int scratch_bytes = spc_dense::tile_bytes;
  static constexpr int element_bytes = (int)sizeof(typename Element::stored), per_register = 4 / element_bytes;
  /* 16-byte chunks of bits: a word a lane, or half of one. */
  static constexpr int bit_chunks = 16 / element_bytes;
  struct part : spc_dense::part {
    uint32_t bits; /* of 16 bits for two lanes, where elements are of four bytes */
    int chunks;    /* of values; until they are expanded, fragment[i] is chunk 32 i + lane of them */
  };

  SPC_DEVICE part stream(const unsigned char *tile, int chunks, int lane) {
    part p = {};
    if (chunks == 0) return p;
    p.bits = spc_stream_load4(tile + lane / (2 / per_register) * 4);
    p.chunks = chunks - bit_chunks;
    SPC_UNROLL
    for (int i = 0; i < 4; i++)
      if (32 * i + lane < p.chunks) p.fragment[i] = spc_stream_load16(tile + (bit_chunks + 32 * i + lane) * 16);
    return p;
  }

  /* The lane's bits, those of fragment f in byte f. */
  SPC_DEVICE uint32_t spread(uint32_t word, int lane) {
    if (per_register == 2) return word;
    const uint32_t bits = word >> 16 * (lane % 2) & 0xffffu, bytes = (bits | bits << 8) & 0x00ff00ffu;
    return (bytes | bytes << 4) & 0x0f0f0f0fu;
  }
  /* How many bits are set, in every byte (Warren, Hacker's Delight, 5-1). */
  SPC_DEVICE uint32_t count_bytes(uint32_t bits) {
    const uint32_t pairs = bits - (bits >> 1 & 0x55555555u), nibbles = (pairs & 0x33333333u) + (pairs >> 2 & 0x33333333u);
    return (nibbles + (nibbles >> 4)) & 0x0f0f0f0fu;
  }

  SPC_DEVICE void expand(part &p, unsigned char *scratch, int lane) {
    const uint32_t bits = spread(p.bits, lane), count = count_bytes(bits);
    uint32_t before = count;
    SPC_UNROLL
    for (int distance = 1; distance < 32; distance *= 2) {
      const uint32_t theirs = spc_shuffle_up(before, distance);
      if (lane >= distance) before += theirs;
    }
    before -= count; /* the last lane's 256 may have carried into the next byte: this takes it back */
    const uint32_t last_before = spc_shuffle(before, 31), last_count = spc_shuffle(count, 31);
    spc_warp_barrier(); /* values of the tile before have been read */
    SPC_UNROLL
    for (int i = 0; i < 4; i++)
      if (32 * i + lane < p.chunks) *(uint4 *)(scratch + (32 * i + lane) * 16) = p.fragment[i];
    spc_warp_barrier();
    uint32_t first = 0; /* value of the fragment */
    SPC_UNROLL
    for (int f = 0; f < 4; f++) {
      uint32_t at = first + (before >> 8 * f & 255u), words[4] = {};
      SPC_UNROLL
      for (int e = 0; e < 4 * per_register; e++) {
        const uint32_t here = bits >> (8 * f + e) & 1u;
        if (here) words[e / per_register] |= value(scratch, at) << 16 * (e % per_register);
        at += here;
      }
      p.fragment[f] = uint4{words[0], words[1], words[2], words[3]};
      first += (last_before >> 8 * f & 255u) + (last_count >> 8 * f & 255u);
    }
  }
  SPC_DEVICE uint32_t value(const unsigned char *values, uint32_t at) {
    return per_register == 2 ? ((const uint16_t *)values)[at] : ((const uint32_t *)values)[at];
  }
};

/* Tiles of different sizes: a table says where each begins, in units of 16 bytes, those of 16 rows one after the other. A tile without weights has no bytes. */
template <class Element> struct spc_tiles<spc_bitmap<Element>> {
  typedef spc_bitmap<Element> form;
  const unsigned char *packed;
  int rows, blocks;
  SPC_MEMBER int begin() const { return blocks * (int)blockIdx.z / (int)gridDim.z; }
  SPC_MEMBER int end() const { return blocks * ((int)blockIdx.z + 1) / (int)gridDim.z; }
  SPC_MEMBER typename form::part stream(int row, int block, int lane) const {
    const uint32_t *table = (const uint32_t *)packed + (size_t)row * blocks + block;
    return form::stream(packed + (size_t)table[0] * 16, (int)(table[1] - table[0]), lane);
  }
};

#endif
