/** Sparse (and dense) products between tile layouts as straight-line code. */
import { tapsOf } from '../../../../compiler/core/window.js';
import { LANES, phaseVectors, vectorStride, type Layout } from '../../../../compiler/ir/layout.js';
import { operandsOf, typeOf, valueOf, type Graph, type Node, type ValueId } from '../../../../compiler/ir/types.js';
import { add, asIndex, min, mul, nullPointer, pointer, sub } from '../../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import { MAX_ROWS, type StreamFunction } from '../../../../compiler/kir/stream.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { clearStatements, haloStatements } from '../tiles/finish.js';
import { costOf } from './cost.js';
import { epilogueOperand, matchEpilogue, type StreamEpilogue } from './epilogue.js';
import { chunkColumns, streamFunctions, type StreamPlan } from './functions.js';
import { productGeometry, type ProductGeometry } from './geometry.js';
import { streamProduct, type StreamProduct } from './product.js';
import { rowBlocks } from './row-blocks.js';

/** Elements between the first tile of `r` and that of the segment, where `y` is at `at`: same grid, own halo and pitch. */
function residualAt(r: Layout, y: Layout, at: number): number {
  const vector = at / vectorStride(y);
  if (r.over === 'pixels' && y.over === 'pixels') {
    const grid = Math.floor(vector / phaseVectors(y)), own = vector % phaseVectors(y) - y.before;
    return (grid * phaseVectors(r) + r.before + own) * vectorStride(r);
  }
  if (r.over === 'images' && y.over === 'images') {
    const column = vector % y.columns - y.left, line = Math.floor(vector / y.columns), row = line % y.rows - y.top, group = Math.floor(line / y.rows);
    return ((group * r.rows + row + r.top) * r.columns + column + r.left) * vectorStride(r);
  }
  throw new Error('SPC9003: a residual in another kind of tiles than its sum');
}

/** A product between tiles: what it computes, where, and what is done with it. */
interface Described {
  readonly product: StreamProduct;
  readonly geometry: ProductGeometry;
  readonly epilogue: StreamEpilogue;
}

function describe(graph: Graph, node: Node): Described | undefined {
  const [x, w] = node.inputs.map((id) => valueOf(graph, id)), y = valueOf(graph, node.outputs[0]!);
  if (!x?.layout || !y.layout) return undefined;
  const product = streamProduct(node, node.inputs.map((id) => typeOf(graph, id)), w?.constant);
  if (typeof product === 'string') return undefined;
  const added = (node.epilogue?.inputs ?? []).map((id) => valueOf(graph, id)), epilogue = matchEpilogue(node.epilogue?.expr, added.map((v) => epilogueOperand(v, y.type.shape)), y.type.shape);
  const residual = epilogue?.residual === undefined ? y : added[epilogue.residual]!;
  if (!epilogue || !residual.layout) return undefined;
  const geometry = productGeometry(product.window, x.layout, y.layout, residual.layout);
  return typeof geometry === 'string' ? undefined : { product, geometry, epilogue };
}

/** The 1x1 product that only computes the residual of this one: its columns can join this one's. */
function shortcutOf(graph: Graph, node: Node, main: Described, residual: ValueId): { readonly node: Node; readonly described: Described } | undefined {
  const producer = graph.nodes.find((n) => n.outputs.includes(residual));
  if (!producer || graph.outputs.some((o) => o.value === residual) || graph.nodes.some((n) => n !== node && operandsOf(n).includes(residual))) return undefined;
  if (producer.kind === 'reshape') return shortcutOf(graph, producer, main, producer.inputs[0]!);
  const d = describe(graph, producer);
  if (!d) return undefined;
  const { product, epilogue, geometry } = d, clamped = epilogue.clamp.low !== -Infinity || epilogue.clamp.high !== Infinity;
  const alike = geometry.segments.length === main.geometry.segments.length && geometry.segments.every((s, i) => s.tiles === main.geometry.segments[i]!.tiles && s.phase === main.geometry.segments[i]!.phase);
  return tapsOf(product.window).length === 1 && product.group === 1 && main.product.group === 1 && !clamped && epilogue.residual === undefined && alike ? { node: producer, described: d } : undefined;
}

