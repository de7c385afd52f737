/** Plan -> HLS project: the design, its constants, a test bench, what builds them, and the headers they include. */
import { commentBlock, fileHead } from '../../compiler/emit/c-abi.js';
import { cArray } from '../../compiler/emit/weights.js';
import { runtimeFile } from '../../compiler/emit/runtime-files.js';
import { commentSafe, identifier } from '../../compiler/emit/writer.js';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import { formatType } from '../../compiler/ir/types.js';
import type { Plan, PlanPort } from '../../compiler/plan/types.js';
import type { EmitOptions, EmittedFiles } from '../types.js';
import { dataflowOf } from './dataflow.js';
import { layerFunction } from './layer.js';
import { makefile, testBench, vitisScript } from './project.js';
import { topFunction, topSignature } from './top.js';

/** Sources under runtime/ that the emitted project includes, by their path in it. */
const runtimeSources: Readonly<Record<string, string>> = {
  'spc_hls.h': 'fpga/spc_hls.h',
  'spc_scalar.hpp': 'include/spc_scalar.hpp',
  'ap_shim/ap_int.h': 'fpga/ap_shim/ap_int.h',
  'ap_shim/ap_fixed.h': 'fpga/ap_shim/ap_fixed.h',
  'ap_shim/hls_stream.h': 'fpga/ap_shim/hls_stream.h',
};

/** A C++ name for each port; the prefix keeps it apart from keywords and from names of layers. */
function portNames(prefix: string, ports: readonly PlanPort[]): string[] {
  const used = new Set<string>();
  return ports.map((p) => {
    const base = `${prefix}_${identifier(p.name)}`;
    let name = base;
    for (let i = 1; used.has(name); i++) name = `${base}_${i}`;
    used.add(name);
    return name;
  });
}

function designHeader(plan: Plan, name: string, top: string, inputs: readonly string[], outputs: readonly string[]): string {
  const guard = `${name.toUpperCase()}_H`;
  const lines = (ports: readonly PlanPort[], names: readonly string[]): string =>
    ports.map((p, i) => ` *   ${names[i]}: ${commentSafe(p.name)} ${formatType(p.type)}`).join('\n');
  return `${top}#ifndef ${guard}
#define ${guard}
#include "spc_hls.h"

/*
 * The design: one inference a call, tensors element by element in row-major order.
 * inputs
${lines(plan.inputs, inputs) || ' *   none'}
 * outputs
${lines(plan.outputs, outputs) || ' *   none'}
 */
${topSignature(plan, name, inputs, outputs)};

#endif
`;
}

export function emitHls(plan: Plan, options: EmitOptions): EmittedFiles {
  const { name } = options;
  if (options.weights === 'file') {
    throw new SpcError([{
      code: 'SPC5001', severity: 'error', message: 'the fpga target has no weights file: constants are read-only memories of the design',
      hint: 'leave --weights out, or use --weights=embed',
    }]);
  }
  const top = fileHead(plan, name, options.header);
  const inputs = portNames('in', plan.inputs), outputs = portNames('out', plan.outputs);
  const flow = dataflowOf(plan, { inputs });
  const rom = (constant: number): string => `${name}_w_${plan.constants[constant]!.name}`;

  const layers = plan.steps.map((s, i) => commentBlock(s.kernel.doc) + layerFunction(s, flow.steps[i]!, `${name}_${s.kernel.name}`, rom));
  const files = new Map<string, string | Uint8Array>();
  files.set(`${name}.h`, designHeader(plan, name, top, inputs, outputs));
  files.set(`${name}.cpp`, [
    top.trimEnd(), `#include "${name}.h"`, `#include "${name}_weights.h"`, '', ...layers, topFunction(plan, flow, name, inputs, outputs),
  ].join('\n'));
  files.set(`${name}_weights.h`, `${top}#include <math.h>\n#include <stdint.h>\n\n${plan.constants.map((c, i) => cArray(rom(i), c)).join('\n')}`);
  files.set(`${name}_tb.cpp`, testBench(plan, name, top));
  files.set('Makefile', makefile(name));
  files.set(`${name}.tcl`, vitisScript(name));
  for (const [path, source] of Object.entries(runtimeSources)) files.set(path, runtimeFile(source));
  return files;
}
