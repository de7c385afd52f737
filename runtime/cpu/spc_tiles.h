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

/* Functions with many cases: once in the code, and compiled without knowing the tables that a call passes. */
#if defined(__clang__)
#define SPC_OUT_OF_LINE static __attribute__((noinline, unused))
#else
#define SPC_OUT_OF_LINE static __attribute__((noipa, unused))
#endif

/*
 * Lanes that are on: a mask register where there are some, else all ones or zeros in each lane; `&` and `|` work on both. No vectors
 * are compared: GCC does so element by element where the machine has shorter ones. Numbers of pixels are far below 2^31.
 */
#if defined(__AVX512F__)
typedef __mmask16 spc_mask;
SPC_INLINE spc_mask spc_mask_below(spc_i32x16 x, int32_t limit) { return _mm512_cmplt_epu32_mask((__m512i)x, _mm512_set1_epi32(limit)); }
SPC_INLINE spc_f32x16 spc_keep(spc_mask on, spc_f32x16 v) { return _mm512_maskz_mov_ps(on, v); }
SPC_INLINE spc_f32x16 spc_add_where(spc_mask on, spc_f32x16 a, spc_f32x16 b) { return _mm512_mask_add_ps(a, on, a, b); }
SPC_INLINE spc_f32x16 spc_max_where(spc_mask on, spc_f32x16 a, spc_f32x16 b) { return _mm512_mask_max_ps(a, on, b, a); }
SPC_INLINE spc_i32x16 spc_lanes_where(spc_mask on, spc_i32x16 a, int32_t b) { return (spc_i32x16)_mm512_mask_mov_epi32(_mm512_set1_epi32(b), on, (__m512i)a); }
SPC_INLINE int spc_all(spc_mask on) { return on == 0xffff; }
#else
typedef spc_i32x16 spc_mask;
SPC_INLINE spc_mask spc_mask_below(spc_i32x16 x, int32_t limit) { return ~(x >> 31) & ((x - limit) >> 31); }
SPC_INLINE spc_f32x16 spc_keep(spc_mask on, spc_f32x16 v) { return (spc_f32x16)((spc_i32x16)v & on); }
SPC_INLINE spc_f32x16 spc_add_where(spc_mask on, spc_f32x16 a, spc_f32x16 b) { return a + spc_keep(on, b); }
SPC_INLINE spc_f32x16 spc_max_where(spc_mask on, spc_f32x16 a, spc_f32x16 b) { return spc_max_f32x16(a, spc_select_f32x16(on, b, spc_splat_f32x16(-INFINITY))); }
SPC_INLINE spc_i32x16 spc_lanes_where(spc_mask on, spc_i32x16 a, int32_t b) { return spc_select_i32x16(on, a, spc_splat_i32x16(b)); }
SPC_INLINE int spc_all(spc_mask on) { return spc_hsum_i32x16(on) == -SPC_LANES; }
#endif
/* spc_mask_below: 0 <= x < limit. spc_keep: zero where off. spc_add_where, spc_max_where: a where off. spc_lanes_where: b where off. */

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
  i += (p - i * n) >> 31;
  i += 1 + ((p - i * n - n) >> 31);
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

/*
 * Rows (one a pixel, `channels` elements each) to tiles and back, a square of 16 x 16 elements at a time, transposed in registers. Lane l
 * has row rows[l]; none where that is negative. `step`: elements from one channel's lanes to the next one's.
 */
