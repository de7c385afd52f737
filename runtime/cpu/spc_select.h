/*
 * spc_select.h - sparse activations: which elements of a vector are the k largest, or not zero, and lists of them.
 *
 * A list is an array of int32_t: how many elements, whether all of them are finite, and from SPC_LIST on their positions, followed by
 * SPC_AHEAD positions that may be looked at in advance; their values lie in an array beside it. Both have room for
 * all elements and SPC_LANES more.
 *
 * Selections are exact: floats in their order, -0 equal to 0, NaNs behind all numbers; equal elements in the order of their positions,
 * which `order` lists where it is not that of memory.
 */
#ifndef SPC_SELECT_H
#define SPC_SELECT_H

#include "spc_tiles.h"

#define SPC_LIST 16
#define SPC_AHEAD 8

/* A float as an integer that compares as it does, and back; -0 is before 0. */
SPC_INLINE int32_t spc_key(float x) { int32_t b; memcpy(&b, &x, sizeof b); return b ^ ((b >> 31) & INT32_MAX); }
SPC_INLINE float spc_of_key(int32_t key) { float x; key ^= (key >> 31) & INT32_MAX; memcpy(&x, &key, sizeof x); return x; }

#if defined(__AVX512F__)
SPC_INLINE __mmask16 spc_lanes_left(long n) { return n < SPC_LANES ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff; }
#endif

/* Elements that are not less than t. */
SPC_INLINE long spc_count_from(const float *x, long n, float t) {
#if defined(__AVX512F__)
  const __m512 limit = _mm512_set1_ps(t);
  const __m512i one = _mm512_set1_epi32(1);
  __m512i count[4];
  long i = 0;
  for (int j = 0; j < 4; ++j) count[j] = _mm512_setzero_si512();
  for (; i + 64 <= n; i += 64) {
    for (int j = 0; j < 4; ++j) count[j] = _mm512_mask_add_epi32(count[j], _mm512_cmp_ps_mask(_mm512_loadu_ps(x + i + 16 * j), limit, _CMP_GE_OQ), count[j], one);
  }
  for (; i < n; i += 16) {
    const __mmask16 on = spc_lanes_left(n - i);
    count[0] = _mm512_mask_add_epi32(count[0], _mm512_mask_cmp_ps_mask(on, _mm512_maskz_loadu_ps(on, x + i), limit, _CMP_GE_OQ), count[0], one);
  }
  return _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_add_epi32(count[0], count[1]), _mm512_add_epi32(count[2], count[3])));
#else
  int32_t count = 0;
  for (long i = 0; i < n; ++i) count += x[i] >= t;
  return count;
#endif
}

/* Mean and standard deviation; anything where elements are not finite. */
SPC_INLINE void spc_moments(const float *x, long n, float *mean, float *deviation) {
  spc_f32x16 sum[2], squares[2];
  float s = 0.0f, q = 0.0f;
  long i = 0;
  for (int j = 0; j < 2; ++j) sum[j] = squares[j] = spc_splat_f32x16(0.0f);
  for (; i + 32 <= n; i += 32) for (int j = 0; j < 2; ++j) {
    const spc_f32x16 v = spc_load_f32x16(x + i + 16 * j);
    sum[j] += v;
    squares[j] += v * v;
  }
  for (; i < n; ++i) { s += x[i]; q += x[i] * x[i]; }
  s = (s + spc_hsum_f32x16(sum[0] + sum[1])) / (float)n;
  q = (q + spc_hsum_f32x16(squares[0] + squares[1])) / (float)n - s * s;
  *mean = s;
  *deviation = q > 0.0f ? sqrtf(q) : 0.0f;
}

/* Elements in [low, high) one after the other, room beyond: their number. */
SPC_INLINE long spc_gather_between(float *y, const float *x, long n, float low, float high) {
  long count = 0;
#if defined(__AVX512F__)
  for (long i = 0; i < n; i += 16) {
    const __mmask16 on = spc_lanes_left(n - i);
    const __m512 v = _mm512_maskz_loadu_ps(on, x + i);
    const __mmask16 found = _mm512_mask_cmp_ps_mask(_mm512_mask_cmp_ps_mask(on, v, _mm512_set1_ps(low), _CMP_GE_OQ), v, _mm512_set1_ps(high), _CMP_NGE_UQ);
    if (!found) continue;
    _mm512_storeu_ps(y + count, _mm512_maskz_compress_ps(found, v));
    count += __builtin_popcount(found);
  }
#else
  for (long i = 0; i < n; ++i) if (x[i] >= low && !(x[i] >= high)) y[count++] = x[i];
#endif
  return count;
}

