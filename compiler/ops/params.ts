/** Parameters that ONNX moved from attributes to inputs over its versions, and axes. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { isFloat, type DType } from '../ir/dtype.js';
import type { GraphBuilder } from '../ir/build.js';
import { tensorOf } from '../ir/tensor.js';
import type { Value } from '../ir/types.js';
import type { OnnxNode } from './types.js';

/** An axis counted from the end where it is negative, brought into [0, rank). */
export function normalAxis(axis: number, rank: number): number {
  if (axis < -rank || axis >= rank) throw new NodeProblem('SPC2007', `axis ${axis} of a tensor of rank ${rank}`);
  return axis < 0 ? axis + rank : axis;
}

/** Several axes, ascending, each once. */
export function normalAxes(axes: readonly number[], rank: number): number[] {
  const sorted = axes.map((a) => normalAxis(a, rank)).sort((a, b) => a - b);
  if (new Set(sorted).size !== sorted.length) throw new NodeProblem('SPC2007', `axes [${axes.join(',')}] name a dimension twice`);
  return sorted;
}

/** Integers given as attribute `what` in older opsets and as constant input `i` in newer ones; undefined where as neither. */
export const intsParam = (n: OnnxNode, i: number, what: string): number[] | undefined => (n.attr.has(what) ? n.attr.ints(what) : n.ints(i, what));

/** As {@link intsParam}, and required. */
export const requiredInts = (n: OnnxNode, i: number, what: string): number[] => intsParam(n, i, what) ?? missingParam(what);

/** One constant integer. */
export function requiredInt(n: OnnxNode, i: number, what: string): number {
  const values = n.ints(i, what) ?? missingParam(what);
  if (values.length !== 1) throw new NodeProblem('SPC1006', `'${what}' needs one integer, not ${values.length}`);
  return values[0]!;
}

function missingParam(what: string): never {
  throw new NodeProblem('SPC1006', `'${what}' is missing`);
}

/** Up to opset 6 an operator was in training unless `is_test` said otherwise. */
export function requireInference(n: OnnxNode): void {
  if (n.opset < 7 && n.attr.int('is_test', 0) === 0) n.unsupported('the node is in training mode (is_test is 0)', 'export the model for inference');
}

/** All inputs of a variadic operator. */
export const allInputs = (n: OnnxNode): Value[] => n.inputs.map((_, i) => n.input(i, `data_${i}`));

/** Stops unless all values have one element type. */
export function sameDtype(...values: readonly Value[]): DType {
  const [first, ...rest] = values.map((v) => v.type.dtype);
  const other = rest.find((d) => d !== first);
  if (other !== undefined) throw new NodeProblem('SPC2001', `operands are ${first} and ${other}`, 'insert a Cast: ONNX converts no element types by itself');
  return first!;
}

export function requireFloat(v: Value): void {
  if (!isFloat(v.type.dtype)) throw new NodeProblem('SPC2001', `needs a floating-point operand, not ${v.type.dtype}`);
}

/** Most numbers made at compile time for one node; a damaged file asks for more sooner than a model does. */
const LARGEST_TABLE = 2 ** 24;

/** `count`, the length of a table about to be made; stops before memory runs out. */
export function tableSize(count: number): number {
  if (!(count >= 0 && count <= LARGEST_TABLE)) throw new NodeProblem('SPC1015', `a table of ${count} generated numbers`, `at most ${LARGEST_TABLE} are made at compile time; check the sizes that the node is given`);
  return count;
}

/** The numbers first, first + step, ... as a constant that varies along dimension `d` of `rank` only. */
export function iota(g: GraphBuilder, dtype: DType, count: number, rank = 1, d = 0, first = 0, step = 1): Value {
  const shape = Array.from({ length: rank }, (_, i) => (i === d ? count : 1));
  return g.constant(tensorOf(dtype, shape, Array.from({ length: tableSize(count) }, (_, i) => first + i * step)), 'iota');
}
