/*
 * spc_stream.h - sparse products over tables: rows of 16-lane vectors, each the sum of weights times columns. The portable form of
 * what straight-line code does where spc can write it; the tables are made by spc.
 */
#ifndef SPC_STREAM_H
#define SPC_STREAM_H

#include "spc_vector.h"

enum { SPC_STREAM_STARTS = 1, SPC_STREAM_RESIDUAL = 2, SPC_STREAM_FINISHES = 4, SPC_STREAM_PAIRS = 8 };

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

/*
 * The vectors of the machine: SPC_STREAM_PIECES of them make 16 lanes. SPC_STREAM_CHAINS sums run side by side for a row, as many as
 * its registers hold and its latency needs.
 */
#if defined(__AVX512F__)
#define SPC_STREAM_PIECES 1
#define SPC_STREAM_CHAINS 4
typedef spc_f32x16 spc_stream_vector;
#define spc_stream_load spc_load_f32x16
#define spc_stream_store spc_store_f32x16
#define spc_stream_splat spc_splat_f32x16
#define spc_stream_min spc_min_f32x16
#define spc_stream_max spc_max_f32x16
/*
 * Four weights in one load, each spread by a shuffle: loads are what such a loop is short of, and a splat from memory is one. Clang
 * would make that of it if it knew where they come from.
 */
#define SPC_STREAM_WEIGHTS(w) __m512 four = _mm512_broadcast_f32x4(_mm_load_ps(w)); SPC_KEEP(four);
#define SPC_STREAM_WEIGHT(w, i) ((spc_f32x16)_mm512_permute_ps(four, (i) * 0x55))
typedef __mmask16 spc_stream_lanes;
SPC_INLINE spc_stream_lanes spc_stream_lanes_of(unsigned bits, int piece) { (void)piece; return (spc_stream_lanes)bits; }
SPC_INLINE spc_f32x16 spc_stream_keep(spc_f32x16 v, spc_stream_lanes lanes) { return (spc_f32x16)_mm512_maskz_mov_ps(lanes, (__m512)v); }
#else
#if defined(__AVX__)
#define SPC_STREAM_PIECES 2
#define SPC_STREAM_CHAINS 4
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
#define SPC_STREAM_CHAINS 2
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
#define SPC_STREAM_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define SPC_STREAM_UNROLL _Pragma("GCC unroll 8")
#else
#define SPC_STREAM_UNROLL
#endif

/* Vector p of one or two tiles that lie `step` bytes apart. */
#define SPC_STREAM_AT(base, p, step) \
  ((base) + (p) / SPC_STREAM_PIECES * (long)(step) + (p) % SPC_STREAM_PIECES * (64 / SPC_STREAM_PIECES))
typedef spc_stream_vector spc_stream_sums[SPC_STREAM_CHAINS][2 * SPC_STREAM_PIECES];

/* Product i of a group; i is a literal, for the shuffle. */
#define SPC_STREAM_PRODUCT(i) {                                                                               \
    const spc_stream_vector w = SPC_STREAM_WEIGHT(weights, i);                                                \
    const char *column = x + offsets[i];                                                                      \
    SPC_STREAM_UNROLL                                                                                         \
    for (int p = 0; p < tiles * SPC_STREAM_PIECES; p++) {                                                     \
      const spc_stream_vector v = spc_stream_load((const float *)SPC_STREAM_AT(column, p, step));             \
      sum[i % chains][p] += w * (masked ? spc_stream_keep(v, lanes[p]) : v);             \
    }                                                                                                         \
  }

