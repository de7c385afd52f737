import { elementCount } from '../ir/types.js';
import { add, cast, constant, div, forLoop, mul, ref, sub, unary } from '../kir/build.js';
import type { Stmt } from '../kir/types.js';
import { accumulatorOf } from './matmul.js';
import { defineCoreOp } from './types.js';

export interface NormalizeAttrs {
  /** Statistics are taken over these dimensions together. Ascending, non-negative. */
  readonly axes: readonly number[];
  readonly epsilon: number;
  /** Subtract the mean first; without, this is the division by the root mean square. */
  readonly center: boolean;
}

/** Scale and bias are an epilogue (or an elementwise node) of whoever lowers to this. The variance is of the centred values: no cancellation. */
export const normalize = defineCoreOp<NormalizeAttrs>({
  doc: '(x - mean) / sqrt(variance + epsilon) over some axes',
  infer: (_, [x]) => [{ dtype: x!.dtype, shape: x!.shape }],
  inPlace: () => [0],
  lower(k, attrs, [x], [y]) {
    const acc = accumulatorOf(x!.dtype);
    const count = constant(acc, elementCount(attrs.axes.map((a) => x!.shape[a]!)));
    return k.forEach(x!.shape.map((d, i) => (attrs.axes.includes(i) ? 1 : d)), (outer) => {
      const names = attrs.axes.map(() => k.name('r'));
      const at = outer.map((i, d) => (attrs.axes.includes(d) ? ref(names[attrs.axes.indexOf(d)]!) : i));
      const overAxes = (body: readonly Stmt[]): Stmt[] =>
        names.reduceRight<readonly Stmt[]>((inner, n, r) => [forLoop(n, x!.shape[attrs.axes[r]!]!, inner, { pipeline: r === names.length - 1 })], body) as Stmt[];
      const element = cast(k.load(x!, at), acc);
      const sum = k.variable('sum', constant(acc, 0));
      const mean = k.let('mean', div(sum.ref, count));
      const centred = attrs.center ? sub(element, mean.ref) : element;
      const deviation = k.let('d', centred);
      const squares = k.variable('squares', constant(acc, 0));
      const scale = k.let('scale', div(constant(acc, 1), unary('sqrt', add(div(squares.ref, count), constant(acc, attrs.epsilon)))));
      return [
        ...(attrs.center ? [sum.declare, ...overAxes([sum.set(add(sum.ref, element))]), mean.declare] : []),
        squares.declare,
        ...overAxes([deviation.declare, squares.set(add(squares.ref, mul(deviation.ref, deviation.ref)))]),
        scale.declare,
        ...overAxes([k.store(y!, at, mul(centred, scale.ref))]),
      ];
    });
  },
});
