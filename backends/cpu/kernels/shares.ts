/**
 * How independent pieces of straight-line work are divided among threads: statically, by what they cost. The pieces lie on a line, each as long as its cost;
 * a worker's part of the line says which pieces are its own, the same for every run of the model.
 */
import { add, and, compare, div, index, max, min, rangeBegin, rangeEnd, sub } from '../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../compiler/kir/types.js';

/** The same parts (routines) for each of `count` things (tiles), all parts of a thing before the next thing: so they lie on the line, not in time. */
export interface Piece {
  readonly count: number;
  /** What each part takes for a thing, in any unit. */
  readonly costs: readonly number[];
}

/** What a worker does of a part. */
export interface Share {
  /** The locals that it refers to. */
  readonly declare: readonly Stmt[];
  /** The first thing and how many, if `any`; only those of a window of things where one is given. */
  within(window?: { readonly from: Expr; readonly to: Expr }): { readonly first: Expr; readonly count: Expr; readonly any: Expr };
}

/** Length of the whole line: fine enough for any number of threads, and times that number a 32-bit integer. */
const UNITS = 1 << 20;

/** Shares of things whose part begins at `start` on the line, and at every `step` from there: a part belongs to the worker in whose range its middle lies. */
function shareOf(k: KernelBuilder, start: number, step: number, length: number, count: number): Share {
  const middle = start + Math.floor(length / 2);
  if (count === 1) {
    const own = and(compare('le', rangeBegin, middle), compare('lt', middle, rangeEnd));
    return { declare: [], within: () => ({ first: index(0), count: index(1), any: own }) };
  }
  const before = (edge: Expr): Expr => max(0, min(count, div(add(edge, step - 1 - middle), step)));
  const first = k.let('first', before(rangeBegin)), last = k.let('last', before(rangeEnd));
  return {
    declare: [first.declare, last.declare],
    within(window) {
      const from = window ? max(first.ref, window.from) : first.ref, to = window ? min(last.ref, window.to) : last.ref;
      return { first: from, count: sub(to, from), any: compare('lt', from, to) };
    },
  };
}

/** The shares of the parts of pieces, for the body of a range of that extent. */
export function sharesOf(k: KernelBuilder, pieces: readonly Piece[]): { readonly extent: number; readonly shares: readonly (readonly Share[])[] } {
  const total = pieces.reduce((sum, { count, costs }) => sum + count * costs.reduce((a, b) => a + b, 0), 0);
  const isWhole = pieces.length === 1 && pieces[0]!.count === 1 && pieces[0]!.costs.length === 1;
  let extent = 0;
  const shares = pieces.map(({ count, costs }): Share[] => {
    const units = costs.map((c) => (isWhole ? 1 : Math.max(1, Math.round((c * UNITS) / total)))), step = units.reduce((a, b) => a + b, 0);
    let start = extent;
    extent += step * count;
    return units.map((length) => {
      const share = shareOf(k, start, step, length, count);
      start += length;
      return share;
    });
  });
  return { extent, shares };
}
