import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { DType } from '../ir/dtype.js';
import { elementCount, formatType, type TensorType } from '../ir/types.js';
import { add, and, cast, compare, constant, div, forLoop, ifStmt, mul, ref, sub } from '../kir/build.js';
import type { Expr, Stmt } from '../kir/types.js';
import { accumulatorOf } from './matmul.js';
import { parted, placed, windowCounts, type Layout, type WindowAttrs } from './spatial.js';
import { defineCoreOp } from './types.js';

export interface ConvAttrs extends WindowAttrs {
  readonly group: number;
  /**
   * Order of data dimensions: `ncs` is [N, C, spatial...] with weights [O, C/group, spatial...] (ONNX); `nsc` is
   * [N, spatial..., C] with weights [spatial..., C/group, O].
   */
  readonly layout: Layout;
  readonly out: DType;
}

/** Where the dimensions of a convolution lie, whatever its layout. */
export function convGeometry(attrs: ConvAttrs, [x, w]: readonly TensorType[]) {
  const spatial = attrs.strides.length;
  if (!x || !w || x.shape.length !== spatial + 2 || w.shape.length !== spatial + 2) {
    throw new NodeProblem('SPC2004', `convolution with ${spatial} spatial dimensions needs operands of rank ${spatial + 2}`);
  }
  const ncs = attrs.layout === 'ncs';
  const { n: batch, c: channels, spatial: input } = parted(attrs.layout, x.shape);
  const kernel = ncs ? w.shape.slice(2) : w.shape.slice(0, -2);
  const [outChannels, perGroup] = ncs ? [w.shape[0]!, w.shape[1]!] : [w.shape.at(-1)!, w.shape.at(-2)!];
  if (perGroup * attrs.group !== channels || outChannels % attrs.group !== 0) {
    throw new NodeProblem('SPC2004', `${channels} input and ${outChannels} output channels do not fit weights ${formatType(w)} in ${attrs.group} group(s)`);
  }
  const output = windowCounts(attrs, input, kernel);
  return { batch, channels, outChannels, perGroup, input, kernel, output };
}

/** Conditions under which coordinate `at` lies inside [0, extent); those that always hold are left out. */
export function insideChecks(at: Expr, extent: number, canBeLow: boolean, canBeHigh: boolean): Expr[] {
  return [...(canBeLow ? [compare('ge', at, 0)] : []), ...(canBeHigh ? [compare('lt', at, extent)] : [])];
}

export const conv = defineCoreOp<ConvAttrs>({
  doc: 'convolution (cross-correlation) with zero padding, groups and dilation',
  infer(attrs, inputs) {
    const g = convGeometry(attrs, inputs);
    return [{ dtype: attrs.out, shape: placed(attrs.layout, g.batch, g.outChannels, g.output) }];
  },
  macs(attrs, inputs, [y]) {
    const g = convGeometry(attrs, inputs);
    return elementCount(y!.shape) * g.perGroup * elementCount(g.kernel);
  },
  lower(k, attrs, [x, w], [y]) {
    const g = convGeometry(attrs, [x!, w!]);
    const acc = accumulatorOf(attrs.out);
    return k.forEach(y!.shape, (i) => {
      const { n, c: o, spatial: at } = parted(attrs.layout, i);
      const sum = k.variable('sum', constant(acc, 0));
      const c = k.name('c');
      const taps = g.kernel.map(() => k.name('k'));
      const channel = add(mul(div(o, g.outChannels / attrs.group), g.perGroup), ref(c));
      const source = at.map((p, d) => sub(add(mul(p, attrs.strides[d]!), mul(ref(taps[d]!), attrs.dilations[d]!)), attrs.pads[d]![0]));
      const weight = attrs.layout === 'ncs' ? [o, ref(c), ...taps.map((t) => ref(t))] : [...taps.map((t) => ref(t)), ref(c), o];
      const product = mul(cast(k.load(x!, placed(attrs.layout, n, channel, source)), acc), cast(k.load(w!, weight), acc));
      const checks = source.flatMap((s, d) => insideChecks(s, g.input[d]!, attrs.pads[d]![0] > 0, attrs.pads[d]![1] > 0));
      const accumulate: Stmt = sum.set(add(sum.ref, product));
      let body: Stmt[] = checks.length ? [ifStmt(checks.reduce(and), [accumulate])] : [accumulate];
      for (const d of [...taps.keys()].reverse()) body = [forLoop(taps[d]!, g.kernel[d]!, body)];
      return [sum.declare, forLoop(c, g.perGroup, body, { pipeline: true }), k.store(y!, i, sum.ref)];
    });
  },
});
