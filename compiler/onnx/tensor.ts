/**
 * TensorProto and SparseTensorProto to constants: every supported element type in raw, typed and external form. Sizes are
 * checked before anything is allocated; sparse tensors stay sparse.
 */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { dtypes, integerRange, type DType, type TypedArray } from '../ir/dtype.js';
import { checkedElementCount, denseTensor, newArray, type DenseTensor, type SparseTensor, type Tensor } from '../ir/tensor.js';
import { contiguousStrides } from '../ir/types.js';
import { readExternalData } from './external-data.js';
import { decodeMessage, isPresent, longToNumber, type Long, type SparseTensorProto, type TensorProto } from './proto.js';

/** TensorProto.DataType: name, and the element type where spc computes with it. */
const dataTypes: { readonly [code: number]: { readonly name: string; readonly dtype?: DType } } = {
  1: { name: 'float', dtype: 'f32' }, 2: { name: 'uint8', dtype: 'u8' }, 3: { name: 'int8', dtype: 'i8' }, 4: { name: 'uint16', dtype: 'u16' },
  5: { name: 'int16', dtype: 'i16' }, 6: { name: 'int32', dtype: 'i32' }, 7: { name: 'int64', dtype: 'i64' }, 8: { name: 'string' },
  9: { name: 'bool', dtype: 'bool' }, 10: { name: 'float16', dtype: 'f16' }, 11: { name: 'double', dtype: 'f64' }, 12: { name: 'uint32', dtype: 'u32' },
  13: { name: 'uint64', dtype: 'u64' }, 14: { name: 'complex64' }, 15: { name: 'complex128' }, 16: { name: 'bfloat16', dtype: 'bf16' },
  17: { name: 'float8e4m3fn' }, 18: { name: 'float8e4m3fnuz' }, 19: { name: 'float8e5m2' }, 20: { name: 'float8e5m2fnuz' },
  21: { name: 'uint4' }, 22: { name: 'int4' }, 23: { name: 'float4e2m1' }, 24: { name: 'float8e8m0' },
};

/** TensorProto.DataType of each element type. */
export const onnxDataType: { readonly [D in DType]: number } =
  Object.fromEntries(Object.entries(dataTypes).flatMap(([code, t]) => (t.dtype ? [[t.dtype, Number(code)]] : []))) as { [D in DType]: number };

/** The element type of an ONNX type code. @throws NodeProblem SPC1013 for types that spc does not compute with */
export function dtypeFromOnnx(code: number): DType {
  const known = dataTypes[code];
  if (known?.dtype) return known.dtype;
  throw new NodeProblem('SPC1013', `element type ${known ? known.name : `code ${code}`} is not supported`,
    `supported are ${Object.values(dataTypes).filter((t) => t.dtype).map((t) => t.name).join(', ')}; convert the model, or cast outside of it`);
}

/** Which TensorProto field holds an element type that is not stored raw. */
const typedField: { readonly [D in DType]: 'floatData' | 'doubleData' | 'int32Data' | 'int64Data' | 'uint64Data' } = {
  f32: 'floatData', f64: 'doubleData', f16: 'int32Data', bf16: 'int32Data', i8: 'int32Data', i16: 'int32Data', i32: 'int32Data', i64: 'int64Data',
  u8: 'int32Data', u16: 'int32Data', u32: 'uint64Data', u64: 'uint64Data', bool: 'int32Data',
};

const shapeFromDims = (dims: readonly Long[]): number[] => dims.map(longToNumber);

/**
 * @param baseDir folder of the model file, for external data
 * @throws NodeProblem SPC1013..SPC1016
 */