#if defined(__AVX512F__)
SPC_INLINE void spc_transpose_f32x16(__m512 r[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) for (int j = 0; j < 2; ++j) {
    r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + j]), _mm512_castps_pd(t[i + j + 2])));
    r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + j]), _mm512_castps_pd(t[i + j + 2])));
  }
  for (int i = 0; i < 4; ++i) for (int j = 0; j < 16; j += 8) {
    t[i + j] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0x88);
    t[i + j + 4] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0xdd);
  }
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
  }
}
SPC_INLINE void spc_square_from_rows(float *y, long step, const float *x, const int32_t rows[16], long channels, int n) {
  const __mmask16 all = (__mmask16)((1u << n) - 1);
  __m512 r[16];
  /* a mask for each lane would take longer than the branch */
  for (int l = 0; l < 16; ++l) r[l] = rows[l] < 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(all, x + rows[l] * channels);
  spc_transpose_f32x16(r);
  for (int c = 0; c < n; ++c, y += step) _mm512_storeu_ps(y, r[c]);
}
SPC_INLINE void spc_square_to_rows(float *y, const float *x, long step, const int32_t rows[16], long channels, int n) {
  const __mmask16 all = (__mmask16)((1u << n) - 1);
  __m512 r[16];
  for (int c = 0; c < 16; ++c, x += step) r[c] = c < n ? _mm512_loadu_ps(x) : _mm512_setzero_ps();
  spc_transpose_f32x16(r);
  for (int l = 0; l < 16; ++l) {
    if (rows[l] < 0) continue;
    if (n == 16) _mm512_storeu_ps(y + rows[l] * channels, r[l]);
    else _mm512_mask_storeu_ps(y + rows[l] * channels, all, r[l]);
  }
}
#else
/* Eight rows at a time, each to its end: rows a multiple of 4096 bytes apart share a set of the first cache, which has eight places. */
SPC_INLINE void spc_square_from_rows(float *y, long step, const float *x, const int32_t rows[16], long channels, int n) {
  for (int l = 0; l < 16; l += 8) for (int c = 0; c < n; c += 8) {
    spc_i32x8 r[8];
    for (int i = 0; i < 8; ++i) {
      const float *p = x + (rows[l + i] < 0 ? 0 : rows[l + i]) * channels + c;
      r[i] = (spc_i32x8)(rows[l + i] < 0 ? spc_splat_f32x8(0.0f) : c + 8 <= n ? spc_load_f32x8(p) : spc_loadn_f32x8(p, n - c));
    }
    spc_transpose_i32x8(r);
    for (int i = 0; i < 8 && c + i < n; ++i) spc_store_f32x8(y + (c + i) * step + l, (spc_f32x8)r[i]);
  }
}
SPC_INLINE void spc_square_to_rows(float *y, const float *x, long step, const int32_t rows[16], long channels, int n) {
  for (int l = 0; l < 16; l += 8) for (int c = 0; c < n; c += 8) {
    spc_i32x8 r[8];
    for (int i = 0; i < 8; ++i) r[i] = (spc_i32x8)(c + i < n ? spc_load_f32x8(x + (c + i) * step + l) : spc_splat_f32x8(0.0f));
    spc_transpose_i32x8(r);
    for (int i = 0; i < 8; ++i) {
      if (rows[l + i] < 0) continue;
      float *p = y + rows[l + i] * channels + c;
      if (c + 8 <= n) spc_store_f32x8(p, (spc_f32x8)r[i]);
      else spc_storen_f32x8(p, (spc_f32x8)r[i], n - c);
    }
  }
}
#endif

/* A row-major matrix transposed: y[c * y_step + r] = x[r * x_step + c]. */
SPC_INLINE void spc_tiles_transpose(float *y, long y_step, const float *x, long x_step, long rows, long columns) {
  for (long c = 0; c < columns; c += SPC_LANES) for (long r = 0; r < rows; r += SPC_LANES) {
    const int wide = columns - c < SPC_LANES ? (int)(columns - c) : SPC_LANES, high = rows - r < SPC_LANES ? (int)(rows - r) : SPC_LANES;
    int32_t lanes[SPC_LANES];
    float square[SPC_LANES * SPC_LANES];
    for (int l = 0; l < SPC_LANES; ++l) lanes[l] = l < high ? l : -1;
    spc_square_from_rows(square, SPC_LANES, x + r * x_step + c, lanes, x_step, wide);
    for (int i = 0; i < wide; ++i) {
      float *to = y + (c + i) * y_step + r;
      if (high == SPC_LANES) spc_store_f32x16(to, spc_load_f32x16(square + i * SPC_LANES));
      else memcpy(to, square + i * SPC_LANES, (size_t)high * sizeof *y);
    }
  }
}

