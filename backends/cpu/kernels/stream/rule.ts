/** Sparse (and dense) products between tile layouts as straight-line code. */
import { tapsOf } from '../../../../compiler/core/window.js';
import { LANES, vectorStride } from '../../../../compiler/ir/layout.js';
import { operandsOf, typeOf, valueOf, type Graph, type Node, type ValueId } from '../../../../compiler/ir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import { fastestForm, streamRows, type Isa } from '../../isa.js';
import { withoutWeights } from '../operands.js';
import { clearStatements, haloStatements } from '../tiles/finish.js';
import { costOf } from './cost.js';
import { epilogueOperand, matchEpilogue, type StreamEpilogue } from './epilogue.js';
import { streamCalls } from './calls.js';
import { cutFor, type StreamPlan } from './functions.js';
import { productGeometry, type ProductGeometry } from './geometry.js';
import { streamProduct, type StreamProduct } from './product.js';
import { rowBlocks } from './row-blocks.js';

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
    const form = decided?.form ?? fastestForm(isa), most = streamRows(isa, form), tiles = geometry.segments.reduce((n, s) => n + s.tiles, 0) / geometry.places.length, phases = geometry.places.length;
    const costs = [product, ...(second ? [second.product] : [])].map((p) => costOf(isa, p, tiles * phases, phases, form));
    const products = costs.reduce((n, c) => n + c.products, 0), nanoseconds = costs.reduce((n, c) => n + c.nanoseconds, 0);
    const weights = product.weights.length + (second?.product.weights.length ?? 0), density = products / weights;
    const plan: StreamPlan = {
      product, geometry, yStep: 4 * vectorStride(y.layout!), blocks: rowBlocks(product, density, most), cut: cutFor(isa, form, density, tapsOf(product.window).length),
      finish: { bias: epilogue.bias.map((b, i) => b + (second?.epilogue.bias[i] ?? 0)), clamp: epilogue.clamp, ...(residual ? { residualStep: 4 * vectorStride(residual.layout!) } : {}) },
      title: node.origins[0]?.node ?? valueOf(graph, node.outputs[0]!).name, ...(second ? { second } : {}),
    };
    return [{
      choice: {
        status: products < weights ? 'sparse-kernel' : 'dense-kernel', kernel: form === 'tables' ? 'stream tables' : `stream ${LANES}x${most}`,
        reason: `${(100 * (1 - density)).toFixed(1)} % of the weights are zero: ${products} products a tile ${form === 'tables' ? 'from tables' : 'in straight-line code'}${shortcut ? `, those of ${shortcut.node.origins[0]?.node ?? 'the shortcut'} among them` : ''}`,
      },
      nanoseconds,
      pack: withoutWeights,
      ...(residual ? { inPlace: [node.inputs.length + operand!] } : {}),
      ...(shortcut ? { absorbs: [shortcut.node] } : {}),
      finishes: true,
      // lanes outside the image are masked in the code; margins around images are not of its tiles
      build: (k) => [...streamCalls(k, plan, { x, y, residual, x2: shortcut && k.operand(shortcut.node.inputs[0]!, 'x2') }), ...(y.layout!.over === 'pixels' ? haloStatements(k, y) : clearStatements(k, y))],
    }];
  };
  return { name: 'stream', tiles: true, candidates };
}
