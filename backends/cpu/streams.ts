/** The stream and permute functions of a plan: assembly around a binary, C over tables, or both where some layers' code would be too large. */
import { binarySource, INCLUDE_LIMIT, weightsInclude } from '../../compiler/emit/weights.js';
import { runtimeFile } from '../../compiler/emit/runtime-files.js';
import type { StreamForm } from '../../compiler/ir/layout-choice.js';
import { isPermute, type Routine } from '../../compiler/kir/routine.js';
import type { Plan, PlanStep } from '../../compiler/plan/types.js';
import type { EmitOptions } from '../types.js';
import { fastestForm, type Isa } from './isa.js';
import { assemblyFile, binaryBody, streamPrototypes } from './stream/assembly-file.js';
import { avx2 } from './stream/avx2.js';
import { encodeStreams } from './stream/encode.js';
import { neon } from './stream/neon.js';
import { encodePieces, type EncodedPieces, type PieceMachine } from './stream/pieces.js';
import { portableFile, streamTables } from './stream/portable.js';

/** What the symbols of a step's stream functions begin with. */
export const streamPrefix = (model: string, step: PlanStep): string => `${model}_${step.kernel.name}_`;

/** Writers of code for registers that are a part of a vector. */
const pieceMachines: { readonly [C in Isa['streams']['code']]?: PieceMachine } = { avx2, neon };

interface StepFunction {
  readonly step: number;
  readonly form: StreamForm;
  readonly function: Routine;
}

/** Files of the stream functions of a model; none where it has none. @param top comment at the head of C files */
export function streamFiles(plan: Plan, isa: Isa, top: string, options: EmitOptions): Map<string, string | Uint8Array> {
  const files = new Map<string, string | Uint8Array>(), { name: model, header } = options, symbol = `${model}_streams`;
  const all = plan.steps.flatMap((s, step) => (s.kernel.routines ?? []).map((f): StepFunction =>
    ({ step, form: isPermute(f) ? 'assembly' : s.choice.decision?.chosen.form ?? fastestForm(isa), function: { ...f, name: `${streamPrefix(model, s)}${f.name}` } })));
  if (all.length === 0) return files;
  files.set(`${symbol}.h`, `${top}#include <stdint.h>\n\n${streamPrototypes(all.map((f) => f.function))}`);
  const about = [...header, `The sparse products of ${model} as straight-line code: every non-zero weight is one multiply-add.`];
  const report = (of: readonly StepFunction[], symbols: readonly { readonly size: number }[]): void => {
    const bytes = new Map<number, number>();
    of.forEach(({ step }, i) => bytes.set(step, (bytes.get(step) ?? 0) + symbols[i]!.size));
    for (const [step, size] of bytes) options.onCode?.(step, size);
  };

  const coded = all.filter((f) => f.form === 'assembly');
  if (coded.length > 0) {
    const functions = coded.map((f) => f.function), machine = pieceMachines[isa.streams.code], binary = `${symbol}.bin`;
    const encoded: EncodedPieces = machine ? encodePieces(machine, functions) : encodeStreams(functions), bytes = options.asm === 'text' ? undefined : encoded.bytes;
    report(coded, encoded.symbols);
    if (bytes) files.set(binary, bytes);
    files.set(`${symbol}.S`, assemblyFile({ machine: machine?.processor ?? 'x86-64', functions, body: bytes ? binaryBody(encoded.symbols, binary) : encoded.text },
      bytes ? [...about, `Code and weights are in ${binary}; compile the model with --asm=text to read the instructions.`] : about));
  }
  const tabled = all.filter((f) => f.form === 'tables');
  if (tabled.length > 0) {
    const tables = streamTables(tabled.flatMap((f) => (isPermute(f.function) ? [] : [f.function])));
    report(tabled, tables.symbols);
    files.set(`${symbol}_tables.bin`, tables.bytes);
    // a name of its own: objects of a .S and a .c of one name would be one file
    files.set(`${symbol}_portable.c`, portableFile(tables, { header: about, tables: `${symbol}_tables` }));
    files.set(`${symbol}_tables.c`, binarySource(`${symbol}_tables`, 'SPC_STREAMS_FILE', tables.bytes.length, plan.alignment, top));
    if (tables.bytes.length <= INCLUDE_LIMIT) files.set(`${symbol}_tables.inc`, weightsInclude(tables.bytes));
    files.set('spc_stream.h', runtimeFile('cpu/spc_stream.h'));
  }
  return files;
}
