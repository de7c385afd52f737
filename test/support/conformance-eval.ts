/** Runs ONNX's backend tests in the reference evaluator: import, evaluate, compare; no passes, no plan, no C. */
import type { Tensor } from '../../compiler/ir/tensor.js';
import { valueOf, type Graph } from '../../compiler/ir/types.js';
import { evaluateGraph } from '../../compiler/kir/evaluate.js';
import { importModel } from '../../compiler/onnx/import.js';
import { attemptCase, type OperatorUse, type Outcome } from '../conformance/case.js';
import { compareTensors, onnxTolerance } from './compare.js';
import type { ConformanceCase, DataSet } from './conformance-data.js';

export interface EvaluatedCase {
  readonly case: ConformanceCase;
  readonly operators: readonly OperatorUse[];
  readonly outcome: Outcome;
}

/** Imports a case and evaluates it on all its data sets. */
export function evaluateCase(c: ConformanceCase): EvaluatedCase {
  const { operators, outcome } = attemptCase(c, (source, options) => importModel(source, options).graph);
  if (outcome.status !== 'done') return { case: c, operators, outcome };
  const { value: graph, bound, inputNames, sets } = outcome;
  const problem = sets.map((set) => problemOf(graph, inputNames, set)).find((p) => p !== undefined);
  if (problem !== undefined) return { case: c, operators, outcome: { status: 'fail', phase: 'compare', message: problem } };
  return { case: c, operators, outcome: bound.length ? { status: 'pass-bound', bound } : { status: 'pass' } };
}

function problemOf(graph: Graph, inputNames: readonly string[], set: DataSet): string | undefined {
  const inputs: Tensor[] = [];
  for (const id of graph.inputs) {
    const { name } = valueOf(graph, id), item = set.inputs[inputNames.indexOf(name)];
    if (!item || !('tensor' in item)) return `input '${name}': ${item?.problem ?? 'no data'}`;
    inputs.push(item.tensor);
  }
  let actual: Tensor[];
  try {
    actual = evaluateGraph(graph, inputs);
  } catch (e) {
    return e instanceof Error ? e.stack ?? e.message : String(e);
  }
  if (actual.length !== set.outputs.length) return `${actual.length} outputs, expected ${set.outputs.length}`;
  for (const [i, item] of set.outputs.entries()) {
    if (!('tensor' in item)) return `expected output ${i}: ${item.problem}`;
    const { problem } = compareTensors(actual[i]!, item.tensor, onnxTolerance(item.tensor.dtype));
    if (problem) return `output '${graph.outputs[i]!.name}' ${problem}`;
  }
  return undefined;
}
