/** The conformance runner itself: each way in which a case can end, on cases made here. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { tensorOf, type Tensor } from '../../compiler/ir/tensor.js';
import { encodeMessage } from '../../compiler/onnx/proto.js';
import { conformanceCases } from '../support/conformance-data.js';
import { node, onnxModel, tensorProto, type ModelSpec } from '../support/onnx-builder.js';
import { hasTool } from '../support/processes.js';
import { countsOf, failures, jsonReport, operatorsDocument } from './report.js';
import { runConformance } from './run.js';

const root = mkdtempSync(join(tmpdir(), 'spc-runner-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function addCase(name: string, model: ModelSpec, inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
  const set = join(root, 'node', name, 'test_data_set_0');
  mkdirSync(set, { recursive: true });
  writeFileSync(join(root, 'node', name, 'model.onnx'), onnxModel(model));
  inputs.forEach((t, i) => writeFileSync(join(set, `input_${i}.pb`), encodeMessage('TensorProto', tensorProto(t))));
  outputs.forEach((t, i) => writeFileSync(join(set, `output_${i}.pb`), encodeMessage('TensorProto', tensorProto(t))));
}

const x = tensorOf('f32', [4], [1, -2, 3, -4]), vector = { dtype: 'f32', shape: [4] } as const;
const relu: ModelSpec = { nodes: [node('Relu', ['x'], ['y'])], inputs: { x: vector }, outputs: { y: vector } };
const reshape: ModelSpec = {
  nodes: [node('Reshape', ['x', 'shape'], ['y'])],
  inputs: { x: vector, shape: { dtype: 'i64', shape: [2] } }, outputs: { y: { dtype: 'f32', shape: [2, 2] } },
};
addCase('right', relu, [x], [tensorOf('f32', [4], [1, 0, 3, 0])]);
addCase('wrong_value', relu, [x], [tensorOf('f32', [4], [1, 0, 3, 1])]);
addCase('wrong_shape', relu, [x], [tensorOf('f32', [2, 2], [1, 0, 3, 0])]);
addCase('bound', reshape, [x, tensorOf('i64', [2], [2, 2])], [tensorOf('f32', [2, 2], [1, -2, 3, -4])]);
addCase('symbolic', { ...relu, inputs: { x: { dtype: 'f32', shape: ['n'] } }, outputs: { y: { dtype: 'f32', shape: ['n'] } } }, [x], [tensorOf('f32', [4], [1, 0, 3, 0])]);
addCase('misfit', relu, [tensorOf('f32', [3], [1, 2, 3])], [tensorOf('f32', [3], [1, 2, 3])]);
addCase('unknown_operator', { ...relu, nodes: [node('NoSuchOperator', ['x'], ['y'])] }, [x], [x]);
addCase('blamed_wrongly', { ...relu, nodes: [node('Relu', ['z'], ['y'])] }, [x], [x]);

test.skipIf(!hasTool('gcc'))('every case ends in one of the stated ways, for a stated reason', async () => {
  const results = await runConformance(conformanceCases(root, ['node']));
  const outcome = Object.fromEntries(results.map((r) => [r.name, r.outcome]));
  expect(outcome['right']).toEqual({ status: 'pass' });
  expect(outcome['symbolic']).toEqual({ status: 'pass' });
  expect(outcome['bound']).toEqual({ status: 'pass-bound', bound: ['shape'] });
  expect(outcome['wrong_value']).toMatchObject({ status: 'fail', phase: 'compare', message: expect.stringContaining('element 3 is 0, expected 1') as unknown });
  expect(outcome['wrong_shape']).toMatchObject({ status: 'fail', phase: 'compare', message: expect.stringContaining('f32[4], expected f32[2,2]') as unknown });
  expect(outcome['misfit']).toEqual({ status: 'disputed', reason: "the data of input 'x' are f32[3], the model declares f32[4]" });
  expect(outcome['unknown_operator']).toMatchObject({ status: 'unsupported', code: 'SPC1003', op: 'NoSuchOperator' });
  // a diagnostic that finds fault with the model is no "unsupported"
  expect(outcome['blamed_wrongly']).toMatchObject({ status: 'fail', phase: 'compile', message: expect.stringContaining('SPC1008') as unknown });

  expect(countsOf(results)).toEqual({ pass: 2, 'pass-bound': 1, disputed: 1, unsupported: 1, fail: 3 });
  expect(failures(results).map((f) => f.split(' ')[0])).toEqual(['node/blamed_wrongly', 'node/wrong_shape', 'node/wrong_value']);
  expect(operatorsDocument(results)).toContain('| NoSuchOperator | ai.onnx | 17 | 1 |');
  expect(operatorsDocument(results)).toBe(operatorsDocument(results));
  expect((JSON.parse(jsonReport(results)) as { results: unknown[] }).results).toHaveLength(8);
}, 60_000);
