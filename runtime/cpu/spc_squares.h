/*
 * spc_squares.h - a row-major matrix as columns of 4, 8 or 16 words of 32 bits, and back: what straight-line products read where
 * activations stay row-major (compiler/kir/stream.ts). A word is one f32 or i32, or four bytes. Squares of 8 x 8 or 4 x 4 words are
 * transposed in registers.
 */
#ifndef SPC_SQUARES_H
#define SPC_SQUARES_H

#include "spc_vector.h"

SPC_INLINE void spc_transpose_i32x4(spc_i32x4 r[4]) {
  const spc_i32x4 a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const spc_i32x4 c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5), d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

/* One square: the first `rows` rows are there, and `bytes` of each; the others are zero. `flip` is xored to every word that is there. */
#define SPC_SQUARES_SQUARE(N)                                                                                   \
  SPC_INLINE void spc_squares_in_##N(int32_t *y, long lanes, const char *x, long pitch, int rows, long bytes, int32_t flip) { \
    spc_i32x##N r[N];                                                                                           \
    for (int l = 0; l < N; ++l) {                                                                               \
      r[l] = (spc_i32x##N){0};                                                                                  \
      if (l >= rows) continue;                                                                                  \
      if (bytes >= 4 * N) memcpy(&r[l], x + l * pitch, 4 * N);                                                  \
      else memcpy(&r[l], x + l * pitch, (size_t)bytes);                                                         \
      r[l] ^= flip;                                                                                             \
    }                                                                                                           \
    spc_transpose_i32x##N(r);                                                                                      \
    for (int c = 0; c < N && 4 * c < bytes; ++c) spc_store_i32x##N(y + c * lanes, r[c]);                        \
  }                                                                                                             \
  SPC_INLINE void spc_squares_out_##N(char *y, long pitch, const int32_t *x, long lanes, int rows, long bytes) { \
    spc_i32x##N r[N];                                                                                           \
    for (int c = 0; c < N; ++c) r[c] = 4 * c < bytes ? spc_load_i32x##N(x + c * lanes) : (spc_i32x##N){0};      \
    spc_transpose_i32x##N(r);                                                                                      \
    for (int l = 0; l < N && l < rows; ++l) {                                                                   \
      if (bytes >= 4 * N) memcpy(y + l * pitch, &r[l], 4 * N);                                                  \
      else memcpy(y + l * pitch, &r[l], (size_t)bytes);                                                         \
    }                                                                                                           \
  }
SPC_SQUARES_SQUARE(4)
SPC_SQUARES_SQUARE(8)

/* Once in the code, however many products call them, and compiled without knowing what a call passes. */
#if defined(__clang__)
#define SPC_SQUARES_CALLED static __attribute__((noinline, unused))
#else
#define SPC_SQUARES_CALLED static __attribute__((noipa, unused))
#endif

/* Rows that are there of the 8 from `first` on. */
SPC_INLINE int spc_rows_from(long rows, long first) { return rows <= first ? 0 : rows - first < 8 ? (int)(rows - first) : 8; }

/*
 * Word l of column c, y[c * lanes + l], is word c of row l, whose `bytes` begin at x + l * pitch; zero for l >= rows. The last word's missing
 * bytes are zero (or flip's). `lanes` is 4, 8 or 16.
 */
SPC_SQUARES_CALLED void spc_squares_from_rows(void *y, long lanes, const void *x, long pitch, long rows, long bytes, int32_t flip) {
  if (lanes == 4) {
    int32_t *to = (int32_t *)y;
    const char *from = (const char *)x;
    for (long b = 0; b < bytes; b += 16) spc_squares_in_4(to + b / 4 * lanes, lanes, from + b, pitch, (int)rows, bytes - b, flip);
    return;
  }
  for (long l = 0; l < lanes; l += 8) {
    const int some = spc_rows_from(rows, l);
    int32_t *to = (int32_t *)y + l;
    const char *from = (const char *)x + l * pitch;
    long b = 0;
    if (some == 8) for (; b + 32 <= bytes; b += 32) spc_squares_in_8(to + b / 4 * lanes, lanes, from + b, pitch, 8, 32, flip);
    for (; b < bytes; b += 32) spc_squares_in_8(to + b / 4 * lanes, lanes, from + b, pitch, some, bytes - b, flip);
  }
}
/* The other way; pitch and bytes are multiples of 4. */
SPC_SQUARES_CALLED void spc_squares_to_rows(void *y, long pitch, const void *x, long lanes, long rows, long bytes) {
  if (lanes == 4) {
    char *to = (char *)y;
    const int32_t *from = (const int32_t *)x;
    for (long b = 0; b < bytes; b += 16) spc_squares_out_4(to + b, pitch, from + b / 4 * lanes, lanes, (int)rows, bytes - b);
    return;
  }
  for (long l = 0; l < rows; l += 8) {
    const int some = spc_rows_from(rows, l);
    char *to = (char *)y + l * pitch;
    const int32_t *from = (const int32_t *)x + l;
    long b = 0;
    if (some == 8) for (; b + 32 <= bytes; b += 32) spc_squares_out_8(to + b, pitch, from + b / 4 * lanes, lanes, 8, 32);
    for (; b < bytes; b += 32) spc_squares_out_8(to + b, pitch, from + b / 4 * lanes, lanes, some, bytes - b);
  }
}

/* Columns of 16 bytes to rows: y[l * pitch + c] = x[c * lanes + l] for c < columns, l < rows. Four times halves are shuffled into each other. */
SPC_SQUARES_CALLED void spc_squares_bytes_to_rows(void *y, long pitch, const void *x, long lanes, long rows, long columns) {
  uint8_t *to = (uint8_t *)y;
  const uint8_t *from = (const uint8_t *)x;
  long c = 0;
  if (lanes == 16) for (; c + 16 <= columns; c += 16) {
    spc_u8x16 r[16], t[16];
    for (int i = 0; i < 16; ++i) r[i] = spc_load_u8x16(from + (c + i) * 16);
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 8; ++i) {
        t[2 * i] = __builtin_shufflevector(r[i], r[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        t[2 * i + 1] = __builtin_shufflevector(r[i], r[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      }
      memcpy(r, t, sizeof r);
    }
    for (int l = 0; l < 16 && l < rows; ++l) spc_store_u8x16(to + l * pitch + c, r[l]);
  }
  for (; c < columns; ++c) for (long l = 0; l < rows; ++l) to[l * pitch + c] = from[c * lanes + l];
}
#endif
