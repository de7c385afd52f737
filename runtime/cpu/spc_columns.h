/*
 * spc_columns.h - products of sparse weights with sparse activations: each active element adds its column of the weights to the sums. Columns of
 * elements that are 0 are never read. Lists: spc_select.h.
 *
 * A column has as many parts as it has weights. So that no loop is as long as a column, which no processor could foresee, the parts of all active
 * columns are first written one behind the other, and then worked off in one loop that can ask for weights far ahead.
 */
#ifndef SPC_COLUMNS_H
#define SPC_COLUMNS_H

#include "spc_select.h"

/* Parts whose weights are asked for in advance. */
#define SPC_PARTS_AHEAD 16

/* Numbers of the parts of the active columns, starts[c] to starts[c + 1] each, and what they are multiplied with; room for all parts and 16 more. */
SPC_INLINE long spc_columns_parts(int32_t *parts, float *factors, const int32_t *list, const float *values, const uint32_t *starts) {
  long count = 0;
  for (int32_t i = 0; i < list[0]; ++i) {
    const int32_t c = list[SPC_LIST + i], from = (int32_t)starts[c], n = (int32_t)starts[c + 1] - from;
    int32_t done = 0;
    do {
      spc_store_i32x16(parts + count + done, spc_lane_numbers() + (from + done));
      spc_store_f32x16(factors + count + done, spc_splat_f32x16(values[i]));
    } while ((done += 16) < n);
    count += n;
  }
  for (int i = 0; i < SPC_PARTS_AHEAD; ++i) parts[count + i] = 0;
  return count;
}

/*
 * Single weights: parts are records of 8 rows (u16) and 8 weights (f32, 16 bytes further on), 48 bytes. What fills the last record of a column
 * goes to rows that are not read: y has 8 more than there are rows.
 */
SPC_INLINE void spc_columns_scatter(float *y, int32_t *parts, float *factors, const int32_t *list, const float *values, const uint16_t *records, const uint32_t *starts) {
  const long count = spc_columns_parts(parts, factors, list, values, starts);
  for (long i = 0; i < count; ++i) {
    const uint16_t *r = records + 24 * (long)parts[i];
    __builtin_prefetch(records + 24 * (long)parts[i + SPC_PARTS_AHEAD]);
#if defined(__AVX__)
    const __m256 p = _mm256_mul_ps(_mm256_set1_ps(factors[i]), _mm256_loadu_ps((const float *)(const void *)(r + 8)));
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
    for (int j = 0; j < 8; ++j) y[r[j]] += factors[i] * w[j];
#endif
  }
}

/* y[16] += a w[16]; a weight of zero adds nothing to its sum, also where a is not finite. */
SPC_INLINE void spc_columns_add(float *y, float a, const float *w, int finite) {
  if (finite) spc_store_f32x16(y, spc_load_f32x16(y) + a * spc_load_f32x16(w));
  else for (int l = 0; l < SPC_LANES; ++l) if (w[l] != 0.0f) y[l] += a * w[l];
}

/* Blocks of 16 rows by one column: a part is 16 weights for the sums from 16 rows[part] on. */
SPC_INLINE void spc_columns_blocks(float *y, int32_t *parts, float *factors, const int32_t *list, const float *values, const float *weights, const uint16_t *rows, const uint32_t *starts) {
  const long count = spc_columns_parts(parts, factors, list, values, starts);
  const int finite = list[1];
  for (long i = 0; i < count; ++i) {
    __builtin_prefetch(weights + 16 * (long)parts[i + SPC_PARTS_AHEAD]);
    spc_columns_add(y + 16 * (long)rows[parts[i]], factors[i], weights + 16 * (long)parts[i], finite);
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

/*
 * Complementary rows: of `size` <= 16 rows that follow each other each column has a weight of one at most, so that a vector holds a column's weights
 * of 16 such sets. It is multiplied once, and goes to as many vectors of sums as a set has rows, masked by which row each weight is of:
 * masks[column][vector][row of the set], one bit a set. Masks are of weights that are not zero.
 */
SPC_INLINE void spc_columns_complementary(float *y, const int32_t *list, const float *values, const float *weights, const uint16_t *masks, long vectors, int size) {
  for (long v = 0; v < vectors; ++v) {
    float sums[16][16];
#if defined(__AVX512F__)
    __m512 sum[16];
    for (int p = 0; p < size; ++p) sum[p] = _mm512_setzero_ps();
    for (int32_t i = 0; i < list[0]; ++i) {
      const long at = (long)list[SPC_LIST + i] * vectors + v;
      const __m512 x = _mm512_set1_ps(values[i]), w = _mm512_loadu_ps(weights + 16 * at);
      __builtin_prefetch(weights + 16 * ((long)list[SPC_LIST + i + 6] * vectors + v));
      for (int p = 0; p < size; ++p) sum[p] = _mm512_mask3_fmadd_ps(x, w, sum[p], masks[size * at + p]);
    }
    for (int p = 0; p < size; ++p) _mm512_storeu_ps(sums[p], sum[p]);
#else
    memset(sums, 0, sizeof sums);
    for (int32_t i = 0; i < list[0]; ++i) {
      const long at = (long)list[SPC_LIST + i] * vectors + v;
      for (int p = 0; p < size; ++p) for (int l = 0; l < SPC_LANES; ++l) if (masks[size * at + p] >> l & 1) sums[p][l] += values[i] * weights[16 * at + l];
    }
#endif
    for (int l = 0; l < SPC_LANES; ++l) for (int p = 0; p < size; ++p) y[(v * SPC_LANES + l) * size + p] = sums[p][l];
  }
}

#endif
