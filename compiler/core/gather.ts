/**
 * Reading at run-time indices. Indices count from the end where they are negative; one out of range reads the nearest element, so
 * that generated code never leaves its buffers (ONNX calls such indices an error).
 */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { isInteger } from '../ir/dtype.js';
import { elementCount, formatType, type TensorType } from '../ir/types.js';
import { add, cast, compare, max, min, select } from '../kir/build.js';
import type { KernelBuilder } from '../kir/kernel-builder.js';
import type { Expr, Stmt } from '../kir/types.js';
import { broadcastShapes } from './elementwise.js';
import { defineCoreOp } from './types.js';

/** A run-time index into a dimension of `extent` elements, brought into [0, extent). */
export function boundedIndex(k: KernelBuilder, value: Expr, extent: number): { readonly declare: Stmt[]; readonly ref: Expr } {
  const raw = k.let('at', cast(value, 'index'));
  const counted = value.type.dtype.startsWith('u') ? raw.ref : select(compare('lt', raw.ref, 0), add(raw.ref, extent), raw.ref);
  const bounded = k.let('at', min(max(counted, 0), extent - 1));
  return { declare: [raw.declare, bounded.declare], ref: bounded.ref };
}

/** Checks that `indices` holds integers and that there is something to read for each element of `output`. */
export function checkIndices(indices: TensorType, extents: readonly number[], output: readonly number[]): void {
  if (!isInteger(indices.dtype)) throw new NodeProblem('SPC2001', `indices must be integers, not ${indices.dtype}`);
  if (extents.includes(0) && elementCount(output) > 0) throw new NodeProblem('SPC2006', `${formatType(indices)} indices into an empty dimension`);
}

export interface GatherAttrs { readonly axis: number }

export const gather = defineCoreOp<GatherAttrs>({
  doc: 'whole slices of the input along an axis, at run-time indices',
  infer({ axis }, [x, indices]) {
    if (axis >= x!.shape.length) throw new NodeProblem('SPC2007', `axis ${axis} of ${formatType(x!)}`, 'a tensor is needed that has this dimension');
    const shape = [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)];
    checkIndices(indices!, [x!.shape[axis]!], shape);
    return [{ dtype: x!.dtype, shape }];
  },
  lower: (k, { axis }, [x, indices], [y]) =>
    k.forEach(y!.shape, (at) => {
      const end = axis + indices!.shape.length;
      const index = boundedIndex(k, k.load(indices!, at.slice(axis, end)), x!.shape[axis]!);
      return [...index.declare, k.store(y!, at, k.load(x!, [...at.slice(0, axis), index.ref, ...at.slice(end)]))];
    }),
});

export interface GatherElementsAttrs {
  readonly axis: number;
  /** Output shape, to which the indices are broadcast; their own shape where it is absent. */
  readonly shape?: readonly number[];
}

export const gatherElements = defineCoreOp<GatherElementsAttrs>({
  doc: 'one element for each index, which replaces the coordinate in one axis',
  infer({ axis, shape = [] }, [x, indices]) {
    const output = broadcastShapes(indices!.shape, shape);
    if (output.length !== x!.shape.length || output.some((e, d) => d !== axis && e > x!.shape[d]!)) {
      throw new NodeProblem('SPC2006', `indices ${formatType(indices!)} do not fit ${formatType(x!)}`, 'equal ranks are needed, and extents that are not larger except along the axis');
    }
    checkIndices(indices!, [x!.shape[axis]!], output);
    return [{ dtype: x!.dtype, shape: output }];
  },
  lower: (k, { axis }, [x, indices], [y]) =>
    k.forEach(y!.shape, (at) => {
      const index = boundedIndex(k, k.loadBroadcast(indices!, at), x!.shape[axis]!);
      return [...index.declare, k.store(y!, at, k.load(x!, at.map((i, d) => (d === axis ? index.ref : i))))];
    }),
});

export interface GatherNdAttrs {
  /** Leading dimensions that data and indices share. */
  readonly batchDims: number;
}

/** Where the dimensions of an indexed tensor lie: those shared with the indices, those indexed, those taken whole. */
export function indexedDims(x: TensorType, indices: TensorType, batchDims = 0): { readonly indexed: readonly number[]; readonly rest: readonly number[] } {
  const depth = indices.shape.at(-1);
  if (depth === undefined || batchDims + depth > x.shape.length || batchDims > indices.shape.length - 1
    || x.shape.slice(0, batchDims).some((e, d) => e !== indices.shape[d])) {
    throw new NodeProblem('SPC2006', `indices ${formatType(indices)} do not fit ${formatType(x)}`, 'the last dimension of the indices holds one coordinate tuple');
  }
  return { indexed: x.shape.slice(batchDims, batchDims + depth), rest: x.shape.slice(batchDims + depth) };
}

export const gatherNd = defineCoreOp<GatherNdAttrs>({
  doc: 'slices of the input at run-time coordinate tuples',
  infer({ batchDims }, [x, indices]) {
    const { indexed, rest } = indexedDims(x!, indices!, batchDims);
    const shape = [...indices!.shape.slice(0, -1), ...rest];
    checkIndices(indices!, indexed, shape);
    return [{ dtype: x!.dtype, shape }];
  },
  lower(k, { batchDims }, [x, indices], [y]) {
    const { indexed } = indexedDims(x!, indices!, batchDims);
    const tuple = indices!.shape.length - 1;
    return k.forEach(y!.shape, (at) => {
      const coordinates = indexed.map((extent, d) => boundedIndex(k, k.load(indices!, [...at.slice(0, tuple), d]), extent));
      const source = [...at.slice(0, batchDims), ...coordinates.map((c) => c.ref), ...at.slice(tuple)];
      return [...coordinates.flatMap((c) => c.declare), k.store(y!, at, k.load(x!, source))];
    });
  },
});
