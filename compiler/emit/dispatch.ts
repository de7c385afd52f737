/** The choice among architectures at run time: the model's functions, in front of those of each path. */
import { Writer } from './writer.js';

/** The model compiled for one architecture. */
export interface DispatchedPath {
  /** What its symbols begin with. */
  readonly name: string;
  readonly doc: string;
  /** C expression: does this machine have it? */
  readonly fits: string;
}

interface Dispatch {
  readonly file: string;
  /** Headers that the conditions need. */
  readonly includes: readonly string[];
  /** What create returns where no path fits. */
  readonly error: 'SPC_ERROR_CPU' | 'SPC_ERROR_DEVICE';
  /** Whether models run on the memory of a device, too. */
  readonly device: boolean;
}

const functions = [
  ['const spc_model_info *', 'info', 'void'], ['spc_status ', 'create', 'const spc_options *options, void *memory, spc_context **context'],
  ['spc_status ', 'run', 'spc_context *context, const void *const *inputs, void *const *outputs'], ['void ', 'destroy', 'spc_context *context'],
] as const;
const onDevice = ['spc_status ', 'run_device', 'spc_context *context, const void *const *inputs, void *const *outputs, void *stream'] as const;

/** <name>_paths.h: the functions of each path, which nobody outside of the library sees; and the file with those of the model. @param paths the best first */
export function dispatchFiles(name: string, paths: readonly DispatchedPath[], top: string, { file, includes, error, device }: Dispatch): ReadonlyMap<string, string> {
  const offered = device ? [...functions, onDevice] : functions;
  const declared = paths.map((p) => offered.map(([type, f, params]) => `${type}${p.name}_${f}(${params});\n`).join('')).join('\n');
  const w = new Writer();
  w.line(top.trimEnd());
  for (const f of [...includes, 'spc_dispatch.h', `${name}.h`, `${name}_paths.h`]) w.line(`#include "${f}"`);
  w.line();
  paths.forEach(({ doc, fits }, i) => {
    w.line(`/* ${doc} */`);
    w.line(`static int fits_${i}(void) { return ${fits}; }`);
  });
  w.line();
  w.line('static const struct spc_path paths[] = {');
  paths.forEach((p, i) => w.line(`  {fits_${i}, ${[...functions.map(([, f]) => `${p.name}_${f}`), device ? `${p.name}_run_device` : 'NULL'].join(', ')}},`));
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
    w.line(`if (!path) return ${error};`);
    w.line('const spc_status status = path->create(options, memory, context);');
    w.line('if (status == SPC_OK) *spc_path_in(*context) = path;');
    w.line('return status;');
  });
  for (const [type, f, params] of [functions[2], ...(device ? [onDevice] : [])]) {
    w.line();
    w.block(`${type}${name}_${f}(${params})`, () => {
      w.line('if (!context) return SPC_ERROR_ARGUMENT;');
      w.line(`return (*spc_path_in(context))->${f}(context, inputs, outputs${f === 'run' ? '' : ', stream'});`);
    });
  }
  w.line();
  w.block(`void ${name}_destroy(spc_context *context)`, () => w.line('if (context) (*spc_path_in(context))->destroy(context);'));
  const [open, close] = device ? ['extern "C" {\n', '}\n'] : ['', ''];
  return new Map([
    [`${name}_paths.h`, `${top}#include "spc.h"\n\n#pragma GCC visibility push(hidden)\n${open}${declared}${close}#pragma GCC visibility pop\n`],
    [file, w.text()],
  ]);
}
