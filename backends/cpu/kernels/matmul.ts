/** Matrix products: A is walked in place, B is packed ahead (constant), read in place, or packed at run time. */
import { matmulSizes } from '../../../compiler/core/matmul.js';
import { isBf16 } from '../../../compiler/ir/bf16.js';
import { denseData, type DenseTensor, type Tensor } from '../../../compiler/ir/tensor.js';
import { elementCount, type NodeOf } from '../../../compiler/ir/types.js';
import { add, asIndex, cast, constant, forLoop, load, mul, ref, store } from '../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../compiler/kir/kernel-builder.js';
import { joinBatches } from '../../../compiler/core/rows.js';
import type { Expr, Stmt } from '../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../types.js';
import type { Isa } from '../isa.js';
import { buildLineProduct, halved, packedSize, packWeights } from './line-product.js';
import { chooseTiling, type BlockRun } from './tile.js';
import { channelVectors, outputOf } from './vector.js';

type SumType = 'f32' | 'i32';
const smallIntegers: ReadonlySet<string> = new Set(['i8', 'u8', 'i16', 'u16', 'i32']);

/** Type in which products are summed, where the generators have it. */
export function sumType(x: TensorRef, w: TensorRef, out: string): SumType | undefined {
  if (out === 'f32' && x.dtype === 'f32' && w.dtype === 'f32') return 'f32';
  return out === 'i32' && smallIntegers.has(x.dtype) && smallIntegers.has(w.dtype) ? 'i32' : undefined;
}

/**
 * Whether two products at a time can be summed: pairs of i16 elements that lie side by side, against constant weights of 16 bits
 * or less.
 */
export const takesPairs = (x: TensorRef, w: TensorRef, depth: number, depthStride: number): boolean =>
  x.dtype === 'i16' && (w.dtype === 'i8' || w.dtype === 'u8' || w.dtype === 'i16') && depth % 2 === 0 && depthStride === 1;

/** Address of the matrix of `t` that belongs to a batch. */
function matrixBase(k: KernelBuilder, t: TensorRef, batch: readonly Expr[]): Expr {
  const own = t.shape.slice(0, -2);
  const at = batch.slice(batch.length - own.length).map((i, d) => (own[d] === 1 ? 0 : i));
  return k.address(t, [...at, 0, 0]);
}

/** Fills `packed` with B in the order in which the kernel reads it; unused lanes become zeros. */
function packAtRunTime(k: KernelBuilder, packed: string, acc: SumType, b: TensorRef, batch: readonly number[], blocks: readonly BlockRun[],
  depth: number, depthStride: number, columnStride: number): Stmt[] {
  const size = packedSize(blocks, depth);
  return blocks.flatMap((block) => k.forEach([...batch, block.count], (at) => {
    const [i, outer] = [at.at(-1)!, at.slice(0, -1)];
    const from = k.let('from', add(matrixBase(k, b, outer), mul(add(mul(i, block.width), block.channel), columnStride)));
    const index = outer.reduce<Expr>((e, x, d) => add(mul(e, batch[d]!), x), asIndex(0));
    const to = k.let('to', add(mul(index, size), mul(add(mul(i, block.width), block.channel), depth)));
    const row = k.name('k'), lane = k.name('lane');
    const copy = block.vectors.map((v) => forLoop(lane, v.offset + v.count, [
      store(packed, add(add(to.ref, mul(ref(row), block.width)), ref(lane)),
        cast(load(b.param, b.dtype, add(add(from.ref, mul(ref(row), depthStride)), mul(ref(lane), columnStride))), acc)),
    ], {}, v.offset));
    const zeros = block.vectors.flatMap((v) => (v.count === v.lanes ? [] : [forLoop(lane, v.offset + v.lanes,
      [store(packed, add(add(to.ref, mul(ref(row), block.width)), ref(lane)), constant(acc, 0))], {}, v.offset + v.count)]));
    return [from.declare, to.declare, forLoop(row, depth, [...copy, ...zeros])];
  }));
}

function packConstant(b: Tensor, acc: SumType, transB: boolean, blocks: readonly BlockRun[], depth: number, n: number, pairs: boolean): DenseTensor {
  const data = denseData(b);
  return packWeights(acc, 1, blocks, depth, (_, k, column) => Number(data[transB ? column * depth + k : k * n + column]), pairs);
}

