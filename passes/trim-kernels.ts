/** Rows and columns of zeros at the border of convolution kernels: the kernel shrinks, and with it the padding that it needs. */
import { windowCounts } from '../compiler/core/spatial.js';
import type { Rule } from '../compiler/ir/edit.js';
import { denseData, type Tensor } from '../compiler/ir/tensor.js';
import { contiguousStrides, sameShape } from '../compiler/ir/types.js';
import { select } from './channel-flow.js';

/** Positions of an axis at which some element is not zero. */
function usedPositions(t: Tensor, axis: number): boolean[] {
  const stride = contiguousStrides(t.shape)[axis]!, extent = t.shape[axis]!, data = denseData(t), used = new Array<boolean>(extent).fill(false);
  // of 16-bit floats both zeros count as such
  const mask = t.dtype === 'f16' || t.dtype === 'bf16' ? 0x7fff : undefined;
  for (let i = 0, missing = extent; i < data.length && missing > 0; i++) {
    if ((mask === undefined ? Number(data[i]) : Number(data[i]) & mask) === 0) continue;
    const position = Math.floor(i / stride) % extent;
    if (!used[position]) missing--;
    used[position] = true;
  }
  return used;
}

/**
 * A kernel without its first rows of zeros needs that much less padding in front; it is cut only as far as there is padding, because
 * cutting data would be a copy. Behind, it is cut as far as the number of windows stays.
 */
export const trimKernel: Rule = (e, node) => {
  if (node.kind !== 'conv' || node.attrs.layout !== 'ncs' || node.epilogue) return false;
  const { attrs } = node, weights = e.constantOf(node.inputs[1]!);
  if (!weights) return false;
  const input = e.shape(node.inputs[0]!).slice(2), output = e.shape(node.outputs[0]!).slice(2);
  let trimmed = weights, pads = attrs.pads;
  input.forEach((_, d) => {
    const axis = d + 2, extent = trimmed.shape[axis]!, used = usedPositions(trimmed, axis), dilation = attrs.dilations[d]!, [before, after] = pads[d]!;
    // of a kernel of zeros one position stays
    const first = Math.max(0, used.indexOf(true)), front = Math.min(first, Math.floor(before / dilation)), last = Math.max(first, used.lastIndexOf(true));
    for (let end = last + 1; end < extent || (end === extent && front > 0); end++) {
      const kept = Array.from({ length: end - front }, (_x, i) => i + front);
      const changed = pads.map((p, i): readonly [number, number] => (i === d ? [before - front * dilation, Math.max(0, after - (extent - end) * dilation)] : p));
      const kernel = trimmed.shape.slice(2).map((k, i) => (i === d ? kept.length : k));
      if (!sameShape(windowCounts({ ...attrs, pads: changed }, input, kernel), output)) continue;
      trimmed = select(trimmed, axis, kept);
      pads = changed;
      return;
    }
  });
  if (trimmed === weights) return false;
  e.define(node.outputs, 'conv', [node.inputs[0]!, e.constant(trimmed, e.value(node.inputs[1]!).name)], { ...attrs, pads }, { origins: node.origins });
  return true;
};
