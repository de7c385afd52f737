/**
 * Where a wrong answer comes from. Two questions, both answered with the reference evaluator: does a pass change the result
 * (evaluate the graph after each pass), and which layer computes something else than its definition (compile the model with every
 * intermediate value as an output, then evaluate each node on the very operands that the compiled one had).
 */
import { runPasses } from '../../passes/manager.js';
import type { Pass } from '../../passes/types.js';
import type { LoadOptions } from '../../runtime/node/load.js';
import { emitModel, type CompileResult } from '../driver.js';
import { evaluateGraph, evaluateGraphNode } from '../kir/evaluate.js';
import type { Tensor } from '../ir/tensor.js';
import { firstFreeId, valueOf, type Graph, type Origin, type ValueId } from '../ir/types.js';
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

export interface LayerComparison {
  readonly nodes: readonly Origin[];
  readonly kind: string;
  readonly kernel: string;
  readonly output: string;
  readonly comparison: Comparison;
}

/** The graph with every computed value as an output, in the order of its nodes: row-major and in its own type, those in tiles or stored in fewer bits converted. */
function observable(graph: Graph): { readonly graph: Graph; readonly computed: readonly ValueId[] } {
  const values = new Map(graph.values), nodes = [...graph.nodes], computed = graph.nodes.flatMap((n) => n.outputs);
  let next = firstFreeId(graph);
  const outputs = computed.map((id) => {
    const { type, layout, stored } = valueOf(graph, id), name = `value ${id}`;
    if (!layout && !stored) return { name, value: id };
    const value = next++;
    values.set(value, { id: value, name: `observed_${id}_${value}`, type });
    nodes.push({ id: next++, kind: 'relayout', inputs: [id], outputs: [value], attrs: {}, origins: [] });
    return { name, value };
  });
  return { graph: { ...graph, values, nodes, outputs }, computed };
}

/** @param load how and where the model runs @returns one comparison a layer, in execution order */
export async function compareLayers(compiled: Pick<CompileResult, 'graph' | 'decisions' | 'target' | 'manifest'>, load: LoadOptions, inputs: readonly Tensor[], tolerance: Tolerance, terminal: Terminal): Promise<LayerComparison[]> {
  const { graph, target, manifest } = compiled, observed = observable(graph), { computed } = observed;
  const plan = buildPlan(observed.graph, target, compiled.decisions);
  const { files } = emitModel(plan, target, { name: manifest.name, header: ['every intermediate value is an output'], weights: 'auto' }, { ...manifest, diagnostics: [] });
  const model = await loadFiles(files, load, terminal);
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
