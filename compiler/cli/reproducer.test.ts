import { tmpdir } from 'node:os';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import { writeReproducer } from './reproducer.js';

test('a bug leaves a file with the stack, its cause, and the graph where there is one', () => {
  const error = Object.assign(new Error('outer', { cause: new Error('inner') }), { reproducer: { text: '// pipeline: a,b\ngraph {}' } });
  const path = writeReproducer(error, '1.2.3')!;
  const text = readFileSync(path, 'utf8');
  rmSync(path);
  expect(path.startsWith(tmpdir())).toBe(true);
  expect(text).toMatch(/^\/\/ spc 1\.2\.3, node[\s\S]*outer[\s\S]*caused by Error: inner[\s\S]*\n\/\/ pipeline: a,b\ngraph \{\}\n$/);
  // Comments only above the graph, so that the file can be read back.
  expect(text.split('\n').filter((l) => !l.startsWith('//') && l !== '')).toEqual(['graph {}']);
  expect(existsSync(path)).toBe(false);
});
