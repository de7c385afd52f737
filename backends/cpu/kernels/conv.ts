/** Convolutions of channels-last data as implicit matrix products: no patch matrix, padding costs nothing. */
import { convGeometry } from '../../../compiler/core/conv.js';
import type { TypedArray } from '../../../compiler/ir/dtype.js';
import { denseData } from '../../../compiler/ir/tensor.js';
import { elementCount, type NodeOf } from '../../../compiler/ir/types.js';
import { add, asIndex, div, max, min, mul, sub } from '../../../compiler/kir/build.js';
import type { BoundEpilogue, KernelBuilder, TensorRef } from '../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../types.js';
import type { Isa } from '../isa.js';
import { buildLineProduct, packedSize, packWeights } from './line-product.js';
import { joinBatches } from '../../../compiler/core/rows.js';
import { sumType, takesPairs } from './matmul.js';
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

/** A convolution of channels-last data in two spatial dimensions at most, those of extent 1 left out. */
export interface PlainConv {
  readonly x: TensorRef;
  readonly w: TensorRef;
  readonly y: TensorRef;
  readonly epilogue: BoundEpilogue | undefined;
  readonly acc: 'f32' | 'i32';
  readonly batch: number;
  readonly group: number;
  /** Of the input and output, and input channels that one output sums over. */
  readonly channels: number;
  readonly outChannels: number;
  readonly perGroup: number;
  /** One or two. */
  readonly axes: readonly Axis[];
  /** Rows of the sum (kernel row, tap, input channel) by output channel. */
  readonly weights: TypedArray;
}

/** `t` without the dimension that is number `fromRight` counted from the last (0). */
function without(t: TensorRef, fromRight: number): TensorRef {
  const d = t.shape.length - 1 - fromRight;
  return d < 0 ? t : { ...t, shape: t.shape.filter((_, i) => i !== d), strides: t.strides.filter((_, i) => i !== d) };
}

/** The convolution behind a request, where the generators have a schedule for it. */
export function plainConv(request: KernelRequest): PlainConv | undefined {
  if (request.node.kind !== 'conv') return undefined;
  const { attrs } = request.node as NodeOf<'conv'>;
  const [x, w] = request.inputs, y = request.outputs[0]!, weights = request.constants[1];
  const acc = sumType(x!, w!, attrs.out);
  if (attrs.layout !== 'nsc' || !weights || !acc || x!.strides.at(-1) !== 1 || elementCount(y.shape) === 0) return undefined;
  const g = convGeometry(attrs, [x!, w!]);
  if (g.perGroup === 0) return undefined;
  const axes = attrs.strides.map((stride, d): Axis =>
    ({ input: g.input[d]!, output: g.output[d]!, kernel: g.kernel[d]!, stride, dilation: attrs.dilations[d]!, before: attrs.pads[d]![0] }));
  let c: PlainConv = {
    x: x!, w: w!, y, epilogue: request.epilogue, acc, batch: g.batch, group: attrs.group, channels: g.channels,
    outChannels: g.outChannels, perGroup: g.perGroup, axes, weights: denseData(weights),
  };
  for (let d = axes.length - 1; d >= 0 && c.axes.length > 1; d--) {
    const a = c.axes[d]!, fromRight = c.axes.length - d;
    if (a.input !== 1 || a.output !== 1 || a.kernel !== 1 || a.before !== 0) continue;
    c = {
      ...c, x: without(c.x, fromRight), y: without(c.y, fromRight), axes: c.axes.filter((_, i) => i !== d),
      epilogue: c.epilogue && { ...c.epilogue, inputs: c.epilogue.inputs.map((t) => without(t, fromRight)) },
    };
  }
  return c.axes.length <= 2 ? c : undefined;
}

