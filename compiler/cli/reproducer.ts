/** What is needed to look into a bug of spc without asking its user again. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Failures of passes carry the graph that they failed on (passes/manager.ts). */
interface WithReproducer {
  readonly reproducer: { readonly text: string };
}
const hasReproducer = (error: unknown): error is WithReproducer =>
  typeof error === 'object' && error !== null && typeof (error as Partial<WithReproducer>).reproducer?.text === 'string';

/** @returns the file's path, or undefined where it cannot be written */
export function writeReproducer(error: unknown, version: string): string | undefined {
  const stack = error instanceof Error ? [error.stack, error.cause instanceof Error ? `caused by ${error.cause.stack}` : ''].join('\n') : String(error);
  const text = [
    `// spc ${version}, node ${process.version}, ${process.platform}-${process.arch}`,
    `// command: spc ${process.argv.slice(2).map((a) => JSON.stringify(a)).join(' ')}`,
    ...stack.trimEnd().split('\n').map((l) => `// ${l}`),
    hasReproducer(error) ? error.reproducer.text : '',
  ].join('\n');
  const path = join(tmpdir(), `spc-bug-${createHash('sha256').update(text).digest('hex').slice(0, 10)}.txt`);
  try {
    writeFileSync(path, `${text}\n`);
    return path;
  } catch {
    return undefined;
  }
}
