/**
 * The graph IR: values in single-assignment form, nodes of core operators, constants on the side.
 *
 * Plain readonly records with integer ids, so a graph prints, compares and serialises as it is. No pass changes a graph in
 * place; `edit.ts` makes new ones. The operators are in compiler/core (one file each).
 */
import type { DType } from './dtype.js';
import type { Layout } from './layout.js';
import type { Tensor } from './tensor.js';
import type { OpAttrs, OpKind } from '../core/index.js';
import type { Expr } from '../kir/types.js';

/** Types that f32 values may be rounded to where they are stored. */
export const narrowTypes = ['f16', 'bf16'] as const;
export type NarrowType = (typeof narrowTypes)[number];

/** Element type and static shape (row-major). A scalar has shape []. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export const elementCount = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
export const formatType = (t: TensorType): string => `${t.dtype}[${t.shape.join(',')}]`;
export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);

/** Row-major strides in elements. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * shape[i + 1]!;
  return strides;
}

export type ValueId = number;
export type NodeId = number;

/** The ONNX node that something came from; fusion concatenates origins. */
export interface Origin {
  /** Node name, or its first output's name where the exporter left the name empty. */
  readonly node: string;
  readonly op: string;
}

export interface Value {
  readonly id: ValueId;
  /** ONNX tensor name where there is one, else a made-up unique one. */
  readonly name: string;
  readonly type: TensorType;
  /** Present on constants only. */
  readonly constant?: Tensor;
  /** How it lies in memory where that is not row-major; of computed f32 values only (select-layout). */
  readonly layout?: Layout;
  /** Element type in memory where it is narrower than the type says; of computed f32 values only (narrow-activations). */
  readonly stored?: NarrowType;
  /** Share of its elements that were zero when it was measured (a sparsity profile). */
  readonly zeros?: number;
}

/**
 * What happens to each output element in registers before it is stored: a scalar expression in which argument 0 is the
 * element that the operator computed and argument i (i >= 1) an element of `inputs[i - 1]`, broadcast to the output shape.
 * Bias, residual, activation and folded scale are all this one thing.
 */
export interface Epilogue {
  readonly expr: Expr;
  readonly inputs: readonly ValueId[];
}

export type Node = { [K in OpKind]: NodeOf<K> }[OpKind];

export interface NodeOf<K extends OpKind> {
  readonly id: NodeId;
  readonly kind: K;
  readonly inputs: readonly ValueId[];
  readonly outputs: readonly ValueId[];
  readonly attrs: OpAttrs[K];
  readonly epilogue?: Epilogue;
  readonly origins: readonly Origin[];
}

export interface Graph {
  readonly name: string;
  readonly values: ReadonlyMap<ValueId, Value>;
  /** In execution order. */
  readonly nodes: readonly Node[];
  readonly inputs: readonly ValueId[];
  /** Names are the model's; the same value may be returned under several names. */
  readonly outputs: readonly { readonly name: string; readonly value: ValueId }[];
}

/** The first number that neither a value nor a node of the graph has; both are numbered together. */
export function firstFreeId(graph: Graph): number {
  let next = 0;
  for (const id of graph.values.keys()) next = Math.max(next, id + 1);
  for (const { id } of graph.nodes) next = Math.max(next, id + 1);
  return next;
}

export function valueOf(graph: Graph, id: ValueId): Value {
  const v = graph.values.get(id);
  if (!v) throw new Error(`SPC9001: value %${id} is not in graph ${graph.name}`);
  return v;
}
export const typeOf = (graph: Graph, id: ValueId): TensorType => valueOf(graph, id).type;

/** All values that a node reads: operands first, then the epilogue's. */
export const operandsOf = (node: Node): readonly ValueId[] =>
  node.epilogue ? [...node.inputs, ...node.epilogue.inputs] : node.inputs;
