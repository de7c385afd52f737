/** Networks of real shapes with random weights: a builder of ONNX nodes that knows shapes and keeps account of the weights. */
import { xoshiro128, type Range } from '../../compiler/io/random.js';
import { denseTensor, tensorOf, type Tensor } from '../../compiler/ir/tensor.js';
import { elementCount } from '../../compiler/ir/types.js';
import { node, onnxModel, type ModelSpec, type NodeSpec } from '../../test/support/onnx-builder.js';

/** A tensor of the network under construction. */
export interface Value {
  readonly name: string;
  readonly shape: readonly number[];
  /** f32 where absent. */
  readonly dtype?: 'u8';
}

/** A weight as a matrix of outputs by inputs, for pruning and for counting. */
export interface Weight {
  readonly name: string;
  /** Which axis of the tensor numbers the outputs: 0 for Conv and transposed Gemm, 1 for the right side of a MatMul. */
  readonly outputAxis: 0 | 1;
  /** How often an inference multiplies by each element: positions of the output times batch. */
  readonly uses: number;
  /** False for what pruning leaves alone: first convolution, last layer, depthwise convolutions. */
  readonly prune: boolean;
  /** Initialiser that the weight's integers are multiplied by, where it has integers. */
  readonly scale?: string;
}

export interface Network {
  readonly model: ModelSpec;
  readonly weights: readonly Weight[];
  /** Multiply-adds between activations, which no pruning removes. */
  readonly activationMacs: number;
  /** What inputs are drawn from. */
  readonly range: Range;
}

/** The bytes of the network's .onnx file. */
export const networkBytes = (n: Network): Uint8Array => onnxModel(n.model);

export interface ConvOptions {
  readonly out: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly pad?: number;
  readonly groups?: number;
  readonly prune?: boolean;
  /** Factor on the standard deviation of the weights; 1 keeps the variance of what a ReLU feeds on (He et al., 2015, eq. 10). */
  readonly gain?: number;
}

export interface LinearOptions {
  readonly out: number;
  readonly prune?: boolean;
  readonly gain?: number;
  /** Gemm takes matrices only; MatMul followed by Add, as transformers are exported, any rank. */
  readonly form?: 'gemm' | 'matmul';
  readonly bias?: boolean;
}

const BIAS_DEVIATION = 0.1;
/** Of weights that are integers: three times it is within s8. */
const INTEGER_DEVIATION = 40;
/** Standard deviation of weights is gain * sqrt(2 / fan-in) where a ReLU halves the variance, sqrt(1 / fan-in) where none does. */
export const WITHOUT_RELU = Math.SQRT1_2;

/** Gaussian numbers (Box and Muller, 1958) from a seed: the same on every machine up to the last bits of log and cos. */
function gaussian(seed: number): (length: number, deviation: number) => Float32Array {
  const next = xoshiro128(seed), uniform = (): number => ((next() >>> 8) + 0.5) / 0x1000000;
  return (length, deviation) => {
    const data = new Float32Array(length);
    for (let i = 0; i < length; i += 2) {
      const radius = deviation * Math.sqrt(-2 * Math.log(uniform())), angle = 2 * Math.PI * uniform();
      data[i] = radius * Math.cos(angle);
      if (i + 1 < length) data[i + 1] = radius * Math.sin(angle);
    }
    return data;
  };
}

