/** What select-layout asks of a target, and what it tells about its choices. */
import type { Layout } from '../../compiler/ir/layout.js';
import type { Graph, Node, NodeId, TensorType } from '../../compiler/ir/types.js';

/** How activations lie: row-major, or in tiles whose lanes are pixels or images. */
export type LayoutKind = 'rows' | Layout['over'];

/** One way to run a node, as predicted. */
export interface LayoutOption {
  readonly layout: LayoutKind;
  readonly kernel: string;
  readonly nanoseconds: number;
  /** Bytes of code and packed weights. */
  readonly bytes: number;
}

/** An option that was not to be had, and why. */
export interface RejectedOption {
  readonly layout: LayoutKind;
  readonly kernel: string;
  readonly reason: string;
}

/** Why a node runs as it does. */
export interface LayoutDecision {
  readonly chosen: LayoutOption;
  readonly others: readonly (LayoutOption | RejectedOption)[];
  /** The best of the node's own options lost where conversions around it would have cost more than it gains. */
  readonly reason: string;
}

export type LayoutDecisions = ReadonlyMap<NodeId, LayoutDecision>;

export interface LayoutModel {
  /** The node with row-major operands. */
  rows(graph: Graph, node: Node): LayoutOption;
  /** The node in tiles; operands and results are of the same kind, those of a reduction over pixels excepted. */
  tiles(graph: Graph, node: Node, over: Layout['over']): LayoutOption | RejectedOption;
  /** Nanoseconds to bring a tensor from one kind to another. */
  conversion(type: TensorType): number;
  /** Epilogues that a product can apply in tiles; what is more becomes a node of its own. */
  epilogueFits(graph: Graph, node: Node): boolean;
  /** True where the code of the node may be repeated for each of `phases`^2 output phases. */
  phasesFit(graph: Graph, node: Node, phases: number): boolean;
}
