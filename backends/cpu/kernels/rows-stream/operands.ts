/** Products between row-major matrices as nodes: their operands as matrices, and results that leave scratch memory through an epilogue. */
import { add, asIndex, forLoop, mul, ref, vector, vload } from '../../../../compiler/kir/build.js';
import type { BoundEpilogue, KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { StreamLanes } from '../../../../compiler/kir/stream.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelRequest } from '../../../types.js';
import { asRows, resultRows, type ResultRows } from '../../../../compiler/core/rows.js';
import { outputOf, storeTile, type ChannelVector } from '../vector.js';

/** y[rows, n] = x[rows, k] W. */
export interface RowProduct extends ResultRows {
  readonly x: TensorRef;
}

/** The operands of a product as matrices, where memory and epilogue allow it. */
export function rowProduct({ inputs, outputs, epilogue }: KernelRequest): RowProduct | undefined {
  const x = asRows(inputs[0]!, inputs[0]!), results = resultRows(outputs[0]!, epilogue);
  return x && results && x.shape[0] === results.y.shape[0] ? { x, ...results } : undefined;
}

/** Of the vector that holds so many rows with the fewest lanes idle. */
export const lanesFor = (rows: number): StreamLanes => (rows <= 4 ? 4 : rows <= 8 ? 8 : 16);

/** Lanes of the vectors that an epilogue works on. */
const WIDTH = 16;

/**
 * Sums that lie as rows in scratch memory, a vector at a time through the epilogue into y.
 * @param rows of y, of which the first is the scratch memory's first
 */
export function throughEpilogue(k: KernelBuilder, y: TensorRef, epilogue: BoundEpilogue, acc: 'f32' | 'i32', plain: string, rows: { readonly first: Expr; readonly count: Expr }): Stmt[] {
  const n = y.shape[1]!, output = outputOf(y, acc, epilogue), row = k.name('row'), c = k.name('c');
  const stored = (first: Expr, v: ChannelVector): Stmt[] => storeTile(k, output, {
    points: 1, vectors: [v], value: () => vload(plain, vector(acc, v.lanes), add(mul(ref(row), n), first), v.count),
  }, (_, channel) => [add(rows.first, ref(row)), add(first, channel)]);
  const whole = Math.floor(n / WIDTH) * WIDTH, rest = n - whole;
  return [forLoop(row, rows.count, [
    ...(whole ? [forLoop(c, whole, stored(ref(c), { lanes: WIDTH, count: WIDTH, offset: 0 }), {}, 0, WIDTH)] : []),
    ...(rest ? stored(asIndex(whole), { lanes: WIDTH, count: rest, offset: 0 }) : []),
  ])];
}
