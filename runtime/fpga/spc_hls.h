/*
 * spc_hls.h - what layers of an HLS design share: moving tensors between streams and arrays, duplicating a stream. Synthesisable;
 * for C simulation without Vitis the headers in ap_shim/ stand in for the vendor's.
 */
#ifndef SPC_HLS_H
#define SPC_HLS_H

#include <stdint.h>

#include <hls_stream.h>

#include "spc_scalar.hpp"

/* Fills an array from a stream, in row-major order. */
template <int COUNT, class T, int SIZE> void spc_read(hls::stream<T> &in, T (&to)[SIZE]) {
  static_assert(COUNT <= SIZE, "the array is too small");
  for (int i = 0; i < COUNT; ++i) {
#pragma HLS PIPELINE II=1
    to[i] = in.read();
  }
}

/* Sends an array into a stream, in row-major order. */
template <int COUNT, class T, int SIZE> void spc_write(const T (&from)[SIZE], hls::stream<T> &out) {
  static_assert(COUNT <= SIZE, "the array is too small");
  for (int i = 0; i < COUNT; ++i) {
#pragma HLS PIPELINE II=1
    out.write(from[i]);
  }
}

template <class T> void spc_write_each(const T &value, hls::stream<T> &out) {
#pragma HLS INLINE
  out.write(value);
}
template <class T, class... More> void spc_write_each(const T &value, hls::stream<T> &out, More &...more) {
#pragma HLS INLINE
  out.write(value);
  spc_write_each(value, more...);
}
/* Copies every element of a stream into each of several: a stream has one reader. */
template <int COUNT, class T, class... Outs> void spc_fork(hls::stream<T> &in, Outs &...outs) {
  for (int i = 0; i < COUNT; ++i) {
#pragma HLS PIPELINE II=1
    const T value = in.read();
    spc_write_each(value, outs...);
  }
}

/* Reads a stream that nobody wants. */
template <int COUNT, class T> void spc_drain(hls::stream<T> &in) {
  for (int i = 0; i < COUNT; ++i) {
#pragma HLS PIPELINE II=1
    (void)in.read();
  }
}

#endif
