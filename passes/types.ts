import type { Graph } from '../compiler/ir/types.js';
import type { Diagnostic } from '../compiler/diagnostics/diagnostic.js';

export interface PassContext {
  /** Told of notes and warnings. */
  report(d: Diagnostic): void;
}

/** A pure function from graph to graph. */
export interface Pass {
  /** Also its name on the command line. */
  readonly name: string;
  /** One line for docs and `--time-passes`. */
  readonly doc: string;
  run(graph: Graph, ctx: PassContext): Graph;
}

export const definePass = (pass: Pass): Pass => pass;
