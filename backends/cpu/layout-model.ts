/** What the CPU knows of tiles, for the choice of layouts: predicted times of nodes in rows and in tiles. */
import { tapsOf, reachOf, windowOf } from '../../compiler/core/window.js';
import { bytesOfType } from '../../compiler/ir/analysis.js';
import { LANES, pixelTiles, type Layout } from '../../compiler/ir/layout.js';
import { elementCount, operandsOf, sameShape, typeOf, valueOf, type Graph, type Node, type NodeId, type TensorType } from '../../compiler/ir/types.js';
import { requestFor } from '../../compiler/plan/kernel-request.js';
import type { LayoutOption, RejectedOption } from '../../compiler/ir/layout-choice.js';
import type { LayoutModel } from '../../passes/select-layout/index.js';
import type { KernelRule } from '../types.js';
import { streamForms, type Isa } from './isa.js';
import { passingActivations, readingConstants } from './memory.js';
import { costOf } from './kernels/stream/cost.js';
import { depthwiseWindow, isDepthwiseWindow, takesDepthwise } from './kernels/tiles/depthwise.js';
import { epilogueOperand, matchEpilogue } from './kernels/stream/epilogue.js';
import { streamProduct, type StreamProduct } from './kernels/stream/product.js';

/** Bytes of code and weights that one layer may take in straight-line form. */
const LAYER_BUDGET = 32 * 1024 * 1024;
/** The same where the code is repeated for output phases. */
const PHASES_BUDGET = 4 * 1024 * 1024;

/** Bytes of constants that stay in the second cache from one inference to the next. */
const SECOND_CACHE = 1 << 19;
const constantBytes = (graph: Graph): number => [...graph.values.values()].reduce((s, v) => s + (v.constant ? bytesOfType(v.type) : 0), 0);
/** Least time of reading a node's constants. @param share of those of the graph that are read, where all nodes read as much of theirs as this one */
const reading = (graph: Graph, bytes: number, share = 1): number => (bytes <= SECOND_CACHE ? 0 : readingConstants(bytes, share * constantBytes(graph)));

/** A step more, and a reason to leave small tensors alone. */
const CALL_NANOSECONDS = 100;

/** Tiles of a node's result. Windows over an image leave its grid as it is, so that without padding some of it is computed in vain. */
function tilesOf(graph: Graph, node: Node, over: Layout['over']): number {
  const shape = typeOf(graph, node.outputs[0]!).shape, pixels = elementCount(shape.slice(0, -1)), images = shape[0]!;
  if (over === 'images') return Math.ceil(images / LANES) * (pixels / images);
  if (node.kind !== 'conv') return Math.ceil(pixels / LANES);
  const x = typeOf(graph, node.inputs[0]!).shape.slice(1, -1), grid = shape.slice(1, -1).map((d, i) => Math.max(d, Math.ceil(x[i]! / node.attrs.strides[i]!)));
  return images * Math.ceil(elementCount(grid) / LANES);
}

/** Least time of any node: that of its activations going in and out. */
const passing = (graph: Graph, node: Node): number => passingActivations([...operandsOf(node), ...node.outputs].reduce((s, id) => s + (valueOf(graph, id).constant ? 0 : bytesOfType(typeOf(graph, id))), 0));

/** Operands beside the first that tiles can be combined with: of the output's shape, or constants for each channel. */
function strangeOperand(graph: Graph, node: Node): string | undefined {
  const y = typeOf(graph, node.outputs[0]!);
  for (const id of node.kind === 'elementwise' ? operandsOf(node) : node.epilogue?.inputs ?? []) {
    const { type, constant, name } = valueOf(graph, id);
    if (type.dtype !== 'f32') return `${name} is ${type.dtype}`;
    const perChannel = elementCount(type.shape) === 1 || (elementCount(type.shape) === y.shape.at(-1) && type.shape.at(-1) === y.shape.at(-1));
    if (!sameShape(type.shape, y.shape) && !(constant && perChannel)) return `${name} is neither of the output's shape nor a constant for each channel`;
  }
  return y.dtype === 'f32' ? undefined : `the result is ${y.dtype}`;
}

/** Why windows cannot move over pixel tiles. */
function strangeWindow(graph: Graph, node: Node): string | undefined {
  const w = windowOf(node, node.inputs.map((id) => typeOf(graph, id)));
  const x = typeOf(graph, node.inputs[0]!).shape, y = typeOf(graph, node.outputs[0]!).shape;
  if (!w) return 'windows over more than two dimensions';
  if (w.stride[0] !== w.stride[1]) return `strides ${w.stride.join('x')} differ`;
  const outer = x.slice(1, -1), over = outer.findIndex((d, i) => y[i + 1]! > Math.ceil(d / w.stride[0]));
  if (over >= 0) return `the output is larger than the input over the stride`;
  const far = reachOf(w, 1, outer.at(-1)!).dx.length;
  return far > 6 ? `a window of ${w.kernel.join('x')} reaches ${far} columns sideways, masks are for 6` : undefined;
}

