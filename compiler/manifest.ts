/** manifest.json: what was compiled, how each layer runs and why. The build folder's machine-readable description. */
import { z } from 'zod';
import type { Diagnostic } from './diagnostics/diagnostic.js';
import { bytesOfType } from './ir/analysis.js';
import { dtypes, type DType } from './ir/dtype.js';
import { isRejected, type LayoutDecision, type LayoutOption, type RejectedOption } from './ir/layout-choice.js';
import { nonZeroMacs, type Plan, type PlanPort } from './plan/types.js';

const count = z.number().int().nonnegative();
const list = <T extends z.ZodType>(item: T) => z.array(item).readonly();

const portSchema = z.object({
  name: z.string(),
  dtype: z.enum(Object.keys(dtypes) as [DType, ...DType[]]),
  shape: list(count),
  bytes: count,
}).readonly();

/** One way to run a layer. */
const candidateSchema = z.object({
  layout: z.enum(['rows', 'pixels', 'images']),
  kernel: z.string(),
  form: z.enum(['assembly', 'tables']).optional(),
  /** Predicted, or measured where it says so; absent where it was not to be had. */
  nanoseconds: count.optional(),
  measured: z.boolean().optional(),
  /** Of code and packed weights, predicted. */
  bytes: count.optional(),
  chosen: z.boolean(),
  reason: z.string(),
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
  /** Multiply-adds whose weight is not zero. */
  nonZeroMacs: count,
  /** Of a product with constant weights. */
  weights: z.object({ elements: count, nonZeros: count }).readonly().optional(),
  /** Predicted, or measured with --tune. */
  nanoseconds: count.optional(),
  /** Straight-line code or tables, with the weights in them. */
  codeBytes: count,
  candidates: list(candidateSchema),
}).readonly();

/** The code for one of several architectures. */
const pathSchema = z.object({
  arch: z.string(),
  /** Among the model's; to be compiled with these flags instead of the model's. */
  sources: list(z.string().regex(/^[\w.-]+$/)),
  compileFlags: list(z.string()),
  arenaBytes: count,
  weightBytes: count,
  codeBytes: count,
  layers: list(layerSchema),
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
  nonZeroMacs: count,
  /** Straight-line code and tables of all layers, with the weights in them. */
  codeBytes: count,
  layers: list(layerSchema),
  sources: list(z.string().regex(/^[\w.-]+$/)),
  compileFlags: list(z.string()),
  /** Where a context takes the code for the best architecture that its machine has: the best first. `layers` and what they add up to are the first one's. */
  paths: list(pathSchema).optional(),
  diagnostics: list(z.custom<Diagnostic>((d) => typeof d === 'object' && d !== null)),
}).readonly();

export type Manifest = z.infer<typeof manifestSchema>;
/** An input or output of a compiled model. */
export type Port = z.infer<typeof portSchema>;

const port = (p: PlanPort): Port => ({ name: p.name, dtype: p.type.dtype, shape: p.type.shape, bytes: bytesOfType(p.type) });

type Candidate = z.infer<typeof candidateSchema>;

/** What a decision was made among: the chosen one first. */
function candidatesOf({ chosen, others, reason }: LayoutDecision): Candidate[] {
  const lost = (o: LayoutOption): string => (o.nanoseconds > chosen.nanoseconds
    ? `${(o.nanoseconds / chosen.nanoseconds).toPrecision(3)} times as long` : 'faster alone, but conversions around it would cost more than it gains');
  const row = (o: LayoutOption | RejectedOption, why: string): Candidate => ({
    layout: o.layout, kernel: o.kernel || 'loop nest', ...(o.form ? { form: o.form } : {}),
    ...(isRejected(o) ? {} : { nanoseconds: Math.round(o.nanoseconds), ...(o.measured ? { measured: true } : {}), bytes: Math.round(o.bytes) }), chosen: o === chosen, reason: why,
  });
  return [row(chosen, reason), ...others.map((o) => row(o, isRejected(o) ? o.reason : lost(o)))];
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** A plan, and the bytes of its steps that have code or tables beside their C. */
interface Emitted {
  readonly plan: Plan;
  readonly codeBytes: ReadonlyMap<number, number>;
}

type Path = z.infer<typeof pathSchema>;

const factsOf = ({ plan, codeBytes }: Emitted): Pick<Path, 'arenaBytes' | 'weightBytes' | 'codeBytes' | 'layers'> => ({
  arenaBytes: plan.arenaBytes, weightBytes: sum(plan.constants.map((c) => bytesOfType(c.tensor))), codeBytes: sum([...codeBytes.values()]),
  layers: plan.steps.map((s, index) => ({
    index, kernel: s.kernel.name, nodes: s.origins.map((o) => ({ name: o.node, op: o.op })), kind: s.kind,
    status: s.choice.status, schedule: s.choice.kernel, reason: s.choice.reason, macs: s.macs, nonZeroMacs: nonZeroMacs(s),
    ...(s.weights ? { weights: s.weights } : {}), ...(s.nanoseconds === undefined ? {} : { nanoseconds: Math.round(s.nanoseconds) }),
    codeBytes: codeBytes.get(index) ?? 0, candidates: s.choice.decision ? candidatesOf(s.choice.decision) : [],
  })),
});

/** @param paths where there are several plans: what each is compiled for, with what */
export function buildManifest(emitted: readonly Emitted[], about: Pick<Manifest, 'spc' | 'name' | 'options' | 'model' | 'sources' | 'compileFlags' | 'diagnostics'>,
  paths: readonly Pick<Path, 'arch' | 'sources' | 'compileFlags'>[] = []): Manifest {
  const { plan } = emitted[0]!, { arenaBytes, weightBytes, codeBytes, layers } = factsOf(emitted[0]!);
  return {
    schemaVersion: 1, spc: about.spc, name: about.name, target: plan.target, options: about.options, model: about.model,
    inputs: plan.inputs.map(port), outputs: plan.outputs.map(port),
    arenaBytes, unsharedBytes: plan.unsharedBytes, weightBytes, macs: sum(plan.steps.map((s) => s.macs)), nonZeroMacs: sum(plan.steps.map(nonZeroMacs)), codeBytes, layers,
    sources: about.sources, compileFlags: about.compileFlags, ...(paths.length > 0 ? { paths: paths.map((p, i) => ({ ...p, ...factsOf(emitted[i]!) })) } : {}), diagnostics: about.diagnostics,
  };
}
