/**
 * Where a wrong answer comes from. Two questions, both answered with the reference evaluator: does a pass change the result
 * (evaluate the graph after each pass), and which layer computes something else than its definition (compile the model with every
 * intermediate value as an output, then evaluate each node on the very operands that the compiled one had).
 */
import { targets } from '../../backends/index.js';
import type { CpuName } from '../../backends/cpu/target.js';
import { runPasses } from '../../passes/manager.js';
import { pipelineFor } from '../../passes/pipeline.js';
import type { Pass } from '../../passes/types.js';
import type { CompileResult } from '../driver.js';
import { evaluateGraph, evaluateGraphNode } from '../kir/evaluate.js';
import type { Tensor } from '../ir/tensor.js';
import { valueOf, type Graph, type Origin, type ValueId } from '../ir/types.js';
import { buildManifest } from '../manifest.js';
import { buildPlan } from '../plan/build.js';
import { compareTensors, type Comparison, type Tolerance } from './tensor-comparison.js';
import { loadFiles, runLoaded } from './source.js';
import type { Terminal } from './terminal.js';

export interface GuiltyPass {
  readonly pass: string;
  readonly output: string;
  readonly comparison: Comparison;
}

/** The first pass after which the evaluator's outputs differ from those before all passes. */
export function bisectPasses(imported: Graph, passes: readonly Pass[], inputs: readonly Tensor[], expected: readonly Tensor[], tolerance: Tolerance): GuiltyPass | undefined {
  let graph = imported;
  for (const pass of passes) {
    const next = runPasses(graph, [pass]).graph;
    if (next !== graph) {
      const results = evaluateGraph(next, inputs);
      for (const [i, o] of next.outputs.entries()) {
        const comparison = compareTensors(results[i]!, expected[i]!, tolerance);
        if (!comparison.ok) return { pass: pass.name, output: o.name, comparison };
      }
    }
    graph = next;
  }
  return undefined;
}

export const passesOf = (target: 'cpu', cpu: CpuName): readonly Pass[] => pipelineFor(targets[target]({ cpu }));

export interface LayerComparison {
  readonly nodes: readonly Origin[];
  readonly kind: string;
  readonly kernel: string;
  readonly output: string;
  readonly comparison: Comparison;
}

/** @returns one comparison a layer, in execution order */
export async function compareLayers(compiled: CompileResult, cpu: CpuName, inputs: readonly Tensor[], tolerance: Tolerance, terminal: Terminal): Promise<LayerComparison[]> {
  const { graph } = compiled, target = targets.cpu({ cpu });
  const computed = graph.nodes.flatMap((n) => n.outputs);
  const observed: Graph = { ...graph, outputs: computed.map((value) => ({ name: `value ${value}`, value })) };
  const plan = buildPlan(observed, target), { name } = compiled.manifest;
  const emitted = target.emit(plan, { name, header: ['every intermediate value is an output'], weights: 'auto' });
  const manifest = buildManifest(plan, {
    ...compiled.manifest, sources: [...emitted.keys()].filter((f) => /\.[cS]$/.test(f)), compileFlags: target.compileFlags, diagnostics: [],
  });
  const model = await loadFiles(new Map([...emitted, ['manifest.json', JSON.stringify(manifest)]]), {}, terminal);
  const results = runLoaded(model, inputs);
  model.dispose();

  const known = new Map<ValueId, Tensor>(computed.map((id, i) => [id, results[i]!]));
  graph.inputs.forEach((id, i) => known.set(id, inputs[i]!));
  const get = (id: ValueId): Tensor => known.get(id) ?? valueOf(graph, id).constant!;
  const kernels = new Map(plan.steps.map((s) => [s.node, s.choice.kernel]));
  return graph.nodes.flatMap((node, n) => {
    terminal.progress(n / graph.nodes.length, 'comparing layers');
    return evaluateGraphNode(graph, node, get).map((expected, o): LayerComparison => ({
      nodes: node.origins, kind: node.kind, kernel: kernels.get(node.id) ?? 'none',
      output: valueOf(graph, node.outputs[o]!).name, comparison: compareTensors(get(node.outputs[o]!), expected, tolerance),
    }));
  });
}
