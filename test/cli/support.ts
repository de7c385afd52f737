/** Runs the command line as its user does: as a process of its own. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { tensorOf } from '../../compiler/ir/tensor.js';
import { node, onnxModel, type ModelSpec } from '../support/onnx-builder.js';

const root = packageRoot();
const newest = (folder: string): number => Math.max(...(readdirSync(join(root, folder), { recursive: true }) as string[])
  .filter((f) => f.endsWith('.ts')).map((f) => statSync(join(root, folder, f)).mtimeMs));
const built = join(root, 'dist', 'compiler', 'cli', 'main.js');
/** What `npm run build` made starts much faster than the sources do; but only where it is not older than them. */
const isFresh = existsSync(built) && statSync(built).mtimeMs > Math.max(...['compiler', 'passes', 'backends', 'runtime'].map(newest));
const command = isFresh ? [built] : ['--no-warnings', '--import', import.meta.resolve('tsx/esm'), join(root, 'compiler', 'cli', 'main.ts')];

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function spc(args: readonly string[], options: { readonly cwd?: string; readonly input?: Uint8Array; readonly env?: Readonly<Record<string, string>> } = {}): Ended {
  const r = spawnSync(process.execPath, [...command, ...args], {
    encoding: 'buffer', cwd: options.cwd ?? tmpdir(), timeout: 110_000, ...(options.input ? { input: options.input } : {}), env: { ...process.env, ...options.env },
  });
  return { code: r.status, stdout: r.stdout.toString(), stderr: r.stderr.toString() };
}

export interface Workspace {
  readonly dir: string;
  /** Writes a file, returns its path. */
  file(name: string, content: Uint8Array | string): string;
  path(name: string): string;
  remove(): void;
}

export function workspace(): Workspace {
  const dir = mkdtempSync(join(tmpdir(), 'spc-cli-'));
  const path = (name: string): string => join(dir, name);
  return { dir, path, file: (name, content) => { writeFileSync(path(name), content); return path(name); }, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

/** y = relu(x W + b) on 3 -> 2, with one negative sum; s = softmax(y). */
export const tinySpec: ModelSpec = {
  inputs: { 'in/x': { dtype: 'f32', shape: ['batch', 3] } },
  nodes: [
    node('MatMul', ['in/x', 'W'], ['p'], {}, { name: 'product' }), node('Add', ['p', 'b'], ['q'], {}, { name: 'bias' }),
    node('Relu', ['q'], ['y'], {}, { name: 'clamp' }), node('Softmax', ['y'], ['s'], { axis: 1 }, { name: 'scores' }),
  ],
  outputs: { y: { dtype: 'f32' }, s: { dtype: 'f32' } },
  initializers: { W: tensorOf('f32', [3, 2], [1, -1, 0, 2.5, 0, 0]), b: tensorOf('f32', [2], [0.5, -4]) },
};
export const tinyModel = (): Uint8Array => onnxModel(tinySpec);
/** For x = [2, 1, 9]: [2 + 0.5, max(0, -2 + 2.5 - 4)] */
export const tinyInput = [2, 1, 9], tinyY = [2.5, 0];
