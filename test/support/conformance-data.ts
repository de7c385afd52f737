/**
 * Finds and reads ONNX's own backend tests: folders with a model and, for each data set, its inputs and expected outputs as
 * serialised tensors.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { decodeTensorProto } from '../../compiler/onnx/tensor.js';
import type { Tensor } from '../../compiler/ir/tensor.js';

export const conformanceSuites = ['node', 'simple', 'pytorch-converted', 'pytorch-operator'] as const;
export type ConformanceSuite = (typeof conformanceSuites)[number];

export interface ConformanceCase {
  readonly suite: ConformanceSuite;
  readonly name: string;
  /** Holds model.onnx and test_data_set_0, test_data_set_1, ... */
  readonly folder: string;
}

/** A file of a data set: a tensor, or why it cannot be one (sequences, element types that spc does not have). */
export type DataItem = { readonly tensor: Tensor } | { readonly problem: string };

export interface DataSet {
  readonly inputs: readonly DataItem[];
  readonly outputs: readonly DataItem[];
}

/** Where Debian's libonnx-testdata puts the data. */
const debianFolder = '/usr/share/libonnx-testdata/data';

/**
 * The folder with the suites, or undefined where the data is absent. Asked for in this order: the folder or .tar.gz archive that
 * SPC_CONFORMANCE_DATA names, an archive in ../shared/conformance, Debian's libonnx-testdata. An archive is unpacked once,
 * under the system's folder for temporary files.
 */
export function conformanceRoot(): string | undefined {
  const named = process.env['SPC_CONFORMANCE_DATA'];
  if (named !== undefined) return rootOf(resolve(named)) ?? fail(`SPC_CONFORMANCE_DATA names '${named}', which holds no test suites`);
  const shared = resolve(import.meta.dirname, '../../../shared/conformance');
  const archive = existsSync(shared) ? readdirSync(shared).filter((f) => f.endsWith('.tar.gz')).sort().at(-1) : undefined;
  return (archive && rootOf(join(shared, archive))) ?? rootOf(debianFolder);
}

function rootOf(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  return suiteFolder(statSync(path).isDirectory() ? path : unpacked(path), 6);
}

/** The folder at or below `folder` in which the suite `node` lies. */
function suiteFolder(folder: string, depth: number): string | undefined {
  if (existsSync(join(folder, 'node'))) return folder;
  if (depth === 0) return undefined;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const found = entry.isDirectory() ? suiteFolder(join(folder, entry.name), depth - 1) : undefined;
    if (found) return found;
  }
  return undefined;
}

function unpacked(archive: string): string {
  const { size, mtimeMs } = statSync(archive);
  const target = join(tmpdir(), `spc-conformance-${createHash('sha256').update(`${archive}\0${size}\0${mtimeMs}`).digest('hex').slice(0, 12)}`);
  if (existsSync(target)) return target;
  mkdirSync(tmpdir(), { recursive: true });
  const work = mkdtempSync(`${target}-`);
  const run = spawnSync('tar', ['-xzf', archive, '-C', work]);
  if (run.status !== 0) return fail(`tar could not unpack ${archive}: ${run.error?.message ?? run.stderr.toString()}`);
  try {
    renameSync(work, target);
  } catch (e) {
    // another process was faster
    rmSync(work, { recursive: true, force: true });
    if (!existsSync(target)) throw e;
  }
  return target;
}

function fail(message: string): never {
  throw new Error(message);
}

/** The cases of some suites by name. */
export function conformanceCases(root: string, suites: readonly ConformanceSuite[] = conformanceSuites): ConformanceCase[] {
  return suites.flatMap((suite) => {
    const folder = join(root, suite);
    if (!existsSync(folder)) return [];
    return readdirSync(folder).sort().filter((name) => existsSync(join(folder, name, 'model.onnx'))).map((name) => ({ suite, name, folder: join(folder, name) }));
  });
}

export const modelPath = (c: ConformanceCase): string => join(c.folder, 'model.onnx');

/** All data sets of a case, in order. */
export function dataSets(c: ConformanceCase): DataSet[] {
  const sets = readdirSync(c.folder).filter((f) => f.startsWith('test_data_set_')).sort();
  return sets.map((set) => ({ inputs: numbered(join(c.folder, set), 'input'), outputs: numbered(join(c.folder, set), 'output') }));
}

function numbered(folder: string, kind: 'input' | 'output'): DataItem[] {
  const items: DataItem[] = [];
  for (let i = 0; existsSync(join(folder, `${kind}_${i}.pb`)); i++) items.push(readItem(join(folder, `${kind}_${i}.pb`)));
  return items;
}

function readItem(file: string): DataItem {
  try {
    return { tensor: decodeTensorProto(readFileSync(file)) };
  } catch (e) {
    return { problem: e instanceof Error ? e.message : String(e) };
  }
}
