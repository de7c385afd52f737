/**
 * One layer of the design: a function that reads its operands from streams into local memory, computes there, and sends its
 * results on. Operands, results and scratch become on-chip memories, constants ROMs.
 */
import { CLikePrinter } from '../../compiler/emit/c-like.js';
import { Writer } from '../../compiler/emit/writer.js';
import type { PlanStep } from '../../compiler/plan/types.js';
import type { StepPorts } from './dataflow.js';
import { hlsDialect } from './dialect.js';

/** Name of the stream behind a kernel parameter. */
const streamOf = (param: string): string => `${param}_stream`;

/**
 * @param symbol name of the function
 * @param romOf name of the ROM that holds a constant of the plan
 */
export function layerFunction(step: PlanStep, ports: StepPorts, symbol: string, romOf: (constant: number) => string): string {
  const { kernel } = step;
  const param = (i: number) => kernel.params[i]!;
  const body = new Writer();
  new CLikePrinter(hlsDialect, kernel).statements(body, kernel.body);
  const text = body.text().trimEnd();
  const isUsed = (name: string): boolean => new RegExp(`\\b${name}\\b`).test(text);
  const length = (size: number): number => Math.max(1, size);

  const liveWrites = ports.writes.filter((x) => x.signal.consumers.length > 0);
  const streams = [
    ...ports.reads.map((r) => ({ dtype: r.signal.dtype, name: streamOf(param(r.params[0]!).name) })),
    ...liveWrites.map((x) => ({ dtype: x.signal.dtype, name: streamOf(param(x.param).name) })),
  ];
  const w = new Writer();
  w.block(`static void ${symbol}(${streams.map((s) => `hls::stream<${hlsDialect.storage[s.dtype]}> &${s.name}`).join(', ')})`, () => {
    for (const { signal, params: [first, ...others] } of ports.reads) {
      const { name } = param(first!), type = hlsDialect.storage[signal.dtype];
      w.line(`static ${type} ${name}[${length(signal.size)}];`);
      for (const o of others) if (isUsed(param(o).name)) w.line(`const ${type} (&${param(o).name})[${length(signal.size)}] = ${name};`);
    }
    kernel.params.forEach((p, i) => {
      const arg = step.args[i]!, type = hlsDialect.storage[p.dtype];
      if (p.role === 'out' || p.role === 'scratch') w.line(`static ${type} ${p.name}[${length(p.size)}];`);
      if (p.role === 'const' && arg.kind === 'constant' && isUsed(p.name)) w.line(`const ${type} (&${p.name})[${length(p.size)}] = ${romOf(arg.index)};`);
    });
    for (const { signal, params } of ports.reads) w.line(`spc_read<${signal.size}>(${streamOf(param(params[0]!).name)}, ${param(params[0]!).name});`);
    for (const l of text.split('\n')) w.line(l);
    for (const x of liveWrites) w.line(`spc_write<${x.signal.size}>(${param(x.param).name}, ${streamOf(param(x.param).name)});`);
  });
  return w.text();
}
