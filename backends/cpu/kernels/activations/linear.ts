/**
 * Matrix products with sparse activations and sparse weights: only the columns of active elements are read. Few rows of activations at
 * most: a row is a list that is worked off by itself.
 */
import { matmulSizes } from '../../../../compiler/core/matmul.js';
import { denseData, numberAt, type Tensor } from '../../../../compiler/ir/tensor.js';
import { elementCount, type Graph, type ValueId } from '../../../../compiler/ir/types.js';
import { add, constant, forLoop, load, mul, ref, store } from '../../../../compiler/kir/build.js';
import type { KernelCandidate, KernelRequest, KernelRule, Refusal } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { joinBatches } from '../../../../compiler/core/rows.js';
import { withoutWeights } from '../operands.js';
import { outputOf, storeElement } from '../vector.js';
import { activeRows, lister } from './active.js';
import { columnForms, columnsOf, type ColumnForm, type Columns } from './columns.js';

/** Beside the columns: a call, clearing and storing a sum, looking at an element that may be zero. Nanoseconds; measured on Zen 4. */
const CALL = 40, PER_SUM = 0.12, PER_ELEMENT = 0.12;

/** Elements of a constant as numbers, [k, n] or transposed. */
function weightsOf(b: Tensor, depth: number, n: number, transB: boolean): Columns {
  const data = denseData(b), at = (row: number, column: number): number => numberAt(b.dtype, data, transB ? row * depth + column : column * n + row);
  return columnsOf(n, depth, at);
}

/** Whether a value is what a selection left, in whatever order. */
function isSelected(graph: Graph, id: ValueId): boolean {
  const producer = graph.nodes.find((n) => n.outputs.includes(id));
  return producer?.kind === 'kWinners' || ((producer?.kind === 'transpose' || producer?.kind === 'reshape') && isSelected(graph, producer.inputs[0]!));
}

/** @param forms in which columns may be stored */
export function activeLinearRule(isa: Isa, forms: readonly ColumnForm[] = columnForms): KernelRule {
  const name = 'active columns';
  const candidates = ({ graph, node, inputs: [a, b], outputs: [y0], constants, epilogue }: KernelRequest): KernelCandidate[] => {
    if (node.kind !== 'matmul' || !constants[1] || a!.layout || node.attrs.transA || node.attrs.out !== 'f32' || a!.dtype !== 'f32' || b!.dtype !== 'f32') return [];
    const { k: depth, n } = matmulSizes(node.attrs, [a!, b!]), active = activeRows(graph, node, depth);
    if (!active || elementCount(b!.shape.slice(0, -2)) !== 1 || depth === 0 || n === 0) return [];
    const { a: x, y, epilogue: finish } = joinBatches({ a: a!, b: b!, y: y0!, epilogue }, node.attrs), output = outputOf(y, 'f32', finish), points = y.shape.at(-2)!;
    if (y.shape.length !== 2 || points === 0) return [];
    const c = weightsOf(constants[1], depth, n, node.attrs.transB), nonZeros = c.counts.reduce((s, m) => s + m, 0), each = depth * active.share;
    const zeros = (100 * (1 - nonZeros / (depth * n))).toFixed(1);
    return forms.flatMap((form): KernelCandidate[] => (!form.takes(c, isa) ? [] : [{
      choice: {
        status: nonZeros < depth * n ? 'sparse-kernel' : 'dense-kernel', kernel: `active columns, ${form.name}`,
        reason: `${active.why}: their columns of the weights only, of which ${zeros} % are zero${active.selection ? '; the winners are listed on the way' : ''}`,
      },
      // winners cost the same to select whether the product does it or a step of its own
      nanoseconds: points * (CALL + n * PER_SUM + (active.selection ? 0 : depth * PER_ELEMENT) + (each * form.cycles(c, isa)) / isa.clock),
      bytes: each * form.bytes(c),
      ...(active.selection ? { absorbs: active.selection.absorbs } : {}),
      pack: withoutWeights,
      build(k) {
        const size = form.sums(c), sums = k.scratch('sums', 'f32', size), rows = lister(k, active, depth, x), product = form.build(k, c), [i, m] = [k.name('i'), k.name('m')];
        return k.forEach([points], ([r]) => [
          rows.row(active.selection ? mul(r!, depth) : add(mul(r!, x.strides.at(-2)!), x.offset)),
          forLoop(i, size, [store(sums, ref(i), constant('f32', 0))]),
          product(sums, rows.list, rows.values),
          forLoop(m, n, [storeElement(k, output, [r!, ref(m)], load(sums, 'f32', ref(m)))]),
        ], {});
      },
    }]));
  };
  // additions to places that the data choose wait for each other; with the lists of winners beside them they took longer than dense activations, whatever the pattern
  const refusals = ({ graph, node }: KernelRequest): Refusal[] => (node.kind === 'conv' && isSelected(graph, node.inputs[0]!)
    ? [{ kernel: name, reason: 'convolutions gain nothing from winners: adding their products to scattered places was measured slower than multiplying all activations by the non-zero weights' }] : []);
  return { name, candidates, refusals };
}
