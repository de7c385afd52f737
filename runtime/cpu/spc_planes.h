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

/* The same element by element, for few channels. */
SPC_OUT_OF_LINE void spc_planes_from_elements(float *planes, long plane, const float *x, const int32_t *pixels, long channels, long line) {
  const int32_t *p = pixels + line * SPC_LANES;
  for (long c = 0; c < channels; ++c) for (int i = 0; i < SPC_LANES; ++i) planes[c * plane + line * SPC_LANES + i] = p[i] < 0 ? 0.0f : x[p[i] * channels + c];
}

/* Lanes 16 v to 16 v + 15 of every channel's sums as row-major pixels; `step`: elements of a channel's sums. */
SPC_OUT_OF_LINE void spc_planes_to_rows(float *y, const float *sums, long step, const int32_t *pixels, long channels, long v) {
  const float *x = sums + v * SPC_LANES;
  long c = 0;
  for (; c + SPC_LANES <= channels; c += SPC_LANES) spc_square_to_rows(y + c, x + c * step, step, pixels + v * SPC_LANES, channels, SPC_LANES);
  if (c < channels) spc_square_to_rows(y + c, x + c * step, step, pixels + v * SPC_LANES, channels, (int)(channels - c));
}
#endif
