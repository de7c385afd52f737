import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { DType } from '../ir/dtype.js';
import { elementCount, formatType, type TensorType } from '../ir/types.js';
import { add, cast, constant, forLoop, mul, ref } from '../kir/build.js';
import { broadcastShapes } from './elementwise.js';
import { defineCoreOp } from './types.js';

export interface MatmulAttrs {
  /** Operand is stored with its last two dimensions swapped. */
  readonly transA: boolean;
  readonly transB: boolean;
  /** Type in which products are summed and results leave: the operands' own for floats (f32 for f16/bf16), i32 for integers. */
  readonly out: DType;
}

/** Sum type for products of `dtype`. */
export const accumulatorOf = (out: DType): DType => (out === 'f16' || out === 'bf16' ? 'f32' : out);

/** Sizes of A[..., M, K] x B[..., K, N]. */
export function matmulSizes(attrs: MatmulAttrs, [a, b]: readonly TensorType[]): { batch: number[]; m: number; k: number; n: number } {
  if (!a || !b || a.shape.length < 2 || b.shape.length < 2) throw new NodeProblem('SPC2003', 'matmul needs operands of rank 2 or more');
  const [am, ak] = attrs.transA ? [a.shape.at(-1)!, a.shape.at(-2)!] : [a.shape.at(-2)!, a.shape.at(-1)!];
  const [bk, bn] = attrs.transB ? [b.shape.at(-1)!, b.shape.at(-2)!] : [b.shape.at(-2)!, b.shape.at(-1)!];
  if (ak !== bk) throw new NodeProblem('SPC2003', `inner dimensions differ: ${ak} and ${bk} (${formatType(a)} x ${formatType(b)})`);
  return { batch: broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2)), m: am, k: ak, n: bn };
}

export const matmul = defineCoreOp<MatmulAttrs>({
  doc: 'matrix product over the last two dimensions, the leading ones broadcast',
  infer(attrs, inputs) {
    const { batch, m, n } = matmulSizes(attrs, inputs);
    return [{ dtype: attrs.out, shape: [...batch, m, n] }];
  },
  macs(attrs, inputs) {
    const s = matmulSizes(attrs, inputs);
    return elementCount(s.batch) * s.m * s.k * s.n;
  },
  lower(k, attrs, [a, b], [y]) {
    const sizes = matmulSizes(attrs, [a!, b!]);
    const acc = accumulatorOf(attrs.out);
    return k.forEach(y!.shape, (i) => {
      const batch = i.slice(0, -2), m = i.at(-2)!, n = i.at(-1)!;
      const kk = k.name('k');
      const sum = k.variable('sum', constant(acc, 0));
      const at = (row: typeof m, col: typeof m, swapped: boolean): typeof i => [...batch, ...(swapped ? [col, row] : [row, col])];
      const x = k.loadBroadcast(a!, at(m, ref(kk), attrs.transA));
      const w = k.loadBroadcast(b!, at(ref(kk), n, attrs.transB));
      return [
        sum.declare,
        forLoop(kk, sizes.k, [sum.set(add(sum.ref, mul(cast(x, acc), cast(w, acc))))], { pipeline: true }),
        k.store(y!, i, sum.ref),
      ];
    });
  },
});
