import { NodeProblem } from '../diagnostics/diagnostic.js';
import { formatType } from '../ir/types.js';
import { add } from '../kir/build.js';
import { defineCoreOp } from './types.js';

export interface ConcatAttrs { readonly axis: number }

export const concat = defineCoreOp<ConcatAttrs>({
  doc: 'puts tensors one after the other along an axis',
  infer({ axis }, inputs) {
    const first = inputs[0]!;
    for (const t of inputs) {
      if (t.dtype !== first.dtype || t.shape.length !== first.shape.length || t.shape.some((e, d) => d !== axis && e !== first.shape[d])) {
        throw new NodeProblem('SPC2002', `cannot concatenate ${formatType(first)} and ${formatType(t)} along axis ${axis}`, 'all other dimensions and the element types must be equal');
      }
    }
    const total = inputs.reduce((n, t) => n + t.shape[axis]!, 0);
    return [{ dtype: first.dtype, shape: first.shape.map((e, d) => (d === axis ? total : e)) }];
  },
  lower(k, { axis }, inputs, [y]) {
    let offset = 0;
    return inputs.flatMap((x) => {
      const from = offset;
      offset += x.shape[axis]!;
      return k.forEach(x.shape, (at) => [k.store(y!, at.map((i, d) => (d === axis ? add(i, from) : i)), k.load(x, at))]);
    });
  },
});
