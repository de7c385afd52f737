/** Weights of an ONNX file where they are multiplied with: which node, which tensor, and how the tensor is a matrix. Works on the file, before any lowering. */
import { isFloat } from '../ir/dtype.js';
import { denseData, type DenseTensor } from '../ir/tensor.js';
import { longToNumber, type GraphProto, type NodeProto, type SparseTensorProto, type TensorProto } from '../onnx/proto.js';
import { sparseTensorFromProto, tensorFromProto } from '../onnx/tensor.js';
import { convView, linearView, type ColumnOrder, type View } from './view.js';

export interface OnnxWeight {
  /** Node name, or its first output's name where the exporter left the name empty. */
  readonly node: string;
  readonly op: string;
  /** Of the initialiser, or of the Constant node's output. */
  readonly tensor: string;
  readonly value: DenseTensor;
  readonly depthwise: boolean;
  /** The tensor as a matrix. */
  readonly view: (order: ColumnOrder) => View;
  /** No other weight lies between the graph's inputs and this one; none between this one and the outputs. */
  readonly first: boolean;
  readonly last: boolean;
}

export interface OtherLayer {
  readonly node: string;
  readonly op: string;
  /** Why its weight cannot be changed. */
  readonly why: string;
}

const COMPUTED = 'no operand is a constant', QUANTISED = 'it is quantised; sparsify before quantising';
const OPS = ['Conv', 'Gemm', 'MatMul'] as const;
const nodeName = (n: NodeProto): string => n.name || n.output[0] || n.opType;
const intAttribute = (n: NodeProto, name: string, fallback: number): number => {
  const a = n.attribute.find((x) => x.name === name);
  return a ? longToNumber(a.i) : fallback;
};

/** A constant behind an operand: its tensor, and the axis of the tensor that each axis of the operand is. */
interface Source { readonly tensor: string; readonly axes: readonly number[] | undefined }

/**
 * @param baseDir folder of the model, for external data
 * @throws NodeProblem SPC1013..SPC1016 where a weight cannot be read
 */
export function weightsOf(graph: GraphProto, baseDir?: string): { readonly weights: readonly OnnxWeight[]; readonly others: readonly OtherLayer[] } {
  const producers = new Map(graph.node.flatMap((n) => n.output.map((o) => [o, n] as const)));
  const readers = new Map<string, () => DenseTensor>([
    ...graph.initializer.map((t) => [t.name, () => tensorFromProto(t, baseDir)] as const),
    ...graph.sparseInitializer.map((s) => [s.values?.name ?? '', () => expanded(s, baseDir)] as const),
    ...graph.node.flatMap((n) => constantOf(n).map((t) => [n.output[0] ?? '', () => tensorFromProto(t, baseDir)] as const)),
  ]);
  const sourceOf = (name: string, depth = 0): Source | string => {
    if (readers.has(name)) return { tensor: name, axes: undefined };
    const n = producers.get(name);
    if (!n || depth > 8) return COMPUTED;
    if (n.opType === 'DequantizeLinear') return QUANTISED;
    const below = n.opType === 'Identity' || n.opType === 'Transpose' ? sourceOf(n.input[0] ?? '', depth + 1) : COMPUTED;
    if (typeof below === 'string' || n.opType === 'Identity') return below;
    const perm = n.attribute.find((a) => a.name === 'perm')?.ints.map(longToNumber);
    const rank = readers.get(below.tensor)!().shape.length, order = perm ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
    return { tensor: below.tensor, axes: order.map((d) => below.axes?.[d] ?? d) };
  };

  const found: { n: NodeProto; operand: number; source: Source }[] = [], others: OtherLayer[] = [];
  for (const n of graph.node) {
    if (!(OPS as readonly string[]).includes(n.opType) || (n.domain !== '' && n.domain !== 'ai.onnx')) continue;
    const operands = n.opType === 'Conv' ? [1] : [1, 0], sources = operands.map((i) => ({ operand: i, source: sourceOf(n.input[i] ?? '') }));
    const constant = sources.find((s): s is { operand: number; source: Source } => typeof s.source !== 'string');
    if (constant) found.push({ n, ...constant });
    else others.push({ node: nodeName(n), op: n.opType, why: (sources.find((s) => s.source === QUANTISED) ?? sources[0]!).source as string });
  }
  const weighted = new Set(found.map((f) => f.n));
  const before = reach(graph.node, weighted, (n) => n.input, (n) => n.output), after = reach([...graph.node].reverse(), weighted, (n) => n.output, (n) => n.input);

  const weights: OnnxWeight[] = [], seen = new Set<string>();
  for (const { n, operand, source } of found) {
    const other = (why: string): number => others.push({ node: nodeName(n), op: n.opType, why });
    const value = readers.get(source.tensor)!(), axes = source.axes ?? [...value.shape.keys()], shape = axes.map((d) => value.shape[d]!);
    if (!isFloat(value.dtype)) { other(`its weight is ${value.dtype}, not a float`); continue; }
    if (shape.length < 2) { other('its weight is a vector'); continue; }
    if (seen.has(source.tensor)) { other(`it shares the weight '${source.tensor}' with a layer above`); continue; }
    seen.add(source.tensor);
    const group = intAttribute(n, 'group', 1), swapped = n.opType === 'Gemm' && intAttribute(n, operand === 1 ? 'transB' : 'transA', 0) !== 0;
    const onOperand = (order: ColumnOrder): View => (n.opType === 'Conv' ? convView(shape, 'oihw', group, order) : linearView(shape, (operand === 0) !== swapped ? 'rows' : 'cols'));
    weights.push({
      node: nodeName(n), op: n.opType, tensor: source.tensor, value, depthwise: n.opType === 'Conv' && group > 1 && shape[1] === 1, first: !before.has(n), last: !after.has(n),
      view: (order) => { const v = onOperand(order); return { ...v, shape: value.shape, rows: v.rows.map((d) => axes[d]!), cols: v.cols.map((d) => axes[d]!) }; },
    });
  }
  return { weights, others };
}

const constantOf = (n: NodeProto): TensorProto[] => (n.opType === 'Constant' ? n.attribute.flatMap((a) => (a.name === 'value' && a.t ? [a.t] : [])) : []);

function expanded(s: SparseTensorProto, baseDir: string | undefined): DenseTensor {
  const t = sparseTensorFromProto(s, baseDir);
  return { kind: 'dense', dtype: t.dtype, shape: t.shape, data: denseData(t) };
}

/** Nodes with a weighted node on some path that leads to them. `nodes` are sorted along the direction, as ONNX demands of a file. */
function reach(nodes: readonly NodeProto[], weighted: ReadonlySet<NodeProto>, from: (n: NodeProto) => readonly string[], to: (n: NodeProto) => readonly string[]): Set<NodeProto> {
  const marked = new Set<string>(), out = new Set<NodeProto>();
  for (const n of nodes) {
    if (from(n).some((v) => marked.has(v))) out.add(n);
    if (out.has(n) || weighted.has(n)) for (const v of to(n)) marked.add(v);
  }
  return out;
}
