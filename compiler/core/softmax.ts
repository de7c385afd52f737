import { add, asIndex, cast, compare, constant, forLoop, ifStmt, lowest, max, mul, ref, select, sub, div, unary } from '../kir/build.js';
import { accumulatorOf } from './matmul.js';
import { defineCoreOp } from './types.js';

export interface SoftmaxAttrs {
  readonly axis: number;
  /** `hard` is 1 at the first maximum and 0 elsewhere. */
  readonly mode: 'soft' | 'log' | 'hard';
}

/** Three passes over each row (maximum, sum of exponentials, result): no exponential overflows. */
export const softmax = defineCoreOp<SoftmaxAttrs>({
  doc: 'softmax, its logarithm, or the indicator of the maximum, along one axis',
  infer: (_, [x]) => [{ dtype: x!.dtype, shape: x!.shape }],
  inPlace: (attrs) => (attrs.mode === 'hard' ? [] : [0]),
  lower(k, attrs, [x], [y]) {
    const acc = accumulatorOf(x!.dtype), extent = x!.shape[attrs.axis]!;
    // exponentials wait in the output where it can hold them unrounded
    const staged = attrs.mode === 'soft' && acc === y!.dtype;
    return k.forEach(x!.shape.map((d, i) => (i === attrs.axis ? 1 : d)), (row) => {
      const c = k.name('c');
      const at = row.map((i, d) => (d === attrs.axis ? ref(c) : i));
      const element = cast(k.load(x!, at), acc);
      const top = k.variable('top', lowest(acc));
      if (attrs.mode === 'hard') {
        const where = k.variable('where', asIndex(0));
        return [
          top.declare, where.declare,
          forLoop(c, extent, [ifStmt(compare('gt', element, top.ref), [top.set(element), where.set(ref(c))])]),
          forLoop(c, extent, [k.store(y!, at, select(compare('eq', ref(c), where.ref), constant(acc, 1), constant(acc, 0)))]),
        ];
      }
      const total = k.variable('total', constant(acc, 0));
      const e = k.let('e', unary('exp', sub(element, top.ref)));
      const last = attrs.mode === 'log'
        ? k.let('shift', add(top.ref, unary('log', total.ref)))
        : k.let('scale', div(constant(acc, 1), total.ref));
      const result = attrs.mode === 'log' ? sub(element, last.ref) : mul(staged ? k.load(y!, at) : unary('exp', sub(element, top.ref)), last.ref);
      return [
        top.declare,
        forLoop(c, extent, [top.set(max(top.ref, element))], { pipeline: true }),
        total.declare,
        forLoop(c, extent, [e.declare, ...(staged ? [k.storeRaw(y!, at, e.ref)] : []), total.set(add(total.ref, e.ref))], { pipeline: true }),
        last.declare,
        forLoop(c, extent, [k.store(y!, at, result)], { pipeline: true }),
      ];
    });
  },
});

