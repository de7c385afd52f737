/** ONNX models from plain objects, for tests. */
import { elementCount } from '../../compiler/ir/types.js';
import type { DType } from '../../compiler/ir/dtype.js';
import { tensorBytes, type Tensor } from '../../compiler/ir/tensor.js';
import { attributeTypes, encodeMessage, type MessageInit } from '../../compiler/onnx/proto.js';
import { onnxDataType } from '../../compiler/onnx/tensor.js';

/** A float attribute whose value may be whole: numbers alone become INT where they are. */
export interface FloatAttribute { readonly float: number | readonly number[] }
export const float = (x: number | readonly number[]): FloatAttribute => ({ float: x });

/** In the body of a function: the attribute `ref` of the function. */
export interface AttributeReference { readonly ref: string; readonly type: keyof typeof attributeTypes }

/** Whole numbers and bigints become INT(S), others FLOAT(S), text STRING(S), tensors TENSOR or SPARSE_TENSOR, graphs GRAPH. */
export type AttributeSpec = number | bigint | string | readonly number[] | readonly bigint[] | readonly string[] | Tensor | GraphSpec | FloatAttribute | AttributeReference;

export interface NodeSpec {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, AttributeSpec>>;
  readonly name?: string;
  readonly domain?: string;
}

/** Names are symbolic dims, null is a dim without a name; without a shape the rank is unknown. */
export interface TypeSpec { readonly dtype: DType; readonly shape?: readonly (number | string | null)[] }

export interface GraphSpec {
  readonly nodes: readonly NodeSpec[];
  readonly inputs?: Readonly<Record<string, TypeSpec>>;
  /** Names, or names with types. */
  readonly outputs: readonly string[] | Readonly<Record<string, TypeSpec>>;
  readonly initializers?: Readonly<Record<string, Tensor>>;
  readonly name?: string;
}

export interface FunctionSpec {
  readonly name: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly nodes: readonly NodeSpec[];
  /** Attributes without a default. */
  readonly attributes?: readonly string[];
  readonly defaults?: Readonly<Record<string, AttributeSpec>>;
  readonly opsets?: Readonly<Record<string, number>>;
}

export interface ModelSpec extends GraphSpec {
  /** Of ai.onnx, 17 where it is not given; or by domain. */
  readonly opset?: number | Readonly<Record<string, number>>;
  /** 8 where it is not given. */
  readonly irVersion?: number;
  readonly functions?: readonly FunctionSpec[];
}

/** Shorthand for a {@link NodeSpec}. */
export const node = (op: string, inputs: readonly string[], outputs: readonly string[], attributes: NodeSpec['attributes'] = {}, more: Partial<NodeSpec> = {}): NodeSpec =>
  ({ op, inputs, outputs, attributes, ...more });

/** A TensorProto with raw data. */
export function tensorProto(t: Tensor, name = ''): MessageInit<'TensorProto'> {
  return { name, dims: t.shape, dataType: onnxDataType[t.dtype], rawData: tensorBytes(t) };
}

function sparseProto(t: Tensor & { readonly kind: 'sparse' }, name: string): MessageInit<'SparseTensorProto'> {
  return {
    dims: t.shape,
    values: tensorProto({ kind: 'dense', dtype: t.dtype, shape: [t.values.length], data: t.values }, name),
    indices: { dims: [t.indices.length], dataType: onnxDataType.i64, int64Data: t.indices },
  };
}

const utf8 = (s: string): Uint8Array => new TextEncoder().encode(s);

