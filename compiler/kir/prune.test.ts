import { expect, test } from 'vitest';
import { add, forLoop, index, letStmt, load, ref, store, varStmt } from './build.js';
import { withoutUnread } from './prune.js';

test('removes what only unread locals read, tables included, and nothing else', () => {
  const table = { kind: 'array', name: 't', dtype: 'i32', size: 2, init: [0, 1] } as const;
  const working = { kind: 'array', name: 'w', dtype: 'f32', size: 2 } as const;
  const kept = [letStmt('b', add(ref('i'), 1)), varStmt('v', index(0)), store('y', ref('b'), load('x', 'f32', ref('i')))];
  const body = [table, working, forLoop('i', 4, [letStmt('c', load('t', 'i32', ref('i'))), letStmt('d', ref('c', 'i32')), ...kept])];
  expect(withoutUnread(body)).toEqual([working, forLoop('i', 4, kept)]);
});

test('leaves statements alone where everything is read', () => {
  const body = [letStmt('a', index(3)), store('y', ref('a'), load('x', 'f32', 0))];
  expect(withoutUnread(body)).toBe(body);
});
