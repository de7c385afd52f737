/**
 * The plan as a data-flow graph: which step's output goes to which steps. A plan speaks of memory, hardware of streams; who
 * wrote last to a place is who a reader of that place means, so the order of the steps is enough to tell.
 */
import type { DType } from '../../compiler/ir/dtype.js';
import { elementCount } from '../../compiler/ir/types.js';
import type { BufferRef, Plan, PlanStep } from '../../compiler/plan/types.js';

/** A tensor on its way from one producer to its consumers. */
export interface Signal {
  readonly name: string;
  readonly dtype: DType;
  readonly size: number;
  /** Index of the step that computes it; absent for a graph input. */
  readonly producer?: number;
  /** The steps that read it, in order, and the graph outputs that it is. */
  readonly consumers: Consumer[];
}

export type Consumer =
  | { readonly kind: 'step'; readonly step: number }
  | { readonly kind: 'output'; readonly index: number };

/** Parameters of a step's kernel that are streams. */
export interface StepPorts {
  /** Positions of the kernel parameters that read each signal; more than one where an operand is used twice. */
  readonly reads: readonly { readonly signal: Signal; readonly params: readonly number[] }[];
  readonly writes: readonly { readonly signal: Signal; readonly param: number }[];
}

export interface Dataflow {
  readonly inputs: readonly Signal[];
  readonly steps: readonly StepPorts[];
  readonly signals: readonly Signal[];
}

const place = (r: BufferRef): string => (r.kind === 'arena' ? `arena+${r.offset}` : `${r.kind} ${r.index}+${r.offset}`);

export function dataflowOf(plan: Plan, portNames: { readonly inputs: readonly string[] }): Dataflow {
  const current = new Map<string, Signal>();
  const signals: Signal[] = [];
  const define = (at: string, signal: Signal): Signal => {
    current.set(at, signal);
    signals.push(signal);
    return signal;
  };
  const inputs = plan.inputs.map((p, i) =>
    define(`input ${i}+0`, { name: portNames.inputs[i]!, dtype: p.type.dtype, size: elementCount(p.type.shape), consumers: [] }));

  const portsOf = (step: PlanStep, index: number): StepPorts => {
    const reads = new Map<Signal, number[]>();
    step.kernel.params.forEach((p, i) => {
      if (p.role !== 'in') return;
      const signal = current.get(place(step.args[i]!));
      if (!signal) throw new Error(`SPC9006: step ${step.kernel.name} reads ${place(step.args[i]!)}, which no step has written`);
      reads.set(signal, [...(reads.get(signal) ?? []), i]);
    });
    for (const signal of reads.keys()) signal.consumers.push({ kind: 'step', step: index });
    const writes = step.kernel.params.flatMap((p, i) => (p.role !== 'out' ? [] : [{
      signal: define(place(step.args[i]!), { name: `${step.kernel.name}_${p.name}`, dtype: p.dtype, size: p.size, producer: index, consumers: [] }),
      param: i,
    }]));
    return { reads: [...reads].map(([signal, params]) => ({ signal, params })), writes };
  };
  const steps = plan.steps.map(portsOf);
  plan.outputs.forEach((o, index) => {
    const signal = current.get(`output ${index}+0`);
    if (!signal) throw new Error(`SPC9006: no step writes output '${o.name}'`);
    signal.consumers.push({ kind: 'output', index });
  });
  return { inputs, steps, signals };
}
