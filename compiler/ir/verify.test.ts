import { expect, test } from 'vitest';
import { parseGraph } from './parse.js';
import { verifyGraph } from './verify.js';

const head = 'graph "g"\ninput %0 "x" f32[2,3]\ninput %1 "y" f32[2,3]\n';
const node = (text: string): string => `${head}${text}\noutput "z" %2\n`;

test('a well-formed graph has no problems', () => {
  expect(verifyGraph(parseGraph(node('n3: %2 "z" f32[2,3] = elementwise(%0, %1) {expr: `add(a0:f32, a1:f32)`}')))).toEqual([]);
});

test.each([
  ['an operand that comes later', 'n3: %2 "z" f32[2,3] = elementwise(%4) {expr: `a0:f32`}\nn5: %4 "w" f32[2,3] = elementwise(%0) {expr: `a0:f32`}', 'SPC9010', /before it is defined/],
  ['an operand that does not exist', 'n3: %2 "z" f32[2,3] = elementwise(%9) {expr: `a0:f32`}', 'SPC9010', /%9/],
  ['a wrong shape', 'n3: %2 "z" f32[3,2] = elementwise(%0) {expr: `a0:f32`}', 'SPC9013', /declared f32\[3,2\], inferred f32\[2,3\]/],
  ['a wrong element type', 'n3: %2 "z" f32[2,3] = elementwise(%0) {expr: `cast<i32>(a0:f32)`}', 'SPC9013', /inferred i32/],
  ['operands that do not fit', 'n3: %2 "z" f32[2,2] = matmul(%0, %1) {transA: false, transB: false, out: "f32"}', 'SPC9013', /inner dimensions/],
  ['an argument of the wrong type', 'n3: %2 "z" f32[2,3] = elementwise(%0) {expr: `cast<f32>(a0:i32)`}', 'SPC9014', /as i32, it is f32/],
  ['an argument too many', 'n3: %2 "z" f32[2,3] = elementwise(%0) {expr: `add(a0:f32, a1:f32)`}', 'SPC9014', /argument 1 of 1/],
  ['an epilogue operand that is too large', 'n3: %2 "z" f32[2] = reduce(%0) {op: "sum", axes: [1], keepdims: false} epilogue(%1) `add(a0:f32, a1:f32)`', 'SPC9014', /does not broadcast/],
  ['an epilogue where there can be none', 'n3: %2 "z" f32[3,2] = reshape(%0) {shape: [3, 2]} epilogue() `max(a0:f32, 0:f32)`', 'SPC9014', /cannot have an epilogue/],
  ['two definitions', 'n3: %2 "z" f32[2,3] = elementwise(%0) {expr: `a0:f32`}\nn4: %2 "z" f32[2,3] = elementwise(%1) {expr: `a0:f32`}', 'SPC9011', /again/],
  ['one name for two values', 'n3: %2 "x" f32[2,3] = elementwise(%0) {expr: `a0:f32`}', 'SPC9011', /both called 'x'/],
  ['an output that nothing computes', 'n3: %4 "w" f32[2,3] = elementwise(%0) {expr: `a0:f32`}', 'SPC9010', /never computed/],
])('finds %s', (_, text, code, message) => {
  const problems = verifyGraph(parseGraph(node(text)));
  expect(problems.map((p) => p.code)).toContain(code);
  expect(problems.map((p) => p.message).join('\n')).toMatch(message);
});

test('finds a constant that is not what its type says', () => {
  const graph = parseGraph(`${head}const %2 "z" f32[2] = [1, 2]\noutput "z" %2\n`);
  const values = new Map(graph.values);
  values.set(2, { ...values.get(2)!, type: { dtype: 'f32', shape: [3] } });
  expect(verifyGraph({ ...graph, values })[0]).toMatchObject({ code: 'SPC9012' });
});
