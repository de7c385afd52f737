/**
 * From graph to plan: every node becomes one kernel call (renaming nodes none), operands become addresses, working memory is
 * shared by lifetime. Targets bring kernels for the hot operators; the rest is the operator's own loop nest.
 */
import type { Target } from '../../backends/types.js';
import { isRejected, type LayoutDecisions } from '../ir/layout-choice.js';
import { coreOp, coreOps } from '../core/index.js';
import { identifier } from '../emit/writer.js';
import { bytesOfType } from '../ir/analysis.js';
import { dtypes } from '../ir/dtype.js';
import { layoutElements, sameLayout } from '../ir/layout.js';
import { tensorHash, type Tensor } from '../ir/tensor.js';
import { operandsOf, sameShape, typeOf, valueOf, type Graph, type Node, type NodeId, type ValueId } from '../ir/types.js';
import { KernelBuilder, paramOf, tensorRef } from '../kir/kernel-builder.js';
import { lowerNode, type DraftStep, type Operand } from './lower-node.js';
import { placeInArena, type Lifetime } from './memory.js';
import type { BufferRef, LayerChoice, Plan, PlanConstant, PlanStep } from './types.js';

const bytesOf = (graph: Graph, id: ValueId): number => {
  const { type, layout, stored } = valueOf(graph, id);
  return layout ? layoutElements(layout) * dtypes[type.dtype].bytes : bytesOfType(stored ? { ...type, dtype: stored } : type);
};

/** Follows renaming nodes (reshape) to the value whose memory is really used. */
function storageRoots(graph: Graph): Map<ValueId, ValueId> {
  const roots = new Map<ValueId, ValueId>();
  for (const id of graph.values.keys()) roots.set(id, id);
  const outputs = new Set(graph.outputs.map((o) => o.value));
  const computed = new Set(graph.nodes.flatMap((n) => (coreOp(n.kind).alias ? [] : n.outputs)));
  for (const node of graph.nodes) {
    if (!coreOp(node.kind).alias) continue;
    const to = node.outputs[0]!, from = roots.get(node.inputs[0]!)!;
    if (!outputs.has(to)) roots.set(to, from);
    // a graph output has memory of its own: what it renames is computed there, or, where it is itself an input, a constant or
    // an output, copied
    else if (computed.has(from) && !outputs.has(from)) for (const [v, root] of roots) if (root === from) roots.set(v, to);
  }
  return roots;
}

/** Which steps may write over which of their operands: operand value by step, decided before memory is placed. */
function chooseInPlace(graph: Graph, drafts: readonly DraftStep[], nodes: readonly Node[], roots: Map<ValueId, ValueId>, fixed: ReadonlySet<ValueId>): void {
  const uses = new Map<ValueId, number>();
  drafts.forEach((d, i) => {
    for (const o of d.operands) if (o.kind === 'value') uses.set(roots.get(o.id)!, i);
  });
  drafts.forEach((draft, i) => {
    const node = nodes[i]!;
    const y = node.outputs[0]!;
    if (roots.get(y) !== y || fixed.has(y) || (draft.step.choice.status !== 'reference' && !draft.inPlace) || node.outputs.length !== 1) return;
    const types = operandsOf(node).map((id) => typeOf(graph, id));
    const { layout } = valueOf(graph, y);
    const own = coreOp(node.kind).inPlace?.(node.attrs, node.inputs.map((id) => typeOf(graph, id))) ?? [];
    // an epilogue's operand is read just before its element is stored, by every kernel that allows in-place at all
    const allowed = draft.inPlace ?? (layout ? [] : own.length ? [...own, ...types.keys()].filter((x) => own.includes(x) || x >= node.inputs.length) : []);
    for (const o of allowed) {
      const id = operandsOf(node)[o]!;
      const root = roots.get(id)!;
      const used = operandsOf(node).filter((v) => roots.get(v) === root).length;
      if (valueOf(graph, id).constant || fixed.has(root) || uses.get(root) !== i || used !== 1) continue;
      if (!sameLayout(valueOf(graph, id).layout, layout) || types[o]!.dtype !== typeOf(graph, y).dtype || valueOf(graph, id).stored !== valueOf(graph, y).stored || !sameShape(types[o]!.shape, typeOf(graph, y).shape) || bytesOf(graph, root) !== bytesOf(graph, y)) continue;
      for (const [v, r] of roots) if (r === y) roots.set(v, root);
      uses.set(root, Math.max(uses.get(y) ?? i, i));
      return;
    }
  });
}

/** What cannot compute a node that is part of another step is told there. */
function withRefusals(draft: DraftStep, decisions: LayoutDecisions): DraftStep {
  const { choice } = draft.step, refused = draft.absorbs.flatMap((id) => decisions.get(id)?.others.filter(isRejected) ?? []).filter((o) => o.layout === 'rows');
  if (!choice.decision || refused.length === 0) return draft;
  return { ...draft, step: { ...draft.step, choice: { ...choice, decision: { ...choice.decision, others: [...choice.decision.others, ...refused] } } } };
}

