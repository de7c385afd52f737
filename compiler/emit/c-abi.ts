/** What every target with the C ABI of runtime/include/spc.h emits alike: file heads, the model's header, its description. */
import { bytesOfType } from '../ir/analysis.js';
import { formatType } from '../ir/types.js';
import type { Plan, PlanPort } from '../plan/types.js';
import { commentSafe, Writer } from './writer.js';

export const commentBlock = (lines: readonly string[]): string => `/*\n${lines.map((l) => ` * ${commentSafe(l)}`).join('\n')}\n */\n`;

/** Head of every emitted file. */
export const fileHead = (plan: Plan, name: string, header: readonly string[]): string =>
  commentBlock([`${name}: compiled from ONNX model '${plan.model}' by spc. Do not edit: compile the model again.`, ...header]);

/**
 * The tables behind `<name>_info()`. Their names begin with `spc_`, so a model called `model` or `input` does not meet them.
 * @param sizes C expression for the bytes that create needs, and the size of the weights file (0 where weights are in the code)
 */
export function infoTables(plan: Plan, name: string, sizes: { readonly contextBytes: string; readonly weightsBytes: number }): string {
  const w = new Writer();
  const ports = (kind: string, list: readonly PlanPort[]): void => {
    list.forEach((p, i) => w.line(`static const int64_t spc_${kind}_${i}_shape[] = {${p.type.shape.length ? p.type.shape.join(', ') : '1'}};`));
    w.line(`static const spc_tensor_info spc_${kind}_infos[] = {`);
    list.forEach((p, i) => w.line(`  {${JSON.stringify(p.name)}, SPC_${p.type.dtype.toUpperCase()}, ${p.type.shape.length}, spc_${kind}_${i}_shape, ${bytesOfType(p.type)}},`));
    if (list.length === 0) w.line('  {"", SPC_F32, 0, 0, 0}');
    w.line('};');
  };
  ports('input', plan.inputs);
  ports('output', plan.outputs);
  w.line('static const char *const spc_step_names[] = {');
  for (const s of plan.steps) w.line(`  ${JSON.stringify(s.origins[0]?.node ?? s.kernel.name)},`);
  if (plan.steps.length === 0) w.line('  ""');
  w.line('};');
  w.line(`static const spc_model_info spc_this_model = {`);
  w.line(`  SPC_ABI_VERSION, "${name}", ${plan.inputs.length}, ${plan.outputs.length}, spc_input_infos, spc_output_infos,`);
  w.line(`  ${sizes.contextBytes}, ${plan.alignment}, ${sizes.weightsBytes}, ${plan.steps.length}, spc_step_names`);
  w.line('};');
  return w.text();
}

/** <name>.h; `extra` are the target's own declarations. */
export function modelHeader(plan: Plan, name: string, top: string, extra = ''): string {
  const guard = `${name.toUpperCase()}_H`;
  const ports = (list: readonly PlanPort[]): string => list.map((p, i) => ` *   [${i}] ${commentSafe(p.name)}: ${formatType(p.type)}, ${bytesOfType(p.type)} bytes`).join('\n');
  return `${top}#ifndef ${guard}
#define ${guard}
#include "spc.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * inputs
${ports(plan.inputs) || ' *   none'}
 * outputs
${ports(plan.outputs) || ' *   none'}
 */
const spc_model_info *${name}_info(void);
spc_status ${name}_create(const spc_options *options, void *memory, spc_context **context);
spc_status ${name}_run(spc_context *context, const void *const *inputs, void *const *outputs);
void ${name}_destroy(spc_context *context);
${extra}
#ifdef __cplusplus
}
#endif
#endif
`;
}
