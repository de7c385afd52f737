/** What of an epilogue a stream function applies is what the epilogue says, numerically. */
import { expect, test } from 'vitest';
import { tensorOf } from '../../../../compiler/ir/tensor.js';
import { elementCount, type Value } from '../../../../compiler/ir/types.js';
import { add, arg, f32, max, min, mul, sub, unary } from '../../../../compiler/kir/build.js';
import type { Expr } from '../../../../compiler/kir/types.js';
import { randomSource, type RandomSource } from '../../../../test/support/random-stream.js';
import { epilogueOperand, matchEpilogue, type EpilogueOperand } from './epilogue.js';

const CHANNELS = 3, shape = [2, 5, CHANNELS];
const constant = (of: readonly number[], values: readonly number[]): Value => ({ id: 0, name: 'c', type: { dtype: 'f32', shape: of }, constant: tensorOf('f32', of, values) });
const computed = (of: readonly number[]): Value => ({ id: 1, name: 'v', type: { dtype: 'f32', shape: of } });
const operandsOf = (...values: readonly Value[]): EpilogueOperand[] => values.map((v) => epilogueOperand(v, shape));

/** Arguments 1 to 5: values for each channel, one for all, computed twice, a constant with a value for every pixel. */
const bias = [0.5, -1, 2], pixels = Array.from({ length: elementCount(shape) }, (_, i) => i / 8);
const operands = operandsOf(constant([CHANNELS], bias), constant([1], [0.25]), computed(shape), computed(shape), constant(shape, pixels));
const RESIDUALS: readonly number[] = [3, 4, 5];

function evaluate(e: Expr, values: readonly number[]): number {
  switch (e.kind) {
    case 'const': return Number(e.value);
    case 'arg': return values[e.index]!;
    case 'unary': return Math.tanh(evaluate(e.a, values));
    case 'binary': {
      const a = evaluate(e.a, values), b = evaluate(e.b, values);
      return e.op === 'add' ? a + b : e.op === 'sub' ? a - b : e.op === 'mul' ? a * b : e.op === 'max' ? (b > a ? b : a) : b < a ? b : a;
    }
    default: throw new Error(e.kind);
  }
}

const leaf = (random: RandomSource): Expr => (random.next() < 0.6 ? arg(random.integer(0, 5), 'f32') : f32(random.integer(-8, 8) / 4));
/** Often nearly what is wanted: clamps between constants, sums of leaves. */
function randomExpr(random: RandomSource, depth: number): Expr {
  if (depth === 0) return random.next() < 0.5 ? arg(0, 'f32') : leaf(random);
  const a = randomExpr(random, depth - 1), op = random.next(), bounds = op > 0.4 && op < 0.9 && random.next() < 0.8;
  if (op < 0.03) return unary('tanh', a);
  const b = bounds ? f32(random.integer(-8, 8) / 4) : random.next() < 0.8 ? leaf(random) : randomExpr(random, random.integer(0, depth - 1)), [first, second] = random.next() < 0.8 ? [a, b] : [b, a];
  return op < 0.4 ? add(first, second) : op < 0.65 ? max(first, second) : op < 0.9 ? min(first, second) : op < 0.95 ? sub(first, second) : mul(first, second);
}

/** Sums are of multiples of 1/8, so that their order does not show. */
test('what is taken apart means the same, whatever the expression', () => {
  const random = randomSource(12), eighth = (): number => random.integer(-40, 40) / 8;
  let matched = 0, clamped = 0, residual = 0;
  for (let run = 0; run < 40_000; run++) {
    const expr = randomExpr(random, random.integer(0, 4)), found = matchEpilogue(expr, operands, shape);
    if (!found) continue;
    matched++;
    if (found.clamp.low !== -Infinity && found.clamp.high !== Infinity) clamped++;
    if (found.residual !== undefined) residual++;
    for (let channel = 0; channel < CHANNELS; channel++) {
      const values = [eighth(), bias[channel]!, 0.25, eighth(), eighth(), eighth()];
      const sum = values[0]! + found.bias[channel]! + (found.residual === undefined ? 0 : values[found.residual + 1]!);
      expect(Math.min(Math.max(sum, found.clamp.low), found.clamp.high), JSON.stringify(expr)).toBe(evaluate(expr, values));
    }
  }
  expect(Math.min(matched / 10, clamped, residual)).toBeGreaterThan(30);
});

