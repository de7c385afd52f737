import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { writeFiles } from './driver.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-driver-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('files that did not change are not written again; other people\'s files stay', () => {
  const dir = join(folder, 'again');
  writeFiles(new Map<string, string | Uint8Array>([['a.c', 'one'], ['b/c.bin', Uint8Array.of(1, 2)]]), dir);
  const before = statSync(join(dir, 'a.c'));
  writeFiles(new Map<string, string | Uint8Array>([['a.c', 'one'], ['b/c.bin', Uint8Array.of(3)]]), dir);
  expect(statSync(join(dir, 'a.c'))).toMatchObject({ ino: before.ino, mtimeMs: before.mtimeMs });
  expect([...readFileSync(join(dir, 'b/c.bin'))]).toEqual([3]);
  writeFiles(new Map([['d.c', '']]), dir);
  expect(readdirSync(dir).sort()).toEqual(['a.c', 'b', 'd.c']);
});

test('what cannot be written leaves nothing behind', () => {
  const dir = join(folder, 'broken');
  expect(() => writeFiles(new Map([['a', 'a file'], ['a/b', 'in a file']]), dir)).toThrow(/EEXIST|ENOTDIR/);
  expect(readdirSync(folder)).not.toContain('broken');
  expect(readdirSync(folder).filter((f) => f.startsWith('.spc-'))).toEqual([]);
});

test('an interruption while files are written waits until the folder is complete', () => {
  const dir = join(folder, 'interrupted');
  const script = `import { writeFiles } from ${JSON.stringify(new URL('./driver.ts', import.meta.url).href)};
    const files = new Map([['a', '1'], ['b', '2']]);
    files[Symbol.iterator] = function* () { yield ['a', '1']; process.kill(process.pid, 'SIGINT'); yield ['b', '2']; };
    writeFiles(files, ${JSON.stringify(dir)});`;
  spawnSync(process.execPath, ['--import', import.meta.resolve('tsx/esm'), '--input-type=module', '-e', script]);
  expect(readdirSync(dir).sort()).toEqual(['a', 'b']);
  expect(readdirSync(folder).filter((f) => f.startsWith('.spc-'))).toEqual([]);
});
