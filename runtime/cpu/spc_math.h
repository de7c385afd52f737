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

/* Float to integer as x86 does it where C leaves it undefined: 32 bits and less go through int64_t and wrap, what int64_t
 * cannot hold becomes its minimum. */
SPC_INLINE int64_t spc_to_i64(double x) { return x >= -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN; }
SPC_INLINE int32_t spc_to_i32(double x) { return x > -0x1p31 - 1.0 && x < 0x1p31 ? (int32_t)x : (int32_t)spc_to_i64(x); }
SPC_INLINE int16_t spc_to_i16(double x) { return (int16_t)spc_to_i32(x); }
SPC_INLINE int8_t spc_to_i8(double x) { return (int8_t)spc_to_i32(x); }
SPC_INLINE uint8_t spc_to_u8(double x) { return (uint8_t)spc_to_i32(x); }
SPC_INLINE uint16_t spc_to_u16(double x) { return (uint16_t)spc_to_i32(x); }
SPC_INLINE uint32_t spc_to_u32(double x) { return (uint32_t)spc_to_i64(x); }
SPC_INLINE uint64_t spc_to_u64(double x) { return x >= 0x1p63 && x < 0x1p64 ? (uint64_t)x : (uint64_t)spc_to_i64(x); }
SPC_INLINE long spc_to_index(double x) { return (long)spc_to_i64(x); }

SPC_INLINE uint32_t spc_bits_f32(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
SPC_INLINE float spc_from_bits_f32(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }

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

/* Half to even: beyond 2^23 every float is an integer, below it 2^23 + x has no fraction. The sign of zero stays. */
SPC_INLINE float spc_round_f32(float x) {
  const float magnitude = fabsf(x), rounded = (magnitude + 0x1p23f) - 0x1p23f;
  return copysignf(magnitude < 0x1p23f ? rounded : magnitude, x);
}

/*
 * e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2. `n` is read from the low bits of x / ln 2 + 1.5 * 2^23, so nothing
 * that is undefined in C happens to NaN.
 */
typedef struct { float r; uint32_t n; } spc_exp_parts;
SPC_INLINE spc_exp_parts spc_exp_split(float x) {
  const float magic = 0x1.8p23f;
  const float shifted = x * 0x1.715476p+0f + magic, n = shifted - magic;
  const float r = (x - n * 0x1.62e400p-1f) - n * 0x1.7f7d1cp-20f;
  return (spc_exp_parts){r, spc_bits_f32(shifted) - spc_bits_f32(magic)};
}
/* e^r - 1, Taylor's series to r^7. */
SPC_INLINE float spc_expm1_small(float r) {
  const float p = ((((r * (1.0f / 5040) + 1.0f / 720) * r + 1.0f / 120) * r + 1.0f / 24) * r + 1.0f / 6) * r + 0.5f;
  return p * r * r + r;
}
SPC_INLINE float spc_exp_f32(float x) {
  const float low = x < -104.0f ? -104.0f : x, clamped = low > 89.0f ? 89.0f : low;
  const spc_exp_parts s = spc_exp_split(clamped);
  /* 2^n as a product of two normal numbers, so that overflow and denormals round as they should */
  const uint32_t half = (uint32_t)((int32_t)s.n >> 1);
  const float a = spc_from_bits_f32((half + 127u) << 23), b = spc_from_bits_f32((s.n - half + 127u) << 23);
  return (1.0f + spc_expm1_small(s.r)) * a * b;
}
SPC_INLINE float spc_sigmoid_f32(float x) { return 1.0f / (1.0f + spc_exp_f32(-x)); }
SPC_INLINE double spc_sigmoid_f64(double x) { return 1.0 / (1.0 + exp(-x)); }

/* tanh |x| = e / (e + 2) with e = e^(2|x|) - 1, exact near 0 because e^r - 1 is; 1 to the last bit from 10 on. */
SPC_INLINE float spc_tanh_f32(float x) {
  const float magnitude = fabsf(x), y = 2.0f * (magnitude > 10.0f ? 10.0f : magnitude);
  const spc_exp_parts s = spc_exp_split(y);
  const float scale = spc_from_bits_f32((s.n + 127u) << 23);
  const float e = spc_expm1_small(s.r) * scale + (scale - 1.0f);
  return copysignf(e / (e + 2.0f), x);
}

/* ln x = k ln 2 + ln m, m in [sqrt(1/2), sqrt 2), ln m = 2 atanh(f / (2 + f)) with f = m - 1. */
SPC_INLINE float spc_log_f32(float x) {
  const int denormal = x < 0x1p-126f;
  const uint32_t bits = spc_bits_f32(denormal ? x * 0x1p23f : x);
  const uint32_t shifted = bits - 0x3f3504f3u;
  const float k = (float)((int32_t)shifted >> 23) - (denormal ? 23.0f : 0.0f);
  const float f = spc_from_bits_f32((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  const float s = f / (2.0f + f), z = s * s, half = 0.5f * f * f;
  const float p = z * (((z * (2.0f / 9) + 2.0f / 7) * z + 2.0f / 5) * z + 2.0f / 3);
  /* 2 s = f - s f, and s f = f^2 / 2 - s f^2 / 2: the leading term f stays exact */
  const float result = k * 0x1.62e400p-1f + (f - (half - (s * (half + p) + k * 0x1.7f7d1cp-20f)));
  const float special = x < 0.0f ? NAN : x == 0.0f ? -INFINITY : x;
  return x > 0.0f && x < INFINITY ? result : special;
}

/* erf x = x P(x^2) up to 1, 1 - e^-Q(|x|) beyond; both interpolate at Chebyshev nodes (relative errors 1.3e-9 and 5.7e-10). */
SPC_INLINE float spc_erf_f32(float x) {
  const float magnitude = fabsf(x), t = magnitude > 4.0f ? 4.0f : magnitude, z = t * t;
  const float p = (((((7.87587505e-5f * z - 8.01686428e-4f) * z + 5.18908742e-3f) * z - 2.68542120e-2f) * z + 1.12835947e-1f) * z
    - 3.76126267e-1f) * z + 1.12837917f;
  const float q = (((((((-1.63715142e-6f * t + 4.60580427e-5f) * t - 5.96805626e-4f) * t + 4.75959629e-3f) * t - 2.64211360e-2f) * t
    + 1.10080083e-1f) * t + 6.31826052e-1f) * t + 1.13023344f) * t - 3.20138050e-4f;
  const float result = magnitude < 1.0f ? t * p : 1.0f - spc_exp_f32(-q);
  return magnitude <= INFINITY ? copysignf(result, x) : x;
}
#endif
