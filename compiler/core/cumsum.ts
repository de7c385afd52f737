import { add, cast, constant, forLoop, ref, sub } from '../kir/build.js';
import { accumulatorOf } from './matmul.js';
import { defineCoreOp } from './types.js';

export interface CumsumAttrs {
  readonly axis: number;
  /** Element i is the sum of those before it, without itself. */
  readonly exclusive: boolean;
  /** From the end to the beginning. */
  readonly reverse: boolean;
}

export const cumsum = defineCoreOp<CumsumAttrs>({
  doc: 'running sum along an axis',
  inPlace: () => [0],
  infer: (_, [x]) => [{ dtype: x!.dtype, shape: x!.shape }],
  lower(k, { axis, exclusive, reverse }, [x], [y]) {
    const acc = accumulatorOf(x!.dtype), extent = x!.shape[axis]!;
    return k.forEach(x!.shape.map((e, d) => (d === axis ? 1 : e)), (outer) => {
      const j = k.name('j');
      const at = outer.map((i, d) => (d !== axis ? i : reverse ? sub(extent - 1, ref(j)) : ref(j)));
      const total = k.variable('total', constant(acc, 0));
      const element = k.let('element', cast(k.load(x!, at), acc));
      const accumulate = total.set(add(total.ref, element.ref));
      const result = k.store(y!, at, total.ref);
      return [total.declare, forLoop(j, extent, [element.declare, ...(exclusive ? [result, accumulate] : [accumulate, result])])];
    });
  },
});
