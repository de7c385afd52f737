/** What convolution-like operators share: windows over padded spatial dimensions. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { add, asIndex, div, index, max, min, mul, sub } from '../kir/build.js';
import type { Expr } from '../kir/types.js';

/** Order of data dimensions: `ncs` is [N, C, spatial...] (ONNX), `nsc` is [N, spatial..., C] (channels last). */
export type Layout = 'ncs' | 'nsc';

/** Sliding windows; one entry a spatial dimension, `pads` are [before, after]. */
export interface WindowAttrs {
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly pads: readonly (readonly [number, number])[];
}

/** Puts batch, channel and spatial coordinates in the order of the layout. */
export const placed = <T>(layout: Layout, n: T, c: T, spatial: readonly T[]): T[] =>
  layout === 'ncs' ? [n, c, ...spatial] : [n, ...spatial, c];

/** The inverse of {@link placed}. */
export const parted = <T>(layout: Layout, at: readonly T[]): { readonly n: T; readonly c: T; readonly spatial: T[] } =>
  layout === 'ncs' ? { n: at[0]!, c: at[1]!, spatial: at.slice(2) } : { n: at[0]!, c: at.at(-1)!, spatial: at.slice(1, -1) };

/**
 * Number of windows in each dimension.
 * @param ceil also counts a last window that is only partly inside, if it starts before the padding behind the input
 */
export function windowCounts(attrs: WindowAttrs, input: readonly number[], kernel: readonly number[], ceil = false): number[] {
  const counts = input.map((extent, d) => {
    const [before, after] = attrs.pads[d]!, stride = attrs.strides[d]!;
    const room = extent + before + after - (kernel[d]! - 1) * attrs.dilations[d]! - 1;
    if (!ceil) return Math.floor(room / stride) + 1;
    const count = Math.ceil(room / stride) + 1;
    return (count - 1) * stride >= extent + before ? count - 1 : count;
  });
  if (counts.some((c) => c < 1)) throw new NodeProblem('SPC2004', `window ${kernel.join('x')} is larger than the padded input ${input.join('x')}`);
  return counts;
}

/**
 * The taps [first, last) of window `at` in dimension `d` that fall into [low, high) of the input; constants where no window
 * leaves that range.
 */
export function tapRange(attrs: WindowAttrs, d: number, at: Expr, count: number, kernel: number, low: number, high: number): { first: Expr; last: Expr } {
  const stride = attrs.strides[d]!, dilation = attrs.dilations[d]!, before = attrs.pads[d]![0];
  const lastStart = (count - 1) * stride - before;
  const ceilDiv = (e: Expr): Expr => div(add(e, dilation - 1), dilation);
  const start = sub(mul(at, stride), before);
  const first = -before >= low ? index(0) : max(0, ceilDiv(sub(low, start)));
  const last = lastStart + (kernel - 1) * dilation < high ? asIndex(kernel) : min(kernel, ceilDiv(sub(high, start)));
  return { first, last };
}
