import { rewrite, type Rule } from '../compiler/ir/edit.js';
import { elementCount, type NodeOf, type ValueId } from '../compiler/ir/types.js';
import { definePass } from './types.js';

/**
 * A transposed convolution whose windows do not overlap (kernel = stride) is a matrix product [pixels, C] x [C, kernel * O], its
 * results put side by side.
 */
const upsampling: Rule = (e, node) => {
  if (node.kind !== 'convTranspose' || node.epilogue || node.attrs.layout !== 'nsc' || node.attrs.group !== 1) return false;
  const { attrs, inputs, outputs } = node as unknown as NodeOf<'convTranspose'>;
  const [x, w] = inputs as [ValueId, ValueId], shapeX = e.shape(x), kernel = e.shape(w).slice(0, -2), output = outputs[0]!;
  const apart = kernel.every((k, d) => k === attrs.strides[d] && attrs.dilations[d] === 1 && attrs.pads[d]!.every((p) => p === 0) && attrs.outputPadding[d] === 0);
  if (!apart || !e.constantOf(w)) return false;
  const rank = kernel.length, channels = shapeX.at(-1)!, outChannels = e.shape(w).at(-1)!, spatial = shapeX.slice(1, -1), name = e.value(output).name;
  const pixels = e.add('reshape', [x], { shape: [elementCount(shapeX) / channels, channels] }, `${e.value(x).name}_pixels`);
  // [kernel..., C, O] -> [C, kernel... * O]
  const byChannel = e.add('transpose', [w], { perm: [rank, ...kernel.keys(), rank + 1] }, e.value(w).name);
  const matrix = e.add('reshape', [byChannel], { shape: [channels, elementCount(kernel) * outChannels] }, e.value(w).name);
  const product = e.add('matmul', [pixels, matrix], { transA: false, transB: false, out: attrs.out }, `${name}_windows`, { origins: node.origins });
  const windows = e.add('reshape', [product], { shape: [shapeX[0]!, ...spatial, ...kernel, outChannels] }, name);
  // [N, spatial..., kernel..., O] -> [N, (spatial, kernel)..., O]
  const interleaved = [0, ...kernel.flatMap((_, d) => [1 + d, 1 + rank + d]), 1 + 2 * rank];
  const placed = e.add('transpose', [windows], { perm: interleaved }, name, { origins: node.origins });
  e.define(outputs, 'reshape', [placed], { shape: e.shape(output) }, { origins: node.origins });
  return true;
};

export const convTransposeToMatmul = definePass({
  name: 'conv-transpose-to-matmul',
  doc: 'turns transposed convolutions without overlap into matrix products',
  run: (graph) => rewrite(graph, upsampling),
});
