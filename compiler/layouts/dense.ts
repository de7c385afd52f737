import { denseTensor } from '../ir/tensor.js';
import { accepted, defineLayout } from './types.js';

export type DenseParams = Readonly<Record<never, never>>;

export const dense = defineLayout<DenseParams, never>({
  doc: 'every weight, row-major',
  label: () => 'dense',
  accepts: () => accepted,
  pack: (m) => ({ values: denseTensor(m.dtype, [m.rows, m.cols], m.data) }),
  visit(p, visit) {
    for (let r = 0; r < p.rows; r++) for (let c = 0; c < p.cols; c++) visit(r, c, r * p.cols + c);
  },
});
