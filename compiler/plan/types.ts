/**
 * The plan: what a target runs, in order, on which memory. The last form that all targets share; manifest.json is its summary.
 */
import type { Tensor } from '../ir/tensor.js';
import type { NodeId, Origin, TensorType, ValueId } from '../ir/types.js';
import type { LayoutDecision } from '../ir/layout-choice.js';
import type { Kernel, KernelParam } from '../kir/types.js';

/** Where a kernel argument lies. Offsets are in bytes. */
export type BufferRef =
  | { readonly kind: 'input'; readonly index: number; readonly offset: number }
  | { readonly kind: 'output'; readonly index: number; readonly offset: number }
  | { readonly kind: 'constant'; readonly index: number; readonly offset: number }
  | { readonly kind: 'arena'; readonly offset: number; /** The value there; absent for scratch. */ readonly value?: ValueId };

/** How a layer is executed, and why; what the report and manifest.json show. */
export interface LayerChoice {
  /** sparse-kernel | dense-kernel: a schedule made for the shape; reference: the operator's generic loop nest. */
  readonly status: 'sparse-kernel' | 'dense-kernel' | 'reference';
  /** Kernel family, e.g. `gemm 6x32 avx512`. */
  readonly kernel: string;
  readonly reason: string;
  /** What else could have run it, and why that lost. */
  readonly decision?: LayoutDecision;
}

export interface PlanStep {
  readonly kernel: Kernel;
  /** One a kernel parameter, in order. */
  readonly args: readonly BufferRef[];
  readonly node: NodeId;
  readonly kind: string;
  readonly origins: readonly Origin[];
  readonly choice: LayerChoice;
  readonly macs: number;
  /** Constant factors (matrix, filters) of a product. Zeros are counted as its kernels may skip them. */
  readonly weights?: { readonly elements: number; readonly nonZeros: number };
  /** Predicted or measured time, where there is one. */
  readonly nanoseconds?: number;
  /** Value that the step computes, for profiles and bisecting. */
  readonly outputs: readonly ValueId[];
}

export interface PlanPort {
  readonly name: string;
  readonly type: TensorType;
}

/** A constant in the form in which the target reads it (packed where a kernel asked for it). */
export interface PlanConstant {
  /** A valid C identifier, unique in the plan. */
  readonly name: string;
  readonly tensor: Tensor;
  readonly origin: string;
}

export interface Plan {
  readonly model: string;
  readonly target: string;
  readonly inputs: readonly PlanPort[];
  readonly outputs: readonly PlanPort[];
  readonly constants: readonly PlanConstant[];
  readonly steps: readonly PlanStep[];
  /** Working memory in bytes, and what it would be if no two tensors shared any. */
  readonly arenaBytes: number;
  readonly unsharedBytes: number;
  readonly alignment: number;
}

/** Multiply-adds on weights that are not zero: each weight takes part in as many as any other. */
export const nonZeroMacs = ({ macs, weights }: Pick<PlanStep, 'macs' | 'weights'>): number => (weights && weights.elements > 0 ? Math.round((macs * weights.nonZeros) / weights.elements) : macs);

/** True where the planner made a step write over one of its own operands: its pointers may not be declared `restrict`. */
export function worksInPlace(step: PlanStep): boolean {
  const key = (r: BufferRef): string => (r.kind === 'arena' ? `arena ${r.offset}` : `${r.kind} ${r.index}`);
  const keysOf = (...roles: KernelParam['role'][]): string[] =>
    step.kernel.params.flatMap((p, i) => (roles.includes(p.role) ? [key(step.args[i]!)] : []));
  const written = keysOf('out', 'scratch');
  return keysOf('in').some((k) => written.includes(k));
}
