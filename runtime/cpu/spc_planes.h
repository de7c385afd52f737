/*
 * spc_planes.h - images as planes of lines, one channel after the other, for convolutions whose lanes are pixels of one output channel
 * (backends/cpu/kernels/walk). What lies in a line is in a table: a pixel's number for each of its 16 elements, -1 for a zero.
 */
#ifndef SPC_PLANES_H
#define SPC_PLANES_H

#include "spc_tiles.h"

/* Line `line` of every channel from row-major pixels of `channels` elements; `plane`: elements of a channel's lines. */
SPC_OUT_OF_LINE void spc_planes_from_rows(float *planes, long plane, const float *x, const int32_t *pixels, long channels, long line) {
  float *y = planes + line * SPC_LANES;
  long c = 0;
  for (; c + SPC_LANES <= channels; c += SPC_LANES) spc_square_from_rows(y + c * plane, plane, x + c, pixels + line * SPC_LANES, channels, SPC_LANES);
  if (c < channels) spc_square_from_rows(y + c * plane, plane, x + c, pixels + line * SPC_LANES, channels, (int)(channels - c));
}

/*
 * The same channel by channel, where there are few. runs[4 line]: elements [from, to) of the line are pixels, the first of them `start`,
 * then every `step`-th; the others are zero.
 */
SPC_INLINE void spc_planes_run(float *y, const float *x, int from, int to, long step) {
#if defined(__AVX512F__)
  if (step <= 2) {
    /* elements from * step to (to - 1) * step of 32, and nothing beyond */
    const uint32_t on = from < to ? (UINT32_C(0xffffffff) >> (31 - (to - 1) * (int)step)) & (UINT32_C(0xffffffff) << (from * (int)step)) : 0;
    const float *first = x - from * step;
    const __m512 a = _mm512_maskz_loadu_ps((__mmask16)on, first);
    if (step <= 1) { _mm512_storeu_ps(y, a); return; }
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    _mm512_storeu_ps(y, _mm512_permutex2var_ps(a, even, _mm512_maskz_loadu_ps((__mmask16)(on >> 16), first + 16)));
    return;
  }
#endif
  for (int i = 0; i < SPC_LANES; ++i) y[i] = i < from || i >= to ? 0.0f : x[(i - from) * step];
}
SPC_OUT_OF_LINE void spc_planes_from_elements(float *planes, long plane, const float *x, const int32_t *runs, long channels, long line) {
  const int32_t *r = runs + 4 * line;
  for (long c = 0; c < channels; ++c) spc_planes_run(planes + c * plane + line * SPC_LANES, x + r[2] * channels + c, r[0], r[1], r[3] * channels);
}

/* Lanes 16 v to 16 v + 15 of every channel's sums as row-major pixels; `step`: elements of a channel's sums. */
SPC_OUT_OF_LINE void spc_planes_to_rows(float *y, const float *sums, long step, const int32_t *pixels, long channels, long v) {
  const float *x = sums + v * SPC_LANES;
  long c = 0;
  for (; c + SPC_LANES <= channels; c += SPC_LANES) spc_square_to_rows(y + c, x + c * step, step, pixels + v * SPC_LANES, channels, SPC_LANES);
  if (c < channels) spc_square_to_rows(y + c, x + c * step, step, pixels + v * SPC_LANES, channels, (int)(channels - c));
}
#endif
