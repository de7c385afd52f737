/**
 * npm run bench -- [--goals] [--networks a,b] [--patterns p,q] [--batch 1,16] [--peers all] [--quick] [--resume] [--json FILE] [--cpu N]
 *
 * Sparse networks beside ONNX Runtime and spc's own dense code. Results are written to bench/results after every row, and the page
 * docs/performance.md is printed from them. Times mean something on a quiet machine only.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { nativeIsa } from '../backends/cpu/target.js';
import { gpuNames } from '../backends/cuda/gpu.js';
import { findOnnxRuntime } from '../compiler/cli/onnxruntime.js';
import { allowedCpuNumbers } from '../compiler/cli/timing.js';
import { packageRoot } from '../compiler/emit/runtime-files.js';
import { findCompiler } from '../runtime/node/toolchain.js';
import { failureOf, hasTool, runProcess } from '../test/support/processes.js';
import { gpuSection, readResults as readGpuResults } from './cuda/results.js';
import { environmentOf, type Environment } from '../test/support/python-environment.js';
import { buildPeaks } from './peaks.js';
import { isPythonPeer, pythonPeers, requirementsOf, type PythonPeerName } from './peers/index.js';
import { absence, allRows, goalRows, quickRows } from './plan.js';
import { dotPlot } from './dot-plot.js';
import { svgPlot } from './plot.js';
import { peerPlot, plots } from './plots.js';
import { ownPeers, peerNames, publishable, readResults, rowResultSchema, sameRow, SCHEMA_VERSION, rowName, threadsOf, withRow, writeResults, type PeerName, type Results, type Row, type RowKey, type RowResult } from './results.js';
import type { RowRequest } from './row.js';
import { goalsTable, peerLines, peerSummary, performancePage, rowCells, rowHead } from './tables.js';

const list = (text: string): string[] => text.split(',').filter((s) => s !== '');
const positive = (text: string): number => {
  if (!(Number(text) > 0)) throw new InvalidArgumentError('write a positive number');
  return Number(text);
};
const peersOf = (text: string): readonly PeerName[] => (text === 'all' ? peerNames : list(text).map((name) => {
  const peer = peerNames.find((p) => p === name);
  if (!peer) throw new InvalidArgumentError(`peers are ${peerNames.join(', ')}`);
  return peer;
}));

const flags = new Command('bench')
  .option('--goals', 'only the rows that goals are set for, and goal and measured value side by side')
  .option('--quick', 'two small networks and few rounds, to see that it works')
  .option('--networks <a,b>', 'only these networks', list)
  .option('--patterns <p,q>', 'only these patterns, as `spc sparsify` has them', list)
  .option('--batch <n,m>', 'only these batch sizes', list)
  .option('--peers <a,b>', `what to compare with: ${peerNames.join(', ')} (default: ${ownPeers.join(', ')}), or \`all\``, peersOf, ownPeers)
  .option('--peers-folder <folder>', 'where the Python environments of peers are kept', join(packageRoot(), '.cache', 'peers'))
  .option('--threads <n,m>', 'only rows of these numbers of threads', list)
  .option('--rounds <n>', 'blocks an engine', positive)
  .option('--cpu <n>', 'CPU to pin to (default: the last one; `none`: do not pin); rows of several threads take others too')
  .option('--json <file>', 'file of results (default: bench/results/<instruction set>.json; none with --quick)')
  .option('--resume', 'keep rows that the file of results has')
  .option('--report', 'measure nothing, print the page from the file of results')
  .parse().opts<{
    readonly goals?: boolean; readonly quick?: boolean; readonly networks?: string[]; readonly patterns?: string[]; readonly batch?: string[]; readonly peers: readonly PeerName[]; readonly peersFolder: string; readonly threads?: string[];
    readonly rounds?: number; readonly cpu?: string; readonly json?: string; readonly resume?: boolean; readonly report?: boolean;
  }>();

/** Longer than any row takes on a working machine. */
const ROW_TIMEOUT_MS = 900_000;

/** The row in a process of its own; how that ended where it left no result. */
async function measureApart(request: RowRequest): Promise<RowResult> {
  const file = join(request.options.workFolder, 'row.json');
  rmSync(file, { force: true });
  const child = await runProcess(process.execPath, ['--max-old-space-size=12288', '--import', 'tsx', join(packageRoot(), 'bench', 'row.ts'), JSON.stringify(request), file], { cwd: packageRoot(), timeoutMs: ROW_TIMEOUT_MS });
  const failure = failureOf('its process', child);
  if (failure !== undefined) return { status: 'failed', problem: failure };
  return rowResultSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
}

async function environments(peers: readonly PythonPeerName[]): Promise<Partial<Record<PythonPeerName, Environment>>> {
  const made: Partial<Record<PythonPeerName, Environment>> = {};
  for (const peer of peers) made[peer] = await environmentOf(join(flags.peersFolder, peer), requirementsOf(peer), () => console.error(`installing ${pythonPeers[peer].title} (${pythonPeers[peer].licence}) in ${flags.peersFolder}`));
  return made;
}

