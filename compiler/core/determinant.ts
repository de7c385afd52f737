import { NodeProblem } from '../diagnostics/diagnostic.js';
import { formatType } from '../ir/types.js';
import { add, asIndex, cast, compare, constant, div, forLoop, ifStmt, load, mul, ref, store, sub, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { accumulatorOf } from './matmul.js';
import { defineCoreOp } from './types.js';

/** Largest matrix side: the working copy lies on the stack. */
const LARGEST = 64;

/** Gaussian elimination with partial pivoting on a local copy of each matrix. */
export const determinant = defineCoreOp<Record<string, never>>({
  doc: 'determinants of square matrices in the last two dimensions',
  infer(_, [x]) {
    const n = x!.shape.at(-1);
    if (x!.shape.length < 2 || n !== x!.shape.at(-2)) throw new NodeProblem('SPC2003', `the determinant of ${formatType(x!)} needs square matrices`);
    if (n! > LARGEST) throw new NodeProblem('SPC1004', `determinants of matrices larger than ${LARGEST}x${LARGEST} are not supported`);
    return [{ dtype: x!.dtype, shape: x!.shape.slice(0, -2) }];
  },
  lower(k, _, [x], [y]) {
    const n = x!.shape.at(-1)!, acc = accumulatorOf(x!.dtype);
    return k.forEach(y!.shape, (batch) => {
      const a = k.name('a');
      const [r, c, p] = [k.name('r'), k.name('c'), k.name('p')];
      const at = (row: Expr, column: Expr): Expr => add(mul(row, n), column);
      const element = (row: Expr, column: Expr): Expr => load(a, acc, at(row, column));
      const result = k.variable('result', constant(acc, 1));
      const pivot = k.variable('pivot', ref(p));
      const held = k.let('held', element(ref(p), ref(c)));
      const factor = k.let('factor', div(element(ref(r), ref(p)), element(ref(p), ref(p))));
      const magnitude = (row: Expr): Expr => unary('abs', element(row, ref(p)));
      return [
        { kind: 'array', name: a, dtype: acc, size: n * n },
        forLoop(r, n, [forLoop(c, n, [store(a, at(ref(r), ref(c)), cast(k.load(x!, [...batch, ref(r), ref(c)]), acc))])]),
        result.declare,
        forLoop(p, n, [
          pivot.declare,
          forLoop(r, n, [ifStmt(compare('gt', magnitude(ref(r)), magnitude(pivot.ref)), [pivot.set(ref(r))])], {}, add(ref(p), asIndex(1))),
          ifStmt(compare('ne', pivot.ref, ref(p)), [
            forLoop(c, n, [held.declare, store(a, at(ref(p), ref(c)), element(pivot.ref, ref(c))), store(a, at(pivot.ref, ref(c)), held.ref)]),
            result.set(unary('neg', result.ref)),
          ]),
          result.set(mul(result.ref, element(ref(p), ref(p)))),
          ifStmt(compare('ne', element(ref(p), ref(p)), constant(acc, 0)), [
            forLoop(r, n, [
              factor.declare,
              forLoop(c, n, [store(a, at(ref(r), ref(c)), sub(element(ref(r), ref(c)), mul(factor.ref, element(ref(p), ref(c)))))], {}, ref(p)),
            ], {}, add(ref(p), asIndex(1))),
          ]),
        ]),
        k.store(y!, batch, result.ref),
      ];
    });
  },
});
