import { NodeProblem } from '../diagnostics/diagnostic.js';
import { add, and, asIndex, compare, constant, ifStmt, max, min, mod, select, sub } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { insideChecks } from './conv.js';
import { defineCoreOp } from './types.js';

/** A constant, or how an index outside [0, extent) is led back into it. */
export type PadMode = 'constant' | 'edge' | 'reflect' | 'wrap';

export interface PadAttrs {
  readonly mode: PadMode;
  /** Elements added at the beginning and at the end of each dimension; not negative. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** `i` modulo `n`, never negative. */
const wrapped = (i: Expr, n: number): Expr => mod(add(mod(i, n), n), n);

/** The index inside [0, extent) from which element `i` of a padded dimension is taken (numpy.pad). */
const source: Record<Exclude<PadMode, 'constant'>, (i: Expr, extent: number) => Expr> = {
  edge: (i, extent) => min(max(i, 0), extent - 1),
  wrap: wrapped,
  reflect(i, extent) {
    if (extent === 1) return asIndex(0);
    const turned = wrapped(i, 2 * (extent - 1));
    return select(compare('lt', turned, extent), turned, sub(2 * (extent - 1), turned));
  },
};

/** Operands: the tensor, and in mode `constant` optionally the value (one element); without it the value is 0. */
export const pad = defineCoreOp<PadAttrs>({
  doc: 'adds elements around a tensor: a constant, the nearest, or mirrored or repeated ones',
  infer({ mode, before, after }, [x, value]) {
    x!.shape.forEach((extent, d) => {
      const added = before[d]! + after[d]!;
      if (before[d]! < 0 || after[d]! < 0) throw new NodeProblem('SPC9002', 'pad of a negative number of elements');
      if (mode !== 'constant' && extent === 0 && added > 0) throw new NodeProblem('SPC2006', `dimension ${d} is empty and cannot be padded in mode '${mode}'`);
    });
    if (value && value.dtype !== x!.dtype) throw new NodeProblem('SPC2001', `pad value is ${value.dtype}, the tensor ${x!.dtype}`);
    return [{ dtype: x!.dtype, shape: x!.shape.map((extent, d) => before[d]! + extent + after[d]!) }];
  },
  lower(k, { mode, before, after }, [x, value], [y]) {
    return k.forEach(y!.shape, (at) => {
      const inner = at.map((i, d) => sub(i, before[d]!));
      if (mode !== 'constant') {
        return [k.store(y!, at, k.load(x!, inner.map((i, d) => (before[d]! + after[d]! === 0 ? i : source[mode](i, x!.shape[d]!)))))];
      }
      const checks = inner.flatMap((i, d) => insideChecks(i, x!.shape[d]!, before[d]! > 0, after[d]! > 0));
      if (checks.length === 0) return [k.store(y!, at, k.load(x!, inner))];
      const element = k.variable('element', value ? k.load(value, value.shape.map(() => 0)) : constant(x!.dtype, 0));
      return [element.declare, ifStmt(checks.reduce(and), [element.set(k.load(x!, inner))]), k.store(y!, at, element.ref)];
    });
  },
});
