#!/usr/bin/env node
/** The command line: builds the parser from the tables of verbs and flags, and turns every ending into an exit code. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { SpcError, type Diagnostic } from '../diagnostics/diagnostic.js';
import { packageRoot } from '../emit/runtime-files.js';
import { exitCodeFor, exitCodes, type ExitCode } from './exit-codes.js';
import { BadFlagValue, commonFlags, flags, type Flag, type FlagName, type FlagValues } from './flags.js';
import { writeReproducer } from './reproducer.js';
import { createTerminal } from './terminal.js';
import { verbs } from './verbs.js';
import type { Outcome, Verb } from './verb.js';

/** Version of the --json documents. */
const SCHEMA_VERSION = 1;

const version = (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }).version;

function optionFor(name: FlagName): Option {
  const { syntax, doc, parse, fallback, bare } = flags[name] as Flag<unknown>;
  const option = new Option(syntax, fallback === undefined ? doc : `${doc} (default: ${fallback})`);
  if (parse) {
    option.argParser((text: string, previous: unknown) => {
      try {
        return parse(text, previous);
      } catch (error) {
        if (error instanceof BadFlagValue) throw new InvalidArgumentError(error.message);
        throw error;
      }
    });
  }
  return bare === undefined ? option : option.preset(bare);
}

/** One document a run, success or not. 64-bit integers become strings only where a number would lose digits. */
function jsonDocument(verb: string | undefined, exitCode: ExitCode, outcome: Partial<Outcome>): string {
  const document = { schemaVersion: SCHEMA_VERSION, spc: version, command: verb ?? null, exitCode, ...outcome.result, diagnostics: outcome.diagnostics ?? [] };
  const text = JSON.stringify(document, (_, x: unknown) => (typeof x === 'bigint' ? (Number.isSafeInteger(Number(x)) ? Number(x) : x.toString()) : x), 2);
  // Lists of numbers on one line. A line break is never part of a JSON string, so only lists can match.
  return `${text.replace(/\[\n([^[\]{}"]*)\n\s*\]/g, (_, items: string) => `[${items.trim().replace(/\s*\n\s*/g, ' ')}]`)}\n`;
}

async function runVerb(verb: Verb, args: readonly string[], values: FlagValues): Promise<ExitCode> {
  const terminal = createTerminal(values);
  let outcome: Partial<Outcome>, exitCode: ExitCode;
  try {
    const { run } = await verb.load();
    outcome = await run(args, values, terminal);
    exitCode = outcome.exitCode ?? exitCodes.ok;
  } catch (error) {
    const diagnostics = diagnosticsOf(error);
    outcome = { diagnostics };
    exitCode = exitCodeFor(diagnostics);
    if (process.env['SPC_DEBUG'] && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  }
  terminal.settle();
  for (const d of outcome.diagnostics ?? []) terminal.report(d);
  if (values.json) process.stdout.write(jsonDocument(verb.name, exitCode, outcome));
  return exitCode;
}

/** What to say about whatever was thrown; anything unforeseen is a bug, and leaves a file to report it with. */
function diagnosticsOf(error: unknown): readonly Diagnostic[] {
  const known = error instanceof SpcError ? error.diagnostics : [];
  if (error instanceof SpcError && exitCodeFor(known) !== exitCodes.bug) return known;
  const path = writeReproducer(error, version);
  return [...known, {
    code: 'SPC9000', severity: 'error', message: known.length > 0 ? 'spc stopped because of a bug in itself' : `internal error: ${error instanceof Error ? error.message : String(error)}`,
    hint: path ? `please report it with ${path}` : 'please report it with the command and the model',
  }];
}

function buildProgram(finish: (code: ExitCode) => void): Command {
  const program = new Command('spc')
    .description('The compiler for sparse neural networks: ONNX in, specialised C, CUDA and HLS source out.')
    .version(version).showHelpAfterError('(add --help for help)').showSuggestionAfterError().exitOverride();
  for (const verb of verbs) {
    const command = program.command(verb.name).summary(verb.summary).description(`${verb.summary[0]!.toUpperCase()}${verb.summary.slice(1)}.`);
    for (const a of verb.args) command.argument(a.syntax, a.doc);
    for (const f of [...new Set([...verb.flags, ...commonFlags])]) command.addOption(optionFor(f));
    command.addHelpText('after', `\nExamples:\n${verb.examples.map((e) => `  ${e}`).join('\n')}`);
    command.allowExcessArguments(false);
    command.action(async (...all: unknown[]) => finish(await runVerb(verb, all.slice(0, verb.args.length).filter((a) => typeof a === 'string'), command.opts())));
  }
  return program;
}

async function main(argv: readonly string[]): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  try {
    await buildProgram((code) => { exitCode = code; }).parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return exitCodes.ok;
    if (argv.includes('--json')) {
      const message = error.message.replace(/^error: /, '');
      process.stdout.write(jsonDocument(undefined, exitCodes.usage, { diagnostics: [{ code: 'SPC6001', severity: 'error', message }] }));
    }
    return exitCodes.usage;
  }
  return exitCode;
}

// A reader that has seen enough (`spc ops | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => { if (error.code === 'EPIPE') process.exit(exitCodes.ok); });
process.exitCode = await main(process.argv);