/* What wins: the elements from `limit` on, `count` of them. More than k: those above it, and of those equal to it the first. */
typedef struct { float limit; long count; } spc_threshold;
/* Elements among which the k-th is looked for one by one: a vector. */
#define SPC_FEW 16
#if defined(__AVX512F__)
SPC_INLINE long spc_few_from(const float *x, long n, float t) { return __builtin_popcount(_mm512_mask_cmp_ps_mask(spc_lanes_left(n), _mm512_loadu_ps(x), _mm512_set1_ps(t), _CMP_GE_OQ)); }
SPC_INLINE long spc_few_equal(const float *x, long n, float t) { return __builtin_popcount(_mm512_mask_cmp_ps_mask(spc_lanes_left(n), _mm512_loadu_ps(x), _mm512_set1_ps(t), _CMP_EQ_OQ)); }
#else
SPC_INLINE long spc_few_from(const float *x, long n, float t) { long count = 0; for (long i = 0; i < n; ++i) count += x[i] >= t; return count; }
SPC_INLINE long spc_few_equal(const float *x, long n, float t) { long count = 0; for (long i = 0; i < n; ++i) count += x[i] == t; return count; }
#endif

/*
 * The threshold of the k largest, 1 <= k <= n: count the elements from a value on, and move the value between the bounds found, as if elements
 * lay evenly between them, at last by halves. Fewer than k numbers: count < k.
 */
SPC_OUT_OF_LINE spc_threshold spc_find_threshold(const float *x, long n, long k) {
  int64_t low = spc_key(-INFINITY), high = (int64_t)spc_key(INFINITY) + 1;
  long from_low = n, from_high = 0;
  float mean, deviation, guess;
  spc_moments(x, n, &mean, &deviation);
  if (mean != mean) {
    /* there may be NaNs */
    from_low = spc_count_from(x, n, -INFINITY);
    if (from_low < k) return (spc_threshold){-INFINITY, from_low};
  }
  guess = mean + deviation * (1.0f - 2.0f * (float)k / (float)n);
  for (int steps = 0; high - low > 1 && from_low - from_high > SPC_FEW; ++steps) {
    int64_t t = spc_key(guess);
    if (!(t > low && t < high) || steps >= 12) t = low + (high - low) / 2;
    const float value = spc_of_key((int32_t)t);
    const long count = spc_count_from(x, n, value);
    if (count == k) return (spc_threshold){value, count};
    if (count > k) { low = t; from_low = count; } else { high = t; from_high = count; }
    const float bottom = spc_of_key((int32_t)low), top = spc_of_key((int32_t)(high - 1));
    if (bottom > -INFINITY && top < INFINITY) guess = bottom + (top - bottom) * ((float)(from_low - k) / (float)(from_low - from_high));
    else guess = value + (float)(count > k ? count - k + 4 : count - k - 4) * (3.0f / (float)n) * deviation;
  }
  if (from_low - from_high <= SPC_FEW && high - low > 1) {
    float few[SPC_FEW + SPC_LANES];
    const long m = spc_gather_between(few, x, n, spc_of_key((int32_t)low), spc_of_key((int32_t)high));
    for (long i = 0; i < m; ++i) {
      const long from = from_high + spc_few_from(few, m, few[i]);
      if (from >= k && from - spc_few_equal(few, m, few[i]) < k) return (spc_threshold){few[i], from};
    }
  }
  return (spc_threshold){spc_of_key((int32_t)low), from_low};
}

/* Completes a list: positions to look at in advance, and whether all values are finite. */
SPC_INLINE void spc_list_end(int32_t *list, const float *values, long count) {
  int finite = 1;
  for (long i = 0; i < count; ++i) finite &= values[i] - values[i] == 0.0f;
  for (int i = 0; i < SPC_AHEAD; ++i) list[SPC_LIST + count + i] = 0;
  list[0] = (int32_t)count;
  list[1] = finite;
}

