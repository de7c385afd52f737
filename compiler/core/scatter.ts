/** Writing at run-time indices into a copy of the input. Indices as in gather.ts. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { formatType, sameShape, type TensorType } from '../ir/types.js';
import { add, forLoop, max, min, mul, ref } from '../kir/build.js';
import type { KernelBuilder, TensorRef } from '../kir/kernel-builder.js';
import type { Expr, Stmt } from '../kir/types.js';
import { boundedIndex, checkIndices, indexedDims } from './gather.js';
import { defineCoreOp } from './types.js';

/** How an update meets what is there; `none` replaces it. */
export type ScatterReduction = 'none' | 'add' | 'mul' | 'max' | 'min';

const combine: Record<ScatterReduction, (old: Expr, update: Expr) => Expr> = { none: (_, update) => update, add, mul, max, min };

export interface ScatterElementsAttrs { readonly axis: number; readonly reduction: ScatterReduction }
export interface ScatterNdAttrs { readonly reduction: ScatterReduction }

const copy = (k: KernelBuilder, x: TensorRef, y: TensorRef): Stmt[] => k.forEach(y.shape, (at) => [k.storeRaw(y, at, k.load(x, at))]);

function checkTypes(x: TensorType, updates: TensorType): void {
  if (x.dtype !== updates.dtype) throw new NodeProblem('SPC2001', `updates are ${updates.dtype}, the tensor ${x.dtype}`);
}

/** Operands: data, indices, updates. The updates that may hit one element run in order, all others are independent. */
export const scatterElements = defineCoreOp<ScatterElementsAttrs>({
  doc: 'the input with single elements replaced or updated, at indices along an axis',
  epilogue: false,
  inPlace: () => [0],
  infer({ axis }, [x, indices, updates]) {
    checkTypes(x!, updates!);
    if (indices!.shape.length !== x!.shape.length || !sameShape(indices!.shape, updates!.shape) || indices!.shape.some((e, d) => d !== axis && e > x!.shape[d]!)) {
      throw new NodeProblem('SPC2006', `indices ${formatType(indices!)} and updates ${formatType(updates!)} do not fit ${formatType(x!)}`);
    }
    checkIndices(indices!, [x!.shape[axis]!], indices!.shape);
    return [{ dtype: x!.dtype, shape: x!.shape }];
  },
  lower(k, { axis, reduction }, [x, indices, updates], [y]) {
    const along = k.name('j');
    const update = k.forEach(indices!.shape.map((e, d) => (d === axis ? 1 : e)), (outer) => {
      const at = outer.map((i, d) => (d === axis ? ref(along) : i));
      const index = boundedIndex(k, k.load(indices!, at), x!.shape[axis]!);
      const target = at.map((i, d) => (d === axis ? index.ref : i));
      return [forLoop(along, indices!.shape[axis]!, [
        ...index.declare, k.storeRaw(y!, target, combine[reduction](k.load(y!, target), k.load(updates!, at))),
      ])];
    });
    return [...copy(k, x!, y!), ...update];
  },
});

/** Operands: data, indices, updates. Coordinates within a slice are independent, the tuples run in order. */
export const scatterNd = defineCoreOp<ScatterNdAttrs>({
  doc: 'the input with slices replaced or updated, at coordinate tuples',
  epilogue: false,
  inPlace: () => [0],
  infer(_, [x, indices, updates]) {
    checkTypes(x!, updates!);
    const { indexed, rest } = indexedDims(x!, indices!);
    if (!sameShape(updates!.shape, [...indices!.shape.slice(0, -1), ...rest])) {
      throw new NodeProblem('SPC2006', `updates ${formatType(updates!)} do not fit indices ${formatType(indices!)} into ${formatType(x!)}`);
    }
    checkIndices(indices!, indexed, updates!.shape);
    return [{ dtype: x!.dtype, shape: x!.shape }];
  },
  lower(k, { reduction }, [x, indices, updates], [y]) {
    const { indexed, rest } = indexedDims(x!, indices!);
    const update = k.forEach(rest, (inner) =>
      k.forEach(indices!.shape.slice(0, -1), (tuple) => {
        const coordinates = indexed.map((extent, d) => boundedIndex(k, k.load(indices!, [...tuple, d]), extent));
        const target = [...coordinates.map((c) => c.ref), ...inner];
        const value = combine[reduction](k.load(y!, target), k.load(updates!, [...tuple, ...inner]));
        return [...coordinates.flatMap((c) => c.declare), k.storeRaw(y!, target, value)];
      }, {}, 'j'));
    return [...copy(k, x!, y!), ...update];
  },
});
