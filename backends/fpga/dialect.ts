/** How kernel IR looks in HLS C++: innermost loops are pipelined, loops marked so are unrolled. */
import { cTypes, type Dialect } from '../../compiler/emit/c-like.js';
import type { Stmt } from '../../compiler/kir/types.js';

/** True where a statement holds a loop that stays a loop in hardware. */
const hasLoop = (s: Stmt): boolean => {
  switch (s.kind) {
    case 'for': return !s.attrs.unroll || s.body.some(hasLoop);
    case 'while': return true;
    case 'range': return s.body.some(hasLoop);
    case 'if': return s.then.some(hasLoop) || s.else.some(hasLoop);
    default: return false;
  }
};

export const hlsDialect: Dialect = {
  name: 'hls',
  storage: { ...cTypes.storage, index: 'int' },
  value: { ...cTypes.value, index: 'int' },
  beforeLoop: () => [],
  insideLoop: (loop) => (loop.attrs.unroll ? ['#pragma HLS UNROLL'] : loop.body.some(hasLoop) ? [] : ['#pragma HLS PIPELINE II=1']),
};
