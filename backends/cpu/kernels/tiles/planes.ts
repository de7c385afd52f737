/** Images into tiles a channel at a time: network inputs, whose channels are planes (NCHW) or too few to be worth squares of 16. */
import { gridVectors, LANES, vectorStride } from '../../../../compiler/ir/layout.js';
import { operandsOf, sameShape, type Graph, type Node } from '../../../../compiler/ir/types.js';
import { add, call, index, mul, pointer } from '../../../../compiler/kir/build.js';
import { isContiguous } from '../../../../compiler/kir/kernel-builder.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { haloStatements, vectorOfGrid } from './finish.js';
import { isAddressable } from './relayout.js';

/** Up to so many channels of row-major pixels, squares of 16x16 would be mostly empty. */
const FEW_CHANNELS = 7;

/** The transposition from NCHW behind a relayout, where nobody else reads its result. */
function planarSource(graph: Graph, node: Node): Extract<Node, { kind: 'transpose' }> | undefined {
  const id = node.inputs[0]!, producer = graph.nodes.find((n) => n.outputs.includes(id));
  if (producer?.kind !== 'transpose' || producer.epilogue || graph.outputs.some((o) => o.value === id)) return undefined;
  const rank = producer.attrs.perm.length, wanted = [0, ...Array.from({ length: rank - 2 }, (_, d) => d + 2), 1];
  return sameShape(producer.attrs.perm, wanted) && graph.nodes.every((n) => n === node || !operandsOf(n).includes(id)) ? producer : undefined;
}

export function planesRule(isa: Isa): KernelRule {
  const candidates = ({ graph, node, inputs, outputs }: KernelRequest): KernelCandidate[] => {
    const rows = inputs[0]!, y = outputs[0]!, to = y.layout;
    if (node.kind !== 'relayout' || to?.over !== 'pixels' || rows.layout || !isContiguous(rows) || !isAddressable(to)) return [];
    const source = planarSource(graph, node);
    if (!source && to.channels > FEW_CHANNELS) return [];
    const { height, width, channels, phases: s, images } = to, size = gridVectors(to), grids = s * s;
    const step = source ? { image: channels * height * width, channel: height * width, row: width, column: 1 }
      : { image: channels * height * width, channel: 1, row: width * channels, column: channels };
    return [{
      choice: { status: 'dense-kernel', kernel: 'planes to pixels', reason: `${channels} channels a plane at a time${source ? ', from NCHW' : ''}, in ${s}x${s} phases` },
      nanoseconds: (images * channels * grids * size * LANES * 0.6) / isa.clock, finishes: true, ...(source ? { absorbs: [source] } : {}),
      build: (k) => {
        const x = source ? k.operand(source.inputs[0]!, 'planes') : rows, line = k.scratch('line', 'f32', (size + 1) * LANES);
        // phases have their own extents: one call each; the room for a line is one thread's
        const calls = Array.from({ length: grids }, (_, g) => [Math.floor(g / s), g % s] as const).map(([py, px], g) =>
          k.forEach([images, channels], ([n, c]) => [call('spc_tiles_from_plane',
            pointer(y.param, add(vectorOfGrid(to, add(mul(n!, grids), g), 0), mul(c!, LANES))), vectorStride(to),
            pointer(x.param, add(add(mul(n!, step.image), mul(c!, step.channel)), index(py * step.row + px * step.column))), s * step.row, s * step.column,
            Math.max(0, Math.ceil((height - py) / s)), Math.max(0, Math.ceil((width - px) / s)), to.columns, size, pointer(line))], {}));
        return [...calls.flat(), ...haloStatements(k, y)];
      },
    }];
  };
  return { name: 'planes', tiles: true, candidates };
}
