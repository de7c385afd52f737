/** Plans -> C project: model header and source, weights, CMake file, a small main. */
import { commentBlock, fileHead, infoTables, modelHeader } from '../../compiler/emit/c-abi.js';
import { CLikePrinter } from '../../compiler/emit/c-like.js';
import { dispatchFiles } from '../../compiler/emit/dispatch.js';
import { mainProgram } from '../../compiler/emit/main-program.js';
import { runtimeFile } from '../../compiler/emit/runtime-files.js';
import { binarySource, cArray, EMBED_LIMIT, INCLUDE_LIMIT, weightBytes, weightsBlob, weightsInclude } from '../../compiler/emit/weights.js';
import { commentSafe, pathName, Writer } from '../../compiler/emit/writer.js';
import { nonZeroMacs, worksInPlace, type BufferRef, type Plan, type PlanStep } from '../../compiler/plan/types.js';
import type { EmitOptions, EmittedFiles } from '../types.js';
import { cDialect } from './dialect.js';
import { fits } from './features.js';
import type { Isa } from './isa.js';
import { splitPhases, type Phase } from './phases.js';
import { cmakeFile } from './project.js';
import { streamFiles, streamPrefix } from './streams.js';

/** Kernels per C file when there are many, so that a build runs in parallel and a compiler's memory stays small. */
const LINES_PER_FILE = 6000;
/** Shorter steps are not shared among threads: a barrier costs a quarter of a microsecond, and what another core wrote last comes slowly. */
const PARALLEL_NANOSECONDS = 1500;
/** Multiply-adds or elements a nanosecond where a step has no prediction. */
const UNKNOWN_RATE = 16;

/** Headers for functions of the runtime, by what their names begin with: theirs and before it what it includes. */
const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  spc_tiles_: ['spc_tiles.h'],
  spc_planes_: ['spc_tiles.h', 'spc_planes.h'],
  spc_winners_: ['spc_tiles.h', 'spc_select.h'],
  spc_columns_: ['spc_tiles.h', 'spc_select.h', 'spc_columns.h'],
  spc_squares_: ['spc_squares.h'],
};

interface Addressing {
  /** C expression for a buffer, of the pointer type that a parameter of `dtype` has. */
  pointer(ref: BufferRef, storage: string, writable: boolean): string;
}

function addressing(name: string, plan: Plan, embedded: boolean, offsets: readonly number[]): Addressing {
  const at = (base: string, offset: number): string => (offset === 0 ? base : `${base} + ${offset}`);
  return {
    pointer(ref, storage, writable) {
      const type = `${writable ? '' : 'const '}${storage} *`;
      switch (ref.kind) {
        case 'input': return `(${type})inputs[${ref.index}]`;
        case 'output': return `(${type})outputs[${ref.index}]`;
        case 'arena': return `(${type})(${at('context->arena', ref.offset)})`;
        case 'constant': return embedded ? `${name}_w_${plan.constants[ref.index]!.name}` : `(${type})(${at('context->weights', offsets[ref.index]!)})`;
      }
    },
  };
}

function usedParams(step: PlanStep, text: string): boolean[] {
  return step.kernel.params.map((p) => new RegExp(`\\b${p.name}\\b`).test(text));
}

interface EmittedStep {
  readonly phases: readonly { readonly phase: Phase; readonly symbol: string; readonly text: string; readonly used: readonly boolean[] }[];
}

function emitKernel(step: PlanStep, name: string): EmittedStep {
  const noRestrict = worksInPlace(step);
  return {
    phases: splitPhases(step.kernel).map((phase) => {
      const body = new Writer();
      const printer = new CLikePrinter(cDialect, step.kernel, streamPrefix(name, step));
      printer.statements(body, phase.body);
      const used = usedParams(step, body.text());
      const symbol = `${name}_${step.kernel.name}${phase.suffix}`;
      const params = step.kernel.params.flatMap((p, i) => {
        if (!used[i]) return [];
        const writable = p.role === 'out' || p.role === 'scratch';
        return [`${writable ? '' : 'const '}${cDialect.storage[p.dtype]} *${noRestrict ? '' : 'restrict '}${p.name}`];
      });
      if (phase.extent !== undefined) params.push('long begin', 'long end');
      const w = new Writer();
      w.block(`static void ${symbol}(${params.join(', ') || 'void'})`, () => {
        for (const o of phase.own ?? []) if (used[step.kernel.params.findIndex((p) => p.name === o.param)]) w.line(`${o.param} += begin * ${o.size};`);
        for (const l of body.text().trimEnd().split('\n')) w.line(l);
      });
      return { phase, symbol, text: w.text(), used };
    }),
  };
}

/** How long a step takes: of products, only what is not zero counts. */
const timeOf = (step: PlanStep): number => step.nanoseconds ?? Math.max(nonZeroMacs(step), ...step.kernel.params.filter((p) => p.role === 'out').map((p) => p.size)) / UNKNOWN_RATE;

const isParallel = (step: PlanStep, phase: Phase): boolean => phase.extent !== undefined && phase.extent > 1 && timeOf(step) >= PARALLEL_NANOSECONDS;

