/*
 * spc_vector.h - vectors of 4, 8 and 16 elements on GCC/Clang vector extensions, as kernels for CPUs use them. A lane count that
 * the machine does not have is still correct (the compiler splits it); spc picks the one that it has. Intrinsics appear only
 * where vector extensions have no word for an instruction: minima, masked moves, square roots.
 */
#ifndef SPC_VECTOR_H
#define SPC_VECTOR_H

#include "spc_math.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif
#if defined(__GNUC__)
/* How vectors that the machine does not have are passed between functions differs between compilers; these are all inlined. */
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

/*
 * Keeps a sum of integers as it is written. GCC would reorder it (integer addition is associative), compute all products first and
 * run out of registers.
 */
#if defined(__AVX512VL__)
#define SPC_KEEP(sum) __asm__("" : "+v"(sum))
#elif defined(__SSE2__)
#define SPC_KEEP(sum) __asm__("" : "+x"(sum))
#else
#define SPC_KEEP(sum) ((void)0)
#endif

/* Types, loads and stores. */
#define SPC_VECTOR(type, t, N)                                                                                  \
  typedef type spc_##t##x##N __attribute__((vector_size(sizeof(type) * N)));                                    \
  SPC_INLINE spc_##t##x##N spc_load_##t##x##N(const type *p) { spc_##t##x##N v; memcpy(&v, p, sizeof v); return v; } \
  SPC_INLINE void spc_store_##t##x##N(type *p, spc_##t##x##N v) { memcpy(p, &v, sizeof v); }
/* The first n elements only; lanes beyond are 0. n is a literal, so that copying is a few moves. */
#define SPC_PARTIAL(type, t, N)                                                                                 \
  SPC_INLINE spc_##t##x##N spc_loadn_##t##x##N(const type *p, int n) {                                          \
    spc_##t##x##N v = {0};                                                                                      \
    memcpy(&v, p, sizeof(type) * (size_t)n);                                                                    \
    return v;                                                                                                   \
  }                                                                                                             \
  SPC_INLINE void spc_storen_##t##x##N(type *p, spc_##t##x##N v, int n) { memcpy(p, &v, sizeof(type) * (size_t)n); }
/*
 * The same in one instruction. GCC must not know the mask: where it does, it may make a blend of a masked store, which reads and
 * writes the whole vector, beyond the end of what the caller gave (GCC 12, n = 1).
 */
#define SPC_PARTIAL_MASKED(type, t, N, load, store, m)                                                          \
  SPC_INLINE spc_##t##x##N spc_loadn_##t##x##N(const type *p, int n) { return (spc_##t##x##N)load((m)spc_first(n), p); } \
  SPC_INLINE void spc_storen_##t##x##N(type *p, spc_##t##x##N v, int n) { store(p, (m)spc_first(n), v); }

/* Splat: x - 0 is x, also where x is -0. Select: lanes of a mask are all ones or all zeros. */
#define SPC_SELECT(type, t, N)                                                                                  \
  SPC_INLINE spc_##t##x##N spc_splat_##t##x##N(type x) { return x - (spc_##t##x##N){0}; }                       \
  SPC_INLINE spc_##t##x##N spc_select_##t##x##N(spc_i32x##N mask, spc_##t##x##N a, spc_##t##x##N b) {           \
    return (spc_##t##x##N)(((spc_i32x##N)a & mask) | ((spc_i32x##N)b & ~mask));                                 \
  }
/* min/max: `a` unless `b` is strictly smaller (larger). The x86 instructions do that with their operands exchanged. */
#define SPC_ORDER(t, N)                                                                                         \
  SPC_INLINE spc_##t##x##N spc_min_##t##x##N(spc_##t##x##N a, spc_##t##x##N b) { return spc_select_##t##x##N(b < a, b, a); } \
  SPC_INLINE spc_##t##x##N spc_max_##t##x##N(spc_##t##x##N a, spc_##t##x##N b) { return spc_select_##t##x##N(b > a, b, a); }
