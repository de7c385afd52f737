/** Constant tensors: dense, or sparse as they came from ONNX and kept so until a layout is chosen. */
import { createHash } from 'node:crypto';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { dtypes, type DType, type TypedArray } from './dtype.js';
import { elementCount, type TensorType } from './types.js';

export interface DenseTensor extends TensorType {
  readonly kind: 'dense';
  /** Row-major elements in the storage type of `dtype` (see {@link dtypes}). */
  readonly data: TypedArray;
}

/** ONNX SparseTensorProto in coordinate form: `indices` are linearised row-major positions, ascending, without duplicates. */
export interface SparseTensor extends TensorType {
  readonly kind: 'sparse';
  readonly values: TypedArray;
  readonly indices: readonly number[];
}

export type Tensor = DenseTensor | SparseTensor;

/** Largest tensor in bytes: what a JavaScript typed array of any element type can hold. */
const MAX_TENSOR_BYTES = 2 ** 32;

/** Checks that all dims are non-negative and their product addressable; returns the element count. */
export function checkedElementCount(dtype: DType, shape: readonly number[]): number {
  if (shape.some((d) => !Number.isSafeInteger(d) || d < 0)) throw new NodeProblem('SPC1014', `dims [${shape.join(',')}] are not all non-negative integers`, 'the file is damaged; export the model again');
  // Zero extents must not hide an overflow of the others' product (strides are computed from it).
  const bytes = shape.reduce((a, d) => a * Math.max(d, 1), dtypes[dtype].bytes);
  if (bytes > MAX_TENSOR_BYTES) {
    throw new NodeProblem('SPC1015', `${dtype}[${shape.join(',')}] is ${bytes.toExponential(2)} bytes; the largest tensor is 4 GiB`, 'check the dims bound with --dim; if they are right the file is damaged');
  }
  return shape.reduce((a, d) => a * d, 1);
}

export function denseTensor(dtype: DType, shape: readonly number[], data: TypedArray): DenseTensor {
  if (data.length !== elementCount(shape)) {
    throw new RangeError(`tensor of shape [${shape.join(',')}] needs ${elementCount(shape)} elements, got ${data.length}`);
  }
  return { kind: 'dense', dtype, shape: [...shape], data };
}

export function newArray(dtype: DType, length: number): TypedArray {
  return new dtypes[dtype].array(length);
}

/** The elements of a tensor, row-major; a sparse tensor is expanded. */
export function denseData(t: Tensor): TypedArray {
  if (t.kind === 'dense') return t.data;
  const out = newArray(t.dtype, elementCount(t.shape));
  t.indices.forEach((position, i) => { out[position] = t.values[i] as never; });
  return out;
}

const scratch = (): DataView => new DataView(new ArrayBuffer(4));

/** IEEE binary16 bits to number. */
export function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}
/** Number to IEEE binary16 bits, round to nearest even. */
export function numberToF16(x: number): number {
  if (Number.isNaN(x)) return 0x7e00;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0, size = Math.abs(x);
  if (size >= 65520) return sign | 0x7c00;
  // the exponent of the last place of 11 bits; the logarithm may be one off beside powers of two
  let last = Math.max(-24, Math.floor(Math.log2(size)) - 10);
  if (last > -24 && size < 2 ** (last + 10)) last--;
  else if (size >= 2 ** (last + 11)) last++;
  // exact: `places` is below 2^11, and a carry out of the fraction goes on into the exponent
  const places = size * 2 ** -last, down = Math.floor(places), rest = places - down, rounded = rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
  return sign | ((last + 24) * 1024 + rounded);
}
/** bfloat16 bits to number: the upper half of a binary32. */
export function bf16ToNumber(bits: number): number {
  const v = scratch(); v.setUint32(0, bits * 65536); return v.getFloat32(0);
}
/** Number to bfloat16 bits, round to nearest even; NaN stays a quiet NaN. */
export function numberToBf16(x: number): number {
  if (Number.isNaN(x)) return 0x7fc0;
  const v = scratch(); v.setFloat32(0, x);
  const bits = v.getUint32(0);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Element `i` as a number (64-bit integers are rounded to double precision). */
export function numberAt(dtype: DType, data: TypedArray, i: number): number {
  const raw = data[i];
  if (raw === undefined) throw new RangeError(`element ${i} of ${data.length}`);
  if (dtype === 'f16') return f16ToNumber(raw as number);
  if (dtype === 'bf16') return bf16ToNumber(raw as number);
  return Number(raw);
}

/** All elements as numbers. */
export function toNumbers(t: Tensor): number[] {
  const data = denseData(t);
  return Array.from({ length: data.length }, (_, i) => numberAt(t.dtype, data, i));
}

/** A dense tensor from plain numbers, rounded into `dtype`. */
export function tensorOf(dtype: DType, shape: readonly number[], numbers: readonly number[]): DenseTensor {
  const data = newArray(dtype, numbers.length);
  numbers.forEach((x, i) => { data[i] = storedValue(dtype, x) as never; });
  return denseTensor(dtype, shape, data);
}

/** A number in the storage form of `dtype`. */
export function storedValue(dtype: DType, x: number): number | bigint {
  switch (dtype) {
    case 'f16': return numberToF16(x);
    case 'bf16': return numberToBf16(x);
    case 'i64': case 'u64': return BigInt(Math.trunc(x));
    case 'bool': return x ? 1 : 0;
    default: return x;
  }
}

export function tensorBytes(t: Tensor): Uint8Array {
  const data = denseData(t);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Short content hash, the identity of a constant in printed IR. */
export function tensorHash(t: Tensor): string {
  return createHash('sha256').update(`${t.dtype}[${t.shape.join(',')}]`).update(tensorBytes(t)).digest('hex').slice(0, 12);
}
