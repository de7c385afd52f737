/**
 * Constant matrices with few elements, as runtime/cuda/spc_sell.h reads them (sliced ELLPACK), and the division of a matrix into what has the
 * pattern of sparse tensor cores and what is left.
 */
import { ceilDiv, roundUp } from '../../compiler/layouts/types.js';
import { weightMatrix, type WeightMatrix } from '../../compiler/layouts/index.js';
import { newArray } from '../../compiler/ir/tensor.js';

/** As in spc_slices and spc_sell. */
export const SLICE_ROWS = 128, ZERO_FEATURES = 8;
const LANES = 32, ROWS_OF_LANE = 4, BANK_PLACES = 8;

const elementBytes = ({ dtype }: Pick<WeightMatrix, 'dtype'>): 2 | 4 => (dtype === 'f32' ? 4 : 2);
const rawOf = ({ dtype, data: { buffer, byteOffset, length } }: WeightMatrix): Uint16Array | Uint32Array => (dtype === 'f32' ? new Uint32Array(buffer, byteOffset, length) : new Uint16Array(buffer, byteOffset, length));
/** Features of a column in shared memory: whole blocks of 128 bytes. */
export const featuresOf = (m: Pick<WeightMatrix, 'dtype' | 'cols'>): number => roundUp(m.cols, 128 / elementBytes(m));
/** Where feature `k` lies, as spc_sell::place. */
const placeOf = (k: number): number => k ^ ((k >> 3) & 7);

/** Row of w that a lane has as its r-th. */
const rowOf = (slice: number, r: number, lane: number): number => slice * SLICE_ROWS + lane * ROWS_OF_LANE + r;

/** Steps of every slice and r: what the longest of the lanes' rows has. @param counts elements of each row */
export function sliceSteps(counts: Uint32Array): Uint32Array {
  const steps = new Uint32Array(ceilDiv(counts.length, SLICE_ROWS) * ROWS_OF_LANE);
  counts.forEach((count, row) => { const at = Math.floor(row / SLICE_ROWS) * ROWS_OF_LANE + row % ROWS_OF_LANE; steps[at] = Math.max(steps[at]!, count); });
  return steps;
}

/** Elements of each row; with `pattern`, those that are more than `keep` of `of` consecutive ones. */
export function rowCounts({ rows, cols, bits }: WeightMatrix, { keep, of } = { keep: 0, of: 1 }): Uint32Array {
  const counts = new Uint32Array(rows);
  for (let row = 0; row < rows; row++) for (let first = 0; first < cols; first += of) {
    let n = 0;
    for (let k = first; k < Math.min(first + of, cols); k++) n += bits[row * cols + k]!;
    counts[row]! += Math.max(0, n - keep);
  }
  return counts;
}

/** The `keep` largest of every `of` consecutive elements of a row (the first ones where several are as large), and all others. What is no number counts as largest. */
export function largestOfGroups(m: WeightMatrix, { keep, of }: { readonly keep: number; readonly of: number }): { readonly largest: WeightMatrix; readonly others: WeightMatrix } {
  const largest = m.data.slice(), others = newArray(m.dtype, m.data.length);
  // without their sign, floating-point numbers are in the order of their bits, and what is no number comes last
  const raw = rawOf(m), mask = elementBytes(m) === 4 ? 0x7fffffff : 0x7fff, magnitude = (at: number): number => raw[at]! & mask;
  for (let row = 0; row < m.rows; row++) for (let first = 0; first < m.cols; first += of) {
    const there: number[] = [];
    for (let at = row * m.cols + first; at < row * m.cols + Math.min(first + of, m.cols); at++) if (m.bits[at]) there.push(at);
    if (there.length <= keep) continue;
    for (const at of there.sort((a, b) => magnitude(b) - magnitude(a)).slice(keep)) {
      others[at] = m.data[at]!;
      largest[at] = 0;
    }
  }
  return { largest: weightMatrix(m.dtype, m.rows, m.cols, largest), others: weightMatrix(m.dtype, m.rows, m.cols, others) };
}

/**
 * Features of eight rows, step by step: lanes with most to do first, each the first of its features whose banks no other lane has taken in this
 * step. -1 - b: nothing, with what is zero at banks that are free.
 */
function inOrder(rows: readonly (readonly number[])[], steps: number): number[][] {
  const left = rows.map((r) => [...r]), done: number[][] = rows.map(() => []);
  for (let step = 0; step < steps; step++) {
    let taken = 0;
    const idle: number[] = [];
    for (const lane of left.map((_, i) => i).sort((a, b) => left[b]!.length - left[a]!.length)) {
      const features = left[lane]!, free = features.findIndex((k) => !(taken >> (placeOf(k) % BANK_PLACES) & 1));
      if (free < 0 && features.length < steps - step) { idle.push(lane); continue; }
      const [k] = features.splice(Math.max(0, free), 1);
      taken |= 1 << (placeOf(k!) % BANK_PLACES);
      done[lane]!.push(k!);
    }
    // all that have nothing read the same zeros
    const bank = Math.max(0, Array.from({ length: BANK_PLACES }, (_, b) => b).findIndex((b) => !(taken >> b & 1)));
    for (const lane of idle) done[lane]!.push(-1 - bank);
  }
  return done;
}

/** @param m of f16, bf16 or f32, with fewer than 65528 columns */
export function packSlices(m: WeightMatrix): Uint8Array {
  const size = elementBytes(m), stepBytes = LANES * (size + 2), steps = sliceSteps(rowCounts(m)), table = roundUp((steps.length + 1) * 4, 128), total = steps.reduce((n, s) => n + s, 0);
  const packed = new Uint8Array(table + total * stepBytes), ends = new Uint32Array(packed.buffer, 0, steps.length + 1), view = new DataView(packed.buffer), features = featuresOf(m);
  const raw = rawOf(m);
  const featuresOfRow = (row: number): number[] => (row < m.rows ? Array.from(m.bits.subarray(row * m.cols, (row + 1) * m.cols), (bit, k) => (bit ? k : -1)).filter((k) => k >= 0) : []);
  let first = 0;
  steps.forEach((count, part) => {
    const slice = Math.floor(part / ROWS_OF_LANE), r = part % ROWS_OF_LANE;
    for (let lanes = 0; lanes < LANES; lanes += BANK_PLACES) {
      const rows = Array.from({ length: BANK_PLACES }, (_, i) => rowOf(slice, r, lanes + i));
      inOrder(rows.map(featuresOfRow), count).forEach((order, i) => order.forEach((k, step) => {
        const at = table + (first + step) * stepBytes, lane = lanes + i;
        view.setUint16(at + LANES * size + lane * 2, k < 0 ? features - 1 - k : placeOf(k), true);
        if (k >= 0 && size === 4) view.setUint32(at + lane * 4, raw[rows[i]! * m.cols + k]!, true);
        else if (k >= 0) view.setUint16(at + lane * 2, raw[rows[i]! * m.cols + k]!, true);
      }));
    }
    first += count;
    ends[part + 1] = first;
  });
  return packed;
}