/* Lists what wins of n elements in an order of positions: those above the threshold, so many of those equal to it, and so many NaNs. */
SPC_OUT_OF_LINE void spc_list_in_order(int32_t *list, float *values, const float *x, long n, float limit, long equal, long nans, const uint32_t *order) {
  long count = 0;
  for (long i = 0; i < n; ++i) {
    const long at = order ? (long)order[i] : i;
    const float v = x[at];
    if (!(v > limit) && !(v == limit && equal-- > 0) && !(v != v && nans-- > 0)) continue;
    list[SPC_LIST + count] = (int32_t)at;
    values[count++] = v;
  }
  spc_list_end(list, values, count);
}

/* Lists elements of x (or, where x is NULL, of the list itself) that compare with t: not less than it, or not equal to it (NaNs are not). Their number. */
#if defined(__AVX512F__)
#define SPC_LIST_WHERE(name, in_lanes, in_words)                                                                                 \
  SPC_INLINE long name(int32_t *list, float *values, const float *x, long n, float t) {                                          \
    __m512i at = (__m512i)spc_lane_numbers();                                                                                    \
    long count = 0;                                                                                                              \
    for (long i = 0; i < n; i += 16, at = _mm512_add_epi32(at, _mm512_set1_epi32(16))) {                                         \
      const __mmask16 on = spc_lanes_left(n - i);                                                                                \
      const __m512 v = _mm512_maskz_loadu_ps(on, (x ? x : values) + i);                                                          \
      const __m512i positions = x ? at : _mm512_maskz_loadu_epi32(on, list + SPC_LIST + i);                                      \
      const __mmask16 found = _mm512_mask_cmp_ps_mask(on, v, _mm512_set1_ps(t), in_lanes);                                       \
      _mm512_storeu_ps(values + count, _mm512_maskz_compress_ps(found, v));                                                      \
      _mm512_storeu_si512(list + SPC_LIST + count, _mm512_maskz_compress_epi32(found, positions));                               \
      count += __builtin_popcount(found);                                                                                        \
    }                                                                                                                            \
    return count;                                                                                                                \
  }
#else
#define SPC_LIST_WHERE(name, in_lanes, in_words)                                                                                 \
  SPC_INLINE long name(int32_t *list, float *values, const float *x, long n, float t) {                                          \
    long count = 0;                                                                                                              \
    for (long i = 0; i < n; ++i) {                                                                                               \
      const float v = (x ? x : values)[i];                                                                                       \
      list[SPC_LIST + count] = x ? (int32_t)i : list[SPC_LIST + i];                                                              \
      values[count] = v;                                                                                                         \
      count += v in_words t;                                                                                                     \
    }                                                                                                                            \
    return count;                                                                                                                \
  }
#endif
SPC_LIST_WHERE(spc_list_from, _CMP_GE_OQ, >=)
SPC_LIST_WHERE(spc_list_unequal, _CMP_NEQ_UQ, !=)

/* Lists the elements that are not zero. */
SPC_INLINE void spc_list_nonzero(int32_t *list, float *values, const float *x, long n) {
  spc_list_end(list, values, spc_list_unequal(list, values, x, n, 0.0f));
}

/*
 * Lists the k largest elements; all: also those that equal the k-th. First those are listed among which they probably are, from a value on that
 * some more elements of a normal distribution reach, `quantile` standard deviations above the mean; then they are looked for there.
 */
SPC_OUT_OF_LINE void spc_winners_list(int32_t *list, float *values, const float *x, long n, long k, int all, float quantile, const uint32_t *order) {
  float mean, deviation;
  spc_moments(x, n, &mean, &deviation);
  const long some = n > 2 * SPC_FEW ? spc_list_from(list, values, x, n, mean + deviation * quantile) : 0;
  const int found = some >= k;
  const spc_threshold t = found ? spc_find_threshold(values, some, k) : spc_find_threshold(x, n, k);
  if (t.count < k) {
    spc_list_in_order(list, values, x, all ? 0 : n, -INFINITY, n, k - t.count, order);
  } else if (t.count > k && !all) {
    const long above = spc_count_from(x, n, spc_of_key(spc_key(t.limit == 0.0f ? 0.0f : t.limit) + 1));
    spc_list_in_order(list, values, x, n, t.limit, k - above, 0, order);
  } else {
    spc_list_end(list, values, found ? spc_list_from(list, values, NULL, some, t.limit) : spc_list_from(list, values, x, n, t.limit));
  }
}