/** @param seed of the weights */
export function networkBuilder(seed = 1) {
  const draw = gaussian(seed), nodes: NodeSpec[] = [], weights: Weight[] = [];
  const inputs: Record<string, { dtype: 'f32' | 'u8'; shape: readonly number[] }> = {}, initializers: Record<string, Tensor> = {};
  let activationMacs = 0;

  const fresh = (op: string): string => `${op.toLowerCase()}_${nodes.length}`;
  const add = (op: string, ins: readonly string[], shape: readonly number[], attributes: NodeSpec['attributes'] = {}): Value => {
    const name = fresh(op);
    nodes.push(node(op, ins, [name], attributes, { name }));
    return { name, shape };
  };
  const constant = (name: string, tensor: Tensor): string => {
    initializers[name] = tensor;
    return name;
  };
  const random = (name: string, shape: readonly number[], deviation: number): string => constant(name, denseTensor('f32', shape, draw(elementCount(shape), deviation)));
  const scalar = (x: number): string => constant(`scalar_${x}`, tensorOf('f32', [], [x]));
  const ints = (name: string, x: readonly number[]): string => constant(name, tensorOf('i64', [x.length], x));
  const same = (op: string, x: Value, attributes?: NodeSpec['attributes']): Value => add(op, [x.name], x.shape, attributes);
  const pooled = (x: Value, kernel: number, stride: number, pad: number): readonly number[] =>
    x.shape.map((d, axis) => (axis < 2 ? d : Math.floor((d + 2 * pad - kernel) / stride) + 1));

  return {
    input(name: string, shape: readonly number[], dtype: 'f32' | 'u8' = 'f32'): Value {
      inputs[name] = { dtype, shape };
      return { name, shape, ...(dtype === 'u8' ? { dtype } : {}) };
    },
    /** Convolution with bias, as batch normalisation leaves it when folded. */
    conv(x: Value, { out, kernel, stride = 1, pad = 0, groups = 1, prune = true, gain = 1 }: ConvOptions): Value {
      const [batch, channels] = x.shape as [number, number], name = fresh('conv'), fanIn = (channels / groups) * kernel * kernel;
      const [, , height, width] = pooled(x, kernel, stride, pad) as [number, number, number, number];
      const weight = random(`${name}.weight`, [out, channels / groups, kernel, kernel], gain * Math.sqrt(2 / fanIn));
      weights.push({ name: weight, outputAxis: 0, uses: batch * height * width, prune });
      return add('Conv', [x.name, weight, random(`${name}.bias`, [out], BIAS_DEVIATION)], [batch, out, height, width],
        { kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [pad, pad, pad, pad], group: groups });
    },
    linear(x: Value, { out, prune = true, gain = 1, form = 'gemm', bias = true }: LinearOptions): Value {
      const features = x.shape.at(-1)!, name = fresh('linear'), deviation = gain * Math.sqrt(2 / features), shape = [...x.shape.slice(0, -1), out];
      const weight = random(`${name}.weight`, form === 'gemm' ? [out, features] : [features, out], deviation);
      weights.push({ name: weight, outputAxis: form === 'gemm' ? 0 : 1, uses: elementCount(x.shape) / features, prune });
      const addend = bias ? [random(`${name}.bias`, [out], BIAS_DEVIATION)] : [];
      if (form === 'gemm') return add('Gemm', [x.name, weight, ...addend], shape, { transB: 1 });
      const product = add('MatMul', [x.name, weight], shape);
      return addend.length ? add('Add', [product.name, ...addend], shape) : product;
    },
    /** A product of integers: u8 around 128 by s8, scaled so that results are as large as what they are of. */
    integerLinear(x: Value, { out, prune = true }: Pick<LinearOptions, 'out' | 'prune'>): Value {
      const features = x.shape.at(-1)!, name = fresh('linear'), shape = [...x.shape.slice(0, -1), out];
      const integers = draw(features * out, INTEGER_DEVIATION).map((v) => Math.max(-127, Math.min(127, Math.round(v))));
      const weight = constant(`${name}.weight`, denseTensor('i8', [features, out], Int8Array.from(integers))), scale = constant(`${name}.scale`, tensorOf('f32', [], [1 / (INTEGER_DEVIATION * Math.sqrt(features))]));
      weights.push({ name: weight, outputAxis: 1, uses: elementCount(x.shape) / features, prune, scale });
      const parameters = [scalar(1), constant('middle', tensorOf('u8', [], [128]))], zero = constant('zero', tensorOf('i8', [], [0]));
      return { ...add('QLinearMatMul', [x.name, ...parameters, weight, scale, zero, ...parameters], shape), dtype: 'u8' };
    },
    relu: (x: Value): Value => same('Relu', x),
    maxPool: (x: Value, kernel: number, stride: number, pad = 0): Value =>
      add('MaxPool', [x.name], pooled(x, kernel, stride, pad), { kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [pad, pad, pad, pad] }),
    globalAveragePool: (x: Value): Value => add('GlobalAveragePool', [x.name], [x.shape[0]!, x.shape[1]!, 1, 1]),
    flatten: (x: Value): Value => add('Flatten', [x.name], [x.shape[0]!, elementCount(x.shape) / x.shape[0]!], { axis: 1 }),
    add: (a: Value, b: Value): Value => add('Add', [a.name, b.name], a.shape),
    concat: (xs: readonly Value[], axis: number): Value =>
      add('Concat', xs.map((x) => x.name), xs[0]!.shape.map((d, i) => (i === axis ? xs.reduce((s, x) => s + x.shape[axis]!, 0) : d)), { axis }),
    reshape: (x: Value, shape: readonly number[]): Value => add('Reshape', [x.name, ints(`${fresh('reshape')}.shape`, shape)], shape),
    transpose: (x: Value, perm: readonly number[]): Value => add('Transpose', [x.name], perm.map((p) => x.shape[p]!), { perm }),
    gather: (x: Value, indices: readonly number[], axis: number): Value =>
      add('Gather', [x.name, ints(`${fresh('gather')}.indices`, indices)], x.shape.map((d, i) => (i === axis ? indices.length : d)), { axis }),
    /** Product of two activations. */
    matmul(a: Value, b: Value): Value {
      const shape = [...a.shape.slice(0, -1), b.shape.at(-1)!];
      activationMacs += elementCount(shape) * a.shape.at(-1)!;
      return add('MatMul', [a.name, b.name], shape);
    },
    /** The k largest along axis 1 stay, the others become 0: TopK and ScatterElements, as PyTorch's topk and scatter are exported. */
    kWinners(x: Value, k: number): Value {
      const best = fresh('topk'), values = `${best}.values`, indices = `${best}.indices`;
      nodes.push(node('TopK', [x.name, ints(`${best}.k`, [k])], [values, indices], { axis: 1 }, { name: best }));
      return add('ScatterElements', [constant(`${best}.zeros`, denseTensor('f32', x.shape, new Float32Array(elementCount(x.shape)))), indices, values], x.shape, { axis: 1 });
    },
    divide: (x: Value, by: number): Value => add('Div', [x.name, scalar(by)], x.shape),
    softmax: (x: Value): Value => same('Softmax', x, { axis: -1 }),
    /** 0.5 x (1 + erf(x / sqrt 2)), the five nodes that PyTorch exports. */
    gelu(x: Value): Value {
      const erf = same('Erf', add('Div', [x.name, scalar(Math.SQRT2)], x.shape)), onePlus = add('Add', [erf.name, scalar(1)], x.shape);
      return add('Mul', [add('Mul', [x.name, onePlus.name], x.shape).name, scalar(0.5)], x.shape);
    },
    layerNorm(x: Value): Value {
      const features = x.shape.at(-1)!, name = fresh('layernorm');
      const scale = constant(`${name}.scale`, denseTensor('f32', [features], draw(features, BIAS_DEVIATION).map((v) => 1 + v)));
      return add('LayerNormalization', [x.name, scale, random(`${name}.bias`, [features], BIAS_DEVIATION)], x.shape, { axis: -1, epsilon: 1e-5 });
    },
    finish: (outputs: readonly Value[], range: Range = { low: -1, high: 1 }): Network => ({
      model: { nodes, inputs, initializers, outputs: Object.fromEntries(outputs.map((o) => [o.name, { dtype: o.dtype ?? 'f32', shape: o.shape }])), opset: 17, irVersion: 8 },
      weights, activationMacs, range,
    }),
  };
}

export type NetworkBuilder = ReturnType<typeof networkBuilder>;
