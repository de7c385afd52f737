/**
 * Random biregular bipartite graphs with a good spectral gap (Ramanujan graphs), the factors of RBGP masks (Vooturi, Varma and Kothapalli, 2020).
 * A graph of left degree l and right degree r is Ramanujan iff the second singular value of its biadjacency matrix is at most
 * sqrt(l - 1) + sqrt(r - 1): it then mixes like a random graph although it has structure.
 */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { fullMask, newMask, type Mask } from './matrix.js';

export interface SpectralGraph {
  readonly graph: Mask;
  readonly leftDegree: number;
  readonly rightDegree: number;
  /** Second singular value and the Ramanujan bound on it. */
  readonly sigma2: number;
  readonly bound: number;
  /** Graphs or lifts drawn until the bound held. */
  readonly tries: number;
}

const TRIES = 200, POWER_STEPS = 300;
/** Of power iteration, relative. */
const ACCURACY = 1e-7;

/** An edge list with weights +1 or -1. */
interface Signed { readonly rows: number; readonly cols: number; readonly from: Int32Array; readonly to: Int32Array; readonly sign: Int8Array }

function edges(graph: Mask, sign: (i: number) => number = () => 1): Signed {
  const at: number[] = [];
  graph.bits.forEach((b, i) => { if (b) at.push(i); });
  return {
    rows: graph.rows, cols: graph.cols, from: Int32Array.from(at, (i) => Math.floor(i / graph.cols)), to: Int32Array.from(at, (i) => i % graph.cols),
    sign: Int8Array.from(at, (_, e) => sign(e)),
  };
}

/**
 * Largest singular value, by power iteration on the transpose times the matrix; with `deflate`, on the complement of the constant vector, which is the
 * first singular vector of a biregular graph, so that it gives the second.
 */
function largestSingularValue(m: Signed, deflate: boolean, random: () => number): number {
  let x = Float64Array.from({ length: m.cols }, () => random() / 2 ** 32 - 0.5), previous = 0;
  for (let step = 0; step < POWER_STEPS; step++) {
    if (deflate) {
      const mean = x.reduce((a, b) => a + b, 0) / m.cols;
      x = x.map((v) => v - mean);
    }
    const norm = Math.hypot(...x);
    if (norm < 1e-12) return 0;
    const y = new Float64Array(m.rows), z = new Float64Array(m.cols);
    for (let e = 0; e < m.sign.length; e++) y[m.from[e]!] = y[m.from[e]!]! + m.sign[e]! * x[m.to[e]!]! / norm;
    for (let e = 0; e < m.sign.length; e++) z[m.to[e]!] = z[m.to[e]!]! + m.sign[e]! * y[m.from[e]!]!;
    const sigma = Math.hypot(...y);
    if (Math.abs(sigma - previous) <= ACCURACY * sigma) return sigma;
    previous = sigma;
    x = z;
  }
  return previous;
}

/** The second singular value of a biregular graph's biadjacency matrix. `random` gives 32-bit unsigned integers. */
export const secondSingularValue = (graph: Mask, random: () => number): number => largestSingularValue(edges(graph), true, random);

export const ramanujanBound = (leftDegree: number, rightDegree: number): number => Math.sqrt(Math.max(leftDegree - 1, 0)) + Math.sqrt(Math.max(rightDegree - 1, 0));

/**
 * Densities of biregular graphs of a size: multiples of 1 / gcd(rows, cols), because rows * leftDegree = cols * rightDegree.
 * @returns the positive one that is nearest to `density` (the smaller of two equally near)
 */
export function nearestDensity(rows: number, cols: number, density: number): number {
  const steps = gcd(rows, cols), k = density * steps;
  return Math.max(1, k - Math.floor(k) > 0.5 ? Math.ceil(k) : Math.floor(k)) / steps;
}

export const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/**
 * A random Ramanujan graph. Densities 2^-k by k random 2-lifts of a complete graph, each accepted iff its new singular values are in bounds (such
 * lifts exist: Marcus, Spielman and Srivastava, 2015); other densities by drawing biregular graphs until one passes the same test.
 * @param density must be a density of a biregular graph of this size (see {@link nearestDensity})
 * @param random 32-bit unsigned integers
 * @throws NodeProblem SPC3002 where no such graph exists or none was found
 */