/* The groups from `begin` to `end` of one run, on one or two tiles; `masks`: the word of the first tile, if masked (a literal). */
SPC_INLINE void spc_stream_groups(spc_stream_sums sum, const int tiles, const int chains, const char *x, int32_t step, const int32_t *offsets, const float *weights,
                                  int begin, int end, const int masked, const uint16_t *masks, int32_t mask_count) {
  spc_stream_lanes lanes[2 * SPC_STREAM_PIECES];
  SPC_STREAM_UNROLL
  for (int p = 0; p < tiles * SPC_STREAM_PIECES; p++) {
    lanes[p] = spc_stream_lanes_of(masked ? masks[p / SPC_STREAM_PIECES * mask_count] : 0, p % SPC_STREAM_PIECES);
  }
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

/* All rows of one or two tiles, every sum in so many parts (literals, so that sums are registers). */
SPC_INLINE void spc_stream_tiles(const int tiles, const int chains, const spc_stream *f, const char *const source[2], const uint16_t *masks, float *y, const float *r) {
  const char *base = (const char *)f;
  const spc_stream_row *rows = (const spc_stream_row *)(base + f->row_table);
  const spc_stream_run *runs = (const spc_stream_run *)(base + f->run_table);
  const int32_t *offsets = (const int32_t *)(base + f->offset_table), steps[2] = {f->step_x, f->step_x2};
  const float *weights = (const float *)(base + f->weight_table);
  int run = 0, group = 0;
  for (int i = 0; i < f->rows; i++) {
    char *result = (char *)y + rows[i].y;
    const char *residual = (const char *)r + rows[i].r;
    spc_stream_sums sum;
    SPC_STREAM_UNROLL
    for (int p = 0; p < tiles * SPC_STREAM_PIECES; p++) {
      /* from 0 on: gcc warns of an annotated loop that never runs */
      SPC_STREAM_UNROLL
      for (int c = 0; c < chains; c++) sum[c][p] = spc_stream_splat(c == 0 && f->flags & SPC_STREAM_STARTS ? rows[i].bias : 0.0f);
      if (!(f->flags & SPC_STREAM_STARTS)) sum[0][p] = spc_stream_load((const float *)SPC_STREAM_AT(result, p, f->step_y));
      else if (f->flags & SPC_STREAM_RESIDUAL) sum[0][p] += spc_stream_load((const float *)SPC_STREAM_AT(residual, p, f->step_r));
    }
    for (; run < rows[i].runs; group = runs[run++].groups) {
      const int s = runs[run].source, end = runs[run].groups, mask = runs[run].mask;
      if (mask) spc_stream_groups(sum, tiles, chains, source[s], steps[s], offsets, weights, group, end, 1, masks + mask - 1, f->mask_count);
      else spc_stream_groups(sum, tiles, chains, source[s], steps[s], offsets, weights, group, end, 0, NULL, 0);
    }
    SPC_STREAM_UNROLL
    for (int p = 0; p < tiles * SPC_STREAM_PIECES; p++) {
      spc_stream_vector v = sum[0][p];
      SPC_STREAM_UNROLL
      for (int c = 0; c < chains; c++) if (c > 0) v += sum[c][p];
      if (f->flags & SPC_STREAM_FINISHES) {
        v = spc_stream_min(spc_stream_max(v, spc_stream_splat(f->low)), spc_stream_splat(f->high));
        if (f->finish_mask) v = spc_stream_keep(v, spc_stream_lanes_of(masks[f->finish_mask - 1 + p / SPC_STREAM_PIECES * f->mask_count], p % SPC_STREAM_PIECES));
      }
      spc_stream_store((float *)SPC_STREAM_AT(result, p, f->step_y), v);
    }
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
  const spc_stream *f = (const spc_stream *)table;
  const char *source[2] = {(const char *)x, (const char *)x2};
  for (long left = tiles; left > 0;) {
    const int pairs = f->flags & SPC_STREAM_PAIRS ? 1 : 0, n = left > 1 && pairs ? 2 : 1;
    /* a tile alone sums as those in pairs do: results do not depend on how threads share tiles */
    if (n == 2) spc_stream_tiles(2, SPC_STREAM_CHAINS / 2, f, source, masks, y, r);
    else if (pairs) spc_stream_tiles(1, SPC_STREAM_CHAINS / 2, f, source, masks, y, r);
    else spc_stream_tiles(1, SPC_STREAM_CHAINS, f, source, masks, y, r);
    source[0] += n * (long)f->step_x;
    if (x2) source[1] += n * (long)f->step_x2;
    y = (float *)((char *)y + n * (long)f->step_y);
    if (f->flags & SPC_STREAM_RESIDUAL) r = (const float *)((const char *)r + n * (long)f->step_r);
    if (masks) masks += n * f->mask_count;
    left -= n;
  }
}
#endif
