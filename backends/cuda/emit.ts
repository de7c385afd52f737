/** Plan -> CUDA project: model header and source, weights, CMake file, a small host program, the runtime headers. */
import { commentBlock, fileHead, infoTables, modelHeader } from '../../compiler/emit/c-abi.js';
import { dispatchFiles } from '../../compiler/emit/dispatch.js';
import { mainProgram } from '../../compiler/emit/main-program.js';
import { runtimeFile } from '../../compiler/emit/runtime-files.js';
import { cArray, EMBED_LIMIT, weightBytes, weightsBlob } from '../../compiler/emit/weights.js';
import { commentSafe, pathName, Writer } from '../../compiler/emit/writer.js';
import { cTypes } from '../../compiler/emit/c-like.js';
import { worksInPlace, type BufferRef, type Plan, type PlanStep } from '../../compiler/plan/types.js';
import type { EmitOptions, EmittedFiles } from '../types.js';
import { cudaKernels, type CudaKernel } from './grid.js';
import { capabilityOf, type GpuName } from './gpu.js';
import { cmakeFile } from './project.js';

/** Sources under runtime/ that the emitted project includes. */
const runtimeSources = ['include/spc.h', 'include/spc_scalar.hpp', 'cuda/spc_cuda.h', 'cuda/spc_element.h', 'cuda/spc_ptx.h', 'cuda/spc_gemm.h', 'cuda/spc_gather.h', 'cuda/spc_wgmma.h', 'cuda/spc_decode.h', 'cuda/spc_bitmap.h', 'cuda/spc_sell.h', 'cuda/spc_cuda_context.h', 'cuda/spc_emu.h', 'cuda/spc_emu_ptx.h', 'cuda/spc_emu_wgmma.h'];

/** Device pointer of a kernel argument, of the type that its parameter has. */
function pointer(ref: BufferRef, type: string, weightOffsets: readonly number[]): string {
  const at = (base: string, offset: number): string => `(${type})${offset === 0 ? base : `(${base} + ${offset})`}`;
  switch (ref.kind) {
    case 'input': return at(ref.offset === 0 ? `inputs[${ref.index}]` : `(const unsigned char *)inputs[${ref.index}]`, ref.offset);
    case 'output': return at(ref.offset === 0 ? `outputs[${ref.index}]` : `(unsigned char *)outputs[${ref.index}]`, ref.offset);
    case 'arena': return at('arena', ref.offset);
    case 'constant': return at('weights', weightOffsets[ref.index]! + ref.offset);
  }
}

function launchLine(step: PlanStep, kernel: CudaKernel, weightOffsets: readonly number[]): string {
  const args = kernel.params.map((i) => {
    const p = step.kernel.params[i]!;
    const isWritten = p.role === 'out' || p.role === 'scratch';
    return pointer(step.args[i]!, `${isWritten ? '' : 'const '}${cTypes.storage[p.dtype]} *`, weightOffsets);
  });
  const [grid, block, shared] = kernel.grid ? [`dim3(${kernel.grid.blocks.join(', ')})`, kernel.grid.threads, kernel.grid.sharedBytes]
    : kernel.extent === undefined ? ['1', '1', 0] : [`spc_blocks(${kernel.extent})`, 'SPC_THREADS', 0];
  return `SPC_LAUNCH(${[kernel.symbol, grid, block, shared, 'stream', ...args].join(', ')});`;
}

/** The declaration that CUDA models have beyond the common ones. */
const deviceRunDeclaration = (name: string): string => `
/*
 * Enqueues one inference on the CUDA stream \`stream\` (a cudaStream_t) and returns. inputs and outputs are device pointers, in the
 * order above; they must stay valid, and the context untouched, until the stream has come by.
 */
spc_status ${name}_run_device(spc_context *context, const void *const *inputs, void *const *outputs, void *stream);
`;

/** create, run and destroy, and the function that launches every step. */
function hostFunctions(plan: Plan, name: string, kernels: readonly (readonly CudaKernel[])[], weights: { readonly embedded: boolean; readonly bytes: number; readonly offsets: readonly number[] }): string {
  const w = new Writer();
  w.line(`const spc_model_info *${name}_info(void) { return &spc_this_model; }`).line();
  w.block(`spc_status ${name}_create(const spc_options *options, void *memory, spc_context **context)`, () => {
    w.line(`spc_status status = spc_cuda_create(&spc_this_model, ${plan.arenaBytes}, ${weights.bytes}, options, memory, context);`);
    w.line('if (status != SPC_OK) return status;');
    if (weights.embedded) {
      plan.constants.forEach((c, i) => {
        const symbol = `${name}_w_${c.name}`;
        w.line(`if (status == SPC_OK) status = spc_dev_upload((*context)->weights + ${weights.offsets[i]}, ${symbol}, sizeof ${symbol}, (*context)->stream);`);
      });
    } else {
      w.line(`status = spc_dev_upload((*context)->weights, options->weights, ${weights.bytes}, (*context)->stream);`);
    }
    for (const k of kernels.flat()) if (k.grid) w.line(`if (status == SPC_OK) status = SPC_PREPARE(${k.symbol}, ${k.grid.sharedBytes});`);
    w.line('if (status == SPC_OK) status = spc_dev_sync((*context)->stream);');
    w.block('if (status != SPC_OK)', () => { w.line('spc_cuda_destroy(*context);').line('*context = NULL;'); });
    w.line('return status;');
  });
  w.line();
  w.line(`void ${name}_destroy(spc_context *context) { spc_cuda_destroy(context); }`).line();
  w.block(`spc_status ${name}_run_device(spc_context *context, const void *const *inputs, void *const *outputs, void *cuda_stream)`, () => {
    w.line(`if (!context${plan.inputs.length ? ' || !inputs' : ''}${plan.outputs.length ? ' || !outputs' : ''}) return SPC_ERROR_ARGUMENT;`);
    w.line('const spc_stream stream = (spc_stream)cuda_stream;');
    w.line('unsigned char *const arena = context->arena;');
    w.line('const unsigned char *const weights = context->weights;');
    w.line('(void)arena, (void)weights, (void)inputs, (void)outputs;');
    plan.steps.forEach((s, i) => {
      w.line(`/* ${commentSafe(s.kernel.doc[0] ?? s.kind)} */`);
      w.line('spc_step_begin(context, stream);');
      for (const k of kernels[i]!) w.line(launchLine(s, k, weights.offsets));
      w.line(`spc_step_end(context, stream, ${i});`);
    });
    w.line('return spc_dev_launch_status();');
  });
  w.line();
  w.block(`spc_status ${name}_run(spc_context *context, const void *const *inputs, void *const *outputs)`, () => {
    w.line(`const void *device_inputs[${Math.max(1, plan.inputs.length)}];`);
    w.line(`void *device_outputs[${Math.max(1, plan.outputs.length)}];`);
    w.line(`return spc_cuda_run_host(context, &spc_this_model, ${name}_run_device, inputs, outputs, device_inputs, device_outputs);`);
  });
  return w.text();
}

