/** The IDX files of MNIST and its relatives: two zero bytes, element type, rank, dimensions, elements; all big-endian. */
import { dtypes, type DType } from '../ir/dtype.js';
import { denseTensor, type DenseTensor } from '../ir/tensor.js';
import { elementCount } from '../ir/types.js';
import { dataError } from './errors.js';
import { hostElements } from './npy.js';

const typeCodes: { readonly [code: number]: DType } = { 0x08: 'u8', 0x09: 'i8', 0x0b: 'i16', 0x0c: 'i32', 0x0d: 'f32', 0x0e: 'f64' };

/** Whether a file is called as IDX files are: `train-images-idx3-ubyte`, `x.idx`. */
export const isIdxName = (name: string): boolean => /[-.]idx\d?(-\w+)?$/i.test(name);

/** @param what names the file in messages */
export function decodeIdx(file: Uint8Array, what: string): DenseTensor {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength), dtype = typeCodes[bytes[2] ?? -1], rank = bytes[3] ?? 0, start = 4 + 4 * rank;
  if (bytes.length < start || bytes[0] !== 0 || bytes[1] !== 0 || !dtype) throw dataError('SPC6107', `${what}: is not an IDX file`);
  const shape = Array.from({ length: rank }, (_, d) => bytes.readUInt32BE(4 + 4 * d)), count = elementCount(shape), width = dtypes[dtype].bytes;
  if (bytes.length - start !== count * width) throw dataError('SPC6107', `${what}: ${dtype}[${shape.join(',')}] needs ${count * width} bytes of data, it has ${bytes.length - start}`);
  return denseTensor(dtype, shape, hostElements(dtype, Uint8Array.from(bytes.subarray(start)), false));
}
