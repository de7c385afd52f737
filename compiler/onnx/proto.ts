/**
 * The part of onnx.proto (ONNX 1.17, IR 10) that spc reads, and its decoder.
 *
 * One table of field declarations gives the decoder (protobufjs builds it at run time) and, through template literal types,
 * the TypeScript interfaces: no generated files, no build step, no second list to keep in step. The npm package onnx-proto
 * was not taken as the schema because it stops at ONNX 1.10: it has no function overloads, and its enums end before the later
 * element types. Unknown fields are skipped, so newer files decode as far as they are known.
 *
 * The file's own presence rules are kept (proto2): a field that is absent is not an own property, so an explicit
 * `dim_value: 0` differs from a missing one. 64-bit integers arrive as Long and are exact.
 */
import protobuf from 'protobufjs/light.js';

const messages = {
  ModelProto: {
    irVersion: 'int64 1', producerName: 'string 2', producerVersion: 'string 3', domain: 'string 4', modelVersion: 'int64 5', docString: 'string 6',
    graph: 'GraphProto 7', opsetImport: 'repeated OperatorSetIdProto 8', metadataProps: 'repeated StringStringEntryProto 14', functions: 'repeated FunctionProto 25',
  },
  OperatorSetIdProto: { domain: 'string 1', version: 'int64 2' },
  StringStringEntryProto: { key: 'string 1', value: 'string 2' },
  FunctionProto: {
    name: 'string 1', input: 'repeated string 4', output: 'repeated string 5', attribute: 'repeated string 6', node: 'repeated NodeProto 7',
    opsetImport: 'repeated OperatorSetIdProto 9', domain: 'string 10', attributeProto: 'repeated AttributeProto 11', overload: 'string 13',
  },
  GraphProto: {
    node: 'repeated NodeProto 1', name: 'string 2', initializer: 'repeated TensorProto 5', input: 'repeated ValueInfoProto 11', output: 'repeated ValueInfoProto 12',
    valueInfo: 'repeated ValueInfoProto 13', sparseInitializer: 'repeated SparseTensorProto 15',
  },
  NodeProto: {
    input: 'repeated string 1', output: 'repeated string 2', name: 'string 3', opType: 'string 4', attribute: 'repeated AttributeProto 5', domain: 'string 7', overload: 'string 8',
  },
  AttributeProto: {
    name: 'string 1', f: 'float 2', i: 'int64 3', s: 'bytes 4', t: 'TensorProto 5', g: 'GraphProto 6', floats: 'repeated float 7', ints: 'repeated int64 8', strings: 'repeated bytes 9',
    tensors: 'repeated TensorProto 10', graphs: 'repeated GraphProto 11', type: 'int32 20', refAttrName: 'string 21', sparseTensor: 'SparseTensorProto 22', sparseTensors: 'repeated SparseTensorProto 23',
  },
  TensorProto: {
    dims: 'repeated int64 1', dataType: 'int32 2', segment: 'Segment 3', floatData: 'repeated float 4', int32Data: 'repeated int32 5', stringData: 'repeated bytes 6', int64Data: 'repeated int64 7',
    name: 'string 8', rawData: 'bytes 9', doubleData: 'repeated double 10', uint64Data: 'repeated uint64 11', externalData: 'repeated StringStringEntryProto 13', dataLocation: 'int32 14',
  },
  Segment: { begin: 'int64 1', end: 'int64 2' },
  SparseTensorProto: { values: 'TensorProto 1', indices: 'TensorProto 2', dims: 'repeated int64 3' },
  ValueInfoProto: { name: 'string 1', type: 'TypeProto 2' },
  TypeProto: { tensorType: 'TensorTypeProto 1', sequenceType: 'OtherTypeProto 4', mapType: 'OtherTypeProto 5', sparseTensorType: 'OtherTypeProto 8', optionalType: 'OtherTypeProto 9' },
  TensorTypeProto: { elemType: 'int32 1', shape: 'TensorShapeProto 2' },
  /** Types that spc only names in a message. */
  OtherTypeProto: {},
  TensorShapeProto: { dim: 'repeated DimensionProto 1' },
  DimensionProto: { dimValue: 'int64 1', dimParam: 'string 2' },
} as const;

type Messages = typeof messages;
export type MessageName = keyof Messages;

/** A 64-bit integer as protobufjs decodes it: two's complement words. */
export interface Long { readonly low: number; readonly high: number; readonly unsigned: boolean }

