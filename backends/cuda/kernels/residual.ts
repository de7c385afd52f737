/**
 * Products of many columns with few weights anywhere: 2:4 tiles for the largest two of every four and a second kernel for what they leave, or, where
 * hardly any weights are there, that kernel alone (runtime/cuda/spc_sell.h).
 *
 * The second kernel adds what the first one summed, as it does shares of the depth, and has the epilogue: f32 sums pass through memory once, written and
 * read, which they would as well if the few weights came first; so shares need no kernel of their own, and alone it is the same kernel.
 */
import { denseTensor } from '../../../compiler/ir/tensor.js';
import { gridCall, index, pointer } from '../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../compiler/kir/kernel-builder.js';
import type { Stmt } from '../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, Refusal } from '../../types.js';
import { sparsePattern } from '../fragments.js';
import type { Gpu } from '../gpu.js';
import { featuresOf, largestOfGroups, packSlices, SLICE_ROWS, ZERO_FEATURES } from '../slices.js';
import type { Unstructured } from '../unstructured.js';
import { MOST_COLUMNS } from './decode.js';
import { columnsObject, finish, formOf, gemmCall, packTiles, storesParts, type Form, type Parts } from './pieces.js';
import type { ElementType, Product } from './product.js';
import { chooseTiling, tilings, warpgroupTilings } from './tiling.js';

/**
 * Estimates, not measured. Cycles of a multiprocessor for a step of a warp (its weights, a load of 16 bytes a lane from shared memory, eight conversions and
 * multiply-adds); cycles that a warp waits for a step's weights; bytes of columns that come to shared memory in a cycle; nanoseconds of a launch.
 */
const STEP_CYCLES = 11, STEP_WAIT = 80, FILL_BYTES = 24, LAUNCH = 2000;
const MOST_WARPS = 16;
/** Share of weights that are not zero beyond which nothing is gained: two of four on average. */
const MOST_WEIGHTS = 0.5;
/** Places are 16 bits. */
const MOST_FEATURES = 65536 - ZERO_FEATURES;

/** How slices are divided among blocks of threads. */
interface Division {
  readonly warps: number;
  readonly columns: number;
  readonly blocks: readonly [number, number, number];
  readonly sharedBytes: number;
  readonly nanoseconds: number;
}

/** Few columns a block of threads: where there are not enough blocks, several have the same columns and other slices. @param steps of all slices */
function divide(gpu: Gpu, { product: { columns: all }, perBlock, blocks: parts }: Form, steps: Uint32Array): Division {
  const columns = perBlock / 8, slices = steps.length / 4, total = steps.reduce((n, s) => n + s, 0), warps = Math.min(MOST_WARPS, slices), features = parts * perBlock;
  const cost = (y: number): number => {
    const busiest = Math.ceil(slices / y / warps) * total / slices, waves = Math.max(1, Math.ceil(all / columns) * y / gpu.multiprocessors);
    return LAUNCH + waves * (features * 16 / FILL_BYTES + Math.max(total / y * STEP_CYCLES, busiest * STEP_WAIT)) / gpu.clock;
  };
  const ways = Array.from({ length: Math.ceil(slices / warps) }, (_, i) => i + 1), y = ways.reduce((a, b) => (cost(b) < cost(a) ? b : a));
  return { warps, columns, blocks: [Math.ceil(all / columns), y, 1], sharedBytes: (features + ZERO_FEATURES + 32 * warps) * 16, nanoseconds: cost(y) };
}

/** The call of spc_sell. @param packed parameter with the slices */
function sellCall(k: KernelBuilder, f: Form, { warps, columns, blocks, sharedBytes }: Division, slices: number, packed: string, parts?: Parts): Stmt {
  return gridCall(
    { blocks, threads: 32 * warps, sharedBytes }, `spc_sell<${f.element}, ${warps}>::run`,
    { kind: 'object', type: `spc_slices<${f.element}>`, args: [pointer(packed), index(slices), index(f.blocks)] }, columnsObject(f), finish(k, f.product, SLICE_ROWS, columns, parts),
  );
}

const bytesTensor = (bytes: Uint8Array): ReturnType<typeof denseTensor> => denseTensor('u8', [bytes.length], bytes);

