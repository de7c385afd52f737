import { expect, test } from 'vitest';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import { GraphBuilder } from '../../compiler/ir/build.js';
import { isRejected, optionKey, type LayoutOption, type LayoutSettings, type RejectedOption } from '../../compiler/ir/layout-choice.js';
import { tensorOf } from '../../compiler/ir/tensor.js';
import type { Graph, Node } from '../../compiler/ir/types.js';
import { selectLayout, type LayoutModel } from './index.js';

/** Three products of [16, 4], one after the other, made of ONNX nodes `a`, `b` and `c`. */
function chain(): Graph {
  const g = new GraphBuilder('m');
  let x = g.input('x', { dtype: 'f32', shape: [16, 4] });
  ['a', 'b', 'c'].forEach((name, i) => {
    const w = g.constant(tensorOf('f32', [4, 4], Array.from({ length: 16 }, (_, k) => (k === i ? 1 : 0))), `${name}.w`);
    x = g.op('matmul', [x, w], { transA: false, transB: false, out: 'f32' })[0]!;
  });
  const graph = g.finish([{ name: 'y', value: x }]);
  return { ...graph, nodes: graph.nodes.map((n, i) => ({ ...n, origins: [{ node: 'abc'[i]!, op: 'MatMul' }, ...(i > 0 ? [{ node: 'abc'[i - 1]!, op: 'Add' }] : [])] })) };
}

const MIB = 2 ** 20;
/** Dense 1000 ns; in tiles 100 ns as code of a MiB, or from tables in a time that differs from node to node. */
const model = (tables: Readonly<Record<string, number>>, code: (n: Node) => LayoutOption | RejectedOption = () => ({ layout: 'pixels', kernel: 'code', form: 'assembly', nanoseconds: 100, bytes: MIB })): LayoutModel => ({
  rows: () => [{ layout: 'rows', kernel: 'gemm 4x16', nanoseconds: 1000, bytes: 64 }, { layout: 'rows', kernel: 'permute', nanoseconds: 3000, bytes: 32 }],
  tiles: (_, n) => [code(n), { layout: 'pixels', kernel: 'tables', form: 'tables', nanoseconds: tables[n.origins[0]!.node]!, bytes: MIB / 2 }],
  conversion: () => 10, epilogueFits: () => true, phasesFit: () => false, readsWhole: () => false,
});
const even = { a: 170, b: 170, c: 170 };

function chosen(graph: Graph, m: LayoutModel, settings: LayoutSettings = {}): Record<string, string> {
  const { decisions } = selectLayout(graph, m, settings);
  return Object.fromEntries(graph.nodes.map((n) => [n.origins[0]!.node, decisions.get(n.id)!.chosen.kernel]));
}
const codesOf = (run: () => unknown): readonly string[] => {
  try { run(); } catch (error) { if (error instanceof SpcError) return error.diagnostics.map((d) => `${d.code} ${d.node ?? ''}`.trim()); throw error; }
  return [];
};

test('the fastest form runs; the decision names what it was better than', () => {
  const graph = chain(), { decisions } = selectLayout(graph, model(even));
  expect(chosen(graph, model(even))).toEqual({ a: 'code', b: 'code', c: 'code' });
  const d = decisions.get(graph.nodes[0]!.id)!;
  expect(d.others.map((o) => [o.kernel, isRejected(o) ? o.reason : o.nanoseconds])).toEqual([['gemm 4x16', 1000], ['permute', 3000], ['tables', 170]]);
  expect(d.reason).toBe('code, 0.100 us, against gemm 4x16, 1.00 us');
});

test('a fixed layout holds for the product that the ONNX node is first in, at the cost of conversions', () => {
  expect(chosen(chain(), model(even), { layouts: { a: 'rows' } })).toEqual({ a: 'gemm 4x16', b: 'code', c: 'code' });
  const slow = model({ a: 5000, b: 5000, c: 5000 }, () => ({ layout: 'pixels', kernel: 'code', form: 'assembly', nanoseconds: 4000, bytes: MIB }));
  expect(chosen(chain(), slow)).toEqual({ a: 'gemm 4x16', b: 'gemm 4x16', c: 'gemm 4x16' });
  expect(chosen(chain(), slow, { layouts: { b: 'tiles' } })).toEqual({ a: 'gemm 4x16', b: 'code', c: 'gemm 4x16' });
});

