import { NodeProblem } from '../diagnostics/diagnostic.js';
import { elementCount, formatType, type TensorType } from '../ir/types.js';
import { add, and, cast, compare, constant, div, forLoop, ifStmt, mod, mul, ref, sub } from '../kir/build.js';
import type { Stmt } from '../kir/types.js';
import type { ConvAttrs } from './conv.js';
import { accumulatorOf } from './matmul.js';
import { parted, placed } from './spatial.js';
import { defineCoreOp } from './types.js';

/**
 * Weights are [C, O/group, spatial...] for layout `ncs` (ONNX) and [spatial..., C, O/group] for `nsc`. Pads may be negative:
 * they crop what the windows spread (positive) or extend it by zeros.
 */
export interface ConvTransposeAttrs extends ConvAttrs {
  /** Extra output elements behind, one entry a spatial dimension. */
  readonly outputPadding: readonly number[];
}

function geometry(attrs: ConvTransposeAttrs, [x, w]: readonly TensorType[]) {
  const rank = attrs.strides.length;
  if (!x || !w || x.shape.length !== rank + 2 || w.shape.length !== rank + 2) {
    throw new NodeProblem('SPC2004', `transposed convolution with ${rank} spatial dimensions needs operands of rank ${rank + 2}`);
  }
  const { n: batch, c: channels, spatial: input } = parted(attrs.layout, x.shape);
  const ncs = attrs.layout === 'ncs';
  const [weightChannels, outPerGroup] = ncs ? [w.shape[0]!, w.shape[1]!] : [w.shape.at(-2)!, w.shape.at(-1)!];
  const kernel = ncs ? w.shape.slice(2) : w.shape.slice(0, -2);
  if (weightChannels !== channels || channels % attrs.group !== 0) {
    throw new NodeProblem('SPC2004', `${channels} input channels do not fit weights ${formatType(w)} in ${attrs.group} group(s)`);
  }
  const output = input.map((extent, d) =>
    (extent - 1) * attrs.strides[d]! + attrs.outputPadding[d]! + (kernel[d]! - 1) * attrs.dilations[d]! + 1 - attrs.pads[d]![0] - attrs.pads[d]![1]);
  if (output.some((d) => d < 1)) throw new NodeProblem('SPC2004', `transposed convolution of ${input.join('x')} by ${kernel.join('x')} has no output elements`);
  return { batch, channels, perGroup: channels / attrs.group, outPerGroup, input, kernel, output };
}

export const convTranspose = defineCoreOp<ConvTransposeAttrs>({
  doc: 'transposed convolution: every input element adds a scaled kernel to the output (computed per output element)',
  infer(attrs, inputs) {
    const g = geometry(attrs, inputs);
    return [{ dtype: attrs.out, shape: placed(attrs.layout, g.batch, g.outPerGroup * attrs.group, g.output) }];
  },
  macs(attrs, inputs) {
    const g = geometry(attrs, inputs);
    return g.batch * g.channels * elementCount(g.input) * g.outPerGroup * elementCount(g.kernel);
  },
  lower(k, attrs, [x, w], [y]) {
    const g = geometry(attrs, [x!, w!]);
    const acc = accumulatorOf(attrs.out);
    return k.forEach(y!.shape, (i) => {
      const { n, c: o, spatial } = parted(attrs.layout, i);
      const sum = k.variable('sum', constant(acc, 0));
      const taps = g.kernel.map(() => k.name('k'));
      const c = k.name('c');
      // the input element whose window's tap `t` lies here is (here + pad - t * dilation) / stride, if that is whole
      const spread = spatial.map((p, d) => k.let('p', sub(add(p, attrs.pads[d]![0]), mul(ref(taps[d]!), attrs.dilations[d]!))));
      const source = spread.map((p, d) => div(p.ref, attrs.strides[d]!));
      const channel = add(mul(div(o, g.outPerGroup), g.perGroup), ref(c));
      const out = mod(o, g.outPerGroup);
      const weight = attrs.layout === 'ncs' ? [channel, out, ...taps.map((t) => ref(t))] : [...taps.map((t) => ref(t)), channel, out];
      const product = mul(cast(k.load(x!, placed(attrs.layout, n, channel, source)), acc), cast(k.load(w!, weight), acc));
      let body: Stmt[] = [forLoop(c, g.perGroup, [sum.set(add(sum.ref, product))], { pipeline: true })];
      for (const d of [...taps.keys()].reverse()) {
        const p = spread[d]!, stride = attrs.strides[d]!;
        const whole = stride === 1 ? [] : [compare('eq', mod(p.ref, stride), 0)];
        const inside = [compare('ge', p.ref, 0), compare('lt', p.ref, g.input[d]! * stride), ...whole].reduce(and);
        body = [forLoop(taps[d]!, g.kernel[d]!, [p.declare, ifStmt(inside, body)])];
      }
      return [sum.declare, ...body, k.store(y!, i, sum.ref)];
    });
  },
});
