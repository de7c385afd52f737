/** Ways to run a node, and why one was chosen: what the choice of layouts tells the report. */
import type { Layout } from './layout.js';
import type { NodeId } from './types.js';

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
