/** A target: what it wants of the graph, how it runs each node, and the files it emits. */
import type { Graph, Node } from '../compiler/ir/types.js';
import type { Tensor } from '../compiler/ir/tensor.js';
import type { BoundEpilogue, KernelBuilder, TensorRef } from '../compiler/kir/kernel-builder.js';
import type { Stmt } from '../compiler/kir/types.js';
import type { LayoutOption } from '../compiler/ir/layout-choice.js';
import type { LayerChoice, Plan } from '../compiler/plan/types.js';
import type { LayoutModel } from '../passes/select-layout/index.js';
import type { Pass } from '../passes/types.js';

/** One node about to become a kernel. */
export interface KernelRequest {
  readonly graph: Graph;
  readonly node: Node;
  /** Operands as kernel parameters, without the epilogue's. */
  readonly inputs: readonly TensorRef[];
  /** Constant value of each operand, where it has one. */
  readonly constants: readonly (Tensor | undefined)[];
  readonly outputs: readonly TensorRef[];
  readonly epilogue?: BoundEpilogue;
  /** What the choice of layouts decided for the node, where there was one. */
  readonly decided?: LayoutOption;
}

/** A schedule that a target brings for a core operator. */
export interface KernelCandidate {
  readonly choice: LayerChoice;
  /** Predicted time, to choose among candidates. */
  readonly nanoseconds: number;
  /** Bytes of code and packed constants that one run reads; where absent, those of the constant operands. */
  readonly bytes?: number;
  /** Operand index -> the constant in the form that this kernel reads. The parameter keeps its name. Asked of the winner only. */
  pack?(): ReadonlyMap<number, Tensor>;
  build(k: KernelBuilder): readonly Stmt[];
  /** Operands (the epilogue's counted on) whose memory the output may overwrite. */
  readonly inPlace?: readonly number[];
  /** Nodes whose only result is an operand that the kernel computes on the way: they become no step. It asks for their operands with `k.operand`. */
  readonly absorbs?: readonly Node[];
  /** The kernel keeps what its output's layout promises (zeros outside the image, the halo); else the planner adds it. */
  readonly finishes?: boolean;
}

/** Offers candidates for the nodes that it knows; none where it does not apply. */
export interface KernelRule {
  readonly name: string;
  /** Asked about nodes of which an operand or the result lies in tiles, and only about those. */
  readonly tiles?: boolean;
  candidates(request: KernelRequest): readonly KernelCandidate[];
  /** Where a user would expect the kernel and it does not apply: why, for the report. Of kernels on rows. */
  refusals?(request: KernelRequest): readonly Refusal[];
}

export interface Refusal {
  readonly kernel: string;
  readonly reason: string;
}

/** Files by path relative to the output folder. */
export type EmittedFiles = ReadonlyMap<string, string | Uint8Array>;

export interface Target {
  readonly name: string;
  readonly doc: string;
  /** Its own passes (data layout), between the common ones and fusion. */
  readonly passes: readonly Pass[];
  /** Its own passes on the finished graph (how values are stored), after all others. */
  readonly lastPasses?: readonly Pass[];
  readonly kernels: readonly KernelRule[];
  /** What it knows of activations in tiles; absent where everything is row-major. */
  readonly layouts?: LayoutModel;
  /** Where everything is row-major: ways to run a node, for the report and for --layout. */
  readonly rows?: LayoutModel['rows'];
  /** Alignment of the arena and of constants, in bytes. */
  readonly alignment: number;
  /** True where a kernel may write its output straight over an operand (needs one memory for all steps). */
  readonly inPlace: boolean;
  /** Flags that the emitted code should be compiled with (manifest.json, the Node loader). */
  readonly compileFlags: readonly string[];
  emit(plan: Plan, options: EmitOptions): EmittedFiles;
  /** Present on a target that is several in one library, of which one is taken when a model is created; beside this it is like the first of them. */
  readonly paths?: TargetPaths;
}

/** Targets whose code lies in one library, the best first. */
export interface TargetPaths {
  /** `arch` tells one from the other. */
  readonly targets: readonly { readonly arch: string; readonly target: Target }[];
  /** Files from one plan a target. */
  emit(plans: readonly Plan[], options: EmitOptions): EmittedFiles;
}

export interface EmitOptions {
  /** C identifier that every emitted symbol begins with. */
  readonly name: string;
  /** Lines for the head of every file: producer, flags, model hash. */
  readonly header: readonly string[];
  readonly weights: 'auto' | 'embed' | 'file';
  /** Straight-line code as bytes of a binary file, or as instructions to read. */
  readonly asm?: 'binary' | 'text';
  /** Told the bytes of code and tables of every step that has some beside its C, weights within them included; `path`: of which plan, where there are several. */
  readonly onCode?: (step: number, bytes: number, path?: number) => void;
}