/** Why neither kernel applies; undefined where both do. */
function unfit(gpu: Gpu, p: Product, { matrix, share }: Unstructured): string | undefined {
  const bytes = (featuresOf(matrix) + ZERO_FEATURES + 32 * MOST_WARPS) * 16;
  if (share > MOST_WEIGHTS) return `${Math.floor(100 * share)} % of its weights are not zero: it gains where at most ${100 * MOST_WEIGHTS} % are not`;
  return featuresOf(matrix) > MOST_FEATURES || bytes > gpu.sharedBytes ? `a few columns of ${p.depth} elements are ${bytes} bytes: a block of threads can share ${gpu.sharedBytes}` : undefined;
}

/** The kernel for few weights alone. */
function aloneCandidate(gpu: Gpu, request: KernelRequest, f: Form, { matrix, steps }: Unstructured): KernelCandidate {
  const { product: p } = f, division = divide(gpu, f, steps);
  return {
    choice: {
      status: 'sparse-kernel', kernel: `rows in slices ${f.label}`,
      reason: `${p.rows}x${p.depth} times ${p.columns} columns without tensor cores: so few weights are not zero that multiplying with them alone is predicted to be fastest`,
    },
    nanoseconds: division.nanoseconds,
    pack: () => new Map([[1, bytesTensor(packSlices(matrix))]]),
    build: (k) => [sellCall(k, f, division, steps.length / 4, request.inputs[1]!.param)],
  };
}

/** Sparse tensor cores for what has their pattern, the kernel for few weights for the others; none where all has the pattern. */
function dividedCandidate(gpu: Gpu, request: KernelRequest, f: Form, { matrix, othersSteps: steps, others }: Unstructured): readonly KernelCandidate[] {
  if (others === 0) return [];
  const { product: p } = f, pattern = sparsePattern(matrix.dtype), division = divide(gpu, f, steps), cost = chooseTiling(gpu, f, gpu.wgmma ? [...tilings, ...warpgroupTilings] : tilings);
  const { tiling: { bm, bn, warpgroups }, shares } = cost, pitch = Math.ceil(p.rows / bm) * bm;
  // where the depth is in shares, their cost has a launch and the parts already
  const passing = shares === 1 ? 2 * p.columns * pitch * 4 / gpu.bytesPerNanosecond : -LAUNCH, percent = Math.ceil(100 * others / matrix.bits.length);
  return [{
    choice: {
      status: 'sparse-kernel', kernel: `${f.pattern}${warpgroups ? 'wgmma' : 'gemm'} ${f.label} ${bm}x${bn} and rows in slices`,
      reason: `${p.rows}x${p.depth} times ${p.columns} columns on sparse tensor cores, without less than ${percent} % of the weights, which are beyond their pattern and added by a second kernel`,
    },
    nanoseconds: cost.nanoseconds + division.nanoseconds + passing,
    pack: () => packTiles({ ...f, weights: largestOfGroups(matrix, pattern).largest }),
    build: (k) => {
      const packed = k.constant('others', bytesTensor(packSlices(largestOfGroups(matrix, pattern).others)));
      const parts = { name: k.scratch('parts', 'f32', shares * p.columns * pitch), shares, pitch };
      return [gemmCall(f, request, cost, storesParts(p, parts)), sellCall(k, f, division, steps.length / 4, packed, parts)];
    },
  }];
}

const isAsked = (p: Product): boolean => p.columns > MOST_COLUMNS && p.batches === 1;

export function residualCandidates(gpu: Gpu, request: KernelRequest, p: Product, weights: Unstructured, type: ElementType): readonly KernelCandidate[] {
  const { matrix } = weights;
  if (!isAsked(p) || unfit(gpu, p, weights) !== undefined) return [];
  return [aloneCandidate(gpu, request, formOf(p, type, matrix, false), weights), ...dividedCandidate(gpu, request, formOf(p, type, matrix, true), weights)];
}

/** Of many columns, where some weights are zero. */
export function residualRefusals(gpu: Gpu, p: Product, weights: Unstructured): readonly Refusal[] {
  const reason = isAsked(p) && weights.share < 1 ? unfit(gpu, p, weights) : undefined;
  return reason === undefined ? [] : [{ kernel: 'rows in slices', reason }];
}
