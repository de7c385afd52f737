/** Operators against ONNX Runtime, on shapes, types and parameters that ONNX's own tests do not reach. */
import { describe, expect, test } from 'vitest';
import { isFloat, type DType } from '../ir/dtype.js';
import { tensorOf, type Tensor } from '../ir/tensor.js';
import { elementCount } from '../ir/types.js';
import { float, type NodeSpec } from '../../test/support/onnx-builder.js';
import { loadOnnxRuntime } from '../../test/support/onnxruntime.js';
import { caseLabel, differenceFromOnnxRuntime, generator, type OperatorCase } from '../../test/support/operator-case.js';

const ort = loadOnnxRuntime();

function data(dtype: DType, shape: readonly number[], low = -3, high = 3, seed = 1): Tensor {
  const random = generator(seed - 1);
  const values = Array.from({ length: elementCount(shape) }, () => low + random() * (high - low));
  return tensorOf(dtype, shape, isFloat(dtype) ? values : values.map((x) => (dtype === 'bool' ? (x > (low + high) / 2 ? 1 : 0) : Math.floor(x))));
}
const ints = (...values: number[]): Tensor => tensorOf('i64', [values.length], values);
const scalar = (dtype: DType, value: number): Tensor => tensorOf(dtype, [], [value]);

interface Case {
  readonly op: string;
  /** Given at run time. */
  readonly inputs: readonly Tensor[];
  /** Initialisers, which follow the inputs; undefined leaves an optional input out. */
  readonly constants?: readonly (Tensor | undefined)[];
  readonly attributes?: NodeSpec['attributes'];
  readonly outputs?: number;
  readonly opset?: number;
}

const f = (...shape: number[]): Tensor => data('f32', shape);
const g = (...shape: number[]): Tensor => data('f32', shape, -3, 3, 2);

const unary = ['Abs', 'Neg', 'Sign', 'Ceil', 'Floor', 'Round', 'Exp', 'Erf', 'Sigmoid', 'Tanh', 'Softplus', 'Softsign', 'HardSwish', 'Relu', 'Sin', 'Cos', 'Tan', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'Reciprocal', 'HardSigmoid', 'LeakyRelu', 'Elu', 'Selu', 'Celu', 'ThresholdedRelu', 'Mish'];
const reductions = ['ReduceSum', 'ReduceMean', 'ReduceMax', 'ReduceMin', 'ReduceProd', 'ReduceL1', 'ReduceL2', 'ReduceSumSquare', 'ReduceLogSumExp'];