test('every sum of constants and one residual, then a clamp, is taken', () => {
  const random = randomSource(13);
  for (let run = 0; run < 300; run++) {
    const constants = Array.from({ length: random.integer(0, 3) }, () => random.pick([arg(1, 'f32'), arg(2, 'f32'), f32(0.5)])), r = random.pick([undefined, ...RESIDUALS]);
    const terms = [...constants, ...(r === undefined ? [] : [arg(r, 'f32')])].sort(() => random.next() - 0.5);
    const sum = terms.reduce<Expr>((s, t) => (random.next() < 0.5 ? add(s, t) : add(t, s)), arg(0, 'f32'));
    const low = random.next() < 0.5 ? max(sum, f32(-1)) : sum, clamped = random.next() < 0.5 ? min(low, f32(3)) : low;
    const found = matchEpilogue(clamped, operands, shape);
    expect(found, JSON.stringify(clamped)).toBeDefined();
    expect([found!.residual, found!.clamp]).toEqual([r === undefined ? undefined : r - 1, { low: low === sum ? -Infinity : -1, high: clamped === low ? Infinity : 3 }]);
  }
  expect(matchEpilogue(undefined, [], shape)).toEqual({ bias: new Float32Array(CHANNELS), clamp: { low: -Infinity, high: Infinity } });
  expect(matchEpilogue(arg(0, 'f32'), [], shape)).toEqual(matchEpilogue(undefined, [], shape));
});

const x = arg(0, 'f32'), one = arg(1, 'f32');
test.each<readonly [string, Expr, readonly Value[]]>([
  ['two residuals', add(add(x, one), arg(2, 'f32')), [computed(shape), computed(shape)]],
  ['a residual that is broadcast', add(x, one), [computed([CHANNELS])]],
  ['a constant for each row', add(x, one), [constant([5, 1], [1, 2, 3, 4, 5])]],
  ['a constant whose only extent is not the channels', add(x, one), [constant([CHANNELS, 1], bias)]],
  ['a scale', mul(x, f32(2)), []],
  ['an addition after a clamp', add(max(x, f32(0)), one), [constant([CHANNELS], bias)]],
  ['a clamp whose bound is not constant', max(x, one), [constant([CHANNELS], bias)]],
  // max(a, b) is a unless b is larger: with a NaN product the other order gives the bound
  ['a clamp the other way around', max(f32(0), x), []],
  ['a clamp between bounds in the other order', max(min(x, f32(1)), f32(2)), []],
  ['three bounds', min(max(min(x, f32(6)), f32(0)), f32(3)), []],
  ['the product twice', add(x, x), []],
  ['no product', add(one, f32(1)), [constant([CHANNELS], bias)]],
  ['an integer constant', add(x, one), [{ id: 0, name: 'c', type: { dtype: 'i32', shape: [CHANNELS] }, constant: tensorOf('i32', [CHANNELS], [1, 2, 3]) }]],
])('%s is not', (_, expr, values) => {
  expect(matchEpilogue(expr, operandsOf(...values), shape)).toBeUndefined();
});

test('an operand is a constant unless it has a value for every pixel', () => {
  expect(operands.map((o) => o.kind)).toEqual(['constant', 'constant', 'computed', 'computed', 'computed']);
  // of one pixel, values for each channel
  expect(epilogueOperand(constant([1, 1, CHANNELS], bias), [1, 1, CHANNELS]).kind).toBe('constant');
});
