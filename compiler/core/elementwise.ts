import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { TensorType } from '../ir/types.js';
import { add, asIndex, load, mul, substituteArgs } from '../kir/build.js';
import type { TensorRef } from '../kir/kernel-builder.js';
import type { Expr } from '../kir/types.js';
import { defineCoreOp } from './types.js';

export interface ElementwiseAttrs {
  /** Scalar expression over arguments 0..n-1, one an input. Its dtype is the output's. */
  readonly expr: Expr;
  /** Output shape, where it is more than the inputs broadcast together (Expand). */
  readonly shape?: readonly number[];
}

/** Numpy broadcasting of several shapes. */
export function broadcastShapes(...shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, d) => {
    let extent = 1;
    for (const s of shapes) {
      const e = s[d - rank + s.length] ?? 1;
      if (e === 1 || e === extent) continue;
      if (extent !== 1) throw new NodeProblem('SPC2002', `shapes do not broadcast: ${shapes.map((x) => `[${x.join(',')}]`).join(' and ')}`, 'equal extents or 1 are needed in every dimension, aligned at the right');
      extent = e;
    }
    return extent;
  });
}

/**
 * Merges neighbouring dimensions that every operand walks with one stride, so that a loop nest is as flat as it can be.
 * `strides[o][d]` is operand o's stride in dimension d (0 where it is broadcast).
 */
function coalesce(shape: readonly number[], strides: readonly (readonly number[])[]): { shape: number[]; strides: number[][] } {
  const outShape: number[] = [];
  const outStrides: number[][] = strides.map(() => []);
  shape.forEach((extent, d) => {
    if (extent === 1) return;
    const last = outShape.length - 1;
    if (last >= 0 && strides.every((s, o) => outStrides[o]![last] === s[d]! * extent)) {
      outShape[last]! *= extent;
      strides.forEach((s, o) => { outStrides[o]![last] = s[d]!; });
    } else {
      outShape.push(extent);
      strides.forEach((s, o) => outStrides[o]!.push(s[d]!));
    }
  });
  return { shape: outShape, strides: outStrides };
}

/** Strides of `t` walked in `shape`: 0 where `t` is broadcast. */
const broadcastStrides = (t: TensorRef, shape: readonly number[]): number[] =>
  shape.map((_, d) => {
    const own = d - shape.length + t.shape.length;
    return own < 0 || t.shape[own] === 1 ? 0 : t.strides[own]!;
  });

export const elementwise = defineCoreOp<ElementwiseAttrs>({
  doc: 'a scalar expression on every element, with numpy broadcasting',
  infer: (attrs, inputs): TensorType[] => [{
    dtype: attrs.expr.type.dtype as TensorType['dtype'],
    shape: broadcastShapes(...inputs.map((t) => t.shape), ...(attrs.shape ? [attrs.shape] : [])),
  }],
  inPlace: (_, inputs) => inputs.map((_t, i) => i),
  lower(k, attrs, inputs, [y]) {
    const epilogue = k.epilogue?.inputs ?? [];
    const operands = [...inputs, ...epilogue, y!];
    if (operands.some((t) => t.layout)) return k.forEach(y!.shape, (i) => [k.store(y!, i, substituteArgs(attrs.expr, inputs.map((t) => k.loadBroadcast(t, i))))]);
    const flat = coalesce(y!.shape, operands.map((t) => broadcastStrides(t, y!.shape)));
    const at = (o: number, i: readonly Expr[]): Expr =>
      i.reduce<Expr>((e, x, d) => add(mul(x, flat.strides[o]![d]!), e), asIndex(operands[o]!.offset));
    return k.forEach(flat.shape, (i) => {
      const args = operands.slice(0, -1).map((t, o) => load(t.param, t.dtype, at(o, i)));
      const value = substituteArgs(attrs.expr, args.slice(0, inputs.length));
      const result = k.epilogue ? substituteArgs(k.epilogue.expr, [value, ...args.slice(inputs.length)]) : value;
      return [{ kind: 'store', buffer: y!.param, index: at(operands.length - 1, i), value: result }];
    });
  },
});
