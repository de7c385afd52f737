/** A node as operators see it while they lower it (compiler/ops/types.ts). */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { GraphBuilder } from '../ir/build.js';
import { denseData } from '../ir/tensor.js';
import { isInteger } from '../ir/dtype.js';
import type { Value } from '../ir/types.js';
import type { OnnxNode } from '../ops/types.js';

export interface NodeContext {
  readonly op: string;
  readonly name: string;
  readonly opset: number;
  readonly g: GraphBuilder;
  readonly inputs: readonly (Value | undefined)[];
  /** Names of the outputs; '' where the model leaves one out. */
  readonly outputs: readonly string[];
  readonly attr: OnnxNode['attr'];
  /** True where something in the model reads the tensor. */
  isRead(output: string): boolean;
}

export function onnxNode(c: NodeContext): OnnxNode {
  const optional = (i: number): Value | undefined => c.inputs[i];
  const constant: OnnxNode['constant'] = (i, what) => {
    const value = optional(i);
    if (!value || value.constant) return value?.constant;
    throw new NodeProblem('SPC1005', `input '${what}' (tensor '${value.name}') must be known while compiling, but it is computed from the model's inputs`,
      `bind the graph input that '${value.name}' depends on, or export the model with a constant in its place`);
  };
  return {
    op: c.op, name: c.name, opset: c.opset, g: c.g, inputs: c.inputs, attr: c.attr, optional, constant,
    outputCount: c.outputs.length,
    usesOutput: (i) => (c.outputs[i] ?? '') !== '' && c.isRead(c.outputs[i]!),
    input(i, what) {
      const value = optional(i);
      if (!value) throw new NodeProblem('SPC1007', `required input '${what}' (number ${i}) is not given`, 'the model is not valid ONNX; export it again');
      return value;
    },
    ints(i, what) {
      const tensor = constant(i, what);
      if (!tensor) return undefined;
      if (!isInteger(tensor.dtype)) throw new NodeProblem('SPC1004', `input '${what}' must hold integers, it is ${tensor.dtype}`, 'the model is not valid ONNX; export it again');
      return Array.from(denseData(tensor) as ArrayLike<number | bigint>, Number);
    },
    unsupported: (why, hint) => { throw new NodeProblem('SPC1004', why, hint); },
  };
}
