/** Which nodes run in tiles, against all labelings of small random graphs. */
import { expect, test } from 'vitest';
import { isRejected, type LayoutOption, type RejectedOption } from '../../compiler/ir/layout-choice.js';
import { tensorOf } from '../../compiler/ir/tensor.js';
import { operandsOf, type Graph, type Node, type Value } from '../../compiler/ir/types.js';
import { arg } from '../../compiler/kir/build.js';
import { randomSource, type RandomSource } from '../../test/support/random-stream.js';
import { nodesInTiles, type NodeOptions } from './labels.js';
import type { LayoutModel } from './model.js';

/** Only the conversion is asked for: a value's first extent is what it costs. */
const model: LayoutModel = {
  conversion: ({ shape }) => shape[0]!, epilogueFits: () => true, phasesFit: () => false, readsWhole: () => false,
  rows: () => { throw new Error('not asked'); }, tiles: () => { throw new Error('not asked'); },
};

/** Nodes that read some of what is before them, twice or through an epilogue too; constants among the operands; some reduce to rows. */
function randomGraph(random: RandomSource, size: number): Graph {
  const values = new Map<number, Value>(), nodes: Node[] = [], inputs: number[] = [];
  const value = (more: Partial<Value> = {}): number => {
    const id = values.size, type = { dtype: 'f32' as const, shape: [random.integer(0, 60), 4] };
    values.set(id, { id, name: `v${id}`, type, ...more });
    return id;
  };
  for (let i = random.integer(1, 2); i > 0; i--) inputs.push(value());
  const constant = value({ constant: tensorOf('f32', [4], [1, 2, 3, 4]) }), live = [...inputs];
  for (let i = 0; i < size; i++) {
    const operand = (): number => (random.next() < 0.15 ? constant : random.next() < 0.5 ? live.at(-1)! : random.pick(live));
    const inputs = Array.from({ length: random.integer(1, 2) }, operand), extra = random.next() < 0.3 ? { epilogue: { expr: arg(0, 'f32'), inputs: [operand()] } } : {};
    const outputs = Array.from({ length: random.pick([1, 1, 1, 2]) }, () => value()), base = { id: 1000 + i, inputs, outputs, origins: [], ...extra };
    nodes.push(random.next() < 0.2 ? { ...base, kind: 'reduce', attrs: { op: 'sum', axes: [0], keepdims: false } } : { ...base, kind: 'elementwise', attrs: { expr: arg(0, 'f32') } });
    live.push(...outputs);
  }
  const outputs = live.filter((_, i) => i === live.length - 1 || random.next() < 0.2);
  return { name: 'random', values, nodes, inputs, outputs: outputs.map((v, i) => ({ name: `y${i}`, value: v })) };
}

function randomOptions(random: RandomSource, graph: Graph): Map<number, NodeOptions> {
  const option = (layout: 'rows' | 'pixels'): LayoutOption => ({ layout, kernel: 'k', nanoseconds: random.integer(0, 100), bytes: 0 });
  const rejected = (layout: 'rows' | 'pixels'): RejectedOption => ({ layout, kernel: 'k', reason: 'chance' });
  return new Map(graph.nodes.map((n) => {
    const fate = random.next();
    return [n.id, { rows: fate < 0.1 ? rejected('rows') : option('rows'), tiles: fate > 0.8 ? rejected('pixels') : option('pixels') }];
  }));
}

/**
 * What a labeling takes: the time of every node where it is, five percent more in tiles, and one conversion of every value that some
 * reader wants on the other side than it is made on. Inputs are made, and outputs read, in rows; reductions make rows wherever they run.
 */
function timeOf(graph: Graph, options: ReadonlyMap<number, NodeOptions>, inTiles: (n: Node) => boolean): number {
  const time = (o: LayoutOption | RejectedOption): number => (isRejected(o) ? Infinity : o.nanoseconds);
  let total = graph.nodes.reduce((s, n) => s + (inTiles(n) ? 1.05 * time(options.get(n.id)!.tiles) : time(options.get(n.id)!.rows)), 0);
  for (const { id, type, constant } of graph.values.values()) {
    if (constant) continue;
    const producer = graph.nodes.find((n) => n.outputs.includes(id)), made = producer !== undefined && producer.kind !== 'reduce' && inTiles(producer);
    const read = [...graph.nodes.filter((n) => operandsOf(n).includes(id)).map(inTiles), ...graph.outputs.filter((o) => o.value === id).map(() => false)];
    if (read.some((tiles) => tiles !== made)) total += type.shape[0]!;
  }
  return total;
}

test('no labeling takes less time', () => {
  const random = randomSource(7);
  let mixed = 0;
  for (let run = 0; run < 400; run++) {
    const graph = randomGraph(random, random.integer(1, 8)), options = randomOptions(random, graph), { nodes } = graph;
    let least = Infinity;
    for (let set = 0; set < 2 ** nodes.length; set++) least = Math.min(least, timeOf(graph, options, (n) => (set >> nodes.indexOf(n) & 1) === 1));
    const chosen = nodesInTiles(graph, options, model);
    expect(timeOf(graph, options, (n) => chosen.has(n.id)), `graph ${run}`).toBeCloseTo(least, 6);
    if (chosen.size > 0 && chosen.size < nodes.length) mixed++;
  }
  expect(mixed).toBeGreaterThan(100);
});

test('tiles must win by more than five percent', () => {
  const graph: Graph = {
    name: 'one', inputs: [0], outputs: [{ name: 'y', value: 1 }], values: new Map([0, 1].map((id) => [id, { id, name: `v${id}`, type: { dtype: 'f32', shape: [0, 4] } }])),
    nodes: [{ id: 2, kind: 'elementwise', inputs: [0], outputs: [1], attrs: { expr: arg(0, 'f32') }, origins: [] }],
  };
  const chosen = (tiles: number): number => nodesInTiles(graph, new Map([[2, { rows: { layout: 'rows', kernel: '', nanoseconds: 1050, bytes: 0 }, tiles: { layout: 'pixels', kernel: '', nanoseconds: tiles, bytes: 0 } }]]), model).size;
  expect([990, 999, 1001, 1040].map(chosen)).toEqual([1, 1, 0, 0]);
});
