/**
 * Which weights may be skipped, and by what rule: an analysis of every product with a constant operand, kept beside the graph. Zero means what multiplies as
 * zero: the number 0, or the zero point behind a dequantisation.
 */
import { dtypes } from '../compiler/ir/dtype.js';
import { denseData, numberAt, toNumbers, type Tensor } from '../compiler/ir/tensor.js';
import { contiguousStrides, elementCount, valueOf, type Graph, type Node, type NodeId, type ValueId } from '../compiler/ir/types.js';
import { convAttrsView, detect, matmulView, matrixShape, supportOf, toMatrices, type Candidate, type ColumnOrder, type Mask, type Matrix, type View } from '../compiler/sparsity/index.js';
import { countOnes } from '../compiler/sparsity/matrix.js';

export interface WeightPattern extends Candidate {
  /** Order of a convolution's columns under which it holds. */
  readonly order: ColumnOrder;
}

export interface NodeSparsity {
  /** Which operand is the weight, and the constant behind it. */
  readonly operand: 0 | 1;
  readonly weight: ValueId;
  /** As a matrix: rows are output channels, groups below one another. */
  readonly rows: number;
  readonly cols: number;
  readonly nnz: number;
  /** Share of non-zeros; 1 for an empty weight. */
  readonly density: number;
  /** Non-zero, but not more than 1e-8: candidates for a forgotten mask. */
  readonly tiny: number;
  readonly emptyRows: number;
  readonly emptyCols: number;
  readonly longestRow: number;
  readonly shortestRow: number;
  /** Up to three descriptions, shortest first. */
  readonly patterns: readonly WeightPattern[];
}

const TINY = 1e-8;
const REPORTED = 3;