SPC_INLINE void spc_vector_from_rows(float *y, const float *x, spc_i32x16 lanes, long stride, long channels) {
  int32_t rows[SPC_LANES];
  spc_store_i32x16(rows, lanes);
  long c = 0;
  for (; c + SPC_LANES <= channels; c += SPC_LANES) spc_square_from_rows(y + c * SPC_LANES, SPC_LANES, x + c, rows, stride, SPC_LANES);
  if (c < channels) spc_square_from_rows(y + c * SPC_LANES, SPC_LANES, x + c, rows, stride, (int)(channels - c));
}
SPC_INLINE void spc_vector_to_rows(float *y, const float *x, spc_i32x16 lanes, long stride, long channels) {
  int32_t rows[SPC_LANES];
  spc_store_i32x16(rows, lanes);
  long c = 0;
  for (; c + SPC_LANES <= channels; c += SPC_LANES) spc_square_to_rows(y + c, x + c * SPC_LANES, SPC_LANES, rows, stride, SPC_LANES);
  if (c < channels) spc_square_to_rows(y + c, x + c * SPC_LANES, SPC_LANES, rows, stride, (int)(channels - c));
}

/* Rows of an image's pixels in vector v of a grid, -1 where there is none. */
SPC_INLINE spc_i32x16 spc_rows_of_pixels(long v, long py, long px, long height, long width, long phases, long rows, long columns) {
  const spc_pixels p = spc_pixels_of(v, py, px, height, width, phases, rows, columns);
  return spc_lanes_where(p.inside, p.y * (int32_t)width + p.x, -1);
}
/* Vector v (in the halo, too) of grid (py, px) from the rows of its image, and the rows from a vector of the grid. */
SPC_INLINE void spc_tiles_from_rows(float *y, const float *x, long channels, long v, long py, long px, long height, long width, long phases, long rows, long columns) {
  spc_vector_from_rows(y, x, spc_rows_of_pixels(v, py, px, height, width, phases, rows, columns), channels, channels);
}
SPC_INLINE void spc_tiles_to_rows(float *y, const float *x, long channels, long v, long py, long px, long height, long width, long phases, long rows, long columns) {
  spc_vector_to_rows(y, x, spc_rows_of_pixels(v, py, px, height, width, phases, rows, columns), channels, channels);
}
/* The same where lanes are images: lane l has row l * pixels of x (y), for `count` lanes. */
SPC_INLINE spc_i32x16 spc_rows_of_images(long count, long pixels) {
  return spc_lanes_where(spc_mask_below(spc_lane_numbers(), count < 0 ? 0 : (int32_t)count), spc_lane_numbers() * (int32_t)pixels, -1);
}
SPC_INLINE void spc_tiles_from_images(float *y, const float *x, long channels, long count, long pixels) {
  spc_vector_from_rows(y, x, spc_rows_of_images(count, pixels), channels, channels);
}
SPC_INLINE void spc_tiles_to_images(float *y, const float *x, long channels, long count, long pixels) {
  spc_vector_to_rows(y, x, spc_rows_of_images(count, pixels), channels, channels);
}

/*
 * Vectors whose lanes come from several vectors of x: from vector sources[g], for each g in first[0]..first[1], lanes[16 g + l] where
 * that is not negative. Lanes that no source has are zero.
 */