/** The steps of all nodes but those that are only another name, or part of a later step: which the later one says, so it comes first. */
function draftSteps(graph: Graph, target: Target, roots: ReadonlyMap<ValueId, ValueId>, decisions: LayoutDecisions): { readonly nodes: readonly Node[]; readonly drafts: readonly DraftStep[] } {
  const nodes = graph.nodes.filter((n) => !(coreOp(n.kind).alias && roots.get(n.outputs[0]!) === roots.get(n.inputs[0]!)));
  const absorbed = new Set<NodeId>(), steps: { readonly node: Node; readonly draft: DraftStep }[] = [];
  for (const [i, node] of [...nodes.entries()].reverse()) {
    if (absorbed.has(node.id)) continue;
    const draft = withRefusals(lowerNode(graph, node, target, i, decisions.get(node.id)), decisions);
    for (const id of draft.absorbs) absorbed.add(id);
    steps.unshift({ node, draft });
  }
  return { nodes: steps.map((s) => s.node), drafts: steps.map((s) => s.draft) };
}

/** @param decisions why nodes run in rows or in tiles, where that was chosen */
export function buildPlan(graph: Graph, target: Target, decisions: LayoutDecisions = new Map()): Plan {
  const roots = storageRoots(graph);
  const outputIndex = new Map<ValueId, number>();
  graph.outputs.forEach((o, i) => { if (!outputIndex.has(o.value)) outputIndex.set(o.value, i); });
  const inputIndex = new Map(graph.inputs.map((id, i) => [id, i] as const));
  const produced = new Set(graph.nodes.flatMap((n) => n.outputs));

  const { nodes, drafts } = draftSteps(graph, target, roots, decisions);
  const fixed = new Set<ValueId>([...graph.inputs, ...outputIndex.keys()]);
  if (target.inPlace) chooseInPlace(graph, drafts, nodes, roots, fixed);

  // lifetimes of what lives in the arena; scratch lives for one step
  const spans = new Map<number, { bytes: number; from: number; to: number }>();
  const scratchIds = new Map<string, number>();
  let nextScratch = -1;
  drafts.forEach((d, i) => d.operands.forEach((o, p) => {
    if (o.kind === 'constant') return;
    if (o.kind === 'scratch') {
      const id = nextScratch--;
      scratchIds.set(`${i}:${p}`, id);
      spans.set(id, { bytes: o.bytes, from: i, to: i });
      return;
    }
    const root = roots.get(o.id)!;
    if (fixed.has(root)) return;
    const span = spans.get(root);
    spans.set(root, { bytes: bytesOf(graph, root), from: span?.from ?? i, to: i });
  }));
  const items = [...spans].map(([id, s]): Lifetime => ({ id, ...s }));
  const arena = placeInArena(items, target.alignment);

  const constants: PlanConstant[] = [];
  const byContent = new Map<string, number>();
  const used = new Set<string>();
  const constantIndex = (tensor: Tensor, name: string): number => {
    const hash = tensorHash(tensor);
    const known = byContent.get(hash);
    if (known !== undefined) return known;
    let id = identifier(name);
    for (let i = 1; used.has(id); i++) id = `${identifier(name)}_${i}`;
    used.add(id);
    byContent.set(hash, constants.length);
    return constants.push({ name: id, tensor, origin: name }) - 1;
  };
  const locate = (o: Operand, key: string): BufferRef => {
    if (o.kind === 'constant') return { kind: 'constant', index: constantIndex(o.tensor, o.name), offset: 0 };
    if (o.kind === 'scratch') return { kind: 'arena', offset: arena.offsets.get(scratchIds.get(key)!)! };
    const root = roots.get(o.id)!;
    const output = outputIndex.get(root), input = inputIndex.get(root);
    if (input !== undefined) return { kind: 'input', index: input, offset: 0 };
    if (output !== undefined) return { kind: 'output', index: output, offset: 0 };
    return { kind: 'arena', offset: arena.offsets.get(root)!, value: o.id };
  };
  const steps: PlanStep[] = drafts.map((d, i) => ({ ...d.step, args: d.operands.map((o, p) => locate(o, `${i}:${p}`)) }));

  // outputs that are inputs, constants, or another output's value are copied
  graph.outputs.forEach((o, i) => {
    if (produced.has(o.value) && outputIndex.get(o.value) === i) return;
    const v = valueOf(graph, o.value);
    const from = tensorRef('x', v.type), to = tensorRef('y', v.type);
    const body = coreOps.reshape.lower(new KernelBuilder(), { shape: v.type.shape }, [from], [to]);
    const choice: LayerChoice = { status: 'reference', kernel: 'copy', reason: 'the output is a constant, an input or another output' };
    const source: BufferRef = v.constant ? { kind: 'constant', index: constantIndex(v.constant, v.name), offset: 0 }
      : inputIndex.has(o.value) ? { kind: 'input', index: inputIndex.get(o.value)!, offset: 0 } : { kind: 'output', index: outputIndex.get(o.value)!, offset: 0 };
    steps.push({
      kernel: { name: `n${String(steps.length).padStart(3, '0')}_copy_${identifier(o.name).slice(0, 40)}`, doc: [`copy of ${v.name} to output '${o.name}'`], origins: [], params: [paramOf(from, v.constant ? 'const' : 'in'), paramOf(to, 'out')], body },
      args: [source, { kind: 'output', index: i, offset: 0 }], node: -1, kind: 'copy', origins: [], choice, macs: 0, outputs: [o.value],
    });
  });

  return {
    model: graph.name, target: target.name,
    inputs: graph.inputs.map((id) => ({ name: valueOf(graph, id).name, type: typeOf(graph, id) })),
    outputs: graph.outputs.map((o) => ({ name: o.name, type: typeOf(graph, o.value) })),
    constants, steps, arenaBytes: arena.bytes,
    unsharedBytes: items.reduce((s, x) => s + x.bytes, 0), alignment: target.alignment,
  };
}
