import { expect, test } from 'vitest';
import { randomSource } from '../../test/support/random-stream.js';
import { asBf16, isBf16, roundedToBf16 } from './bf16.js';
import { bf16ToNumber, numberToBf16, type DenseTensor } from './tensor.js';

const ofBits = (bits: readonly number[]): DenseTensor => ({ kind: 'dense', dtype: 'f32', shape: [bits.length], data: new Float32Array(Uint32Array.from(bits).buffer) });
const bitsOf = (t: DenseTensor): number[] => [...new Uint32Array((t.data as Float32Array).buffer)];

/** f32 bits and the bf16 bits that they round to: to nearest, ties to even, beyond the largest to infinity, denormals as others, NaN to a quiet NaN. */
const golden: readonly (readonly [number, number])[] = [
  [0x3f808000, 0x3f80], [0x3f818000, 0x3f82], [0x3f808001, 0x3f81], [0x3f807fff, 0x3f80], [0x7f7fffff, 0x7f80], [0xff7fffff, 0xff80], [0x7f7f7fff, 0x7f7f],
  [0x7f800001, 0x7fc0], [0xff80ffff, 0xffc0], [0x7fffffff, 0x7fff], [0x7f800000, 0x7f80], [0xff800000, 0xff80],
  [0x00018000, 0x0002], [0x00008000, 0x0000], [0x007fffff, 0x0080], [0x80008000, 0x8000], [0x00800000, 0x0080], [0x80000000, 0x8000],
];

test('rounding to bf16', () => {
  const rounded = roundedToBf16(ofBits(golden.map(([f]) => f)));
  expect(bitsOf(rounded).map((b) => b.toString(16))).toEqual(golden.map(([, b]) => (b * 65536).toString(16)));
  expect([...(asBf16(rounded).data as Uint16Array)]).toEqual(golden.map(([, b]) => b));
  expect(isBf16(rounded)).toBe(true);
  expect(golden.map(([f]) => isBf16(ofBits([f])))).toEqual(golden.map(([f]) => f % 65536 === 0));
});

test('rounding gives the nearest of the values that 16 bits have', () => {
  const random = randomSource(5), x = Float32Array.from({ length: 20_000 }, () => (random.next() - 0.5) * 2 ** Math.floor(random.next() * 200 - 100));
  const rounded = roundedToBf16({ kind: 'dense', dtype: 'f32', shape: [x.length], data: x }).data as Float32Array;
  const wrong = [...x.keys()].filter((i) => {
    const bits = numberToBf16(x[i]!), d = Math.abs(x[i]! - rounded[i]!);
    return rounded[i] !== bf16ToNumber(bits) || [-1, 1].some((step) => Math.abs(x[i]! - bf16ToNumber(bits + step)) < d);
  });
  expect(wrong).toEqual([]);
});
