/** Weights in 16 bits: the upper halves of f32 elements. */
import { denseData, type DenseTensor, type Tensor } from './tensor.js';

const bitsOf = (t: Tensor): Uint32Array => {
  const data = denseData(t) as Float32Array;
  return new Uint32Array(data.buffer, data.byteOffset, data.length);
};

/** An f32 tensor with every element rounded to the nearest bf16 value, ties to even; the type stays f32. */
export function roundedToBf16(t: Tensor): DenseTensor {
  // a NaN stays one: it must not be rounded to infinity, nor lose all bits that make it one
  const rounded = bitsOf(t).map((b) => (((b & 0x7fffffff) > 0x7f800000 ? b | 0x400000 : b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000) >>> 0);
  return { kind: 'dense', dtype: 'f32', shape: t.shape, data: new Float32Array(rounded.buffer) };
}

/** True where bf16 can hold every element as it is. */
export function isBf16(t: Tensor): boolean {
  return t.dtype === 'f32' && bitsOf(t).every((b) => (b & 0xffff) === 0);
}

/** The same values in half the memory. @param t one that bf16 can hold */
export function asBf16(t: Tensor): DenseTensor {
  return { kind: 'dense', dtype: 'bf16', shape: t.shape, data: Uint16Array.from(bitsOf(t), (b) => b >>> 16) };
}
