/*
 * spc_tiles.h - activations in tiles: [vector][channel][16 lanes] (compiler/ir/layout.ts says which pixel a lane has). What moves
 * lanes and pixels lives here; arithmetic on whole vectors is printed by spc.
 *
 * A grid of rows x columns pixels lies in size = ceil(rows * columns / 16) vectors, pixel p in lane p / size of vector p % size. A
 * vector number outside [0, size) is one of the halo, with the same rule: its lane l has pixel l * size + v, if there is one.
 * Strides are in elements; vectors are 64-byte aligned.
 */
#ifndef SPC_TILES_H
#define SPC_TILES_H

#include "spc_vector.h"

#define SPC_LANES 16

/* Lanes that are on: a mask register where there are some, else all ones or zeros in each lane. `&` and `|` work on both. */
#if defined(__AVX512F__)
typedef __mmask16 spc_mask;
SPC_INLINE spc_mask spc_mask_below(spc_i32x16 x, int32_t limit) { return _mm512_cmplt_epu32_mask((__m512i)x, _mm512_set1_epi32(limit)); }
SPC_INLINE spc_f32x16 spc_keep(spc_mask on, spc_f32x16 v) { return _mm512_maskz_mov_ps(on, v); }
SPC_INLINE spc_f32x16 spc_add_where(spc_mask on, spc_f32x16 a, spc_f32x16 b) { return _mm512_mask_add_ps(a, on, a, b); }
SPC_INLINE int spc_all(spc_mask on) { return on == 0xffff; }
#else
typedef spc_i32x16 spc_mask;
SPC_INLINE spc_mask spc_mask_below(spc_i32x16 x, int32_t limit) { return (x >= 0) & (x < limit); }
SPC_INLINE spc_f32x16 spc_keep(spc_mask on, spc_f32x16 v) { return (spc_f32x16)((spc_i32x16)v & on); }
SPC_INLINE spc_f32x16 spc_add_where(spc_mask on, spc_f32x16 a, spc_f32x16 b) { return a + spc_keep(on, b); }
SPC_INLINE int spc_all(spc_mask on) { return spc_hsum_i32x16(on) == -SPC_LANES; }
#endif
/* spc_mask_below: 0 <= x < limit. spc_keep: zero where off. spc_add_where: a + b, or a where off. */

SPC_INLINE spc_i32x16 spc_lane_numbers(void) { return (spc_i32x16){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

SPC_INLINE long spc_grid_vectors(long rows, long columns) { return (rows * columns + SPC_LANES - 1) / SPC_LANES; }

/* The pixels of a vector's lanes: coordinates in the image, and which of them are in it. */
typedef struct {
  spc_i32x16 y, x;
  spc_mask inside;
} spc_pixels;

/* Of vector v of grid (py, px) among phases^2. A grid has less than 2^24 pixels, so that a rounded quotient is off by one at most. */
SPC_INLINE spc_pixels spc_pixels_of(long v, long py, long px, long height, long width, long phases, long rows, long columns) {
  const int32_t n = (int32_t)columns, s = (int32_t)phases;
  const spc_i32x16 p = spc_lane_numbers() * (int32_t)spc_grid_vectors(rows, columns) + (int32_t)v;
  spc_i32x16 i = __builtin_convertvector(__builtin_convertvector(p, spc_f32x16) * (1.0f / (float)n), spc_i32x16);
  i += p - i * n < 0;
  i -= p - i * n >= n;
  const spc_i32x16 y = i * s + (int32_t)py, x = (p - i * n) * s + (int32_t)px;
  return (spc_pixels){y, x, spc_mask_below(p, (int32_t)(rows * columns)) & spc_mask_below(y, (int32_t)height) & spc_mask_below(x, (int32_t)width)};
}

/* Zeroes the lanes of `channels` vectors that are off. */
SPC_INLINE void spc_keep_lanes(float *y, spc_mask on, long channels) {
  if (spc_all(on)) return;
  for (long c = 0; c < channels; ++c) spc_store_f32x16(y + c * SPC_LANES, spc_keep(on, spc_load_f32x16(y + c * SPC_LANES)));
}

/* Zeroes what lies outside the image in vector v of a grid; y: that vector. */
SPC_INLINE void spc_tiles_clear(float *y, long channels, long v, long py, long px, long height, long width, long phases, long rows, long columns) {
  spc_keep_lanes(y, spc_pixels_of(v, py, px, height, width, phases, rows, columns).inside, channels);
}

/* Zeroes all lanes of `channels` vectors from lane `count` on (none below: all). */
SPC_INLINE void spc_tiles_clear_after(float *y, long channels, long count) {
  spc_keep_lanes(y, spc_mask_below(spc_lane_numbers(), count < 0 ? 0 : (int32_t)count), channels);
}

/*
 * Vector v of the halo, from the vectors of the grid. Those before it (v < 0) have the lanes of vector v + m * size moved up by m, those
 * after it (v >= size) the lanes of vector v - m * size moved down, with m such that this is in the grid. A move by lanes
 * is a load beside the vector, whose foreign lanes are dropped: since there is a halo on that side, they are in the tensor.
 */
SPC_INLINE void spc_tiles_halo(float *grid, long v, long size, long channels, long stride) {
  const long m = v < 0 ? (size - 1 - v) / size : -(v / size);
  float *y = grid + v * stride;
  if (m >= SPC_LANES || m <= -SPC_LANES) {
    for (long c = 0; c < channels; ++c) spc_store_f32x16(y + c * SPC_LANES, spc_splat_f32x16(0.0f));
    return;
  }
  const float *x = grid + (v + m * size) * stride - m;
  const spc_mask on = spc_mask_below(spc_lane_numbers() - (int32_t)m, SPC_LANES);
  for (long c = 0; c < channels; ++c) spc_store_f32x16(y + c * SPC_LANES, spc_keep(on, spc_load_f32x16(x + c * SPC_LANES)));
}

#endif
