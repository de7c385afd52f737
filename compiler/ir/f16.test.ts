/** Conversions of f16, against a library. */
import { getFloat16, setFloat16 } from '@petamoriken/float16';
import { expect, test } from 'vitest';
import { f16ToNumber, numberToF16 } from './tensor.js';

const view = new DataView(new ArrayBuffer(8));
const theirBits = (x: number): number => { setFloat16(view, 0, x); return view.getUint16(0); };
const theirNumber = (bits: number): number => { view.setUint16(0, bits); return getFloat16(view, 0); };
/** The next number of double precision. */
const next = (x: number, by: 1n | -1n): number => {
  view.setFloat64(0, x);
  view.setBigInt64(0, view.getBigInt64(0) + by);
  return view.getFloat64(0);
};

test('all bits as numbers, and back', () => {
  const wrong: number[] = [];
  for (let bits = 0; bits < 65536; bits++) {
    const x = theirNumber(bits);
    if (!Object.is(f16ToNumber(bits), x) || (!Number.isNaN(x) && numberToF16(x) !== bits)) wrong.push(bits);
  }
  expect(wrong).toEqual([]);
});

test('the middle between neighbours, and what is next to it', () => {
  const wrong: number[] = [];
  for (let bits = 0; bits < 0x7c00; bits++) {
    const low = theirNumber(bits), high = bits === 0x7bff ? 65536 : theirNumber(bits + 1), middle = (low + high) / 2;
    for (const x of [middle, next(middle, 1n), next(middle, -1n), next(high, -1n)]) for (const y of [x, -x]) if (numberToF16(y) !== theirBits(y)) wrong.push(y);
  }
  expect(wrong).toEqual([]);
  for (const x of [Infinity, -Infinity, NaN, 1e300, 5e-324, -0]) expect(numberToF16(x), String(x)).toBe(theirBits(x));
});
