/*
 * spc_stream.h - sparse products over tables: rows of 16-lane vectors, each the sum of weights times columns. The portable form of
 * what straight-line code does where spc can write it; the tables are made by spc.
 */
#ifndef SPC_STREAM_H
#define SPC_STREAM_H

#include "spc_vector.h"

enum { SPC_STREAM_STARTS = 1, SPC_STREAM_RESIDUAL = 2, SPC_STREAM_FINISHES = 4 };

/* One function. Offsets of the tables from the start of this; steps are bytes from one tile to the next. */
typedef struct {
  int32_t rows, flags, mask_count, finish_mask;
  float low, high;
  int32_t step_x, step_x2, step_y, step_r;
  int32_t row_table, run_table, offset_table, weight_table;
  int32_t unused[2];
} spc_stream;
/* Byte offsets of a row's result and residual, its first sum, and the number of runs up to its last one. */
typedef struct { int32_t y, r; float bias; int32_t runs; } spc_stream_row;
/* Number of groups of four products up to the last of the run; where their columns are, and which lanes of them count (0: all). */
typedef struct { int32_t groups; uint16_t mask, source; } spc_stream_run;

/* The vectors of the machine: SPC_STREAM_PIECES of them make 16 lanes. */
#if defined(__AVX512F__)
#define SPC_STREAM_PIECES 1
typedef spc_f32x16 spc_stream_vector;
#define spc_stream_load spc_load_f32x16
#define spc_stream_store spc_store_f32x16
#define spc_stream_splat spc_splat_f32x16
#define spc_stream_min spc_min_f32x16
#define spc_stream_max spc_max_f32x16
/* Four weights in one load, each spread by a shuffle: loads are what such a loop is short of, and a splat from memory is one. */
#define SPC_STREAM_WEIGHTS(w) const __m512 four = _mm512_broadcast_f32x4(_mm_load_ps(w));
#define SPC_STREAM_WEIGHT(w, i) ((spc_f32x16)_mm512_permute_ps(four, (i) * 0x55))
typedef __mmask16 spc_stream_lanes;
SPC_INLINE spc_stream_lanes spc_stream_lanes_of(unsigned bits, int piece) { (void)piece; return (spc_stream_lanes)bits; }
SPC_INLINE spc_f32x16 spc_stream_keep(spc_f32x16 v, spc_stream_lanes lanes) { return (spc_f32x16)_mm512_maskz_mov_ps(lanes, (__m512)v); }
#else
#if defined(__AVX__)
#define SPC_STREAM_PIECES 2
#define SPC_STREAM_LANES 8
typedef spc_f32x8 spc_stream_vector;
typedef spc_i32x8 spc_stream_lanes;
#define spc_stream_load spc_load_f32x8
#define spc_stream_store spc_store_f32x8
#define spc_stream_splat spc_splat_f32x8
#define spc_stream_min spc_min_f32x8
#define spc_stream_max spc_max_f32x8
#else
#define SPC_STREAM_PIECES 4
#define SPC_STREAM_LANES 4
typedef spc_f32x4 spc_stream_vector;
typedef spc_i32x4 spc_stream_lanes;
#define spc_stream_load spc_load_f32x4
#define spc_stream_store spc_store_f32x4
#define spc_stream_splat spc_splat_f32x4
#define spc_stream_min spc_min_f32x4
#define spc_stream_max spc_max_f32x4
#endif
#define SPC_STREAM_WEIGHTS(w)
#define SPC_STREAM_WEIGHT(w, i) spc_stream_splat((w)[i])
SPC_INLINE spc_stream_lanes spc_stream_lanes_of(unsigned bits, int piece) {
  spc_stream_lanes lanes;
  for (int i = 0; i < SPC_STREAM_LANES; i++) lanes[i] = -(int)(bits >> (piece * SPC_STREAM_LANES + i) & 1);
  return lanes;
}
SPC_INLINE spc_stream_vector spc_stream_keep(spc_stream_vector v, spc_stream_lanes lanes) { return (spc_stream_vector)((spc_stream_lanes)v & lanes); }
#endif

#if defined(__clang__)
#define SPC_STREAM_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define SPC_STREAM_UNROLL _Pragma("GCC unroll 4")
#else
#define SPC_STREAM_UNROLL
#endif

