/** ONNX's backend tests in the reference evaluator: what an operator means, before any pass or back end is involved. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { importModel } from '../../compiler/onnx/import.js';
import { decodeMessage } from '../../compiler/onnx/proto.js';
import { evaluateGraph } from '../../compiler/kir/evaluate.js';
import { compareTensors, onnxTolerance } from '../support/compare.js';
import { conformanceCases, conformanceRoot, dataSets, modelPath, type ConformanceCase } from '../support/conformance-data.js';
import { evaluateCase } from '../support/conformance-eval.js';
import { loadOnnxRuntime, runOnnxRuntime } from '../support/onnxruntime.js';
import { disputed } from './disputed.js';

const root = conformanceRoot();
if (root === undefined) console.warn('conformance data is absent: set SPC_CONFORMANCE_DATA to a folder or .tar.gz archive of ONNX backend tests, or install libonnx-testdata');

const isDisputed = (c: ConformanceCase): boolean => disputed[`${c.suite}/${c.name}`] !== undefined;

/** Suites, and the share of their cases that must pass (archives differ in size; what is missing is mostly strings and sequences). */
const suites = [['node', 0.75], ['simple', 0.2], ['pytorch-operator', 0.95], ['pytorch-converted', 0.95]] as const;

for (const [suite, share] of suites) {
  test.skipIf(root === undefined)(`${suite}: cases pass or are refused for a stated reason`, { timeout: 300_000 }, () => {
    const results = conformanceCases(root!, [suite]).map(evaluateCase);
    const failures = results.flatMap(({ case: c, outcome: o }) => (o.status === 'fail' && !isDisputed(c) ? [`${c.name}: ${o.message}`] : []));
    expect(failures).toEqual([]);
    const passed = results.filter((r) => r.outcome.status === 'pass' || r.outcome.status === 'pass-bound');
    expect(passed.length).toBeGreaterThanOrEqual(share * results.length);
  });
}

const ort = loadOnnxRuntime();
/** ONNX Runtime has no QLinearMatMul with scales in half precision. */
const beyondOnnxRuntime = /_float16$/;

test.skipIf(root === undefined || ort === undefined)('disputed cases are what ONNX Runtime computes', async () => {
  const cases = conformanceCases(root!, ['node']).filter((c) => isDisputed(c) && !beyondOnnxRuntime.test(c.name));
  for (const c of cases) {
    const bytes = readFileSync(modelPath(c)), names = decodeMessage('ModelProto', bytes).graph!.input.map((i) => i.name);
    const inputs = dataSets(c)[0]!.inputs.flatMap((i) => ('tensor' in i ? [i.tensor] : []));
    const [expected] = Object.values(await runOnnxRuntime(ort!, bytes, Object.fromEntries(names.map((name, i) => [name, inputs[i]!]))));
    const [actual] = evaluateGraph(importModel({ bytes }).graph, inputs);
    expect(compareTensors(actual!, expected!, onnxTolerance(expected!.dtype)).problem, c.name).toBeUndefined();
  }
});
