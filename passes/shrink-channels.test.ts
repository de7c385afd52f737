/** Removal of what pruning emptied: one case an operator, then random networks; outputs must stay, dimensions must go. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { factsOf } from '../compiler/ir/analysis.js';
import type { GraphBuilder } from '../compiler/ir/build.js';
import type { ResampledAxis } from '../compiler/core/resample.js';
import { xoshiro128 } from '../compiler/io/random.js';
import { tensorOf, toNumbers, type DenseTensor } from '../compiler/ir/tensor.js';
import { elementCount, valueOf, type Graph, type Value } from '../compiler/ir/types.js';
import { add, div, f32, max, mul, unary } from '../compiler/kir/build.js';
import { evaluateGraph } from '../compiler/kir/evaluate.js';
import { importModel } from '../compiler/onnx/import.js';
import { applied, expectSameMeaning, graphOf, kindsOf, randomTensor } from '../test/support/graphs.js';
import { runPasses } from './manager.js';
import { channelsLastPasses, pipelineFor } from './pipeline.js';
import { shrinkChannels } from './shrink-channels.js';

const input = (g: GraphBuilder, shape: readonly number[], name = 'x'): Value => g.input(name, { dtype: 'f32', shape });
const relu = (g: GraphBuilder, x: Value): Value => g.map([x], (e) => max(e, f32(0)));
const sigmoid = (g: GraphBuilder, x: Value): Value => g.map([x], (e) => unary('sigmoid', e));

/** Random weights in which `isZero` says which positions (output, input, tap) are empty. */
function weights(shape: readonly number[], seed: number, isZero: (output: number, input: number, tap: number) => boolean = () => false): DenseTensor {
  const taps = elementCount(shape.slice(2)), t = randomTensor('f32', shape, seed);
  return tensorOf('f32', shape, Array.from(t.data as Float32Array, (x, i) => (isZero(Math.floor(i / taps / shape[1]!), Math.floor(i / taps) % shape[1]!, i % taps) ? 0 : x)));
}
interface ConvOptions { readonly pad?: number; readonly stride?: number; readonly group?: number; readonly dilation?: number }
function conv(g: GraphBuilder, x: Value, w: DenseTensor, { pad = 0, stride = 1, group = 1, dilation = 1 }: ConvOptions = {}): Value {
  const both = <T>(v: T): T[] => w.shape.slice(2).map(() => v);
  return g.op('conv', [x, g.constant(w, 'w')], { strides: both(stride), dilations: both(dilation), pads: both([pad, pad] as const), group, layout: 'ncs', out: 'f32' })[0]!;
}
const bias = (g: GraphBuilder, x: Value, numbers: readonly number[]): Value => g.map([x, g.constant(tensorOf('f32', [numbers.length, 1, 1], numbers))], add);
/** W[N, K] as a Gemm has it. */
const gemm = (g: GraphBuilder, x: Value, w: DenseTensor): Value => g.op('matmul', [x, g.constant(w, 'w')], { transA: false, transB: true, out: 'f32' })[0]!;
const pool = (g: GraphBuilder, x: Value, mode: 'max' | 'average', more: { readonly pad?: number; readonly countIncludePad?: boolean } = {}): Value =>
  g.op('pool', [x], { mode, kernel: [2, 2], strides: [2, 2], dilations: [1, 1], pads: [[more.pad ?? 0, more.pad ?? 0], [0, 0]], ceil: false, countIncludePad: more.countIncludePad ?? false, layout: 'ncs' })[0]!;

const shrunk = (build: (g: GraphBuilder) => Value | readonly Value[]): Graph => applied(graphOf(build), shrinkChannels, 1e-5);
/** Shapes of the weights that are left, in order. */
const weightShapes = (graph: Graph): (readonly number[])[] => graph.nodes.flatMap((n) => (n.kind === 'conv' || n.kind === 'matmul' || n.kind === 'convTranspose' ? [valueOf(graph, n.inputs[1]!).type.shape] : []));
const dead = (...which: number[]) => (output: number): boolean => which.includes(output);
const unread = (...which: number[]) => (_: number, channel: number): boolean => which.includes(channel);

