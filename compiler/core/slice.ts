import { NodeProblem } from '../diagnostics/diagnostic.js';
import { add, mul } from '../kir/build.js';
import { defineCoreOp } from './types.js';

export interface SliceAttrs {
  /** First element taken, step (negative walks backwards) and number of elements: one a dimension. */
  readonly starts: readonly number[];
  readonly steps: readonly number[];
  readonly shape: readonly number[];
}

export const slice = defineCoreOp<SliceAttrs>({
  doc: 'a strided box of the input',
  infer({ starts, steps, shape }, [x]) {
    shape.forEach((extent, d) => {
      const first = starts[d]!, last = first + steps[d]! * (extent - 1);
      if (extent < 0 || (extent > 0 && (Math.min(first, last) < 0 || Math.max(first, last) >= x!.shape[d]!))) {
        throw new NodeProblem('SPC2006', `slice of ${extent} element(s) from ${first} in steps of ${steps[d]} leaves dimension ${d} of [${x!.shape.join(',')}]`);
      }
    });
    return [{ dtype: x!.dtype, shape }];
  },
  lower: (k, { starts, steps }, [x], [y]) =>
    k.forEach(y!.shape, (at) => [k.store(y!, at, k.load(x!, at.map((i, d) => add(mul(i, steps[d]!), starts[d]!))))]),
});
