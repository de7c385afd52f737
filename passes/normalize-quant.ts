/**
 * Quantised arithmetic out of dequantize - float operator - quantize: products of integers summed in 32 bits, zero points
 * subtracted first, one rescaling per output. What does not fit keeps its float meaning.
 */
import { rewrite, type GraphEditor, type Rule } from '../compiler/ir/edit.js';
import { dequantizeExpr, quantizeExpr } from '../compiler/core/quantize.js';
import { integerRange, type DType } from '../compiler/ir/dtype.js';
import { tensorHash, tensorOf, toNumbers } from '../compiler/ir/tensor.js';
import { elementCount, type Node, type TensorType, type ValueId } from '../compiler/ir/types.js';
import { arg, cast, mul, sub } from '../compiler/kir/build.js';
import type { Expr } from '../compiler/kir/types.js';
import { alongAxis } from './channels.js';
import { definePass } from './types.js';

/** A tensor of quantised integers and what they mean; scale and zero point are constants. */
interface Quantized { readonly q: ValueId; readonly scale: ValueId; readonly zero: ValueId | undefined }

function dequantized(e: GraphEditor, id: ValueId): Quantized | undefined {
  const node = e.producerOf(id, 'dequantize');
  if (!node || node.attrs.out !== 'f32') return undefined;
  const [q, scale, zero] = node.inputs as [ValueId, ValueId, ValueId | undefined];
  const small = ['u8', 'i8', 'i16', 'u16'].includes(e.type(q).dtype) && e.type(scale).dtype === 'f32';
  return small && e.constantOf(scale) && (zero === undefined || e.constantOf(zero)) ? { q, scale, zero } : undefined;
}

const isScalar = (e: GraphEditor, id: ValueId | undefined): boolean => id === undefined || elementCount(e.shape(id)) === 1;

/** The integers less their zero point, in the narrowest type that holds every difference. */
function centred(e: GraphEditor, { q, zero }: Quantized): ValueId | undefined {
  const zeros = zero === undefined ? [0] : toNumbers(e.constantOf(zero)!);
  if (zeros.every((z) => z === 0)) return q;
  const { dtype } = e.type(q), { min, max } = integerRange(dtype);
  const low = Number(min) - Math.max(...zeros), high = Number(max) - Math.min(...zeros);
  const out = (['i8', 'i16'] as const).find((t) => low >= Number(integerRange(t).min) && high <= Number(integerRange(t).max));
  if (!out) return undefined;
  const difference = sub(cast(arg(0, dtype), 'i32'), cast(arg(1, e.type(zero!).dtype), 'i32'));
  return e.add('elementwise', [q, zero!], { expr: cast(difference, out) }, `${e.value(q).name}_centred`);
}

/** A float product of dequantised operands is a rescaled product of integers. */
const integerProduct: Rule = (e, node) => {
  if ((node.kind !== 'conv' && node.kind !== 'matmul') || node.epilogue || node.attrs.out !== 'f32') return false;
  const a = dequantized(e, node.inputs[0]!), w = dequantized(e, node.inputs[1]!);
  if (!a || !w || !isScalar(e, a.scale) || !isScalar(e, a.zero)) return false;
  const shapeW = e.shape(w.q), rank = shapeW.length, output = node.outputs[0]!, outRank = e.shape(output).length;
  const ncs = node.kind === 'conv' && node.attrs.layout === 'ncs';
  const outputAxis = node.kind === 'matmul' ? (node.attrs.transB ? rank - 2 : rank - 1) : ncs ? 0 : rank - 1;
  const scales = alongAxis(e.constantOf(w.scale)!, shapeW, outputAxis);
  const [left, right] = scales ? [centred(e, a), centred(e, w)] : [];
  if (!scales || left === undefined || right === undefined) return false;
  const [scaleA] = toNumbers(e.constantOf(a.scale)!), { name } = e.value(output);
  // one factor an output channel, in single precision as the scales are
  const factors = scales.map((s) => Math.fround(s * scaleA!));
  const perTensor = factors.every((f) => f === factors[0]);
  const shape = perTensor ? [] : [factors.length, ...Array.from({ length: ncs ? outRank - 2 : 0 }, () => 1)];
  const sum = e.add(node.kind, [left, right], { ...node.attrs, out: 'i32' } as never, `${name}_sum`, { origins: node.origins });
  const factor = e.constant(tensorOf('f32', shape, perTensor ? [factors[0]!] : factors), `${name}_scale`);
  e.define([output], 'elementwise', [sum, factor], { expr: mul(cast(arg(0, 'i32'), 'f32'), arg(1, 'f32')) }, { origins: node.origins });
  return true;
};

