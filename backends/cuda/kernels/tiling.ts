/** Sizes of the blocks that a product is cut into. */
import type { Gpu } from '../gpu.js';
import { tileBytes } from '../fragments.js';

export interface Tiling {
  /** Rows of w and columns of x of a block of threads. */
  readonly bm: number;
  readonly bn: number;
  readonly warpsM: number;
  readonly warpsN: number;
  readonly stages: number;
}

/** What kernels are built with: few, so that each is known to fit registers. Large warp tiles first: they read shared memory least. */
const tilings: readonly Tiling[] = [
  { bm: 256, bn: 128, warpsM: 4, warpsN: 2, stages: 4 },
  { bm: 128, bn: 128, warpsM: 2, warpsN: 4, stages: 3 },
  { bm: 64, bn: 128, warpsM: 1, warpsN: 4, stages: 3 },
  { bm: 64, bn: 64, warpsM: 2, warpsN: 2, stages: 4 },
  { bm: 64, bn: 32, warpsM: 2, warpsN: 2, stages: 4 },
  { bm: 32, bn: 32, warpsM: 2, warpsN: 2, stages: 4 },
  { bm: 16, bn: 64, warpsM: 1, warpsN: 4, stages: 4 },
  { bm: 16, bn: 32, warpsM: 1, warpsN: 2, stages: 4 },
];

/** Bytes of shared memory, as spc_gemm<...>::shared_bytes computes them. */
export function sharedBytes({ bm, bn, warpsN, stages }: Tiling, sparse: boolean): number {
  const ring = stages * ((bm / 16) * tileBytes(sparse) + bn * 128), column = (bm + 4) * 4, step = 8 * warpsN;
  const wanted = Math.floor(Math.floor(ring / column) / step) * step, drain = Math.min(bn, Math.max(step, wanted));
  return Math.max(ring, drain * column);
}

export interface TilingCost {
  readonly tiling: Tiling;
  readonly nanoseconds: number;
}

/** Least nanoseconds of a part of the ring: a barrier, and loads from shared memory before the first product. */
const ROUND = 80;

/** Share of the peak rate that a warp tile reaches: it reads shared memory for each multiply-add (specs: 64 x 64 is near the limit of the port). */
const efficiency = ({ bm, bn, warpsM, warpsN }: Tiling): number => {
  const m = bm / warpsM, n = bn / warpsN;
  return Math.min(0.85, (0.85 * 2 * m * n) / (m + n) / 64);
};

/** The fastest of the tilings by waves: blocks run as many at a time as there are multiprocessors, and the last wave takes as long as the others. */
export function chooseTiling(gpu: Gpu, sparse: boolean, rows: number, columns: number, blocks: number, elements: number): TilingCost {
  const costs = tilings.filter((t) => sharedBytes(t, sparse) <= gpu.sharedBytes).map((tiling): TilingCost => {
    const count = Math.ceil(rows / tiling.bm) * Math.ceil(columns / tiling.bn), macs = tiling.bm * tiling.bn * blocks * elements;
    const block = Math.max(blocks * ROUND, macs / (gpu.macs * (sparse ? 2 : 1) * efficiency(tiling)) / gpu.clock), waves = Math.ceil(count / gpu.multiprocessors);
    const bytes = blocks * ((Math.ceil(rows / 16) * tileBytes(sparse)) + columns * 128);
    return { tiling, nanoseconds: Math.max(waves * (block + 2000), bytes / gpu.bytesPerNanosecond) };
  });
  return costs.reduce((a, b) => (b.nanoseconds < a.nanoseconds ? b : a));
}