test('a kernel can be asked for by its name or the first words of it', () => {
  expect(chosen(chain(), model(even), { layouts: { a: 'permute', b: 'gemm' } })).toEqual({ a: 'permute', b: 'gemm 4x16', c: 'code' });
  expect(codesOf(() => selectLayout(chain(), model(even), { layouts: { a: 'gem' } }))).toEqual(['SPC3202 a']);
});

test('unknown names and layouts that are not to be had are told together', () => {
  const none: LayoutModel = { ...model(even), tiles: () => [{ layout: 'pixels', kernel: 'stream', reason: 'the activations are transposed' }] };
  expect(codesOf(() => selectLayout(chain(), none, { layouts: { a: 'tiles', nix: 'rows', b: 'rows', c: 'tiles' } }))).toEqual(['SPC3202 a', 'SPC1019', 'SPC3202 c']);
  expect(() => selectLayout(chain(), none, { layouts: { a: 'tiles' } })).toThrow(/stream: the activations are transposed[^]*rows \(gemm 4x16, 1.00 us\)/);
});

test('over the budget, the layer that loses least falls to tables, with the reason', () => {
  const graph = chain(), m = model({ a: 300, b: 150, c: 200 });
  expect(chosen(graph, m, { codeBudget: 3 * MIB })).toEqual({ a: 'code', b: 'code', c: 'code' });
  expect(chosen(graph, m, { codeBudget: 2.5 * MIB })).toEqual({ a: 'code', b: 'tables', c: 'code' });
  expect(chosen(graph, m, { codeBudget: MIB })).toEqual({ a: 'code', b: 'tables', c: 'tables' });
  expect(chosen(graph, m, { codeBudget: 0 })).toEqual({ a: 'tables', b: 'tables', c: 'tables' });
  const { others } = selectLayout(graph, m, { codeBudget: 2.5 * MIB }).decisions.get(graph.nodes[1]!.id)!;
  expect(others.find((o) => o.form === 'assembly')).toMatchObject({ reason: 'the model\'s code would take 3.0 MiB, its budget is 2.5 MiB, and this layer\'s 1.0 MiB gain least' });
});

test('without code, dense wins where it is faster than tables', () => {
  expect(chosen(chain(), model({ a: 2000, b: 2000, c: 2000 }), { codeBudget: 0 })).toEqual({ a: 'gemm 4x16', b: 'gemm 4x16', c: 'gemm 4x16' });
});

test('measured times replace predicted ones, for the layer of that content only', () => {
  const graph = chain(), [a, b] = graph.nodes;
  const measured = new Map([[optionKey(graph, a!, { layout: 'pixels', kernel: 'code', form: 'assembly' }), 5000], [optionKey(graph, a!, { layout: 'pixels', kernel: 'tables', form: 'tables' }), 400]]);
  expect(optionKey(graph, a!, { layout: 'rows', kernel: 'gemm' })).not.toBe(optionKey(graph, b!, { layout: 'rows', kernel: 'gemm' }));
  const { decisions } = selectLayout(graph, model(even), { measured });
  expect(decisions.get(a!.id)!.chosen).toMatchObject({ kernel: 'tables', nanoseconds: 400, measured: true });
  expect(decisions.get(b!.id)!.chosen).toEqual({ layout: 'pixels', kernel: 'code', form: 'assembly', nanoseconds: 100, bytes: MIB });
  // the same content under other names has the same key
  const again = chain(), renamed = { ...again, values: new Map([...again.values].map(([id, v]) => [id, { ...v, name: `other ${v.name}` }])) };
  expect(optionKey(renamed, renamed.nodes[0]!, { layout: 'rows', kernel: 'gemm' })).toBe(optionKey(graph, a!, { layout: 'rows', kernel: 'gemm' }));
});
