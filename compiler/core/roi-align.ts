import { NodeProblem } from '../diagnostics/diagnostic.js';
import { formatType } from '../ir/types.js';
import { add, asIndex, cast, compare, constant, div, forLoop, ifStmt, max, min, mul, or, ref, select, sub, unary } from '../kir/build.js';
import type { KernelBuilder } from '../kir/kernel-builder.js';
import type { Expr, Stmt } from '../kir/types.js';
import { boundedIndex } from './gather.js';
import { accumulatorOf } from './matmul.js';
import { defineCoreOp } from './types.js';

export interface RoiAlignAttrs {
  readonly mode: 'average' | 'max';
  readonly outputSize: readonly [number, number];
  /** Samples along each side of an output cell; 0 adapts to the region's size. */
  readonly samplingRatio: number;
  /** Image elements per unit of region coordinates. */
  readonly scale: number;
  /** Subtracted from coordinates (0.5 where they refer to element edges); without it regions are at least one element large. */
  readonly offset: number;
}

/** An adaptive grid is cut here: regions are run-time data and may be absurd. */
const FINEST = 4096;

/** The two rows (or columns) around a sample, and their weights; `inside` is false where the sample counts as 0. */
function neighbours(k: KernelBuilder, raw: Expr, extent: number) {
  const c = (x: number): Expr => constant(raw.type.dtype, x);
  const v = k.let('v', raw);
  const outside = or(compare('lt', v.ref, c(-1)), compare('gt', v.ref, c(extent)));
  const bounded = k.let('v', min(max(c(0), v.ref), c(extent - 1)));
  const low = k.let('low', cast(cast(bounded.ref, 'i32'), 'index'));
  const high = k.let('high', min(add(low.ref, 1), extent - 1));
  const upper = k.let('f', sub(bounded.ref, cast(low.ref, raw.type.dtype)));
  return {
    declare: [v.declare, bounded.declare, low.declare, high.declare, upper.declare], outside,
    taps: [{ at: low.ref, weight: sub(c(1), upper.ref) }, { at: high.ref, weight: upper.ref }],
  };
}

/** Operands: x[N, C, H, W], regions[R, 4] as x1, y1, x2, y2, image index of each region. */
export const roiAlign = defineCoreOp<RoiAlignAttrs>({
  doc: 'average or maximum of bilinear samples in each cell of a grid over each region (Mask R-CNN, section 3)',
  infer(attrs, [x, rois, batch]) {
    if (x!.shape.length !== 4 || rois!.shape.length !== 2 || rois!.shape[1] !== 4 || batch!.shape[0] !== rois!.shape[0] || x!.shape.includes(0)) {
      throw new NodeProblem('SPC2004', `regions ${formatType(rois!)} and image indices ${formatType(batch!)} do not fit ${formatType(x!)}`);
    }
    return [{ dtype: x!.dtype, shape: [rois!.shape[0]!, x!.shape[1]!, ...attrs.outputSize] }];
  },
  lower(k, attrs, [x, rois, batch], [y]) {
    const acc = accumulatorOf(x!.dtype);
    const c = (v: number): Expr => constant(acc, v);
    const average = attrs.mode === 'average';
    return k.forEach(y!.shape, ([r, channel, ...cell]) => {
      const image = boundedIndex(k, k.load(batch!, [r!]), x!.shape[0]!);
      const corner = (i: number): Expr => sub(mul(cast(k.load(rois!, [r!, i]), acc), c(attrs.scale)), c(attrs.offset));
      // rows, then columns
      const sides = [1, 0].map((first, d) => {
        const start = k.let('start', corner(first));
        const span = sub(corner(first + 2), start.ref);
        const bin = k.let('bin', div(attrs.offset ? span : max(span, c(1)), c(attrs.outputSize[d]!)));
        const adaptive = cast(cast(min(max(c(0), unary('ceil', bin.ref)), c(FINEST)), 'i32'), 'index');
        const count = k.let('count', attrs.samplingRatio > 0 ? asIndex(attrs.samplingRatio) : adaptive);
        const name = k.name('s');
        const sample = add(start.ref, add(mul(cast(cell[d]!, acc), bin.ref), div(mul(add(cast(ref(name), acc), c(0.5)), bin.ref), cast(count.ref, acc))));
        return { declare: [start.declare, bin.declare, count.declare], count: count.ref, name, near: neighbours(k, sample, x!.shape[2 + d]!) };
      });
      const [rows, columns] = [sides[0]!, sides[1]!];
      const products = rows.near.taps.flatMap((a) => columns.near.taps.map((b) =>
        mul(mul(a.weight, b.weight), cast(k.load(x!, [image.ref, channel!, a.at, b.at]), acc))));
      const total = k.variable('total', average ? c(0) : c(-Infinity));
      const zeroed = (e: Expr): Expr => select(or(rows.near.outside, columns.near.outside), c(0), e);
      const sampleStep: Stmt = total.set(average ? add(total.ref, zeroed(products.reduce(add))) : max(total.ref, zeroed(products.reduce((a, b) => max(a, b)))));
      const samples = mul(rows.count, columns.count);
      return [
        ...image.declare, ...rows.declare, ...columns.declare, total.declare,
        forLoop(rows.name, rows.count, [...rows.near.declare, forLoop(columns.name, columns.count, [...columns.near.declare, sampleStep])]),
        ...(average ? [] : [ifStmt(compare('eq', samples, 0), [total.set(c(0))])]),
        k.store(y!, [r!, channel!, ...cell], average ? div(total.ref, cast(max(1, samples), acc)) : total.ref),
      ];
    });
  },
});
