import { NodeProblem } from '../diagnostics/diagnostic.js';
import { cast, compare, forLoop, ifStmt, index, ref } from '../kir/build.js';
import { defineCoreOp } from './types.js';

export interface ArgReduceAttrs {
  readonly op: 'max' | 'min';
  readonly axis: number;
  readonly keepdims: boolean;
  /** Which of several equal extrema counts. */
  readonly take: 'first' | 'last';
}

const better = { max: { first: 'gt', last: 'ge' }, min: { first: 'lt', last: 'le' } } as const;

export const argReduce = defineCoreOp<ArgReduceAttrs>({
  doc: 'position of the maximum or minimum along an axis',
  infer({ axis, keepdims }, [x]) {
    if (x!.shape[axis] === 0) throw new NodeProblem('SPC2006', `an extremum along axis ${axis}, which is empty`);
    return [{ dtype: 'i64', shape: x!.shape.flatMap((e, d) => (d === axis ? (keepdims ? [1] : []) : [e])) }];
  },
  lower: (k, { op, axis, keepdims, take }, [x], [y]) =>
    k.forEach(y!.shape, (at) => {
      const j = k.name('j');
      const element = (i: ReturnType<typeof index>) => k.load(x!, [...at.slice(0, axis), i, ...at.slice(keepdims ? axis + 1 : axis)]);
      const best = k.variable('best', element(index(0)));
      const position = k.variable('position', index(0));
      const candidate = k.let('candidate', element(ref(j)));
      return [
        best.declare,
        position.declare,
        forLoop(j, x!.shape[axis]!, [
          candidate.declare,
          ifStmt(compare(better[op][take], candidate.ref, best.ref), [best.set(candidate.ref), position.set(ref(j))]),
        ], {}, 1),
        k.store(y!, at, cast(position.ref, 'i64')),
      ];
    }),
});
