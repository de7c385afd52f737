/** The statistics behind a comparison of two classifiers, in double precision; no function depends on the order of its samples. */
import { xoshiro128 } from '../io/random.js';

export const sum = (numbers: Iterable<number>): number => {
  let total = 0;
  for (const x of numbers) total += x;
  return total;
};

export const mean = (numbers: ArrayLike<number> & Iterable<number>): number => sum(numbers) / numbers.length;

/** Complementary error function: the series of erf where nothing cancels, else the continued fraction (Abramowitz and Stegun 7.1.6, 7.1.14). */
export function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  const gaussian = Math.exp(-x * x);
  if (x < 2) {
    let term = x, total = x;
    for (let n = 1; term > total * 1e-17; n++) total += (term *= (2 * x * x) / (2 * n + 1));
    return 1 - (2 / Math.sqrt(Math.PI)) * gaussian * total;
  }
  let fraction = 0;
  for (let n = 80; n > 0; n--) fraction = n / 2 / (x + fraction);
  return gaussian / Math.sqrt(Math.PI) / (x + fraction);
}

/** log of n choose k. */
const logChoose = (n: number, k: number): number => {
  let log = 0;
  for (let i = 1; i <= k; i++) log += Math.log((n - k + i) / i);
  return log;
};

/** Two-sided p-value of `k` heads in `n` throws of a fair coin. */
export function fairCoin(k: number, n: number): number {
  const tail = Math.min(k, n - k);
  return Math.min(1, 2 * sum(Array.from({ length: tail + 1 }, (_, i) => Math.exp(logChoose(n, i) - n * Math.LN2))));
}

export interface McNemar {
  /** Samples that a alone, and that b alone, classifies right. */
  readonly onlyA: number;
  readonly onlyB: number;
  readonly p: number;
  /** Present where there are enough of them for the chi-square distribution, with continuity correction. */
  readonly chi2?: number;
}

/** Fewer disagreements than this are tested exactly. */
const EXACT_BELOW = 25;

/** Whether two classifiers are right equally often on the same samples (McNemar 1947; Edwards' correction). */
export function mcNemar(onlyA: number, onlyB: number): McNemar {
  const n = onlyA + onlyB;
  if (n < EXACT_BELOW) return { onlyA, onlyB, p: fairCoin(onlyA, n) };
  const chi2 = Math.max(0, Math.abs(onlyA - onlyB) - 1) ** 2 / n;
  return { onlyA, onlyB, chi2, p: erfc(Math.sqrt(chi2 / 2)) };
}

/** Holm's step-down adjustment (1979): p-values that stay honest when the smallest of many is picked. */
export function holm(p: readonly number[]): number[] {
  const order = [...p.keys()].sort((i, j) => p[i]! - p[j]!), adjusted = [...p];
  let largest = 0;
  order.forEach((i, rank) => { adjusted[i] = largest = Math.max(largest, Math.min(1, (p.length - rank) * p[i]!)); });
  return adjusted;
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Quantile of ascending numbers, interpolated linearly between neighbours. */
export function quantile(ascending: ArrayLike<number>, q: number): number {
  const at = q * (ascending.length - 1), below = Math.floor(at), low = ascending[below]!;
  return low + (at - below) * ((ascending[Math.min(below + 1, ascending.length - 1)] ?? low) - low);
}

const RESAMPLES = 2000, SEED = 1;

/**
 * 95 % percentile interval of the paired bootstrap for accuracy(b) - accuracy(a). The difference on one sample is -1, 0 or 1, so
 * its three counts are all that is resampled.
 */
export function bootstrapDelta(onlyA: number, onlyB: number, n: number): Interval {
  const next = xoshiro128(SEED), deltas = new Float64Array(RESAMPLES);
  const worse = onlyA / n * 2 ** 32, changed = (onlyA + onlyB) / n * 2 ** 32;
  for (let r = 0; r < RESAMPLES; r++) {
    let difference = 0;
    for (let i = 0; i < n; i++) {
      const draw = next();
      if (draw < changed) difference += draw < worse ? -1 : 1;
    }
    deltas[r] = difference / n;
  }
  deltas.sort();
  return { low: quantile(deltas, 0.025), high: quantile(deltas, 0.975) };
}

/** Ranks from 1, ties sharing their mean rank. */
function ranks(x: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: x.length }, (_, i) => i).sort((i, j) => x[i]! - x[j]!), out = new Float64Array(x.length);
  for (let from = 0, to = 0; from < order.length; from = to) {
    while (to < order.length && x[order[to]!] === x[order[from]!]) to++;
    for (let i = from; i < to; i++) out[order[i]!] = (from + to + 1) / 2;
  }
  return out;
}

/** Spearman's rank correlation; null where one side does not vary. */
export function spearman(x: ArrayLike<number>, y: ArrayLike<number>): number | null {
  const a = ranks(x), b = ranks(y), centre = (x.length + 1) / 2;
  let ab = 0, aa = 0, bb = 0;
  a.forEach((r, i) => { const u = r - centre, v = b[i]! - centre; ab += u * v; aa += u * u; bb += v * v; });
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : null;
}

/** Area under points (x ascending, y), divided by the width: the mean height. */
export function meanHeight(points: readonly { readonly x: number; readonly y: number }[]): number {
  const area = sum(points.slice(1).map((p, i) => (p.x - points[i]!.x) * (p.y + points[i]!.y) / 2));
  const width = points.at(-1)!.x - points[0]!.x;
  return width > 0 ? area / width : points[0]!.y;
}
