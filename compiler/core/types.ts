/**
 * A core operator: what targets know. Many ONNX operators become few of these (compiler/ops). Each defines its types and its
 * meaning as kernel IR once; a target prints that, or brings a better schedule for the hot ones.
 */
import type { TensorType } from '../ir/types.js';
import type { KernelBuilder, TensorRef } from '../kir/kernel-builder.js';
import type { Stmt } from '../kir/types.js';

export interface CoreOp<A> {
  /** One line for docs and generated comments. */
  readonly doc: string;
  /** Output types; throws NodeProblem where the inputs do not fit. */
  infer(attrs: A, inputs: readonly TensorType[]): readonly TensorType[];
  /**
   * The meaning as kernel IR. Store results with `k.store` (it applies the node's epilogue to output 0). `inputs` are the
   * node's operands without the epilogue's. Loops over independent output elements are marked parallel (k.forEach does).
   * An `alias` is lowered to a copy, for where its result must have memory of its own.
   */
  lower(k: KernelBuilder, attrs: A, inputs: readonly TensorRef[], outputs: readonly TensorRef[]): readonly Stmt[];
  /** The output is input 0's memory under another shape. */
  readonly alias?: boolean;
  /**
   * Operands whose memory output 0 may overwrite, because element i is read (in the same iteration) before output element i
   * is written and never afterwards. Only asked where types and sizes agree.
   */
  inPlace?(attrs: A, inputs: readonly TensorType[]): readonly number[];
  /** Multiply-accumulates, where the operator is made of them. */
  macs?(attrs: A, inputs: readonly TensorType[], outputs: readonly TensorType[]): number;
  /** Constant operands are not a reason to compute it while the graph is built: passes look for it first. */
  readonly foldLate?: boolean;
  /** False where an epilogue cannot be applied (default true for operators with one output). */
  readonly epilogue?: boolean;
}

/** Checks the attributes' type at the definition. */
export const defineCoreOp = <A>(op: CoreOp<A>): CoreOp<A> => op;
