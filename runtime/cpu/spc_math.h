/*
 * spc_math.h - scalar functions that generated code calls. All of them are static inline and free of branches, so that GCC and
 * Clang vectorise loops over them; f32 results are within a few units in the last place, with the limits of C's own functions
 * at infinities, NaN, overflow and denormals.
 */
#ifndef SPC_MATH_H
#define SPC_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define SPC_INLINE static inline __attribute__((always_inline, unused))
#else
#define SPC_INLINE static inline
#endif

/*
 * Functions of every arithmetic type, chosen by the type that the operands have in an expression (small integers are int there).
 * min/max: `a` unless `b` is strictly smaller (larger), so a NaN in `a` survives. idiv/imod: 0 where the divisor is 0, and
 * the minimum divided by -1 wraps.
 */
#define SPC_MINMAX(type, t)                                                       \
  SPC_INLINE type spc_min_##t(type a, type b) { return b < a ? b : a; }           \
  SPC_INLINE type spc_max_##t(type a, type b) { return b > a ? b : a; }
#define SPC_UNSIGNED(type, t)                                                     \
  SPC_MINMAX(type, t)                                                             \
  SPC_INLINE type spc_idiv_##t(type a, type b) { return b == 0 ? 0 : a / b; }     \
  SPC_INLINE type spc_imod_##t(type a, type b) { return b == 0 ? 0 : a % b; }
#define SPC_SIGNED(type, t)                                                       \
  SPC_MINMAX(type, t)                                                             \
  SPC_INLINE type spc_iabs_##t(type a) { return (type)(a < 0 ? (unsigned type)0 - (unsigned type)a : (unsigned type)a); } \
  SPC_INLINE type spc_idiv_##t(type a, type b) {                                  \
    return b == 0 ? 0 : b == -1 ? (type)((unsigned type)0 - (unsigned type)a) : a / b; \
  }                                                                               \
  SPC_INLINE type spc_imod_##t(type a, type b) { return b == 0 || b == -1 ? 0 : a % b; }
SPC_MINMAX(float, f)
SPC_MINMAX(double, d)
SPC_UNSIGNED(unsigned int, ui)
SPC_UNSIGNED(unsigned long, ul)
SPC_UNSIGNED(unsigned long long, ull)
SPC_SIGNED(int, i)
SPC_SIGNED(long, l)
SPC_SIGNED(long long, ll)
#define SPC_INTEGER_CASES(f) \
  int: f##_i, unsigned int: f##_ui, long: f##_l, unsigned long: f##_ul, long long: f##_ll, unsigned long long: f##_ull
#define spc_min(a, b) _Generic((a) + (b), float: spc_min_f, double: spc_min_d, SPC_INTEGER_CASES(spc_min))(a, b)
#define spc_max(a, b) _Generic((a) + (b), float: spc_max_f, double: spc_max_d, SPC_INTEGER_CASES(spc_max))(a, b)
#define spc_idiv(a, b) _Generic((a) + (b), SPC_INTEGER_CASES(spc_idiv))(a, b)
#define spc_imod(a, b) _Generic((a) + (b), SPC_INTEGER_CASES(spc_imod))(a, b)
#define spc_iabs(a) _Generic(+(a), int: spc_iabs_i, long: spc_iabs_l, long long: spc_iabs_ll)(a)

/* Integer powers by squaring; a negative exponent gives the truncated reciprocal. */
#define SPC_IPOW(type, t)                                                         \
  SPC_INLINE type spc_ipow_##t(type base, type exponent) {                        \
    const int64_t n = (int64_t)exponent;                                          \
    if (n < 0) return (type)(base == 1 ? 1 : base == (type)-1 ? ((n & 1) ? (type)-1 : (type)1) : (type)0); \
    uint64_t x = (uint64_t)base, result = 1;                                      \
    for (uint64_t e = (uint64_t)n; e != 0; e >>= 1, x *= x) result = (e & 1) ? result * x : result; \
    return (type)result;                                                          \
  }
SPC_IPOW(int8_t, i8)
SPC_IPOW(int16_t, i16)
SPC_IPOW(int32_t, i32)
SPC_IPOW(int64_t, i64)
SPC_IPOW(uint8_t, u8)
SPC_IPOW(uint16_t, u16)
SPC_IPOW(uint32_t, u32)
SPC_IPOW(uint64_t, u64)

/*
 * Float to integer where C leaves it undefined: 32 bits go through int64_t and wrap, what int64_t cannot hold becomes its minimum;
 * 16 bits and less are first brought into int32_t's range. (Written as minimum and maximum, which GCC vectorises also
 * behind other minima; NaN becomes the minimum.)
 */
