/**
 * NumPy's .npy files, format versions 1 to 3 (numpy/lib/format.py): reads both byte orders and both memory orders, writes
 * little-endian row-major. NumPy has no bfloat16: it is written as float32, which holds every bfloat16 exactly.
 */
import { dtypes, type DType, type TypedArray } from '../ir/dtype.js';
import { bf16ToNumber, denseData, denseTensor, newArray, type DenseTensor, type Tensor } from '../ir/tensor.js';
import { contiguousStrides, elementCount } from '../ir/types.js';
import { dataError } from './errors.js';

/** NumPy's type codes, without the byte order. */
const typeCodes = {
  f4: 'f32', f8: 'f64', f2: 'f16',
  i1: 'i8', i2: 'i16', i4: 'i32', i8: 'i64',
  u1: 'u8', u2: 'u16', u4: 'u32', u8: 'u64', b1: 'bool',
} as const satisfies { readonly [code: string]: DType };

const codeOf = (dtype: DType): string | undefined => Object.entries(typeCodes).find(([, d]) => d === dtype)?.[0];

const MAGIC = '\x93NUMPY';
/** The data starts at a multiple of this, so that it can be mapped. */
const ALIGNMENT = 64;

const isLittleEndianHost = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

export function encodeNpy(tensor: Tensor): Uint8Array {
  if (tensor.dtype === 'bf16') {
    const wide = Float32Array.from(denseData(tensor) as Uint16Array, bf16ToNumber);
    return encodeNpy(denseTensor('f32', tensor.shape, wide));
  }
  const { bytes } = dtypes[tensor.dtype];
  const shape = tensor.shape.length === 1 ? `(${tensor.shape[0]},)` : `(${tensor.shape.join(', ')})`;
  const dict = `{'descr': '${bytes === 1 ? '|' : '<'}${codeOf(tensor.dtype)}', 'fortran_order': False, 'shape': ${shape}, }`;
  const lengthBytes = dict.length + ALIGNMENT > 0xffff ? 4 : 2;
  const start = MAGIC.length + 2 + lengthBytes;
  const headerLength = Math.ceil((start + dict.length + 1) / ALIGNMENT) * ALIGNMENT - start;
  const data = denseData(tensor);
  const out = Buffer.alloc(start + headerLength + data.byteLength);
  out.write(MAGIC, 0, 'latin1');
  out[MAGIC.length] = lengthBytes === 2 ? 1 : 2;
  out.writeUIntLE(headerLength, MAGIC.length + 2, lengthBytes);
  out.write(dict.padEnd(headerLength - 1) + '\n', start, 'latin1');
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start + headerLength);
  if (!isLittleEndianHost) swapBytes(out.subarray(start + headerLength), bytes);
  return out;
}

/** @param what names the file in messages */
export function decodeNpy(file: Uint8Array, what: string): DenseTensor {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const fail = (problem: string, hint?: string): never => { throw dataError('SPC6101', `${what}: ${problem}`, hint); };
  if (bytes.length < 10 || bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) fail('is not a .npy file (its first bytes are not \\x93NUMPY)');
  const version = bytes[MAGIC.length]!;
  if (version < 1 || version > 3) fail(`has .npy format version ${version}; versions 1 to 3 are known`);
  const lengthBytes = version === 1 ? 2 : 4;
  const start = MAGIC.length + 2 + lengthBytes;
  if (bytes.length < start) fail('ends inside its header');
  const dataStart = start + bytes.readUIntLE(MAGIC.length + 2, lengthBytes);
  if (bytes.length < dataStart) fail('ends inside its header');
  const header = bytes.toString('latin1', start, dataStart);

  const descr = /'descr'\s*:\s*'([<>|=]?)([a-zA-Z]\d+)'/.exec(header);
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(header)?.[1];
  const dims = /'shape'\s*:\s*\(([\d\s,L]*)\)/.exec(header)?.[1];
  if (order === undefined || dims === undefined) return fail(`has a header that cannot be read: ${header.trim().slice(0, 120)}`);
  const dtype = (typeCodes as { readonly [code: string]: DType | undefined })[descr?.[2] ?? ''];
  if (!descr || !dtype) return fail(`has an element type that spc does not read: ${header.trim().slice(0, 120)}`, "convert it, for example with x.astype('float32')");
  const shape = dims.split(',').map((d) => d.trim()).filter((d) => d !== '').map((d) => Number.parseInt(d, 10));
  const width = dtypes[dtype].bytes, count = elementCount(shape), size = count * width;
  if (!Number.isSafeInteger(size) || bytes.length - dataStart < size) {
    fail(`is cut short: ${dtype}[${shape.join(',')}] needs ${size} bytes of data, it has ${bytes.length - dataStart}`);
  }
  const raw = Uint8Array.from(bytes.subarray(dataStart, dataStart + size));
  const data = hostElements(dtype, raw, descr[1] === '=' || descr[1] === '|' ? isLittleEndianHost : descr[1] !== '>');
  return order === 'True' ? fromColumnMajor(denseTensor(dtype, shape, data)) : denseTensor(dtype, shape, data);
}

/** Elements from a file's bytes, which are swapped in place where their order is not this machine's. */
export function hostElements(dtype: DType, raw: Uint8Array<ArrayBuffer>, isLittleEndian: boolean): TypedArray {
  const { array, bytes } = dtypes[dtype];
  if (isLittleEndian !== isLittleEndianHost) swapBytes(raw, bytes);
  return new array(raw.buffer, 0, raw.length / bytes);
}

/** Reverses every group of `width` bytes in place. */
function swapBytes(bytes: Uint8Array, width: number): void {
  if (width > 1) for (let i = 0; i < bytes.length; i += width) bytes.subarray(i, i + width).reverse();
}

/** The same tensor with its elements, given with the first index varying fastest, in row-major order. */
function fromColumnMajor(t: DenseTensor): DenseTensor {
  const out = newArray(t.dtype, t.data.length);
  const strides = contiguousStrides(t.shape);
  const index = t.shape.map(() => 0);
  for (let i = 0, to = 0; i < t.data.length; i++) {
    out[to] = t.data[i] as never;
    for (let axis = 0; axis < index.length; axis++) {
      to += strides[axis]!;
      if (++index[axis]! < t.shape[axis]!) break;
      to -= strides[axis]! * t.shape[axis]!;
      index[axis] = 0;
    }
  }
  return denseTensor(t.dtype, t.shape, out);
}
