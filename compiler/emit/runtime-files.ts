/** The runtime sources that emitted code includes, copied into the output so that it stands alone. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's root: the nearest folder above this file that has a package.json (the same from source and from dist/). */
export function packageRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, 'package.json'))) {
    const parent = dirname(dir);
    if (parent === dir) throw new Error('SPC9005: package.json of spc not found');
    dir = parent;
  }
  return dir;
}

/** Text of a file under runtime/, e.g. `include/spc.h`. */
export const runtimeFile = (path: string): string => readFileSync(join(packageRoot(), 'runtime', path), 'utf8');
