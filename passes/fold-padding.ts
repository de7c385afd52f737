import { rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import { mergeOrigins } from '../compiler/ir/edit.js';
import type { Node, NodeOf, ValueId } from '../compiler/ir/types.js';
import { uniformValue } from './expressions.js';
import { definePass } from './types.js';

/** Value that a pad node writes: a number, or undefined where it is not constant or not one. */
function padValue(e: GraphEditor, pad: NodeOf<'pad'>): number | undefined {
  if (pad.attrs.mode !== 'constant') return undefined;
  const value = pad.inputs[1] === undefined ? 0 : uniformValue(e.constantOf(pad.inputs[1]));
  return value === undefined ? undefined : Number(value);
}

/** Whether all elements are certainly not negative: the last thing done to them was max(..., 0). */
function isNonNegative(e: GraphEditor, id: ValueId): boolean {
  const node = e.producerOf(id, 'elementwise'), expr = node?.attrs.expr;
  return expr?.kind === 'binary' && expr.op === 'max' && [expr.a, expr.b].some((x) => x.kind === 'const' && Number(x.value) >= 0);
}

/** Padding in front of a window operator becomes the operator's own, which never touches memory. */
const foldPad: Rule = (e, node) => {
  if ((node.kind !== 'conv' && node.kind !== 'pool') || node.epilogue) return false;
  const pad = e.producerOf(node.inputs[0]!, 'pad');
  if (!pad) return false;
  const value = padValue(e, pad), first = node.attrs.layout === 'ncs' ? 2 : 1;
  const spatial = node.attrs.strides.map((_, d) => d + first);
  const elsewhere = pad.attrs.before.some((b, d) => !spatial.includes(d) && b + pad.attrs.after[d]! > 0);
  if (value === undefined || elsewhere) return false;
  const pads = node.attrs.pads.map(([before, after], d) => [before + pad.attrs.before[spatial[d]!]!, after + pad.attrs.after[spatial[d]!]!] as const);
  const inputs = [pad.inputs[0]!, ...node.inputs.slice(1)], origins = mergeOrigins(node, pad as unknown as Node);
  if (node.kind === 'conv') {
    if (value !== 0) return false;
    e.define(node.outputs, 'conv', inputs, { ...node.attrs, pads }, { origins });
    return true;
  }
  const { attrs } = node;
  // every window must hold an element of the input, or the pool would have nothing to take the maximum of
  const covered = pads.every((p, d) => Math.max(...p) < (attrs.kernel[d]! - 1) * attrs.dilations[d]! + 1);
  const unpadded = attrs.pads.every((p) => p[0] === 0 && p[1] === 0);
  const allowed = attrs.mode === 'max'
    ? attrs.indices === undefined && covered && (value === -Infinity || (value === 0 && isNonNegative(e, pad.inputs[0]!)))
    : value === 0 && !attrs.ceil && (attrs.mode === 'sum' || unpadded || attrs.countIncludePad);
  if (!allowed) return false;
  e.define(node.outputs, 'pool', inputs, { ...attrs, pads, ...(attrs.mode === 'average' ? { countIncludePad: true } : {}) }, { origins });
  return true;
};

export const foldPadding = definePass({
  name: 'fold-padding',
  doc: 'turns padding in front of convolutions and pools into their own',
  run: (graph) => rewrite(graph, foldPad),
});
