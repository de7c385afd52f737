/** Images into tiles a channel at a time: network inputs, whose channels are planes (NCHW) or too few to be worth squares of 16. */
import { gridVectors, LANES, phaseVectors, vectorsOf, vectorStride, type ImageTiles, type Layout, type PixelTiles } from '../../../../compiler/ir/layout.js';
import { sameShape, typeOf, type Graph, type Node, type NodeOf } from '../../../../compiler/ir/types.js';
import { add, call, div, index, min, mod, mul, pointer, sub } from '../../../../compiler/kir/build.js';
import { isContiguous, type KernelBuilder, type TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { clearStatements, haloStatements, vectorOfGrid, vectorOfImages } from './finish.js';
import { isAddressable } from './relayout.js';
import { behind } from './transpose.js';

/** Up to so many channels of row-major pixels, squares of 16x16 would be mostly empty. */
const FEW_CHANNELS = 7;
/** Of the conversion, and of the transposition that there is none of where it begins with planes. */
const ELEMENT_CYCLES = 0.6, SAVED_CYCLES = 0.4;

/** The transposition from NCHW behind a relayout, with the names that its result has on the way: an image's planes, whether the relayout calls its pixels rows or not. */
function planarSource(graph: Graph, node: Node, to: Layout): readonly [NodeOf<'transpose'>, ...Node[]] | undefined {
  const found = behind(graph, node.inputs[0]!, 'transpose', node), transpose = found?.[0];
  if (!found || !transpose) return undefined;
  const { perm } = transpose.attrs, shape = typeOf(graph, transpose.inputs[0]!).shape, wanted = [0, ...Array.from({ length: perm.length - 2 }, (_, d) => d + 2), 1];
  return sameShape(perm, wanted) && shape[0] === to.images && shape[1] === to.channels ? found : undefined;
}

/** Distances in elements between what is next to each other in the source. */
interface Steps {
  readonly image: number;
  readonly channel: number;
  readonly row: number;
  readonly column: number;
}

function toPixels(k: KernelBuilder, x: TensorRef, y: TensorRef, to: PixelTiles, step: Steps): Stmt[] {
  // pixels that follow one another in the plane and on the grid are one row
  const joined = to.phases === 1 && to.columns === to.width && step.row === to.width * step.column;
  const { phases: s, height, width, columns } = joined ? { phases: 1, height: 1, width: to.height * to.width, columns: to.rows * to.columns } : to, size = gridVectors(to);
  return k.eachWithScratch(s * to.channels, (i) => {
    const line = k.scratch('line', 'f32', s * size * LANES + LANES), py = div(i, to.channels), c = mod(i, to.channels);
    return k.forEach([to.images], ([n]) => [call('spc_tiles_from_plane',
      pointer(y.param, add(vectorOfGrid(to, add(mul(n!, s * s), mul(py, s)), 0), mul(c, LANES))), vectorStride(to), phaseVectors(to) * vectorStride(to),
      pointer(x.param, add(add(mul(n!, step.image), mul(c, step.channel)), mul(py, step.row))), s * step.row, step.column,
      div(sub(height + s - 1, py), s), width, s, columns, size, pointer(line))], {});
  });
}

const toImages = (k: KernelBuilder, x: TensorRef, y: TensorRef, to: ImageTiles, step: Steps): Stmt[] =>
  k.forEach([Math.ceil(to.images / LANES), to.channels], ([group, c]) => [call('spc_tiles_from_image_planes',
    pointer(y.param, add(vectorOfImages(to, group!, index(to.top), index(to.left)), mul(c!, LANES))), to.columns * vectorStride(to), vectorStride(to),
    pointer(x.param, add(mul(group!, LANES * step.image), mul(c!, step.channel))), step.image, step.row, step.column, to.height, to.width,
    min(LANES, sub(to.images, mul(group!, LANES))))]);

export function planesRule(isa: Isa): KernelRule {
  const candidates = ({ graph, node, inputs, outputs }: KernelRequest): KernelCandidate[] => {
    const rows = inputs[0]!, y = outputs[0]!, to = y.layout;
    if (node.kind !== 'relayout' || !to || rows.layout || !isContiguous(rows) || !isAddressable(to)) return [];
    const source = planarSource(graph, node, to);
    if (!source && to.channels > FEW_CHANNELS) return [];
    const { height, width, channels } = to, image = channels * height * width;
    const step = source ? { image, channel: height * width, row: width, column: 1 } : { image, channel: 1, row: width * channels, column: channels };
    return [{
      choice: { status: 'dense-kernel', kernel: `planes to ${to.over}`, reason: `${channels} channels a plane at a time${source ? ', from NCHW' : ''}` },
      nanoseconds: (vectorsOf(to) * channels * LANES * (source ? ELEMENT_CYCLES - SAVED_CYCLES : ELEMENT_CYCLES)) / isa.clock, finishes: true, ...(source ? { absorbs: source } : {}),
      build: (k) => {
        const x = source ? k.operand(source[0].inputs[0]!, 'planes') : rows;
        return to.over === 'pixels' ? [...toPixels(k, x, y, to, step), ...haloStatements(k, y)] : [...toImages(k, x, y, to, step), ...clearStatements(k, y)];
      },
    }];
  };
  return { name: 'planes', tiles: true, candidates };
}
