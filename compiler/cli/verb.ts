import type { Diagnostic } from '../diagnostics/diagnostic.js';
import type { ExitCode } from './exit-codes.js';
import type { FlagName, FlagValues } from './flags.js';
import type { Terminal } from './terminal.js';

export interface Outcome {
  /** 0 where absent. */
  readonly exitCode?: ExitCode;
  /** The verb's part of the --json document. */
  readonly result: Readonly<Record<string, unknown>>;
  /** Notes and warnings; errors are thrown. */
  readonly diagnostics?: readonly Diagnostic[];
}

export type RunVerb = (args: readonly string[], flags: FlagValues, terminal: Terminal) => Promise<Outcome>;

export interface Verb {
  readonly name: string;
  readonly summary: string;
  /** As commander takes them: `<model>`, `[name]`. */
  readonly args: readonly { readonly syntax: string; readonly doc: string }[];
  readonly flags: readonly FlagName[];
  readonly examples: readonly string[];
  /** Loads the verb's code only when it is used. */
  readonly load: () => Promise<{ readonly run: RunVerb }>;
}
