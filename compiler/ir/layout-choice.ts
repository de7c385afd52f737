/** Ways to run a node, and why one was chosen: what the choice of layouts tells the report, and what its user may fix. */
import type { Layout } from './layout.js';
import { layerKey } from './layer-key.js';
import type { Graph, Node, NodeId } from './types.js';

/** How activations lie: row-major, or in tiles whose lanes are pixels or images. */
export type LayoutKind = 'rows' | Layout['over'];

/** Form of straight-line products: machine code, or tables for a loop in C. */
export type StreamForm = 'assembly' | 'tables';

/** One way to run a node, as predicted or measured. */
export interface LayoutOption {
  readonly layout: LayoutKind;
  readonly kernel: string;
  /** Of products in tiles. */
  readonly form?: StreamForm;
  readonly nanoseconds: number;
  /** True where `nanoseconds` was measured on this machine, not predicted. */
  readonly measured?: boolean;
  /** Bytes of code and packed weights. */
  readonly bytes: number;
}

/** An option that was not to be had, and why. */
export interface RejectedOption {
  readonly layout: LayoutKind;
  readonly kernel: string;
  readonly form?: StreamForm;
  readonly reason: string;
}

export const isRejected = (o: LayoutOption | RejectedOption): o is RejectedOption => 'reason' in o;

/** Why a node runs as it does. */
export interface LayoutDecision {
  readonly chosen: LayoutOption;
  readonly others: readonly (LayoutOption | RejectedOption)[];
  /** The best of the node's own options lost where conversions around it would have cost more than it gains. */
  readonly reason: string;
}

export type LayoutDecisions = ReadonlyMap<NodeId, LayoutDecision>;

/** Measured nanoseconds by {@link optionKey}. */
export type MeasuredTimes = ReadonlyMap<string, number>;

/** What an option's time depends on, machine and compiler aside: the layer's content and the way to run it. */
export const optionKey = (graph: Graph, node: Node, option: Pick<LayoutOption, 'layout' | 'form' | 'kernel'>): string =>
  [layerKey(graph, node), option.layout, option.form ?? option.kernel].join('/');

/** What a user says about the choice. */
export interface LayoutSettings {
  /** What the layers made of an ONNX node must run in, by the node's name: `rows`, `tiles`, or the name of a kernel (the first words of it). */
  readonly layouts?: Readonly<Record<string, string>>;
  /** Bytes that the straight-line code of the model may take together, the weights within it included. */
  readonly codeBudget?: number;
  /** What lanes of tiles are; by the number of images where it is not said. */
  readonly lanes?: Layout['over'];
  /** Times that replace predicted ones. */
  readonly measured?: MeasuredTimes;
}
