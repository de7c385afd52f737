/** How kernel IR looks in C11 with GCC/Clang vector extensions. */
import { cTypes, type Dialect } from '../../compiler/emit/c-like.js';

export const cDialect: Dialect = {
  name: 'c',
  storage: cTypes.storage,
  value: cTypes.value,
  vectorType: (t) => `spc_${t.dtype === 'index' ? 'i64' : t.dtype}x${t.lanes}`,
  beforeLoop: (loop) => (loop.attrs.unroll ? ['#pragma GCC unroll 64'] : []),
  insideLoop: () => [],
};
