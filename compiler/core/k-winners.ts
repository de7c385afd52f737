import { NodeProblem } from '../diagnostics/diagnostic.js';
import { isFloat } from '../ir/dtype.js';
import { elementCount, sameShape } from '../ir/types.js';
import { add, and, asIndex, assign, compare, constant, forLoop, ifStmt, index, letStmt, load, min, mul, not, or, ref, select, store, sub, unary, varStmt } from '../kir/build.js';
import type { Expr, Stmt } from '../kir/types.js';
import { defineCoreOp } from './types.js';

export interface KWinnersAttrs {
  /** Dimensions that compete together. Positions count with the last of the list fastest, so a transposition may leave them out of order. */
  readonly axes: readonly number[];
  readonly k: number;
  /** Of elements equal to the k-th: as many as make k, from the lowest position on, or all of them. */
  readonly ties: 'lowest' | 'all';
}

/**
 * k-winner-take-all. Operands: values, and optionally what they are judged by (boosted values; default: the values themselves).
 *
 * A NaN is no winner, unless there are fewer than k numbers: it comes after all numbers, as in topk. With `ties: 'all'` the winners
 * are what is not less than the k-th, none where that is a NaN. -0 equals 0.
 */
export const kWinners = defineCoreOp<KWinnersAttrs>({
  doc: 'the k largest elements along some axes stay, the others become 0',
  epilogue: false,
  inPlace: () => [0],
  infer({ axes, k }, [x, judged]) {
    const n = elementCount(axes.map((a) => x!.shape[a]!));
    if (k < 0 || k > n) throw new NodeProblem('SPC2006', `the ${k} winners of ${n} elements`);
    if (judged && !sameShape(judged.shape, x!.shape)) throw new NodeProblem('SPC2006', `${x!.shape.join('x')} elements judged by ${judged.shape.join('x')}`);
    return [x!];
  },
  lower(k, attrs, [x, judged = x], [y]) {
    const nothing = constant(x!.dtype, 0);
    if (attrs.k === 0) return k.forEach(y!.shape, (at) => [k.store(y!, at, nothing)]);
    const { dtype } = judged!, outside = judged!.shape.map((e, d) => (attrs.axes.includes(d) ? 1 : e));
    // the best seen so far of each group, in order: insertion sort, as in topk
    const best = k.scratch('best', dtype, elementCount(outside) * attrs.k);
    const better = (a: Expr, b: Expr): Expr => {
      const beats = compare('gt', a, b);
      return isFloat(dtype) ? or(beats, and(unary('isnan', b), not(unary('isnan', a)))) : beats;
    };
    return k.forEach(outside, (outer) => {
      const counters = attrs.axes.map(() => k.name('j')), at = outer.map((o, d) => (attrs.axes.includes(d) ? ref(counters[attrs.axes.indexOf(d)]!) : o));
      const overGroup = (body: readonly Stmt[]): readonly Stmt[] =>
        counters.reduceRight<readonly Stmt[]>((inner, name, i) => [forLoop(name, judged!.shape[attrs.axes[i]!]!, inner)], body);
      const group = outer.reduce<Expr>((e, o, d) => add(mul(e, outside[d]!), o), asIndex(0));
      const [first, seen, slot, moving, equal, i] = ['first', 'seen', 'slot', 'moving', 'equal', 'i'].map((n) => k.name(n)) as [string, string, string, string, string, string];
      const element = k.let('element', k.load(judged!, at)), kth = k.let('kth', load(best, dtype, add(ref(first), attrs.k - 1)));
      const slotAt = (e: Expr): Expr => add(ref(first), e), isOn = ref(moving, { dtype: 'bool', lanes: 1 });
      const previous = load(best, dtype, slotAt(sub(ref(slot), 1)));
      const wins = attrs.ties === 'all' ? compare('ge', element.ref, kth.ref)
        : or(better(element.ref, kth.ref), and(not(better(kth.ref, element.ref)), compare('gt', ref(equal), 0)));
      return [
        letStmt(first, mul(group, attrs.k)), varStmt(seen, index(0)),
        ...overGroup([
          element.declare, varStmt(slot, min(ref(seen), attrs.k)), varStmt(moving, compare('gt', ref(slot), 0)),
          { kind: 'while', cond: isOn, body: [
            ifStmt(better(element.ref, previous), [
              ifStmt(compare('lt', ref(slot), attrs.k), [store(best, slotAt(ref(slot)), previous)]),
              assign(slot, sub(ref(slot), 1)), assign(moving, compare('gt', ref(slot), 0)),
            ], [assign(moving, constant('bool', 0))]),
          ] },
          ifStmt(compare('lt', ref(slot), attrs.k), [store(best, slotAt(ref(slot)), element.ref)]),
          assign(seen, add(ref(seen), 1)),
        ]),
        kth.declare,
        // how many equal to the k-th are among the best
        ...(attrs.ties === 'all' ? [] : [varStmt(equal, index(0)), forLoop(i, attrs.k, [ifStmt(not(better(load(best, dtype, slotAt(ref(i))), kth.ref)), [assign(equal, add(ref(equal), 1))])])]),
        ...overGroup([
          element.declare,
          k.store(y!, at, select(wins, k.load(x!, at), nothing)),
          ...(attrs.ties === 'all' ? [] : [ifStmt(not(or(better(element.ref, kth.ref), better(kth.ref, element.ref))), [assign(equal, sub(ref(equal), 1))])]),
        ]),
      ];
    });
  },
});
