/** Products whose zeros leave blocks of neighbouring outputs with a common column: lanes are outputs, as in dense code, and columns are listed. */
import { isBf16 } from '../../../../compiler/ir/bf16.js';
import type { DenseTensor } from '../../../../compiler/ir/tensor.js';
import { elementCount } from '../../../../compiler/ir/types.js';
import { add, asIndex, constant, forLoop, ifStmt, load, mul, or, compare, ref, store, sub } from '../../../../compiler/kir/build.js';
import { isContiguous, type BoundEpilogue, type KernelBuilder, type TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { LayerChoice } from '../../../../compiler/plan/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { resultRows } from '../../../../compiler/core/rows.js';
import { withoutWeights } from '../operands.js';
import { pooledConv, pooledEpilogue } from '../pool-fusion.js';
import { outputOf } from '../vector.js';
import { columnsOf, countBlocks, evenRows, halvedBlocks, indexTensor, packBlocks, rowsByPattern, type BlockRow } from './columns.js';
import { planBlocks } from './cost.js';
import { blockProduct, columnOffset, type BlockProduct } from './product.js';
import { buildBlockSums, paceOf, partsOf, type BlockParams } from './sums.js';
import { pointsOf, type Strips } from './strips.js';

/** Weights of more bytes than this are read once, and all strips pass by them. */
const LARGE_WEIGHTS = 400_000;

interface Chosen {
  readonly width: number;
  readonly rows: readonly BlockRow[];
  /** Whether all rows but the last are of `width` outputs. */
  readonly even: boolean;
  /** Weights in 16 bits. */
  readonly halves: boolean;
  readonly strips: Strips;
  readonly nanoseconds: number;
  readonly bytes: number;
  readonly blocks: number;
  readonly full: boolean;
}

/** The best number of outputs that share a column: one vector, or more where the broadcast is an instruction of its own. */
export function chooseBlocks(isa: Isa, { product, image }: BlockProduct): Chosen | undefined {
  const widths = [1, 2, 4].map((v) => v * isa.lanes).filter((w, i) => i === 0 || (w <= 32 && w <= product.rows));
  const bf16 = isBf16({ kind: 'dense', dtype: 'f32', shape: [product.weights.length], data: product.weights });
  const options = widths.flatMap((width): Chosen[] => {
    const weighed = (rows: readonly BlockRow[], even: boolean): Chosen => {
      const counts = countBlocks(product, rows);
      return { width, rows, even, ...planBlocks(isa, image, counts, width, rows.length, bf16), blocks: counts.full + counts.partial, full: counts.partial === 0 };
    };
    const even = product.group === 1 || (product.rows / product.group) % width === 0 ? [weighed(evenRows(product, width), true)] : [];
    if (even[0]?.full) return even;
    const cut = rowsByPattern(product, width);
    return [...even, ...(cut ? [weighed(cut, false)] : [])];
  });
  return options.filter((o) => o.blocks > 0).reduce<Chosen | undefined>((a, b) => (a && a.nanoseconds <= b.nanoseconds ? a : b), undefined);
}

/** x with the zeros around it that windows cover. */
function copyPadded(k: KernelBuilder, { image, source }: BlockProduct, x: TensorRef): { readonly name: string; readonly copy: Stmt[] } {
  const { channels: c, height, width } = image, name = k.scratch('padded', 'f32', image.images * height * width * c);
  const left = source.before[1] * c, filled = Math.min(source.width * c, width * c - left);
  const copy = k.forEach([image.images, height], ([n, y]) => {
    const to = k.let('to', mul(add(mul(n!, height), y!), width * c)), row = k.let('row', sub(y!, source.before[0])), i = k.name('i');
    const zeros = (first: number, end: number): Stmt[] => (first < end ? [forLoop(i, end, [store(name, add(to.ref, ref(i)), constant('f32', 0))], {}, first)] : []);
    const from = k.let('start', add(mul(add(mul(n!, source.height), row.ref), source.width * c), x.offset));
    return [
      to.declare, row.declare,
      ifStmt(or(compare('lt', row.ref, 0), compare('ge', row.ref, source.height)), zeros(0, width * c), [
        from.declare, ...zeros(0, left), forLoop(i, filled, [store(name, add(add(to.ref, left), ref(i)), load(x.param, 'f32', add(from.ref, ref(i))))]), ...zeros(left + filled, width * c),
      ]),
    ];
  });
  return { name, copy };
}

/** The rows of x as columns. */
function copyTransposed(k: KernelBuilder, { image }: BlockProduct, x: TensorRef): { readonly name: string; readonly copy: Stmt[] } {
  const name = k.scratch('columns', 'f32', image.columns * image.channels), n = k.name('n');
  const copy = k.forEach([image.channels], ([c]) => [forLoop(n, image.columns, [store(name, add(mul(c!, image.columns), ref(n)), load(x.param, 'f32', add(add(mul(ref(n), image.channels), c!), x.offset)))])]);
  return { name, copy };
}

interface Tensors {
  readonly x: TensorRef;
  readonly y: TensorRef;
  readonly epilogue: BoundEpilogue | undefined;
}

function build(k: KernelBuilder, isa: Isa, p: BlockProduct, chosen: Chosen, t: Tensors): Stmt[] {
  const perGroup = p.product.rows / p.product.group;
  // so few points that there is one strip
  const parts = partsOf(isa, pointsOf(p.image, p.image.rows, p.image.columns).flat().length * (chosen.width / isa.lanes));
  const table = (base: string, t: DenseTensor) => ({ name: k.constant(base, t), dtype: t.dtype as 'u16' | 'u32' });
  const kinds = packBlocks(p.product, chosen.width, chosen.rows, (c, row) => columnOffset(p, c, Math.floor(row / perGroup))).map((part): BlockParams =>
    ({ masked: part.masked, longest: part.longest, values: k.constant('blocks', chosen.halves ? halvedBlocks(part, paceOf(parts, part.longest)) : part.values), starts: k.constant('starts', part.starts), offsets: table('offsets', part.offsets) }));
  const rows = chosen.even ? undefined : table('rows', indexTensor([...chosen.rows.map((r) => r.row), p.product.rows]));
  const { y, epilogue } = resultRows(t.y, t.epilogue)!, copied = p.source.padded ? copyPadded(k, p, t.x) : p.transposed ? copyTransposed(k, p, t.x) : undefined;
  const origin: Expr = copied ? asIndex(0) : asIndex(t.x.offset);
  return [...(copied?.copy ?? []), ...buildBlockSums(k, {
    isa, x: copied?.name ?? t.x.param, origin, image: p.image, strips: chosen.strips, channels: p.product.rows, width: chosen.width, parts: kinds, halves: chosen.halves, ...(rows ? { rows: { ...rows, count: chosen.rows.length } } : {}),
    output: outputOf(y, 'f32', epilogue), blocksOutside: chosen.bytes > LARGE_WEIGHTS,
  })];
}

/** Share of the blocks that may have weights. */
const MOST_BLOCKS = 0.75;


const described = ({ product }: BlockProduct, { width, rows, even, blocks, full, halves }: Chosen): Pick<LayerChoice, 'status' | 'kernel' | 'reason'> => {
  const all = columnsOf(product) * rows.length;
  return {
    status: blocks < all ? 'sparse-kernel' : 'dense-kernel', kernel: `blocks ${width}x1`,
    reason: `${(100 * (1 - blocks / all)).toFixed(1)} % of the blocks of ${even ? '' : 'up to '}${width} outputs with one column are zero${full ? '' : ', others in part'}: ${blocks} vectors of ${halves ? 'bf16 ' : ''}weights`,
  };
};

/** A product whose columns are listed for each block of outputs. */
export function blocksRule(isa: Isa): KernelRule {
  const candidates = ({ graph, node, inputs, outputs, epilogue }: KernelRequest): KernelCandidate[] => {
    const x = inputs[0], y = outputs[0];
    if ((node.kind !== 'conv' && node.kind !== 'matmul') || !x || !y || elementCount(y.shape) === 0 || !isContiguous(x) || !resultRows(y, epilogue)) return [];
    const p = blockProduct(graph, node), chosen = typeof p === 'string' ? undefined : chooseBlocks(isa, p);
    // with few blocks to leave out, dense code is as fast and has nothing to look up
    if (typeof p === 'string' || !chosen || chosen.blocks > MOST_BLOCKS * columnsOf(p.product) * chosen.rows.length) return [];
    return [{
      choice: described(p, chosen), nanoseconds: chosen.nanoseconds, bytes: chosen.bytes, pack: withoutWeights,
      build: (k) => build(k, isa, p, chosen, { x, y, epilogue }),
    }];
  };
  return { name: 'blocks', candidates };
}

/** The same with the pool behind a convolution: of a window's sums only the maximum leaves the registers. */
export function pooledBlocksRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const { graph, node, outputs: [y] } = request, pool = pooledConv(graph, node);
    if (!pool || !y || elementCount(y.shape) === 0) return [];
    const p = blockProduct(graph, pool.conv, { window: pool.window, shape: y.shape }), chosen = typeof p === 'string' ? undefined : chooseBlocks(isa, p);
    if (typeof p === 'string' || !chosen) return [];
    const choice = described(p, chosen);
    return [{
      choice: { ...choice, kernel: `${choice.kernel} pooled`, reason: `${choice.reason}; the maximum of ${pool.window.join('x')} sums is taken in registers` },
      nanoseconds: chosen.nanoseconds, bytes: chosen.bytes, absorbs: [pool.conv],
      build: (k) => build(k, isa, p, chosen, { x: k.operand(pool.conv.inputs[0]!, 'x'), y, epilogue: pooledEpilogue(k, request, pool) }),
    }];
  };
  return { name: 'pooled blocks', candidates };
}
