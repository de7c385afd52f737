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

/** Half of the node suite, more than its 700 of the target. */
const WANTED_SHARE = 0.6;

test.skipIf(absent)(`ONNX backend tests on the CPU target${absent ? `: ${absent}` : ''}`, { timeout: 1_200_000 }, async () => {
  const results = await runConformance(conformanceCases(root!));
  console.log(summary(results));
  expect(failures(results)).toEqual([]);
  const node = results.filter((r) => r.suite === 'node');
  const { pass, 'pass-bound': bound } = countsOf(node);
  expect(pass + bound).toBeGreaterThanOrEqual(Math.floor(node.length * WANTED_SHARE));

  const document = join(packageRoot(), 'docs', 'ops.md');
  const written = existsSync(document) ? readFileSync(document, 'utf8') : '';
  // another archive has other cases: the document is not about those
  if (written === '' || written.includes(`Cases ${casesHash(results)}.`)) {
    expect(operatorsDocument(results) === written, 'docs/ops.md is stale: run `npm run conformance`').toBe(true);
  }
});
