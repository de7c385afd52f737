/** The stream functions of a plan, in the form that the instruction set takes: assembly around a binary, or C over tables. */
import { binarySource, INCLUDE_LIMIT, weightsInclude } from '../../compiler/emit/weights.js';
import { runtimeFile } from '../../compiler/emit/runtime-files.js';
import type { StreamFunction } from '../../compiler/kir/stream.js';
import type { Plan, PlanStep } from '../../compiler/plan/types.js';
import type { Isa } from './isa.js';
import { assemblyFile, streamPrototypes } from './stream/assembly-file.js';
import { encodeStreams } from './stream/encode.js';
import { portableFile, streamTables } from './stream/portable.js';

/** What the symbols of a step's stream functions begin with. */
export const streamPrefix = (model: string, step: PlanStep): string => `${model}_${step.kernel.name}_`;

/** Files of the stream functions of a model; none where it has none. */
export function streamFiles(plan: Plan, isa: Isa, model: string, top: string, header: readonly string[]): Map<string, string | Uint8Array> {
  const files = new Map<string, string | Uint8Array>();
  const functions = plan.steps.flatMap((s) => (s.kernel.routines ?? []).map((f): StreamFunction => ({ ...f, name: `${streamPrefix(model, s)}${f.name}` })));
  if (functions.length === 0) return files;
  const symbol = `${model}_streams`;
  files.set(`${symbol}.h`, `${top}#include <stdint.h>\n\n${streamPrototypes(functions)}`);
  const about = [...header, `The sparse products of ${model} as straight-line code: every non-zero weight is one multiply-add.`];
  if (isa.streams === 'assembly') {
    const encoded = encodeStreams(functions);
    files.set(`${symbol}.bin`, encoded.bytes);
    files.set(`${symbol}.S`, assemblyFile(encoded, { header: [...about, `Code and weights are in ${symbol}.bin; compile the model with --asm=text to read the instructions.`], binary: `${symbol}.bin` }));
    return files;
  }
  const tables = streamTables(functions);
  files.set(`${symbol}_tables.bin`, tables.bytes);
  files.set(`${symbol}.c`, portableFile(tables, { header: about, tables: `${symbol}_tables` }));
  files.set(`${symbol}_tables.c`, binarySource(`${symbol}_tables`, 'SPC_STREAMS_FILE', tables.bytes.length, plan.alignment, top));
  if (tables.bytes.length <= INCLUDE_LIMIT) files.set(`${symbol}_tables.inc`, weightsInclude(tables.bytes));
  files.set('spc_stream.h', runtimeFile('cpu/spc_stream.h'));
  return files;
}