export function streamRule(isa: Isa): KernelRule {
  const candidates = ({ graph, node, inputs, outputs, epilogue: bound, decided }: KernelRequest): KernelCandidate[] => {
    const main = describe(graph, node), x = inputs[0]!, y = outputs[0]!;
    if (!main) return [];
    const { product, geometry, epilogue } = main;
    const operand = epilogue.residual, given = operand === undefined ? undefined : bound!.inputs[operand]!;
    const shortcut = operand === undefined ? undefined : shortcutOf(graph, node, main, node.epilogue!.inputs[operand]!), second = shortcut?.described;
    const residual = shortcut ? undefined : given;
    const form = decided?.form ?? isa.streams, tiles = geometry.segments.reduce((n, s) => n + s.tiles, 0) / geometry.places.length, phases = geometry.places.length;
    const costs = [product, ...(second ? [second.product] : [])].map((p) => costOf(isa, p, tiles * phases, phases, form));
    const products = costs.reduce((n, c) => n + c.products, 0), nanoseconds = costs.reduce((n, c) => n + c.nanoseconds, 0);
    const weights = product.weights.length + (second?.product.weights.length ?? 0), density = products / weights;
    const plan: StreamPlan = {
      product, geometry, yStep: 4 * vectorStride(y.layout!), blocks: rowBlocks(product, density), chunk: chunkColumns(density, tapsOf(product.window).length),
      finish: { bias: epilogue.bias.map((b, i) => b + (second?.epilogue.bias[i] ?? 0)), clamp: epilogue.clamp, ...(residual ? { residualStep: 4 * vectorStride(residual.layout!) } : {}) },
      title: node.origins[0]?.node ?? valueOf(graph, node.outputs[0]!).name, ...(second ? { second } : {}),
    };
    return [{
      choice: {
        status: products < weights ? 'sparse-kernel' : 'dense-kernel', kernel: form === 'tables' ? 'stream tables' : `stream ${LANES}x${MAX_ROWS}`,
        reason: `${(100 * (1 - density)).toFixed(1)} % of the weights are zero: ${products} products a tile ${form === 'tables' ? 'from tables' : 'in straight-line code'}${shortcut ? `, those of ${shortcut.node.origins[0]?.node ?? 'the shortcut'} among them` : ''}`,
      },
      nanoseconds,
      // the weights are in the code: what stays of the operand is nothing
      pack: () => new Map([[1, { kind: 'dense', dtype: 'f32', shape: [0], data: new Float32Array(0) }]]),
      ...(residual ? { inPlace: [node.inputs.length + operand!] } : {}),
      ...(shortcut ? { absorbs: [shortcut.node] } : {}),
      finishes: true,
      build: (k) => buildCalls(k, plan, { x, y, residual, x2: shortcut && k.operand(shortcut.node.inputs[0]!, 'x2') }),
    }];
  };
  return { name: 'stream', tiles: true, candidates };
}

interface Tensors {
  readonly x: TensorRef;
  readonly y: TensorRef;
  readonly residual: TensorRef | undefined;
  /** Source of the second product. */
  readonly x2: TensorRef | undefined;
}

/**
 * Every function of a phase on all of its segments before the next function, so that code and weights are read once; or, where a chunk's part of x
 * is too large for that, on one band of tiles after the other.
 */
function buildCalls(k: KernelBuilder, plan: StreamPlan, { x, y, residual, x2 }: Tensors): Stmt[] {
  const { geometry, second } = plan, { maskCount } = geometry;
  const masks = maskCount === 0 ? undefined : k.constant('masks', { kind: 'dense', dtype: 'u16', shape: [geometry.masks.length], data: geometry.masks });
  const calls = geometry.places.flatMap((_, phase) => {
    const segments = geometry.segments.flatMap((s, i) => (s.phase === phase ? [{ ...s, x2: second?.geometry.segments[i]!.x ?? 0 }] : []));
    const on = (f: StreamFunction, s: (typeof segments)[number], first: Expr, tiles: Expr): Stmt => {
      const from = (start: number, bytes: number): Expr => add(mul(first, bytes / 4), start);
      return k.callStream(f, pointer(x.param, from(s.x, f.steps.x)), tiles, masks === undefined ? nullPointer : pointer(masks, mul(add(first, s.masks), maskCount)),
        x2 ? pointer(x2.param, from(s.x2, f.steps.x2)) : nullPointer, pointer(y.param, from(s.y, f.steps.y)),
        residual ? pointer(residual.param, from(residualAt(residual.layout!, y.layout!, s.y), f.steps.r)) : nullPointer);
    };
    const inBands = (functions: readonly StreamFunction[], s: (typeof segments)[number], band: number): Stmt[] =>
      k.forEach([Math.ceil(s.tiles / band)], ([i]) => functions.map((f) => on(f, s, mul(i!, band), s.tiles % band === 0 ? asIndex(band) : min(band, sub(s.tiles, mul(i!, band))))));
    const onAll = (functions: readonly StreamFunction[], some: typeof segments): Stmt[] => functions.flatMap((f) => some.map((s) => on(f, s, asIndex(0), asIndex(s.tiles))));
    return streamFunctions(plan, phase, geometry.places.length > 1 ? `p${phase}_` : 's', Math.max(...segments.map((s) => s.tiles)), segments.length).flatMap(({ functions, band }) => {
      if (!band) return onAll(functions, segments);
      if ('tiles' in band) return segments.flatMap((s) => inBands(functions, s, band.tiles));
      return Array.from({ length: Math.ceil(segments.length / band.segments) }, (_, b) => onAll(functions, segments.slice(b * band.segments, (b + 1) * band.segments))).flat();
    });
  });
  // lanes outside the image are masked in the code; margins around images are not of its tiles
  return [...calls, ...(y.layout!.over === 'pixels' ? haloStatements(k, y) : clearStatements(k, y))];
}
