/** One node as a kernel: the cheapest candidate of the target, else the operator's own loop nest. */
import type { KernelCandidate, KernelRequest, Target } from '../../backends/types.js';
import { coreOp } from '../core/index.js';
import { identifier } from '../emit/writer.js';
import { macsOf, NOTABLE_ZEROS, sparsityOf, zeroValueOf } from '../ir/analysis.js';
import { dtypes } from '../ir/dtype.js';
import { formatFormula } from '../ir/formula.js';
import { isRejected, type LayoutDecision } from '../ir/layout-choice.js';
import type { Tensor } from '../ir/tensor.js';
import { elementCount, formatType, operandsOf, typeOf, valueOf, type Graph, type Node, type NodeId, type ValueId } from '../ir/types.js';
import { KernelBuilder, paramOf, type TensorRef } from '../kir/kernel-builder.js';
import { withoutUnread } from '../kir/prune.js';
import type { Kernel, KernelParam } from '../kir/types.js';
import { finishTiles } from './finish-tiles.js';
import { refOf, requestFor } from './kernel-request.js';
import type { LayerChoice, PlanStep } from './types.js';

export interface DraftStep {
  readonly step: Omit<PlanStep, 'args'>;
  /** Value, scratch size or constant behind each parameter. */
  readonly operands: readonly Operand[];
  /** Operands that the kernel may overwrite, where it says so. */
  readonly inPlace?: readonly number[];
  /** Nodes that are part of this step and become none of their own. */
  readonly absorbs: readonly NodeId[];
}
export type Operand =
  | { readonly kind: 'value'; readonly id: ValueId }
  | { readonly kind: 'constant'; readonly tensor: Tensor; readonly name: string }
  | { readonly kind: 'scratch'; readonly bytes: number };

/** Elements and non-zeros of the constant matrices and filters that nodes multiply with; undefined where there are none. */
function weightsOf(graph: Graph, nodes: readonly Node[]): PlanStep['weights'] {
  const factors = nodes.flatMap((n) => (macsOf(graph, n) === 0 ? [] : n.inputs.map((id) => valueOf(graph, id).constant))).flatMap((t) => (t && t.shape.length >= 2 ? [t] : []));
  const facts = factors.map((t) => sparsityOf(t, zeroValueOf(t)));
  return facts.length === 0 ? undefined : { elements: facts.reduce((s, f) => s + f.total, 0), nonZeros: facts.reduce((s, f) => s + f.nnz, 0) };
}

/** Zeros that no kernel skips are part of the reason: the report must not look as if there were none. */
function withUnusedZeros(choice: LayerChoice, weights: PlanStep['weights'], decision?: LayoutDecision): LayerChoice {
  const zeros = weights && weights.elements > 0 ? 1 - weights.nonZeros / weights.elements : 0;
  if (choice.status === 'sparse-kernel' || zeros < NOTABLE_ZEROS) return choice;
  const why = decision ? ` (${decision.reason})` : '';
  return { ...choice, reason: `${choice.reason}; computed densely: ${Math.round(100 * zeros)} % of the weights are zero${why}` };
}

/** Why a product runs from tables where its instruction set has straight-line code. */
function withTables(choice: LayerChoice, decision?: LayoutDecision): LayerChoice {
  const code = decision?.chosen.form === 'tables' ? decision.others.find((o) => o.form === 'assembly') : undefined;
  return code && isRejected(code) ? { ...choice, reason: `${choice.reason}; ${code.reason}` } : choice;
}

function bestCandidate(graph: Graph, node: Node, target: Target, request: KernelRequest, decision: LayoutDecision | undefined): KernelCandidate | undefined {
  const inTiles = [...operandsOf(node), ...node.outputs].some((id) => valueOf(graph, id).layout);
  const all = target.kernels.flatMap((rule) => ((rule.tiles ?? false) === inTiles ? [...rule.candidates(request)] : []));
  // what the choice of layouts weighed stays as it decided; what only shows among conversions (a transposition that takes one along) still competes
  const lost = new Set(decision?.others.flatMap((o) => (o.layout === 'rows' ? [o.kernel] : [])));
  const candidates = decision?.chosen.layout === 'rows' ? all.filter((c) => !lost.has(c.choice.kernel)) : all;
  return candidates.reduce<KernelCandidate | undefined>((a, b) => (a && a.nanoseconds <= b.nanoseconds ? a : b), undefined);
}

/** A parameter and what lies behind it. */
interface Slot { readonly param: KernelParam; readonly operand: Operand }