/** Points up to which, and weights from which on, 16 bits a weight are faster to read than 32, and the share of the time that is left. */
const HALVES_POINTS = 4, HALVES_WEIGHTS = 8192, HALVES_TIME = 0.6;

export function matmulRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    if (request.node.kind !== 'matmul') return [];
    const { attrs } = request.node as NodeOf<'matmul'>;
    const [a0, b0] = request.inputs, y0 = request.outputs[0]!;
    const acc = sumType(a0!, b0!, attrs.out);
    const { k: depth, n } = matmulSizes(attrs, [a0!, b0!]);
    if (!acc || elementCount(y0.shape) === 0 || depth === 0) return [];
    const constantB = request.constants[1];
    if (constantB && elementCount(b0!.shape.slice(0, -2)) !== 1) return [];
    const p = joinBatches({ a: a0!, b: b0!, y: y0, epilogue: request.epilogue }, attrs);
    const batch = p.y.shape.slice(0, -2), points = p.y.shape.at(-2)!, batches = elementCount(batch);
    const [pointStride, depthStride] = attrs.transA ? [p.a.strides.at(-1)!, p.a.strides.at(-2)!] : [p.a.strides.at(-2)!, p.a.strides.at(-1)!];
    const [bDepth, bColumn] = attrs.transB ? [p.b.strides.at(-1)!, p.b.strides.at(-2)!] : [p.b.strides.at(-2)!, p.b.strides.at(-1)!];
    const vectors = channelVectors(n, isa.lanes);
    const pairs = constantB !== undefined && takesPairs(p.a, p.b, depth, depthStride), steps = pairs ? depth / 2 : depth;
    const tiling = chooseTiling(isa, { points, vectors, depth: steps, lines: batches, pointBytes: pointStride * 4 });
    const inPlace = !constantB && bColumn === 1 && p.b.dtype === acc && vectors.every((v) => v.count === v.lanes);
    const how = constantB ? 'constant B packed in panels' : inPlace ? 'B read in place' : 'B packed at run time';
    const tile = `${tiling.tiles[0]!.size}x${tiling.blocks[0]!.width}`;
    // few points: reading the weights takes the time
    const halves = constantB !== undefined && acc === 'f32' && points * batches <= HALVES_POINTS && depth * n > HALVES_WEIGHTS && isBf16(constantB);
    return [{
      choice: { status: 'dense-kernel', kernel: `gemm ${tile}`, reason: `${points}x${depth}x${n}: ${tile} sums in registers, ${how}${halves ? ' of bf16' : ''}` },
      ...(halves ? { bytes: 2 * depth * n } : {}),
      nanoseconds: (tiling.cycles * (halves ? HALVES_TIME : 1) + (constantB || inPlace ? 0 : batches * depth * n)) / isa.clock,
      pack: () => {
        const panels = constantB && packConstant(constantB, acc, attrs.transB, tiling.blocks, depth, n, pairs);
        return new Map(panels ? [[1, halves ? halved(panels, tiling.blocks) : panels]] : []);
      },
      build(k) {
        const size = packedSize(tiling.blocks, depth);
        const packed = constantB ? p.b.param : inPlace ? undefined : k.scratch('packed', acc, batches * size);
        const index = (at: readonly Expr[]): Expr => at.reduce<Expr>((e, x, d) => add(mul(e, batch[d]!), x), asIndex(0));
        return [
          ...(constantB || inPlace ? [] : packAtRunTime(k, packed!, acc, p.b, batch, tiling.blocks, depth, bDepth, bColumn)),
          ...buildLineProduct(k, {
            x: p.a, acc, output: outputOf(p.y, acc, p.epilogue), lines: batch, points, pointStride, groups: 1, channels: n,
            depth: steps, depthStride: pairs ? 2 : depthStride,
            weights: packed === undefined
              ? { param: p.b.param, rowStride: bDepth, base: (at) => matrixBase(k, p.b, at) }
              : { param: packed, pairs, halves, ...(constantB ? {} : { base: (at) => mul(index(at), size) }) },
            lineBase: (at) => matrixBase(k, p.a, at),
            rows: { count: 1, stride: 0 },
            taps: { count: 1, stride: depth * depthStride, reach: () => [0, points] },
            at: (at, point, channel) => [...at, point, channel],
          }, tiling),
        ];
      },
    }];
  };
  return { name: 'gemm', candidates };
}
