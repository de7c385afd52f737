/*
 * spc_columns.h - products of sparse weights with sparse activations: each active element adds its column of the weights to the sums. Columns of
 * elements that are 0 are never read. Lists: spc_select.h.
 *
 * Weights are in the order in which elements come, so that a column is one piece of memory, asked for some elements ahead.
 */
#ifndef SPC_COLUMNS_H
#define SPC_COLUMNS_H

#include "spc_select.h"

SPC_INLINE void spc_columns_fetch(const void *column, long bytes) {
  for (long i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)column + i);
}

/*
 * Single weights: records of 8 rows (u16) and 8 weights (f32, 16 bytes further on), 48 bytes; column c has records starts[c] to starts[c + 1].
 * What fills the last record of a column goes to rows that are not read: y has 8 more than there are rows.
 */
SPC_INLINE void spc_columns_scatter(float *y, const int32_t *list, const float *values, const uint16_t *records, const uint32_t *starts) {
  for (int32_t i = 0; i < list[0]; ++i) {
    const int32_t *position = list + SPC_LIST + i;
    const uint16_t *r = records + 24 * (long)starts[position[0]], *end = records + 24 * (long)starts[position[0] + 1];
    const uint32_t next = starts[position[3]];
    spc_columns_fetch(records + 24 * (long)next, 48 * ((long)starts[position[3] + 1] - (long)next));
    for (; r < end; r += 24) {
#if defined(__AVX__)
      const __m256 p = _mm256_mul_ps(_mm256_set1_ps(values[i]), _mm256_loadu_ps((const float *)(const void *)(r + 8)));
      __m128 half = _mm256_castps256_ps128(p);
      uint64_t rows;
      memcpy(&rows, r, sizeof rows);
      for (int h = 0; h < 2; ++h) {
#define SPC_ADD(product) { float *to = y + (rows & 0xffff); _mm_store_ss(to, _mm_add_ss(product, _mm_load_ss(to))); rows >>= 16; }
        SPC_ADD(half) SPC_ADD(_mm_movehdup_ps(half)) SPC_ADD(_mm_movehl_ps(half, half)) SPC_ADD(_mm_permute_ps(half, 0xff))
#undef SPC_ADD
        half = _mm256_extractf128_ps(p, 1);
        memcpy(&rows, r + 4, sizeof rows);
      }
#else
      float w[8];
      memcpy(w, r + 8, sizeof w);
      for (int j = 0; j < 8; ++j) y[r[j]] += values[i] * w[j];
#endif
    }
  }
}

/* y[16] += a w[16]; a weight of zero adds nothing to its sum, also where a is not finite. */
SPC_INLINE void spc_columns_add(float *y, float a, const float *w, int finite) {
  if (finite) spc_store_f32x16(y, spc_load_f32x16(y) + a * spc_load_f32x16(w));
  else for (int l = 0; l < SPC_LANES; ++l) if (w[l] != 0.0f) y[l] += a * w[l];
}

/* Blocks of 16 rows by one column: column c has blocks starts[c] to starts[c + 1], of 16 weights each, for the sums from 16 rows[block] on. */
SPC_INLINE void spc_columns_blocks(float *y, const int32_t *list, const float *values, const float *weights, const uint16_t *rows, const uint32_t *starts) {
  const int finite = list[1];
  for (int32_t i = 0; i < list[0]; ++i) {
    const int32_t *position = list + SPC_LIST + i;
    const long end = starts[position[0] + 1], next = starts[position[6]];
    spc_columns_fetch(weights + 16 * next, 64 * ((long)starts[position[6] + 1] - next));
    for (long b = starts[position[0]]; b < end; ++b) spc_columns_add(y + 16 * (long)rows[b], values[i], weights + 16 * b, finite);
  }
}

/* Columns without zeros worth skipping, `vectors` of 16 rows each: up to 4 vectors of sums in registers at a time. */
SPC_INLINE void spc_columns_dense(float *y, const int32_t *list, const float *values, const float *weights, long vectors) {
  const int finite = list[1];
  for (long v = 0; v < vectors; v += 4) {
    const int n = (int)(vectors - v < 4 ? vectors - v : 4);
    if (finite && n == 4) {
      spc_f32x16 sum[4];
      for (int j = 0; j < 4; ++j) sum[j] = spc_load_f32x16(y + 16 * (v + j));
      for (int32_t i = 0; i < list[0]; ++i) {
        const float *w = weights + 16 * ((long)list[SPC_LIST + i] * vectors + v);
        for (int j = 0; j < 4; ++j) sum[j] += values[i] * spc_load_f32x16(w + 16 * j);
      }
      for (int j = 0; j < 4; ++j) spc_store_f32x16(y + 16 * (v + j), sum[j]);
    } else for (int j = 0; j < n; ++j) {
      float *to = y + 16 * (v + j);
      const float *w = weights + 16 * (v + j);
      if (!finite) {
        for (int32_t i = 0; i < list[0]; ++i) spc_columns_add(to, values[i], w + 16 * ((long)list[SPC_LIST + i] * vectors), 0);
        continue;
      }
      spc_f32x16 sum[4] = {spc_load_f32x16(to), spc_splat_f32x16(0.0f), spc_splat_f32x16(0.0f), spc_splat_f32x16(0.0f)};
      int32_t i = 0;
      for (; i + 4 <= list[0]; i += 4) for (int u = 0; u < 4; ++u) sum[u] += values[i + u] * spc_load_f32x16(w + 16 * ((long)list[SPC_LIST + i + u] * vectors));
      for (; i < list[0]; ++i) sum[0] += values[i] * spc_load_f32x16(w + 16 * ((long)list[SPC_LIST + i] * vectors));
      spc_store_f32x16(to, (sum[0] + sum[1]) + (sum[2] + sum[3]));
    }
  }
}

#endif
