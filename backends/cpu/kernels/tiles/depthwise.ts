/** Depthwise convolution on tiles: over pixels a channel at a time in the first cache level, over images pixel by pixel. */
import { convGeometry, type ConvAttrs } from '../../../../compiler/core/conv.js';
import { tapsOf, windowOf, type Window } from '../../../../compiler/core/window.js';
import { gridVectors, LANES, phaseVectors, vectorsOf, vectorStride, type ImageTiles, type Layout, type PixelTiles } from '../../../../compiler/ir/layout.js';
import { denseData, type Tensor } from '../../../../compiler/ir/tensor.js';
import { valueOf, type Node, type TensorType } from '../../../../compiler/ir/types.js';
import { add, call, constant, div, fma, load, mod, mul, pointer, splat, store, vector, vload } from '../../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { matchEpilogue, type StreamEpilogue } from '../stream/epilogue.js';
import { epilogueInTiles, overChannels, placeAddress, type TileExpression } from './expression.js';
import { clearStatements, haloStatements, vectorOfGrid, vectorOfImages } from './finish.js';
import { gatherConstants, isAddressable, laneGather } from './relayout.js';

const MOST_TAPS = 49;
/** A line of vectors and results lies on the stack. */
const LINE_BYTES = 512 * 1024;

/** The window of a convolution of each channel by itself, undefined for others. */
export function depthwiseWindow(node: Node, types: readonly TensorType[]): Window | undefined {
  if (node.kind !== 'conv' || node.attrs.layout !== 'nsc') return undefined;
  const { group, out } = node.attrs as ConvAttrs, g = convGeometry(node.attrs, types);
  return group === g.channels && g.outChannels === g.channels && out === 'f32' && types.every((t) => t.dtype === 'f32') ? windowOf(node, types) : undefined;
}

/** Vectors around those of a line that the taps reach. */
function reach(w: Window, columns: number): { readonly before: number; readonly after: number } {
  const shifts = tapsOf(w).map(({ ky, kx }) => (ky * w.dilation[0] - w.before[0]) * columns + kx * w.dilation[1] - w.before[1]);
  return { before: Math.max(0, -Math.min(...shifts)), after: Math.max(0, ...shifts) };
}

/** Whether there is code for such a window, whatever the layouts. */
export const isDepthwiseWindow = (w: Window): boolean => tapsOf(w).length <= MOST_TAPS && w.kernel.every((k) => k <= 7) && w.before.every((b) => b >= 0);

/**
 * Whether a depthwise convolution runs on these layouts: over pixels from one grid to one grid (any halo), without reading the halo;
 * over images with margins as wide as the window reaches.
 */
export function takesDepthwise(w: Window, x: Layout, y: Layout): boolean {
  if (!isDepthwiseWindow(w) || x.images !== y.images || x.channels !== y.channels) return false;
  if (x.over === 'images' || y.over === 'images') {
    if (x.over !== 'images' || y.over !== 'images') return false;
    const last = ([y.height, y.width] as const).map((n, d) => (n - 1) * w.stride[d]! + (w.kernel[d]! - 1) * w.dilation[d]! - w.before[d]!);
    return w.before[0] <= x.top && w.before[1] <= x.left && last[0]! + x.top < x.rows && last[1]! + x.left < x.columns;
  }
  const { before, after } = reach(w, x.columns), dense = w.stride.every((s) => s === 1);
  if (x.phases !== 1 || y.phases !== 1 || !isAddressable(x) || !isAddressable(y) || 64 * (2 * gridVectors(x) + before + after + 1) > LINE_BYTES) return false;
  return dense ? x.rows === y.rows && x.columns === y.columns : w.stride[0] === w.stride[1] && (y.height - 1) * w.stride[0] < x.rows && (y.width - 1) * w.stride[1] < x.columns;
}

