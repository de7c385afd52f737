/** Products with at most 16 columns, as in the decoding of language models: weights stream from memory, sparse ones at 9/16 of the bytes. */
import { call, pointer } from '../../../compiler/kir/build.js';
import type { KernelCandidate, KernelRequest } from '../../types.js';
import { sparsePattern, tileBytes } from '../fragments.js';
import type { Gpu } from '../gpu.js';
import { elementNames, finish, gridCall, packed, sourceOf } from './pieces.js';
import type { ElementType, Product } from './product.js';

/** Columns that one kernel takes. */
export const MOST_COLUMNS = 16;
/** As in spc_decode. */
const ROOM = 32, MOST_WARPS = 8;

/** A launch, and the way of the first bytes through the memory system. */
const LATENCY = 3000;

export function decodeCandidate(gpu: Gpu, request: KernelRequest, p: Product, type: ElementType, sparse: boolean): KernelCandidate {
  const perBlock = type === 'f32' ? 32 : 64, blocks = Math.ceil(p.depth / perBlock), tiles = Math.ceil(p.rows / 16), columns = p.columns <= 8 ? 8 : 16, warps = Math.min(MOST_WARPS, blocks);
  const bytes = tiles * blocks * tileBytes(sparse), { keep, of } = sparsePattern(type), element = elementNames[type];
  return {
    choice: {
      status: sparse ? 'sparse-kernel' : 'dense-kernel', kernel: `${sparse ? `${keep}:${of} ` : ''}decode ${type === 'f32' ? 'tf32' : type} ${columns} columns`,
      reason: `${p.rows}x${p.depth} times ${p.columns} columns: reading ${bytes} bytes of ${sparse ? 'sparse ' : ''}weights takes the time`,
    },
    nanoseconds: bytes / gpu.bytesPerNanosecond * Math.max(1, gpu.multiprocessors / 2 / tiles) + LATENCY,
    pack: () => packed(request, p, type, sparse),
    build: (k) => [gridCall(
      call(`spc_decode<${[element, sparse ? 'spc_sparse' : 'spc_dense', columns, warps].join(', ')}>::run`, pointer(request.inputs[1]!.param), tiles, blocks, sourceOf(p, type), finish(k, p, 16, columns)),
      { blocks: [tiles, 1, 1], threads: 32 * warps, sharedBytes: Math.max(ROOM * columns * 128, warps * 16 * columns * 4) },
    )],
  };
}
