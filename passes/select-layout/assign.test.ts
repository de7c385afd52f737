/** Layouts of random networks, every node in tiles or in rows as chance has it: each reader can use what it gets, and the network means the same. */
import { describe, expect, test } from 'vitest';
import { isas } from '../../backends/cpu/isa.js';
import { cpuTarget } from '../../backends/cpu/target.js';
import { optimiseModel } from '../../compiler/driver.js';
import { tapsOf, windowOf } from '../../compiler/core/window.js';
import { isRejected, type LayoutOption, type RejectedOption } from '../../compiler/ir/layout-choice.js';
import { formatLayout, gridVectors, phaseVectors, placeOf, sameLayout, type Layout, type PixelTiles } from '../../compiler/ir/layout.js';
import { operandsOf, typeOf, valueOf, type Graph, type Node } from '../../compiler/ir/types.js';
import { verifyGraph } from '../../compiler/ir/verify.js';
import { randomNetwork, type NetworkKind } from '../../test/differential/network.js';
import { expectSameMeaning } from '../../test/support/graphs.js';
import { onnxModel } from '../../test/support/onnx-builder.js';
import { randomSource } from '../../test/support/random-stream.js';
import { reducesPixels } from './labels.js';
import { selectLayout, type LayoutModel } from './index.js';

const cpu = cpuTarget(isas['x86-64-v4'].name).layouts!;

/** Times of each node drawn from a seed; what the target cannot do stays rejected. */
function byChance(seed: number): LayoutModel {
  const drawn = <O extends LayoutOption | RejectedOption>(o: O, node: Node, side: number): O => (isRejected(o) ? o : { ...o, nanoseconds: randomSource(seed * 7919 + node.id * 2 + side).next() * 1000 * (side === 1 ? 1 : 2) });
  return { ...cpu, conversion: () => 50, rows: (g, n) => cpu.rows(g, n).map((o, i) => drawn(o, n, 2 * i)), tiles: (g, n, over) => cpu.tiles(g, n, over).map((o) => drawn(o, n, 1)) };
}

function optimised(seed: number, kind: NetworkKind): Graph {
  const { nodes, input, initializers, outputs } = randomNetwork(seed, kind);
  const bytes = onnxModel({ nodes, inputs: { x: { dtype: 'f32', shape: input.shape } }, initializers, outputs });
  return optimiseModel({ bytes, name: 'network' }, { cpu: 'x86-64-v4' }).optimised.graph;
}

/** The first pixel of an image that some tap wants of a place where it is not, straight from the definition of the layouts. */
function unreachable(graph: Graph, node: Node): string | undefined {
  const x = valueOf(graph, node.inputs[0]!).layout!, y = valueOf(graph, node.outputs[0]!).layout!, w = windowOf(node, node.inputs.map((id) => typeOf(graph, id)))!;
  for (let oy = 0; oy < y.height; oy++) for (let ox = 0; ox < y.width; ox++) for (const { ky, kx } of tapsOf(w)) {
    const iy = oy * w.stride[0] + ky * w.dilation[0] - w.before[0], ix = ox * w.stride[1] + kx * w.dilation[1] - w.before[1], inside = iy >= 0 && iy < x.height && ix >= 0 && ix < x.width;
    const what = `output ${oy},${ox} tap ${ky},${kx}`;
    if (x.over === 'images') {
      if (iy + x.top < 0 || iy + x.top >= x.rows || ix + x.left < 0 || ix + x.left >= x.columns) return `${what}: outside the margins`;
    } else if (inside) {
      // the vector that has this pixel in the lane of the output: a shifted copy where lanes differ
      const to = placeOf(y, 0, oy, ox), from = placeOf(x, 0, iy, ix), vector = from.vector % phaseVectors(x) + (from.lane - to.lane) * gridVectors(x);
      if (vector < 0 || vector >= phaseVectors(x)) return `${what}: vector ${vector} of ${phaseVectors(x)}`;
    }
  }
  return undefined;
}

const describeNode = (graph: Graph, node: Node): string =>
  `${node.kind}: ${[...operandsOf(node), ...node.outputs].map((id) => { const { name, layout, constant } = valueOf(graph, id); return `${name} ${constant ? 'constant' : layout ? formatLayout(layout) : 'rows'}`; }).join(', ')}`;

