/** The folder for what is made once and kept: libraries of models, measured times. */
import { mkdirSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

/** $SPC_CACHE_DIR, else the user's cache folder as the system has it. Need not exist. */
export function defaultCacheDir(): string {
  const env = process.env;
  if (env['SPC_CACHE_DIR']) return env['SPC_CACHE_DIR'];
  if (process.platform === 'win32') return join(env['LOCALAPPDATA'] ?? join(homedir(), 'AppData', 'Local'), 'spc');
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'spc');
  return join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'spc');
}

/** The folder, made where it does not exist. @param wanted instead of the system's */
export function cacheFolder(wanted = defaultCacheDir()): string {
  try {
    mkdirSync(wanted, { recursive: true });
    return wanted;
  } catch {
    // A read-only home: the library is then built anew for every user session, nothing else changes.
    const fallback = join(tmpdir(), `spc-${process.getuid?.() ?? 'user'}`);
    mkdirSync(fallback, { recursive: true });
    return fallback;
  }
}