function attributeProto(name: string, x: AttributeSpec): MessageInit<'AttributeProto'> {
  const of = (type: keyof typeof attributeTypes, fields: MessageInit<'AttributeProto'>): MessageInit<'AttributeProto'> => ({ name, type: attributeTypes[type], ...fields });
  if (typeof x === 'bigint') return of('INT', { i: x });
  if (typeof x === 'number') return Number.isInteger(x) ? of('INT', { i: x }) : of('FLOAT', { f: x });
  if (typeof x === 'string') return of('STRING', { s: utf8(x) });
  if (Array.isArray(x)) {
    const list = x as readonly (number | bigint | string)[];
    if (list.some((e) => typeof e === 'string')) return of('STRINGS', { strings: (list as string[]).map(utf8) });
    if (list.some((e) => typeof e === 'number' && !Number.isInteger(e))) return of('FLOATS', { floats: list as number[] });
    return of('INTS', { ints: list as number[] });
  }
  const record = x as Tensor | GraphSpec | FloatAttribute | AttributeReference;
  if ('float' in record) return typeof record.float === 'number' ? of('FLOAT', { f: record.float }) : of('FLOATS', { floats: record.float });
  if ('ref' in record) return of(record.type, { refAttrName: record.ref });
  if ('nodes' in record) return of('GRAPH', { g: graphProto(record) });
  return record.kind === 'sparse' ? of('SPARSE_TENSOR', { sparseTensor: sparseProto(record, '') }) : of('TENSOR', { t: tensorProto(record) });
}

const nodeProto = (n: NodeSpec): MessageInit<'NodeProto'> => ({
  opType: n.op, input: n.inputs, output: n.outputs, name: n.name ?? '', domain: n.domain ?? '',
  attribute: Object.entries(n.attributes ?? {}).map(([name, x]) => attributeProto(name, x)),
});

const valueInfo = (name: string, t?: TypeSpec): MessageInit<'ValueInfoProto'> => ({
  name,
  ...(t ? { type: { tensorType: { elemType: onnxDataType[t.dtype], ...(t.shape ? { shape: { dim: t.shape.map((d) => (typeof d === 'number' ? { dimValue: d } : d === null ? {} : { dimParam: d })) } } : {}) } } } : {}),
});

export function graphProto(g: GraphSpec): MessageInit<'GraphProto'> {
  const constants = Object.entries(g.initializers ?? {});
  return {
    name: g.name ?? 'test', node: g.nodes.map(nodeProto),
    input: Object.entries(g.inputs ?? {}).map(([name, t]) => valueInfo(name, t)),
    output: Array.isArray(g.outputs) ? (g.outputs as readonly string[]).map((name) => valueInfo(name)) : Object.entries(g.outputs as Readonly<Record<string, TypeSpec>>).map(([name, t]) => valueInfo(name, t)),
    initializer: constants.flatMap(([name, t]) => (t.kind === 'dense' ? [tensorProto(t, name)] : [])),
    sparseInitializer: constants.flatMap(([name, t]) => (t.kind === 'sparse' ? [sparseProto(t, name)] : [])),
  };
}

const opsetImport = (opsets: Readonly<Record<string, number>>): MessageInit<'OperatorSetIdProto'>[] => Object.entries(opsets).map(([domain, version]) => ({ domain, version }));

export function modelProto(m: ModelSpec): MessageInit<'ModelProto'> {
  return {
    irVersion: m.irVersion ?? 8, producerName: 'spc-test', graph: graphProto(m),
    opsetImport: opsetImport(typeof m.opset === 'object' ? m.opset : { '': m.opset ?? 17 }),
    functions: (m.functions ?? []).map((f) => ({
      name: f.name, domain: f.domain, input: f.inputs, output: f.outputs, node: f.nodes.map(nodeProto), attribute: f.attributes ?? [],
      attributeProto: Object.entries(f.defaults ?? {}).map(([name, x]) => attributeProto(name, x)), opsetImport: opsetImport(f.opsets ?? { '': 17 }),
    })),
  };
}

/** The bytes of an .onnx file. */
export const onnxModel = (m: ModelSpec): Uint8Array => encodeMessage('ModelProto', modelProto(m));

/** A sparse tensor from dense numbers. */
export function sparseOf(dense: Tensor & { readonly kind: 'dense' }): Tensor & { readonly kind: 'sparse' } {
  const indices = Array.from({ length: elementCount(dense.shape) }, (_, i) => i).filter((i) => Number(dense.data[i]) !== 0);
  const values = dense.data.slice(0, indices.length);
  indices.forEach((from, to) => { values[to] = dense.data[from] as never; });
  return { kind: 'sparse', dtype: dense.dtype, shape: dense.shape, values, indices };
}