describe('channels that are constants', () => {
  test('an empty filter goes with its bias and activation; the constant moves into what its reader adds', () => {
    const after = shrunk((g) => {
      const hidden = relu(g, bias(g, conv(g, input(g, [2, 3, 6, 6]), weights([4, 3, 3, 3], 1, dead(1, 3)), { pad: 1 }), [0.5, -1, 0.25, 2]));
      return conv(g, hidden, weights([5, 4, 1, 1], 2));
    });
    expect(weightShapes(after)).toEqual([[2, 3, 3, 3], [5, 2, 1, 1]]);
    expect(kindsOf(after).at(-1)).toBe('elementwise');
  });
  test('beside a padded convolution only zeros are constants', () => {
    const net = (biases: readonly number[]) => shrunk((g) => conv(g, relu(g, bias(g, conv(g, input(g, [1, 3, 6, 6]), weights([4, 3, 1, 1], 1, dead(1, 3))), biases)), weights([5, 4, 3, 3], 2), { pad: 1 }));
    // channel 1 is relu(-1) = 0; channel 3 is 2, which the padding is not
    expect(weightShapes(net([0.5, -1, 0.25, 2]))).toEqual([[3, 3, 1, 1], [5, 3, 3, 3]]);
    expect(kindsOf(net([0.5, -1, 0.25, 2]))).toEqual(['conv', 'elementwise', 'elementwise', 'conv']);
  });
  test('scale and shift of a batch normalisation', () => {
    const after = shrunk((g) => {
      const y = conv(g, input(g, [1, 2, 5, 5]), weights([4, 2, 3, 3], 1, dead(0, 2)));
      const norm = g.map([y, g.constant(randomTensor('f32', [1, 4, 1, 1], 3)), g.constant(randomTensor('f32', [4, 1, 1], 4))], (e, s, b) => add(mul(e, s), b));
      return conv(g, sigmoid(g, norm), weights([3, 4, 3, 3], 2));
    });
    expect(weightShapes(after)).toEqual([[2, 2, 3, 3], [3, 2, 3, 3]]);
  });
  test('through pools, a global average and the flattening of an image', () => {
    for (const mode of ['max', 'average'] as const) {
      const after = shrunk((g) => {
        const hidden = pool(g, bias(g, conv(g, input(g, [2, 2, 6, 6]), weights([4, 2, 3, 3], 1, dead(1, 2))), [0, 3, -2, 1]), mode);
        return gemm(g, g.reshape(hidden, [2, 16]), weights([5, 16], 2));
      });
      expect(weightShapes(after)).toEqual([[2, 2, 3, 3], [5, 8]]);
    }
    const averaged = shrunk((g) => {
      const hidden = bias(g, conv(g, input(g, [2, 2, 6, 6]), weights([4, 2, 3, 3], 1, dead(0))), [7, 3, -2, 1]);
      const mean = g.map([g.op('reduce', [hidden], { op: 'sum', axes: [2, 3], keepdims: false })[0]!], (e) => div(e, f32(16)));
      return gemm(g, mean, weights([5, 4], 2));
    });
    expect(weightShapes(averaged)).toEqual([[3, 2, 3, 3], [5, 3]]);
  });
  test('an average that counts its padding keeps no constant', () => {
    const net = (countIncludePad: boolean) => weightShapes(shrunk((g) =>
      conv(g, pool(g, bias(g, conv(g, input(g, [1, 2, 6, 6]), weights([3, 2, 1, 1], 1, dead(1))), [1, 2, 3]), 'average', { pad: 1, countIncludePad }), weights([2, 3, 1, 1], 2))));
    expect(net(false)).toEqual([[2, 2, 1, 1], [2, 2, 1, 1]]);
    expect(net(true)).toEqual([[3, 2, 1, 1], [2, 3, 1, 1]]);
  });
  test('constants go through several layers; a layer of which nothing is left becomes its bias', () => {
    const after = shrunk((g) => {
      const x = input(g, [1, 3, 5, 5]), first = conv(g, x, weights([4, 3, 3, 3], 1), { pad: 1 });
      const branch = bias(g, conv(g, relu(g, conv(g, first, weights([6, 4, 3, 3], 2), { pad: 1 })), weights([4, 6, 3, 3], 3, () => true), { pad: 1 }), [1, 2, 3, 4]);
      return relu(g, g.map([first, branch], add));
    });
    expect(weightShapes(after)).toEqual([[4, 3, 3, 3]]);
  });
});