SPC_INLINE int64_t spc_to_i64(double x) { return x >= -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN; }
SPC_INLINE int32_t spc_to_i32(double x) { return x > -0x1p31 - 1.0 && x < 0x1p31 ? (int32_t)x : (int32_t)spc_to_i64(x); }
SPC_INLINE int32_t spc_to_int_f(float x) { return (int32_t)spc_min_f(spc_max_f(-0x1p31f, x), 0x1.fffffep30f); }
SPC_INLINE int32_t spc_to_int_d(double x) { return (int32_t)spc_min_d(spc_max_d(-0x1p31, x), 0x1.fffffffcp30); }
#define spc_to_int(x) _Generic((x), float: spc_to_int_f, double: spc_to_int_d)(x)
#define spc_to_i16(x) ((int16_t)spc_to_int(x))
#define spc_to_i8(x) ((int8_t)spc_to_int(x))
#define spc_to_u8(x) ((uint8_t)spc_to_int(x))
#define spc_to_u16(x) ((uint16_t)spc_to_int(x))
SPC_INLINE uint32_t spc_to_u32(double x) { return (uint32_t)spc_to_i64(x); }
SPC_INLINE uint64_t spc_to_u64(double x) { return x >= 0x1p63 && x < 0x1p64 ? (uint64_t)x : (uint64_t)spc_to_i64(x); }
SPC_INLINE long spc_to_index(double x) { return (long)spc_to_i64(x); }

SPC_INLINE float spc_splat_f32(float x) { return x; }
SPC_INLINE float spc_select_f32(int mask, float a, float b) { return mask ? a : b; }
#define SPC_SCALAR_CONVERT(x, type) ((type)(x))
SPC_INLINE double spc_sigmoid_f64(double x) { return 1.0 / (1.0 + exp(-x)); }

/*
 * The functions of f32, written once for scalars and vectors (spc_vector.h): F is the type of the values, I and U the signed and
 * unsigned integers of its width, t the ending of the names.
 *
 * exp: e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2. n is read from the low bits of x / ln 2 + 1.5 * 2^23, so nothing
 * that C leaves undefined happens to NaN. e^r - 1 is Taylor's series to r^7. 2^n is a product of two normal numbers, so that
 * overflow and denormals round as they should.
 *
 * tanh |x| = e / (e + 2) with e = e^(2|x|) - 1, exact near 0 because e^r - 1 is; 1 to the last bit from 10 on.
 *
 * log: ln x = k ln 2 + ln m, m in [sqrt(1/2), sqrt 2), ln m = 2 atanh s with s = f / (2 + f), f = m - 1. As 2 s = f - s f and
 * s f = f^2 / 2 - s f^2 / 2, the leading term f stays exact.
 *
 * round: half to even. From 2^23 on every float is an integer, below it 2^23 + x has no fraction. The sign of zero stays.
 *
 * erf: x P(x^2) up to 1, 1 - Q(|x| - 5/2) up to 4, 1 beyond; P and Q interpolate at Chebyshev nodes, with errors of 1.3e-9 (relative) and
 * 5e-8 (absolute).
 */
