/** Runs passes in order: checks, times and prints as asked, and turns a crash into a diagnostic with a reproducer. */
import { SpcError, type Diagnostic } from '../compiler/diagnostics/diagnostic.js';
import { formatGraph } from '../compiler/ir/print.js';
import type { Graph } from '../compiler/ir/types.js';
import { verifyGraph } from '../compiler/ir/verify.js';
import type { Pass } from './types.js';

export interface PassOptions {
  /** Names of passes after which to print; `change` prints after those that changed something. */
  readonly printIrAfter?: readonly string[] | 'all' | 'change';
  /** Receives printed IR. */
  readonly onPrint?: (pass: string, text: string) => void;
  /** Verify the graph after each pass. */
  readonly verifyEach?: boolean;
  /** Measure each pass (`PassRun.milliseconds`). */
  readonly timePasses?: boolean;
  /** Name of the last pass to run. */
  readonly stopAfter?: string;
  /** Keep the real weights in a reproducer; otherwise they are elided and read back as seeded random ones. */
  readonly reproducerWeights?: boolean;
  /** Told of each diagnostic as it comes. */
  readonly onReport?: (d: Diagnostic) => void;
}

export interface PassRun {
  readonly name: string;
  readonly changed: boolean;
  readonly nodes: number;
  /** Wall time; present with `timePasses`. */
  readonly milliseconds?: number;
}

export interface PassResult {
  readonly graph: Graph;
  readonly diagnostics: readonly Diagnostic[];
  readonly runs: readonly PassRun[];
}

/** Text of a file that shows the failure again: what was left to do, and the graph to do it on. */
export interface Reproducer {
  readonly pass: string;
  /** The failing pass and all after it. */
  readonly pipeline: readonly string[];
  readonly text: string;
}

/** A pass failed: a bug in spc. The driver writes the reproducer to a file and names it. */
export class PassFailure extends SpcError {
  constructor(diagnostics: readonly Diagnostic[], readonly reproducer: Reproducer, cause: unknown) {
    super(diagnostics);
    this.name = 'PassFailure';
    this.cause = cause;
  }
}

function failure(graph: Graph, passes: readonly Pass[], diagnostics: readonly Diagnostic[], options: PassOptions, cause: unknown): PassFailure {
  const names = passes.map((p) => p.name);
  const text = `// pipeline: ${names.join(',')}\n${formatGraph(graph, { constants: options.reproducerWeights ? 'all' : 'small' })}`;
  return new PassFailure(diagnostics, { pass: names[0]!, pipeline: names, text }, cause);
}

const bug = (pass: Pass, message: string): Diagnostic => ({
  code: 'SPC9005', severity: 'error', message: `pass ${pass.name}: ${message}`,
  hint: 'this is a bug in spc; the reproducer shows it without the model',
});

/**
 * Runs `passes` on `graph`.
 * @throws SpcError as a pass reports it (the user's model); PassFailure for everything else
 */
export function runPasses(graph: Graph, passes: readonly Pass[], options: PassOptions = {}): PassResult {
  const { printIrAfter, stopAfter } = options;
  for (const name of [...(Array.isArray(printIrAfter) ? (printIrAfter as readonly string[]) : []), ...(stopAfter !== undefined ? [stopAfter] : [])]) {
    if (!passes.some((p) => p.name === name)) {
      throw new SpcError([{ code: 'SPC1091', severity: 'error', message: `there is no pass '${name}'`, hint: `passes: ${[...new Set(passes.map((p) => p.name))].join(', ')}` }]);
    }
  }
  const diagnostics: Diagnostic[] = [], runs: PassRun[] = [];
  const report = (d: Diagnostic): void => { diagnostics.push(d); options.onReport?.(d); };
  let current = graph;
  for (const [i, pass] of passes.entries()) {
    const start = performance.now();
    let next: Graph;
    try {
      next = pass.run(current, { report });
    } catch (e) {
      if (e instanceof SpcError) throw e;
      throw failure(current, passes.slice(i), [bug(pass, e instanceof Error ? e.message : String(e))], options, e);
    }
    const milliseconds = performance.now() - start;
    if (options.verifyEach && next !== current) {
      const problems = verifyGraph(next);
      if (problems.length > 0) throw failure(current, passes.slice(i), [bug(pass, 'left a malformed graph'), ...problems], options, undefined);
    }
    const changed = next !== current;
    runs.push({ name: pass.name, changed, nodes: next.nodes.length, ...(options.timePasses ? { milliseconds } : {}) });
    if (printIrAfter === 'all' || (printIrAfter === 'change' && changed) || (Array.isArray(printIrAfter) && printIrAfter.includes(pass.name))) {
      options.onPrint?.(pass.name, formatGraph(next));
    }
    current = next;
    if (pass.name === stopAfter && !passes.slice(i + 1).some((p) => p.name === stopAfter)) break;
  }
  return { graph: current, diagnostics, runs };
}