/** Writes docs/performance.md and its plots. */
function writePage(results: Results): void {
  const drawn = plots(results);
  for (const { file, plot } of drawn) writeFileSync(join(packageRoot(), 'docs', file), svgPlot(plot));
  const engines = peerPlot(results);
  if (engines) writeFileSync(join(packageRoot(), 'docs', engines.file), dotPlot(engines.plot));
  const measuredGpus = gpuNames.flatMap((arch) => readGpuResults(join(packageRoot(), 'bench', 'results', `cuda-${arch}.json`)) ?? []);
  writeFileSync(join(packageRoot(), 'docs', 'performance.md'), performancePage(results, drawn.map((d) => d.file), engines?.file, gpuSection(measuredGpus)));
}

const wanted = (row: RowKey): boolean => (!flags.networks || flags.networks.includes(row.network)) && (!flags.patterns || flags.patterns.includes(row.pattern)) && (!flags.batch || flags.batch.includes(String(row.batch)))
  && (!flags.threads || flags.threads.includes(String(threadsOf(row))));

/** Rows of the plan that the flags leave; where a network or pattern is named that the plan has not together, they are crossed. */
function rowsWanted(): readonly RowKey[] {
  const planned = (flags.quick ? quickRows : flags.goals ? goalRows : allRows).filter(wanted);
  if (planned.length > 0 || !flags.networks || !flags.patterns) return planned;
  const batches = (flags.batch ?? ['1']).map(Number);
  return flags.networks.flatMap((network) => batches.flatMap((batch) => flags.patterns!.map((pattern) => ({ network, batch, pattern }))));
}

async function main(): Promise<number> {
  const onnxruntime = findOnnxRuntime(), compiler = await findCompiler(), isa = nativeIsa();
  if (!onnxruntime || !compiler) {
    console.error(onnxruntime ? 'no C compiler found' : 'onnxruntime-node is not installed: there is nothing to compare with');
    return 2;
  }
  const ownFile = join(packageRoot(), 'bench', 'results', `${isa.name}.json`), file = flags.json ?? (flags.quick ? undefined : ownFile);
  const former = file === undefined ? undefined : readResults(file);
  if (flags.report) {
    if (!former) throw new Error(`${file ?? ownFile} is not there: nothing has been measured`);
    writePage(former);
    return 0;
  }
  const rows = rowsWanted();
  if (rows.length === 0) {
    console.error('no row has such a network, pattern and batch');
    return 2;
  }
  const whole = rows.length === allRows.length, allowed = hasTool('taskset') && flags.cpu !== 'none' ? allowedCpuNumbers().reverse() : [];
  // the last CPU first: the first ones serve interrupts
  const pinnedTo = [...new Set([...(flags.cpu !== undefined && allowed.length ? [flags.cpu] : []), ...allowed])];
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
  // with what may be told but not written
  const told: Row[] = [];
  let results: Results = {
    schemaVersion: SCHEMA_VERSION, spc: version, isa: isa.name, machine: cpus()[0]?.model.trim() ?? 'unknown CPU', onnxruntime: onnxruntime.version, compiler: compiler.version, pinnedCpu: pinnedTo[0] ?? null,
    // a whole run begins anew, a part replaces its rows
    rows: former && (flags.resume || !whole) ? former.rows : [],
  };
  const workFolder = mkdtempSync(join(tmpdir(), 'spc-bench-'));
  try {
    const options = {
      workFolder, peaksProgram: buildPeaks(workFolder, compiler.command), peers: flags.peers, rounds: flags.rounds ?? (flags.quick ? 5 : 11), blockSeconds: flags.quick ? 0.01 : 0.03,
      environments: await environments(flags.peers.filter(isPythonPeer)), ...(pinnedTo.length ? { cpus: pinnedTo } : {}),
    };
    console.log(`| ${rowHead.join(' | ')} |`);
    for (const key of rows) {
      const missing = absence(key, pinnedTo.length || cpus().length);
      if (missing !== undefined) {
        console.log(`| ${rowName(key)} | skipped: ${missing} |`);
        continue;
      }
      if (flags.resume && results.rows.some((r) => sameRow(r, key) && r.result.status === 'measured')) continue;
      const row: Row = { ...key, result: await measureApart({ key, options }) };
      console.log([`| ${rowCells(row).join(' | ')} |`, ...peerLines(row)].join('\n'));
      told.push(row);
      results = withRow(results, publishable(row));
      if (file !== undefined) writeResults(file, results);
    }
  } finally {
    rmSync(workFolder, { recursive: true, force: true });
  }
  if (file === ownFile) writePage(results);
  if (flags.goals) console.log(`\n${goalsTable(results, wanted)}`);
  for (const line of peerSummary(told)) console.log(`\n${line}`);
  return results.rows.some((r) => r.result.status === 'failed' && rows.some((k) => sameRow(k, r))) ? 1 : 0;
}

process.exitCode = await main();
