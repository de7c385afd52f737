/**
 * Complementary packing: sparse rows with disjoint supports are overlaid to one dense row, and every weight keeps the id of the row that
 * it came from, so that a kernel multiplies densely and routes each product to its row (Complementary Sparsity, arXiv 2112.13896).
 */
import { denseTensor, tensorOf } from '../ir/tensor.js';
import { bitsFor, readBits, writeBits } from './bits.js';
import { absentValues, accepted, ceilDiv, defineLayout, indexType, isCount, rejected, type IndexDType, type WeightMatrix } from './types.js';

/**
 * Which rows share packs.
 * - `exact`: `size` consecutive rows, one pack; at most one of them may be present in a column (1:P along the outputs).
 * - `split`: `size` consecutive rows, as many packs as their fullest column needs. With all rows in one group the number of packs is the
 *   fullest column of the matrix, the fewest that any packing has; the ids are row numbers then.
 * - `coloured`: at most `size` rows wherever they are, chosen so that no two meet in a column.
 */
export interface ComplementaryParams {
  readonly grouping: 'exact' | 'split' | 'coloured';
  readonly size: number;
}

/** Rows that share packs, and how many packs. A kernel id is an index into `rows`. */
interface Group {
  readonly rows: readonly number[];
  readonly packs: number;
}

function consecutiveRows(m: WeightMatrix, size: number): number[][] {
  return Array.from({ length: ceilDiv(m.rows, size) }, (_, g) => Array.from({ length: Math.min(size, m.rows - g * size) }, (_, i) => g * size + i));
}

/**
 * Greedy colouring of the conflict graph (rows are adjacent iff they meet in a column), rows with most non-zeros first. The smallest
 * number of packs is its chromatic number, which cannot be found in reasonable time.
 */
function colouredRows(m: WeightMatrix, size: number): number[][] {
  const words = ceilDiv(m.cols, 32), supports = Array.from({ length: m.rows }, () => new Uint32Array(words)), counts = new Uint32Array(m.rows);
  for (let r = 0; r < m.rows; r++) {
    for (let c = 0; c < m.cols; c++) if (m.bits[r * m.cols + c]) { supports[r]![c >>> 5]! |= 1 << (c & 31); counts[r]!++; }
  }
  const packs: { readonly rows: number[]; readonly used: Uint32Array }[] = [];
  for (const r of Array.from(counts.keys()).sort((a, b) => counts[b]! - counts[a]! || a - b)) {
    const support = supports[r]!;
    let pack = packs.find((p) => p.rows.length < size && support.every((bits, w) => (bits & p.used[w]!) === 0));
    if (!pack) packs.push(pack = { rows: [], used: new Uint32Array(words) });
    pack.rows.push(r);
    for (let w = 0; w < words; w++) pack.used[w]! |= support[w]!;
  }
  return packs.map((p) => p.rows.sort((a, b) => a - b));
}

/** Most non-zeros in a column of some rows, and a column that has them. */
function fullestColumn(m: WeightMatrix, rows: readonly number[]): { readonly count: number; readonly col: number } {
  const counts = new Uint32Array(m.cols);
  for (const r of rows) for (let c = 0; c < m.cols; c++) counts[c]! += m.bits[r * m.cols + c]!;
  const count = counts.reduce((a, b) => Math.max(a, b), 0);
  return { count, col: counts.indexOf(count) };
}

function groupsOf(m: WeightMatrix, { grouping, size }: ComplementaryParams): Group[] {
  switch (grouping) {
    case 'exact': return consecutiveRows(m, size).map((rows) => ({ rows, packs: 1 }));
    case 'split': return consecutiveRows(m, size).map((rows) => ({ rows, packs: fullestColumn(m, rows).count }));
    case 'coloured': return colouredRows(m, size).map((rows) => ({ rows, packs: 1 }));
  }
}

/** Running sums of `counts`, from 0. */
function starts(counts: readonly number[]): number[] {
  const sums = [0];
  counts.forEach((n, i) => sums.push(sums[i]! + n));
  return sums;
}

/** Bits of a kernel id. */
const idBits = (rows: number, { size }: ComplementaryParams): number => bitsFor(Math.min(size, rows));

export const complementary = defineLayout<ComplementaryParams, 'ids' | 'packStarts' | 'groupStarts' | 'rows'>({
  doc: 'rows with disjoint supports overlaid to dense packs: values [packs, cols] and kernel ids, ceil(log2 size) bits each, a pack in whole bytes; '
    + 'where it is not a matter of course also the packs of each group, its first row, and the order of the rows (else these are empty)',
  label: ({ grouping, size }) => `complementary ${size} ${grouping}`,
  accepts(m, p) {
    if (!isCount(p.size)) return rejected(`${p.size} rows are no pack`);
    if (p.grouping !== 'exact') return accepted;
    for (const rows of consecutiveRows(m, p.size)) {
      const { count, col } = fullestColumn(m, rows);
      if (count > 1) return rejected(`${count} of the rows ${rows[0]}..${rows.at(-1)} have a non-zero in column ${col}; one may`, rows.find((r) => m.bits[r * m.cols + col]), col);
    }
    return accepted;
  },
  pack(m, p) {
    const groups = groupsOf(m, p), bits = idBits(m.rows, p), packBytes = ceilDiv(m.cols * bits, 8);
    const packStarts = starts(groups.map((g) => g.packs)), packs = packStarts.at(-1)!;
    const values = absentValues(m, packs * m.cols), ids = new Uint8Array(packs * packBytes);
    groups.forEach(({ rows, packs: depth }, g) => {
      for (let c = 0; c < m.cols; c++) {
        // The column's non-zeros are stacked upward; what is left of the stack pads, for a row that has none here.
        const stack = rows.flatMap((r, id) => (m.bits[r * m.cols + c] ? [id] : []));
        const absent = rows.findIndex((r) => !m.bits[r * m.cols + c]);
        for (let d = 0; d < depth; d++) {
          const pack = packStarts[g]! + d, id = stack[d] ?? absent;
          writeBits(ids, pack * packBytes * 8 + c * bits, bits, id);
          if (d < stack.length) values[pack * m.cols + c] = m.data[rows[id]! * m.cols + c] as never;
        }
      }
    });
    const list = (dtype: IndexDType, needed: boolean, indices: readonly number[]) => tensorOf(dtype, [needed ? indices.length : 0], needed ? indices : []);
    return {
      values: denseTensor(m.dtype, [packs, m.cols], values),
      ids: denseTensor('u8', [packs, packBytes], ids),
      packStarts: list('u32', p.grouping === 'split', packStarts),
      groupStarts: list('u32', p.grouping === 'coloured', starts(groups.map((g) => g.rows.length))),
      rows: list(indexType(m.rows), p.grouping === 'coloured', groups.flatMap((g) => g.rows)),
    };
  },
  visit(p, visit) {
    const { grouping, size } = p.params, { packStarts, groupStarts, rows } = p.arrays, ids = p.arrays.ids.data as Uint8Array;
    const [packs = 0] = p.arrays.values.shape, bits = idBits(p.rows, p.params), packBytes = ceilDiv(p.cols * bits, 8);
    for (let pack = 0, group = 0; pack < packs; pack++) {
      if (grouping === 'split') while (Number(packStarts.data[group + 1]) <= pack) group++;
      else group = pack;
      for (let c = 0; c < p.cols; c++) {
        const id = readBits(ids, pack * packBytes * 8 + c * bits, bits);
        visit(grouping === 'coloured' ? Number(rows.data[Number(groupStarts.data[group]) + id]) : group * size + id, c, pack * p.cols + c);
      }
    }
  },
});