#define SPC_ORDER_X86(N, prefix)                                                                                \
  SPC_INLINE spc_f32x##N spc_min_f32x##N(spc_f32x##N a, spc_f32x##N b) { return prefix##_min_ps(b, a); }        \
  SPC_INLINE spc_f32x##N spc_max_f32x##N(spc_f32x##N a, spc_f32x##N b) { return prefix##_max_ps(b, a); }        \
  SPC_INLINE spc_f32x##N spc_sqrt_f32x##N(spc_f32x##N x) { return prefix##_sqrt_ps(x); }
#define SPC_SQRT(N)                                                                                             \
  SPC_INLINE spc_f32x##N spc_sqrt_f32x##N(spc_f32x##N x) { for (int i = 0; i < N; ++i) x[i] = sqrtf(x[i]); return x; }

/* Rounding to nearest, and to an integer that is known to fit: one instruction where there is one. */
#define SPC_ROUND_N(N)                                                                                          \
  SPC_ROUND_F32(spc_f32x##N, f32x##N)                                                                           \
  SPC_INLINE spc_i32x##N spc_nearest_i32x##N(spc_f32x##N x) { return __builtin_convertvector(spc_round_f32x##N(x), spc_i32x##N); }
#if defined(__SSE4_1__)
#define SPC_ROUND_4                                                                                             \
  SPC_INLINE spc_f32x4 spc_round_f32x4(spc_f32x4 x) { return _mm_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); } \
  SPC_INLINE spc_i32x4 spc_nearest_i32x4(spc_f32x4 x) { return (spc_i32x4)_mm_cvtps_epi32(x); }
#else
#define SPC_ROUND_4 SPC_ROUND_N(4)
#endif
#if defined(__AVX__)
#define SPC_ROUND_8                                                                                             \
  SPC_INLINE spc_f32x8 spc_round_f32x8(spc_f32x8 x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); } \
  SPC_INLINE spc_i32x8 spc_nearest_i32x8(spc_f32x8 x) { return (spc_i32x8)_mm256_cvtps_epi32(x); }
#else
#define SPC_ROUND_8 SPC_ROUND_N(8)
#endif
#if defined(__AVX512F__)
#define SPC_ROUND_16                                                                                             \
  SPC_INLINE spc_f32x16 spc_round_f32x16(spc_f32x16 x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); } \
  SPC_INLINE spc_i32x16 spc_nearest_i32x16(spc_f32x16 x) { return (spc_i32x16)_mm512_cvtps_epi32(x); }
#else
#define SPC_ROUND_16 SPC_ROUND_N(16)
#endif
/* The functions of spc_math.h; floor and its kin come from rounding to nearest. */
#define SPC_VECTOR_MATH(N)                                                                                      \
  SPC_MATH_F32(spc_f32x##N, spc_i32x##N, spc_u32x##N, f32x##N, __builtin_convertvector)                         \
  SPC_ROUND_##N                                                                                                 \
  SPC_INLINE spc_f32x##N spc_floor_f32x##N(spc_f32x##N x) {                                                     \
    const spc_f32x##N r = spc_round_f32x##N(x);                                                                 \
    return r - spc_select_f32x##N(r > x, spc_splat_f32x##N(1.0f), spc_splat_f32x##N(0.0f));                     \
  }                                                                                                             \
  SPC_INLINE spc_f32x##N spc_ceil_f32x##N(spc_f32x##N x) { return -spc_floor_f32x##N(-x); }                     \
  SPC_INLINE spc_f32x##N spc_trunc_f32x##N(spc_f32x##N x) { return spc_signed_f32x##N(spc_floor_f32x##N(spc_abs_f32x##N(x)), x); } \
  /* as spc_to_i32, for the values of one instruction: out of range is the minimum */                           \
  SPC_INLINE spc_i32x##N spc_to_i32x##N(spc_f32x##N x) {                                                        \
    const spc_i32x##N inside = (x >= -0x1p31f) & (x < 0x1p31f);                                                 \
    const spc_f32x##N safe = spc_select_f32x##N(inside, x, spc_splat_f32x##N(0.0f));                            \
    return spc_select_i32x##N(inside, __builtin_convertvector(safe, spc_i32x##N), spc_splat_i32x##N(INT32_MIN)); \
  }

