/*
 * spc_scalar.hpp - the scalar helpers that printed kernels call in C++ dialects (CUDA, HLS). Their meaning is that of the kernel
 * IR (compiler/kir/types.ts): integers wrap, division by zero gives zero, min and max keep a NaN in their first operand.
 *
 * SPC_DEVICE goes before every function; define it first where the dialect needs more than `static inline`.
 */
#ifndef SPC_SCALAR_HPP
#define SPC_SCALAR_HPP

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef SPC_DEVICE
#define SPC_DEVICE static inline
#endif

template <class T> SPC_DEVICE T spc_min(T a, T b) { return b < a ? b : a; }
template <class T> SPC_DEVICE T spc_max(T a, T b) { return b > a ? b : a; }
/* Small integers are computed as int; mixed operands meet in the wider type. */
template <class A, class B> SPC_DEVICE auto spc_min(A a, B b) -> decltype(a + b) { return b < a ? b : a; }
template <class A, class B> SPC_DEVICE auto spc_max(A a, B b) -> decltype(a + b) { return b > a ? b : a; }

/* Integers: truncating division; the most negative value over -1 wraps instead of trapping. */
template <class T> SPC_DEVICE T spc_negate(T a) { return (T)(0 - (uint64_t)a); }
template <class T> SPC_DEVICE bool spc_is_minus_one(T a) { return (T)-1 < (T)0 && a == (T)-1; }
template <class A, class B> SPC_DEVICE auto spc_idiv(A a, B b) -> decltype(a + b) {
  typedef decltype(a + b) T;
  return b == 0 ? (T)0 : spc_is_minus_one((T)b) ? spc_negate((T)a) : (T)((T)a / (T)b);
}
template <class A, class B> SPC_DEVICE auto spc_imod(A a, B b) -> decltype(a + b) {
  typedef decltype(a + b) T;
  return b == 0 || spc_is_minus_one((T)b) ? (T)0 : (T)((T)a % (T)b);
}
template <class T> SPC_DEVICE T spc_iabs(T a) { return a < 0 ? spc_negate(a) : a; }

/* a to the power b by squaring; 0 for negative b, except that 1 and -1 have their true powers. */
template <class T> SPC_DEVICE T spc_ipow(T a, T b) {
  if (b < 0) return a == 1 ? a : spc_is_minus_one(a) ? (T)(b % 2 == 0 ? 1 : -1) : (T)0;
  uint64_t result = 1, base = (uint64_t)a;
  for (uint64_t e = (uint64_t)b; e != 0; e >>= 1) {
    if (e & 1) result *= base;
    base *= base;
  }
  return (T)result;
}

/* Float to integer: towards zero; what 64 bits cannot hold, and NaN, becomes their minimum (as x86 does); narrower types wrap. */
SPC_DEVICE int64_t spc_to_i64(double x) { return x >= -9223372036854775808.0 && x < 9223372036854775808.0 ? (int64_t)x : INT64_MIN; }
SPC_DEVICE uint64_t spc_to_u64(double x) {
  return x >= 9223372036854775808.0 && x < 18446744073709551616.0 ? (uint64_t)x : (uint64_t)spc_to_i64(x);
}

#define SPC_INTEGER(name, type) \
  SPC_DEVICE type spc_to_##name(double x) { return (type)spc_to_i64(x); }
SPC_INTEGER(i8, int8_t)
SPC_INTEGER(i16, int16_t)
SPC_INTEGER(i32, int32_t)
SPC_INTEGER(u8, uint8_t)
SPC_INTEGER(u16, uint16_t)
SPC_INTEGER(u32, uint32_t)
SPC_INTEGER(index, int64_t)
#undef SPC_INTEGER
#define SPC_POWER(name, type) \
  SPC_DEVICE type spc_ipow_##name(type a, type b) { return spc_ipow<type>(a, b); }
SPC_POWER(i8, int8_t)
SPC_POWER(i16, int16_t)
SPC_POWER(i32, int32_t)
SPC_POWER(i64, int64_t)
SPC_POWER(u8, uint8_t)
SPC_POWER(u16, uint16_t)
SPC_POWER(u32, uint32_t)
SPC_POWER(u64, uint64_t)
#undef SPC_POWER

SPC_DEVICE float spc_exp_f32(float x) { return expf(x); }
SPC_DEVICE float spc_log_f32(float x) { return logf(x); }
SPC_DEVICE float spc_tanh_f32(float x) { return tanhf(x); }
SPC_DEVICE float spc_erf_f32(float x) { return erff(x); }
SPC_DEVICE float spc_round_f32(float x) { return nearbyintf(x); }
/* Written so that exp never overflows. */
SPC_DEVICE float spc_sigmoid_f32(float x) {
  const float e = expf(-fabsf(x)), s = 1.0f / (1.0f + e);
  return x >= 0.0f ? s : e * s;
}
SPC_DEVICE double spc_sigmoid_f64(double x) {
  const double e = exp(-fabs(x)), s = 1.0 / (1.0 + e);
  return x >= 0.0 ? s : e * s;
}

/* binary16 and bfloat16 are stored as their bits; values are computed as binary32. */
SPC_DEVICE float spc_bits_to_f32(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}
SPC_DEVICE uint32_t spc_f32_to_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}
#if defined(__CUDA_ARCH__)
/* one instruction each, with the meaning of the functions below */
SPC_DEVICE float spc_f16_to_f32(uint16_t h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}
SPC_DEVICE uint16_t spc_f32_to_f16(float f) {
  uint16_t h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
  return h;
}
#else
SPC_DEVICE float spc_f16_to_f32(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, fraction = h & 1023u;
  if (exponent == 0) { /* zero and subnormals: fraction * 2^-24, exact in binary32 */
    const float magnitude = (float)fraction * 5.9604644775390625e-8f;
    return sign ? -magnitude : magnitude;
  }
  return spc_bits_to_f32(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112u) << 23) | fraction << 13);
}
/* Rounds to nearest even; a NaN becomes the quiet NaN. */
SPC_DEVICE uint16_t spc_f32_to_f16(float f) {
  const uint32_t u = spc_f32_to_bits(f), magnitude = u & 0x7fffffffu;
  const uint16_t sign = (uint16_t)((u >> 16) & 0x8000u);
  if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above round to infinity */
  if (magnitude < 0x38800000u) { /* below 2^-14: a multiple of 2^-24, and adding 0.5 rounds at exactly that place */
    return (uint16_t)(sign | (spc_f32_to_bits(spc_bits_to_f32(magnitude) + 0.5f) - 0x3f000000u));
  }
  return (uint16_t)(sign | ((magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13));
}
#endif
SPC_DEVICE float spc_bf16_to_f32(uint16_t b) { return spc_bits_to_f32((uint32_t)b << 16); }
SPC_DEVICE uint16_t spc_f32_to_bf16(float f) {
  const uint32_t u = spc_f32_to_bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fc0u;
  return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

#endif
