import { expect, test } from 'vitest';
import { add, arg, cast, compare, constant, div, max, min, mul, select, sub, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { activationName, formatFormula } from './formula.js';

const f = (x: number): Expr => constant('f32', Math.fround(x));
const x = arg(0, 'f32');
const clip = (e: Expr, low: number, high: number): Expr => max(min(e, f(high)), f(low));

test.each<[string, Expr]>([
  ['relu', max(x, f(0))], ['relu', select(compare('gt', x, f(0)), x, f(0))], ['relu6', clip(x, 0, 6)],
  ['silu', mul(x, unary('sigmoid', x))], ['silu', div(x, add(f(1), unary('exp', unary('neg', x))))],
  ['gelu', mul(mul(x, add(unary('erf', div(x, f(Math.SQRT2))), f(1))), f(0.5))],
  ['gelu_tanh', mul(x, mul(f(0.5), add(f(1), unary('tanh', mul(f(Math.sqrt(2 / Math.PI)), add(x, mul(f(0.044715), mul(x, mul(x, x)))))))))],
  ['hard_swish', div(mul(x, clip(add(x, f(3)), 0, 6)), f(6))], ['hard_sigmoid', clip(add(mul(x, f(0.2)), f(0.5)), 0, 1)],
  ['softplus', unary('log1p', unary('exp', x))], ['elu', select(compare('lt', x, f(0)), unary('expm1', x), x)],
])('%s is recognised', (name, e) => {
  expect(activationName(e)).toBe(name);
});

test.each([mul(x, x), unary('tanh', x), max(x, f(0.1)), clip(x, 0, 5.9), mul(x, unary('sigmoid', mul(x, f(1.702))))])('another function is not: %o', (e) => {
  expect(activationName(e)).toBeUndefined();
});

const names = ['conv', 'bias', 'skip'];
const biased = add(x, arg(1, 'f32')), both = add(biased, arg(2, 'f32'));
test.each<[Expr, string]>([
  [max(both, f(0)), 'relu(conv + bias + skip)'],
  [mul(biased, unary('sigmoid', biased)), 'silu(conv + bias)'],
  [add(mul(biased, unary('sigmoid', biased)), arg(2, 'f32')), 'silu(conv + bias) + skip'],
  [mul(sub(x, sub(arg(1, 'f32'), arg(2, 'f32'))), f(0.1)), '(conv - (bias - skip)) * 0.1'],
  [cast(unary('round', div(max(x, f(0)), mul(f(0.25), arg(1, 'f32')))), 'i8'), 'i8(round(relu(conv) / (0.25 * bias)))'],
  [unary('tanh', x), 'tanh(conv)'],
])('%#: %o', (e, text) => {
  expect(formatFormula(e, names)).toBe(text);
});
