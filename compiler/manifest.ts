/** manifest.json: what was compiled, how each layer runs and why. The build folder's machine-readable description. */
import { z } from 'zod';
import type { Diagnostic } from './diagnostics/diagnostic.js';
import { bytesOfType } from './ir/analysis.js';
import { dtypes, type DType } from './ir/dtype.js';
import type { Plan, PlanPort } from './plan/types.js';

const count = z.number().int().nonnegative();
const list = <T extends z.ZodType>(item: T) => z.array(item).readonly();

const portSchema = z.object({
  name: z.string(),
  dtype: z.enum(Object.keys(dtypes) as [DType, ...DType[]]),
  shape: list(count),
  bytes: count,
}).readonly();

const layerSchema = z.object({
  index: count,
  kernel: z.string(),
  /** ONNX nodes that became this layer. */
  nodes: list(z.object({ name: z.string(), op: z.string() }).readonly()),
  kind: z.string(),
  status: z.enum(['sparse-kernel', 'dense-kernel', 'reference']),
  schedule: z.string(),
  reason: z.string(),
  macs: count,
}).readonly();

/** The file's format and its type at once. Anybody may have edited a build folder: names are safe as file names and symbols. */
export const manifestSchema = z.object({
  schemaVersion: z.literal(1),
  spc: z.string(),
  name: z.string().regex(/^[A-Za-z_]\w*$/),
  target: z.string(),
  options: z.record(z.string(), z.unknown()).readonly(),
  model: z.object({ name: z.string(), sha256: z.string(), producer: z.string() }).readonly(),
  inputs: list(portSchema),
  outputs: list(portSchema),
  arenaBytes: count,
  /** What the arena would be if no two tensors shared memory. */
  unsharedBytes: count,
  weightBytes: count,
  macs: count,
  layers: list(layerSchema),
  sources: list(z.string().regex(/^[\w.-]+$/)),
  compileFlags: list(z.string()),
  diagnostics: list(z.custom<Diagnostic>((d) => typeof d === 'object' && d !== null)),
}).readonly();

export type Manifest = z.infer<typeof manifestSchema>;
/** An input or output of a compiled model. */
export type Port = z.infer<typeof portSchema>;

const port = (p: PlanPort): Port => ({ name: p.name, dtype: p.type.dtype, shape: p.type.shape, bytes: bytesOfType(p.type) });

export function buildManifest(plan: Plan, about: Pick<Manifest, 'spc' | 'name' | 'options' | 'model' | 'sources' | 'compileFlags' | 'diagnostics'>): Manifest {
  return {
    schemaVersion: 1, spc: about.spc, name: about.name, target: plan.target, options: about.options, model: about.model,
    inputs: plan.inputs.map(port), outputs: plan.outputs.map(port),
    arenaBytes: plan.arenaBytes, unsharedBytes: plan.unsharedBytes,
    weightBytes: plan.constants.reduce((s, c) => s + bytesOfType(c.tensor), 0),
    macs: plan.steps.reduce((s, x) => s + x.macs, 0),
    layers: plan.steps.map((s, index) => ({
      index, kernel: s.kernel.name, nodes: s.origins.map((o) => ({ name: o.node, op: o.op })), kind: s.kind,
      status: s.choice.status, schedule: s.choice.kernel, reason: s.choice.reason, macs: s.macs,
    })),
    sources: about.sources, compileFlags: about.compileFlags, diagnostics: about.diagnostics,
  };
}