export function tensorFromProto(t: TensorProto, baseDir?: string): DenseTensor {
  const dtype = dtypeFromOnnx(t.dataType);
  const shape = shapeFromDims(t.dims);
  const count = checkedElementCount(dtype, shape);
  if (t.segment) throw new NodeProblem('SPC1014', 'the tensor is split into segments, which no exporter writes', 'export the model again');
  const bytes = count * dtypes[dtype].bytes;
  if (t.dataLocation === 1) return denseTensor(dtype, shape, fromRaw(dtype, readExternalData(t, bytes, baseDir)));
  const typed = t[typedField[dtype]];
  if (isPresent(t, 'rawData') && (t.rawData.length > 0 || typed.length === 0)) {
    if (t.rawData.length !== bytes) throw new NodeProblem('SPC1014', `${dtype}[${shape.join(',')}] needs ${bytes} bytes of data, the file has ${t.rawData.length}`, 'the file is damaged or cut off; export the model again');
    return denseTensor(dtype, shape, fromRaw(dtype, t.rawData));
  }
  if (typed.length !== count) {
    throw new NodeProblem('SPC1014', `${dtype}[${shape.join(',')}] needs ${count} elements, the file has ${typed.length}`, 'the file is damaged or its weights were stripped; export the model again, with its weights');
  }
  return denseTensor(dtype, shape, fromTyped(dtype, typed));
}

/** Little-endian bytes to elements; copies, because `raw` may lie unaligned in the file's buffer. */
function fromRaw(dtype: DType, raw: Uint8Array): TypedArray {
  const out = newArray(dtype, raw.length / dtypes[dtype].bytes);
  new Uint8Array(out.buffer).set(raw);
  if (dtype === 'bool') out.forEach((x, i) => { if (x) out[i] = 1; });
  return out;
}

function fromTyped(dtype: DType, values: readonly (number | Long)[]): TypedArray {
  const out = newArray(dtype, values.length);
  if (out.BYTES_PER_ELEMENT === 8 && dtype !== 'f64') {
    const words = new Int32Array(out.buffer);
    values.forEach((x, i) => { words[2 * i] = (x as Long).low; words[2 * i + 1] = (x as Long).high; });
    return out;
  }
  const numbers = out as Exclude<TypedArray, BigInt64Array | BigUint64Array>;
  values.forEach((x, i) => {
    const value = typeof x === 'number' ? x : longToNumber(x);
    numbers[i] = dtype === 'bool' && value ? 1 : value;
    if (dtypes[dtype].family !== 'float' && dtype !== 'bool' && numbers[i] !== value) {
      const { min, max } = integerRange(dtype);
      throw new NodeProblem('SPC1014', `element ${i} is ${value}, outside of ${dtype} (${min}..${max})`, 'the file is damaged; export the model again');
    }
  });
  return out;
}

/** SparseTensorProto in either index form (linear [nnz] or coordinates [nnz, rank]); kept sparse. */
export function sparseTensorFromProto(s: SparseTensorProto, baseDir?: string): SparseTensor {
  const bad = (why: string): never => { throw new NodeProblem('SPC1014', `sparse tensor: ${why}`, 'the file is damaged; export the model again'); };
  if (!s.values || !s.indices) return bad('values or indices are missing');
  const values = tensorFromProto(s.values, baseDir);
  const indices = tensorFromProto(s.indices, baseDir);
  const shape = shapeFromDims(s.dims);
  const count = checkedElementCount(values.dtype, shape);
  const nnz = values.data.length;
  if (values.shape.length !== 1) bad(`values have rank ${values.shape.length}, not 1`);
  if (indices.dtype !== 'i64') bad(`indices are ${indices.dtype}, not int64`);
  const linear = indices.shape.length === 1;
  if (indices.shape[0] !== nnz || !(linear || (indices.shape.length === 2 && indices.shape[1] === shape.length))) {
    bad(`indices of shape [${indices.shape.join(',')}] do not fit ${nnz} values of [${shape.join(',')}]`);
  }
  const strides = linear ? [1] : contiguousStrides(shape);
  const extents = linear ? [count] : shape;
  const positions = Array.from({ length: nnz }, (_, i) => strides.reduce((sum, stride, d) => {
    const x = Number(indices.data[i * strides.length + d]);
    if (x < 0 || x >= extents[d]!) bad(`index ${x} of value ${i} is outside of [${shape.join(',')}]`);
    return sum + x * stride;
  }, 0));
  positions.forEach((p, i) => { if (i > 0 && p <= positions[i - 1]!) bad(`indices do not ascend at value ${i}`); });
  return { kind: 'sparse', dtype: values.dtype, shape, values: values.data, indices: positions };
}

/** A tensor from the bytes of a serialised TensorProto (the .pb files of ONNX's backend tests). */
export function decodeTensorProto(bytes: Uint8Array): Tensor {
  return tensorFromProto(decodeMessage('TensorProto', bytes));
}