/* The k largest elements, zeros elsewhere; y may be x. */
SPC_INLINE void spc_winners_dense(float *y, int32_t *list, float *values, const float *x, long n, long k, int all, float quantile, const uint32_t *order) {
  spc_winners_list(list, values, x, n, k, all, quantile, order);
  memset(y, 0, (size_t)n * sizeof(float));
  for (int32_t i = 0; i < list[0]; ++i) y[list[SPC_LIST + i]] = values[i];
}

/* Sorted descending: 8 vectors, lane by lane (19 exchanges); then the 8 largest of 8 and 8 more, both sorted. */
#if defined(__AVX512F__)
SPC_INLINE spc_i32x16 spc_larger(spc_i32x16 a, spc_i32x16 b) { return (spc_i32x16)_mm512_max_epi32((__m512i)a, (__m512i)b); }
SPC_INLINE spc_i32x16 spc_smaller(spc_i32x16 a, spc_i32x16 b) { return (spc_i32x16)_mm512_min_epi32((__m512i)a, (__m512i)b); }
#else
SPC_INLINE spc_i32x16 spc_larger(spc_i32x16 a, spc_i32x16 b) { for (int i = 0; i < 16; ++i) a[i] = a[i] > b[i] ? a[i] : b[i]; return a; }
SPC_INLINE spc_i32x16 spc_smaller(spc_i32x16 a, spc_i32x16 b) { for (int i = 0; i < 16; ++i) a[i] = a[i] < b[i] ? a[i] : b[i]; return a; }
#endif
#define SPC_EXCHANGE(i, j) { const spc_i32x16 high = spc_larger(v[i], v[j]); v[j] = spc_smaller(v[i], v[j]); v[i] = high; }
SPC_INLINE void spc_sort_8(spc_i32x16 v[8]) {
  SPC_EXCHANGE(0, 1) SPC_EXCHANGE(2, 3) SPC_EXCHANGE(4, 5) SPC_EXCHANGE(6, 7)
  SPC_EXCHANGE(0, 2) SPC_EXCHANGE(1, 3) SPC_EXCHANGE(4, 6) SPC_EXCHANGE(5, 7)
  SPC_EXCHANGE(1, 2) SPC_EXCHANGE(5, 6) SPC_EXCHANGE(0, 4) SPC_EXCHANGE(3, 7)
  SPC_EXCHANGE(1, 5) SPC_EXCHANGE(2, 6)
  SPC_EXCHANGE(1, 4) SPC_EXCHANGE(3, 6)
  SPC_EXCHANGE(2, 4) SPC_EXCHANGE(3, 5)
  SPC_EXCHANGE(3, 4)
}
SPC_INLINE void spc_merge_8(spc_i32x16 v[8], const spc_i32x16 more[8]) {
  for (int i = 0; i < 8; ++i) v[i] = spc_larger(v[i], more[7 - i]);
  SPC_EXCHANGE(0, 4) SPC_EXCHANGE(1, 5) SPC_EXCHANGE(2, 6) SPC_EXCHANGE(3, 7)
  SPC_EXCHANGE(0, 2) SPC_EXCHANGE(1, 3) SPC_EXCHANGE(4, 6) SPC_EXCHANGE(5, 7)
  SPC_EXCHANGE(0, 1) SPC_EXCHANGE(2, 3) SPC_EXCHANGE(4, 5) SPC_EXCHANGE(6, 7)
}

