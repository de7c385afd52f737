/**
 * Transposed convolutions of channels-last data: output elements that leave the same remainder on division by the stride form an
 * ordinary convolution with stride 1 and the taps that reach them, read backwards. One such convolution a remainder, no zero
 * is multiplied.
 */
import { denseData, newArray } from '../../../compiler/ir/tensor.js';
import { elementCount, type NodeOf } from '../../../compiler/ir/types.js';
import type { TensorRef } from '../../../compiler/kir/kernel-builder.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../types.js';
import type { Isa } from '../isa.js';
import { scheduleConv, type Axis, type PlainConv } from './conv.js';
import { sumType } from './matmul.js';

/** One remainder along one axis: its convolution, and the kernel positions of its taps. */
interface Phase {
  readonly first: number;
  readonly stride: number;
  readonly axis: Axis;
  readonly taps: readonly number[];
}

/** Output coordinate first + stride q reads input q + (first + pad - tap) / stride for the taps that make this whole. */
function phasesOf(input: number, output: number, kernel: number, stride: number, pad: number): Phase[] {
  return Array.from({ length: Math.min(stride, output) }, (_, first) => {
    const taps = Array.from({ length: kernel }, (_, t) => kernel - 1 - t).filter((t) => (first + pad - t) % stride === 0);
    const before = taps.length ? -(first + pad - taps[0]!) / stride : 0;
    return { first, stride, taps, axis: { input, output: Math.ceil((output - first) / stride), kernel: taps.length, stride: 1, dilation: 1, before } };
  });
}

/** The elements of `t` (of y's rank, or broadcast to it) that belong to the phases. */
function phaseView(t: TensorRef, phases: readonly Phase[], rank: number): TensorRef {
  const shape = [...t.shape], strides = [...t.strides];
  let offset = t.offset;
  phases.forEach((p, d) => {
    const own = d + 1 - rank + t.shape.length;
    if (own < 0 || shape[own] === 1) return;
    offset += p.first * strides[own]!;
    strides[own] = strides[own]! * p.stride;
    shape[own] = p.axis.output;
  });
  return { ...t, shape, strides, offset };
}

export function convTransposeRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    if (request.node.kind !== 'convTranspose') return [];
    const { attrs } = request.node as NodeOf<'convTranspose'>;
    const [x, w] = request.inputs, y = request.outputs[0]!, constant = request.constants[1], axes = attrs.strides.length;
    const acc = sumType(x!, w!, attrs.out);
    if (attrs.layout !== 'nsc' || !constant || !acc || axes > 2 || x!.strides.at(-1) !== 1 || elementCount(y.shape) === 0 || attrs.dilations.some((d) => d !== 1)) return [];
    const channels = x!.shape.at(-1)!, perGroup = channels / attrs.group, outPerGroup = w!.shape.at(-1)!, outChannels = outPerGroup * attrs.group;
    const source = denseData(constant);
    const along = attrs.strides.map((stride, d) => phasesOf(x!.shape[d + 1]!, y.shape[d + 1]!, w!.shape[d]!, stride, attrs.pads[d]![0]));
    // where the stride exceeds the kernel, some elements are sums of nothing: left to the loop nest
    if (perGroup === 0 || along.some((phases) => phases.some((p) => p.taps.length === 0))) return [];
    const combinations = along.reduce<Phase[][]>((all, phases) => all.flatMap((c) => phases.map((p) => [...c, p])), [[]]);
    const parts = combinations.map((phases) => {
      const positions = phases.reduce<number[]>((at, p, d) => at.flatMap((a) => p.taps.map((t) => a * w!.shape[d]! + t)), [0]);
      const weights = newArray(acc, positions.length * perGroup * outChannels);
      let next = 0;
      for (const position of positions) {
        for (let c = 0; c < perGroup; c++) {
          for (let o = 0; o < outChannels; o++) {
            const g = Math.floor(o / outPerGroup);
            weights[next++] = Number(source[(position * channels + g * perGroup + c) * outPerGroup + o - g * outPerGroup]);
          }
        }
      }
      const conv: PlainConv = {
        x: x!, w: w!, y: phaseView(y, phases, y.shape.length), acc, batch: x!.shape[0]!, group: attrs.group, channels, outChannels, perGroup, weights,
        axes: phases.map((p) => p.axis),
        epilogue: request.epilogue && { ...request.epilogue, inputs: request.epilogue.inputs.map((t) => phaseView(t, phases, y.shape.length)) },
      };
      return scheduleConv(isa, conv);
    });
    const offsets: number[] = [];
    const size = parts.reduce((at, p) => {
      offsets.push(at);
      return at + p.packedElements;
    }, 0);
    return [{
      choice: { status: 'dense-kernel', kernel: `conv-transpose ${parts[0]!.tile}`, reason: `${parts.length} convolution${parts.length > 1 ? 's' : ''}, one a remainder; the first ${parts[0]!.reason}` },
      nanoseconds: parts.reduce((t, p) => t + p.nanoseconds, 0),
      pack: () => {
        const first = parts[0]!.pack(), packed = newArray(first.dtype, size);
        parts.forEach((p, i) => (packed as Float32Array).set((i === 0 ? first : p.pack()).data as Float32Array, offsets[i]));
        return new Map([[1, { kind: 'dense', dtype: first.dtype, shape: [size], data: packed }]]);
      },
      build: (k) => parts.flatMap((p, i) => p.build(k, offsets[i])),
    }];
  };
  return { name: 'conv-transpose', candidates };
}
