/** k-winner-take-all where the elements that compete lie side by side: exact selections of runtime/cpu/spc_select.h. */
import { denseTensor } from '../../../../compiler/ir/tensor.js';
import { contiguousStrides, elementCount, typeOf, type Graph, type Node, type NodeOf, type ValueId } from '../../../../compiler/ir/types.js';
import { add, call, constant, min, mul, nullPointer, pointer, sub } from '../../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { CallArgument, Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';

/** Winners of each row of [rows, n]. */
export interface Selection {
  readonly x: ValueId;
  readonly rows: number;
  readonly n: number;
  readonly k: number;
  readonly all: boolean;
  /** Positions in memory in the order in which equal elements win, where that is another one. */
  readonly order?: Uint32Array;
}

/** What a k-winners node selects, if each group of competitors is a row of its operand; undefined for any other. */
export function selectionOf(graph: Graph, node: NodeOf<'kWinners'>): Selection | undefined {
  const { axes, k, ties } = node.attrs, x = node.inputs[0]!, { dtype, shape } = typeOf(graph, x);
  const wide = shape.flatMap((d, i) => (d === 1 ? [] : [i])), own = axes.filter((a) => shape[a] !== 1), inside = wide.slice(wide.length - own.length);
  const n = elementCount(own.map((a) => shape[a]!)), rows = elementCount(shape) / n;
  if (node.inputs.length !== 1 || dtype !== 'f32' || k === 0 || rows === 0 || n > 2 ** 31 || !inside.every((d) => own.includes(d))) return undefined;
  const selection = { x, rows, n, k, all: ties === 'all' };
  if (own.every((a, i) => a === inside[i])) return selection;
  const strides = contiguousStrides(shape), order = own.reduce<readonly number[]>((at, a) => at.flatMap((p) => Array.from({ length: shape[a]! }, (_, i) => p + i * strides[a]!)), [0]);
  return { ...selection, order: Uint32Array.from(order) };
}

/**
 * From where on a selection looks for k of n elements: what half as many again reach where they are normally distributed, in standard
 * deviations above the mean. (The quantile is that of Tukey's lambda distribution with lambda = 0.14.)
 */
export function startingQuantile(n: number, k: number): number {
  const p = (n - Math.min(n, 1.5 * k + 16) + 0.5) / n;
  return 4.91 * (p ** 0.14 - (1 - p) ** 0.14);
}

/** Memory of a list of up to n elements (spc_select.h). */
export const listMemory = (k: KernelBuilder, n: number): { readonly list: string; readonly values: string } =>
  ({ list: k.scratch('list', 'i32', 16 + n + 16), values: k.scratch('values', 'f32', n + 16) });

/** Arguments of a selection from k on: ties, where to begin. */
const settings = ({ n, k, all }: Selection): (CallArgument | number)[] => [k, all ? 1 : 0, constant('f32', startingQuantile(n, k))];
const orderArgument = (k: KernelBuilder, { order }: Selection): CallArgument =>
  (order ? pointer(k.constant('order', denseTensor('u32', [order.length], order))) : nullPointer);

/** Lists the winners of the row that begins at an element of x. */
export const selectList = (k: KernelBuilder, s: Selection, to: { readonly list: string; readonly values: string }, x: TensorRef): ((first: Expr) => Stmt) => {
  const order = orderArgument(k, s);
  return (first) => call('spc_winners_list', pointer(to.list), pointer(to.values), pointer(x.param, first), s.n, ...settings(s), order);
};

/** Pixels that are selected from together, and the most winners that their sorting networks find. */
const PIXELS = 16, NETWORK = 8;
const inNetworks = ({ n, k, order }: Selection): boolean => k <= NETWORK && n >= NETWORK && n <= 512 && !order;

/** Measured on Zen 4 with AVX-512: 7 of 64 take 15 ns a row, 160 of 1600 take 480 ns. Without it, comparisons and compression are scalar code. */
export const selectionNanoseconds = (isa: Isa, s: Selection): number =>
  s.rows * (inNetworks(s) ? 0.24 * s.n : 60 + 0.26 * s.n) * (isa.lanes === 16 ? 1 : 5);

function dense(k: KernelBuilder, s: Selection, x: TensorRef, y: TensorRef): Stmt[] {
  const { list, values } = listMemory(k, s.n);
  if (!inNetworks(s)) {
    const order = orderArgument(k, s);
    return k.forEach([s.rows], ([r]) => [call('spc_winners_dense', pointer(y.param, mul(r!, s.n)), pointer(list), pointer(values), pointer(x.param, add(mul(r!, s.n), x.offset)), s.n, ...settings(s), order)], {});
  }
  return k.forEach([Math.ceil(s.rows / PIXELS)], ([g]) => [call('spc_winners_pixels', pointer(y.param, mul(g!, PIXELS * s.n)), pointer(list), pointer(values),
    pointer(x.param, add(mul(g!, PIXELS * s.n), x.offset)), min(sub(s.rows, mul(g!, PIXELS)), PIXELS), s.n, ...settings(s))], {});
}

const isWinners = (node: Node): node is NodeOf<'kWinners'> => node.kind === 'kWinners';

export function selectionRule(isa: Isa): KernelRule {
  const candidates = ({ graph, node, inputs, outputs }: KernelRequest): KernelCandidate[] => {
    const s = isWinners(node) ? selectionOf(graph, node) : undefined;
    if (!s) return [];
    const how = inNetworks(s) ? `sorting networks of 8, ${PIXELS} rows at a time` : 'by counting from guesses at the k-th on';
    return [{
      choice: { status: 'dense-kernel', kernel: inNetworks(s) ? 'select in networks' : 'select by counting', reason: `the ${s.k} largest of ${s.n}: ${how}` },
      nanoseconds: selectionNanoseconds(isa, s), inPlace: [0],
      build: (k) => dense(k, s, inputs[0]!, outputs[0]!),
    }];
  };
  return { name: 'select', candidates };
}