/** For each vector of x: lanes whose tap in each kernel column is in the row, and lanes that are kept. */
function masksOf(w: Window, x: PixelTiles, keep: (y: number, x: number) => boolean): Uint16Array {
  const size = gridVectors(x), words = w.kernel[1] + 1, masks = new Uint16Array(size * words);
  for (let v = 0; v < size; v++) for (let lane = 0; lane < LANES; lane++) {
    const p = lane * size + v, i = Math.floor(p / x.columns), j = p % x.columns;
    for (let kx = 0; kx < w.kernel[1]; kx++) {
      const at = j + kx * w.dilation[1] - w.before[1];
      if (at >= 0 && at < x.width) masks[v * words + kx]! |= 1 << lane;
    }
    if (p < x.rows * x.columns && keep(i, j)) masks[v * words + w.kernel[1]]! |= 1 << lane;
  }
  return masks;
}

/** The weights of each channel in a row, its bias behind them. */
function packWeights(weights: Tensor, taps: number, channels: number, bias: Float32Array): Tensor {
  const data = denseData(weights), packed = new Float32Array(channels * (taps + 1));
  for (let c = 0; c < channels; c++) {
    for (let t = 0; t < taps; t++) packed[c * (taps + 1) + t] = Number(data[t * channels + c]);
    packed[c * (taps + 1) + taps] = bias[c]!;
  }
  return { kind: 'dense', dtype: 'f32', shape: [packed.length], data: packed };
}

interface Parts {
  readonly isa: Isa;
  readonly w: Window;
  readonly x: TensorRef;
  readonly weights: string;
  readonly y: TensorRef;
  /** Applied in registers; undefined: `expression` is applied to what was stored. */
  readonly fused: StreamEpilogue | undefined;
  readonly expression: TileExpression;
}

function overPixels(k: KernelBuilder, { isa, w, x: xRef, weights, y: yRef, fused, expression }: Parts, x: PixelTiles, y: PixelTiles): Stmt[] {
  const size = gridVectors(x), ySize = gridVectors(y), stride = w.stride[0], { before, after } = reach(w, x.columns), taps = tapsOf(w).length;
  // where rows and vectors are whole multiples of the stride, so are the pixels of every stride-th vector and of no other
  const step = size % stride === 0 && x.columns % stride === 0 ? stride : 1;
  const masks = k.constant('masks', { kind: 'dense', dtype: 'u16', shape: [size * (w.kernel[1] + 1)], data: masksOf(w, x, stride === 1 ? (i, j) => i < y.height && j < y.width : () => true) });
  const tables = stride === 1 ? [] : gatherConstants(k, laneGather(ySize, (v, lane) => {
    const p = lane * ySize + v, i = Math.floor(p / y.columns), j = p % y.columns, from = i * stride * x.columns + j * stride;
    return i < y.height && j < y.width ? { vector: (from % size) / step, lane: Math.floor(from / size) } : undefined;
  }));
  const clamp = fused?.clamp ?? { low: -Infinity, high: Infinity };
  return [
    ...k.forEach([x.images * x.channels], ([i]) => {
      const n = div(i!, x.channels), c = mod(i!, x.channels), line = k.name('line'), channel = (l: PixelTiles): Expr => add(vectorOfGrid(l, n, 0), mul(c, LANES));
      const geometry = [size, x.columns, ...w.kernel, ...w.dilation, ...w.before, before, after];
      const operands = [pointer(yRef.param, channel(y)), vectorStride(y), pointer(xRef.param, channel(x)), vectorStride(x), pointer(line), pointer(weights, mul(c, taps + 1)), pointer(masks),
        constant('f32', clamp.low), constant('f32', clamp.high), ...geometry];
      const rest = fused ? [] : k.forEach([ySize, LANES / isa.lanes], ([v, piece]) => {
        const place = { vector: add(mul(n, phaseVectors(y)), add(v!, y.before)), channel: c, piece: piece! }, at = placeAddress(y, place, isa.lanes);
        return [store(yRef.param, at, expression.value(place, vload(yRef.param, vector('f32', isa.lanes), at)))];
      }, {}, 'v');
      return [
        { kind: 'array', name: line, dtype: 'f32', size: LANES * (1 + before + size + after + (stride === 1 ? 0 : size / step)) },
        stride === 1 ? call('spc_tiles_depthwise', ...operands) : call('spc_tiles_depthwise_strided', ...operands, step, ySize, ...tables.map((t) => pointer(t))),
        ...rest,
      ];
    }),
    ...(fused || expression.keepsZeros ? [] : clearStatements(k, yRef)), ...haloStatements(k, yRef),
  ];
}

