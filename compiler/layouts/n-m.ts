import { denseTensor } from '../ir/tensor.js';
import { bitsFor, readBits, writeBits } from './bits.js';
import { absentValues, accepted, ceilDiv, defineLayout, isCount, rejected, roundUp } from './types.js';

/** At most `keep` of every `of` consecutive weights of a row (N:M; 2:4 is what tensor cores of GPUs compute with). */
export interface NmParams {
  readonly keep: number;
  readonly of: number;
  /** The packed matrix is padded to multiples of these, e.g. the tile of a matrix instruction. Default 1 row and one group. */
  readonly rowMultiple?: number;
  readonly colMultiple?: number;
}

interface Shape {
  readonly rows: number;
  readonly groups: number;
  /** Bits of one position, and bytes of the positions of a row. */
  readonly bits: number;
  readonly rowBytes: number;
}

function packedShape(m: { readonly rows: number; readonly cols: number }, { keep, of, rowMultiple = 1, colMultiple = 1 }: NmParams): Shape {
  const groups = ceilDiv(roundUp(m.cols, colMultiple), of), bits = bitsFor(of);
  return { rows: roundUp(m.rows, rowMultiple), groups, bits, rowBytes: ceilDiv(groups * keep * bits, 8) };
}

export const nm = defineLayout<NmParams, 'positions'>({
  doc: 'N of M consecutive weights: values [rows, groups, N] and their ascending positions in the group, ceil(log2 M) bits each, a row in whole bytes',
  label: ({ keep, of }) => `${keep}:${of}`,
  accepts(m, p) {
    if (!isCount(p.keep) || !isCount(p.of) || p.keep > p.of) return rejected(`${p.keep} of ${p.of} is no N:M pattern`);
    if (!isCount(p.rowMultiple ?? 1) || !isCount(p.colMultiple ?? 1)) return rejected(`cannot pad to multiples of ${p.rowMultiple ?? 1} x ${p.colMultiple ?? 1}`);
    for (let r = 0; r < m.rows; r++) {
      for (let left = 0; left < m.cols; left += p.of) {
        let count = 0;
        for (let c = left; c < Math.min(m.cols, left + p.of); c++) count += m.bits[r * m.cols + c]!;
        if (count > p.keep) return rejected(`row ${r} has ${count} non-zeros in columns ${left}..${Math.min(m.cols, left + p.of) - 1}; ${p.keep}:${p.of} holds ${p.keep}`, r, left);
      }
    }
    return accepted;
  },
  pack(m, p) {
    const { rows, groups, bits, rowBytes } = packedShape(m, p);
    const values = absentValues(m, rows * groups * p.keep), positions = new Uint8Array(rows * rowBytes);
    for (let r = 0, slot = 0; r < rows; r++) {
      const present = (c: number): boolean => r < m.rows && c < m.cols && m.bits[r * m.cols + c] === 1;
      let bit = r * rowBytes * 8;
      for (let left = 0; left < groups * p.of; left += p.of) {
        let spare = p.keep;
        for (let c = left; c < left + p.of; c++) if (present(c)) spare--;
        // Absent weights fill the group up, the first ones first; positions ascend as matrix instructions demand.
        for (let c = left; c < left + p.of; c++) {
          const weight = present(c);
          if (!weight && spare-- <= 0) continue;
          if (weight) values[slot] = m.data[r * m.cols + c] as never;
          writeBits(positions, bit, bits, c - left);
          slot++;
          bit += bits;
        }
      }
    }
    return { values: denseTensor(m.dtype, [rows, groups, p.keep], values), positions: denseTensor('u8', [rows, rowBytes], positions) };
  },
  visit(p, visit) {
    const { keep, of } = p.params, { groups, bits, rowBytes } = packedShape(p, p.params), positions = p.arrays.positions.data as Uint8Array;
    for (let r = 0; r < p.rows; r++) {
      for (let slot = 0; slot < groups * keep; slot++) {
        const c = Math.floor(slot / keep) * of + readBits(positions, r * rowBytes * 8 + slot * bits, bits);
        if (c < p.cols) visit(r, c, r * groups * keep + slot);
      }
    }
  },
});
