import { NodeProblem } from '../diagnostics/diagnostic.js';
import { isFloat } from '../ir/dtype.js';
import { formatType } from '../ir/types.js';
import { add, and, cast, compare, constant, forLoop, load, max, min, mod, mul, ref, select, store, sub, unary } from '../kir/build.js';
import type { KernelBuilder } from '../kir/kernel-builder.js';
import type { Expr, Stmt } from '../kir/types.js';
import { accumulatorOf } from './matmul.js';
import { defineCoreOp } from './types.js';

export interface GridSampleAttrs {
  readonly mode: 'nearest' | 'linear' | 'cubic';
  /** What lies outside: zeros, the nearest border element, or the reflected image. */
  readonly padding: 'zeros' | 'border' | 'reflection';
  /** Reflect at the centres of the border elements (true) or at their outer edges. */
  readonly alignCorners: boolean;
}

const tapsOf = { nearest: 1, linear: 2, cubic: 4 } as const;

/** Triangle wave between `low` and `high` with the identity inside; exact for halves. */
function reflected(v: Expr, low: number, high: number): Expr {
  const c = (x: number): Expr => constant(v.type.dtype, x);
  const span = high - low;
  if (span <= 0) return c(0);
  const phase = mod(unary('abs', sub(v, c(low))), c(2 * span));
  return add(select(compare('gt', phase, c(span)), sub(c(2 * span), phase), phase), c(low));
}

/** Keys' cubic convolution kernel with a = -0.75 (ONNX GridSample), taps at -1, 0, 1, 2 around the fraction `f`. */
function cubicWeights(f: Expr): Expr[] {
  const c = (x: number): Expr => constant(f.type.dtype, x);
  const a = -0.75;
  const near = (x: Expr): Expr => add(mul(mul(sub(mul(c(a + 2), x), c(a + 3)), x), x), c(1));
  const far = (x: Expr): Expr => sub(mul(add(mul(sub(mul(c(a), x), c(5 * a)), x), c(8 * a)), x), c(4 * a));
  return [far(add(f, c(1))), near(f), near(sub(c(1), f)), far(sub(c(2), f))];
}

/** Statements that fill taps `[slot, slot + taps)` of the local arrays with positions and weights along one dimension. */
function sampleTaps(k: KernelBuilder, attrs: GridSampleAttrs, coordinate: Expr, extent: number, at: string, by: string, slot: number): Stmt[] {
  const type = coordinate.type.dtype;
  const c = (x: number): Expr => constant(type, x);
  const [low, high] = attrs.alignCorners ? [0, extent - 1] : [-0.5, extent - 0.5];
  // far outside nothing changes any more: the bounds keep the conversion to integers defined, for NaN too
  const bounded = (e: Expr): Expr => min(max(c(-4), e), c(extent + 3));
  const raw = attrs.mode === 'nearest' ? unary('round', coordinate) : coordinate;
  const v = k.let('v', bounded(attrs.padding === 'reflection' ? reflected(raw, low, high) : raw));
  const base = k.let('base', unary('floor', v.ref));
  const f = k.let('f', sub(v.ref, base.ref));
  const weights = attrs.mode === 'nearest' ? [c(1)] : attrs.mode === 'linear' ? [sub(c(1), f.ref), f.ref] : cubicWeights(f.ref);
  const first = attrs.mode === 'cubic' ? -1 : 0;
  return [v.declare, base.declare, ...(attrs.mode === 'nearest' ? [] : [f.declare]), ...weights.flatMap((w, t) => {
    const p = add(base.ref, c(first + t));
    const inside = and(compare('ge', p, c(0)), compare('le', p, c(extent - 1)));
    const image = attrs.padding === 'reflection' ? unary('trunc', reflected(p, low, high)) : p;
    const position = cast(min(max(c(0), image), c(extent - 1)), 'i32');
    return [store(at, slot + t, position), store(by, slot + t, attrs.padding === 'zeros' ? select(inside, w, c(0)) : w)];
  })];
}

export const gridSample = defineCoreOp<GridSampleAttrs>({
  doc: 'samples x[N, C, spatial...] at coordinates[N, out..., r] given in elements, the last spatial dimension first',
  infer(_, [x, grid]) {
    const rank = x!.shape.length - 2;
    if (rank < 1 || grid!.shape.length !== rank + 2 || grid!.shape.at(-1) !== rank || grid!.shape[0] !== x!.shape[0] || !isFloat(x!.dtype)) {
      throw new NodeProblem('SPC2004', `cannot sample ${formatType(x!)} at coordinates ${formatType(grid!)}`);
    }
    return [{ dtype: x!.dtype, shape: [x!.shape[0]!, x!.shape[1]!, ...grid!.shape.slice(1, -1)] }];
  },
  lower(k, attrs, [x, grid], [y]) {
    const acc = accumulatorOf(x!.dtype), taps = tapsOf[attrs.mode], extents = x!.shape.slice(2);
    if (extents.some((e) => e === 0)) return k.forEach(y!.shape, (i) => [k.store(y!, i, constant(acc, 0))]);
    const points: readonly number[] = [y!.shape[0]!, ...y!.shape.slice(2)];
    return k.forEach(points, (i) => {
      const at = k.name('at'), by = k.name('by'), c = k.name('c');
      const setup = extents.flatMap((extent, d) =>
        sampleTaps(k, attrs, cast(k.load(grid!, [...i, extents.length - 1 - d]), acc), extent, at, by, d * taps));
      const sum = k.variable('sum', constant(acc, 0));
      const names = extents.map(() => k.name('t'));
      const slots = names.map((n, d) => add(ref(n), d * taps));
      const position = slots.map((s) => cast(load(at, 'i32', s), 'index'));
      const weight = slots.map((s) => load(by, acc, s)).reduce((a, b) => mul(a, b));
      const element = cast(k.load(x!, [i[0]!, ref(c), ...position]), acc);
      const body = names.reduceRight<Stmt[]>((inner, n) => [forLoop(n, taps, inner)], [sum.set(add(sum.ref, mul(element, weight)))]);
      return [
        { kind: 'array', name: at, dtype: 'i32', size: extents.length * taps },
        { kind: 'array', name: by, dtype: acc, size: extents.length * taps },
        ...setup,
        forLoop(c, x!.shape[1]!, [sum.declare, ...body, k.store(y!, [i[0]!, ref(c), ...i.slice(1)], sum.ref)]),
      ];
    });
  },
});