/** The function that spc_for calls: it unpacks its pointers and runs the range. */
function taskFunction(step: PlanStep, e: EmittedStep['phases'][number]): string {
  const w = new Writer();
  const args = step.kernel.params.flatMap((p, i) => (e.used[i] ? [p] : [])).map((p, i) => {
    const writable = p.role === 'out' || p.role === 'scratch';
    return `(${writable ? '' : 'const '}${cDialect.storage[p.dtype]} *)p[${i}]`;
  });
  w.block(`static void ${e.symbol}_task(void *argument, long begin, long end)`, () => {
    w.line('void *const *p = (void *const *)argument;');
    w.line(`${e.symbol}(${[...args, 'begin', 'end'].join(', ')});`);
  });
  return w.text();
}

function callLines(step: PlanStep, e: EmittedStep['phases'][number], adr: Addressing): string[] {
  const args = step.kernel.params.flatMap((p, i) =>
    e.used[i] ? [adr.pointer(step.args[i]!, cDialect.storage[p.dtype], p.role === 'out' || p.role === 'scratch')] : []);
  if (isParallel(step, e.phase)) {
    const pointers = step.kernel.params.flatMap((_, i) => (e.used[i] ? [adr.pointer(step.args[i]!, 'void', true)] : []));
    const plain = pointers.map((p) => (/^\w+$/.test(p) ? `(void *)${p}` : p));
    return [`spc_for(context, ${e.symbol}_task, (void *[]){${plain.join(', ')}}, ${e.phase.extent});`];
  }
  if (e.phase.extent !== undefined) args.push('0', String(e.phase.extent));
  return [`${e.symbol}(${args.join(', ')});`];
}

/** A plan, and what its code is compiled for. */
export interface CpuPath {
  readonly plan: Plan;
  readonly isa: Isa;
}

/** What the code of one path has of the whole project. */
interface PathContext {
  /** What its symbols and files begin with. */
  readonly name: string;
  /** The model's name, as its users know it. */
  readonly model: string;
  readonly top: string;
  readonly embedded: boolean;
  /** Of constants in the weights. */
  readonly offsets: readonly number[];
  /** Of the weights file, where the caller brings it. */
  readonly weightsBytes: number;
  /** Working memory that the context has. */
  readonly arenaBytes: number;
  /** Header that declares its four functions. */
  readonly header: string;
}

/** The code of a model for one instruction set: C files and stream functions. @returns also the runtime headers that it includes */
function pathFiles({ plan, isa }: CpuPath, c: PathContext, options: EmitOptions): { readonly files: Map<string, string | Uint8Array>; readonly runtime: readonly string[] } {
  const { name, top, embedded } = c, files = new Map<string, string | Uint8Array>(), adr = addressing(name, plan, embedded, c.offsets);
  const emitted = plan.steps.map((s) => emitKernel(s, name));
  const kernels = plan.steps.map((s, i) => {
    return commentBlock(s.kernel.doc) + emitted[i]!.phases.map((e) => e.text).join('\n');
  });
  const lines = kernels.reduce((n, k) => n + k.split('\n').length, 0);
  const split = lines > LINES_PER_FILE;
  const streams = streamFiles(plan, isa, top, { ...options, name });
  for (const [file, content] of streams) files.set(file, content);
  const called = Object.entries(LIBRARIES).flatMap(([prefix, headers]) => (kernels.some((k) => k.includes(prefix)) ? headers : []));
  const runtime = [...new Set(['spc_math.h', 'spc_vector.h', ...called])];
  const includes = [...runtime, ...(streams.size ? [`${name}_streams.h`] : [])].map((f) => `#include "${f}"\n`).join('');
  if (split) {
    const declared = emitted.flatMap((s) => s.phases.map((e) => `${signature(e.text)};`)).join('\n');
    files.set(`${name}_kernels.h`, `${top}${includes}\n#pragma GCC visibility push(hidden)\n${declared}\n#pragma GCC visibility pop\n`);
    let part: string[] = [], size = 0, index = 0;
    const flush = (): void => {
      if (part.length) files.set(`${name}_kernels_${index++}.c`, `${top}#include "${name}_kernels.h"\n\n${part.join('\n')}`);
      part = []; size = 0;
    };
    kernels.forEach((k) => {
      if (size > LINES_PER_FILE) flush();
      part.push(k.replace(/^static void/gm, 'void'));
      size += k.split('\n').length;
    });
    flush();
  }
  const w = new Writer();
  w.line(top.trimEnd());
  w.line('#include "spc_runtime.h"');
  w.line(`#include "${c.header}"`);
  if (split) w.line(`#include "${name}_kernels.h"`);
  else for (const l of includes.trimEnd().split('\n')) w.line(l);
  w.line();
  const used = new Set(plan.steps.flatMap((s, i) => s.args.flatMap((a, p) => (a.kind === 'constant' && emitted[i]!.phases.some((e) => e.used[p]) ? [a.index] : []))));
  if (embedded) plan.constants.forEach((k, i) => { if (used.has(i)) w.line(cArray(`${name}_w_${k.name}`, k, plan.alignment)); });
  else if (options.weights !== 'file') w.line(`extern const unsigned char ${c.model}_weights[];`);
  if (!split) for (const k of kernels) w.line(k);
  plan.steps.forEach((s, i) => { for (const e of emitted[i]!.phases) if (isParallel(s, e.phase)) w.line(taskFunction(s, e)); });
  w.line(infoTables(plan, name, {
    contextBytes: `(sizeof(struct spc_context) + ${plan.alignment - 1}) / ${plan.alignment} * ${plan.alignment} + ${c.arenaBytes}`,
    weightsBytes: c.weightsBytes,
  }));
  w.line(`const spc_model_info *${name}_info(void) { return &spc_this_model; }`);
  w.line();
  const weightsSymbol = embedded || options.weights === 'file' ? 'NULL' : `${c.model}_weights`;
  w.block(`spc_status ${name}_create(const spc_options *options, void *memory, spc_context **context)`, () =>
    w.line(`return spc_context_create(&spc_this_model, ${weightsSymbol}, options, memory, context);`));
  w.line();
  w.line(`void ${name}_destroy(spc_context *context) { spc_context_destroy(context); }`);
  w.line();
  w.block(`spc_status ${name}_run(spc_context *context, const void *const *inputs, void *const *outputs)`, () => {
    w.line(`if (!context${plan.inputs.length ? ' || !inputs' : ''}${plan.outputs.length ? ' || !outputs' : ''}) return SPC_ERROR_ARGUMENT;`);
    if (!plan.inputs.length) w.line('(void)inputs;');
    if (!plan.outputs.length) w.line('(void)outputs;');
    plan.steps.forEach((s, i) => {
      w.line(`/* ${commentSafe(s.kernel.doc[0] ?? '')} */`);
      w.line('spc_step_begin(context);');
      for (const e of emitted[i]!.phases) for (const l of callLines(s, e, adr)) w.line(l);
      w.line(`spc_step_end(context, ${i});`);
    });
    w.line('return SPC_OK;');
  });
  files.set(`${name}.c`, w.text());
  return { files, runtime };
}

