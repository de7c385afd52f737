/** Private Python environments, made on first use: peers of benchmarks, NVIDIA's compiler. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { hasTool, runProcess } from './processes.js';

/** The interpreter of an environment, or why there is none. */
export type Environment = { readonly python: string } | { readonly absent: string };

/** The pinned wheels are for 3.11; where that has another name, pip says what it lacks. */
const interpreters = ['python3.11', 'python3'];
const INSTALL_TIMEOUT_MS = 600_000;

/**
 * The environment `home`: made where it is not there or what it is to hold has changed since.
 * @param requirements path of a file for pip, every package pinned
 * @param onInstall told before anything is installed
 */
export async function environmentOf(home: string, requirements: string, onInstall: () => void): Promise<Environment> {
  const wanted = createHash('sha256').update(readFileSync(requirements)).digest('hex');
  const python = join(home, 'bin', 'python'), mark = join(home, 'requirements.sha256');
  if (existsSync(mark) && readFileSync(mark, 'utf8') === wanted) return { python };
  const interpreter = interpreters.find(hasTool);
  if (interpreter === undefined) return { absent: 'no Python 3 here' };
  onInstall();
  rmSync(home, { recursive: true, force: true });
  mkdirSync(dirname(home), { recursive: true });
  for (const [command, args] of [[interpreter, ['-m', 'venv', home]], [python, ['-m', 'pip', 'install', '--quiet', '--no-deps', '--only-binary', ':all:', '-r', requirements]]] as const) {
    const r = await runProcess(command, args, { timeoutMs: INSTALL_TIMEOUT_MS });
    if (r.code !== 0) return { absent: `cannot be installed: ${/^ERROR: .*$/m.exec(r.stderr)?.[0] ?? r.signal ?? r.stderr.trim().split('\n').at(-1)}` };
  }
  writeFileSync(mark, wanted);
  return { python };
}
