import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { DType } from '../ir/dtype.js';
import { elementCount, type TensorType } from '../ir/types.js';
import { add, asIndex, cast, compare, constant, div, forLoop, ifStmt, lowest, max, mul, or, ref, sub } from '../kir/build.js';
import type { KernelBuilder } from '../kir/kernel-builder.js';
import type { Expr, Stmt } from '../kir/types.js';
import { accumulatorOf } from './matmul.js';
import { parted, placed, tapRange, windowCounts, type Layout, type WindowAttrs } from './spatial.js';
import { defineCoreOp } from './types.js';

export interface PoolAttrs extends WindowAttrs {
  readonly mode: 'max' | 'average' | 'sum';
  readonly kernel: readonly number[];
  /** A last window that is only partly inside counts too. */
  readonly ceil: boolean;
  /** Averages divide by the elements of the window that lie in the padded input, not only those in the input. */
  readonly countIncludePad: boolean;
  readonly layout: Layout;
  /**
   * Mode `max` only: output 1 holds, as i64, the position of each maximum in the input flattened in ncs order; with
   * `column-major` the spatial coordinates count in reverse order.
   */
  readonly indices?: 'row-major' | 'column-major';
}

function poolGeometry(attrs: PoolAttrs, x: TensorType) {
  const rank = attrs.kernel.length;
  if (x.shape.length !== rank + 2) throw new NodeProblem('SPC2004', `a pool over ${rank} dimension(s) needs an operand of rank ${rank + 2}, got [${x.shape.join(',')}]`);
  const { n, c, spatial } = parted(attrs.layout, x.shape);
  return { n, c, input: spatial, output: windowCounts(attrs, spatial, attrs.kernel, attrs.ceil) };
}

/** Position of an element in the input flattened as [N, C, spatial...]. */
function flatPosition(order: 'row-major' | 'column-major', shape: { readonly c: number; readonly input: readonly number[] }, n: Expr, c: Expr, at: readonly Expr[]): Expr {
  const dims = order === 'row-major' ? [...at.keys()] : [...at.keys()].reverse();
  const within = dims.reduce<Expr>((e, d) => add(mul(e, shape.input[d]!), at[d]!), asIndex(0));
  return add(mul(add(mul(n, shape.c), c), elementCount(shape.input)), within);
}

/** Elements that an average divides by: a constant unless windows are cut off. */
function divisor(k: KernelBuilder, attrs: PoolAttrs, input: readonly number[], output: readonly number[], at: readonly Expr[], acc: DType): { before: Stmt[]; value: Expr } {
  const extents = at.map((p, d) => {
    const [low, high] = attrs.countIncludePad ? [-attrs.pads[d]![0], input[d]! + attrs.pads[d]![1]] : [0, input[d]!];
    const { first, last } = tapRange(attrs, d, p, output[d]!, attrs.kernel[d]!, low, high);
    return sub(last, first);
  });
  const total = extents.reduce((a, b) => mul(a, b), asIndex(1));
  if (total.kind === 'const') return { before: [], value: constant(acc, Number(total.value)) };
  const count = k.let('count', cast(max(1, total), acc));
  return { before: [count.declare], value: count.ref };
}

export const pool = defineCoreOp<PoolAttrs>({
  doc: 'maximum, average or sum over sliding windows; padding never takes part',
  infer(attrs, [x]) {
    const g = poolGeometry(attrs, x!);
    const shape = placed(attrs.layout, g.n, g.c, g.output);
    return [{ dtype: x!.dtype, shape }, ...(attrs.indices ? [{ dtype: 'i64' as const, shape }] : [])];
  },
  lower(k, attrs, [x], [y, indices]) {
    const g = poolGeometry(attrs, x!);
    const acc = attrs.mode === 'max' ? x!.dtype : accumulatorOf(x!.dtype);
    return k.forEach(y!.shape, (i) => {
      const { n, c, spatial } = parted(attrs.layout, i);
      const value = k.variable(attrs.mode === 'max' ? 'best' : 'sum', attrs.mode === 'max' ? lowest(acc) : constant(acc, 0));
      const taps = attrs.kernel.map(() => k.name('t'));
      const source = spatial.map((p, d) => sub(add(mul(p, attrs.strides[d]!), mul(ref(taps[d]!), attrs.dilations[d]!)), attrs.pads[d]![0]));
      const element = cast(k.load(x!, placed(attrs.layout, n, c, source)), acc);
      const best = indices ? k.variable('at', asIndex(-1)) : undefined;
      let body: Stmt[];
      if (best) {
        const candidate = k.let('candidate', element);
        body = [candidate.declare, ifStmt(or(compare('gt', candidate.ref, value.ref), compare('lt', best.ref, 0)),
          [value.set(candidate.ref), best.set(flatPosition(attrs.indices!, g, n, c, source))])];
      } else {
        body = [value.set(attrs.mode === 'max' ? max(value.ref, element) : add(value.ref, element))];
      }
      for (const d of [...taps.keys()].reverse()) {
        const { first, last } = tapRange(attrs, d, spatial[d]!, g.output[d]!, attrs.kernel[d]!, 0, g.input[d]!);
        body = [forLoop(taps[d]!, last, body, { pipeline: d === taps.length - 1 }, first)];
      }
      const over = attrs.mode === 'average' ? divisor(k, attrs, g.input, g.output, spatial, acc) : undefined;
      return [
        value.declare, ...(best ? [best.declare] : []), ...body, ...(over?.before ?? []),
        k.store(y!, i, over ? div(value.ref, over.value) : value.ref),
        ...(best ? [k.storeRaw(indices!, i, best.ref)] : []),
      ];
    });
  },
});