type Scalar = { int32: number; int64: Long; uint64: Long; float: number; double: number; string: string; bytes: Uint8Array };
type Single<T> = T extends keyof Scalar ? Scalar[T] : T extends MessageName ? Message<T> : never;
type FieldType<D> = D extends `repeated ${infer T} ${number}` ? readonly Single<T>[] : D extends `${infer T} ${number}` ? Single<T> : never;
/** A decoded message. Fields that the file leaves out read as their default (0, '', no bytes, []), messages as null. */
export type Message<M extends MessageName> = { readonly [F in keyof Messages[M]]: FieldType<Messages[M][F]> | (Messages[M][F] extends `${infer T} ${number}` ? T extends MessageName ? null : never : never) };

/** What {@link encodeMessage} takes: any subset of the fields, integers as numbers or bigints. */
type Loose<T> = T extends Long ? number | bigint : T extends Uint8Array ? Uint8Array : T extends readonly (infer E)[] ? readonly Loose<E>[] : T extends object ? { readonly [K in keyof T]?: Loose<T[K]> } : T;
export type MessageInit<M extends MessageName> = { readonly [F in keyof Messages[M]]?: Loose<FieldType<Messages[M][F]>> };

export type ModelProto = Message<'ModelProto'>;
export type GraphProto = Message<'GraphProto'>;
export type NodeProto = Message<'NodeProto'>;
export type FunctionProto = Message<'FunctionProto'>;
export type AttributeProto = Message<'AttributeProto'>;
export type TensorProto = Message<'TensorProto'>;
export type SparseTensorProto = Message<'SparseTensorProto'>;
export type ValueInfoProto = Message<'ValueInfoProto'>;

const root: protobuf.Root = (() => {
  const r = new protobuf.Root();
  for (const [name, fields] of Object.entries(messages)) {
    const type = new protobuf.Type(name);
    for (const [field, declaration] of Object.entries<string>(fields)) {
      const [id, kind, rule] = declaration.split(' ').reverse();
      type.add(new protobuf.Field(field, Number(id), kind!, rule));
    }
    r.add(type);
  }
  r.resolveAll();
  return r;
})();

/**
 * Decodes a message; `bytes` fields are views of the input.
 * @throws Error where the bytes are not a well-formed message (cut off, bad wire type, nested over 100 deep)
 */
export function decodeMessage<M extends MessageName>(name: M, bytes: Uint8Array): Message<M> {
  const reader = protobuf.Reader.create(bytes);
  reader.discardUnknown = true;
  return root.lookupType(name).decode(reader) as unknown as Message<M>;
}

/** Encodes a message (tests and tools that write ONNX files). */
export function encodeMessage<M extends MessageName>(name: M, message: MessageInit<M>): Uint8Array {
  return root.lookupType(name).encode(withLongs(message) as { [k: string]: unknown }).finish();
}

/** protobufjs encodes numbers and pairs of words, not bigints. */
function withLongs(x: unknown): unknown {
  if (typeof x === 'bigint') return { low: Number(BigInt.asIntN(32, x)), high: Number(BigInt.asIntN(32, x >> 32n)), unsigned: false };
  if (Array.isArray(x)) return x.map(withLongs);
  if (x === null || typeof x !== 'object' || x instanceof Uint8Array) return x;
  return Object.fromEntries(Object.entries(x).filter(([, v]) => v !== undefined).map(([k, v]) => [k, withLongs(v)]));
}

/** True where the file gives the field, even with its default value. */
export const isPresent = <T extends object>(message: T, field: keyof T): boolean => Object.hasOwn(message, field);

export const longToBigInt = (x: Long): bigint => {
  const bits = (BigInt(x.high >>> 0) << 32n) | BigInt(x.low >>> 0);
  return x.unsigned ? bits : BigInt.asIntN(64, bits);
};
/** Rounded to double precision beyond 2^53. */
export const longToNumber = (x: Long): number => (x.unsigned ? x.high >>> 0 : x.high) * 2 ** 32 + (x.low >>> 0);

/** AttributeProto.AttributeType. */
export const attributeTypes = {
  UNDEFINED: 0, FLOAT: 1, INT: 2, STRING: 3, TENSOR: 4, GRAPH: 5, FLOATS: 6, INTS: 7, STRINGS: 8, TENSORS: 9, GRAPHS: 10, SPARSE_TENSOR: 11, SPARSE_TENSORS: 12, TYPE_PROTO: 13, TYPE_PROTOS: 14,
} as const;