/** How x is walked: the axes (rows of extent 1 where there is one axis only), and distances in elements. */
export function walkOf(k: Pick<KernelBuilder, 'address'>, { x, axes }: PlainConv) {
  const two = axes.length === 2;
  const cols = axes.at(-1)!, rows: Axis = two ? axes[0]! : { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0 };
  const pixel = x.strides.at(-2)!, image = two ? x.strides[1]! : 0;
  return {
    rows, cols, pixel, image,
    /** Address of the first point of a line at tap (0, 0); outside where there is padding. */
    base: (line: readonly Expr[]): Expr => {
      const batch = k.address(x, [line[0]!, ...axes.map(() => 0), 0]), border = -cols.before * pixel - rows.before * image;
      return add(two ? add(batch, mul(line[1]!, rows.stride * image)) : batch, border);
    },
    /** Kernel rows inside the image. */
    bounds: (line: readonly Expr[]) => (two ? tapBounds(rows, line[1]!) : undefined),
  };
}

/** One filter a channel: a schedule of its own (depthwise.ts). */
export const isDepthwise = (c: PlainConv): boolean => c.group > 1 && c.perGroup === 1 && c.outChannels === c.group;

/** A 1x1 kernel that visits every pixel is a matrix product with as many rows as there are pixels. */
function asMatmul(c: PlainConv) {
  if (c.group !== 1 || !c.axes.every((a) => a.kernel === 1 && a.stride === 1 && a.input === a.output && a.before === 0)) return undefined;
  const b = { ...c.w, shape: [c.perGroup, c.outChannels], strides: [c.outChannels, 1] };
  const p = joinBatches({ a: c.x, b, y: c.y, epilogue: c.epilogue }, { transA: false, transB: false, out: c.acc });
  return p.y.shape.length === 2 ? p : undefined;
}

/** The schedule of one convolution: what it costs, its packed weights, and its code given where those begin. */
export function scheduleConv(isa: Isa, c: PlainConv) {
  const { acc, group, perGroup: depth, x } = c, { rows, cols, pixel, image } = walkOf({ address: () => asIndex(0) }, c);
  const channels = c.outChannels / group, taps = rows.kernel * cols.kernel;
  const pairs = takesPairs(x, c.w, depth, 1), steps = pairs ? depth / 2 : depth;
  const flat = asMatmul(c);
  const points = flat ? flat.y.shape[0]! : cols.output;
  const lines = flat ? [] : c.axes.length === 2 ? [c.batch, rows.output] : [c.batch];
  const tiling = chooseTiling(isa, {
    points, vectors: channelVectors(channels, isa.lanes), depth: taps * steps, lines: elementCount(lines) * group, pointBytes: pixel * cols.stride * 4,
  });
  const tile = `${tiling.tiles[0]!.size}x${tiling.blocks[0]!.width}`;
  return {
    tile,
    reason: `${c.axes.map((a) => a.kernel).join('x')}x${depth} to ${channels}${group > 1 ? ` in ${group} groups` : ''}: ${tile} sums in registers`,
    nanoseconds: tiling.cycles / isa.clock,
    packedElements: group * packedSize(tiling.blocks, taps * depth),
    pack: () => packWeights(acc, group, tiling.blocks, taps * depth, (g, row, o) => Number(c.weights[row * c.outChannels + g * channels + o]), pairs),
    build: (k: KernelBuilder, offset = 0): Stmt[] => {
      const walk = walkOf(k, c);
      return buildLineProduct(k, {
        x, acc, output: flat ? outputOf(flat.y, acc, flat.epilogue) : outputOf(c.y, acc, c.epilogue),
        weights: { param: c.w.param, pairs, base: () => asIndex(offset) }, lines, points, groups: group, channels, depth: steps, depthStride: pairs ? 2 : 1, pointStride: pixel * cols.stride,
        lineBase: flat ? () => asIndex(x.offset) : walk.base,
        rows: { count: rows.kernel, stride: rows.dilation * image, bounds: flat ? () => undefined : walk.bounds },
        taps: { count: cols.kernel, stride: cols.dilation * pixel, reach: (tap) => (flat ? [0, points] : reachOf(cols, tap)) },
        at: (line, point, channel) => [...line, point, channel],
      }, tiling);
    },
  };
}

export function convRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const c = plainConv(request);
    if (!c || isDepthwise(c)) return [];
    const { tile, reason, nanoseconds, pack, build } = scheduleConv(isa, c);
    return [{ choice: { status: 'dense-kernel', kernel: `conv ${tile}`, reason }, nanoseconds, pack: () => new Map([[1, pack()]]), build: (k) => build(k) }];
  };
  return { name: 'conv', candidates };
}