/** The code for one architecture. */
interface CudaPath {
  readonly plan: Plan;
  readonly arch: GpuName;
}

interface PathOptions {
  /** What its symbols and files begin with. */
  readonly name: string;
  readonly top: string;
  /** Header with the declarations of what it defines. */
  readonly header: string;
  /** Where constants lie in one binary of so many bytes; absent where they are arrays of the code. */
  readonly binary?: { readonly bytes: number; readonly offsets: readonly number[] };
}

function pathFiles({ plan }: CudaPath, { name, top, header, binary }: PathOptions): ReadonlyMap<string, string> {
  const kernels = plan.steps.map((s) => cudaKernels(s.kernel, name, !worksInPlace(s)));
  const { blob, offsets: [own] } = binary ? { blob: undefined, offsets: [binary.offsets] } : weightsBlob([plan]), embeds = !binary && plan.constants.length > 0;
  const source = [
    top.trimEnd(),
    '#include "spc_cuda_context.h"',
    ...(kernels.flat().some((k) => k.grid) ? ['#include "spc_bitmap.h"', '#include "spc_decode.h"', '#include "spc_gather.h"', '#include "spc_gemm.h"', '#include "spc_sell.h"'] : []),
    ...(kernels.flat().some((k) => k.text.includes('spc_wgmma')) ? ['#include "spc_wgmma.h"'] : []),
    `#include "${header}"`,
    ...(embeds ? [`#include "${name}_weights.h"`] : []),
    '',
    ...plan.steps.map((s, i) => commentBlock(s.kernel.doc) + kernels[i]!.map((k) => k.text).join('\n')),
    infoTables(plan, name, { contextBytes: 'sizeof(struct spc_context)', weightsBytes: binary?.bytes ?? 0 }),
    hostFunctions(plan, name, kernels, { embedded: !binary, bytes: binary?.bytes ?? blob!.length, offsets: own! }),
  ];
  const constants = plan.constants.map((c) => cArray(`${name}_w_${c.name}`, c)).join('\n');
  return new Map([[`${name}.cu`, source.join('\n')], ...(embeds ? [[`${name}_weights.h`, `${top}#include <math.h>\n#include <stdint.h>\n\n${constants}`] as const] : [])]);
}

/** C expression: does the device run code for this architecture? */
const fits = (arch: GpuName): string => {
  const { major, minor, exact } = capabilityOf(arch);
  return `spc_dev_fits(${major}, ${minor}, ${exact ? 1 : 0})`;
};

/** The files of a model for one architecture or several (the best first), of which a context takes the first that its device runs. */
export function emitCuda(paths: readonly CudaPath[], options: EmitOptions): EmittedFiles {
  const { name } = options, plans = paths.map((p) => p.plan), plan = plans[0]!, several = paths.length > 1, top = fileHead(plan, name, options.header);
  const embedded = options.weights === 'embed' || (options.weights === 'auto' && Math.max(...plans.map(weightBytes)) <= EMBED_LIMIT);
  const files = new Map<string, string | Uint8Array>(), binary = embedded ? undefined : weightsBlob(plans);
  files.set(`${name}.h`, modelHeader(plan, name, top, deviceRunDeclaration(name)));
  const own = paths.map(({ arch }) => ({ arch, name: several ? pathName(name, arch) : name }));
  paths.forEach((path, i) => {
    const written = pathFiles(path, {
      name: own[i]!.name, top: several ? fileHead(path.plan, `${name} for ${path.arch}`, options.header) : top, header: several ? `${name}_paths.h` : `${name}.h`,
      ...(binary ? { binary: { bytes: binary.blob.length, offsets: binary.offsets[i]! } } : {}),
    });
    for (const [file, text] of written) files.set(file, text);
  });
  if (several) {
    const dispatched = own.map((p) => ({ name: p.name, doc: p.arch, fits: fits(p.arch) }));
    for (const [file, text] of dispatchFiles(name, dispatched, top, { file: `${name}.cu`, includes: ['spc_cuda.h'], error: 'SPC_ERROR_DEVICE', device: true })) files.set(file, text);
  }
  if (binary) files.set(`${name}_weights.bin`, binary.blob);
  for (const f of [...runtimeSources, ...(several ? ['include/spc_dispatch.h'] : [])]) files.set(f.split('/').at(-1)!, runtimeFile(f));
  files.set('main.c', mainProgram(name, top));
  files.set('CMakeLists.txt', cmakeFile(name, own));
  return files;
}
