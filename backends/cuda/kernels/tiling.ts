/** Sizes of the blocks that a product is cut into. */
import type { Gpu } from '../gpu.js';
import { tileBytes } from '../fragments.js';
import type { Form } from './pieces.js';

export interface Tiling {
  /** Rows of w and columns of x of a block of threads. */
  readonly bm: number;
  readonly bn: number;
  readonly warpsM: number;
  readonly warpsN: number;
  readonly stages: number;
  /** For the tensor cores of warpgroups (spc_wgmma.h). */
  readonly warpgroups?: true;
}

/** What kernels are built with: few, so that each is known to fit registers. Large warp tiles first: they read shared memory least. */
export const tilings: readonly Tiling[] = [
  { bm: 256, bn: 128, warpsM: 4, warpsN: 2, stages: 4 },
  { bm: 128, bn: 128, warpsM: 2, warpsN: 4, stages: 3 },
  { bm: 64, bn: 128, warpsM: 1, warpsN: 4, stages: 3 },
  { bm: 64, bn: 64, warpsM: 2, warpsN: 2, stages: 4 },
  { bm: 64, bn: 32, warpsM: 2, warpsN: 2, stages: 4 },
  { bm: 32, bn: 32, warpsM: 2, warpsN: 2, stages: 4 },
  { bm: 16, bn: 64, warpsM: 1, warpsN: 4, stages: 4 },
  { bm: 16, bn: 32, warpsM: 1, warpsN: 2, stages: 4 },
];

/** The same for the tensor cores of warpgroups: a thread has at most 128 sums, and twice the registers that a block of weights is loaded into. */
export const warpgroupTilings: readonly Tiling[] = [
  { bm: 256, bn: 128, warpsM: 8, warpsN: 1, stages: 6, warpgroups: true },
  { bm: 128, bn: 256, warpsM: 8, warpsN: 1, stages: 5, warpgroups: true },
  { bm: 128, bn: 128, warpsM: 8, warpsN: 1, stages: 6, warpgroups: true },
  { bm: 128, bn: 64, warpsM: 8, warpsN: 1, stages: 6, warpgroups: true },
  { bm: 64, bn: 256, warpsM: 4, warpsN: 2, stages: 5, warpgroups: true },
  { bm: 64, bn: 64, warpsM: 4, warpsN: 1, stages: 6, warpgroups: true },
];

/** Bytes of shared memory, as spc_tiling<...>::shared_bytes computes them: weights of warpgroups do not pass through it. */
export function sharedBytes({ bm, bn, warpsN, stages, warpgroups }: Tiling, sparse: boolean): number {
  const ring = stages * ((warpgroups ? 0 : (bm / 16) * tileBytes(sparse)) + bn * 128), column = (bm + 4) * 4, step = 8 * warpsN;
  const wanted = Math.floor(Math.floor(ring / column) / step) * step, drain = Math.min(bn, Math.max(step, wanted));
  return Math.max(ring, drain * column);
}

export interface TilingCost {
  readonly tiling: Tiling;
  /** Blocks of threads that sum a part of the depth each. */
  readonly shares: number;
  readonly nanoseconds: number;
}

/** Nanoseconds: least ones of a part of the ring (a barrier, loads from shared memory before the first product); of a block's begin and end; of a launch. */
const ROUND = 80, BLOCK = 1000;
export const LAUNCH = 2000;
/** Fewest parts of the ring that a share is worth. */
const LEAST_SHARE = 4, MOST_SHARES = 16;

/** Share of the peak rate that a warp tile reaches: it reads shared memory for each multiply-add (specs: 64 x 64 is near the limit of the port). */
const efficiency = ({ bm, bn, warpsM, warpsN }: Tiling): number => {
  const m = bm / warpsM, n = bn / warpsN;
  return Math.min(0.85, (0.85 * 2 * m * n) / (m + n) / 64);
};

/**
 * Cycles of a part of the ring: 128 bytes of a row take the same time in every type. Warpgroups read columns from shared memory for every 64 rows of w, and
 * it moves 128 bytes a cycle: columns in and out again, weights through the first cache, which is the same memory.
 */
function cycles(gpu: Gpu, t: Tiling, sparse: boolean): number {
  const macs = t.bm * t.bn * 64, rate = (t.warpgroups && gpu.wgmma ? gpu.wgmma : gpu.mma)[sparse ? 'sparse' : 'dense'];
  return t.warpgroups ? Math.max(macs / rate / 0.85, t.bn * (1 + t.bm / 64) + (t.bm / 16) * tileBytes(sparse) / 128) : macs / (rate * efficiency(t));
}

/** What a tiling computes, as far as it tells the time. */
export interface Work {
  readonly columns: number;
  readonly sparse: boolean;
  /** Products of these sizes. */
  readonly batches: number;
  /** Blocks of 128 bytes of the depth of every panel of `bm` rows, most first. */
  readonly depths: readonly number[];
  /** Bytes that are read at least. */
  readonly bytes: number;
}

/**
 * The time of a tiling by waves: blocks run as many at a time as there are multiprocessors, and a wave takes as long as its longest block. Where there are
 * fewer blocks than multiprocessors, the depth is divided too, and what the shares sum is added up by a kernel of its own (split-K).
 */
export function tilingCosts(gpu: Gpu, tiling: Tiling, { columns, sparse, batches, depths, bytes }: Work): TilingCost[] {
  const across = Math.ceil(columns / tiling.bn), count = batches * depths.length * across, [longest = 0] = depths, round = cycles(gpu, tiling, sparse) / gpu.clock;
  const most = batches > 1 ? 1 : Math.min(MOST_SHARES, Math.floor(longest / LEAST_SHARE), Math.floor(gpu.multiprocessors / count));
  return Array.from({ length: Math.max(1, most) }, (_, i): TilingCost => {
    const shares = i + 1, waves = Math.ceil(count * shares / gpu.multiprocessors);
    let computing = 0;
    for (let w = 0; w < waves; w++) computing += Math.ceil(depths[Math.floor(w * gpu.multiprocessors / across) % depths.length]! / shares) * Math.max(ROUND, round) + BLOCK;
    const added = shares === 1 ? 0 : LAUNCH + 2 * shares * columns * depths.length * tiling.bm * 4 / gpu.bytesPerNanosecond;
    return { tiling, shares, nanoseconds: LAUNCH + Math.max(computing, bytes / gpu.bytesPerNanosecond) + added };
  });
}

/** Tilings that fit the shared memory of a block. */
export const fitting = (gpu: Gpu, among: readonly Tiling[], sparse: boolean): readonly Tiling[] => among.filter((t) => sharedBytes(t, sparse) <= gpu.sharedBytes);

/** The fastest of some tilings for all of w. */
export function chooseTiling(gpu: Gpu, { product: { rows, columns, batches }, blocks, sparse, bytes }: Form, among: readonly Tiling[]): TilingCost {
  const work = { columns, sparse, batches, bytes: bytes + batches * blocks * columns * 128 };
  const costs = fitting(gpu, among, sparse).flatMap((t) => tilingCosts(gpu, t, { ...work, depths: Array<number>(Math.ceil(rows / t.bm)).fill(blocks) }));
  return costs.reduce((a, b) => (b.nanoseconds < a.nanoseconds ? b : a));
}
