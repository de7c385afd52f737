/**
 * Builds the sources of a build folder into a shared library, once: the library lies in a cache under the hash of everything that it
 * is made from (sources, headers, weights, flags, compiler version).
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import type { Manifest } from '../../compiler/manifest.js';
import { cacheFolder } from './cache-folder.js';
import { runTool, toolchainFor, type Compiler, type Device, type Ran } from './toolchain.js';

export interface BuildOptions {
  /** C compiler; else $CC, else the first of cc, gcc, clang that answers. (C++, or nvcc, for models for a GPU.) */
  readonly compiler?: string;
  /** Of models for a GPU: where they run. Default: the GPU. */
  readonly device?: Device;
  /** Default: $SPC_CACHE_DIR, else the user's cache folder as the system has it. */
  readonly cacheDir?: string;
  /** Appended to the manifest's flags. */
  readonly flags?: readonly string[];
  /** Further sources to link in, and headers of theirs, by file name. */
  readonly extraSources?: ReadonlyMap<string, string>;
}

const libraryExtension = process.platform === 'win32' ? '.dll' : process.platform === 'darwin' ? '.dylib' : '.so';

/** @returns path of the shared library */
export async function buildLibrary(folder: string, parts: Pick<Manifest, 'name' | 'target' | 'sources' | 'compileFlags' | 'paths'>,
  options: BuildOptions = {}): Promise<string> {
  const { compiler, flags, link } = await toolchainFor(parts, options);
  const root = resolve(folder), extra = options.extraSources ?? new Map<string, string>();
  const weights = join(root, `${parts.name}_weights.bin`);
  const further = [
    ...(existsSync(weights) ? [`-DSPC_WEIGHTS_FILE="${weights.replaceAll('\\', '/')}"`] : []), ...(options.flags ?? []),
  ];
  const hash = createHash('sha256').update(JSON.stringify([compiler, flags([], '.cu'), parts, options.flags ?? [], [...extra], process.platform, process.arch]));
  for (const file of readdirSync(root).sort()) if (/\.(c|cu|h|hpp|inc|bin|S)$/.test(file)) hash.update(file).update(readFileSync(join(root, file)));
  const cache = cacheFolder(options.cacheDir);
  const library = join(cache, `${parts.name.slice(0, 40)}-${hash.digest('hex').slice(0, 24)}${libraryExtension}`);
  if (existsSync(library)) return library;

  const work = mkdtempSync(join(cache, '.build-'));
  try {
    for (const [name, text] of extra) writeFileSync(join(work, name), text);
    const own = parts.sources.filter((s) => s !== 'main.c'), sources = [...own.map((s) => join(root, s)), ...[...extra.keys()].filter((s) => !s.endsWith('.h')).map((s) => join(work, s))];
    const objects = sources.map((_, i) => `${i}.o`);
    const pathOf = (i: number): { readonly compileFlags: readonly string[] } | undefined => parts.paths?.find((p) => p.sources.includes(own[i] ?? ''));
    const flagsOf = (i: number): readonly string[] => [...flags(pathOf(i)?.compileFlags ?? parts.compileFlags, sources[i]!), ...further];
    const compileOne = async (i: number): Promise<void> =>
      check(compiler, await runTool(compiler.command, [...flagsOf(i), '-I', root, '-c', sources[i]!, '-o', objects[i]!], work));
    const queue = sources.map((_, i) => i);
    await Promise.all(Array.from({ length: Math.min(availableParallelism(), sources.length) }, async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) await compileOne(next);
    }));
    check(compiler, await runTool(compiler.command, [...further.filter((f) => f.startsWith('-fsanitize')), '-o', `library${libraryExtension}`, ...objects, ...link], work));
    renameSync(join(work, `library${libraryExtension}`), library);
    return library;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** How much of a compiler's message is worth showing. */
const MESSAGE_LINES = 20;

function check(compiler: Compiler, ran: Ran): void {
  if (ran.ok) return;
  const lines = ran.output.trim().split('\n');
  const shown = lines.slice(0, MESSAGE_LINES).join('\n') + (lines.length > MESSAGE_LINES ? `\n... ${lines.length - MESSAGE_LINES} more lines` : '');
  throw new SpcError([{
    code: 'SPC5502', severity: 'error', message: `the C compiler (${compiler.version}) failed:\n${shown}`,
    hint: 'if it does not know a flag, compile with --cpu=generic or another compiler ($CC); an error in the emitted C is a bug in spc: please report it',
  }]);
}
