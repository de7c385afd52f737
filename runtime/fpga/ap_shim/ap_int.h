/*
 * ap_int.h - ap_int<W> and ap_uint<W> for C simulation without Vitis: integers of W <= 63 bits that wrap on assignment. Own code.
 *
 * Arithmetic is done in int64_t, which is exact (as the vendor's growing types are) while every intermediate result fits 63 bits.
 */
#ifndef SPC_SHIM_AP_INT_H
#define SPC_SHIM_AP_INT_H

#include <stdint.h>

template <int W, bool SIGNED>
class ap_integer {
  static_assert(W >= 1 && W <= 63, "the C simulation headers have integers of 1 to 63 bits");

 public:
  static const int width = W;

  ap_integer() : value_(0) {}
  template <class T> ap_integer(const T &x) : value_(wrap((int64_t)x)) {}
  template <class T> ap_integer &operator=(const T &x) { value_ = wrap((int64_t)x); return *this; }

  operator int64_t() const { return value_; }

  template <class T> ap_integer &operator+=(const T &x) { return *this = value_ + (int64_t)x; }
  template <class T> ap_integer &operator-=(const T &x) { return *this = value_ - (int64_t)x; }
  template <class T> ap_integer &operator*=(const T &x) { return *this = value_ * (int64_t)x; }
  ap_integer &operator>>=(int n) { return *this = value_ >> n; }
  ap_integer &operator<<=(int n) { return *this = (int64_t)((uint64_t)value_ << n); }
  ap_integer &operator++() { return *this += 1; }
  ap_integer &operator--() { return *this -= 1; }

  /* Bits high..low as an unsigned number; assigning to the result replaces those bits. */
  class Bits {
   public:
    Bits(ap_integer &of, int high, int low) : of_(of), high_(high), low_(low) {}
    operator int64_t() const { return (int64_t)(((uint64_t)of_.value_ >> low_) & mask()); }
    Bits &operator=(int64_t x) {
      const uint64_t kept = (uint64_t)of_.value_ & ~(mask() << low_);
      of_ = (int64_t)(kept | (((uint64_t)x & mask()) << low_));
      return *this;
    }
    Bits &operator=(const Bits &x) { return *this = (int64_t)x; }

   private:
    uint64_t mask() const { return ~UINT64_C(0) >> (63 - (high_ - low_)); }
    ap_integer &of_;
    int high_, low_;
  };
  Bits range(int high, int low) { return Bits(*this, high, low); }
  Bits operator()(int high, int low) { return Bits(*this, high, low); }
  Bits operator[](int bit) { return Bits(*this, bit, bit); }

  /* The low W bits of x, read as a number of this type. */
  static int64_t wrap(int64_t x) {
    const uint64_t mask = (UINT64_C(1) << W) - 1, low = (uint64_t)x & mask;
    return (int64_t)(SIGNED && (low >> (W - 1)) ? low | ~mask : low);
  }

 private:
  int64_t value_;
};

template <int W> using ap_int = ap_integer<W, true>;
template <int W> using ap_uint = ap_integer<W, false>;

#endif
