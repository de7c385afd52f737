/** `spc ops`: the ONNX operators that spc lowers, and what of them it does not. */
import { allOnnxOps } from '../../ops/index.js';
import type { RunVerb } from '../verb.js';

export const run: RunVerb = async ([pattern = ''], _flags, terminal) => {
  const ops = allOnnxOps.filter((o) => o.op.toLowerCase().includes(pattern.toLowerCase()))
    .map((o) => ({ op: o.op, domain: o.domain ?? '', limits: o.limits ?? null }))
    .sort((a, b) => a.domain.localeCompare(b.domain) || a.op.localeCompare(b.op));
  if (ops.length > 0) terminal.table(['operator', 'domain', 'limits'], ops.map((o) => [o.op, o.domain || 'ai.onnx', o.limits ?? '']));
  terminal.note(`${ops.length} operators${pattern ? ` match '${pattern}'` : ''}`);
  return { result: { ops } };
};