/**
 * The files of a model for one instruction set or several (the best first), of which a context takes the first that its processor has.
 * What depends on the width of vectors (packed constants, layouts, the order of steps) is each path's own.
 */
export function emitC(paths: readonly CpuPath[], options: EmitOptions): EmittedFiles {
  const { name } = options, plans = paths.map((p) => p.plan), plan = plans[0]!, several = paths.length > 1;
  const files = new Map<string, string | Uint8Array>(), top = fileHead(plan, name, options.header);
  const embedded = options.weights === 'embed' || (options.weights === 'auto' && Math.max(...plans.map(weightBytes)) <= EMBED_LIMIT);
  const { blob, offsets } = embedded ? { blob: new Uint8Array(0), offsets: [] } : weightsBlob(plans);
  files.set(`${name}.h`, modelHeader(plan, name, top));
  const code = paths.map((path, i) => {
    const own = several ? pathName(name, path.isa.name) : name;
    return { isa: path.isa, name: own, ...pathFiles(path, {
      name: own, model: name, top: several ? fileHead(path.plan, `${name} for ${path.isa.name}`, options.header) : top, embedded, offsets: offsets[i] ?? [], weightsBytes: options.weights === 'file' ? blob.length : 0,
      arenaBytes: Math.max(...plans.map((p) => p.arenaBytes)), header: several ? `${name}_paths.h` : `${name}.h`,
    }, { ...options, onCode: (step, bytes) => options.onCode?.(step, bytes, i) }) };
  });
  for (const { files: own } of code) for (const [file, content] of own) files.set(file, content);
  if (several) for (const [file, text] of dispatchFiles(name, code.map((c) => ({ name: c.name, doc: c.isa.name, fits: fits(c.isa) })), top, { file: `${name}.c`, includes: [], error: 'SPC_ERROR_CPU', device: false })) files.set(file, text);
  if (!embedded) {
    files.set(`${name}_weights.bin`, blob);
    if (options.weights !== 'file') {
      files.set(`${name}_weights.c`, binarySource(`${name}_weights`, 'SPC_WEIGHTS_FILE', blob.length, plan.alignment, top));
      if (blob.length <= INCLUDE_LIMIT) files.set(`${name}_weights.inc`, weightsInclude(blob));
    }
  }
  for (const f of ['include/spc.h', ...(several ? ['include/spc_dispatch.h'] : []), 'cpu/spc_runtime.h', ...new Set(code.flatMap((c) => c.runtime.map((r) => `cpu/${r}`)))]) files.set(f.split('/').at(-1)!, runtimeFile(f));
  files.set('main.c', mainProgram(name, top));
  files.set('CMakeLists.txt', cmakeFile(name, several ? code.map((c) => ({ isa: c.isa, sources: [...c.files.keys()] })) : code[0]!.isa, [...files.keys()]));
  return files;
}

const signature = (text: string): string => text.slice(0, text.indexOf(' {\n')).replace(/^static /, '');
