/**
 * An ONNX operator: how one of its nodes becomes core operators. Types follow from the core operators, so there is no
 * shape inference here; what must be known at compile time (axes, shapes, pads) is asked for as a constant.
 */
import type { GraphBuilder } from '../ir/build.js';
import type { Tensor } from '../ir/tensor.js';
import type { Value } from '../ir/types.js';

/** A node being imported. All accessors throw NodeProblem with the parameter's name where something is missing or unfit. */
export interface OnnxNode {
  readonly op: string;
  readonly name: string;
  /** Opset version of the operator's domain in this model. */
  readonly opset: number;
  readonly g: GraphBuilder;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputCount: number;
  /** True where the model uses output `i`. */
  usesOutput(i: number): boolean;
  /** Input `i`, called `what` in the ONNX specification. */
  input(i: number, what: string): Value;
  optional(i: number): Value | undefined;
  /** Input `i` as a compile-time constant, or undefined where it is not given. */
  constant(i: number, what: string): Tensor | undefined;
  /** Input `i` as compile-time integers, or undefined where it is not given. */
  ints(i: number, what: string): number[] | undefined;
  readonly attr: {
    has(name: string): boolean;
    int(name: string, fallback?: number): number;
    ints(name: string, fallback?: readonly number[]): number[];
    float(name: string, fallback?: number): number;
    floats(name: string, fallback?: readonly number[]): number[];
    string(name: string, fallback?: string): string;
    strings(name: string, fallback?: readonly string[]): string[];
    tensor(name: string): Tensor | undefined;
  };
  /** Stops with SPC1004: the operator is known, this use of it is not supported. */
  unsupported(why: string, hint?: string): never;
}

export interface OnnxOp {
  /** ONNX operator name. */
  readonly op: string;
  /** '' is ai.onnx. */
  readonly domain?: string;
  /** What is not supported, for docs/ops.md. */
  readonly limits?: string;
  /** Adds core nodes; returns the values of the node's outputs (undefined where an unused output is not computed). */
  lower(n: OnnxNode): Value | readonly (Value | undefined)[];
}

export const defineOnnxOp = (op: OnnxOp): OnnxOp => op;
