import { elementCount } from '../ir/types.js';
import { add, asIndex, cast, constant, forLoop, load, mul, ref } from '../kir/build.js';
import type { Expr, Stmt } from '../kir/types.js';
import { isFloat } from '../ir/dtype.js';
import { accumulatorOf } from './matmul.js';
import { defineCoreOp } from './types.js';

/** How one axis is resampled: output position i is the sum of `taps` input elements, at `index[i * taps + t]`, times their weights. */
export interface ResampledAxis {
  readonly axis: number;
  readonly taps: number;
  readonly index: readonly number[];
  /** As many as `index`; absent where each weight is 1 (a copy of the nearest element). */
  readonly weight?: readonly number[];
}

export interface ResampleAttrs {
  readonly axes: readonly ResampledAxis[];
}

export const resample = defineCoreOp<ResampleAttrs>({
  doc: 'separable interpolation with constant taps (nearest, linear, cubic, antialiased)',
  infer: (attrs, [x]) => [{
    dtype: x!.dtype,
    shape: x!.shape.map((d, i) => {
      const a = attrs.axes.find((r) => r.axis === i);
      return a ? a.index.length / a.taps : d;
    }),
  }],
  macs: (attrs, _, [y]) => (attrs.axes.every((a) => !a.weight) ? 0 : elementCount(y!.shape) * attrs.axes.reduce((p, a) => p * a.taps, 1)),
  lower(k, attrs, [x], [y]) {
    const acc = isFloat(x!.dtype) ? accumulatorOf(x!.dtype) : 'f32';
    const tables = attrs.axes.map((a) => ({
      ...a,
      at: k.table('at', 'i32', a.index),
      by: a.weight ? k.table('by', acc, a.weight) : undefined,
      tap: a.taps > 1 ? k.name('t') : undefined,
    }));
    const weighted = tables.some((t) => t.by);
    const nest = k.forEach(y!.shape, (i) => {
      const slots = tables.map((t) => add(mul(i[t.axis]!, t.taps), t.tap ? ref(t.tap) : asIndex(0)));
      const source = [...i];
      tables.forEach((t, n) => { source[t.axis] = cast(load(t.at.name, 'i32', slots[n]!), 'index'); });
      const element = k.load(x!, source);
      if (!weighted) return [k.store(y!, i, element)];
      const sum = k.variable('sum', constant(acc, 0));
      const term = tables.reduce<Expr>((e, t, n) => (t.by ? mul(e, load(t.by.name, acc, slots[n]!)) : e), cast(element, acc));
      const body = tables.reduceRight<Stmt[]>((inner, t) => (t.tap ? [forLoop(t.tap, t.taps, inner)] : inner), [sum.set(add(sum.ref, term))]);
      return [sum.declare, ...body, k.store(y!, i, isFloat(x!.dtype) ? sum.ref : cast(sum.ref, x!.dtype))];
    });
    return [...tables.flatMap((t) => [t.at.declare, ...(t.by ? [t.by.declare] : [])]), ...nest];
  },
});
