/** Convolution, pooling, normalisation, resizing, recurrent, quantised and vision operators against ONNX Runtime. */
import { describe, expect, test } from 'vitest';
import { tensorOf, type Tensor } from '../ir/tensor.js';
import { caseLabel, differenceFromOnnxRuntime, generator, randomTensor, type OperatorCase } from '../../test/support/operator-case.js';
import { float } from '../../test/support/onnx-builder.js';
import { loadOnnxRuntime } from '../../test/support/onnxruntime.js';

const ort = loadOnnxRuntime();
const run = (t: Tensor): { run: Tensor } => ({ run: t });
const f = (shape: readonly number[], seed = 1): Tensor => randomTensor('f32', shape, -2, 2, seed);
const x = (...shape: number[]): { run: Tensor } => run(f(shape));
const ints = (...values: number[]): Tensor => tensorOf('i64', [values.length], values);
const floats = (...values: number[]): Tensor => tensorOf('f32', [values.length], values);

/** Window attributes drawn at random for `rank` spatial dimensions: asymmetric pads, strides, dilations, auto_pad. */
function windows(random: () => number, rank: number, kernel: readonly number[]): { strides: number[]; dilations: number[]; pads?: number[]; auto_pad?: string } {
  const pick = (n: number): number => Math.floor(random() * n);
  const mode = ['NOTSET', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'][pick(5)]!;
  const dilations = kernel.map(() => (mode.startsWith('SAME') ? 1 : 1 + pick(2)));
  return {
    strides: Array.from({ length: rank }, () => 1 + pick(3)), dilations,
    ...(mode === 'NOTSET' ? { pads: [...kernel, ...kernel].map((k) => pick(k)) } : { auto_pad: mode }),
  };
}

function convolutions(op: 'Conv' | 'ConvTranspose', count: number): OperatorCase[] {
  return Array.from({ length: count }, (_, seed): OperatorCase => {
    const random = generator(seed), pick = (n: number): number => Math.floor(random() * n);
    const rank = 1 + (seed % 3), group = [1, 1, 2, 4][pick(4)]!, kernel = Array.from({ length: rank }, () => 1 + pick(3));
    const channels = group * (1 + pick(3)), outPerGroup = 1 + pick(3), spatial = kernel.map(() => 6 + pick(4));
    const drawn = windows(random, rank, kernel);
    // where a stride exceeds the kernel ONNX Runtime's SAME_* output is smaller than input * stride, which the specification asks for
    const attributes = { ...drawn, ...(op === 'ConvTranspose' && drawn.auto_pad?.startsWith('SAME') ? { strides: drawn.strides.map((v, d) => Math.min(v, kernel[d]!)) } : {}), group };
    const weights = op === 'Conv' ? [group * outPerGroup, channels / group, ...kernel] : [channels, outPerGroup, ...kernel];
    return {
      op, attributes,
      inputs: [run(f([1 + pick(2), channels, ...spatial])), f(weights, 2), ...(pick(2) ? [f([group * outPerGroup], 3)] : [])],
    };
  });
}

function pools(op: 'MaxPool' | 'AveragePool' | 'LpPool', count: number): OperatorCase[] {
  return Array.from({ length: count }, (_, seed): OperatorCase => {
    const random = generator(100 + seed), pick = (n: number): number => Math.floor(random() * n);
    const rank = 1 + (seed % 3), kernel = Array.from({ length: rank }, () => 2 + pick(2));
    const { dilations, ...rest } = windows(random, rank, kernel);
    const more: OperatorCase['attributes'] = op === 'MaxPool' ? { dilations, ceil_mode: pick(2), storage_order: pick(2) } : op === 'AveragePool' ? { dilations, count_include_pad: pick(2), ceil_mode: pick(2) } : {};
    return {
      op, opset: op === 'AveragePool' ? 19 : 17, outputs: op === 'MaxPool' ? 2 : 1,
      inputs: [run(f([2, 3, ...kernel.map(() => 5 + pick(5))]))], attributes: { kernel_shape: kernel, ...rest, ...more },
    };
  });
}

const recurrent: OperatorCase[] = (['RNN', 'GRU', 'LSTM'] as const).flatMap((op) => ['forward', 'reverse', 'bidirectional'].flatMap((direction) => [false, true].map((full): OperatorCase => {
  const gates = { RNN: 1, GRU: 3, LSTM: 4 }[op], d = direction === 'bidirectional' ? 2 : 1, [steps, batch, inputs, hidden] = [5, 2, 3, 4];
  const small = (shape: readonly number[], seed: number): Tensor => randomTensor('f32', shape, -0.6, 0.6, seed);
  return {
    op, outputs: op === 'LSTM' ? 3 : 2, opset: 14,
    inputs: [run(f([steps, batch, inputs])), small([d, gates * hidden, inputs], 2), small([d, gates * hidden, hidden], 3), ...(full ? [
      small([d, 2 * gates * hidden], 4), direction === 'reverse' ? run(tensorOf('i32', [batch], [3, 5])) : undefined,
      run(small([d, batch, hidden], 5)), ...(op === 'LSTM' ? [run(small([d, batch, hidden], 6)), small([d, 3 * hidden], 7)] : []),
    ] : [])],
    attributes: { hidden_size: hidden, direction, ...(op === 'GRU' && full ? { linear_before_reset: 1 } : {}) },
  };
})));

const q = (shape: readonly number[], dtype: 'u8' | 'i8', seed = 1): Tensor => randomTensor(dtype, shape, dtype === 'u8' ? 0 : -128, dtype === 'u8' ? 256 : 128, seed);
const one = (dtype: 'u8' | 'i8' | 'f32', value: number): Tensor => tensorOf(dtype, [], [value]);
const params = (scale: number, zero: number, dtype: 'u8' | 'i8' = 'u8'): Tensor[] => [one('f32', scale), one(dtype, zero)];

const quantised: OperatorCase[] = [
  { op: 'QuantizeLinear', inputs: [run(randomTensor('f32', [3, 40], -6, 6)), ...params(0.037, 131)] },
  { op: 'QuantizeLinear', inputs: [run(randomTensor('f32', [2, 3, 5], -6, 6)), floats(0.02, 0.05, 0.07), tensorOf('i8', [3], [0, -5, 9])], attributes: { axis: 1 } },
  { op: 'QuantizeLinear', inputs: [run(randomTensor('f32', [40], -9, 9)), one('f32', 0.001), tensorOf('i16', [], [77])], opset: 21 },
  { op: 'DequantizeLinear', inputs: [run(q([3, 4], 'u8')), ...params(0.1, 128)] },
  { op: 'DequantizeLinear', inputs: [run(q([4, 3], 'i8')), floats(0.1, 0.2, 0.3)], attributes: { axis: -1 } },
  { op: 'DequantizeLinear', inputs: [run(randomTensor('i32', [7], -1e6, 1e6)), one('f32', 0.001)] },
  { op: 'DequantizeLinear', inputs: [run(q([4, 6], 'u8')), f([4, 2]), q([4, 2], 'u8')], attributes: { axis: 1, block_size: 3 }, opset: 21 },
  { op: 'DynamicQuantizeLinear', inputs: [run(randomTensor('f32', [50], -1, 3))], outputs: 3 },
  { op: 'DynamicQuantizeLinear', inputs: [run(randomTensor('f32', [50], 0.5, 3))], outputs: 3 },
  { op: 'ConvInteger', inputs: [run(q([1, 4, 5, 6], 'u8')), q([6, 2, 3, 2], 'u8', 2), one('u8', 7), one('u8', 100)], attributes: { group: 2, pads: [1, 0, 2, 1], strides: [2, 1] } },
  ...(['u8', 'i8'] as const).flatMap((weights): OperatorCase[] => [
    { op: 'QLinearConv', inputs: [run(q([2, 4, 7, 6], 'u8')), ...params(0.02, 120), q([6, 2, 3, 3], weights, 2), one('f32', 0.01), one(weights, 3), ...params(0.19, 100), randomTensor('i32', [6], -3000, 3000)], attributes: { group: 2, pads: [1, 2, 0, 1], dilations: [1, 2] } },
    { op: 'QLinearMatMul', inputs: [run(q([2, 3, 9], 'u8')), ...params(0.02, 120), q([9, 5], weights, 2), one('f32', 0.01), one(weights, -0), ...params(0.3, 90)] },
  ]),
  { op: 'QLinearConv', inputs: [run(q([1, 3, 9], 'u8')), ...params(0.02, 120), q([4, 3, 3], 'i8', 2), floats(0.01, 0.02, 0.015, 0.03), tensorOf('i8', [4], [0, 0, 0, 0]), ...params(0.5, 128)] },
  ...['QLinearAdd', 'QLinearMul'].map((op): OperatorCase => ({ op, domain: 'com.microsoft', inputs: [run(q([3, 1, 40], 'u8')), ...params(0.02, 120), run(q([2, 40], 'u8', 2)), ...params(0.035, 99), ...params(0.051, 111)] })),
  { op: 'QLinearAdd', domain: 'com.microsoft', inputs: [run(q([64], 'i8')), ...params(0.02, 12, 'i8'), run(q([64], 'i8', 2)), ...params(0.035, -9, 'i8'), ...params(0.04, 11, 'i8')] },
  ...['QLinearSigmoid', 'QLinearLeakyRelu'].map((op): OperatorCase => ({ op, domain: 'com.microsoft', inputs: [run(q([300], 'u8')), ...params(0.04, 127), ...params(1 / 128, 20)], attributes: op === 'QLinearLeakyRelu' ? { alpha: float(0.1) } : {} })),
  { op: 'QLinearAveragePool', domain: 'com.microsoft', inputs: [run(q([1, 3, 7, 8], 'u8')), ...params(0.04, 127), ...params(0.03, 120)], attributes: { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 1, 1, 0] } },
  ...[0, 1].map((channelsLast): OperatorCase => ({ op: 'QLinearGlobalAveragePool', domain: 'com.microsoft', inputs: [run(q([2, 5, 7, 6], 'u8')), ...params(0.04, 127), ...params(0.01, 120)], attributes: { channels_last: channelsLast } })),
  { op: 'QLinearConcat', domain: 'com.microsoft', inputs: [...params(0.04, 100), run(q([2, 3], 'u8')), ...params(0.03, 120), run(q([2, 4], 'u8', 2)), ...params(0.05, 90)], attributes: { axis: 1 } },
  { op: 'QLinearSoftmax', domain: 'com.microsoft', inputs: [run(q([4, 10], 'u8')), ...params(0.04, 127), ...params(1 / 256, 0)], attributes: { axis: -1, opset: 13 }, steps: 1 },
  { op: 'QGemm', domain: 'com.microsoft', inputs: [run(q([3, 8], 'u8')), ...params(0.02, 127), q([5, 8], 'i8', 2), floats(0.01, 0.02, 0.01, 0.03, 0.02), tensorOf('i8', [5], [0, 1, 2, -3, 4]), randomTensor('i32', [5], -900, 900), ...params(0.3, 111)], attributes: { transB: 1, alpha: float(1) } },
];

