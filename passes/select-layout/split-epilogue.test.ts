/** What is kept of an epilogue and what is left of it are together what it was. */
import { expect, test } from 'vitest';
import { add, arg, compare, div, f32, fma, max, min, mapExpr, mul, select, sub, unary, exprSize, substituteArgs } from '../../compiler/kir/build.js';
import type { Expr } from '../../compiler/kir/types.js';
import { randomSource, type RandomSource } from '../../test/support/random-stream.js';
import { splitEpilogue } from './split-epilogue.js';

const ARGUMENTS = 4;

/** Few distinct leaves, so that equal parts occur in several places; constants that differ in their sign only, or are not finite. */
function randomExpr(random: RandomSource, depth: number, shared: Expr[]): Expr {
  const go = (): Expr => randomExpr(random, depth - 1, shared);
  if (depth === 0 || random.next() < 0.1) return random.next() < 0.7 ? arg(random.pick([0, 0, 0, 1, 2, 3]), 'f32') : f32(random.pick([0, -0, 1, 0.5, Infinity, -Infinity, NaN]));
  if (shared.length > 0 && random.next() < 0.2) return random.pick(shared);
  const e = random.pick<() => Expr>([
    () => add(go(), go()), () => sub(go(), go()), () => mul(go(), go()), () => div(go(), go()), () => max(go(), go()), () => min(go(), go()), () => unary('tanh', go()), () => unary('neg', go()),
    () => fma(go(), go(), go()), () => select(compare('lt', go(), go()), go(), go()),
  ])();
  shared.push(e);
  return e;
}

function evaluate(e: Expr, values: readonly number[]): number {
  const v = (x: Expr): number => evaluate(x, values);
  switch (e.kind) {
    case 'const': return Number(e.value);
    case 'arg': return values[e.index]!;
    case 'unary': return e.op === 'neg' ? -v(e.a) : Math.tanh(v(e.a));
    case 'fma': return v(e.a) * v(e.b) + v(e.c);
    case 'select': return v(e.cond) ? v(e.a) : v(e.b);
    case 'compare': return v(e.a) < v(e.b) ? 1 : 0;
    case 'binary': {
      const a = v(e.a), b = v(e.b);
      switch (e.op) {
        case 'add': return a + b;
        case 'sub': return a - b;
        case 'mul': return a * b;
        case 'div': return a / b;
        case 'max': return b > a ? b : a;
        case 'min': return b < a ? b : a;
        default: throw new Error(e.op);
      }
    }
    default: throw new Error(e.kind);
  }
}

const readsProduct = (e: Expr): boolean => {
  let found = false;
  mapExpr(e, (x) => { if (x.kind === 'arg' && x.index === 0) found = true; return x; });
  return found;
};

test('the rest of what is kept is the whole', () => {
  const random = randomSource(5), seen = { kept: 0, partly: 0, bare: 0, repeated: 0 };
  for (let run = 0; run < 3000; run++) {
    const expr = randomExpr(random, random.integer(1, 5), []), limit = random.integer(0, 8), tried: Expr[] = [];
    const fits = (part: Expr): boolean => { tried.push(part); return exprSize(part) <= limit; };
    const { kept, rest } = splitEpilogue({ expr, inputs: [10, 11, 12] }, fits);
    seen[kept ? 'kept' : 'bare']++;
    // every part that is asked about has the product in it, the largest first
    for (const part of tried) expect(readsProduct(part)).toBe(true);
    if (!kept) { expect(rest).toEqual(expr); continue; }
    expect(exprSize(kept)).toBeLessThanOrEqual(limit);
    if (exprSize(kept) < exprSize(expr)) seen.partly++;
    if (exprSize(substituteArgs(rest, [kept, ...[1, 2, 3].map((i) => arg(i, 'f32'))])) > exprSize(rest) + exprSize(kept)) seen.repeated++;
    for (let sample = 0; sample < 4; sample++) {
      const values = Array.from({ length: ARGUMENTS }, () => random.pick([0, -0, 1, Infinity, NaN, random.next() * 4 - 2, random.next() * 4 - 2, random.next() * 4 - 2]));
      expect(evaluate(rest, [evaluate(kept, values), ...values.slice(1)]), JSON.stringify({ expr, kept, rest, values })).toBe(evaluate(expr, values));
    }
  }
  for (const n of Object.values(seen)) expect(n).toBeGreaterThan(20);
});

const [x, bias, residual] = [0, 1, 2].map((i) => arg(i, 'f32')) as [Expr, Expr, Expr];
const sums = (e: Expr): boolean => e.kind === 'arg' || (e.kind === 'binary' && e.op === 'add' && sums(e.a) && sums(e.b));

test('an activation is left, what is added before it is kept', () => {
  const sum = add(add(x, bias), residual), swish = mul(sum, unary('sigmoid', sum));
  expect(splitEpilogue({ expr: swish, inputs: [1, 2] }, sums)).toEqual({ kept: sum, rest: mul(x, unary('sigmoid', x)) });
});

test('nothing is kept where the product goes past every part that fits', () => {
  const expr = mul(add(x, bias), x);
  expect(splitEpilogue({ expr, inputs: [1] }, sums)).toEqual({ kept: undefined, rest: expr });
});

test('parts that differ in a constant that JSON cannot write are not taken for each other', () => {
  for (const [a, b] of [[Infinity, -Infinity], [0, -0], [NaN, Infinity]] as const) {
    const expr = mul(add(x, f32(a)), add(x, f32(b)));
    expect(splitEpilogue({ expr, inputs: [] }, (e) => exprSize(e) === 1)).toEqual({ kept: undefined, rest: expr });
  }
});