describe('channels that nobody reads', () => {
  test('go from their producer, and from what that alone needed', () => {
    const after = shrunk((g) => {
      // channel 2 of the first layer is read by channel 0 of the second only, which nobody reads
      const second = conv(g, relu(g, conv(g, input(g, [1, 2, 6, 6]), weights([3, 2, 3, 3], 1))), weights([4, 3, 3, 3], 2, (o, i) => i === 2 && o !== 0), { pad: 1 });
      return conv(g, sigmoid(g, second), weights([2, 4, 3, 3], 3, unread(0)), { pad: 1 });
    });
    expect(weightShapes(after)).toEqual([[2, 2, 3, 3], [3, 2, 3, 3], [2, 3, 3, 3]]);
  });
  test('rows of a matrix product that are zero: columns of the one before', () => {
    const after = shrunk((g) => gemm(g, relu(g, g.op('matmul', [input(g, [3, 5]), g.constant(randomTensor('f32', [5, 8], 1))], { transA: false, transB: false, out: 'f32' })[0]!), weights([4, 8], 2, unread(1, 2, 7))));
    expect(weightShapes(after)).toEqual([[5, 5], [4, 5]]);
  });
  test('stay where one of several readers needs them, or the caller', () => {
    const net = (more: (g: GraphBuilder, hidden: Value) => Value[]) => weightShapes(shrunk((g) => {
      const hidden = relu(g, conv(g, input(g, [1, 2, 4, 4]), weights([3, 2, 1, 1], 1)));
      return [conv(g, hidden, weights([2, 3, 1, 1], 2, unread(1))), ...more(g, hidden)];
    }));
    expect(net(() => [])[0]).toEqual([2, 2, 1, 1]);
    expect(net((g, h) => [conv(g, h, weights([2, 3, 1, 1], 3, unread(1, 2)))])[0]).toEqual([2, 2, 1, 1]);
    expect(net((g, h) => [conv(g, h, weights([2, 3, 1, 1], 3, unread(0)))])[0]).toEqual([3, 2, 1, 1]);
    expect(net((_, h) => [h])[0]).toEqual([3, 2, 1, 1]);
    expect(net((g, h) => g.op('softmax', [h], { axis: 1, log: false } as never))[0]).toEqual([3, 2, 1, 1]);
  });
  test('two heads of attention, of which one is not read', () => {
    const after = shrunk((g) => {
      const heads = g.reshape(g.op('matmul', [input(g, [6, 4]), g.constant(randomTensor('f32', [4, 8], 1))], { transA: false, transB: false, out: 'f32' })[0]!, [6, 2, 4]);
      const scaled = g.reshape(g.map([heads], (e) => mul(e, f32(2))), [6, 8]);
      return gemm(g, scaled, weights([3, 8], 2, unread(0, 1, 2, 3)));
    });
    expect(weightShapes(after)).toEqual([[4, 4], [3, 4]]);
    // half of a head cannot go: heads have one size
    const half = shrunk((g) => {
      const heads = g.reshape(g.op('matmul', [input(g, [6, 4]), g.constant(randomTensor('f32', [4, 8], 1))], { transA: false, transB: false, out: 'f32' })[0]!, [6, 2, 4]);
      return gemm(g, g.reshape(g.map([heads], (e) => mul(e, f32(2))), [6, 8]), weights([3, 8], 2, unread(0, 1)));
    });
    expect(weightShapes(half)).toEqual([[4, 8], [3, 8]]);
  });
});

