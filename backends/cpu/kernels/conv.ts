/** Convolutions of channels-last data as implicit matrix products: no patch matrix, padding costs nothing. */
import { convGeometry } from '../../../compiler/core/conv.js';
import { denseData } from '../../../compiler/ir/tensor.js';
import { elementCount, type NodeOf } from '../../../compiler/ir/types.js';
import { add, asIndex, div, max, min, mul, sub } from '../../../compiler/kir/build.js';
import type { Expr } from '../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../types.js';
import type { Isa } from '../isa.js';
import { buildLineProduct, packWeights } from './line-product.js';
import { joinBatches, sumType } from './matmul.js';
import { chooseTiling } from './tile.js';
import { channelVectors, outputOf } from './vector.js';

/** One spatial dimension of a convolution. */
export interface Axis {
  readonly input: number;
  readonly output: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
}

/** Output coordinates [from, to) whose window has tap `tap` inside the input. */
export function reachOf(a: Axis, tap: number): [number, number] {
  const shift = tap * a.dilation - a.before;
  const from = Math.max(0, Math.ceil(-shift / a.stride));
  const to = Math.min(a.output, Math.floor((a.input - 1 - shift) / a.stride) + 1);
  return [Math.min(from, a.output), Math.max(to, 0)];
}

/** Taps [from, to) that lie inside the input for output coordinate `at`; undefined where all of them always do. */
export function tapBounds(a: Axis, at: Expr): { from: Expr; to: Expr } | undefined {
  const last = (a.output - 1) * a.stride + (a.kernel - 1) * a.dilation - a.before;
  if (a.before <= 0 && last < a.input) return undefined;
  const first = sub(mul(at, a.stride), a.before);
  return {
    from: max(0, div(add(sub(0, first), a.dilation - 1), a.dilation)),
    to: min(a.kernel, div(add(sub(a.input, first), a.dilation - 1), a.dilation)),
  };
}

/** The last spatial dimension and the one before it (of extent 1 where there is none). */
export function axesOf(node: NodeOf<'conv'>, g: ReturnType<typeof convGeometry>): [Axis, Axis] {
  const axis = (d: number): Axis => (d < 0
    ? { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0 }
    : { input: g.input[d]!, output: g.output[d]!, kernel: g.kernel[d]!, stride: node.attrs.strides[d]!, dilation: node.attrs.dilations[d]!, before: node.attrs.pads[d]![0] });
  return [axis(g.input.length - 2), axis(g.input.length - 1)];
}

/** One filter a channel: a schedule of its own (depthwise.ts). */
export const isDepthwise = (group: number, g: ReturnType<typeof convGeometry>): boolean => group > 1 && g.perGroup === 1 && g.outChannels === group;

export function convRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    if (request.node.kind !== 'conv') return [];
    const node = request.node as NodeOf<'conv'>;
    const { attrs } = node, [x, w] = request.inputs, y = request.outputs[0]!;
    const weights = request.constants[1];
    const acc = sumType(x!, w!, attrs.out);
    if (attrs.layout !== 'nsc' || !weights || !acc || attrs.strides.length > 2 || x!.strides.at(-1) !== 1) return [];
    const g = convGeometry(attrs, [x!, w!]);
    if (elementCount(y.shape) === 0 || g.perGroup === 0 || isDepthwise(attrs.group, g)) return [];
    const [rows, cols] = axesOf(node, g);
    const channels = g.outChannels / attrs.group, depth = g.perGroup, taps = elementCount(g.kernel);
    const vectors = channelVectors(channels, isa.lanes);
    const data = denseData(weights);
    const weightAt = (group: number, row: number, c: number): number => Number(data[row * g.outChannels + group * channels + c]);
    const pixel = x!.strides.at(-2)!, image = x!.strides.length === 4 ? x!.strides[1]! : 0;

    // A 1x1 kernel that visits every pixel is a matrix product with as many rows as there are pixels.
    const pointwise = taps === 1 && attrs.group === 1 && [rows, cols].every((a) => a.stride === 1 && a.input === a.output && a.before === 0)
      ? joinBatches({ a: x!, b: { ...w!, shape: [depth, channels], strides: [channels, 1] }, y, epilogue: request.epilogue }, { transA: false, transB: false, out: attrs.out })
      : undefined;
    const flat = pointwise && pointwise.y.shape.length === 2 ? pointwise : undefined;
    const points = flat ? flat.y.shape[0]! : cols.output;
    const lines = flat ? [] : x!.strides.length === 4 ? [g.batch, rows.output] : [g.batch];
    const tiling = chooseTiling(isa, {
      points, vectors, depth: taps * depth, lines: elementCount(lines) * attrs.group, pointBytes: pixel * cols.stride * 4,
    });
    const tile = `${tiling.tiles[0]!.size}x${tiling.blocks[0]!.width}`;
    return [{
      choice: { status: 'dense-kernel', kernel: `conv ${tile}`, reason: `${g.kernel.join('x')}x${depth} to ${channels}${attrs.group > 1 ? ` in ${attrs.group} groups` : ''}: ${tile} sums in registers` },
      nanoseconds: tiling.cycles / isa.clock,
      packed: new Map([[1, packWeights(acc, attrs.group, tiling.blocks, taps * depth, weightAt)]]),
      build: (k) => buildLineProduct(k, {
        x: x!, acc, output: flat ? outputOf(flat.y, acc, flat.epilogue) : outputOf(y, acc, request.epilogue),
        weights: { param: w!.param }, lines, points, groups: attrs.group, channels, depth, depthStride: 1,
        pointStride: pixel * cols.stride,
        lineBase: (line) => {
          if (flat) return asIndex(x!.offset);
          const column = -cols.before * pixel, [n, oy] = line;
          if (x!.strides.length === 3) return add(k.address(x!, [n!, 0, 0]), column);
          return add(add(k.address(x!, [n!, 0, 0, 0]), mul(oy!, rows.stride * image)), column - rows.before * image);
        },
        rows: { count: rows.kernel, stride: rows.dilation * image, bounds: (line) => (line.length === 2 ? tapBounds(rows, line[1]!) : undefined) },
        taps: { count: cols.kernel, stride: cols.dilation * pixel, reach: (tap) => (flat ? [0, points] : reachOf(cols, tap)) },
        at: (line, point, channel) => [...line, point, channel],
      }, tiling),
    }];
  };
  return { name: 'conv', candidates };
}