#if defined(__AVX512F__)
SPC_INLINE void spc_gather_groups(float *y, const float *x, long channels, long stride, const int32_t *sources, const int8_t *lanes, const int n) {
  const float *from[10];
  __m512i index[10];
  __mmask16 on[10];
#pragma GCC unroll 10
  for (int g = 0; g < n; ++g) {
    from[g] = x + sources[g] * stride;
    index[g] = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(lanes + g * SPC_LANES)));
    on[g] = _mm512_cmpge_epi32_mask(index[g], _mm512_setzero_si512());
  }
  for (long c = 0; c < channels; ++c) {
    __m512 v = _mm512_maskz_permutexvar_ps(on[0], index[0], _mm512_loadu_ps(from[0] + c * SPC_LANES));
#pragma GCC unroll 10
    for (int g = 1; g < n; ++g) v = _mm512_mask_permutexvar_ps(v, on[g], index[g], _mm512_loadu_ps(from[g] + c * SPC_LANES));
    _mm512_storeu_ps(y + c * SPC_LANES, v);
  }
}
#endif
/* One vector of a gather (see spc_tiles_gather), of vectors `stride` elements apart. */
SPC_INLINE void spc_gather_vector(float *y, const float *x, long stride, const int32_t *first, const int32_t *sources, const int8_t *lanes) {
#if defined(__AVX512F__)
  __m512 v = _mm512_setzero_ps();
  for (int32_t g = first[0]; g < first[1]; ++g) {
    const __m512i index = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(lanes + g * SPC_LANES)));
    v = _mm512_mask_permutexvar_ps(v, _mm512_cmpge_epi32_mask(index, _mm512_setzero_si512()), index, _mm512_loadu_ps(x + sources[g] * stride));
  }
  _mm512_storeu_ps(y, v);
#elif defined(__AVX2__)
  __m256 v[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int32_t g = first[0]; g < first[1]; ++g) {
    const __m256 low = _mm256_loadu_ps(x + sources[g] * stride), high = _mm256_loadu_ps(x + sources[g] * stride + 8);
    for (int h = 0; h < 2; ++h) {
      /* bit 3 says which half of the source, the sign that it is another source's lane */
      const __m256i index = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(lanes + g * SPC_LANES + 8 * h)));
      const __m256 own = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, index), _mm256_permutevar8x32_ps(high, index), _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
      v[h] = _mm256_blendv_ps(own, v[h], _mm256_castsi256_ps(index));
    }
  }
  _mm256_storeu_ps(y, v[0]);
  _mm256_storeu_ps(y + 8, v[1]);
#else
  for (int l = 0; l < SPC_LANES; ++l) y[l] = 0.0f;
  for (int32_t g = first[0]; g < first[1]; ++g) for (int l = 0; l < SPC_LANES; ++l) {
    if (lanes[g * SPC_LANES + l] >= 0) y[l] = x[sources[g] * stride + lanes[g * SPC_LANES + l]];
  }
#endif
}
SPC_OUT_OF_LINE void spc_tiles_gather(float *y, const float *x, long channels, long stride, const int32_t *first, const int32_t *sources, const int8_t *lanes) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  for (long c = 0; c < channels; ++c) spc_gather_vector(y + c * SPC_LANES, x + c * SPC_LANES, stride, first, sources, lanes);
#else
  const long count = first[1] - first[0];
  sources += first[0];
  lanes += first[0] * SPC_LANES;
#if defined(__AVX512F__)
#define SPC_GROUPS(n) case n: spc_gather_groups(y, x, channels, stride, sources, lanes, n); return;
  switch (count) {
    SPC_GROUPS(1) SPC_GROUPS(2) SPC_GROUPS(3) SPC_GROUPS(4) SPC_GROUPS(5) SPC_GROUPS(6) SPC_GROUPS(7) SPC_GROUPS(8) SPC_GROUPS(9) SPC_GROUPS(10)
    default: break;
  }
#undef SPC_GROUPS
#endif
  int32_t at[SPC_LANES];
  for (int l = 0; l < SPC_LANES; ++l) at[l] = -1;
  for (long g = 0; g < count; ++g) for (int l = 0; l < SPC_LANES; ++l) {
    if (lanes[g * SPC_LANES + l] >= 0) at[l] = (int32_t)(sources[g] * stride + lanes[g * SPC_LANES + l]);
  }