describe('operators that hand channels on', () => {
  test('a residual sum: only what every operand can do without', () => {
    const net = (first: number[], second: number[]) => weightShapes(shrunk((g) => {
      const x = input(g, [1, 2, 5, 5]), left = conv(g, x, weights([4, 2, 3, 3], 1, dead(...first)), { pad: 1 }), right = conv(g, x, weights([4, 2, 1, 1], 2, dead(...second)));
      return conv(g, relu(g, g.map([left, right], add)), weights([3, 4, 3, 3], 3), { pad: 1 });
    }));
    expect(net([0, 1], [1, 2])).toEqual([[3, 2, 3, 3], [3, 2, 1, 1], [3, 3, 3, 3]]);
    expect(net([0], [3])).toEqual([[4, 2, 3, 3], [4, 2, 1, 1], [3, 4, 3, 3]]);
  });
  test('a residual of the graph\'s input keeps its shape', () => {
    expect(weightShapes(shrunk((g) => { const x = input(g, [1, 3, 4, 4]); return g.map([x, conv(g, x, weights([3, 3, 1, 1], 1, dead(1)))], add); }))).toEqual([[3, 3, 1, 1]]);
  });
  test('concatenation', () => {
    const after = shrunk((g) => {
      const x = input(g, [1, 2, 4, 4]), parts = [1, 2].map((seed) => relu(g, conv(g, x, weights([3, 2, 1, 1], seed, dead(seed)))));
      return conv(g, g.op('concat', parts, { axis: 1 })[0]!, weights([2, 6, 3, 3], 5, unread(0)), { pad: 1 });
    });
    expect(weightShapes(after)).toEqual([[1, 2, 1, 1], [2, 2, 1, 1], [2, 3, 3, 3]]);
  });
  test('a depthwise convolution', () => {
    const after = shrunk((g) => {
      const y = relu(g, conv(g, input(g, [1, 2, 5, 5]), weights([4, 2, 1, 1], 1, dead(0))));
      return conv(g, bias(g, conv(g, y, weights([4, 1, 3, 3], 2, dead(2)), { pad: 1, group: 4 }), [1, 2, 3, 4]), weights([3, 4, 1, 1], 3));
    });
    expect(weightShapes(after)).toEqual([[2, 2, 1, 1], [2, 1, 3, 3], [3, 2, 1, 1]]);
    expect(after.nodes.flatMap((n) => (n.kind === 'conv' ? [n.attrs.group] : []))).toEqual([1, 2, 1]);
  });
  test('a channel attention: the gate of a removed channel goes, too', () => {
    const after = shrunk((g) => {
      const y = conv(g, input(g, [1, 2, 4, 4]), weights([4, 2, 1, 1], 1));
      const mean = g.op('reduce', [y], { op: 'sum', axes: [2, 3], keepdims: true })[0]!;
      const gate = sigmoid(g, conv(g, relu(g, conv(g, mean, weights([2, 4, 1, 1], 2, unread(3)))), weights([4, 2, 1, 1], 3)));
      return conv(g, g.map([y, gate], mul), weights([3, 4, 1, 1], 4, unread(3)));
    });
    expect(weightShapes(after)).toEqual([[3, 2, 1, 1], [2, 3, 1, 1], [3, 2, 1, 1], [3, 3, 1, 1]]);
  });
  test('transposes, padding, cropping, upsampling, transposed convolutions', () => {
    const twice: ResampledAxis = { axis: 2, taps: 1, index: [0, 0, 1, 1, 2, 2] };
    const after = shrunk((g) => {
      const y = relu(g, conv(g, input(g, [1, 2, 4, 4]), weights([4, 2, 1, 1], 1, dead(1))));
      const cropped = g.op('slice', [g.op('pad', [y], { mode: 'edge', before: [0, 0, 1, 0], after: [0, 0, 0, 0] })[0]!], { starts: [0, 0, 1, 0], steps: [1, 1, 1, 1], shape: [1, 4, 3, 4] })[0]!;
      const up = g.transpose(g.transpose(g.op('resample', [cropped], { axes: [twice] })[0]!, [0, 2, 3, 1]), [0, 3, 1, 2]);
      const transposed = g.op('convTranspose', [up, g.constant(randomTensor('f32', [4, 3, 2, 2], 2), 'w')], { strides: [2, 2], dilations: [1, 1], pads: [[0, 0], [0, 0]], group: 1, layout: 'ncs', out: 'f32', outputPadding: [0, 0] })[0]!;
      return conv(g, transposed, weights([2, 3, 3, 3], 3, unread(0)));
    });
    expect(weightShapes(after)).toEqual([[3, 2, 1, 1], [3, 2, 2, 2], [2, 2, 3, 3]]);
  });
  test('grouped convolutions are left alone', () => {
    expect(weightShapes(shrunk((g) => conv(g, conv(g, input(g, [1, 2, 5, 5]), weights([4, 2, 1, 1], 1, dead(0))), weights([4, 2, 3, 3], 2), { group: 2 })))).toEqual([[4, 2, 1, 1], [4, 2, 3, 3]]);
  });
});

