/** Facts about graphs, computed when asked for: nothing that passes would have to keep in step. */
import { coreOp } from '../core/index.js';
import { dtypes } from './dtype.js';
import { numberAt, type Tensor } from './tensor.js';
import { elementCount, typeOf, valueOf, type Graph, type Node, type NodeId, type TensorType } from './types.js';

export interface SparsityFacts {
  readonly nnz: number;
  readonly total: number;
  /** 0 for an empty tensor. */
  readonly zeroFraction: number;
}

/** From this share of zeros in its weights on, a product that multiplies by them anyway says why. */
export const NOTABLE_ZEROS = 0.2;

/**
 * Counts elements that differ from zero.
 * @param zeroPoint the stored value that means zero in a quantised tensor (SparseML exports keep pruned weights as 128)
 */
export function sparsityOf(t: Tensor, zeroPoint = 0): SparsityFacts {
  const total = elementCount(t.shape);
  const stored = t.kind === 'sparse' ? t.values : t.data;
  // f16 and bf16 are bit patterns: both zeros, apart from the sign bit
  const halfBits = (t.dtype === 'f16' || t.dtype === 'bf16') && zeroPoint === 0;
  const zero = t.dtype === 'i64' || t.dtype === 'u64' ? BigInt(zeroPoint) : zeroPoint;
  let zeros = t.kind === 'sparse' && zeroPoint === 0 ? total - stored.length : 0;
  if (halfBits) for (const bits of stored as Uint16Array) zeros += (bits & 0x7fff) === 0 ? 1 : 0;
  else if (t.dtype === 'f16' || t.dtype === 'bf16') for (let i = 0; i < stored.length; i++) zeros += numberAt(t.dtype, stored, i) === zeroPoint ? 1 : 0;
  else for (const v of stored) zeros += v === zero ? 1 : 0;
  return { nnz: total - zeros, total, zeroFraction: total === 0 ? 0 : zeros / total };
}

/** The stored value that means zero: 0, or in an integer tensor the commonest value (a quantised zero is the zero point). */
export function zeroValueOf(t: Tensor): number {
  if (t.kind === 'sparse' || dtypes[t.dtype].family === 'float') return 0;
  const counts = new Map<number | bigint, number>();
  for (const x of t.data) counts.set(x, (counts.get(x) ?? 0) + 1);
  return Number([...counts].reduce((best, c) => (c[1] > best[1] ? c : best), [0 as number | bigint, 0])[0]);
}

export const bytesOfType = (t: TensorType): number => elementCount(t.shape) * dtypes[t.dtype].bytes;

/** Multiply-accumulates of the dense computation; 0 for operators that are not made of them. */
export const macsOf = (graph: Graph, node: Node): number =>
  coreOp(node.kind).macs?.(node.attrs, node.inputs.map((i) => typeOf(graph, i)), node.outputs.map((o) => typeOf(graph, o))) ?? 0;

export interface GraphFacts {
  readonly nodes: number;
  readonly macs: number;
  readonly macsOfNode: ReadonlyMap<NodeId, number>;
  /** Elements and bytes of all constants, each once. */
  readonly weights: SparsityFacts & { readonly bytes: number };
  /** Bytes of all computed values, as if no two shared memory. */
  readonly activationBytes: number;
}

export function factsOf(graph: Graph): GraphFacts {
  const macsOfNode = new Map(graph.nodes.map((n) => [n.id, macsOf(graph, n)]));
  const constants = [...graph.values.values()].flatMap((v) => (v.constant ? [v.constant] : []));
  const facts = constants.map((t) => sparsityOf(t));
  const nnz = facts.reduce((s, f) => s + f.nnz, 0), total = facts.reduce((s, f) => s + f.total, 0);
  return {
    nodes: graph.nodes.length,
    macs: [...macsOfNode.values()].reduce((a, b) => a + b, 0),
    macsOfNode,
    weights: { nnz, total, zeroFraction: total === 0 ? 0 : 1 - nnz / total, bytes: constants.reduce((s, t) => s + bytesOfType(t), 0) },
    activationBytes: graph.nodes.flatMap((n) => n.outputs).reduce((s, id) => s + bytesOfType(valueOf(graph, id).type), 0),
  };
}
