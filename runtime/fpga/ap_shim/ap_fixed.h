/*
 * ap_fixed.h - ap_fixed<W, I, Q, O> and ap_ufixed for C simulation without Vitis: W bits, I of them before the point, value =
 * raw * 2^(I - W). Own code; W <= 63.
 *
 * Sums and products have types wide enough to be exact, as the vendor's; rounding (Q) and overflow (O) happen where a value is
 * assigned to a narrower type.
 */
#ifndef SPC_SHIM_AP_FIXED_H
#define SPC_SHIM_AP_FIXED_H

#include <math.h>

#include "ap_int.h"

enum ap_q_mode {
  AP_RND,         /* to nearest, halves up */
  AP_RND_ZERO,    /* to nearest, halves towards zero */
  AP_RND_MIN_INF, /* to nearest, halves down */
  AP_RND_INF,     /* to nearest, halves away from zero */
  AP_RND_CONV,    /* to nearest, halves to even */
  AP_TRN,         /* down */
  AP_TRN_ZERO     /* towards zero */
};
enum ap_o_mode {
  AP_SAT,      /* to the nearest value that exists */
  AP_SAT_ZERO, /* to zero */
  AP_SAT_SYM,  /* as AP_SAT, but the range is symmetric */
  AP_WRAP      /* drop the upper bits */
};

template <int W, int I, bool SIGNED, ap_q_mode Q, ap_o_mode O>
class ap_fixed_base {
  static_assert(W >= 1 && W <= 63, "the C simulation headers have fixed-point numbers of 1 to 63 bits");

 public:
  static const int width = W, integer_bits = I, fraction_bits = W - I;

  ap_fixed_base() : raw_(0) {}
  /* Exact where the number has at most 62 - I fraction bits worth keeping; further ones are rounded by Q as well. */
  ap_fixed_base(double x) : raw_(from_double(x)) {}
  ap_fixed_base(int x) : raw_(from_raw(x, 0)) {}
  template <int W2, int I2, bool S2, ap_q_mode Q2, ap_o_mode O2>
  ap_fixed_base(const ap_fixed_base<W2, I2, S2, Q2, O2> &x) : raw_(from_raw(x.raw(), W2 - I2)) {}

  static ap_fixed_base from_bits(int64_t raw) {
    ap_fixed_base x;
    x.raw_ = raw;
    return x;
  }
  int64_t raw() const { return raw_; }
  double to_double() const { return ldexp((double)raw_, I - W); }
  float to_float() const { return (float)to_double(); }
  explicit operator double() const { return to_double(); }
  explicit operator float() const { return to_float(); }

 private:
  /* Drops `shift` low bits of x by rounding mode Q; `inexact` says whether anything below them was lost already. */
  static int64_t rounded(int64_t x, int shift, bool inexact) {
    if (shift <= 0) return x;
    const int64_t floor = shift > 62 ? (x < 0 ? -1 : 0) : x >> shift;
    const uint64_t rest = (uint64_t)x & (shift > 62 ? ~UINT64_C(0) >> 1 : (UINT64_C(1) << shift) - 1);
    const uint64_t half = shift > 63 ? 0 : UINT64_C(1) << (shift - 1);
    const bool any = rest != 0 || inexact, above = rest > half || (rest == half && inexact), tie = rest == half && !inexact;
    switch (Q) {
      case AP_RND: return floor + (above || tie);
      case AP_RND_ZERO: return floor + (above || (tie && x < 0));
      case AP_RND_MIN_INF: return floor + above;
      case AP_RND_INF: return floor + (above || (tie && x >= 0));
      case AP_RND_CONV: return floor + (above || (tie && (floor & 1)));
      case AP_TRN: return floor;
      case AP_TRN_ZERO: return floor + (any && x < 0);
    }
    return floor;
  }
  static int64_t limited(int64_t x) {
    const int64_t highest = SIGNED ? (INT64_C(1) << (W - 1)) - 1 : (int64_t)((UINT64_C(1) << W) - 1);
    const int64_t lowest = SIGNED ? (O == AP_SAT_SYM ? -highest : -highest - 1) : 0;
    if (x >= lowest && x <= highest) return x;
    switch (O) {
      case AP_SAT: case AP_SAT_SYM: return x < lowest ? lowest : highest;
      case AP_SAT_ZERO: return 0;
      case AP_WRAP: return ap_integer<W, SIGNED>::wrap(x);
    }
    return x;
  }
  static int64_t from_raw(int64_t raw, int fraction) {
    const int shift = fraction - (W - I);
    return limited(shift >= 0 ? rounded(raw, shift, false) : (int64_t)((uint64_t)raw << -shift));
  }
  static int64_t from_double(double x) {
    /* keep as many bits below the point as int64_t has room for, so that rounding sees the exact number */
    const double scaled = ldexp(x, W - I);
    int extra = 0;
    double y = scaled;
    while (extra < 60 && fabs(y) < 1e18 && y != floor(y)) {
      y *= 2;
      extra++;
    }
    if (!(fabs(y) < 9e18)) return O == AP_WRAP || x != x ? 0 : limited(x < 0 ? INT64_MIN : INT64_MAX);
    return limited(rounded((int64_t)floor(y), extra, y != floor(y)));
  }

