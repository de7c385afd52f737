/** Transpositions of row-major tensors whose innermost dimension changes: 16 x 16 elements at a time, in registers. */
import { contiguousStrides, elementCount } from '../../../compiler/ir/types.js';
import { add, asIndex, call, min, mul, pointer, sub } from '../../../compiler/kir/build.js';
import { isContiguous } from '../../../compiler/kir/kernel-builder.js';
import type { Expr } from '../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../types.js';
import type { Isa } from '../isa.js';
import { joinedAxes } from './axes.js';

/** Below this, squares are mostly empty. */
const FEW = 6;
/** Neighbours in y that are written together: whole lines, and several in a page. */
const GROUP = 64;
const CYCLES_PER_ELEMENT = 0.5;

/** Dimensions of the result from the outermost, those that are neighbours in both tensors joined: extent, and distance of neighbours in x and in y. */
function axesOf(perm: readonly number[], shape: readonly number[]): { readonly extent: number; readonly x: number; readonly y: number }[] {
  const from = contiguousStrides(shape), axes = joinedAxes(perm.map((p) => ({ extent: shape[p]!, stride: from[p]! }))), to = contiguousStrides(axes.map((a) => a.extent));
  return axes.map(({ extent, stride }, d) => ({ extent, x: stride, y: to[d]! }));
}

export function transposeRule(isa: Isa): KernelRule {
  const candidates = ({ node, inputs, outputs }: KernelRequest): KernelCandidate[] => {
    const x = inputs[0]!, y = outputs[0]!;
    if (node.kind !== 'transpose' || node.epilogue || x.dtype !== 'f32' || !isContiguous(x) || !isContiguous(y)) return [];
    const axes = axesOf(node.attrs.perm, x.shape), across = axes.find((a) => a.x === 1), along = axes.at(-1);
    if (!across || !along || across === along || Math.min(across.extent, along.extent) < FEW) return [];
    const outer = axes.filter((a) => a !== across && a !== along);
    return [{
      choice: { status: 'dense-kernel', kernel: 'transpose 16x16', reason: `${outer.length ? `${outer.map((a) => a.extent).join('x')} times ` : ''}${along.extent}x${across.extent}, in squares` },
      nanoseconds: (elementCount(x.shape) * CYCLES_PER_ELEMENT) / isa.clock,
      build: (k) => k.forEach([...outer.map((a) => a.extent), Math.ceil(along.extent / GROUP)], (at) => {
        const first = mul(at.at(-1)!, GROUP), start = (of: 'x' | 'y'): Expr => outer.reduce((e, a, d) => add(e, mul(at[d]!, a[of])), mul(first, along[of]));
        const rows = along.extent % GROUP === 0 ? asIndex(GROUP) : min(GROUP, sub(along.extent, first));
        return [call('spc_tiles_transpose', pointer(y.param, start('y')), across.y, pointer(x.param, start('x')), along.x, rows, across.extent)];
      }),
    }];
  };
  return { name: 'transpose', candidates };
}