#define SPC_MATH_F32(F, I, U, t, CONVERT)                                                                       \
  SPC_INLINE U spc_bits_##t(F x) { U u; memcpy(&u, &x, sizeof u); return u; }                                   \
  SPC_INLINE F spc_from_bits_##t(U u) { F x; memcpy(&x, &u, sizeof x); return x; }                              \
  SPC_INLINE F spc_abs_##t(F x) { return spc_from_bits_##t(spc_bits_##t(x) & 0x7fffffffu); }                    \
  /* `magnitude`, which is not negative, with the sign of x */                                                  \
  SPC_INLINE F spc_signed_##t(F magnitude, F x) {                                                               \
    return spc_from_bits_##t(spc_bits_##t(magnitude) | (spc_bits_##t(x) & 0x80000000u));                        \
  }                                                                                                             \
  typedef struct { F r; U n; } spc_exp_parts_##t;                                                               \
  SPC_INLINE spc_exp_parts_##t spc_exp_split_##t(F x) {                                                         \
    const F shifted = x * 0x1.715476p+0f + 0x1.8p23f, n = shifted - 0x1.8p23f;                                  \
    const F r = (x - n * 0x1.62e400p-1f) - n * 0x1.7f7d1cp-20f;                                                 \
    const spc_exp_parts_##t parts = {r, spc_bits_##t(shifted) - 0x4b400000u};                                   \
    return parts;                                                                                               \
  }                                                                                                             \
  SPC_INLINE F spc_expm1_small_##t(F r) {                                                                       \
    const F p = ((((r * (1.0f / 5040) + 1.0f / 720) * r + 1.0f / 120) * r + 1.0f / 24) * r + 1.0f / 6) * r + 0.5f; \
    return p * r * r + r;                                                                                       \
  }                                                                                                             \
  SPC_INLINE F spc_exp_##t(F x) {                                                                               \
    const F low = spc_select_##t(x < -104.0f, spc_splat_##t(-104.0f), x);                                       \
    const spc_exp_parts_##t s = spc_exp_split_##t(spc_select_##t(low > 89.0f, spc_splat_##t(89.0f), low));      \
    const U half = (U)((I)s.n >> 1);                                                                            \
    const F a = spc_from_bits_##t((half + 127u) << 23), b = spc_from_bits_##t((s.n - half + 127u) << 23);       \
    return (1.0f + spc_expm1_small_##t(s.r)) * a * b;                                                           \
  }                                                                                                             \
  SPC_INLINE F spc_sigmoid_##t(F x) { return 1.0f / (1.0f + spc_exp_##t(-x)); }                                 \
  SPC_INLINE F spc_tanh_##t(F x) {                                                                              \
    const F magnitude = spc_abs_##t(x);                                                                         \
    const spc_exp_parts_##t s = spc_exp_split_##t(2.0f * spc_select_##t(magnitude > 10.0f, spc_splat_##t(10.0f), magnitude)); \
    const F scale = spc_from_bits_##t((s.n + 127u) << 23);                                                      \
    const F e = spc_expm1_small_##t(s.r) * scale + (scale - 1.0f);                                              \
    return spc_signed_##t(e / (e + 2.0f), x);                                                                   \
  }                                                                                                             \
  SPC_INLINE F spc_log_##t(F x) {                                                                               \
    const U bits = spc_bits_##t(spc_select_##t(x < 0x1p-126f, x * 0x1p23f, x)), shifted = bits - 0x3f3504f3u;   \
    const F k = CONVERT((I)shifted >> 23, F) - spc_select_##t(x < 0x1p-126f, spc_splat_##t(23.0f), spc_splat_##t(0.0f)); \
    const F f = spc_from_bits_##t((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;                                \
    const F s = f / (2.0f + f), z = s * s, half = 0.5f * f * f;                                                 \
    const F p = z * (((z * (2.0f / 9) + 2.0f / 7) * z + 2.0f / 5) * z + 2.0f / 3);                              \
    const F result = k * 0x1.62e400p-1f + (f - (half - (s * (half + p) + k * 0x1.7f7d1cp-20f)));                \
    const F zero = spc_select_##t(x < 0.0f, spc_splat_##t(NAN), spc_select_##t(x == 0.0f, spc_splat_##t(-INFINITY), x)); \
    return spc_select_##t((x > 0.0f) & (x < INFINITY), result, zero);                                           \
  }                                                                                                             \
  SPC_INLINE F spc_erf_##t(F x) {                                                                               \
    const F magnitude = spc_abs_##t(x), u = spc_select_##t(magnitude > 4.0f, spc_splat_##t(4.0f), magnitude), z = u * u; \
    const F p = (((((7.87587505e-5f * z - 8.01686428e-4f) * z + 5.18908742e-3f) * z - 2.68542120e-2f) * z       \
      + 1.12835947e-1f) * z - 3.76126267e-1f) * z + 1.12837917f;                                                \
    const F s = u - 2.5f;                                                                                       \
    const F q = ((((((((((((-6.9617296e-7f * s + 8.71300734e-6f) * s - 1.63092955e-5f) * s - 5.94389286e-5f) * s + 2.66517317e-4f) * s \
      - 2.91932589e-4f) * s - 5.54790738e-4f) * s + 2.82367147e-3f) * s - 6.11279184e-3f) * s + 8.61282644e-3f) * s - 8.35072417e-3f) * s \
      + 5.44706033e-3f) * s - 2.17826969e-3f) * s + 4.06920997e-4f;                                             \
    const F result = spc_select_##t(magnitude < 1.0f, u * p, 1.0f - q);                                         \
    return spc_select_##t(magnitude <= INFINITY, spc_signed_##t(result, x), x);                                 \
  }
#define SPC_ROUND_F32(F, t)                                                                                     \
  SPC_INLINE F spc_round_##t(F x) {                                                                             \
    const F magnitude = spc_abs_##t(x), rounded = (magnitude + 0x1p23f) - 0x1p23f;                              \
    return spc_signed_##t(spc_select_##t(magnitude < 0x1p23f, rounded, magnitude), x);                          \
  }
SPC_MATH_F32(float, int32_t, uint32_t, f32, SPC_SCALAR_CONVERT)
#if defined(__SSE4_1__) || defined(__aarch64__)
SPC_INLINE float spc_round_f32(float x) { return rintf(x); } /* one instruction */
#else
SPC_ROUND_F32(float, f32)
#endif

/* IEEE binary16: a multiplication by 2^112 moves the exponent and normalises denormals. */
SPC_INLINE float spc_f16_to_f32(uint16_t h) {
  const uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
  const float finite = spc_from_bits_f32(magnitude) * 0x1p112f;
  const uint32_t bits = magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : spc_bits_f32(finite);
  return spc_from_bits_f32(bits | sign);
}
/* Round to nearest even. Adding a power of two rounds at the bit that binary16 (also a denormal one) ends at. */
SPC_INLINE uint16_t spc_f32_to_f16(float x) {
  const uint32_t bits = spc_bits_f32(x), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  const uint32_t tiny = spc_bits_f32(spc_from_bits_f32(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t finite = magnitude < 0x38800000u ? tiny : normal;
  const uint32_t large = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  return (uint16_t)((magnitude >= 0x477ff000u ? large : finite) | sign);
}
SPC_INLINE float spc_bf16_to_f32(uint16_t h) { return spc_from_bits_f32((uint32_t)h << 16); }
SPC_INLINE uint16_t spc_f32_to_bf16(float x) {
  const uint32_t bits = spc_bits_f32(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return (uint16_t)(x != x ? 0x7fc0u : rounded);
}

#endif
