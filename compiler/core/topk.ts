import { NodeProblem } from '../diagnostics/diagnostic.js';
import { isFloat } from '../ir/dtype.js';
import { and, cast, compare, constant, forLoop, ifStmt, min, not, or, ref, sub, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { defineCoreOp } from './types.js';

export interface TopkAttrs {
  readonly axis: number;
  readonly k: number;
  readonly largest: boolean;
}

/**
 * Outputs: values and positions (i64), best first, equal ones in the order of their positions, NaNs last.
 *
 * Insertion into the outputs, which hold the best elements seen so far in order: O(n k) at worst, but an element that does not
 * belong there costs one comparison.
 */
export const topk = defineCoreOp<TopkAttrs>({
  doc: 'the k largest or smallest elements along an axis, sorted, and where they were',
  epilogue: false,
  infer(attrs, [x]) {
    if (attrs.k < 0 || attrs.k > x!.shape[attrs.axis]!) throw new NodeProblem('SPC2006', `the best ${attrs.k} of ${x!.shape[attrs.axis]} elements`);
    const shape = x!.shape.map((e, d) => (d === attrs.axis ? attrs.k : e));
    return [{ dtype: x!.dtype, shape }, { dtype: 'i64', shape }];
  },
  lower(k, attrs, [x], [values, positions]) {
    if (attrs.k === 0) return [];
    // without the second part a NaN, which loses every comparison, would keep all that follow from passing it
    const better = (a: Expr, b: Expr): Expr => {
      const beats = compare(attrs.largest ? 'gt' : 'lt', a, b);
      return isFloat(x!.dtype) ? or(beats, and(unary('isnan', b), not(unary('isnan', a)))) : beats;
    };
    return k.forEach(x!.shape.map((e, d) => (d === attrs.axis ? 1 : e)), (outer) => {
      const at = (i: Expr): Expr[] => outer.map((o, d) => (d === attrs.axis ? i : o));
      const j = k.name('j');
      const element = k.let('element', k.load(x!, at(ref(j))));
      // where the element goes: behind the filled slots, then forward past those that it beats
      const slot = k.variable('slot', min(ref(j), attrs.k));
      const previous = sub(slot.ref, 1);
      const inside = compare('lt', slot.ref, attrs.k);
      const moving = k.variable('moving', compare('gt', slot.ref, 0));
      return [forLoop(j, x!.shape[attrs.axis]!, [
        element.declare,
        slot.declare,
        moving.declare,
        { kind: 'while', cond: moving.ref, body: [
          ifStmt(better(element.ref, k.load(values!, at(previous))), [
            ifStmt(inside, [
              k.storeRaw(values!, at(slot.ref), k.load(values!, at(previous))),
              k.storeRaw(positions!, at(slot.ref), k.load(positions!, at(previous))),
            ]),
            slot.set(previous),
            moving.set(compare('gt', slot.ref, 0)),
          ], [moving.set(constant('bool', 0))]),
        ] },
        ifStmt(inside, [k.storeRaw(values!, at(slot.ref), element.ref), k.storeRaw(positions!, at(slot.ref), cast(ref(j), 'i64'))]),
      ])];
    });
  },
});
