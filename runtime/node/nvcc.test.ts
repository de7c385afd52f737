/** nvcc is found where it is named, in PATH, or in the private folder; with scripts in its place. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { nvccCommands, nvccIn, nvccPackages, privateNvccFolder } from './nvcc.js';
import { findNvcc } from './toolchain.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spc-nvcc-'));
  vi.stubEnv('SPC_CACHE_DIR', folder);
  vi.stubEnv('SPC_NVCC', '');
  vi.stubEnv('PATH', folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

function fakeNvcc(path: string, release: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho 'nvcc: NVIDIA (R) Cuda compiler driver'\necho 'Cuda compilation tools, release ${release}, V${release}.1'\n`);
  chmodSync(path, 0o755);
  return path;
}
const wheel = (environment: string): string => join(environment, 'lib', 'python3.11', 'site-packages', 'nvidia', 'cu13', 'bin', 'nvcc');

test('nothing there: PATH alone is tried', () => {
  expect([nvccIn(privateNvccFolder()), nvccCommands()]).toEqual([undefined, ['nvcc']]);
});

test('the private folder comes after PATH, a name before both and alone', async () => {
  const own = fakeNvcc(wheel(privateNvccFolder()), '13.5');
  mkdirSync(join(folder, 'nvcc', 'lib', 'python3.12', 'site-packages', 'nvidia', 'cu13', 'include'), { recursive: true });
  expect(nvccCommands()).toEqual(['nvcc', own]);
  expect(await findNvcc()).toEqual({ command: own, version: 'Cuda compilation tools, release 13.5, V13.5.1' });
  const path = join(folder, 'path');
  fakeNvcc(join(path, 'nvcc'), '12.9');
  vi.stubEnv('PATH', path);
  expect((await findNvcc())?.version).toContain('12.9');
  const named = fakeNvcc(join(folder, 'elsewhere', 'nvcc'), '12.5');
  vi.stubEnv('SPC_NVCC', named);
  expect((await findNvcc())?.command).toBe(named);
  vi.stubEnv('SPC_NVCC', join(folder, 'absent'));
  expect(await findNvcc()).toBeUndefined();
});

test('what `npm run nvcc` installs are the packages that spc doctor names, pinned', () => {
  const lines = readFileSync(join(packageRoot(), 'test', 'targets', 'nvcc.txt'), 'utf8').trim().split('\n');
  expect(lines.map((l) => /^([\w-]+)==[\d.]+$/.exec(l)?.[1]).sort()).toEqual([...nvccPackages].sort());
});
