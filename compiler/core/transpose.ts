import { defineCoreOp } from './types.js';

export interface TransposeAttrs {
  /** Output dimension d is input dimension perm[d]. */
  readonly perm: readonly number[];
}

export const transpose = defineCoreOp<TransposeAttrs>({
  doc: 'permutes dimensions',
  infer: (attrs, [x]) => [{ dtype: x!.dtype, shape: attrs.perm.map((p) => x!.shape[p]!) }],
  lower: (k, attrs, [x], [y]) =>
    k.forEach(y!.shape, (at) => {
      const source = x!.shape.map((_, d) => at[attrs.perm.indexOf(d)]!);
      return [k.store(y!, at, k.load(x!, source))];
    }),
});
