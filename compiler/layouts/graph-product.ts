/**
 * Product of bipartite graphs, G_o x K x G_i x K with two sparse factors and two complete ones (RBGP4, arXiv 2006.13486). The biadjacency
 * matrix of a product is the Kronecker product of the factors' matrices, so only the small sparse factors need indices.
 */
import { denseTensor, tensorOf, type DenseTensor } from '../ir/tensor.js';
import { absentValues, accepted, defineLayout, indexType, isCount, rejected, type Acceptance } from './types.js';

/** A bipartite graph by its biadjacency matrix: rows x cols, row-major, non-zero where there is an edge. */
export interface GraphFactor {
  readonly rows: number;
  readonly cols: number;
  readonly bits: ArrayLike<number>;
}

/**
 * Row ((o * repeat[0] + r) * inner.rows + i) * block[0] + b may have a weight in column ((o' * repeat[1] + r') * inner.cols + i') * block[1] + b'
 * iff o-o' is an edge of `outer` and i-i' one of `inner`. All rows of a factor have equally many edges, so that every output does equal work.
 */
export interface GraphProductParams {
  readonly outer: GraphFactor;
  readonly repeat: readonly [rows: number, cols: number];
  readonly inner: GraphFactor;
  readonly block: readonly [rows: number, cols: number];
}

/** Columns that the edges of each row lead to; ascending. */
const adjacency = (f: GraphFactor): number[][] =>
  Array.from({ length: f.rows }, (_, r) => Array.from({ length: f.cols }, (_, c) => c).filter((c) => f.bits[r * f.cols + c]));

function factorProblem(name: string, f: GraphFactor): string | undefined {
  if (!isCount(f.rows) || !isCount(f.cols) || f.bits.length !== f.rows * f.cols) return `the ${name} factor is no ${f.rows} x ${f.cols} matrix`;
  const degrees = adjacency(f).map((edges) => edges.length), odd = degrees.findIndex((d) => d !== degrees[0]);
  return odd < 0 ? undefined : `rows of the ${name} factor differ in their number of edges: row 0 has ${degrees[0]}, row ${odd} has ${degrees[odd]}`;
}

const product = (p: GraphProductParams): readonly [number, number] =>
  [p.outer.rows * p.repeat[0] * p.inner.rows * p.block[0], p.outer.cols * p.repeat[1] * p.inner.cols * p.block[1]];

/**
 * Rows in the order (o, i, r, b), in which rows of equal support are neighbours: repeat[0] * block[0] of them at a time are a dense matrix over
 * the columns of one support.
 * @returns for each new row the row of the matrix
 */
export function supportRowOrder({ outer, repeat, inner, block }: GraphProductParams): number[] {
  const order: number[] = [];
  for (let o = 0; o < outer.rows; o++) for (let i = 0; i < inner.rows; i++) for (let r = 0; r < repeat[0]; r++) for (let b = 0; b < block[0]; b++) {
    order.push(((o * repeat[0] + r) * inner.rows + i) * block[0] + b);
  }
  return order;
}

/** Adjacency lists of a factor as a matrix [rows, degree]. */
function edgeTensor(f: GraphFactor): DenseTensor {
  const lists = adjacency(f);
  return tensorOf(indexType(f.cols), [f.rows, lists[0]?.length ?? 0], lists.flat());
}

/** Visits the support of the product in the order of the stored values: o, edge of o, r, r', i, edge of i, b, b'. */
function forEachWeight({ repeat, block, outer, inner }: GraphProductParams, outerEdges: DenseTensor, innerEdges: DenseTensor, visit: (row: number, col: number, slot: number) => void): void {
  const outerDegree = outerEdges.shape[1]!, innerDegree = innerEdges.shape[1]!;
  let slot = 0;
  for (let oe = 0; oe < outer.rows * outerDegree; oe++) {
    const o = Math.floor(oe / outerDegree), oc = Number(outerEdges.data[oe]);
    for (let r = 0; r < repeat[0]; r++) for (let rc = 0; rc < repeat[1]; rc++) {
      for (let ie = 0; ie < inner.rows * innerDegree; ie++) {
        const i = Math.floor(ie / innerDegree), ic = Number(innerEdges.data[ie]);
        const top = ((o * repeat[0] + r) * inner.rows + i) * block[0], left = ((oc * repeat[1] + rc) * inner.cols + ic) * block[1];
        for (let b = 0; b < block[0]; b++) for (let bc = 0; bc < block[1]; bc++) visit(top + b, left + bc, slot++);
      }
    }
  }
}

export const graphProduct = defineLayout<GraphProductParams, 'outerEdges' | 'innerEdges'>({
  doc: 'product of bipartite graphs (RBGP4): the edges of the two sparse factors, and the values in the order o, edge of o, r, i, edge of i, b',
  label: ({ outer, repeat, inner, block }) => `graph ${outer.rows}x${outer.cols} * ${repeat.join('x')} * ${inner.rows}x${inner.cols} * ${block.join('x')}`,
  accepts(m, p): Acceptance {
    if (![...p.repeat, ...p.block].every(isCount)) return rejected(`complete factors of ${p.repeat.join(' x ')} and ${p.block.join(' x ')} are no factors`);
    const problem = factorProblem('outer', p.outer) ?? factorProblem('inner', p.inner);
    if (problem) return rejected(problem);
    const [rows, cols] = product(p);
    if (rows !== m.rows || cols !== m.cols) return rejected(`the product is ${rows} x ${cols}, the matrix ${m.rows} x ${m.cols}`);
    for (let r = 0; r < rows; r++) {
      const row = Math.floor(r / p.block[0]), i = row % p.inner.rows, o = Math.floor(row / (p.inner.rows * p.repeat[0]));
      for (let c = 0; c < cols; c++) {
        if (!m.bits[r * cols + c]) continue;
        const col = Math.floor(c / p.block[1]), ic = col % p.inner.cols, oc = Math.floor(col / (p.inner.cols * p.repeat[1]));
        if (!p.outer.bits[o * p.outer.cols + oc] || !p.inner.bits[i * p.inner.cols + ic]) return rejected(`row ${r}, column ${c} holds a weight outside of the product`, r, c);
      }
    }
    return accepted;
  },
  pack(m, p) {
    const outerEdges = edgeTensor(p.outer), innerEdges = edgeTensor(p.inner);
    const values = absentValues(m, outerEdges.data.length * p.repeat[0] * p.repeat[1] * innerEdges.data.length * p.block[0] * p.block[1]);
    forEachWeight(p, outerEdges, innerEdges, (r, c, slot) => { if (m.bits[r * m.cols + c]) values[slot] = m.data[r * m.cols + c] as never; });
    return { values: denseTensor(m.dtype, [values.length], values), outerEdges, innerEdges };
  },
  visit: (p, visit) => forEachWeight(p.params, p.arrays.outerEdges, p.arrays.innerEdges, visit),
});
