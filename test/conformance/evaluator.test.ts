/** ONNX's backend tests in the reference evaluator: what an operator means, before any pass or back end is involved. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { importModel } from '../../compiler/onnx/import.js';
import { decodeMessage } from '../../compiler/onnx/proto.js';
import { evaluateGraph } from '../../compiler/kir/evaluate.js';
import { compareTensors, onnxTolerance } from '../support/compare.js';
import { conformanceCases, conformanceRoot, dataSets, disputedCases, modelPath } from '../support/conformance-data.js';
import { evaluateCase } from '../support/conformance-eval.js';
import { loadOnnxRuntime, runOnnxRuntime } from '../support/onnxruntime.js';

const root = conformanceRoot();
if (root === undefined) console.warn('conformance data is absent: set SPC_CONFORMANCE_DATA to a folder or .tar.gz archive of ONNX backend tests, or install libonnx-testdata');

const suites = [['node', 700], ['simple', 5], ['pytorch-operator', 30], ['pytorch-converted', 70]] as const;

for (const [suite, atLeast] of suites) {
  test.skipIf(root === undefined)(`${suite}: cases pass or are refused for a stated reason`, { timeout: 300_000 }, () => {
    const results = conformanceCases(root!, [suite]).map(evaluateCase);
    const failures = results.flatMap(({ case: c, outcome: o }) => (o.status === 'fail' ? [`${c.name}: ${o.message}`] : []));
    expect(failures).toEqual([]);
    const passed = results.filter((r) => r.outcome.status === 'pass' || r.outcome.status === 'pass-bound');
    expect(passed.length).toBeGreaterThanOrEqual(atLeast);
  });
}

const ort = loadOnnxRuntime();
/** ONNX Runtime has no QLinearMatMul with scales in half precision. */
const beyondOnnxRuntime = /_float16$/;

test.skipIf(root === undefined || ort === undefined)('disputed cases are what ONNX Runtime computes', async () => {
  const cases = conformanceCases(root!, ['node']).filter((c) => disputedCases.has(c.name) && !beyondOnnxRuntime.test(c.name));
  for (const c of cases) {
    const bytes = readFileSync(modelPath(c)), names = decodeMessage('ModelProto', bytes).graph!.input.map((i) => i.name);
    const inputs = dataSets(c)[0]!.inputs.flatMap((i) => ('tensor' in i ? [i.tensor] : []));
    const [expected] = Object.values(await runOnnxRuntime(ort!, bytes, Object.fromEntries(names.map((name, i) => [name, inputs[i]!]))));
    const [actual] = evaluateGraph(importModel({ bytes }).graph, inputs);
    expect(compareTensors(actual!, expected!, onnxTolerance(expected!.dtype)).problem, c.name).toBeUndefined();
  }
});
