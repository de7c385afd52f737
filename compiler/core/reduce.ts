import type { DType } from '../ir/dtype.js';
import { add, cast, constant, forLoop, highest, lowest, max, min, mul, ref, substituteArgs } from '../kir/build.js';
import type { Expr, Stmt } from '../kir/types.js';
import { accumulatorOf } from './matmul.js';
import { defineCoreOp } from './types.js';

export interface ReduceAttrs {
  readonly op: 'sum' | 'prod' | 'max' | 'min';
  /** Ascending, non-negative. */
  readonly axes: readonly number[];
  readonly keepdims: boolean;
  /** Applied to each element first (argument 0), as x*x for an L2 norm. Its dtype is the output's. */
  readonly map?: Expr;
}

const neutral = (op: ReduceAttrs['op'], dtype: DType): Expr =>
  op === 'sum' ? constant(dtype, 0) : op === 'prod' ? constant(dtype, 1) : op === 'max' ? lowest(dtype) : highest(dtype);
const combine = { sum: add, prod: mul, max, min } as const;

export const reduce = defineCoreOp<ReduceAttrs>({
  doc: 'sum, product, maximum or minimum over some axes',
  infer: (attrs, [x]) => [{
    dtype: (attrs.map?.type.dtype as DType | undefined) ?? x!.dtype,
    shape: x!.shape.flatMap((d, i) => (attrs.axes.includes(i) ? (attrs.keepdims ? [1] : []) : [d])),
  }],
  lower(k, attrs, [x], [y]) {
    // the epilogue may change the output's type, the sum keeps its own
    const acc = accumulatorOf((attrs.map?.type.dtype as DType | undefined) ?? x!.dtype);
    return k.forEach(y!.shape, (at) => {
      const total = k.variable('total', neutral(attrs.op, acc));
      const names = attrs.axes.map(() => k.name('r'));
      let next = 0;
      const source = x!.shape.map((_, d) => {
        const r = attrs.axes.indexOf(d);
        if (r < 0) return at[next++]!;
        if (attrs.keepdims) next++;
        return ref(names[r]!);
      });
      const element = k.load(x!, source);
      const mapped = attrs.map ? substituteArgs(attrs.map, [element]) : element;
      let body: Stmt[] = [total.set(combine[attrs.op](total.ref, cast(mapped, acc)))];
      for (const r of [...names.keys()].reverse()) body = [forLoop(names[r]!, x!.shape[attrs.axes[r]!]!, body, { pipeline: r === names.length - 1 })];
      return [total.declare, ...body, k.store(y!, at, total.ref)];
    });
  },
});