describe('borders of kernels', () => {
  const border = (axis: 0 | 1, ...positions: number[]) => (_: number, __: number, tap: number): boolean => positions.includes(axis === 0 ? Math.floor(tap / 3) : tap % 3);
  test.each<[string, (g: GraphBuilder) => Value, readonly number[], readonly (readonly [number, number])[]]>([
    ['a row in front', (g) => conv(g, input(g, [1, 2, 6, 5]), weights([3, 2, 3, 3], 1, border(0, 0)), { pad: 1 }), [3, 2, 2, 3], [[0, 1], [1, 1]]],
    ['a column behind', (g) => conv(g, input(g, [1, 2, 6, 5]), weights([3, 2, 3, 3], 1, border(1, 2)), { pad: 1 }), [3, 2, 3, 2], [[1, 1], [1, 0]]],
    ['all but the centre: pointwise', (g) => conv(g, input(g, [1, 2, 6, 5]), weights([3, 2, 3, 3], 1, (_, __, t) => t !== 4), { pad: 1 }), [3, 2, 1, 1], [[0, 0], [0, 0]]],
    ['with a stride', (g) => conv(g, input(g, [1, 2, 6, 5]), weights([3, 2, 3, 3], 1, border(0, 0, 2)), { pad: 1, stride: 2 }), [3, 2, 1, 3], [[0, 0], [1, 1]]],
    ['with holes', (g) => conv(g, input(g, [1, 2, 9, 9]), weights([3, 2, 3, 3], 1, border(0, 0)), { pad: 2, dilation: 2 }), [3, 2, 2, 3], [[0, 2], [2, 2]]],
    ['less padding than zeros', (g) => conv(g, input(g, [1, 2, 9, 9]), weights([3, 2, 3, 3], 1, border(0, 0, 1)), { pad: 1 }), [3, 2, 2, 3], [[0, 1], [1, 1]]],
    ['without padding in front there is nothing to gain', (g) => conv(g, input(g, [1, 2, 6, 6]), weights([3, 2, 3, 3], 1, border(0, 0))), [3, 2, 3, 3], [[0, 0], [0, 0]]],
    ['a depthwise one', (g) => conv(g, input(g, [1, 3, 6, 6]), weights([3, 1, 3, 3], 1, border(1, 0)), { pad: 1, group: 3 }), [3, 1, 3, 2], [[1, 1], [0, 1]]],
  ])('%s', (_, build, shape, pads) => {
    const after = shrunk(build), [node] = after.nodes;
    expect([weightShapes(after), (node!.attrs as { pads: unknown }).pads]).toEqual([[shape], pads]);
  });
  test('a kernel that became pointwise lets constants through', () => {
    const after = shrunk((g) => conv(g, bias(g, conv(g, input(g, [1, 2, 5, 5]), weights([3, 2, 1, 1], 1, dead(1))), [1, 2, 3]), weights([2, 3, 3, 3], 2, (_, __, t) => t !== 4), { pad: 1 }));
    expect(weightShapes(after)).toEqual([[2, 2, 1, 1], [2, 2, 1, 1]]);
  });
});

test('a graph without anything dead is returned as it is', () => {
  const graph = graphOf((g) => conv(g, relu(g, conv(g, input(g, [1, 2, 5, 5]), weights([4, 2, 3, 3], 1), { pad: 1 })), weights([3, 4, 3, 3], 2), { pad: 1 }));
  expect(shrinkChannels.run(graph, { report: () => undefined })).toBe(graph);
});

test('a weight of zero ignores infinities', () => {
  const graph = graphOf((g) => conv(g, g.map([conv(g, input(g, [1, 1, 1, 1]), tensorOf('f32', [2, 1, 1, 1], [1, 1]))], (e) => div(f32(1), e)), tensorOf('f32', [1, 2, 1, 1], [1, 0])));
  const [y] = evaluateGraph(shrinkChannels.run(graph, { report: () => undefined }), [tensorOf('f32', [1, 1, 1, 1], [2])]);
  expect(toNumbers(y!)).toEqual([0.5]);
});