/** A filter a channel, and a kernel for it on the plainest tiles; without, it is a product like others. */
function runsDepthwise(graph: Graph, node: Node, over: Layout['over']): boolean {
  const types = node.inputs.map((id) => typeOf(graph, id)), w = depthwiseWindow(node, types);
  return w !== undefined && isDepthwiseWindow(w) && (over === 'images' || takesDepthwise(w, pixelTiles(types[0]!, 2), pixelTiles(typeOf(graph, node.outputs[0]!), 2)));
}

const isDepthwise = (p: StreamProduct): boolean => p.group > 1 && p.depth === 1 && p.rows === p.group;

/** A way to run a node in rows. */
interface Offer extends Pick<LayoutOption, 'kernel' | 'nanoseconds' | 'bytes'> {
  readonly absorbs: readonly Node[];
}

export function layoutModel(isa: Isa, rules: readonly KernelRule[]): LayoutModel {
  const known = new WeakMap<Graph, Map<NodeId, readonly Offer[]>>();
  const epilogueFits = (graph: Graph, node: Node): boolean =>
    matchEpilogue(node.epilogue?.expr, (node.epilogue?.inputs ?? []).map((id) => epilogueOperand(valueOf(graph, id), typeOf(graph, node.outputs[0]!).shape)), typeOf(graph, node.outputs[0]!).shape) !== undefined;
  const product = (graph: Graph, node: Node): StreamProduct | string =>
    streamProduct(node, node.inputs.map((id) => typeOf(graph, id)), node.inputs[1] === undefined ? undefined : valueOf(graph, node.inputs[1]).constant);

  function productInTiles(graph: Graph, node: Node, over: Layout['over']): readonly (LayoutOption | RejectedOption)[] {
    const p = product(graph, node), kernel = 'stream';
    if (typeof p === 'string') return [{ layout: over, kernel, reason: p }];
    const strange = (over === 'pixels' && node.kind === 'conv' ? strangeWindow(graph, node) : undefined) ?? strangeOperand(graph, node);
    if (strange) return [{ layout: over, kernel, reason: strange }];
    const tiles = tilesOf(graph, node, over);
    if (runsDepthwise(graph, node, over)) {
      // loads, shifts and sums of a tap take 1.7 cycles a vector
      return [{ layout: over, kernel: 'depthwise tiles', nanoseconds: Math.max(passing(graph, node), (tiles * p.rows * (tapsOf(p.window).length * 1.7 + 4) * (LANES / isa.lanes / isa.fma.full)) / isa.clock), bytes: p.weights.length * 4 }];
    }
    const extra = epilogueFits(graph, node) ? 0 : passing(graph, node), layers = constantBytes(graph) / bytesOfType(typeOf(graph, node.inputs[1]!));
    return streamForms(isa).map((form): LayoutOption | RejectedOption => {
      const { density, bytes, nanoseconds } = costOf(isa, p, tiles, 1, form, layers), label = `${form === 'tables' ? 'stream tables' : kernel} (${(100 * (1 - density)).toFixed(1)} % zeros)`;
      return form === 'assembly' && bytes > LAYER_BUDGET
        ? { layout: over, kernel: label, form, reason: `its code would take ${Math.round(bytes / 2 ** 20)} MiB, more than the ${LAYER_BUDGET / 2 ** 20} MiB of a layer` }
        : { layout: over, kernel: label, form, nanoseconds: Math.max(nanoseconds, passing(graph, node)) + extra, bytes };
    });
  }

  function inTiles(graph: Graph, node: Node, over: Layout['over']): LayoutOption | RejectedOption | readonly (LayoutOption | RejectedOption)[] {
    const none = (reason: string): RejectedOption => ({ layout: over, kernel: node.kind, reason });
    const x = node.inputs[0] === undefined ? undefined : typeOf(graph, node.inputs[0]), y: TensorType = typeOf(graph, node.outputs[0]!);
    const same = (): LayoutOption => ({ layout: over, kernel: node.kind, nanoseconds: passing(graph, node) + CALL_NANOSECONDS, bytes: 0 });
    if (!x || node.outputs.length !== 1 || x.dtype !== 'f32' || y.shape.length === 0 || elementCount(y.shape) === 0) return none('no kernel in tiles');
    switch (node.kind) {
      case 'conv': case 'matmul': return productInTiles(graph, node, over);
      case 'elementwise': {
        const strange = strangeOperand(graph, node);
        return strange ? none(strange) : same();
      }
      case 'pool': {
        const strange = node.attrs.layout !== 'nsc' || node.attrs.indices ? 'not a plain pool' : (over === 'pixels' ? strangeWindow(graph, node) : undefined) ?? strangeOperand(graph, node);
        return strange ? none(strange) : same();
      }
      case 'reduce': {
        const pixels = x.shape.length === 4 && node.attrs.op === 'sum' && !node.attrs.map && node.attrs.axes.length === 2 && node.attrs.axes.every((a, i) => a === i + 1);
        return pixels && over === 'pixels' ? same() : none('not a sum over the pixels');
      }
      case 'normalize': return node.attrs.axes.length === 1 && node.attrs.axes[0] === x.shape.length - 1 && !strangeOperand(graph, node) ? same() : none('not over the channels');
      case 'softmax': return node.attrs.axis === x.shape.length - 1 && !strangeOperand(graph, node) ? same() : none('not over the channels');
      // another name of the same memory, as long as channels stay channels
      case 'reshape': {
        const alike = x.shape.at(-1) === y.shape.at(-1) || (over === 'images' && y.shape.length === 2 && y.shape[0] === x.shape[0]);
        return alike ? { ...same(), nanoseconds: 0 } : none('channels and pixels mix');
      }
      default: return none('no kernel in tiles');
    }
  }

  /** Ways to run a node in rows, those among them that run others on the way. */
  function offersOf(graph: Graph, node: Node): readonly Offer[] {
    const of = known.get(graph) ?? new Map<NodeId, readonly Offer[]>(), before = of.get(node.id);
    if (before) return before;
    const constants = node.inputs.reduce((s, id) => s + (valueOf(graph, id).constant ? bytesOfType(typeOf(graph, id)) : 0), 0), request = requestFor(graph, node);
    const kernels = rules.flatMap((r) => (r.tiles ? [] : [...r.candidates(request)])).map(({ choice, nanoseconds, bytes = constants, absorbs = [] }): Offer =>
      ({ kernel: choice.kernel, nanoseconds: Math.max(nanoseconds, reading(graph, bytes, Math.min(1, bytes / constants)), passing(graph, node)), bytes, absorbs }));
    const nest: Offer = { kernel: '', nanoseconds: node.kind === 'reshape' ? 0 : passing(graph, node) * (node.kind === 'pool' ? 2 : 1), bytes: constants, absorbs: [] };
    const offers = kernels.some((o) => o.absorbs.length === 0) ? kernels : [...kernels, nest];
    known.set(graph, of.set(node.id, offers));
    return offers;
  }

  /** Least time of a node as part of the one that reads it. */
  function largestShare(graph: Graph, node: Node): number {
    const [reader, ...others] = graph.nodes.filter((n) => operandsOf(n).some((id) => node.outputs.includes(id)));
    return reader && others.length === 0 ? Math.min(Infinity, ...offersOf(graph, reader).flatMap((o) => (o.absorbs.some((n) => n.id === node.id) ? [o.nanoseconds] : []))) : Infinity;
  }

  /** What a node is charged with where it may be part of the one that reads it, which is charged with the rest of the time of both. */
  const shareOf = (graph: Graph, node: Node): number => Math.min(largestShare(graph, node), ...offersOf(graph, node).map((o) => o.nanoseconds));

  return {
    epilogueFits,
    conversion: (type) => passingActivations(2 * bytesOfType(type)) + CALL_NANOSECONDS,
    readsWhole: (graph, node) => node.kind === 'slice' || runsDepthwise(graph, node, 'pixels'),
    phasesFit: (graph, node, phases) => {
      const p = product(graph, node);
      return typeof p !== 'string' && !isDepthwise(p) && costOf(isa, p, 1, phases * phases).bytes <= PHASES_BUDGET;
    },
    rows(graph, node) {
      const offers = offersOf(graph, node), absorbing = largestShare(graph, node);
      const request = requestFor(graph, node), refusals = rules.flatMap((r) => r.refusals?.(request) ?? []);
      return [...offers.map(({ kernel, nanoseconds, bytes, absorbs }): LayoutOption => ({
        layout: 'rows', kernel, bytes, nanoseconds: absorbs.length === 0 ? Math.min(nanoseconds, absorbing) : Math.max(0, nanoseconds - absorbs.reduce((s, n) => s + shareOf(graph, n), 0)),
      })), ...refusals.map((r): RejectedOption => ({ layout: 'rows', ...r }))];
    },
    tiles: (graph, node, over) => [inTiles(graph, node, over)].flat(),
  };
}