/** Statistics and patterns of the weights of all products (convolutions, depthwise ones and matrix products, float or quantised), by node. */
export function analyzeSparsity(graph: Graph): ReadonlyMap<NodeId, NodeSparsity> {
  const producers = new Map(graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const known = new Map<string, NodeSparsity>();
  return new Map(graph.nodes.flatMap((node): [NodeId, NodeSparsity][] => {
    const found = weightOf(graph, producers, node);
    if (!found) return [];
    // several nodes may share a weight
    const key = JSON.stringify([found.source.constant, found.source.zero, found.operand, found.view('rsc')]);
    const facts = known.get(key) ?? factsOf(graph, found);
    known.set(key, facts);
    return [[node.id, facts]];
  }));
}

/** A constant behind an operand: the axis of the constant that each axis of the operand is, and the zero points of a dequantisation. */
interface Source { readonly constant: ValueId; readonly axes: readonly number[]; readonly zero: ValueId | undefined }
interface Found { readonly operand: 0 | 1; readonly source: Source; readonly view: (order: ColumnOrder) => View }

function sourceOf(graph: Graph, producers: ReadonlyMap<ValueId, Node>, id: ValueId): Source | undefined {
  const { constant } = valueOf(graph, id), producer = producers.get(id);
  if (constant) return { constant: id, axes: [...constant.shape.keys()], zero: undefined };
  if (producer?.kind !== 'transpose' && producer?.kind !== 'dequantize') return undefined;
  const below = sourceOf(graph, producers, producer.inputs[0]!);
  if (!below) return undefined;
  if (producer.kind === 'transpose') return { ...below, axes: producer.attrs.perm.map((d) => below.axes[d]!) };
  // zero points broadcast against the operand's axes, so these must be the constant's own
  const zero = producer.inputs[2], isPlain = below.axes.every((d, i) => d === i);
  return zero === undefined ? below : isPlain && valueOf(graph, zero).constant ? { ...below, zero } : undefined;
}

function weightOf(graph: Graph, producers: ReadonlyMap<ValueId, Node>, node: Node): Found | undefined {
  if (node.kind !== 'conv' && node.kind !== 'matmul') return undefined;
  const operands: readonly (0 | 1)[] = node.kind === 'conv' ? [1] : [1, 0];
  for (const operand of operands) {
    const source = sourceOf(graph, producers, node.inputs[operand]!);
    if (!source || source.axes.length < 2) continue;
    const own = valueOf(graph, source.constant).constant!.shape, shape = source.axes.map((d) => own[d]!);
    const view = (order: ColumnOrder): View => {
      const v = node.kind === 'conv' ? convAttrsView(node.attrs, shape, order) : matmulView(node.attrs, shape, operand);
      return { ...v, shape: own, rows: v.rows.map((d) => source.axes[d]!), cols: v.cols.map((d) => source.axes[d]!) };
    };
    return { operand, source, view };
  }
  return undefined;
}

function factsOf(graph: Graph, { operand, source, view }: Found): NodeSparsity {
  const constant = valueOf(graph, source.constant).constant!, centred = centredNumbers(constant, source.zero === undefined ? undefined : valueOf(graph, source.zero).constant);
  const stackedIn = (order: ColumnOrder): Matrix => {
    const v = view(order), shape = matrixShape(v), matrices = toMatrices(centred, v);
    if (matrices.length === 1) return matrices[0]!;
    const data = new Float32Array(centred.length);
    matrices.forEach((m, g) => data.set(m.data, g * m.data.length));
    return { ...shape, rows: shape.rows * v.groups, data };
  };
  const { kernel } = view('rsc'), value = dtypes[constant.dtype].bytes * 8;
  const matrix = stackedIn('rsc'), mask = supportOf(matrix);
  const inOrder = (order: ColumnOrder, m: Mask): WeightPattern[] => detect(m, { value }).map((c) => ({ ...c, order }));
  const patterns = [...inOrder('rsc', mask), ...(kernel > 1 ? inOrder('crs', supportOf(stackedIn('crs'))) : [])].sort((a, b) => a.bits - b.bits);
  const names = patterns.map((p) => p.name), rows = rowCounts(mask);
  const nnz = rows.reduce((a, b) => a + b, 0), total = mask.bits.length;
  return {
    operand, weight: source.constant, rows: mask.rows, cols: mask.cols, nnz, density: total === 0 ? 1 : nnz / total,
    tiny: nnz - countOnes(supportOf(matrix, TINY).bits),
    emptyRows: rows.filter((n) => n === 0).length, emptyCols: emptyColumns(mask),
    longestRow: rows.reduce((a, b) => Math.max(a, b), 0), shortestRow: rows.reduce((a, b) => Math.min(a, b), rows.length ? Infinity : 0),
    patterns: patterns.filter((p, i) => names.indexOf(p.name) === i).slice(0, REPORTED),
  };
}

/** Elements less their zero points, which broadcast from the right. */
function centredNumbers(t: Tensor, zero: Tensor | undefined): ArrayLike<number> {
  const data = denseData(t);
  if (zero === undefined && (data instanceof Float32Array || data instanceof Float64Array || data instanceof Int8Array)) return data;
  const zeros = zero ? toNumbers(zero) : [0], out = new Float64Array(elementCount(t.shape));
  const offset = zero ? t.shape.length - zero.shape.length : 0, strides = contiguousStrides(t.shape), own = zero ? contiguousStrides(zero.shape) : [];
  for (let i = 0; i < out.length; i++) {
    let at = 0;
    if (zeros.length > 1) for (let d = 0; d < own.length; d++) if (zero!.shape[d]! > 1) at += (Math.floor(i / strides[d + offset]!) % t.shape[d + offset]!) * own[d]!;
    out[i] = numberAt(t.dtype, data, i) - zeros[at]!;
  }
  return out;
}

const rowCounts = (m: Mask): number[] => Array.from({ length: m.rows }, (_, r) => {
  let n = 0;
  for (let j = r * m.cols; j < (r + 1) * m.cols; j++) n += m.bits[j]!;
  return n;
});

function emptyColumns(m: Mask): number {
  const used = new Uint8Array(m.cols);
  for (let i = 0, u = 0; i < m.rows; i++) for (let j = 0; j < m.cols; j++) used[j] = used[j]! | m.bits[u++]!;
  return used.reduce((n, b) => n + (b ? 0 : 1), 0);
}
