/** The top function: one process a layer, streams between them, all running at once (DATAFLOW). */
import { Writer } from '../../compiler/emit/writer.js';
import { elementCount } from '../../compiler/ir/types.js';
import type { Plan } from '../../compiler/plan/types.js';
import type { Consumer, Dataflow, Signal } from './dataflow.js';
import { hlsDialect } from './dialect.js';

const streamType = (s: Signal): string => `hls::stream<${hlsDialect.storage[s.dtype]}>`;

/** Declaration of the top function. */
export const topSignature = (plan: Plan, name: string, inputs: readonly string[], outputs: readonly string[]): string =>
  `void ${name}(${[...plan.inputs.map((p, i) => ({ p, name: inputs[i]! })), ...plan.outputs.map((p, i) => ({ p, name: outputs[i]! }))]
    .map(({ p, name: port }) => `hls::stream<${hlsDialect.storage[p.type.dtype]}> &${port}`).join(', ')})`;

/**
 * Elements that the stream must hold so that the design cannot lock up. Layers read their operands one after the other, so an
 * operand that arrives while another is awaited has to fit into its stream as a whole; on a simple chain nothing waits.
 */
function depthOf(signal: Signal, consumer: Consumer, flow: Dataflow): number {
  const isForked = signal.consumers.length > 1;
  const isJoined = consumer.kind === 'step' && flow.steps[consumer.step]!.reads.length > 1;
  const hasSiblings = signal.producer !== undefined && flow.steps[signal.producer]!.writes.length > 1;
  return isForked || isJoined || hasSiblings ? Math.max(2, signal.size) : 2;
}

export function topFunction(plan: Plan, flow: Dataflow, name: string, inputs: readonly string[], outputs: readonly string[]): string {
  const w = new Writer();
  const declare = (signal: Signal, stream: string, depth: number): void => {
    w.line(`${streamType(signal)} ${stream}("${stream}");`);
    w.line(`#pragma HLS STREAM variable=${stream} depth=${depth}`);
  };
  /** Stream from which each consumer of a signal reads (or which it is). */
  const readers = new Map<Signal, string[]>();

  w.block(topSignature(plan, name, inputs, outputs), () => {
    for (const port of [...inputs, ...outputs]) w.line(`#pragma HLS INTERFACE axis port=${port}`);
    w.line('#pragma HLS DATAFLOW');
    for (const s of flow.signals) {
      const branches = s.consumers.map((c, i) => (c.kind === 'output' ? outputs[c.index]! : s.consumers.length === 1 ? s.name : `${s.name}_${i}`));
      const isPort = s.producer === undefined;
      s.consumers.forEach((c, i) => {
        if (c.kind === 'step' && !(isPort && s.consumers.length === 1)) declare(s, branches[i]!, depthOf(s, c, flow));
      });
      if (s.consumers.length > 1 && !isPort) declare(s, s.name, 2);
      readers.set(s, branches);
    }
    const streamFor = (s: Signal, step: number): string => readers.get(s)![s.consumers.findIndex((c) => c.kind === 'step' && c.step === step)]!;
    /** Where a signal's producer puts it. */
    const sourceOf = (s: Signal): string => (s.consumers.length === 1 ? readers.get(s)![0]! : s.name);
    const distribute = (s: Signal): void => {
      if (s.consumers.length > 1) w.line(`spc_fork<${s.size}>(${[s.name, ...readers.get(s)!].join(', ')});`);
      if (s.consumers.length === 0 && s.producer === undefined) w.line(`spc_drain<${s.size}>(${s.name});`);
    };
    flow.inputs.forEach(distribute);
    flow.steps.forEach((ports, i) => {
      const streams = [
        ...ports.reads.map((r) => streamFor(r.signal, i)),
        ...ports.writes.filter((x) => x.signal.consumers.length > 0).map((x) => sourceOf(x.signal)),
      ];
      w.line(`${name}_${plan.steps[i]!.kernel.name}(${streams.join(', ')});`);
      ports.writes.forEach((x) => distribute(x.signal));
    });
  });
  return w.text();
}

/** Elements of each port, for the test bench. */
export const portSizes = (plan: Plan): { readonly inputs: readonly number[]; readonly outputs: readonly number[] } => ({
  inputs: plan.inputs.map((p) => elementCount(p.type.shape)),
  outputs: plan.outputs.map((p) => elementCount(p.type.shape)),
});