function overImages(k: KernelBuilder, { isa, w, x: xRef, weights, y: yRef, expression }: Parts, x: ImageTiles, y: ImageTiles): Stmt[] {
  const type = vector('f32', isa.lanes), taps = tapsOf(w);
  return [
    ...k.forEach([Math.ceil(y.images / LANES) * y.height, y.width], ([line, ox]) => {
      const group = div(line!, y.height), oy = mod(line!, y.height), number = add(mul(add(mul(group, y.rows), add(oy, y.top)), y.columns), add(ox!, y.left));
      const origin = k.let('x0', vectorOfImages(x, group, add(mul(oy, w.stride[0]), x.top - w.before[0]), add(mul(ox!, w.stride[1]), x.left - w.before[1])));
      return [origin.declare, ...overChannels(k, isa, y.channels, number, (p) => {
        const own = add(origin.ref, add(mul(p.channel, LANES), mul(p.piece, isa.lanes)));
        const sum = k.let('sum', taps.reduce<Expr>((s, { tap, ky, kx }) => fma(vload(xRef.param, type, add(own, (ky * w.dilation[0] * x.columns + kx * w.dilation[1]) * vectorStride(x))),
          splat(load(weights, 'f32', add(mul(p.channel, taps.length + 1), tap)), isa.lanes), s), constant('f32', 0, isa.lanes)));
        return [sum.declare, store(yRef.param, placeAddress(y, p, isa.lanes), expression.value(p, sum.ref))];
      })];
    }),
    ...clearStatements(k, yRef),
  ];
}

export function depthwiseInTilesRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const { graph, node, inputs, outputs, constants } = request, x = inputs[0]!, y = outputs[0]!, from = x.layout, to = y.layout, weights = constants[1];
    const w = depthwiseWindow(node, inputs), expression = w && from && to ? epilogueInTiles(request, isa) : undefined;
    if (!w || !from || !to || !weights || !expression || !takesDepthwise(w, from, to)) return [];
    const operands = (node.epilogue?.inputs ?? []).flatMap((id) => { const c = valueOf(graph, id).constant; return c ? [{ kind: 'constant' as const, tensor: c }] : []; });
    const simple = operands.length === (node.epilogue?.inputs.length ?? 0) && to.over === 'pixels' ? matchEpilogue(request.epilogue?.expr, operands, y.shape) : undefined;
    const taps = tapsOf(w).length, parts: Parts = { isa, w, x, weights: inputs[1]!.param, y, fused: simple, expression };
    const vectors = to.over === 'pixels' && from.over === 'pixels' ? gridVectors(from) * from.images : vectorsOf(to);
    return [{
      choice: { status: 'dense-kernel', kernel: `depthwise ${w.kernel.join('x')} in tiles`, reason: `lanes are ${to.over}, ${to.over === 'pixels' ? 'a channel at a time in the first cache level' : 'a pixel at a time'}` },
      nanoseconds: vectors * to.channels * (LANES / isa.lanes) * (taps + 8) / isa.clock, finishes: true,
      pack: () => new Map([[1, packWeights(weights, taps, to.channels, simple?.bias ?? new Float32Array(to.channels))]]),
      build: (k) => (from.over === 'pixels' && to.over === 'pixels' ? overPixels(k, parts, from, to) : overImages(k, parts, from as ImageTiles, to as ImageTiles)),
    }];
  };
  return { name: 'depthwise in tiles', tiles: true, candidates };
}