#if defined(__AVX512F__)
  const __m512i index = _mm512_loadu_si512(at);
  const __mmask16 on = _mm512_cmpge_epi32_mask(index, _mm512_setzero_si512());
  for (long c = 0; c < channels; ++c) _mm512_storeu_ps(y + c * SPC_LANES, _mm512_mask_i32gather_ps(_mm512_setzero_ps(), on, index, x + c * SPC_LANES, 4));
#else
  for (long c = 0; c < channels; ++c) for (int l = 0; l < SPC_LANES; ++l) y[c * SPC_LANES + l] = at[l] < 0 ? 0.0f : x[at[l] + c * SPC_LANES];
#endif
#endif
}

/*
 * A window over the pixels of one output vector: maximum, sum or average of the taps that are in the image. Vector v of output grid
 * (py, px); x: vector 0 of the image's first grid, of grid vectors each; its grids are those of the output, `stride` times as many phases.
 */
enum { SPC_POOL_MAX, SPC_POOL_SUM, SPC_POOL_AVERAGE, SPC_POOL_AVERAGE_PADDED };
#define SPC_POOL_TAPS 64
SPC_INLINE long spc_floor_div(long a, long b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
SPC_INLINE void spc_tiles_pool(float *y, const float *x, int mode, long channels, long x_vector, long x_grid, long x_height, long x_width,
                               long kernel_y, long kernel_x, long stride, long dilation_y, long dilation_x, long top, long left, long bottom, long right,
                               long v, long py, long px, long height, long width, long phases, long rows, long columns) {
  const spc_pixels p = spc_pixels_of(v, py, px, height, width, phases, rows, columns);
  const spc_i32x16 first_y = p.y * (int32_t)stride - (int32_t)top, first_x = p.x * (int32_t)stride - (int32_t)left;
  const long s = stride * phases;
  const float *from[SPC_POOL_TAPS];
  spc_mask on[SPC_POOL_TAPS], every = p.inside;
  spc_i32x16 count_y = {0}, count_x = {0};
  for (long i = 0; i < kernel_y; ++i) for (long j = 0; j < kernel_x; ++j) {
    const long a = py * stride + i * dilation_y - top, b = px * stride + j * dilation_x - left, qa = spc_floor_div(a, s), qb = spc_floor_div(b, s);
    from[i * kernel_x + j] = x + (((a - qa * s) * s + (b - qb * s)) * x_grid + v + qa * columns + qb) * x_vector;
    on[i * kernel_x + j] = spc_mask_below(first_y + (int32_t)(i * dilation_y), (int32_t)x_height) & spc_mask_below(first_x + (int32_t)(j * dilation_x), (int32_t)x_width);
    every &= on[i * kernel_x + j];
  }
  spc_f32x16 share = spc_splat_f32x16(1.0f);
  if (mode == SPC_POOL_AVERAGE || mode == SPC_POOL_AVERAGE_PADDED) {
    const int32_t padded = mode == SPC_POOL_AVERAGE_PADDED;
    const int32_t low_y = padded ? -(int32_t)top : 0, high_y = (int32_t)x_height + (padded ? (int32_t)bottom : 0);
    const int32_t low_x = padded ? -(int32_t)left : 0, high_x = (int32_t)x_width + (padded ? (int32_t)right : 0);
    const spc_i32x16 one = spc_splat_i32x16(1);
    for (long i = 0; i < kernel_y; ++i) count_y += spc_lanes_where(spc_mask_below(first_y + (int32_t)(i * dilation_y) - low_y, high_y - low_y), one, 0);
    for (long j = 0; j < kernel_x; ++j) count_x += spc_lanes_where(spc_mask_below(first_x + (int32_t)(j * dilation_x) - low_x, high_x - low_x), one, 0);
    share = 1.0f / spc_max_f32x16(__builtin_convertvector(count_y * count_x, spc_f32x16), share);
  }
  const long taps = kernel_y * kernel_x;
  if (mode == SPC_POOL_MAX && spc_all(every)) {
    for (long c = 0; c < channels * SPC_LANES; c += SPC_LANES) {
      spc_f32x16 best = spc_splat_f32x16(-INFINITY);
#pragma GCC unroll 16
      for (long t = 0; t < taps; ++t) best = spc_max_f32x16(best, spc_load_f32x16(from[t] + c));
      spc_store_f32x16(y + c, best);
    }
    return;
  }
  for (long c = 0; c < channels * SPC_LANES; c += SPC_LANES) {
    spc_f32x16 value = spc_splat_f32x16(mode == SPC_POOL_MAX ? -INFINITY : 0.0f);
#pragma GCC unroll 16
    for (long t = 0; t < taps; ++t) {
      const spc_f32x16 tap = spc_load_f32x16(from[t] + c);
      value = mode == SPC_POOL_MAX ? spc_max_where(on[t], value, tap) : spc_add_where(on[t], value, tap);
    }
    spc_store_f32x16(y + c, spc_keep(p.inside, mode == SPC_POOL_MAX || mode == SPC_POOL_SUM ? value : value * share));
  }
}

/*
 * Depthwise convolution of one channel: its vectors are brought together in `line`, where they get their halo (the tensor itself needs
 * none), then every `step`-th one is computed. weights: those of the taps, then the bias. masks: for each vector one word a kernel
 * column, lanes whose tap is in the row, and one of lanes to keep.
 */
SPC_INLINE float *spc_line_start(float *line) { return line + (64 - (uintptr_t)line % 64) / sizeof(float) % SPC_LANES; }
#if defined(__AVX512F__)
SPC_INLINE spc_mask spc_mask_of(uint16_t bits) { return bits; }
#else
SPC_INLINE spc_mask spc_mask_of(uint16_t bits) {
  const spc_i32x16 bit = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  const spc_i32x16 own = spc_splat_i32x16(bits) & bit;
  return (own | -own) >> 31;
}
#endif
#define SPC_DEPTHWISE_TAPS 49
SPC_INLINE void spc_depthwise_line(float *y, long y_vector, const float *x, long x_vector, float *line, const float *weights, const uint16_t *masks, float low, float high,
                                   long size, long columns, long kernel_y, long kernel_x, long dilation_y, long dilation_x, long top, long left, long before, long after, long step) {
  float *grid = line + before * SPC_LANES;
  for (long v = 0; v < size; ++v) spc_store_f32x16(grid + v * SPC_LANES, spc_load_f32x16(x + v * x_vector));
  for (long v = -before; v < 0; ++v) spc_tiles_halo(grid, v, size, 1, SPC_LANES);
  for (long v = size; v < size + after; ++v) spc_tiles_halo(grid, v, size, 1, SPC_LANES);
  spc_f32x16 w[SPC_DEPTHWISE_TAPS];
  const long taps = kernel_y * kernel_x;
#pragma GCC unroll 49
  for (long t = 0; t < taps; ++t) w[t] = spc_splat_f32x16(weights[t]);
  const spc_f32x16 bias = spc_splat_f32x16(weights[taps]), least = spc_splat_f32x16(low), most = spc_splat_f32x16(high);
  for (long v = 0; v < size; v += step) {
    const uint16_t *on = masks + v * (kernel_x + 1);
    const float *from = grid + (v - top * columns - left) * SPC_LANES;
    spc_f32x16 sum = bias;
#pragma GCC unroll 7
    for (long j = 0; j < kernel_x; ++j) {
      spc_f32x16 column = j * dilation_x == left ? sum : spc_splat_f32x16(0.0f);
#pragma GCC unroll 7
      for (long i = 0; i < kernel_y; ++i) column += w[i * kernel_x + j] * spc_load_f32x16(from + (i * dilation_y * columns + j * dilation_x) * SPC_LANES);
      sum = j * dilation_x == left ? column : spc_add_where(spc_mask_of(on[j]), sum, column);
    }
    if (low > -INFINITY) sum = spc_max_f32x16(sum, least);
    if (high < INFINITY) sum = spc_min_f32x16(sum, most);
    float *to = y + v / step * y_vector;
    spc_store_f32x16(to, spc_keep(spc_mask_of(on[kernel_x]), sum));
    __builtin_prefetch(to + SPC_LANES, 1);
  }
}
SPC_INLINE void spc_tiles_depthwise(float *y, long y_vector, const float *x, long x_vector, float *line, const float *weights, const uint16_t *masks, float low, float high,
                                    long size, long columns, long kernel_y, long kernel_x, long dilation_y, long dilation_x, long top, long left, long before, long after) {
  spc_depthwise_line(y, y_vector, x, x_vector, spc_line_start(line), weights, masks, low, high, size, columns, kernel_y, kernel_x, dilation_y, dilation_x, top, left, before, after, 1);
}
/* With a stride: the pixels of y among those of stride one, gathered from the computed vectors, which stand behind the line. */
SPC_INLINE void spc_tiles_depthwise_strided(float *y, long y_vector, const float *x, long x_vector, float *line, const float *weights, const uint16_t *masks, float low, float high,
                                            long size, long columns, long kernel_y, long kernel_x, long dilation_y, long dilation_x, long top, long left, long before, long after,
                                            long step, long y_size, const int32_t *first, const int32_t *sources, const int8_t *lanes) {
  float *grid = spc_line_start(line), *computed = grid + (before + size + after) * SPC_LANES;
  spc_depthwise_line(computed, SPC_LANES, x, x_vector, grid, weights, masks, low, high, size, columns, kernel_y, kernel_x, dilation_y, dilation_x, top, left, before, after, step);
  for (long v = 0; v < y_size; ++v) {
    spc_gather_vector(y + v * y_vector, computed, SPC_LANES, first + v, sources, lanes);
    __builtin_prefetch(y + v * y_vector + SPC_LANES, 1);
  }
}

/*
 * The grids of one row phase from one channel of an image whose pixels are `row_step` (of the phase) and `column_step` elements apart:
 * x is its first pixel, y vector 0 of the first grid. `line` is room for the pixels of all grids in order, of which lane l has those from
 * l * size on. Every row is read once for all column phases.
 */
SPC_INLINE void spc_tiles_from_plane(float *y, long y_vector, long y_grid, const float *x, long row_step, long column_step, long own_rows, long width, long phases, long columns, long size, float *line) {
  const long room = SPC_LANES * size, whole = width / phases;
  for (long i = 0; i < own_rows; ++i) {
    const float *from = x + i * row_step;
    float *to = line + i * columns;
    for (long j = 0; j < whole; ++j) for (long q = 0; q < phases; ++q) to[q * room + j] = from[(j * phases + q) * column_step];
    for (long q = 0; q < phases; ++q) for (long j = whole; j < columns; ++j) to[q * room + j] = j * phases + q < width ? from[(j * phases + q) * column_step] : 0.0f;
  }
  int32_t rows[SPC_LANES];
  for (int l = 0; l < SPC_LANES; ++l) rows[l] = (int32_t)(l * size);
  for (long q = 0; q < phases; ++q) {
    float *grid = line + q * room;
    for (long i = own_rows * columns; i < room; ++i) grid[i] = 0.0f;
    for (long v = 0; v < size; v += SPC_LANES) {
      const int n = size - v < SPC_LANES ? (int)(size - v) : SPC_LANES;
      float square[SPC_LANES * SPC_LANES];
      spc_square_from_rows(square, SPC_LANES, grid + v, rows, 1, n);
      for (int i = 0; i < n; ++i) spc_store_f32x16(y + q * y_grid + (v + i) * y_vector, spc_load_f32x16(square + i * SPC_LANES));
    }
  }
}

/* One channel of up to 16 images, `image` elements apart, into vectors with an image in each lane; lanes from `count` on become zero. */
SPC_INLINE void spc_tiles_from_image_planes(float *y, long y_row, long y_vector, const float *x, long image, long row_step, long column_step, long height, long width, long count) {
  int32_t lanes[SPC_LANES];
  for (int l = 0; l < SPC_LANES; ++l) lanes[l] = l < count ? (int32_t)(l * image) : -1;
  for (long i = 0; i < height; ++i) for (long j = 0; j < width; j += SPC_LANES) {
    const int n = width - j < SPC_LANES ? (int)(width - j) : SPC_LANES;
    float square[SPC_LANES * SPC_LANES];
    if (column_step == 1) spc_square_from_rows(square, SPC_LANES, x + i * row_step + j, lanes, 1, n);
    else for (int v = 0; v < n; ++v) for (int l = 0; l < SPC_LANES; ++l) square[v * SPC_LANES + l] = lanes[l] < 0 ? 0.0f : x[lanes[l] + i * row_step + (j + v) * column_step];
    for (int v = 0; v < n; ++v) spc_store_f32x16(y + i * y_row + (j + v) * y_vector, spc_load_f32x16(square + v * SPC_LANES));
  }
}

/*
 * Tiles from and to transposed rows, as the heads of an attention are: row p begins outer * (p / inner) + step * (p % inner) elements
 * from the first; of a block of channels that are neighbours there.
 */
SPC_INLINE spc_i32x16 spc_split_rows(spc_i32x16 rows, long inner, long outer, long step) {
  const int32_t n = (int32_t)inner;
  spc_i32x16 i = __builtin_convertvector(__builtin_convertvector(rows, spc_f32x16) * (1.0f / (float)n), spc_i32x16);
  i += (rows - i * n) >> 31;
  i += 1 + ((rows - i * n - n) >> 31);
  return (i * (int32_t)outer + (rows - i * n) * (int32_t)step) | (rows >> 31);
}
SPC_INLINE void spc_tiles_from_split_rows(float *y, const float *x, long channels, long inner, long outer, long step, long v, long height, long width, long rows, long columns) {
  spc_vector_from_rows(y, x, spc_split_rows(spc_rows_of_pixels(v, 0, 0, height, width, 1, rows, columns), inner, outer, step), 1, channels);
}
SPC_INLINE void spc_tiles_to_split_rows(float *y, const float *x, long channels, long inner, long outer, long step, long v, long height, long width, long rows, long columns) {
  spc_vector_to_rows(y, x, spc_split_rows(spc_rows_of_pixels(v, 0, 0, height, width, 1, rows, columns), inner, outer, step), 1, channels);
}
/* One channel of all pixels in order: pixel p at outer * (p / inner) + p % inner; the pixels of a lane are not divided. */
SPC_INLINE void spc_tiles_to_column(float *y, const float *x, long x_vector, long size, long inner, long outer, long pixels) {
  for (long v = 0; v < size; v += SPC_LANES) {
    const int n = size - v < SPC_LANES ? (int)(size - v) : SPC_LANES;
    float square[SPC_LANES * SPC_LANES];
    int32_t starts[SPC_LANES];
    for (int i = 0; i < n; ++i) spc_store_f32x16(square + i * SPC_LANES, spc_load_f32x16(x + (v + i) * x_vector));
    for (int l = 0; l < SPC_LANES; ++l) {
      const long first = l * size, start = first / inner * outer + first % inner, left = pixels - first - v;
      starts[l] = left < n ? -1 : (int32_t)start;
      if (left < n) for (int i = 0; i < left; ++i) y[start + v + i] = square[i * SPC_LANES + l];
    }
    spc_square_to_rows(y + v, square, SPC_LANES, starts, 1, n);
  }
}

#endif
