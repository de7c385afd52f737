/**
 * Products with parts of a matrix: a block of threads multiplies a panel of rows with the columns that any of them uses, dense or 2:4 (gather-GEMM). For blocks,
 * vectors, V:N:M, products of graphs, whole taps or channels of convolutions, and unstructured weights that are sparse enough.
 *
 * Columns are taken in chunks of 16 bytes straight from x, or one by one from x transposed by a phase of its own, where any order of them is free.
 */
import { denseTensor, tensorOf } from '../../../compiler/ir/tensor.js';
import { gridCall, pointer } from '../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../compiler/kir/kernel-builder.js';
import type { CallArgument, Stmt } from '../../../compiler/kir/types.js';
import { accepts, type WeightMatrix } from '../../../compiler/layouts/index.js';
import { roundUp } from '../../../compiler/layouts/types.js';
import type { KernelCandidate, KernelRequest, Refusal } from '../../types.js';
import { sparsePattern, tileBytes } from '../fragments.js';
import type { Gpu } from '../gpu.js';
import { cutRows, packPanels, sparseCut, type Cut, type PackedPanels } from './panels.js';
import { addShares, elements, finish, gemmCallOn, perBlockOf, sourceObject, storesParts } from './pieces.js';
import type { ElementType, Product } from './product.js';
import { fitting, LAUNCH, tilingCosts, tilings, warpgroupTilings, type Tiling, type TilingCost } from './tiling.js';

/** Columns that a block of threads of spc_transpose takes, and its threads. */
const TRANSPOSED = 64, TRANSPOSERS = 256;
/** Of the blocks of dense panels, the share above which gathering is not worth a look. */
const WORTH = 0.95;
/** Share of non-zeros below which a report says why there is nothing to gather. */
const NOTABLE = 0.9;

/** Panels, and how they are multiplied. */
interface Way {
  readonly cut: Cut;
  readonly sparse: boolean;
}

interface Known {
  readonly ways: readonly Way[];
  readonly refusals: readonly Refusal[];
}

const perCent = (share: number): string => `${Math.round(100 * share)} %`;

/** Work beside that of dense panels: blocks that are multiplied, sparse ones at twice the rate. */
function workOf({ cut: { panels }, sparse }: Way, m: WeightMatrix): number {
  const all = panels.length * Math.ceil(m.cols / perBlockOf(m.dtype));
  return panels.reduce((s, p) => s + p.blocks, 0) / all / (sparse ? 2 : 1);
}

/** Row of w at each place of the panels; undefined where rows are in order. */
function orderOf({ height, panels }: Cut, rows: number): readonly number[] | undefined {
  const order = panels.flatMap((p) => Array.from({ length: height }, (_, i) => p.rows[i] ?? rows));
  return order.every((row, i) => row === Math.min(i, rows)) ? undefined : order;
}

/** The inverse: place of each row of w. */
function placesOf(order: readonly number[], rows: number): readonly number[] {
  const places = new Array<number>(rows).fill(0);
  order.forEach((row, place) => { if (row < rows) places[row] = place; });
  return places;
}

export interface GatherProducts {
  candidates(request: KernelRequest, p: Product, m: WeightMatrix): readonly KernelCandidate[];
  refusals(p: Pick<Product, 'batches'>, m: WeightMatrix): readonly Refusal[];
}

