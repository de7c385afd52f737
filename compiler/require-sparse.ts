/** `--require-sparse`: products with many zero weights that no sparse kernel runs, as errors. */
import type { Diagnostic } from './diagnostics/diagnostic.js';
import { isRejected } from './ir/layout-choice.js';
import { formatType, typeOf, type Graph } from './ir/types.js';
import type { Plan, PlanStep } from './plan/types.js';

/** What would let a sparse kernel run the step, as far as can be told. */
function nextStep({ choice: { decision } }: PlanStep, name: string): string {
  const tiles = decision?.others.filter((o) => o.layout !== 'rows') ?? [], possible = tiles.find((o) => !isRejected(o));
  if (possible && !isRejected(possible)) {
    return `dense is faster here; --layout '${name}=tiles' takes ${possible.kernel} all the same (${(possible.nanoseconds / 1000).toPrecision(3)} us), or raise the percentage of --require-sparse`;
  }
  return 'change the layer so that the reason goes away, or raise the percentage of --require-sparse';
}

/**
 * @param percent of zero weights from which on a product must have a sparse kernel
 * @returns an error for every product that has none
 */
export function unmetSparsity(graph: Graph, plan: Plan, percent: number): Diagnostic[] {
  const nodes = new Map(graph.nodes.map((n) => [n.id, n]));
  return plan.steps.flatMap((s): Diagnostic[] => {
    const { weights, choice, origins } = s;
    if (!weights || weights.nonZeros === weights.elements || choice.status === 'sparse-kernel') return [];
    const zeros = 100 * (1 - weights.nonZeros / weights.elements), node = nodes.get(s.node)!, origin = origins[0];
    if (zeros < percent) return [];
    const why = choice.decision?.reason ?? choice.reason;
    return [{
      code: 'SPC3201', severity: 'error', ...(origin ? { node: origin.node, op: origin.op } : {}), shapes: node.inputs.map((id) => formatType(typeOf(graph, id))),
      message: `${zeros.toFixed(1)} % of the weights are zero, but the kernel is dense (${choice.kernel}): ${why}`, hint: nextStep(s, origin?.node ?? s.kernel.name),
    }];
  });
}
