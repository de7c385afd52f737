import { isRejected } from '../../compiler/ir/layout-choice.js';
import { expect, test } from 'vitest';
import { add } from '../../compiler/kir/build.js';
import { GraphBuilder } from '../../compiler/ir/build.js';
import { randomTensor } from '../../test/support/graphs.js';
import type { KernelRule } from '../types.js';
import { isas } from './isa.js';
import { layoutModel } from './layout-model.js';

/** A convolution of 100 ns, and a pool that computes it on the way in the given time. */
const rules = (together: number): readonly KernelRule[] => [{
  name: 'test',
  candidates: ({ graph, node }) => (node.kind === 'conv' || node.kind === 'pool' ? [{
    choice: { status: 'dense-kernel', kernel: node.kind === 'conv' ? 'alone' : 'together', reason: 'test' }, build: () => [],
    nanoseconds: node.kind === 'conv' ? 100 : together, ...(node.kind === 'pool' ? { absorbs: graph.nodes.filter((n) => n.kind === 'conv') } : {}),
  }] : []),
}];

test('what a node costs that others compute on the way is charged once', () => {
  const g = new GraphBuilder('m'), x0 = g.input('x', { dtype: 'f32', shape: [1, 8, 8, 4] }), plain = { strides: [1, 1], dilations: [1, 1], pads: [[0, 0], [0, 0]] as const };
  const [x] = g.op('conv', [x0, g.constant(randomTensor('f32', [1, 1, 4, 4], 1))], { ...plain, group: 1, layout: 'nsc', out: 'f32' });
  const [y] = g.op('pool', [x!], { ...plain, mode: 'max', kernel: [2, 2], strides: [2, 2], ceil: false, layout: 'nsc', countIncludePad: false });
  const graph = g.finish([{ name: 'y', value: y! }]), [first, second] = graph.nodes;
  const times = (together: number): readonly (readonly [string, number])[][] => {
    const model = layoutModel(isas['x86-64-v4'], rules(together));
    return [first!, second!].map((n) => model.rows(graph, n).map((o) => [o.kernel, isRejected(o) ? NaN : o.nanoseconds] as const));
  };
  const nest = times(150)[1]!.find(([kernel]) => kernel === '')!;
  expect(times(150)).toEqual([[['alone', 100]], [['together', 50], nest]]);
  expect(times(60)).toEqual([[['alone', 60]], [['together', 0], nest]]);
  // two readers: it is computed for itself
  const both = g.finish([{ name: 'y', value: y! }, { name: 'x', value: g.map([x!], (e) => add(e, e)) }]);
  expect(layoutModel(isas['x86-64-v4'], rules(60)).rows(both, both.nodes[0]!)[0]).toMatchObject({ nanoseconds: 100 });
});
