import fc from 'fast-check';
import { expect, test } from 'vitest';
import { add, and, compare, constant, f32, index, load, mul, ref, select, sub, unary } from '../kir/build.js';
import { cDialect } from '../../backends/cpu/dialect.js';
import { CLikePrinter, literal } from './c-like.js';

const print = new CLikePrinter(cDialect, { params: [{ name: 'x', dtype: 'f32', size: 8, role: 'in' }, { name: 'h', dtype: 'f16', size: 8, role: 'in' }] });

test('float literals read back as the same binary32', () => {
  fc.assert(fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (x) => {
    const text = literal('f32', x);
    expect(text).toMatch(/f$/);
    expect(Object.is(Math.fround(Number(text.slice(0, -1))), x)).toBe(true);
  }), { seed: 1, numRuns: 2000 });
});

test.each([
  [literal('f32', NaN), 'NAN'], [literal('f64', -Infinity), '-INFINITY'], [literal('i64', -(2n ** 63n)), 'INT64_MIN'],
  [literal('i32', -2147483648), '(-2147483647 - 1)'], [literal('u32', 4294967295), '4294967295u'], [literal('f32', 1), '1.0f'],
])('%s', (got, want) => expect(got).toBe(want));

test('parentheses are where the compiler or the reader needs them', () => {
  const i = ref('i'), j = ref('j');
  expect(print.expr(load('x', 'f32', add(mul(i, 4), j)))).toBe('x[i * 4 + j]');
  expect(print.expr(mul(add(i, j), 3))).toBe('(i + j) * 3');
  expect(print.expr(sub(i, sub(j, 1)))).toBe('i - (j - 1)');
  expect(print.expr(add(mul(i, 4), -7))).toBe('i * 4 - 7');
  expect(print.expr(sub(25, sub(j, 1)))).toBe('26 - j');
  expect(print.expr(and(compare('ge', sub(i, 1), 0), compare('lt', i, 8)))).toBe('i - 1 >= 0 && i < 8');
  expect(print.expr(select(compare('lt', i, j), i, index(0)))).toBe('i < j ? i : 0');
  expect(print.expr(unary('neg', add(ref('a', 'f32'), f32(1))))).toBe('-(a + 1.0f)');
});

test('half floats are converted where they are loaded', () => {
  expect(print.expr(load('h', 'f16', 3))).toBe('spc_f16_to_f32(h[3])');
});

test('small integers wrap in their own type', () => {
  expect(print.expr(add(ref('a', 'u8'), constant('u8', 200)))).toBe('(uint8_t)(a + 200)');
});
