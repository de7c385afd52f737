/** Private Python environments of the peers, made on first use. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { hasTool, runProcess } from '../../test/support/processes.js';
import type { PythonPeerName } from './index.js';

/** The interpreter of a peer's environment, or why there is none. */
export type Environment = { readonly python: string } | { readonly absent: string };

/** The pinned wheels are for 3.11; where that has another name, pip says what it lacks. */
const interpreters = ['python3.11', 'python3'];
const INSTALL_TIMEOUT_MS = 600_000;

/**
 * The environment of `peer` in `folder`: made where it is not there or its requirements have changed since.
 * @param onInstall told before anything is installed
 */
export async function environmentOf(peer: PythonPeerName, folder: string, onInstall: () => void): Promise<Environment> {
  const requirements = join(packageRoot(), 'bench', 'peers', `${peer}.txt`), wanted = createHash('sha256').update(readFileSync(requirements)).digest('hex');
  const home = join(folder, peer), python = join(home, 'bin', 'python'), mark = join(home, 'requirements.sha256');
  if (existsSync(mark) && readFileSync(mark, 'utf8') === wanted) return { python };
  const interpreter = interpreters.find(hasTool);
  if (interpreter === undefined) return { absent: 'no Python 3 here' };
  onInstall();
  rmSync(home, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [command, args] of [[interpreter, ['-m', 'venv', home]], [python, ['-m', 'pip', 'install', '--quiet', '--no-deps', '--only-binary', ':all:', '-r', requirements]]] as const) {
    const r = await runProcess(command, args, { timeoutMs: INSTALL_TIMEOUT_MS });
    if (r.code !== 0) return { absent: `cannot be installed: ${/^ERROR: .*$/m.exec(r.stderr)?.[0] ?? r.signal ?? r.stderr.trim().split('\n').at(-1)}` };
  }
  writeFileSync(mark, wanted);
  return { python };
}