  int64_t raw_;
};

template <int W, int I, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP> using ap_fixed = ap_fixed_base<W, I, true, Q, O>;
template <int W, int I, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP> using ap_ufixed = ap_fixed_base<W, I, false, Q, O>;

namespace spc_shim {
constexpr int larger(int a, int b) { return a > b ? a : b; }
/* x moved to `fraction` bits below the point; exact, fraction is never smaller than x's. */
template <int W, int I, bool S, ap_q_mode Q, ap_o_mode O>
int64_t aligned(const ap_fixed_base<W, I, S, Q, O> &x, int fraction) { return (int64_t)((uint64_t)x.raw() << (fraction - (W - I))); }
} /* namespace spc_shim */

#define SPC_SHIM_TWO_TYPES \
  template <int W1, int I1, bool S1, ap_q_mode Q1, ap_o_mode O1, int W2, int I2, bool S2, ap_q_mode Q2, ap_o_mode O2>
#define SPC_SHIM_A const ap_fixed_base<W1, I1, S1, Q1, O1> &a
#define SPC_SHIM_B const ap_fixed_base<W2, I2, S2, Q2, O2> &b
/* Integer and fraction bits of an exact sum: one more before the point than the wider operand (two where signs mix). */
#define SPC_SHIM_SUM_I (spc_shim::larger(I1 + (S2 && !S1), I2 + (S1 && !S2)) + 1)
#define SPC_SHIM_SUM_F (spc_shim::larger(W1 - I1, W2 - I2))
#define SPC_SHIM_SUM(is_signed) ap_fixed_base<SPC_SHIM_SUM_I + SPC_SHIM_SUM_F, SPC_SHIM_SUM_I, is_signed, AP_TRN, AP_WRAP>

SPC_SHIM_TWO_TYPES SPC_SHIM_SUM(S1 || S2) operator+(SPC_SHIM_A, SPC_SHIM_B) {
  return SPC_SHIM_SUM(S1 || S2)::from_bits(spc_shim::aligned(a, SPC_SHIM_SUM_F) + spc_shim::aligned(b, SPC_SHIM_SUM_F));
}
SPC_SHIM_TWO_TYPES SPC_SHIM_SUM(true) operator-(SPC_SHIM_A, SPC_SHIM_B) {
  return SPC_SHIM_SUM(true)::from_bits(spc_shim::aligned(a, SPC_SHIM_SUM_F) - spc_shim::aligned(b, SPC_SHIM_SUM_F));
}
SPC_SHIM_TWO_TYPES ap_fixed_base<W1 + W2, I1 + I2, S1 || S2, AP_TRN, AP_WRAP> operator*(SPC_SHIM_A, SPC_SHIM_B) {
  return ap_fixed_base<W1 + W2, I1 + I2, S1 || S2, AP_TRN, AP_WRAP>::from_bits(a.raw() * b.raw());
}
SPC_SHIM_TWO_TYPES bool operator<(SPC_SHIM_A, SPC_SHIM_B) { return spc_shim::aligned(a, SPC_SHIM_SUM_F) < spc_shim::aligned(b, SPC_SHIM_SUM_F); }
SPC_SHIM_TWO_TYPES bool operator==(SPC_SHIM_A, SPC_SHIM_B) { return spc_shim::aligned(a, SPC_SHIM_SUM_F) == spc_shim::aligned(b, SPC_SHIM_SUM_F); }
SPC_SHIM_TWO_TYPES bool operator>(SPC_SHIM_A, SPC_SHIM_B) { return b < a; }
SPC_SHIM_TWO_TYPES bool operator<=(SPC_SHIM_A, SPC_SHIM_B) { return !(b < a); }
SPC_SHIM_TWO_TYPES bool operator>=(SPC_SHIM_A, SPC_SHIM_B) { return !(a < b); }
SPC_SHIM_TWO_TYPES bool operator!=(SPC_SHIM_A, SPC_SHIM_B) { return !(a == b); }

#undef SPC_SHIM_SUM
#undef SPC_SHIM_SUM_F
#undef SPC_SHIM_SUM_I
#undef SPC_SHIM_B
#undef SPC_SHIM_A
#undef SPC_SHIM_TWO_TYPES

#endif
