import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { codes } from './codes.js';

const root = new URL('../../', import.meta.url).pathname;

test('the table has every code that the sources use, in order, and no other', () => {
  const sources = ['compiler', 'passes', 'backends', 'runtime'].flatMap((folder) =>
    (readdirSync(join(root, folder), { recursive: true }) as string[]).filter((f) => f.endsWith('.ts') && !f.endsWith('.test.ts') && !f.endsWith('codes.ts')).map((f) => readFileSync(join(root, folder, f), 'utf8')));
  const used = new Set(sources.flatMap((text) => text.match(/\bSPC\d{4}\b/g) ?? []));
  expect(Object.keys(codes)).toEqual([...used].sort());
});
