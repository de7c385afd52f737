import { NodeProblem } from '../diagnostics/diagnostic.js';
import { elementCount } from '../ir/types.js';
import { tensorRef, type TensorRef } from '../kir/kernel-builder.js';
import { defineCoreOp } from './types.js';

export interface ReshapeAttrs { readonly shape: readonly number[] }

const flat = (t: TensorRef): TensorRef => tensorRef(t.param, { dtype: t.dtype, shape: [elementCount(t.shape)] });

export const reshape = defineCoreOp<ReshapeAttrs>({
  doc: 'the same elements under another shape; costs nothing',
  alias: true,
  epilogue: false,
  infer(attrs, [x]) {
    if (elementCount(attrs.shape) !== elementCount(x!.shape)) {
      throw new NodeProblem('SPC2005', `cannot reshape [${x!.shape.join(',')}] to [${attrs.shape.join(',')}]: element counts differ`);
    }
    return [{ dtype: x!.dtype, shape: attrs.shape }];
  },
  lower: (k, _, [x], [y]) => k.forEach([elementCount(y!.shape)], (at) => [k.storeRaw(flat(y!), at, k.load(flat(x!), at))]),
});