const resizes: OperatorCase[] = [
  ...['half_pixel', 'pytorch_half_pixel', 'align_corners', 'asymmetric'].flatMap((coordinate_transformation_mode) => ['nearest', 'linear', 'cubic'].flatMap((mode): OperatorCase[] => [
    { op: 'Resize', inputs: [x(1, 2, 5, 7), undefined, undefined, ints(1, 2, 9, 4)], attributes: { mode, coordinate_transformation_mode } },
    { op: 'Resize', inputs: [x(1, 2, 4, 6), undefined, floats(1, 1, 2, 1.5)], attributes: { mode, coordinate_transformation_mode } },
  ])),
  ...['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'].map((nearest_mode): OperatorCase => ({ op: 'Resize', inputs: [x(1, 1, 4, 6), undefined, floats(1, 1, 1.25, 0.5)], attributes: { mode: 'nearest', nearest_mode } })),
  ...['linear', 'cubic'].map((mode): OperatorCase => ({ op: 'Resize', opset: 18, inputs: [x(1, 2, 8, 9), undefined, undefined, ints(5, 4)], attributes: { mode, antialias: 1, axes: [2, 3] } })),
  { op: 'Resize', opset: 10, inputs: [x(1, 2, 3, 4), floats(1, 1, 2, 3)], attributes: { mode: 'nearest' } },
  { op: 'Upsample', opset: 9, inputs: [x(1, 2, 3, 4), floats(1, 1, 2, 2)], attributes: { mode: 'linear' } },
  { op: 'Resize', inputs: [x(2, 3, 2, 3, 4), undefined, floats(1, 1, 2, 2, 2)], attributes: { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' } },
];

const others: OperatorCase[] = [
  ...[0, 1, -1].flatMap((axis) => ['Softmax', 'LogSoftmax', 'Hardmax'].flatMap((op) => [11, 13].map((opset): OperatorCase => ({ op, opset, inputs: [x(3, 4, 5)], attributes: { axis } })))),
  { op: 'Softmax', inputs: [run(tensorOf('f32', [1, 3], [1e30, -Infinity, 1e30]))] },
  { op: 'Softmax', inputs: [run(tensorOf('f64', [2, 3], [1, 2, 3, -1, 0, 1]))] },
  ...['GlobalAveragePool', 'GlobalMaxPool', 'GlobalLpPool'].map((op): OperatorCase => ({ op, inputs: [x(2, 3, 5, 4)] })),
  { op: 'BatchNormalization', inputs: [x(2, 3, 4), f([3]), f([3], 2), f([3], 3), randomTensor('f32', [3], 0.1, 2)], opset: 15 },
  { op: 'BatchNormalization', inputs: [x(2, 3), f([3]), f([3], 2), f([3], 3), randomTensor('f32', [3], 0.1, 2)], opset: 9 },
  { op: 'InstanceNormalization', inputs: [x(2, 3, 4, 5), f([3]), f([3], 2)] },
  { op: 'LayerNormalization', inputs: [x(2, 3, 8), f([8]), f([8], 2)], outputs: 3 },
  { op: 'LayerNormalization', inputs: [x(2, 3, 8), f([3, 8])], attributes: { axis: 1, epsilon: float(0.01) } },
  { op: 'GroupNormalization', opset: 21, inputs: [x(2, 6, 5), f([6]), f([6], 2)], attributes: { num_groups: 3 } },
  { op: 'LRN', inputs: [x(2, 7, 3, 2)], attributes: { size: 3, alpha: float(0.5), beta: float(0.6), bias: float(1.5) } },
  { op: 'MeanVarianceNormalization', inputs: [x(2, 3, 4, 5)], opset: 13 },
  ...[1, 2].map((p): OperatorCase => ({ op: 'LpNormalization', inputs: [x(3, 4)], attributes: { axis: 0, p } })),
  { op: 'LpNormalization', inputs: [run(tensorOf('f32', [2, 2], [0, 0, 3, 4]))] },
  { op: 'SkipLayerNormalization', domain: 'com.microsoft', inputs: [x(2, 3, 8), run(f([2, 3, 8], 2)), f([8], 3), f([8], 4), f([8], 5)] },
  { op: 'SimplifiedLayerNormalization', inputs: [x(2, 3, 8), f([8])], attributes: { axis: -1, epsilon: float(1e-5) } },
  ...['Gelu', 'BiasGelu', 'FastGelu'].map((op): OperatorCase => ({ op, domain: 'com.microsoft', inputs: [x(3, 8), ...(op === 'Gelu' ? [] : [f([8], 2)])] })),
  { op: 'FusedMatMul', domain: 'com.microsoft', inputs: [x(2, 3, 4), f([2, 5, 4], 2)], attributes: { transB: 1, alpha: float(0.25) } },
  ...['none', 'sum', 'mean'].map((reduction): OperatorCase => ({ op: 'SoftmaxCrossEntropyLoss', outputs: 2, inputs: [x(3, 5, 2), run(tensorOf('i64', [3, 2], [0, 4, 2, -1, 1, 3])), randomTensor('f32', [5], 0.1, 1)], attributes: { reduction, ignore_index: -1 } })),
  ...['linear', 'nearest', 'cubic'].flatMap((mode) => ['zeros', 'border', 'reflection'].flatMap((padding_mode) => [0, 1].map((align_corners): OperatorCase => ({
    op: 'GridSample', opset: 20, inputs: [x(2, 3, 5, 6), run(randomTensor('f32', [2, 4, 7, 2], -1.6, 1.6, 5))], attributes: { mode, padding_mode, align_corners }, tolerance: { relative: 1e-3, absolute: 1e-4 },
  })))),
  ...['avg', 'max'].flatMap((mode) => [0, 2].flatMap((sampling_ratio) => ['half_pixel', 'output_half_pixel'].map((coordinate_transformation_mode): OperatorCase => ({
    op: 'RoiAlign', inputs: [x(2, 3, 9, 8), run(tensorOf('f32', [3, 4], [0, 0, 7, 8, 1.5, 2.25, 5, 4, -3, -3, 12, 2])), run(tensorOf('i64', [3], [0, 1, 1]))],
    attributes: { mode, sampling_ratio, coordinate_transformation_mode, output_height: 3, output_width: 2, spatial_scale: float(0.8) },
  })))),
  { op: 'Det', inputs: [run(f([3, 5, 5]))] },
  { op: 'Det', inputs: [run(tensorOf('f32', [2, 2], [0, 1, 1, 0]))] },
  ...[undefined, tensorOf('i64', [], [12])].flatMap((length) => [0, 1].map((onesided): OperatorCase => ({ op: 'DFT', inputs: [x(2, 9, 1), length], attributes: { onesided }, tolerance: { relative: 1e-3, absolute: 1e-4 } }))),
  { op: 'DFT', inputs: [x(2, 8, 2)], attributes: { inverse: 1 }, tolerance: { relative: 1e-3, absolute: 1e-4 } },
  { op: 'STFT', inputs: [x(2, 40, 1), tensorOf('i64', [], [6]), randomTensor('f32', [16], 0, 1)], tolerance: { relative: 1e-3, absolute: 1e-4 } },
  ...['HannWindow', 'HammingWindow', 'BlackmanWindow'].flatMap((op) => [0, 1].map((periodic): OperatorCase => ({ op, inputs: [tensorOf('i64', [], [11])], attributes: { periodic } }))),
  { op: 'MelWeightMatrix', inputs: [tensorOf('i64', [], [10]), tensorOf('i64', [], [64]), tensorOf('i64', [], [16000]), tensorOf('f32', [], [20]), tensorOf('f32', [], [7000])] },
  { op: 'AffineGrid', opset: 20, inputs: [x(2, 2, 3), ints(2, 1, 3, 4)] },
  { op: 'Col2Im', opset: 18, inputs: [x(1, 12, 16), ints(4, 5), ints(2, 3)], attributes: { pads: [0, 1, 1, 0] } },
  { op: 'MaxUnpool', inputs: [x(1, 1, 2, 2), run(tensorOf('i64', [1, 1, 2, 2], [5, 7, 13, 15]))], attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
];

const families: Record<string, readonly OperatorCase[]> = {
  convolution: [
    ...convolutions('Conv', 36), ...convolutions('ConvTranspose', 24),
    { op: 'ConvTranspose', inputs: [x(1, 2, 3, 3), f([2, 2, 3, 3], 2)], attributes: { strides: [3, 2], output_shape: [10, 8], kernel_shape: [3, 3] } },
    { op: 'ConvTranspose', inputs: [x(1, 2, 3, 3), f([2, 2, 3, 3], 2)], attributes: { strides: [3, 2], output_padding: [1, 1] } },
  ],
  pooling: [...pools('MaxPool', 24), ...pools('AveragePool', 24), ...pools('LpPool', 9)],
  recurrent,
  quantised,
  resizes,
  others,
};

describe.skipIf(ort === undefined)('against ONNX Runtime', () => {
  for (const [family, cases] of Object.entries(families)) {
    test.each(cases.map((c, i) => [`${family} ${i}: ${caseLabel(c)}`, c] as const))('%s', async (_, c) => {
      expect(await differenceFromOnnxRuntime(ort!, c)).toBeUndefined();
    });
  }
});
