/** Transpositions between rows and tiles in one step with the change of layout: how attention splits and joins its heads. */
import { coreOp } from '../../../../compiler/core/index.js';
import { gridVectors, LANES, vectorStride, type PixelTiles } from '../../../../compiler/ir/layout.js';
import { contiguousStrides, elementCount, operandsOf, valueOf, type Graph, type Node, type NodeOf, type ValueId } from '../../../../compiler/ir/types.js';
import { add, asIndex, call, div, mod, mul, pointer } from '../../../../compiler/kir/build.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { joinedAxes, type Axis } from '../axes.js';
import { haloStatements, vectorOfGrid } from './finish.js';
import { isAddressable } from './relayout.js';

/**
 * The nodes behind a value, itself under other names, up to the one of kind `kind`: each with that result only, which nobody else reads.
 * The first is the one of that kind.
 */
export function behind<K extends 'relayout' | 'transpose'>(graph: Graph, id: ValueId, kind: K, reader: Node): readonly [NodeOf<K>, ...Node[]] | undefined {
  const producer = graph.nodes.find((n) => n.outputs.includes(id));
  const alone = graph.nodes.every((n) => n === reader || !operandsOf(n).includes(id)) && !graph.outputs.some((o) => o.value === id);
  if (!producer || producer.epilogue || !alone) return undefined;
  if (producer.kind === kind) return [producer as NodeOf<K>];
  const rest = coreOp(producer.kind).alias ? behind(graph, producer.inputs[0]!, kind, producer) : undefined;
  return rest && [...rest, producer];
}

/** Rows in two dimensions at most, the inner of `inner` rows, and blocks of channels. */
interface SplitRows {
  readonly inner: number;
  readonly outer: number;
  readonly step: number;
  readonly blocks: number;
  readonly block: number;
  /** Distance of neighbouring blocks, and of channels in one. */
  readonly blockStep: number;
  readonly channelStep: number;
}

/** Axes as a matrix of `pixels` rows and its channels. @param axes in the order of rows and channels */
function splitRows(axes: readonly Axis[], pixels: number): SplitRows | undefined {
  let rows = 1, cut = 0;
  while (cut < axes.length && rows < pixels) rows *= axes[cut++]!.extent;
  const row = joinedAxes(axes.slice(0, cut)), channel = joinedAxes(axes.slice(cut));
  if (rows !== pixels || row.length > 2 || row.length === 0 || channel.length > 2 || channel.length === 0) return undefined;
  const inner = row.at(-1)!, last = channel.at(-1)!, [first] = channel.length === 2 ? channel : [undefined];
  return {
    inner: inner.extent, outer: row.length === 2 ? row[0]!.stride : 0, step: inner.stride,
    blocks: first?.extent ?? 1, block: last.extent, blockStep: first?.stride ?? 0, channelStep: last.stride,
  };
}

/** One grid for one image: row p of the matrix is pixel p. */
const isMatrix = (l: PixelTiles): boolean => l.images === 1 && l.phases === 1 && isAddressable(l);

const grid = (l: PixelTiles): readonly number[] => [l.height, l.width, l.rows, l.columns];
/** Not more than for the change of layout alone. */
const elementCycles = 0.4;

/** A transposition of rows that come out of tiles. */
export function transposeFromTilesRule(isa: Isa): KernelRule {
  const candidates = ({ graph, node, inputs, outputs }: KernelRequest): KernelCandidate[] => {
    if (node.kind !== 'transpose' || node.epilogue || outputs[0]!.dtype !== 'f32' || outputs[0]!.layout) return [];
    const found = behind(graph, node.inputs[0]!, 'relayout', node), from = found && valueOf(graph, found[0].inputs[0]!), l = from?.layout;
    if (!l || l.over !== 'pixels' || !isMatrix(l)) return [];
    const y = outputs[0]!, strides = contiguousStrides(y.shape), { shape } = inputs[0]!;
    const split = splitRows(shape.map((extent, d): Axis => ({ extent, stride: strides[node.attrs.perm.indexOf(d)]! })), l.height * l.width);
    if (!split) return [];
    const { inner, outer, step, blocks, block, blockStep, channelStep } = split, size = gridVectors(l);
    const offer = (kernel: string, reason: string, build: KernelCandidate['build']): KernelCandidate[] =>
      [{ choice: { status: 'dense-kernel', kernel, reason }, nanoseconds: l.height * l.width * l.channels * elementCycles / isa.clock, absorbs: found, build }];
    if (channelStep === 1) {
      return offer('pixels to transposed rows', `${blocks} blocks of ${block} channels, in squares of 16x16`, (k) => {
        const x = k.operand(from.id, 'tiles');
        return k.forEach([blocks, size], ([b, v]) => [call('spc_tiles_to_split_rows', pointer(y.param, mul(b!, blockStep)), pointer(x.param, add(vectorOfGrid(l, asIndex(0), v!), mul(b!, block * LANES))),
          block, inner, outer, step, v!, ...grid(l))]);
      });
    }
    const pixels = l.height * l.width;
    if (step !== 1 || l.columns !== l.width || (inner !== pixels && (pixels !== size * LANES || inner % size !== 0))) return [];
    return offer('pixels to columns', `${l.channels} channels, each all of its pixels in order`, (k) => {
      const x = k.operand(from.id, 'tiles');
      return k.forEach([l.channels], ([c]) => [call('spc_tiles_to_column', pointer(y.param, add(mul(div(c!, block), blockStep), mul(mod(c!, block), channelStep))),
        pointer(x.param, add(l.before * vectorStride(l), mul(c!, LANES))), vectorStride(l), size, inner, outer, pixels)]);
    });
  };
  return { name: 'transpose from tiles', candidates };
}

/** A transposition whose result goes into tiles as rows. */
export function transposeToTilesRule(isa: Isa): KernelRule {
  const candidates = ({ graph, node, inputs, outputs }: KernelRequest): KernelCandidate[] => {
    const y = outputs[0]!, l = y.layout;
    if (node.kind !== 'relayout' || inputs[0]!.layout || !l || l.over !== 'pixels' || !isMatrix(l)) return [];
    const found = behind(graph, node.inputs[0]!, 'transpose', node), source = found && valueOf(graph, found[0].inputs[0]!);
    if (!found || !source || source.layout || source.type.dtype !== 'f32') return [];
    const { shape } = source.type, strides = contiguousStrides(shape), { perm } = found[0].attrs;
    const split = splitRows(perm.map((p): Axis => ({ extent: shape[p]!, stride: strides[p]! })), l.height * l.width);
    if (!split || split.channelStep !== 1 || elementCount(shape) === 0) return [];
    const { inner, outer, step, blocks, block, blockStep } = split;
    return [{
      choice: { status: 'dense-kernel', kernel: 'transposed rows to pixels', reason: `${blocks} blocks of ${block} channels, in squares of 16x16` },
      nanoseconds: elementCount(shape) * elementCycles / isa.clock, absorbs: found, finishes: true,
      build: (k) => {
        const x = k.operand(source.id, 'source');
        return [
          ...k.forEach([gridVectors(l), blocks], ([v, b]) => [call('spc_tiles_from_split_rows', pointer(y.param, add(vectorOfGrid(l, asIndex(0), v!), mul(b!, block * LANES))),
            pointer(x.param, mul(b!, blockStep)), block, inner, outer, step, v!, ...grid(l))]),
          ...haloStatements(k, y),
        ];
      },
    }];
  };
  return { name: 'transpose to tiles', tiles: true, candidates };
}
