/** ONNX's own backend tests, all of them: none may fail, and those that spc refuses must be refused with a diagnostic. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { conformanceCases, conformanceRoot } from '../support/conformance-data.js';
import { hasTool } from '../support/processes.js';
import { casesHash, countsOf, failures, operatorsDocument, summary } from './report.js';
import { runConformance } from './run.js';

const root = conformanceRoot();
const absent = root === undefined ? 'no conformance data (SPC_CONFORMANCE_DATA)' : hasTool('gcc') ? undefined : 'no gcc';

/** Share of the node suite that has to pass: what it is, less a few cases for archives with other operators. */
const WANTED_SHARE = 0.8;

test.skipIf(absent)(`ONNX backend tests on the CPU target${absent ? `: ${absent}` : ''}`, { timeout: 1_200_000 }, async () => {
  const results = await runConformance(conformanceCases(root!));
  console.log(summary(results));
  expect(failures(results)).toEqual([]);
  const node = results.filter((r) => r.suite === 'node');
  const { pass, 'pass-bound': bound, disputed } = countsOf(node);
  expect(disputed).toBeLessThanOrEqual(5);
  expect(pass + bound).toBeGreaterThanOrEqual(Math.floor(node.length * WANTED_SHARE));

  const document = join(packageRoot(), 'docs', 'ops.md');
  const written = existsSync(document) ? readFileSync(document, 'utf8') : '';
  // another archive has other cases: the document is not about those
  if (written === '' || written.includes(`Cases ${casesHash(results)}.`)) {
    expect(operatorsDocument(results) === written, 'docs/ops.md is stale: run `npm run conformance`').toBe(true);
  }
});

test.skipIf(absent || !process.env['SPC_TEST_ALL']).each([
  { cpu: 'generic', cc: 'gcc', optimise: '-O1', sanitize: true },
  { cpu: 'x86-64-v3', cc: 'gcc', optimise: '-O3', sanitize: false },
  { cpu: 'generic', cc: 'clang', optimise: '-O2', sanitize: false },
] as const)('the same with $cc $optimise for $cpu, sanitizers: $sanitize (SPC_TEST_ALL)', { timeout: 1_200_000 }, async (options) => {
  expect(failures(await runConformance(conformanceCases(root!), options))).toEqual([]);
});
