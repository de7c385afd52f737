/*
 * spc_vector.h - vectors of 4, 8 and 16 elements on GCC/Clang vector extensions, as kernels for CPUs use them. A lane count that
 * the machine does not have is still correct (the compiler splits it); spc picks the one that it has.
 */
#ifndef SPC_VECTOR_H
#define SPC_VECTOR_H

#include "spc_math.h"

/* f(lane) for every lane; compilers turn the loop into vector instructions. */
#define SPC_LANES(N, expression) for (int lane = 0; lane < (N); ++lane) result[lane] = (expression)

/* Types, loads and stores. `n` is a literal, so that copying n elements is a few moves. */
#define SPC_VECTOR(type, t, N)                                                                                  \
  typedef type spc_##t##x##N __attribute__((vector_size(sizeof(type) * N)));                                    \
  SPC_INLINE spc_##t##x##N spc_load_##t##x##N(const type *p) { spc_##t##x##N v; memcpy(&v, p, sizeof v); return v; } \
  SPC_INLINE void spc_store_##t##x##N(type *p, spc_##t##x##N v) { memcpy(p, &v, sizeof v); }                    \
  SPC_INLINE spc_##t##x##N spc_loadn_##t##x##N(const type *p, int n) {                                          \
    spc_##t##x##N v = {0};                                                                                      \
    memcpy(&v, p, sizeof(type) * (size_t)n);                                                                    \
    return v;                                                                                                   \
  }                                                                                                             \
  SPC_INLINE void spc_storen_##t##x##N(type *p, spc_##t##x##N v, int n) { memcpy(p, &v, sizeof(type) * (size_t)n); }

/* x - 0 is x, also where x is -0. */
#define SPC_ARITHMETIC(type, t, N)                                                                              \
  SPC_INLINE spc_##t##x##N spc_splat_##t##x##N(type x) { return x - (spc_##t##x##N){0}; }                       \
  SPC_INLINE spc_##t##x##N spc_select_##t##x##N(spc_i32x##N mask, spc_##t##x##N a, spc_##t##x##N b) {           \
    spc_##t##x##N result; SPC_LANES(N, mask[lane] ? a[lane] : b[lane]); return result;                          \
  }                                                                                                             \
  SPC_INLINE spc_##t##x##N spc_min_##t##x##N(spc_##t##x##N a, spc_##t##x##N b) {                                \
    spc_##t##x##N result; SPC_LANES(N, b[lane] < a[lane] ? b[lane] : a[lane]); return result;                   \
  }                                                                                                             \
  SPC_INLINE spc_##t##x##N spc_max_##t##x##N(spc_##t##x##N a, spc_##t##x##N b) {                                \
    spc_##t##x##N result; SPC_LANES(N, b[lane] > a[lane] ? b[lane] : a[lane]); return result;                   \
  }

/* A scalar function on every lane. Through an array, because Clang vectorises loops over arrays only. */
#define SPC_MAP(f, scalar, N)                                                                                   \
  SPC_INLINE spc_f32x##N spc_##f##_f32x##N(spc_f32x##N x) {                                                     \
    float v[N];                                                                                                 \
    memcpy(v, &x, sizeof v);                                                                                    \
    for (int lane = 0; lane < N; ++lane) v[lane] = scalar(v[lane]);                                             \
    memcpy(&x, v, sizeof v);                                                                                    \
    return x;                                                                                                   \
  }

#define SPC_VECTORS(N)                                                                                          \
  SPC_VECTOR(float, f32, N)                                                                                     \
  SPC_VECTOR(int32_t, i32, N)                                                                                   \
  SPC_VECTOR(int16_t, i16, N)                                                                                   \
  SPC_VECTOR(uint16_t, u16, N)                                                                                  \
  SPC_VECTOR(int8_t, i8, N)                                                                                     \
  SPC_VECTOR(uint8_t, u8, N)                                                                                    \
  SPC_ARITHMETIC(float, f32, N)                                                                                 \
  SPC_ARITHMETIC(int32_t, i32, N)                                                                               \
  SPC_MAP(exp, spc_exp_f32, N) SPC_MAP(log, spc_log_f32, N) SPC_MAP(tanh, spc_tanh_f32, N)                      \
  SPC_MAP(erf, spc_erf_f32, N) SPC_MAP(sigmoid, spc_sigmoid_f32, N) SPC_MAP(round, spc_round_f32, N)            \
  SPC_MAP(abs, fabsf, N) SPC_MAP(sqrt, sqrtf, N)                                                      \
  SPC_MAP(floor, floorf, N) SPC_MAP(ceil, ceilf, N) SPC_MAP(trunc, truncf, N)                    \
  /* as spc_to_i32, for the values of one instruction: out of range is the minimum */                           \
  SPC_INLINE spc_i32x##N spc_to_i32x##N(spc_f32x##N x) {                                                        \
    spc_i32x##N result;                                                                                         \
    SPC_LANES(N, x[lane] >= -0x1p31f && x[lane] < 0x1p31f ? (int32_t)x[lane] : INT32_MIN);                      \
    return result;                                                                                              \
  }
SPC_VECTORS(4)
SPC_VECTORS(8)
SPC_VECTORS(16)

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
#endif