/* Product i of a group; i is a literal, for the shuffle. */
#define SPC_STREAM_PRODUCT(i) {                                                                \
    const spc_stream_vector w = SPC_STREAM_WEIGHT(weights, i);                                 \
    const float *column = (const float *)(x + offsets[i]);                                     \
    SPC_STREAM_UNROLL                                                                          \
    for (int p = 0; p < SPC_STREAM_PIECES; p++) {                                              \
      const spc_stream_vector v = spc_stream_load(column + p * PIECE);                         \
      sum[i][p] += w * (masked ? spc_stream_keep(v, lanes[p]) : v);                            \
    }                                                                                          \
  }

/* The groups from `begin` to `end` of one run; four chains of sums, so that one need not wait for the other. */
SPC_INLINE void spc_stream_groups(spc_stream_vector sum[4][SPC_STREAM_PIECES], const char *x, const int32_t *offsets, const float *weights,
                                  int begin, int end, int masked, unsigned bits) {
  enum { PIECE = 16 / SPC_STREAM_PIECES };
  spc_stream_lanes lanes[SPC_STREAM_PIECES];
  SPC_STREAM_UNROLL
  for (int p = 0; p < SPC_STREAM_PIECES; p++) lanes[p] = spc_stream_lanes_of(bits, p);
  offsets += 4L * begin;
  weights += 4L * begin;
  for (int g = begin; g < end; g++, offsets += 4, weights += 4) {
    SPC_STREAM_WEIGHTS(weights)
    SPC_STREAM_PRODUCT(0)
    SPC_STREAM_PRODUCT(1)
    SPC_STREAM_PRODUCT(2)
    SPC_STREAM_PRODUCT(3)
  }
}

/*
 * Runs one function over `tiles` tiles. `table`: its spc_stream, at a multiple of 64 bytes; the other arguments are those of every
 * form of such a function (masks, x2 and r may be null where it does not read them; r may be y).
 */
#if defined(__GNUC__)
__attribute__((noinline, unused))
#endif
static void spc_stream_rows(const void *table, const float *x, long tiles, const uint16_t *masks, const float *x2, float *y, const float *r) {
  enum { PIECE = 16 / SPC_STREAM_PIECES };
  const spc_stream *f = (const spc_stream *)table;
  const char *base = (const char *)table, *source[2] = {(const char *)x, (const char *)x2};
  const spc_stream_row *rows = (const spc_stream_row *)(base + f->row_table);
  const spc_stream_run *runs = (const spc_stream_run *)(base + f->run_table);
  const int32_t *offsets = (const int32_t *)(base + f->offset_table);
  const float *weights = (const float *)(base + f->weight_table);
  for (long t = 0; t < tiles; t++) {
    int run = 0, group = 0;
    for (int i = 0; i < f->rows; i++) {
      float *result = (float *)((char *)y + rows[i].y);
      spc_stream_vector sum[4][SPC_STREAM_PIECES];
      SPC_STREAM_UNROLL
      for (int p = 0; p < SPC_STREAM_PIECES; p++) {
        if (f->flags & SPC_STREAM_STARTS) {
          sum[0][p] = spc_stream_splat(rows[i].bias);
          if (f->flags & SPC_STREAM_RESIDUAL) sum[0][p] += spc_stream_load((const float *)((const char *)r + rows[i].r) + p * PIECE);
        } else sum[0][p] = spc_stream_load(result + p * PIECE);
        sum[1][p] = sum[2][p] = sum[3][p] = spc_stream_splat(0.0f);
      }
      for (; run < rows[i].runs; group = runs[run++].groups) {
        const char *columns = source[runs[run].source];
        if (runs[run].mask) spc_stream_groups(sum, columns, offsets, weights, group, runs[run].groups, 1, masks[runs[run].mask - 1]);
        else spc_stream_groups(sum, columns, offsets, weights, group, runs[run].groups, 0, 0xffff);
      }
      SPC_STREAM_UNROLL
      for (int p = 0; p < SPC_STREAM_PIECES; p++) {
        spc_stream_vector v = (sum[0][p] + sum[1][p]) + (sum[2][p] + sum[3][p]);
        if (f->flags & SPC_STREAM_FINISHES) {
          v = spc_stream_min(spc_stream_max(v, spc_stream_splat(f->low)), spc_stream_splat(f->high));
          if (f->finish_mask) v = spc_stream_keep(v, spc_stream_lanes_of(masks[f->finish_mask - 1], p));
        }
        spc_stream_store(result + p * PIECE, v);
      }
    }
    for (int s = 0; s < 2; s++) if (source[s]) source[s] += s ? f->step_x2 : f->step_x;
    y = (float *)((char *)y + f->step_y);
    if (f->flags & SPC_STREAM_RESIDUAL) r = (const float *)((const char *)r + f->step_r);
    if (masks) masks += f->mask_count;
  }
}
#endif
