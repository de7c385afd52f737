import { denseTensor } from '../ir/tensor.js';
import { absentValues, accepted, ceilDiv, defineLayout } from './types.js';

export type BitmapParams = Readonly<Record<never, never>>;

/** Columns that one entry of the rank directory covers. */
const WORD = 64;

const popcount = (x: number): number => {
  let n = x - ((x >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
};

export const bitmap = defineLayout<BitmapParams, 'mask' | 'ranks'>({
  doc: 'values of the non-zeros, a bit a weight (rows in whole 64-bit words, low bit first), and for every word how many values come before it',
  label: () => 'bitmap',
  accepts: () => accepted,
  pack(m) {
    const words = ceilDiv(m.cols, WORD), mask = new Uint32Array(m.rows * words * 2), ranks = new Uint32Array(m.rows * words);
    const values = absentValues(m, m.bits.reduce((n, bit) => n + bit, 0));
    let count = 0;
    for (let r = 0; r < m.rows; r++) {
      for (let c = 0; c < m.cols; c++) {
        const word = r * words + Math.floor(c / WORD), i = r * m.cols + c;
        if (c % WORD === 0) ranks[word] = count;
        if (!m.bits[i]) continue;
        mask[word * 2 + ((c >>> 5) & 1)]! |= 1 << (c & 31);
        values[count++] = m.data[i] as never;
      }
    }
    return {
      values: denseTensor(m.dtype, [count], values),
      // Halves of the words in the order of a little-endian machine.
      mask: denseTensor('u32', [m.rows, words, 2], mask),
      ranks: denseTensor('u32', [m.rows, words], ranks),
    };
  },
  visit(p, visit) {
    const words = ceilDiv(p.cols, WORD), mask = p.arrays.mask.data as Uint32Array, ranks = p.arrays.ranks.data as Uint32Array;
    for (let r = 0; r < p.rows; r++) {
      for (let half = 0; half < words * 2; half++) {
        const at = r * words * 2 + half;
        let slot = ranks[at >>> 1]! + (half & 1 ? popcount(mask[at - 1]!) : 0);
        for (let bits = mask[at]!; bits !== 0; bits &= bits - 1) visit(r, half * 32 + 31 - Math.clz32(bits & -bits), slot++);
      }
    }
  },
});