/* Channels c to c + 16 of up to 16 pixels as integers, lanes being pixels: floats as they are, or (keyed) as keys, NaNs the least; the least beyond the last channel. */
SPC_INLINE void spc_lanes_of_pixels(spc_i32x16 v[16], const float *x, long pixels, long channels, long c, int keyed) {
  const int n = (int)(channels - c < SPC_LANES ? channels - c : SPC_LANES);
#if defined(__AVX512F__)
  const __mmask16 on = spc_lanes_left(n);
  __m512 r[16];
  for (int l = 0; l < SPC_LANES; ++l) r[l] = _mm512_maskz_loadu_ps(l < pixels ? on : 0, x + (l < pixels ? l : 0) * channels + c);
  spc_transpose_f32x16(r);
  for (int i = 0; i < 16; ++i) v[i] = (spc_i32x16)_mm512_castps_si512(r[i]);
#else
  for (int i = 0; i < 16; ++i) for (int l = 0; l < SPC_LANES; ++l) v[i][l] = i < n && l < pixels ? (int32_t)spc_bits_f32(x[l * channels + c + i]) : 0;
#endif
  if (keyed) for (int i = 0; i < 16; ++i) {
    const spc_i32x16 magnitude = v[i] & INT32_MAX, nan = (0x7f800000 - magnitude) >> 31, zero = ~((0 - magnitude) >> 31);
    v[i] = (((v[i] ^ ((v[i] >> 31) & INT32_MAX)) & ~zero) & ~nan) | (nan & INT32_MIN);
  }
  for (int i = n; i < 16; ++i) v[i] = spc_splat_i32x16(INT32_MIN);
}

/* Of each pixel's channels as integers: the largest, the k-th largest (k <= 8), and the next one where k < 8, else the k-th again. */
typedef struct { spc_i32x16 first, kth, next; } spc_best;
SPC_INLINE spc_best spc_best_of_pixels(const float *x, long pixels, long channels, int k, int keyed) {
  spc_i32x16 v[8], more[16], sorted[8];
  for (int i = 0; i < 8; ++i) v[i] = spc_splat_i32x16(INT32_MIN);
  for (long c = 0; c < channels; c += SPC_LANES) {
    spc_lanes_of_pixels(more, x, pixels, channels, c, keyed);
    spc_sort_8(more);
    spc_merge_8(v, more);
    spc_sort_8(more + 8);
    spc_merge_8(v, more + 8);
  }
  /* copied, because a number that is not known keeps an array out of registers */
  for (int i = 0; i < 8; ++i) sorted[i] = v[i];
  return (spc_best){v[0], sorted[k - 1], sorted[k < 8 ? k : k - 1]};
}

/*
 * The k <= 8 largest of the channels of up to 16 pixels that follow each other, zeros elsewhere; y may be x. Lanes are pixels, compared as integers: as
 * they are while the k-th is positive, and else as keys, which order all numbers. What else there can be (too few numbers) is found pixel by pixel.
 */
SPC_OUT_OF_LINE void spc_winners_pixels(float *y, int32_t *list, float *values, const float *x, long pixels, long channels, int k, int all, float quantile) {
  int32_t limit[SPC_LANES], next[SPC_LANES];
  spc_best best = spc_best_of_pixels(x, pixels, channels, k, 0);
  /* not positive, or a NaN before it */
  const spc_i32x16 unfit = (best.kth | (best.kth - 1) | (0x7f800000 - best.first)) >> 31, there = (spc_lane_numbers() - (int32_t)pixels) >> 31;
  const int keyed = spc_hsum_i32x16(unfit & there) != 0;
  if (keyed) best = spc_best_of_pixels(x, pixels, channels, k, 1);
  spc_store_i32x16(limit, best.kth);
  spc_store_i32x16(next, best.next);
  for (long p = 0; p < pixels; ++p, x += channels, y += channels) {
    if (limit[p] == INT32_MIN) {
      spc_winners_dense(y, list, values, x, channels, k, all, quantile, NULL);
      continue;
    }
    const float t = keyed ? spc_of_key(limit[p]) : spc_from_bits_f32((uint32_t)limit[p]);
    /* there may be too many equal ones: the last go; zeros may stay zeros */
    long extra = next[p] == limit[p] && t != 0.0f && !all ? spc_count_from(x, channels, t) - k : 0, c = 0;
#if defined(__AVX512F__)
    const __m512 least = _mm512_set1_ps(t);
    for (; c + SPC_LANES <= channels; c += SPC_LANES) {
      const __m512 v = _mm512_loadu_ps(x + c);
      _mm512_storeu_ps(y + c, _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, least, _CMP_GE_OQ), v));
    }
#endif
    for (; c < channels; ++c) y[c] = x[c] >= t ? x[c] : 0.0f;
    for (c = channels - 1; extra > 0; --c) if (y[c] == t) { y[c] = 0.0f; --extra; }
  }
}

#endif
