/** Convolutions of small images whose lanes are pixels, alone or with the pool behind them: see walk.ts. */
import { elementCount, typeOf, valueOf, type Graph, type NodeOf } from '../../../../compiler/ir/types.js';
import { add, asIndex, max, mul, vector, vload } from '../../../../compiler/kir/build.js';
import { isContiguous, type KernelBuilder, type TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { LayerChoice } from '../../../../compiler/plan/types.js';
import type { KernelCandidate, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { resultRows, type ResultRows } from '../../../../compiler/core/rows.js';
import { withoutWeights } from '../operands.js';
import { pooledConv, pooledEpilogue } from '../pool-fusion.js';
import { epilogueOperand, matchEpilogue } from '../stream/epilogue.js';
import { nonZeros, streamProduct, type StreamProduct } from '../stream/product.js';
import { channelVectors, outputOf, storeTile } from '../vector.js';
import { cyclesOf } from './cost.js';
import { coverOf, type Extent } from './cover.js';
import { buildWalk, tableBytes, walkOf, type Entry, type Finish, type Walk } from './walk.js';

/** Larger images have work enough for tiles. */
const MOST_PIXELS = 1024;
/** A vector of the results read, finished and stored again, and of each one more that it is the largest of. */
const FINISH_CYCLES = 4, LARGEST_CYCLES = 2;

type Pair = readonly [number, number];
const pair = (f: (d: 0 | 1) => number): Pair => [f(0), f(1)];

/** A convolution, and the pool behind it where windows are larger than one. */
interface Layer {
  readonly product: StreamProduct;
  readonly images: number;
  readonly input: Pair;
  /** Pixels of the result: each is the largest in a window of the convolution's. */
  readonly output: Pair;
  readonly window: Pair;
}

/** A walk, and whether windows are still to be taken the largest of. */
interface Plan {
  readonly walk: Walk;
  readonly window: Pair;
  readonly cycles: number;
}

function layerOf(graph: Graph, conv: NodeOf<'conv'>, window: Pair, result: readonly number[]): Layer | undefined {
  const types = conv.inputs.map((id) => typeOf(graph, id)), x = types[0]!.shape, product = streamProduct(conv, types, valueOf(graph, conv.inputs[1]!).constant);
  const spatial = (shape: readonly number[]): Pair => (shape.length === 3 ? [1, shape[1]!] : [shape[1]!, shape[2]!]);
  return typeof product === 'string' || elementCount(result) === 0 ? undefined : { product, images: x[0]!, input: spatial(x), output: spatial(result), window };
}

/** Non-zeros of every filter, in order of channels. */
function entriesOf({ window: { kernel, dilation }, group, depth, rows, weights }: StreamProduct): Entry[][] {
  return Array.from({ length: rows }, (_, o) => {
    const first = Math.floor((o * group) / rows) * depth, entries: Entry[] = [];
    for (let c = 0; c < depth; c++) for (let tap = 0; tap < kernel[0] * kernel[1]; tap++) {
      const weight = weights[(tap * depth + c) * rows + o]!;
      if (weight !== 0) entries.push({ channel: first + c, row: Math.floor(tap / kernel[1]) * dilation[0], column: (tap % kernel[1]) * dilation[1], weight });
    }
    return entries;
  });
}

/** @param phases windows of which the largest sum is taken in registers */
function walkWith(isa: Isa, { product, input, output, window }: Layer, phases: Pair): Plan | undefined {
  const { stride, before, dilation, kernel } = product.window, left = pair((d) => window[d] / phases[d]);
  const extent = (d: 0 | 1): Extent => ({
    input: input[d], output: output[d] * left[d], stride: stride[d] * phases[d], before: before[d], reach: (kernel[d] - 1) * dilation[d] + (phases[d] - 1) * stride[d],
  });
  const distances = Array.from({ length: phases[0] * phases[1] }, (_, p): Pair => [Math.floor(p / phases[1]) * stride[0], (p % phases[1]) * stride[1]]);
  const cover = coverOf(extent(0), extent(1));
  const walk = cover && walkOf(isa, cover, distances, { channels: product.channels, filters: product.rows, nonZeros: nonZeros(product) });
  if (!walk || walk.nonZeros === 0) return undefined;
  const largest = left[0] * left[1], results = elementCount(output) * Math.ceil(product.rows / isa.lanes);
  return { walk, window: left, cycles: cyclesOf(isa, walk) + (largest > 1 ? results * (FINISH_CYCLES + LARGEST_CYCLES * largest) : 0) };
}

function planOf(isa: Isa, layer: Layer): Plan | undefined {
  if (elementCount(layer.output) * elementCount(layer.window) > MOST_PIXELS) return undefined;
  const plans = [layer.window, [1, 1] as const].flatMap((phases) => walkWith(isa, layer, phases) ?? []);
  return plans.reduce<Plan | undefined>((a, b) => (a && a.cycles <= b.cycles ? a : b), undefined);
}

/** Every pixel of an image, the largest of its window in `sums`, through the epilogue. */
function finishRows(k: KernelBuilder, isa: Isa, { product, output: [height, width] }: Layer, window: Pair, rows: ResultRows, sums: string, image: Expr): Stmt[] {
  const channels = product.rows, vectors = channelVectors(channels, isa.lanes), output = outputOf(rows.y, 'f32', rows.epilogue);
  return k.forEach([height, width], ([oy, ox]) => {
    const first = mul(add(mul(oy!, window[0] * width * window[1]), mul(ox!, window[1])), channels), pixel = add(mul(add(mul(image, height), oy!), width), ox!);
    const value = (j: number): Expr => Array.from({ length: window[0] * window[1] }, (_, i) => {
      const [y, x] = [Math.floor(i / window[1]), i % window[1]], v = vectors[j]!;
      return vload(sums, vector('f32', v.lanes), add(first, (y * width * window[1] + x) * channels + v.offset), v.count);
    }).reduce((a, b) => max(a, b));
    return storeTile(k, output, { points: 1, vectors, value: (_, j) => value(j) }, (_, channel) => [pixel, channel]);
  });
}

/** @param finish the whole epilogue, where it can be applied to sums in registers */
function build(k: KernelBuilder, isa: Isa, layer: Layer, { walk, window }: Plan, x: TensorRef, rows: ResultRows, finish: Finish | undefined): Stmt[] {
  const { product, images, input, output } = layer, entries = entriesOf(product), whole = elementCount(window) === 1;
  const direct = whole && rows.y.dtype === 'f32' && (finish !== undefined || !rows.epilogue);
  const body = (image: Expr): Stmt[] => {
    const from = { param: x.param, at: add(mul(image, elementCount(input) * product.channels), x.offset) };
    if (direct) return buildWalk(k, walk, entries, from, { param: rows.y.param, at: add(mul(image, elementCount(output) * product.rows), rows.y.offset) }, finish);
    const sums = k.scratch('rows', 'f32', elementCount(output) * window[0] * window[1] * product.rows);
    return [...buildWalk(k, walk, entries, from, { param: sums, at: asIndex(0) }), ...finishRows(k, isa, layer, window, rows, sums, image)];
  };
  return k.eachWithScratch(images, body, 'image');
}

/** An epilogue that is a bias and a clamp. */
function finishOf(graph: Graph, epilogue: { readonly expr: Expr; readonly inputs: readonly number[] } | undefined, shape: readonly number[]): Finish | undefined {
  const match = matchEpilogue(epilogue?.expr, (epilogue?.inputs ?? []).map((id) => epilogueOperand(valueOf(graph, id), shape)), shape);
  return match?.residual === undefined ? match : undefined;
}

function describe({ product }: Layer, { walk, window }: Plan, pooled: Pair): LayerChoice {
  const zeros = 1 - walk.nonZeros / product.weights.length, groups = walk.groups.map((g) => g.reduce((s, r) => s + r.sums.length, 0));
  const pool = elementCount(pooled) === 1 ? '' : `; the maximum of ${pooled.join('x')} sums is taken ${elementCount(window) === 1 ? 'in registers' : 'behind'}`;
  return {
    status: walk.nonZeros < product.weights.length ? 'sparse-kernel' : 'dense-kernel', kernel: `walk ${Math.max(...groups)}x8${pool ? ' pooled' : ''}`,
    reason: `${(100 * zeros).toFixed(1)} % of the weights are zero: ${walk.nonZeros} times ${groups.reduce((a, b) => a + b)} vectors of 8 pixels, from tables${pool}`,
  };
}

export function walkRule(isa: Isa): KernelRule {
  return {
    name: 'walk',
    candidates({ graph, node, inputs: [x], outputs: [y], epilogue }): KernelCandidate[] {
      if (node.kind !== 'conv' || !x || !y || !isContiguous(x)) return [];
      const layer = layerOf(graph, node, [1, 1], y.shape), plan = layer && planOf(isa, layer), rows = resultRows(y, epilogue);
      if (!layer || !plan || !rows) return [];
      return [{
        choice: describe(layer, plan, layer.window), nanoseconds: (layer.images * plan.cycles) / isa.clock, bytes: tableBytes(plan.walk), pack: withoutWeights,
        build: (k) => build(k, isa, layer, plan, x, rows, finishOf(graph, node.epilogue, y.shape)),
      }];
    },
  };
}

/** The same with the pool behind a convolution. */
export function pooledWalkRule(isa: Isa): KernelRule {
  return {
    name: 'pooled walk',
    candidates(request): KernelCandidate[] {
      const { graph, node, outputs: [y] } = request, pool = pooledConv(graph, node), layer = pool && y && layerOf(graph, pool.conv, pool.window, y.shape);
      const plan = layer && planOf(isa, layer);
      if (!pool || !y || !layer || !plan || !resultRows(y, request.epilogue)) return [];
      return [{
        choice: describe(layer, plan, layer.window), nanoseconds: (layer.images * plan.cycles) / isa.clock, bytes: tableBytes(plan.walk), absorbs: [pool.conv],
        build: (k) => build(k, isa, layer, plan, k.operand(pool.conv.inputs[0]!, 'x'), resultRows(y, pooledEpilogue(k, request, pool))!, finishOf(graph, pool.epilogue, y.shape)),
      }];
    },
  };
}
