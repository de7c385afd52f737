/** Masks of RBGP4: the product of four bipartite graphs, two sparse (tiles; inside a tile) and two complete (rows that share columns; dense blocks). */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { nearestDensity, ramanujanGraph, gcd, type SpectralGraph } from './biregular.js';
import type { MatrixShape } from './matrix.js';
import { mergeComplete, type Graph } from './pattern.js';

export interface Factor {
  readonly rows: number;
  readonly cols: number;
  /** 1 for a complete graph. */
  readonly density: number;
}

/** Draws the factors, outermost first. Neighbouring complete graphs become one, and those of 1x1 are left out. */
export function graphProduct(factors: readonly Factor[], random: () => number): { readonly pattern: Graph; readonly spectra: readonly SpectralGraph[] } {
  const spectra = factors.map((f) => ramanujanGraph(f.rows, f.cols, f.density, random));
  return { pattern: { kind: 'graph', factors: mergeComplete(spectra.map((s) => s.graph)) }, spectra };
}

/** Largest inner graph; rows that share one column pattern. */
const TILE = 32, SHARED_ROWS = 4;

const powersOfTwoIn = (n: number): number[] => Array.from({ length: Math.log2(TILE) + 1 }, (_, k) => 2 ** k).filter((d) => n % d === 0);

/** Misses of the density below the first share do not count; above the second there is no product. */
const NEAR = 0.05, TOO_FAR = 1 / 3;

/**
 * Four factors for a matrix: tiles of 4 shared rows times an inner graph of up to 32x32. Of the ways to split rows, columns and density the one that meets
 * the density is taken; of several, one with two sparse graphs, then the one of the largest tile, then the most even one.
 * @throws NodeProblem SPC3002 where the sizes of the matrix leave no such product near the density
 */
export function rbgp4Factors(shape: MatrixShape, density: number): readonly Factor[] {
  const shared = gcd(shape.rows, SHARED_ROWS), rows = shape.rows / shared;
  const choices = powersOfTwoIn(rows).flatMap((y) => powersOfTwoIn(shape.cols).flatMap((x) => {
    const outerSize = [rows / y, shape.cols / x] as const, steps = gcd(y, x);
    return Array.from({ length: steps }, (_, k) => {
      const inner: Factor = { rows: y, cols: x, density: (k + 1) / steps };
      const outer: Factor = { rows: outerSize[0], cols: outerSize[1], density: nearestDensity(outerSize[0], outerSize[1], Math.min(1, density / inner.density)) };
      const missed = Math.abs(inner.density * outer.density / density - 1);
      return { inner, outer, missed, skew: Math.abs(Math.log2(inner.density / outer.density)) };
    });
  })).filter((c) => isConnected(c.inner) && isConnected(c.outer) && c.missed <= TOO_FAR);
  const complete = (c: (typeof choices)[number]): number => [c.inner, c.outer].filter((f) => f.density === 1).length;
  choices.sort((a, b) => Math.max(a.missed, NEAR) - Math.max(b.missed, NEAR) || complete(a) - complete(b)
    || b.inner.rows * b.inner.cols - a.inner.rows * a.inner.cols || a.missed - b.missed || a.skew - b.skew);
  const best = choices[0];
  if (!best) {
    throw new NodeProblem('SPC3002', `a matrix of ${shape.rows}x${shape.cols} is no product of sparse graphs of density near ${Number(density.toPrecision(3))}`,
      'its sizes need factors of two; choose another pattern for this layer, or name the factors: rbgp4(32x128:0.5,4x1,32x32:0.25,1x1)');
  }
  return [best.outer, { rows: shared, cols: 1, density: 1 }, best.inner, { rows: 1, cols: 1, density: 1 }];
}

/** A graph of degree 1 is a matching: it connects nothing. */
const isConnected = ({ rows, cols, density }: Factor): boolean => density === 1 || (density * rows >= 2 && density * cols >= 2);