/** A random network of convolutions, activations, sums, concatenations and pools, in which filters, channels and borders are empty. */
function randomNetwork(seed: number): Graph {
  const next = xoshiro128(seed), pick = (n: number): number => next() % n, chance = (p: number): boolean => next() < p * 2 ** 32;
  return graphOf((g) => {
    let x = input(g, [1 + pick(2), 1 + pick(3), 6, 6]);
    const earlier: Value[] = [];
    const layer = (from: Value, outputs: number): Value => {
      const inputs = from.type.shape[1]!, k = [1, 3][pick(2)]!, share = [0, 0.3, 0.6, 1][pick(4)]!;
      const rows = Array.from({ length: outputs }, () => chance(share)), columns = Array.from({ length: inputs }, () => chance(0.3)), edge = pick(4), only = chance(0.2);
      const y = conv(g, from, weights([outputs, inputs, k, k], pick(1000), (o, i, t) => rows[o]! || (columns[i]! && !only) || (k === 3 && edge === 0 && t < 3) || (k === 3 && edge === 1 && t % 3 === 2)), { pad: (k - 1) / 2 });
      return chance(0.7) ? g.map([y, g.constant(randomTensor('f32', [outputs, 1, 1], pick(1000)))], add) : y;
    };
    for (let depth = 2 + pick(5); depth > 0; depth--) {
      earlier.push(x);
      const channels = x.type.shape[1]!, peers = earlier.filter((v) => v.type.shape.join() === x.type.shape.join());
      switch (pick(8)) {
        case 0: x = g.map([x, layer(peers[pick(peers.length)]!, channels)], add); break;
        case 1: x = g.op('concat', [x, layer(peers[pick(peers.length)]!, 1 + pick(4))], { axis: 1 })[0]!; break;
        case 2: x = conv(g, x, weights([channels, 1, 3, 3], pick(1000), (o) => o % 2 === pick(3)), { pad: 1, group: channels }); break;
        case 3: if (Math.min(x.type.shape[2]!, x.type.shape[3]!) > 1) x = pool(g, x, chance(0.5) ? 'max' : 'average', { pad: pick(2), countIncludePad: chance(0.5) }); break;
        case 4: x = sigmoid(g, layer(x, 1 + pick(6))); break;
        default: x = relu(g, layer(x, 1 + pick(6)));
      }
    }
    const flat = g.reshape(x, [x.type.shape[0]!, elementCount(x.type.shape.slice(1))]), columns = flat.type.shape[1]!, area = elementCount(x.type.shape.slice(2));
    const last = gemm(g, flat, weights([3, columns], pick(1000), (_, i) => Math.floor(i / area) % 3 === 0));
    return chance(0.2) ? [last, earlier.at(-1)!] : last;
  });
}

test('random networks compute the same with fewer dimensions', () => {
  let smaller = 0;
  for (let seed = 1; seed <= 250; seed++) {
    const before = randomNetwork(seed), after = applied(before, shrinkChannels, 2e-5), macs = [before, after].map((x) => factsOf(x).macs) as [number, number];
    expect(macs[1]).toBeLessThanOrEqual(macs[0]);
    if (macs[1] < macs[0]) smaller++;
    // nothing is left for a second time
    expect(factsOf(shrinkChannels.run(after, { report: () => undefined })).macs).toBe(macs[1]);
  }
  expect(smaller).toBeGreaterThan(200);
});

/** A model in which filters are emptied as by structured pruning: every third output channel of every convolution, its bias too. */
function withEmptyFilters(graph: Graph): Graph {
  const values = new Map(graph.values);
  const clear = (id: number, axis: number): void => {
    const v = values.get(id)!, t = v.constant as DenseTensor, inner = elementCount(t.shape.slice(axis + 1)), extent = t.shape[axis]!;
    values.set(id, { ...v, constant: tensorOf('f32', t.shape, Array.from(t.data as Float32Array, (x, i) => (Math.floor(i / inner) % extent % 3 === 1 ? 0 : x))) });
  };
  for (const n of graph.nodes) if (n.kind === 'conv' && values.get(n.inputs[1]!)?.constant) clear(n.inputs[1]!, 0);
  return { ...graph, values };
}

const pathOf = (name: string): string => ['examples/models', '../shared/models'].map((dir) => `${dir}/${name}`).find((p) => existsSync(p)) ?? '';
for (const [name, atMost] of [['mlperf-tiny/ic_resnet8_fp32.onnx', 0.85], ['mlperf-tiny/kws_dscnn_fp32.onnx', 0.7], ['mnist-cnn/mnist.onnx', 0.7], ['ultraface/version-RFB-320_simplified.onnx', 0.8]] as const) {
  test.skipIf(pathOf(name) === '')(`${name} with a third of its filters empty does at most ${100 * atMost} % of the work${pathOf(name) === '' ? ' (skipped: the model is not here)' : ''}`, () => {
    const graph = withEmptyFilters(importModel({ bytes: readFileSync(pathOf(name)), name }, {}).graph), without = pipelineFor({ passes: channelsLastPasses }).filter((p) => p !== shrinkChannels);
    const dense = runPasses(graph, without).graph, after = runPasses(graph, pipelineFor({ passes: channelsLastPasses }), { verifyEach: true }).graph;
    expect(factsOf(after).macs).toBeLessThan(atMost * factsOf(dense).macs);
    expectSameMeaning(dense, after, 1e-4);
  });
}