#define SPC_VECTORS(N)                                                                                          \
  SPC_VECTOR(float, f32, N)                                                                                     \
  SPC_VECTOR(int32_t, i32, N)                                                                                   \
  SPC_VECTOR(uint32_t, u32, N)                                                                                  \
  SPC_VECTOR(int16_t, i16, N) SPC_PARTIAL(int16_t, i16, N)                                                      \
  SPC_VECTOR(uint16_t, u16, N) SPC_PARTIAL(uint16_t, u16, N)                                                    \
  SPC_VECTOR(int8_t, i8, N) SPC_PARTIAL(int8_t, i8, N)                                                          \
  SPC_VECTOR(uint8_t, u8, N) SPC_PARTIAL(uint8_t, u8, N)                                                        \
  SPC_SELECT(float, f32, N)                                                                                     \
  SPC_SELECT(int32_t, i32, N)                                                                                   \
  SPC_ORDER(i32, N)                                                                                             \
  SPC_VECTOR_MATH(N)                                                                                            \
  /* bf16 is the upper half of a float */                                                                       \
  SPC_INLINE spc_f32x##N spc_load_bf16x##N(const uint16_t *p) {                                                 \
    return (spc_f32x##N)(__builtin_convertvector(spc_load_u16x##N(p), spc_u32x##N) << 16);                      \
  }                                                                                                             \
  /* two vectors whose elements take turns: little-endian pairs, taken apart without shuffles */                \
  SPC_INLINE spc_f32x##N spc_load_even_bf16x##N(const uint16_t *p) {                                            \
    spc_u32x##N v;                                                                                              \
    memcpy(&v, p, sizeof v);                                                                                    \
    return (spc_f32x##N)(v << 16);                                                                              \
  }                                                                                                             \
  SPC_INLINE spc_f32x##N spc_load_odd_bf16x##N(const uint16_t *p) {                                             \
    spc_u32x##N v;                                                                                              \
    memcpy(&v, p, sizeof v);                                                                                    \
    return (spc_f32x##N)(v & 0xffff0000u);                                                                      \
  }
SPC_VECTORS(4)
SPC_VECTORS(8)
SPC_VECTORS(16)

#if defined(__AVX512F__) && defined(__AVX512VL__)
SPC_INLINE unsigned spc_first(int n) {
  unsigned mask = (1u << n) - 1u;
#if !defined(__clang__)
  __asm__("" : "+r"(mask));
#endif
  return mask;
}
SPC_PARTIAL_MASKED(float, f32, 16, _mm512_maskz_loadu_ps, _mm512_mask_storeu_ps, __mmask16)
SPC_PARTIAL_MASKED(float, f32, 8, _mm256_maskz_loadu_ps, _mm256_mask_storeu_ps, __mmask8)
SPC_PARTIAL_MASKED(float, f32, 4, _mm_maskz_loadu_ps, _mm_mask_storeu_ps, __mmask8)
#else
SPC_PARTIAL(float, f32, 16)
SPC_PARTIAL(float, f32, 8)
SPC_PARTIAL(float, f32, 4)
#endif
SPC_PARTIAL(int32_t, i32, 16)
SPC_PARTIAL(int32_t, i32, 8)
SPC_PARTIAL(int32_t, i32, 4)

#define SPC_FMA_INTEGER(N)                                                                                      \
  SPC_INLINE spc_i32x##N spc_fma_i32x##N(spc_i32x##N a, spc_i32x##N b, spc_i32x##N c) { c += a * b; SPC_KEEP(c); return c; }
SPC_FMA_INTEGER(4)
#if defined(__AVX2__)
SPC_FMA_INTEGER(8)
#endif
#if defined(__AVX512F__)
SPC_FMA_INTEGER(16)
#endif

/* c + x[0] b[2 l] + x[1] b[2 l + 1] in lane l. */
#define SPC_DOT2_X86(N, N2, set, madd, vector)                                                                  \
  SPC_INLINE spc_i32x##N spc_dot2_i32x##N(const int16_t *x, spc_i16x##N2 b, spc_i32x##N c) {                    \
    int pair;                                                                                                   \
    memcpy(&pair, x, sizeof pair);                                                                              \
    c += (spc_i32x##N)madd(set(pair), (vector)b);                                                               \
    SPC_KEEP(c);                                                                                                \
    return c;                                                                                                   \
  }