const cases: readonly Case[] = [
  ...unary.map((op): Case => ({ op, inputs: [f(3, 1, 7)], opset: 18 })),
  ...['Log', 'Sqrt'].map((op): Case => ({ op, inputs: [data('f32', [5], 0, 9)] })),
  { op: 'Gelu', inputs: [f(11)], opset: 20 },
  { op: 'Gelu', inputs: [f(11)], opset: 20, attributes: { approximate: 'tanh' } },
  { op: 'Relu', inputs: [data('i32', [9])], opset: 14 },
  { op: 'Abs', inputs: [data('i64', [9])] },
  { op: 'Sign', inputs: [data('u8', [9], 0, 4)] },
  { op: 'Shrink', inputs: [f(20)], attributes: { lambd: float(1), bias: float(0.25) } },
  { op: 'IsInf', inputs: [tensorOf('f32', [4], [1, Infinity, -Infinity, NaN])], attributes: { detect_negative: 0 } },
  { op: 'Not', inputs: [data('bool', [2, 5])] },
  ...['Add', 'Sub', 'Mul', 'Div', 'Less', 'GreaterOrEqual', 'Equal'].flatMap((op): Case[] => [
    { op, inputs: [f(2, 1, 3), g(4, 1)] }, { op, inputs: [f(), g(3)] }, { op, inputs: [f(0, 3), g(1)] }, { op, inputs: [data('i64', [7], 1, 9), data('i64', [7], 1, 4, 3)] },
  ]),
  ...['And', 'Or', 'Xor'].map((op): Case => ({ op, inputs: [data('bool', [3, 4]), data('bool', [4], 0, 1, 5)] })),
  { op: 'Mod', inputs: [data('i32', [12], -9, 9), tensorOf('i32', [12], [3, -3, 2, -2, 5, -5, 1, -1, 4, -4, 7, -7])] },
  { op: 'Mod', inputs: [f(6), tensorOf('f32', [1], [0.75])], attributes: { fmod: 1 } },
  { op: 'Pow', inputs: [data('f32', [5], 0, 3)], constants: [scalar('f32', 0.5)] },
  { op: 'Pow', inputs: [f(5)], constants: [scalar('i64', 3)] },
  { op: 'Pow', inputs: [data('i32', [5], -3, 4), data('i32', [5], 0, 4, 2)] },
  { op: 'PRelu', inputs: [f(2, 3, 4)], constants: [tensorOf('f32', [3, 1], [0.1, 0.2, 0.3])] },
  { op: 'Clip', inputs: [f(10)], constants: [undefined, scalar('f32', 0.5)] },
  { op: 'Clip', inputs: [data('i8', [10], -100, 100)], constants: [scalar('i8', -20)] },
  { op: 'Clip', inputs: [f(10)], attributes: { min: float(-1), max: float(1) }, opset: 10 },
  { op: 'Where', inputs: [data('bool', [3, 1]), f(1, 4), g()] },
  { op: 'Max', inputs: [f(2, 3), g(3), f(2, 1)] },
  { op: 'Mean', inputs: [f(2, 3), g(3), f()] },
  { op: 'Cast', inputs: [data('f32', [9], -200, 200)], attributes: { to: 7 } },
  { op: 'Cast', inputs: [tensorOf('f32', [4], [0, 0.25, -1, NaN])], attributes: { to: 9 } },
  { op: 'Cast', inputs: [data('f32', [9], -7e4, 7e4)], attributes: { to: 10 } },
  { op: 'Cast', inputs: [data('bool', [9])], attributes: { to: 1 } },
  { op: 'Cast', inputs: [data('i64', [9], -2000, 2000)], attributes: { to: 3 } },
  ...reductions.flatMap((op): Case[] => [
    { op, inputs: [f(3, 1, 4, 2)], attributes: { axes: [1, -1] }, opset: 11 },
    { op, inputs: [f(3, 4)], attributes: { keepdims: 0 }, opset: 11 },
    { op, inputs: [f(3, 4, 2)], constants: [ints(0, 2)], attributes: { keepdims: 0 }, opset: 18 },
  ]),
  { op: 'ReduceMean', inputs: [data('i32', [4, 5], -50, 50)], attributes: { axes: [1] }, opset: 11 },
  { op: 'ReduceSum', inputs: [f(2, 3)], constants: [ints()], attributes: { noop_with_empty_axes: 1 } },
  { op: 'ReduceSum', inputs: [f(2, 0, 3)], constants: [ints(1)] },
  ...['ArgMax', 'ArgMin'].flatMap((op): Case[] => [0, 1].map((last) => ({ op, inputs: [data('i32', [3, 9], 0, 4)], attributes: { axis: -1, keepdims: 0, select_last_index: last }, opset: 13 }))),
  ...[[0, 0], [0, 1], [1, 0], [1, 1]].map(([exclusive, reverse]): Case => ({ op: 'CumSum', inputs: [f(3, 5, 2)], constants: [scalar('i64', 1)], attributes: { exclusive: exclusive!, reverse: reverse! } })),
  { op: 'Reshape', inputs: [f(2, 3, 4)], constants: [ints(0, -1)] },
  { op: 'Flatten', inputs: [f(2, 3, 4)], attributes: { axis: -1 } },
  { op: 'Squeeze', inputs: [f(1, 3, 1)], constants: [ints(-1)] },
  { op: 'Unsqueeze', inputs: [f(3)], attributes: { axes: [0, 2] }, opset: 11 },
  { op: 'Transpose', inputs: [data('i8', [2, 3, 4, 5])], attributes: { perm: [3, 1, 0, 2] } },
  { op: 'Slice', inputs: [f(9, 7)], constants: [ints(-2, 100), ints(-100, -100), ints(0, -1), ints(-3, -2)] },
  { op: 'Slice', inputs: [f(9, 7)], constants: [ints(5), ints(2), ints(1)] },
  { op: 'Slice', inputs: [f(9, 7)], attributes: { starts: [1], ends: [-1], axes: [1] }, opset: 9 },
  { op: 'Split', inputs: [f(2, 7)], constants: [ints(1, 0, 6)], attributes: { axis: 1 }, outputs: 3 },
  { op: 'Split', inputs: [f(7)], attributes: { num_outputs: 3 }, outputs: 3, opset: 18 },
  { op: 'Concat', inputs: [f(2, 1), g(2, 0), f(2, 3)], attributes: { axis: -1 } },
  { op: 'Expand', inputs: [f(3, 1)], constants: [ints(2, 1, 4)] },
  { op: 'Tile', inputs: [f(2, 3)], constants: [ints(3, 2)] },
  ...['constant', 'reflect', 'edge', 'wrap'].map((mode): Case => ({ op: 'Pad', inputs: [f(4, 3)], constants: [ints(2, 1, 3, 2)], attributes: { mode }, opset: 19 })),
  ...['reflect', 'edge'].map((mode): Case => ({ op: 'Pad', inputs: [f(5, 4)], constants: [ints(-1, 1, 2, -2)], attributes: { mode } })),
  { op: 'Pad', inputs: [data('i64', [3])], constants: [ints(1, 2), scalar('i64', 7)] },
  { op: 'Pad', inputs: [f(2, 3)], attributes: { pads: [0, 1, 2, 0], value: float(1.5) }, opset: 10 },
  { op: 'DepthToSpace', inputs: [f(2, 8, 2, 3)], attributes: { blocksize: 2, mode: 'CRD' } },
  { op: 'SpaceToDepth', inputs: [f(1, 2, 4, 6)], attributes: { blocksize: 2 } },
  { op: 'Gather', inputs: [f(5, 4), tensorOf('i32', [2, 3], [0, -1, 3, -5, 4, 2])] },
  { op: 'Gather', inputs: [f(3, 6)], constants: [ints(-1, -3, -5)], attributes: { axis: 1 } },
  { op: 'Gather', inputs: [f(3, 6)], constants: [scalar('i64', 2)], attributes: { axis: -1 } },
  { op: 'Gather', inputs: [f(3, 6)], constants: [tensorOf('i64', [0], [])] },
  { op: 'GatherElements', inputs: [f(3, 4), data('i64', [2, 4], -3, 3)] },
  { op: 'GatherND', inputs: [f(2, 3, 4), data('i64', [2, 5, 1], -3, 3)], attributes: { batch_dims: 1 } },
  ...['none', 'add', 'mul', 'min', 'max'].flatMap((reduction): Case[] => [
    { op: 'ScatterElements', inputs: [f(3, 5), reduction === 'none' ? tensorOf('i64', [2, 3], [0, -1, 3, 4, 2, -4]) : data('i64', [2, 3], -5, 5), g(2, 3)], attributes: { axis: 1, reduction }, opset: 18 },
    { op: 'ScatterND', inputs: [f(4, 2, 3), tensorOf('i64', [3, 1], [3, reduction === 'none' ? 0 : -1, 1]), g(3, 2, 3)], attributes: { reduction }, opset: 18 },
  ]),
  { op: 'Compress', inputs: [f(3, 4)], constants: [tensorOf('bool', [3], [1, 0, 1])], attributes: { axis: 1 } },
  { op: 'Compress', inputs: [f(3, 4)], constants: [tensorOf('bool', [5], [0, 1, 1, 0, 1])] },
  { op: 'ReverseSequence', inputs: [f(4, 3, 2), tensorOf('i64', [3], [1, 4, 2])] },
  { op: 'OneHot', inputs: [tensorOf('i64', [2, 2], [0, -1, 7, 2])], constants: [scalar('i64', 4), tensorOf('f32', [2], [-1, 3])], attributes: { axis: 1 } },
  { op: 'EyeLike', inputs: [f(3, 5)], attributes: { k: -1, dtype: 7 } },
  { op: 'Trilu', inputs: [f(2, 4, 5)], constants: [scalar('i64', -1)], attributes: { upper: 0 }, opset: 14 },
  { op: 'Trilu', inputs: [f(3, 3), scalar('i64', 1)], opset: 14 },
  ...[0, 1].map((largest): Case => ({ op: 'TopK', inputs: [data('i32', [3, 10], 0, 6)], constants: [ints(4)], attributes: { largest }, outputs: 2 })),
  { op: 'TopK', inputs: [f(7, 2)], constants: [ints(7)], attributes: { axis: 0 }, outputs: 2 },
  ...[[[3], [3]], [[3], [2, 3, 4]], [[2, 2, 3], [3]], [[2, 1, 2, 3], [4, 3, 2]], [[0, 3], [3, 2]], [[2, 0], [0, 2]]].map(([a, b]): Case => ({ op: 'MatMul', inputs: [f(...a!), g(...b!)] })),
  { op: 'Gemm', inputs: [f(3, 2), g(4, 3), f(4)], attributes: { transA: 1, transB: 1, alpha: float(0.5), beta: float(2) } },
  { op: 'Gemm', inputs: [f(2, 3), g(3, 4)], attributes: { alpha: float(-1) } },
  { op: 'MatMulInteger', inputs: [data('u8', [3, 5], 0, 256), data('i8', [5, 4], -128, 128)], constants: [scalar('u8', 130), scalar('i8', -3)] },
  ...([['ij,jk->ik', [2, 3], [3, 4]], ['bij,bkj->bik', [2, 3, 4], [2, 5, 4]], ['...ij,jk->...ik', [2, 2, 3, 4], [4, 2]], ['ab,bc', [2, 3], [3, 2]], ['bhid,bhjd->bijh', [2, 2, 3, 4], [2, 2, 5, 4]], ['i,j->ij', [3], [4]], ['ij,kl->k', [2, 3], [4, 2]]] as const)
    .map(([equation, a, b]): Case => ({ op: 'Einsum', inputs: [f(...a), g(...b)], attributes: { equation } })),
  { op: 'Einsum', inputs: [f(2, 3, 3)], attributes: { equation: 'bii->ib' } },
  { op: 'Einsum', inputs: [f(2, 3), g(3, 4), f(4, 2)], attributes: { equation: 'ij,jk,kl->li' } },
];

const asOperatorCase = ({ inputs, constants = [], ...rest }: Case): OperatorCase => ({ ...rest, inputs: [...inputs.map((run) => ({ run })), ...constants] });

describe.skipIf(ort === undefined)('operators against ONNX Runtime', () => {
  test.each(cases.map(asOperatorCase).map((c, i) => [`${i}: ${caseLabel(c)}`, c] as const))('%s', async (_, c) => {
    expect(await differenceFromOnnxRuntime(ort!, c)).toBeUndefined();
  });
});
