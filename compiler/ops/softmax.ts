/** ONNX Softmax and its relatives. */
import type { SoftmaxAttrs } from '../core/softmax.js';
import { elementCount, type Value } from '../ir/types.js';
import { normalAxis, requireFloat } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

/**
 * Softmax of `x` with the semantics of the node's opset: along one axis since 13; before, of the matrix that remains when
 * the dimensions from `axis` on are flattened into one.
 */
export function softmaxOf(n: OnnxNode, x: Value, mode: SoftmaxAttrs['mode'], opset = n.opset): Value {
  requireFloat(x);
  const { shape } = x.type, axis = normalAxis(n.attr.int('axis', opset < 13 ? 1 : -1), shape.length);
  if (shape.length === 0) return n.g.reshape(n.g.op('softmax', [n.g.reshape(x, [1])], { axis: 0, mode })[0]!, []);
  if (opset >= 13) return n.g.op('softmax', [x], { axis, mode })[0]!;
  const tail = shape.slice(axis);
  if (tail.filter((d) => d !== 1).length === 1) return n.g.op('softmax', [x], { axis: axis + tail.findIndex((d) => d !== 1), mode })[0]!;
  const matrix = n.g.reshape(x, [elementCount(shape.slice(0, axis)), elementCount(tail)]);
  return n.g.reshape(n.g.op('softmax', [matrix], { axis: 1, mode })[0]!, shape);
}

const softmaxOp = (op: string, mode: SoftmaxAttrs['mode']): OnnxOp =>
  defineOnnxOp({ op, lower: (n) => softmaxOf(n, n.input(0, 'input'), mode) });

export const softmaxOps: readonly OnnxOp[] = [softmaxOp('Softmax', 'soft'), softmaxOp('LogSoftmax', 'log'), softmaxOp('Hardmax', 'hard')];
