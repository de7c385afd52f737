/** Element type conversions, and operators that return their input. */
import { tensorOf, toNumbers } from '../ir/tensor.js';
import type { DType } from '../ir/dtype.js';
import { cast } from '../kir/build.js';
import { dtypeFromOnnx } from '../onnx/tensor.js';
import { requireInference } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

/** The element type that attribute `name` (a TensorProto.DataType) names. */
export const dtypeAttr = (n: OnnxNode, name: string, fallback?: number): DType => dtypeFromOnnx(n.attr.int(name, fallback));

const castOp = defineOnnxOp({
  op: 'Cast',
  limits: 'strings, 8-bit floats and 4-bit types',
  lower(n) {
    const to = dtypeAttr(n, 'to');
    return n.g.map([n.input(0, 'input')], (x) => cast(x, to));
  },
});

const castLike = defineOnnxOp({
  op: 'CastLike',
  limits: 'strings, 8-bit floats and 4-bit types',
  lower(n) {
    const to = n.input(1, 'target_type').type.dtype;
    return n.g.map([n.input(0, 'input')], (x) => cast(x, to));
  },
});

const identity = defineOnnxOp({ op: 'Identity', lower: (n) => n.input(0, 'input') });

/** At inference nothing is dropped and the mask, where asked for, is all ones (bool; the data's type before opset 10). */
const dropout = defineOnnxOp({
  op: 'Dropout',
  limits: 'inference only',
  lower(n) {
    requireInference(n);
    const x = n.input(0, 'data');
    const number = (i: number, what: string, fallback: number): number => (n.optional(i) ? toNumbers(n.constant(i, what)!)[0]! : fallback);
    if (number(2, 'training_mode', 0) !== 0 && number(1, 'ratio', 0.5) !== 0) n.unsupported('training_mode is true', 'export the model for inference');
    if (!n.usesOutput(1)) return [x, undefined];
    return [x, n.g.expand(n.g.constant(tensorOf(n.opset < 10 ? x.type.dtype : 'bool', [], [1])), x.type.shape)];
  },
});

export const castOps: readonly OnnxOp[] = [castOp, castLike, identity, dropout];