#define SPC_DOT2(N, N2)                                                                                         \
  SPC_INLINE spc_i32x##N spc_dot2_i32x##N(const int16_t *x, spc_i16x##N2 b, spc_i32x##N c) {                    \
    for (int i = 0; i < N; ++i) c[i] += x[0] * b[2 * i] + x[1] * b[2 * i + 1];                                  \
    return c;                                                                                                   \
  }
SPC_VECTOR(int16_t, i16, 32)
#if defined(__AVX512BW__)
SPC_DOT2_X86(16, 32, _mm512_set1_epi32, _mm512_madd_epi16, __m512i)
#else
SPC_DOT2(16, 32)
#endif
#if defined(__AVX2__)
SPC_DOT2_X86(8, 16, _mm256_set1_epi32, _mm256_madd_epi16, __m256i)
#else
SPC_DOT2(8, 16)
#endif
#if defined(__SSE2__)
SPC_DOT2_X86(4, 8, _mm_set1_epi32, _mm_madd_epi16, __m128i)
#else
SPC_DOT2(4, 8)
#endif

/* In halves: GCC compares vectors that the machine does not have element by element. */
#define SPC_ORDER_HALVES(N, H)                                                                                  \
  SPC_INLINE spc_f32x##N spc_min_f32x##N(spc_f32x##N a, spc_f32x##N b) {                                        \
    spc_f32x##H x[2], y[2]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b);                                   \
    x[0] = spc_min_f32x##H(x[0], y[0]); x[1] = spc_min_f32x##H(x[1], y[1]); memcpy(&a, x, sizeof a); return a;  \
  }                                                                                                             \
  SPC_INLINE spc_f32x##N spc_max_f32x##N(spc_f32x##N a, spc_f32x##N b) {                                        \
    spc_f32x##H x[2], y[2]; memcpy(x, &a, sizeof a); memcpy(y, &b, sizeof b);                                   \
    x[0] = spc_max_f32x##H(x[0], y[0]); x[1] = spc_max_f32x##H(x[1], y[1]); memcpy(&a, x, sizeof a); return a;  \
  }                                                                                                             \
  SPC_INLINE spc_f32x##N spc_sqrt_f32x##N(spc_f32x##N a) {                                                      \
    spc_f32x##H x[2]; memcpy(x, &a, sizeof a);                                                                  \
    x[0] = spc_sqrt_f32x##H(x[0]); x[1] = spc_sqrt_f32x##H(x[1]); memcpy(&a, x, sizeof a); return a;            \
  }
#if defined(__SSE2__)
SPC_ORDER_X86(4, _mm)
#else
SPC_ORDER(f32, 4)
SPC_SQRT(4)
#endif
#if defined(__AVX__)
SPC_ORDER_X86(8, _mm256)
#else
SPC_ORDER_HALVES(8, 4)
#endif
#if defined(__AVX512F__)
SPC_ORDER_X86(16, _mm512)
#else
SPC_ORDER_HALVES(16, 8)
#endif

/* Sums by halves: a fixed order, and as few dependent additions as there can be. */
#define SPC_HSUM(type, t)                                                                                       \
  SPC_INLINE type spc_hsum_##t##x4(spc_##t##x4 v) { return (v[0] + v[2]) + (v[1] + v[3]); }                     \
  SPC_INLINE type spc_hsum_##t##x8(spc_##t##x8 v) {                                                             \
    spc_##t##x4 h[2]; memcpy(h, &v, sizeof v); return spc_hsum_##t##x4(h[0] + h[1]);                            \
  }                                                                                                             \
  SPC_INLINE type spc_hsum_##t##x16(spc_##t##x16 v) {                                                           \
    spc_##t##x8 h[2]; memcpy(h, &v, sizeof v); return spc_hsum_##t##x8(h[0] + h[1]);                            \
  }
SPC_HSUM(float, f32)
SPC_HSUM(int32_t, i32)

/* Word i of vector j becomes word j of vector i, whatever the words are. */
SPC_INLINE void spc_transpose_i32x8(spc_i32x8 r[8]) {
  spc_i32x8 t[8], u[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) for (int j = 0; j < 2; ++j) {
    u[i + 2 * j] = __builtin_shufflevector(t[i + j], t[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    u[i + 2 * j + 1] = __builtin_shufflevector(t[i + j], t[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = __builtin_shufflevector(u[i], u[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = __builtin_shufflevector(u[i], u[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#endif
