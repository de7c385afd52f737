/** The choice among instruction sets at run time: the model's four functions, in front of those of each path. */
import { Writer } from '../../compiler/emit/writer.js';
import type { Isa } from './isa.js';

/**
 * What a processor must have, by GCC's and Clang's names: the parts of the level that they both know, and that come together in every processor that has
 * them; the compiler's functions ask the system, too, whether it saves the registers. Absent: code for the instruction set is not chosen at run time.
 */
const features: { readonly [N in Isa['name']]?: readonly string[] } = {
  'x86-64-v4-vnni': ['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl', 'avx512vnni'],
  'x86-64-v4': ['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'],
  'x86-64-v3': ['avx2', 'fma', 'bmi', 'bmi2'],
  generic: [],
};

/** Can code for this instruction set and for others be in one library? */
export const isDispatched = (isa: Isa): boolean => features[isa.name] !== undefined;

interface Path {
  /** What its symbols begin with. */
  readonly name: string;
  readonly isa: Isa;
}

const functions = [
  ['const spc_model_info *', 'info', 'void'], ['spc_status ', 'create', 'const spc_options *options, void *memory, spc_context **context'],
  ['spc_status ', 'run', 'spc_context *context, const void *const *inputs, void *const *outputs'], ['void ', 'destroy', 'spc_context *context'],
] as const;

/** <name>_paths.h: the functions of each path, which nobody outside of the library sees; <name>.c: those of the model. */
export function dispatchFiles(name: string, paths: readonly Path[], top: string): ReadonlyMap<string, string> {
  const declared = paths.map((p) => functions.map(([type, f, params]) => `${type}${p.name}_${f}(${params});\n`).join('')).join('\n');
  const w = new Writer();
  w.line(top.trimEnd());
  for (const f of ['spc_dispatch.h', `${name}.h`, `${name}_paths.h`]) w.line(`#include "${f}"`);
  w.line();
  paths.forEach(({ isa }, i) => {
    const conditions = features[isa.name]!.map((f) => `__builtin_cpu_supports("${f}")`);
    w.line(`/* ${isa.name} */`);
    w.line(`static int fits_${i}(void) { return ${conditions.join(' && ') || '1'}; }`);
  });
  w.line();
  w.line('static const struct spc_path paths[] = {');
  paths.forEach((p, i) => w.line(`  {fits_${i}, ${functions.map(([, f]) => `${p.name}_${f}`).join(', ')}},`));
  w.line('};');
  w.line();
  w.block(`const spc_model_info *${name}_info(void)`, () => {
    w.line(`const struct spc_path *path = spc_path_of(paths, ${paths.length});`);
    w.line(`return (path ? path : &paths[${paths.length - 1}])->info();`);
  });
  w.line();
  w.block(`spc_status ${name}_create(const spc_options *options, void *memory, spc_context **context)`, () => {
    w.line('if (!context) return SPC_ERROR_ARGUMENT;');
    w.line('*context = NULL;');
    w.line(`const struct spc_path *path = spc_path_of(paths, ${paths.length});`);
    w.line('if (!path) return SPC_ERROR_CPU;');
    w.line('const spc_status status = path->create(options, memory, context);');
    w.line('if (status == SPC_OK) *spc_path_in(*context) = path;');
    w.line('return status;');
  });
  w.line();
  w.block(`spc_status ${name}_run(spc_context *context, const void *const *inputs, void *const *outputs)`, () => {
    w.line('if (!context) return SPC_ERROR_ARGUMENT;');
    w.line('return (*spc_path_in(context))->run(context, inputs, outputs);');
  });
  w.line();
  w.block(`void ${name}_destroy(spc_context *context)`, () => w.line('if (context) (*spc_path_in(context))->destroy(context);'));
  return new Map([
    [`${name}_paths.h`, `${top}#include "spc.h"\n\n#pragma GCC visibility push(hidden)\n${declared}#pragma GCC visibility pop\n`],
    [`${name}.c`, w.text()],
  ]);
}