/** The kernel's parameters: operands, the epilogue's, results, operands of absorbed nodes, constants of its own, working memory. */
function slotsOf(graph: Graph, request: KernelRequest, k: KernelBuilder, best: KernelCandidate | undefined, label: string): Slot[] {
  const { node } = request, packed = best?.pack?.(), absorbed = new Set((best?.absorbs ?? []).flatMap((n) => n.outputs));
  const read = (id: ValueId, t: TensorRef, form?: Tensor): Slot => {
    const { constant, name } = valueOf(graph, id), tensor = form ?? constant;
    const param = form ? { name: t.param, dtype: form.dtype, size: elementCount(form.shape), role: 'const' as const } : paramOf(t, constant ? 'const' : 'in');
    return { param, operand: tensor ? { kind: 'constant', tensor, name } : { kind: 'value', id } };
  };
  return [
    ...node.inputs.flatMap((id, i) => (absorbed.has(id) ? [] : [read(id, request.inputs[i]!, packed?.get(i))])),
    ...(node.epilogue?.inputs ?? []).flatMap((id, i) => (absorbed.has(id) ? [] : [read(id, request.epilogue!.inputs[i]!)])),
    ...node.outputs.map((id, i): Slot => ({ param: paramOf(request.outputs[i]!, 'out'), operand: { kind: 'value', id } })),
    ...k.operands.map(({ id, ref }) => read(id, ref)),
    ...k.constants.map(({ name, tensor }): Slot => ({
      param: { name, dtype: tensor.dtype, size: elementCount(tensor.shape), role: 'const' }, operand: { kind: 'constant', tensor, name: `${label}_${name}` },
    })),
    ...k.scratchParams.map((p): Slot => ({ param: p, operand: { kind: 'scratch', bytes: p.size * dtypes[p.dtype].bytes } })),
  ];
}

const loopNest = (target: Target, macs: number, decision?: LayoutDecision): LayerChoice => ({
  status: 'reference', kernel: 'loop nest',
  reason: decision?.chosen.kernel === '' && decision.others.some((o) => !isRejected(o)) ? `predicted to be fastest: ${decision.reason}`
    : target.kernels.length === 0 ? `${target.name} prints the operator's loop nest`
    : macs === 0 ? 'not a product: the loop nest is all there is to do' : 'no kernel of the target takes these operands',
});

export function lowerNode(graph: Graph, node: Node, target: Target, index: number, decision?: LayoutDecision): DraftStep {
  const ref = (id: ValueId, name: string): TensorRef => refOf(graph, id, name);
  const request = requestFor(graph, node, decision?.chosen), { inputs, outputs, epilogue } = request;
  const k = new KernelBuilder(epilogue, ref);
  for (const t of [...inputs, ...(epilogue?.inputs ?? []), ...outputs]) k.name(t.param);
  const best = bestCandidate(graph, node, target, request, decision), absorbs = best?.absorbs ?? [];
  const product = withoutUnread(best ? best.build(k) : coreOp(node.kind).lower(k, node.attrs, inputs, outputs));
  const body = best?.finishes ? product : [...product, ...outputs.flatMap((y) => finishTiles(k, y))];
  const macs = [node, ...absorbs].reduce((sum, n) => sum + macsOf(graph, n), 0);
  const weights = weightsOf(graph, [node, ...absorbs]), nanoseconds = decision?.chosen.measured ? decision.chosen.nanoseconds : best?.nanoseconds ?? decision?.chosen.nanoseconds;
  const choice = withTables(withUnusedZeros(best?.choice ?? loopNest(target, macs, decision), weights, decision), decision);
  const label = identifier(node.origins[0]?.node ?? valueOf(graph, node.outputs[0]!).name).slice(0, 40);
  const slots = slotsOf(graph, request, k, best, label), origins = [...node.origins, ...absorbs.flatMap((n) => n.origins)];
  const kernel: Kernel = {
    name: `n${String(index).padStart(3, '0')}_${node.kind.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)}_${label}`,
    doc: describe(graph, node, choice, [...inputs, ...(epilogue?.inputs ?? []), ...outputs].map((t) => t.param)),
    origins, params: slots.map((s) => s.param), body, ...(k.routines.length ? { routines: k.routines } : {}),
  };
  return {
    step: {
      kernel, node: node.id, kind: node.kind, origins, choice: decision ? { ...choice, decision } : choice, macs, outputs: node.outputs,
      ...(weights ? { weights } : {}), ...(nanoseconds === undefined ? {} : { nanoseconds }),
    },
    operands: slots.map((s) => s.operand), ...(best?.inPlace ? { inPlace: best.inPlace } : {}), absorbs: absorbs.map((n) => n.id),
  };
}

/** The kernel's comment. Operands are given as `parameter = value type`; `params` are the operands in order, then the outputs. */
function describe(graph: Graph, node: Node, choice: LayerChoice, params: readonly string[]): string[] {
  const io = (ids: readonly ValueId[], first: number): string =>
    ids.map((id, i) => `${params[first + i]} = ${valueOf(graph, id).name} ${formatType(typeOf(graph, id))}${valueOf(graph, id).stored ? ` stored as ${valueOf(graph, id).stored}` : ''}`).join(', ');
  const origin = node.origins.map((o) => `${o.op} '${o.node}'`).join(', ');
  return [
    `${node.kind}${origin ? ` from ONNX ${origin}` : ''}`,
    `in:  ${io(operandsOf(node), 0)}`,
    `out: ${io(node.outputs, operandsOf(node).length)}`,
    ...(node.epilogue ? [`out = ${formatFormula(node.epilogue.expr, [node.kind, ...node.epilogue.inputs.map((id) => valueOf(graph, id).name)])}`] : []),
    `${choice.status}: ${choice.kernel} (${choice.reason})`,
  ];
}