const sameConstant = (e: GraphEditor, a: ValueId | undefined, b: ValueId | undefined): boolean => {
  if (a === b) return true;
  const zeroOf = (id: ValueId | undefined): string => (id === undefined ? 'zero' : toNumbers(e.constantOf(id)!).every((z) => z === 0) ? 'zero' : tensorHash(e.constantOf(id)!));
  return zeroOf(a) === zeroOf(b);
};

/** Quantising what was dequantised with the same parameters gives the integers back: (q - z) * s / s rounds to q - z. */
const roundTrip: Rule = (e, node) => {
  if (node.kind !== 'quantize' || node.epilogue) return false;
  const from = dequantized(e, node.inputs[0]!), [, scale, zero] = node.inputs as [ValueId, ValueId, ValueId | undefined];
  if (!from || e.type(from.q).dtype !== node.attrs.out || !e.constantOf(scale) || (zero !== undefined && !e.constantOf(zero))) return false;
  if (!sameConstant(e, from.scale, scale) || !sameConstant(e, from.zero, zero)) return false;
  e.replaceUses(node.outputs[0]!, from.q);
  return true;
};

/** Whether an operator only chooses among its elements, so that it may as well choose among the integers behind them. */
function onlySelects(node: Node): boolean {
  switch (node.kind) {
    case 'reshape': case 'transpose': case 'slice': case 'gather': return true;
    case 'pool': return node.attrs.mode === 'max' && node.attrs.indices === undefined;
    case 'reduce': return (node.attrs.op === 'max' || node.attrs.op === 'min') && node.attrs.map === undefined;
    default: return false;
  }
}

/** Selection from a dequantised tensor (one positive scale) happens before dequantising: fewer bytes, fewer multiplications. */
const selectIntegers: Rule = (e, node) => {
  if (node.epilogue || !onlySelects(node)) return false;
  const x = node.inputs[0]!, from = e.hasOneUser(x) ? dequantized(e, x) : undefined;
  if (!from || !isScalar(e, from.scale) || !isScalar(e, from.zero) || !toNumbers(e.constantOf(from.scale)!).every((s) => s > 0)) return false;
  const output = node.outputs[0]!;
  const chosen = e.add(node.kind, [from.q, ...node.inputs.slice(1)], node.attrs as never, `${e.value(output).name}_quantized`, { origins: node.origins });
  const inputs = [chosen, from.scale, ...(from.zero === undefined ? [] : [from.zero])].map((id, i) => (i === 0 ? id : scalarOf(e, id)));
  e.define([output], 'dequantize', inputs, { out: 'f32' }, { origins: node.origins });
  return true;
};

/** A constant of one element with no dimensions, which broadcasts against every shape. */
const scalarOf = (e: GraphEditor, id: ValueId): ValueId => (e.shape(id).length === 0 ? id : e.add('reshape', [id], { shape: [] }, e.value(id).name));

export const normalizeQuant = definePass({
  name: 'normalize-quant',
  doc: 'turns dequantised products into integer products with a rescaled result, and selects among integers instead of floats',
  run: (graph) => rewrite(graph, integerProduct, roundTrip, selectIntegers),
});

const asElementwise = (kind: 'quantize' | 'dequantize', expr: (out: DType, inputs: readonly TensorType[]) => Expr): Rule => (e, node) => {
  if (node.kind !== kind || node.epilogue) return false;
  const { attrs, inputs } = node;
  if (inputs.every((i) => e.constantOf(i))) return false; // fold-constants has it
  e.define(node.outputs, 'elementwise', inputs, { expr: expr(attrs.out, inputs.map((i) => e.type(i))) }, { origins: node.origins });
  return true;
};

export const lowerQuantization = definePass({
  name: 'lower-quantization',
  doc: 'writes what is left of quantising and dequantising as scalar expressions, which fuse like any other',
  run: (graph) => rewrite(graph, asElementwise('quantize', quantizeExpr), asElementwise('dequantize', dequantizeExpr)),
});