export function gatherProducts(gpu: Gpu, type: ElementType): GatherProducts {
  const perBlock = perBlockOf(type), chunk = perBlock / 8, elementBytes = 128 / perBlock, { keep, of } = sparsePattern(type), known = new WeakMap<WeightMatrix, Known>();
  /** How columns are taken, and by what: warpgroups read them from shared memory as rows only. */
  const kinds = [{ run: chunk, among: tilings }, ...(gpu.wgmma ? [{ run: chunk, among: warpgroupTilings }] : []), { run: 1, among: tilings }];
  const heights = [...new Set(fitting(gpu, kinds.flatMap((k) => k.among), true).map((t) => t.bm))].sort((a, b) => a - b);

  const isPlain = (m: WeightMatrix): boolean => accepts(m, { kind: 'nm', params: { keep, of } }).ok;
  /** Whether a user would look for a sparse kernel that is none. */
  const isExpected = (m: WeightMatrix): boolean => m.cols > perBlock && m.bits.reduce((n, bit) => n + bit, 0) < NOTABLE * m.bits.length && !isPlain(m);

  const look = (m: WeightMatrix): Known => {
    const found = known.get(m);
    if (found) return found;
    const cuts = [chunk, 1].flatMap((run) => cutRows(m, heights, run));
    const all = cuts.flatMap((cut): Way[] => {
      const sparse = sparseCut(m, cut);
      return [{ cut, sparse: false }, ...(sparse ? [{ cut: sparse, sparse: true }] : [])];
    });
    // what has the pattern as it is runs at twice the rate without any list
    const ways = all.filter((w) => workOf(w, m) <= (isPlain(m) ? WORTH / 2 : WORTH)), best = cuts.reduce((a, b) => (b.share < a.share ? b : a));
    const refusals = ways.length > 0 ? [] : [{ kernel: 'gather-gemm', reason: `panels of ${best.height} rows still use ${perCent(best.share)} of the columns` }];
    known.set(m, { ways, refusals });
    return { ways, refusals };
  };

  /** Nanoseconds of a way beside the product: x transposed, and results that fill the segments of memory that they are stored in only in parts. */
  const besides = (p: Product, { cut: { run, panels } }: Way): number => {
    const stored = (p.results.y.stored ?? p.results.y.dtype) === 'f32' ? 4 : 2, segments = panels.reduce((s, { rows }) => s + new Set(rows.map((r) => Math.floor((r * stored) / 32))).size, 0);
    const scattered = Math.max(0, segments * 32 - p.rows * stored) * p.columns / 2;
    return (run === 1 ? LAUNCH + 2 * p.depth * p.columns * elementBytes / gpu.bytesPerNanosecond : 0) + scattered / gpu.bytesPerNanosecond;
  };
  const costsOf = (p: Product, way: Way, among: readonly Tiling[]): readonly TilingCost[] => {
    const { cut: { height, panels }, sparse } = way, depths = panels.map((panel) => panel.blocks), extra = besides(p, way);
    const bytes = depths.reduce((a, b) => a + b, 0) * (height / 16) * tileBytes(sparse) + p.depth * p.columns * elementBytes;
    return fitting(gpu, among, sparse).filter((t) => t.bm === height).flatMap((t) => tilingCosts(gpu, t, { columns: p.columns, sparse, batches: 1, depths, bytes })
      .map((c) => ({ ...c, nanoseconds: c.nanoseconds + extra })));
  };

  const candidate = (request: KernelRequest, p: Product, m: WeightMatrix, { cut, sparse }: Way, cost: TilingCost): KernelCandidate => {
    const { tiling: { bm, bn, warpgroups }, shares } = cost, { name: element, label } = elements[type], pattern = sparse ? `${keep}:${of} ` : '', { run } = cut;
    const used = `${perCent(cut.share)} of the columns${run === 1 ? '' : ` in chunks of ${run}`}`, order = orderOf(cut, p.rows);
    let made: PackedPanels | undefined;
    const packed = (): PackedPanels => (made ??= packPanels(m, cut, sparse));
    return {
      choice: {
        status: 'sparse-kernel', kernel: `${pattern}gather-${warpgroups ? 'wgmma' : 'gemm'} ${label} ${bm}x${bn}${shares === 1 ? '' : ` in ${shares} shares`}, ${used}`,
        reason: `${p.rows}x${p.depth} times ${p.columns} columns on ${sparse ? 'sparse ' : ''}tensor cores${warpgroups ? ' of warpgroups' : ''}: panels of ${bm} rows use ${used}${order ? ', rows with common columns together' : ''}`,
      },
      nanoseconds: cost.nanoseconds,
      pack: () => new Map([[1, denseTensor('u8', [packed().tiles.length], packed().tiles)]]),
      build: (k) => {
        const { starts, columns } = packed(), weightsType = `spc_panels<${sparse ? 'spc_sparse' : 'spc_dense'}, ${bm / 16}, ${perBlock / run}>`;
        const table = (base: string, dtype: 'i32' | 'u32', values: readonly number[]): string => k.constant(base, tensorOf(dtype, [values.length], values));
        const weights: CallArgument = { kind: 'object', type: weightsType, args: [pointer(request.inputs[1]!.param), pointer(table('starts', 'u32', starts)), pointer(table('columns', 'i32', columns))] };
        const source = run === 1 ? transposed(k, p, bn) : { before: [], columns: sourceObject(p.x, element) }, operands = { element, sparse, weightsType, weights, columns: source.columns };
        if (shares === 1) return [...source.before, gemmCallOn(p, cost, operands, finish(k, p, bm, bn, undefined, order && table('order', 'i32', order)))];
        const pitch = cut.panels.length * bm, parts = { name: k.scratch('parts', 'f32', shares * p.columns * pitch), shares, pitch };
        return [...source.before, gemmCallOn(p, cost, operands, storesParts(p, parts)), ...addShares(k, p, parts, order && table('places', 'i32', placesOf(order, p.rows)))];
      },
    };
  };

  /** x with its features one below the other, in working memory. */
  const transposed = (k: KernelBuilder, p: Product, bn: number): { readonly before: readonly Stmt[]; readonly columns: CallArgument } => {
    const { name: element } = elements[type], pitch = roundUp(p.columns, Math.max(TRANSPOSED, bn)), blocks = Math.ceil(p.depth / perBlock);
    const features = k.scratch('features', type, blocks * perBlock * pitch);
    const grid = { blocks: [pitch / TRANSPOSED, blocks, 1], threads: TRANSPOSERS, sharedBytes: TRANSPOSED * 128 } as const;
    return {
      before: [gridCall(grid, `spc_transpose<${element}, ${pitch}>::run`, sourceObject(p.x, element), pointer(features))],
      columns: { kind: 'object', type: `spc_features<${element}, ${p.depth}, ${pitch}>`, args: [pointer(features)] },
    };
  };

  return {
    candidates(request, p, m) {
      if (p.batches > 1) return [];
      const { ways } = look(m);
      return kinds.flatMap(({ run, among }) => [true, false].flatMap((sparse) => {
        const costs = ways.filter((w) => w.cut.run === run && w.sparse === sparse).flatMap((way) => costsOf(p, way, among).map((cost) => ({ way, cost })));
        if (costs.length === 0) return [];
        const { way, cost } = costs.reduce((a, b) => (b.cost.nanoseconds < a.cost.nanoseconds ? b : a));
        return [candidate(request, p, m, way, cost)];
      }));
    },
    refusals: (p, m) => (!isExpected(m) ? [] : p.batches > 1 ? [{ kernel: 'gather-gemm', reason: `${p.batches} groups: each is a small product of its own` }] : look(m).refusals),
  };
}