export function ramanujanGraph(rows: number, cols: number, density: number, random: () => number): SpectralGraph {
  const leftDegree = Math.round(density * cols), rightDegree = Math.round(density * rows);
  if (leftDegree < 1 || leftDegree * rows !== rightDegree * cols || Math.abs(leftDegree / cols - density) > 1e-9) {
    throw new NodeProblem('SPC3002', `no biregular graph of ${rows}x${cols} has density ${density}`, `densities of this size are multiples of 1/${gcd(rows, cols)}`);
  }
  const bound = ramanujanBound(leftDegree, rightDegree);
  if (density === 1) return { graph: fullMask(rows, cols), leftDegree, rightDegree, sigma2: 0, bound, tries: 0 };
  const lifts = Math.log2(1 / density);
  const drawn = Number.isInteger(lifts) && rows % 2 ** lifts === 0 && cols % 2 ** lifts === 0 ? byLifts(rows, cols, lifts, bound, random) : bySwitching(rows, cols, leftDegree, bound, random);
  return { ...drawn, leftDegree, rightDegree, bound, sigma2: secondSingularValue(drawn.graph, random) };
}

const notFound = (rows: number, cols: number): NodeProblem =>
  new NodeProblem('SPC3002', `no Ramanujan graph of ${rows}x${cols} found in ${TRIES} tries`, 'take another seed, larger factors or a higher density');

function byLifts(rows: number, cols: number, lifts: number, bound: number, random: () => number): { graph: Mask; tries: number } {
  let graph = fullMask(rows / 2 ** lifts, cols / 2 ** lifts), tries = 0;
  for (let lift = 0; lift < lifts; lift++) {
    // a 2-lift's singular values are those of the graph and of its signed biadjacency matrix
    for (let attempt = 1; ; attempt++) {
      const signed = edges(graph, () => (random() & 0x10000 ? 1 : -1));
      tries++;
      if (largestSingularValue(signed, false, random) <= bound * (1 + 1e-9)) {
        graph = lifted(signed);
        break;
      }
      if (attempt === TRIES) throw notFound(rows, cols);
    }
  }
  return { graph, tries };
}

/** Two copies; edges of sign -1 cross between them. */
function lifted(m: Signed): Mask {
  const out = newMask(2 * m.rows, 2 * m.cols);
  for (let e = 0; e < m.sign.length; e++) {
    for (const copy of [0, 1]) out.bits[(m.from[e]! + copy * m.rows) * out.cols + m.to[e]! + (m.sign[e]! > 0 ? copy : 1 - copy) * m.cols] = 1;
  }
  return out;
}

/** A regular circulant graph, mixed by random exchanges of end points, which keep all degrees. */
function bySwitching(rows: number, cols: number, leftDegree: number, bound: number, random: () => number): { graph: Mask; tries: number } {
  const from: number[] = [], to: number[] = [], graph = newMask(rows, cols);
  for (let i = 0; i < rows; i++) {
    for (let t = 0; t < leftDegree; t++) {
      const j = (i * leftDegree + t) % cols;
      from.push(i);
      to.push(j);
      graph.bits[i * cols + j] = 1;
    }
  }
  for (let tries = 1; tries <= TRIES; tries++) {
    for (let step = 0; step < 10 * from.length; step++) {
      const a = random() % from.length, b = random() % from.length;
      const [ai, aj, bi, bj] = [from[a]!, to[a]!, from[b]!, to[b]!];
      if (graph.bits[ai * cols + bj] || graph.bits[bi * cols + aj]) continue;
      graph.bits[ai * cols + aj] = graph.bits[bi * cols + bj] = 0;
      graph.bits[ai * cols + bj] = graph.bits[bi * cols + aj] = 1;
      to[a] = bj;
      to[b] = aj;
    }
    if (secondSingularValue(graph, random) <= bound * (1 + 1e-9)) return { graph, tries };
  }
  throw notFound(rows, cols);
}
