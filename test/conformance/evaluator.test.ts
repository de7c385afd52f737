/** ONNX's backend tests in the reference evaluator: what an operator means, before any pass or back end is involved. */
import { expect, test } from 'vitest';
import { conformanceCases, conformanceRoot } from '../support/conformance-data.js';
import { evaluateCase } from '../support/conformance-eval.js';

const root = conformanceRoot();
if (root === undefined) console.warn('conformance data is absent: set SPC_CONFORMANCE_DATA to a folder or .tar.gz archive of ONNX backend tests, or install libonnx-testdata');

const suites = [['node', 700], ['simple', 5], ['pytorch-operator', 30], ['pytorch-converted', 70]] as const;

for (const [suite, atLeast] of suites) {
  test.skipIf(root === undefined)(`${suite}: cases pass or are refused for a stated reason`, { timeout: 300_000 }, () => {
    const results = conformanceCases(root!, [suite]).map(evaluateCase);
    const failures = results.flatMap(({ case: c, outcome: o }) => (o.status === 'fail' ? [`${c.name}: ${o.message}`] : []));
    expect(failures).toEqual([]);
    const passed = results.filter((r) => r.outcome.status !== 'unsupported');
    expect(passed.length).toBeGreaterThanOrEqual(atLeast);
  });
}
