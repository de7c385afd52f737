/**
 * Changing weights in an ONNX file. The file is cut at the tensors that change and put together again, so everything else, also what spc does not know,
 * stays byte for byte as it was.
 */
import protobuf from 'protobufjs/light.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { denseData, tensorBytes, type DenseTensor, type SparseTensor, type Tensor } from '../ir/tensor.js';
import { decodeMessage, encodeMessage, type MessageInit } from './proto.js';
import { onnxDataType } from './tensor.js';

/** Numbers of the fields on the way to a tensor. */
const GRAPH = 7, NODE = 1, INITIALIZER = 5, SPARSE_INITIALIZER = 15;
/** A protobuf message is smaller than 2 GiB. */
const MAX_BYTES = 2 ** 31 - 1;

export const tensorProto = (name: string, t: DenseTensor): MessageInit<'TensorProto'> =>
  ({ name, dims: t.shape, dataType: onnxDataType[t.dtype], rawData: tensorBytes(t) });

/** Linear positions, as `values` and `indices`; the values carry the tensor's name. */
export const sparseTensorProto = (name: string, t: SparseTensor): MessageInit<'SparseTensorProto'> => ({
  dims: t.shape,
  values: { name, dims: [t.values.length], dataType: onnxDataType[t.dtype], rawData: new Uint8Array(t.values.buffer, t.values.byteOffset, t.values.byteLength) },
  indices: { dims: [t.indices.length], dataType: onnxDataType.i64, rawData: new Uint8Array(BigInt64Array.from(t.indices, BigInt).buffer) },
});

/** The non-zero elements of a tensor. Half-precision zeros are recognised whatever their sign. */
export function toSparse(t: DenseTensor): SparseTensor {
  const isHalf = t.dtype === 'f16' || t.dtype === 'bf16', indices: number[] = [];
  const data = denseData(t);
  for (let i = 0; i < data.length; i++) if (isHalf ? ((data[i] as number) & 0x7fff) !== 0 : Number(data[i]) !== 0) indices.push(i);
  const values = data.slice(0, indices.length);
  indices.forEach((at, i) => { values[i] = data[at] as never; });
  return { kind: 'sparse', dtype: t.dtype, shape: t.shape, values, indices };
}

interface Field {
  readonly id: number;
  /** Tag and all. */
  readonly bytes: Uint8Array;
  /** Of a length-delimited field. */
  readonly payload: Uint8Array | undefined;
}

function fieldsOf(message: Uint8Array): Field[] {
  const reader = protobuf.Reader.create(message), fields: Field[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos, tag = reader.uint32();
    let payload: Uint8Array | undefined;
    if ((tag & 7) === 2) {
      const length = reader.uint32();
      payload = message.subarray(reader.pos, reader.pos + length);
      reader.skip(length);
    } else reader.skipType(tag & 7);
    fields.push({ id: tag >>> 3, bytes: message.subarray(start, reader.pos), payload });
  }
  return fields;
}

function varint(n: number): Uint8Array {
  const out: number[] = [];
  for (; n >= 128; n = Math.floor(n / 128)) out.push((n % 128) + 128);
  return Uint8Array.from([...out, n]);
}

/** A length-delimited field from its parts. */
const field = (id: number, parts: readonly Uint8Array[]): Uint8Array[] => [varint(id * 8 + 2), varint(parts.reduce((s, p) => s + p.length, 0)), ...parts];

/**
 * The model with some weights replaced.
 * @param replacement the new tensor of a name, or undefined to leave it. Asked for initialisers (dense and sparse) and the outputs of Constant nodes; a
 *   Constant stays dense.
 * @throws SpcError SPC3005 where the result exceeds 2 GiB
 */
export function replaceTensors(model: Uint8Array, replacement: (name: string) => Tensor | undefined): Uint8Array {
  const replaced = (f: Field): Uint8Array[] => {
    if (f.payload === undefined) return [f.bytes];
    switch (f.id) {
      case INITIALIZER: {
        const { name } = decodeMessage('TensorProto', f.payload), t = replacement(name);
        return t ? initializer(name, t) : [f.bytes];
      }
      case SPARSE_INITIALIZER: {
        const name = decodeMessage('SparseTensorProto', f.payload).values?.name ?? '', t = replacement(name);
        return t ? initializer(name, t) : [f.bytes];
      }
      case NODE: {
        const n = decodeMessage('NodeProto', f.payload), name = n.output[0] ?? '', t = n.opType === 'Constant' ? replacement(name) : undefined;
        if (!t) return [f.bytes];
        const value: MessageInit<'AttributeProto'> = { name: 'value', type: 4, t: tensorProto('', { kind: 'dense', dtype: t.dtype, shape: t.shape, data: denseData(t) }) };
        return field(NODE, [encodeMessage('NodeProto', { name: n.name, opType: n.opType, domain: n.domain, output: n.output, attribute: [value] })]);
      }
      default: return [f.bytes];
    }
  };
  const parts = fieldsOf(model).flatMap((f) => (f.id === GRAPH && f.payload ? field(GRAPH, fieldsOf(f.payload).flatMap(replaced)) : [f.bytes]));
  const size = parts.reduce((s, p) => s + p.length, 0);
  if (size > MAX_BYTES) {
    throw new SpcError([{ code: 'SPC3005', severity: 'error', message: `the model would be ${(size / 2 ** 30).toFixed(1)} GiB; an ONNX file cannot exceed 2 GiB`, hint: 'store the sparse weights as such (--sparse-initializer), or sparsify in the training framework' }]);
  }
  return Buffer.concat(parts, size);
}

const initializer = (name: string, t: Tensor): Uint8Array[] => (t.kind === 'dense'
  ? field(INITIALIZER, [encodeMessage('TensorProto', tensorProto(name, t))])
  : field(SPARSE_INITIALIZER, [encodeMessage('SparseTensorProto', sparseTensorProto(name, t))]));
