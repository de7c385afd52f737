import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../emit/runtime-files.js';
import { pages } from './pages.js';

test.each([...pages()])('%s is what the tables say (else: npm run docs)', (path, text) => {
  expect(readFileSync(join(packageRoot(), path), 'utf8')).toBe(text);
});
