/**
 * npm run conformance -- [--only TEXT] [--suite NAME] [--cpu NAME] [--cc COMPILER] [--optimise -O1] [--sanitize] [--keep] [--jobs N]
 *
 * A run of everything writes build/conformance.json and docs/ops.md. Exit status 1 where a case fails.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import type { CpuName } from '../../backends/cpu/target.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { conformanceCases, conformanceRoot } from '../support/conformance-data.js';
import { failures, jsonReport, operatorsDocument, summary } from './report.js';
import { runConformance } from './run.js';

interface Flags {
  readonly only?: string;
  readonly suite?: string;
  readonly cpu: CpuName;
  readonly cc: string;
  readonly optimise: string;
  readonly sanitize?: boolean;
  readonly keep?: boolean;
  readonly jobs: string;
}

const flags = new Command('conformance')
  .option('--only <text>', 'cases whose suite/name contains this')
  .option('--suite <name>', 'one suite')
  .option('--cpu <name>', 'native, x86-64-v4, x86-64-v3 or generic', 'native')
  .option('--cc <compiler>', 'C compiler', 'gcc')
  .option('--optimise <flag>', 'in place of -O3', '-O1')
  .option('--sanitize', 'with AddressSanitizer and UndefinedBehaviorSanitizer')
  .option('--keep', 'keep the emitted code')
  .option('--jobs <n>', 'C compilers at a time', '2')
  .parse().opts<Flags>();

const root = conformanceRoot();
if (root === undefined) {
  console.error('No conformance data: set SPC_CONFORMANCE_DATA to a folder or .tar.gz of ONNX backend tests, or install Debian\'s libonnx-testdata.');
  process.exit(2);
}
const everything = flags.only === undefined && flags.suite === undefined;
const cases = conformanceCases(root).filter((c) => (flags.suite ?? c.suite) === c.suite && `${c.suite}/${c.name}`.includes(flags.only ?? ''));
const began = Date.now();
const results = await runConformance(cases, {
  cpu: flags.cpu, cc: flags.cc, optimise: flags.optimise, jobs: Number(flags.jobs), ...(flags.sanitize ? { sanitize: true } : {}), ...(flags.keep ? { keep: true } : {}),
  onProgress: (done, of, what) => { if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${done}/${of} ${what}`); },
});
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');

const failed = failures(results);
for (const line of failed) console.log(line);
if (!everything) for (const r of results) if (r.outcome.status === 'unsupported') console.log(`${r.suite}/${r.name} unsupported ${r.outcome.code}: ${r.outcome.message}`);
console.log(summary(results));
console.log(`${((Date.now() - began) / 1000).toFixed(0)} s`);

mkdirSync(join(packageRoot(), 'build'), { recursive: true });
if (everything) {
  writeFileSync(join(packageRoot(), 'build', 'conformance.json'), jsonReport(results));
  // the document is about the archive that a checkout is tested with, not about one named for this run
  if (!process.env['SPC_CONFORMANCE_DATA']) writeFileSync(join(packageRoot(), 'docs', 'ops.md'), operatorsDocument(results));
}
process.exitCode = failed.length ? 1 : 0;