/** What a node has instead of operands and a result that its kernels can take. */
function unacceptable(graph: Graph, node: Node): string | undefined {
  const [x] = node.inputs.map((id) => valueOf(graph, id)), y = valueOf(graph, node.outputs[0]!);
  const layouts = operandsOf(node).map((id) => valueOf(graph, id)).filter((v) => !v.constant).map((v) => v.layout), inTiles = reducesPixels(node) ? layouts[0] !== undefined : y.layout !== undefined;
  if (node.kind === 'relayout') {
    if (sameLayout(x!.layout, y.layout)) return 'converts to what it has';
    return x!.layout && y.layout && (x!.layout.images !== y.layout.images || x!.layout.height !== y.layout.height || x!.layout.width !== y.layout.width) ? 'converts pixels to other images' : undefined;
  }
  if (!inTiles) return layouts.some((l) => l !== undefined) ? 'reads tiles in rows' : undefined;
  if (layouts.some((l) => l === undefined)) return 'reads rows in tiles';
  if (node.kind === 'reshape') return undefined;
  const own: Layout = reducesPixels(node) ? layouts[0]! : y.layout!;
  if (layouts.some((l) => l!.over !== own.over)) return 'lanes are pixels here and images there';
  // kernels that shift pixels themselves want images in one piece
  if (own.over === 'pixels' && (node.kind === 'conv' || node.kind === 'pool' || node.kind === 'slice') && cpu.readsWhole(graph, node)) return (x!.layout as PixelTiles).phases === 1 ? undefined : 'phases of an image that is read as a whole';
  if (node.kind === 'conv' || node.kind === 'pool') return unreachable(graph, node);
  // pixel by pixel: the same pixels in the same lanes of the same vectors, halos aside
  const pixels = (l: Layout): string => JSON.stringify({ ...l, before: 0, after: 0, pitch: 0, channels: 0, ...(l.over === 'images' ? { rows: 0, columns: 0, top: 0, left: 0 } : {}) });
  return layouts.some((l) => pixels(l!) !== pixels(own)) ? 'other pixels in its operands' : undefined;
}

const kinds: readonly (readonly [string, NetworkKind, number])[] = [['images', { of: 'images' }, 60], ['sequences', { of: 'sequences' }, 30], ['rows', { of: 'rows' }, 40]];

describe.each(kinds)('%s', (_, kind, count) => {
  test('every node can read its operands; each value is converted once to each layout', () => {
    let nodesInTiles = 0, relayouts = 0, halos = 0;
    for (let seed = 1; seed <= count; seed++) {
      const before = optimised(seed, kind);
      for (const over of ['pixels', 'images'] as const) {
        const { graph } = selectLayout(before, byChance(seed), { lanes: over }), label = `seed ${seed} over ${over}`;
        expect(verifyGraph(graph), label).toEqual([]);
        for (const node of graph.nodes) {
          const problem = unacceptable(graph, node);
          if (problem) expect.fail(`${label}: ${problem}: ${describeNode(graph, node)}`);
        }
        for (const o of graph.outputs) expect(valueOf(graph, o.value).layout, label).toBeUndefined();
        const made = graph.nodes.filter((n) => n.kind === 'relayout').map((n) => { const { layout } = valueOf(graph, n.outputs[0]!); return `${n.inputs[0]} ${layout ? formatLayout(layout) : 'rows'}`; });
        expect(new Set(made).size, label).toBe(made.length);
        nodesInTiles += graph.nodes.filter((n) => n.kind !== 'relayout' && valueOf(graph, n.outputs[0]!).layout).length;
        relayouts += made.length;
        halos += [...graph.values.values()].filter(({ layout: l }) => l && (l.over === 'pixels' ? l.before + l.after > 0 : l.top + l.left > 0)).length;
        if (seed % 5 === 0) expectSameMeaning(before, graph, 1e-5);
      }
    }
    expect(Math.min(nodesInTiles, relayouts)).toBeGreaterThan(count);
    if (kind.of !== 'rows') expect(halos).toBeGreaterThan(count);
  });
});
