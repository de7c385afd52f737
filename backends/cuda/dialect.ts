/** How kernel IR looks in CUDA C++. */
import { cTypes, type Dialect } from '../../compiler/emit/c-like.js';
import type { Kernel } from '../../compiler/kir/types.js';

/** Integer type of addresses and loop counters: 32 bits wherever they suffice, since 64-bit arithmetic is emulated on GPUs. */
export type IndexType = 'int' | 'int64_t';

export const cudaDialect = (index: IndexType): Dialect => ({
  name: 'cuda',
  storage: { ...cTypes.storage, index },
  value: { ...cTypes.value, index },
  beforeLoop: (loop) => (loop.attrs.unroll ? ['SPC_UNROLL'] : []),
  insideLoop: () => [],
});

/** Half of what `int` holds: an index plus the step of a grid-stride loop must not overflow. */
const INT_LIMIT = 2 ** 30;

/** The narrowest index type in which a kernel that touches its parameters and counts to `extent` can be printed. */
export const indexTypeOf = (kernel: Kernel, extent: number): IndexType =>
  (Math.max(extent, ...kernel.params.map((p) => p.size)) < INT_LIMIT ? 'int' : 'int64_t');
