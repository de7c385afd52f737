/** The reference evaluator: prints kernel IR as JavaScript and runs it. An operator is thereby defined exactly once. */
import { coreOp, type OpKind } from '../core/index.js';
import type { DType, TypedArray } from '../ir/dtype.js';
import { bf16ToNumber, denseData, denseTensor, f16ToNumber, newArray, numberToBf16, numberToF16, type DenseTensor, type Tensor } from '../ir/tensor.js';
import { elementCount, operandsOf, valueOf, type Graph, type Node, type TensorType, type ValueId } from '../ir/types.js';
import { KernelBuilder, tensorRef, type BoundEpilogue } from './kernel-builder.js';
import { jsFunctionBody, jsMath, type JsRuntime } from './print-js.js';

const runtime: JsRuntime = { ...jsMath, f16ToNumber, numberToF16, bf16ToNumber, numberToBf16 };

/** Runs one node of a core operator on dense data. */
export function evaluateNode(kind: OpKind, attrs: unknown, inputs: readonly Tensor[], types: readonly TensorType[],
  epilogue?: { readonly expr: BoundEpilogue['expr']; readonly inputs: readonly Tensor[] }): DenseTensor[] {
  const op = coreOp(kind);
  if (op.alias) return [denseTensor(types[0]!.dtype, types[0]!.shape, denseData(inputs[0]!))];
  const extra = epilogue?.inputs ?? [];
  const extraRefs = extra.map((t, i) => tensorRef(`e${i}`, t));
  const k = new KernelBuilder(epilogue ? { expr: epilogue.expr, inputs: extraRefs } : undefined);
  const inRefs = inputs.map((t, i) => tensorRef(`x${i}`, t));
  const outRefs = types.map((t, i) => tensorRef(`y${i}`, t));
  const body = op.lower(k, attrs, inRefs, outRefs);
  const outputs = types.map((t) => newArray(t.dtype, elementCount(t.shape)));
  const params = [...inRefs, ...extraRefs, ...outRefs].map((t) => ({ name: t.param, dtype: t.dtype }));
  const scratch = k.scratchParams.map((p) => ({ name: p.name, dtype: p.dtype, array: newArray(p.dtype, p.size) }));
  const all = [...params, ...scratch];
  const source = jsFunctionBody(body, new Map<string, DType>(all.map((p) => [p.name, p.dtype])));
  // The source is printed from verified kernel IR; names in it are spc's own, never the model's.
  const run = new Function('rt', ...all.map((p) => p.name), source) as (rt: JsRuntime, ...buffers: TypedArray[]) => void;
  run(runtime, ...inputs.map(denseData), ...extra.map(denseData), ...outputs, ...scratch.map((s) => s.array));
  return types.map((t, i) => denseTensor(t.dtype, t.shape, outputs[i]!));
}

/** Evaluates a node of a graph, epilogue included, given its operands. */
export function evaluateGraphNode(graph: Graph, node: Node, get: (id: ValueId) => Tensor): DenseTensor[] {
  const types = node.outputs.map((o) => valueOf(graph, o).type);
  return evaluateNode(node.kind, node.attrs, node.inputs.map(get), types,
    node.epilogue ? { expr: node.epilogue.expr, inputs: node.epilogue.inputs.map(get) } : undefined);
}

/**
 * Runs a whole graph.
 * @param inputs one tensor a graph input, in order
 * @param observe called with every value as it is computed (verification, profiling)
 * @returns one tensor a graph output, in order
 */
export function evaluateGraph(graph: Graph, inputs: readonly Tensor[], observe?: (id: ValueId, t: DenseTensor) => void): Tensor[] {
  const known = new Map<ValueId, Tensor>();
  graph.inputs.forEach((id, i) => {
    const given = inputs[i], want = valueOf(graph, id);
    if (!given || given.dtype !== want.type.dtype || elementCount(given.shape) !== elementCount(want.type.shape)) {
      throw new RangeError(`input '${want.name}' needs ${want.type.dtype}[${want.type.shape.join(',')}]`);
    }
    known.set(id, given);
  });
  const get = (id: ValueId): Tensor => known.get(id) ?? valueOf(graph, id).constant ?? missing(id);
  const lastUse = new Map<ValueId, number>();
  graph.nodes.forEach((n, i) => operandsOf(n).forEach((v) => lastUse.set(v, i)));
  const kept = new Set(graph.outputs.map((o) => o.value));
  graph.nodes.forEach((node, i) => {
    evaluateGraphNode(graph, node, get).forEach((t, o) => {
      known.set(node.outputs[o]!, t);
      observe?.(node.outputs[o]!, t);
    });
    for (const v of operandsOf(node)) if (lastUse.get(v) === i && !kept.has(v)) known.delete(v);
  });
  return graph.outputs.map((o) => get(o.value));
}

function missing(id: ValueId): never {
  throw new Error(`SPC9001: value %${id} is read before it is computed`);
}

