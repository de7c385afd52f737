/** A max pool and the convolution whose result it reads: where the sums can stay in registers until only their maximum is left. */
import { windowOf } from '../../../compiler/core/window.js';
import { elementCount, operandsOf, typeOf, valueOf, type Epilogue, type Graph, type Node, type NodeOf, type ValueId } from '../../../compiler/ir/types.js';
import { arg, mapExpr } from '../../../compiler/kir/build.js';
import type { BoundEpilogue, KernelBuilder } from '../../../compiler/kir/kernel-builder.js';
import type { Expr } from '../../../compiler/kir/types.js';
import type { KernelRequest } from '../../types.js';

/** A convolution with the pool behind it. */
export interface PooledConv {
  readonly conv: NodeOf<'conv'>;
  /** Rows and columns of the convolution's result in one window of the pool; windows lie side by side, those cut off at the end are left out. */
  readonly window: readonly [number, number];
  /** Of the maximum: the convolution's, which can wait until then, and the pool's own. The first `fromConv` inputs are the convolution's. */
  readonly epilogue?: Epilogue;
  readonly fromConv: number;
}

/** How an expression depends on argument 0: not at all, or never decreasing; undefined where that is not known. */
function dependence(e: Expr): 'none' | 'rising' | undefined {
  if (e.kind === 'const') return 'none';
  if (e.kind === 'arg') return e.index === 0 ? 'rising' : 'none';
  if (e.kind !== 'binary') return undefined;
  const a = dependence(e.a), b = dependence(e.b);
  if (!a || !b) return undefined;
  if (a === 'none' && b === 'none') return 'none';
  switch (e.op) {
    case 'add': case 'min': case 'max': return 'rising';
    case 'sub': return b === 'none' ? 'rising' : undefined;
    case 'mul': return [e.a, e.b].some((f) => f.kind === 'const' && f.value > 0) ? 'rising' : undefined;
    default: return undefined;
  }
}

/** One element, or one for each of the channels, which come last. */
function isPerChannel(graph: Graph, id: ValueId, channels: number): boolean {
  const { shape } = typeOf(graph, id), n = elementCount(shape);
  return n === 1 || (n === channels && shape.at(-1) === channels);
}

/** `node` as the pool of a convolution that nothing else reads, both of row-major activations with the channels last. */
export function pooledConv(graph: Graph, node: Node): PooledConv | undefined {
  if (node.kind !== 'pool' || node.attrs.mode !== 'max' || node.attrs.indices) return undefined;
  const x = node.inputs[0]!, conv = graph.nodes.find((n) => n.outputs.includes(x)), types = node.inputs.map((id) => typeOf(graph, id)), w = windowOf(node, types);
  if (conv?.kind !== 'conv' || !w || typeOf(graph, node.outputs[0]!).dtype !== 'f32' || [...operandsOf(conv), ...node.outputs].some((id) => valueOf(graph, id).layout)) return undefined;
  if (graph.outputs.some((o) => o.value === x) || graph.nodes.some((n) => n !== node && operandsOf(n).includes(x))) return undefined;
  const outer = types[0]!.shape.slice(1, -1), pooled = typeOf(graph, node.outputs[0]!).shape.slice(1, -1);
  const plain = node.attrs.kernel.every((k, d) => node.attrs.strides[d] === k && node.attrs.dilations[d] === 1 && node.attrs.pads[d]!.every((p) => p === 0) && pooled[d]! * k <= outer[d]!);
  const before = conv.epilogue, after = node.epilogue, channels = types[0]!.shape.at(-1)!;
  // a maximum of results is the result of the maximum
  const waits = !before || (dependence(before.expr) === 'rising' && before.inputs.every((id) => isPerChannel(graph, id, channels)));
  if (!plain || !waits) return undefined;
  const fromConv = before?.inputs.length ?? 0, first = before?.expr ?? arg(0, 'f32');
  const whole = after ? mapExpr(after.expr, (e) => (e.kind !== 'arg' ? e : e.index === 0 ? first : { ...e, index: e.index + fromConv })) : first;
  const inputs = [...(before?.inputs ?? []), ...(after?.inputs ?? [])];
  return { conv: conv as NodeOf<'conv'>, window: w.kernel, fromConv, ...(before || after ? { epilogue: { expr: whole, inputs } } : {}) };
}

/** The epilogue of the maximum in the pool's kernel. */
export function pooledEpilogue(k: KernelBuilder, request: KernelRequest, { epilogue, fromConv }: PooledConv): BoundEpilogue | undefined {
  return epilogue && { expr: epilogue.expr, inputs: epilogue.inputs.map((id, i) => (i < fromConv ? k.operand(id, 'e') : request.epilogue!.inputs[i - fromConv]!)) };
}
