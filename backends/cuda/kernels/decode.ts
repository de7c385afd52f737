/** Products with at most 16 columns, as in the decoding of language models: weights stream from memory, sparse ones at 9/16 of the bytes. */
import { gridCall } from '../../../compiler/kir/build.js';
import type { KernelCandidate, KernelRequest } from '../../types.js';
import type { Gpu } from '../gpu.js';
import { columnsObject, finish, packTiles, weightsObject, weightsType, type Form } from './pieces.js';

/** Columns that one kernel takes. */
export const MOST_COLUMNS = 16;
/** As in spc_decode. */
const ROOM = 32, MOST_WARPS = 8;

/** A launch, and the way of the first bytes through the memory system. */
const LATENCY = 3000;

/** What weights need beyond being read. */
export interface Expansion {
  readonly pack: KernelCandidate['pack'];
  /** Shared memory of a warp, in bytes. */
  readonly scratchBytes: number;
  /** Of a multiprocessor, for a tile. */
  readonly cycles: number;
  /** Nanoseconds before the first tile can be asked for. */
  readonly wait: number;
}

export function decodeCandidate(gpu: Gpu, request: KernelRequest, f: Form, { pack, scratchBytes, cycles, wait }: Expansion = { pack: () => packTiles(f), scratchBytes: 0, cycles: 0, wait: 0 }): KernelCandidate {
  const { product: p, tiles, blocks, bytes, sparse } = f, columns = p.columns <= 8 ? 8 : 16, warps = Math.min(MOST_WARPS, blocks);
  return {
    choice: {
      status: sparse ? 'sparse-kernel' : 'dense-kernel', kernel: `${f.pattern}decode ${f.label} ${columns} columns`,
      reason: `${p.rows}x${p.depth} times ${p.columns} columns: reading ${bytes} bytes of ${sparse ? 'sparse ' : ''}weights takes the time`,
    },
    nanoseconds: Math.max(bytes / gpu.bytesPerNanosecond, tiles * blocks * cycles / gpu.multiprocessors / gpu.clock) * Math.max(1, gpu.multiprocessors / 2 / tiles) + LATENCY + wait,
    pack,
    build: (k) => [gridCall(
      { blocks: [tiles, 1, 1], threads: 32 * warps, sharedBytes: Math.max(ROOM * columns * 128, warps * 16 * columns * 4) + warps * scratchBytes },
      `spc_decode<${[f.element, weightsType(f), columns, warps].join(', ')}>::run`, weightsObject(f, request), columnsObject(f), finish(k, p, 16, columns),
    )],
  };
}
