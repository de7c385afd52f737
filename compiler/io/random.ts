/**
 * Random input tensors that anybody can make again from the seed.
 *
 * The generator is xoshiro128** (Blackman and Vigna, 2018), its four words filled by SplitMix32 from the seed; every input gets
 * its own stream, seeded with `seed + 0x9e3779b9 * (index of the input)` modulo 2^32. Floats are uniform in [-1, 1) with 24 bits;
 * int8 and uint8 (quantised data) uniform over all their values; wider integers, which mostly are indices, uniform in 0..9;
 * booleans fair coins. A range given overrides all of these (floats in [low, high), integers in low..high).
 */
import { denseTensor, newArray, storedValue, type DenseTensor } from '../ir/tensor.js';
import type { DType } from '../ir/dtype.js';
import { elementCount, type TensorType } from '../ir/types.js';

/** @returns a function that gives the next 32-bit unsigned integer */
export function xoshiro128(seed: number): () => number {
  let mix = seed >>> 0;
  const splitMix = (): number => {
    mix = (mix + 0x9e3779b9) >>> 0;
    let z = mix;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  let a = splitMix(), b = splitMix(), c = splitMix(), d = splitMix();
  const rotate = (x: number, k: number): number => (x << k) | (x >>> (32 - k));
  return () => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const t = b << 9;
    c ^= a; d ^= b; b ^= c; a ^= d;
    c ^= t;
    d = rotate(d, 11);
    return result;
  };
}

export interface Range {
  readonly low: number;
  readonly high: number;
}

function defaultRange(dtype: DType): Range {
  switch (dtype) {
    case 'f32': case 'f64': case 'f16': case 'bf16': return { low: -1, high: 1 };
    case 'i8': return { low: -128, high: 127 };
    case 'u8': return { low: 0, high: 255 };
    case 'bool': return { low: 0, high: 1 };
    default: return { low: 0, high: 9 };
  }
}

const isReal = (dtype: DType): boolean => dtype === 'f32' || dtype === 'f64' || dtype === 'f16' || dtype === 'bf16';

export function randomTensor(type: TensorType, seed: number, range: Range = defaultRange(type.dtype)): DenseTensor {
  const next = xoshiro128(seed);
  const { low, high } = range;
  const draw = isReal(type.dtype)
    ? (): number => low + ((next() >>> 8) / 0x1000000) * (high - low)
    : (): number => low + (next() % (high - low + 1));
  const data = newArray(type.dtype, elementCount(type.shape));
  for (let i = 0; i < data.length; i++) data[i] = storedValue(type.dtype, draw()) as never;
  return denseTensor(type.dtype, type.shape, data);
}

/** One tensor an input, each from its own stream. */
export const randomInputs = (types: readonly TensorType[], seed: number, range?: Range): DenseTensor[] =>
  types.map((t, i) => randomTensor(t, (seed + Math.imul(0x9e3779b9, i)) >>> 0, range));
