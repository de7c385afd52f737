/** manifest.json: what was compiled, how each layer runs and why. The build folder's machine-readable description. */
import type { Plan, PlanPort } from './plan/types.js';
import { dtypes } from './ir/dtype.js';
import { elementCount } from './ir/types.js';
import type { Diagnostic } from './diagnostics/diagnostic.js';

export const MANIFEST_SCHEMA = 1;

export interface ManifestPort {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}

export interface ManifestLayer {
  readonly index: number;
  readonly kernel: string;
  /** ONNX nodes that became this layer. */
  readonly nodes: readonly { readonly name: string; readonly op: string }[];
  readonly kind: string;
  readonly status: string;
  readonly schedule: string;
  readonly reason: string;
  readonly macs: number;
}

export interface Manifest {
  readonly schemaVersion: number;
  readonly spc: string;
  readonly name: string;
  readonly target: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly model: { readonly name: string; readonly sha256: string; readonly producer: string };
  readonly inputs: readonly ManifestPort[];
  readonly outputs: readonly ManifestPort[];
  readonly arenaBytes: number;
  /** What the arena would be if no two tensors shared memory. */
  readonly unsharedBytes: number;
  readonly weightBytes: number;
  readonly macs: number;
  readonly layers: readonly ManifestLayer[];
  readonly sources: readonly string[];
  readonly compileFlags: readonly string[];
  readonly diagnostics: readonly Diagnostic[];
}

const port = (p: PlanPort): ManifestPort => ({ name: p.name, dtype: p.type.dtype, shape: p.type.shape, bytes: elementCount(p.type.shape) * dtypes[p.type.dtype].bytes });

export function buildManifest(plan: Plan, about: Pick<Manifest, 'spc' | 'name' | 'options' | 'model' | 'sources' | 'compileFlags' | 'diagnostics'>): Manifest {
  return {
    schemaVersion: MANIFEST_SCHEMA, spc: about.spc, name: about.name, target: plan.target, options: about.options, model: about.model,
    inputs: plan.inputs.map(port), outputs: plan.outputs.map(port),
    arenaBytes: plan.arenaBytes, unsharedBytes: plan.unsharedBytes,
    weightBytes: plan.constants.reduce((s, c) => s + elementCount(c.tensor.shape) * dtypes[c.tensor.dtype].bytes, 0),
    macs: plan.steps.reduce((s, x) => s + x.macs, 0),
    layers: plan.steps.map((s, index) => ({
      index, kernel: s.kernel.name, nodes: s.origins.map((o) => ({ name: o.node, op: o.op })), kind: s.kind,
      status: s.choice.status, schedule: s.choice.kernel, reason: s.choice.reason, macs: s.macs,
    })),
    sources: about.sources, compileFlags: about.compileFlags, diagnostics: about.diagnostics,
  };
}
