/**
 * npm run bench:cuda -- [--cases text,...] [--rounds n] [--block-ms n] [--gpu-arch sm_80] [--json FILE] [--build-only | --emulate]
 *
 * Single layers on a GPU beside cuBLAS, and cuSPARSELt where it is installed (CPATH and LD_LIBRARY_PATH say where, if not with the toolkit).
 * Results are written to bench/results/cuda-ARCH.json after every row; `npm run bench -- --report` prints them in docs/performance.md. --build-only: needs nvcc, but no GPU. --emulate: tiny layers on the CPU, to see that
 * the program works. Exit codes: as spc's; without a GPU that is SPC5508's. 1: a row failed.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { gpuNames, type GpuName } from '../../backends/cuda/gpu.js';
import { exitCodeFor } from '../../compiler/cli/exit-codes.js';
import { SpcError } from '../../compiler/diagnostics/diagnostic.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { findNvcc, ownGpuArch, toolchainFor, type Compiler } from '../../runtime/node/toolchain.js';
import { cases, tinyCases } from './cases.js';
import { buildCase, buildProgram, runCase, type Tools } from './measure.js';
import { deviceSchema, readResults, resultOf, table, withRow, writeResults, type Device, type Row } from './results.js';

const positive = (text: string): number => {
  if (!(Number(text) > 0)) throw new InvalidArgumentError('write a positive number');
  return Number(text);
};
const archOf = (text: string): GpuName => {
  const arch = gpuNames.find((a) => a === text);
  if (!arch) throw new InvalidArgumentError(`architectures are ${gpuNames.join(', ')}`);
  return arch;
};

const flags = new Command('bench:cuda')
  .option('--cases <text,...>', 'only layers whose names have one of these texts in them', (text: string) => text.split(','))
  .option('--rounds <n>', 'blocks an engine', positive, 25)
  .option('--block-ms <n>', 'milliseconds of a block', positive, 20)
  .option('--gpu-arch <arch>', 'what is compiled for (default: the GPU; sm_80 where nothing is run)', archOf)
  .option('--json <file>', 'file of results (default: bench/results/cuda-ARCH.json)')
  .option('--build-only', 'compile and build everything, run nothing')
  .option('--emulate', 'tiny layers, emulated on the CPU: times say nothing, and are not written')
  .parse().opts<{ readonly cases?: string[]; readonly rounds: number; readonly blockMs: number; readonly gpuArch?: GpuName; readonly json?: string; readonly buildOnly?: boolean; readonly emulate?: boolean }>();

const missing = (code: string, message: string, hint: string): SpcError => new SpcError([{ code, severity: 'error', message, hint }]);

/** @throws SpcError SPC5501, SPC5508 where there is no compiler or no GPU */
async function findTools(folder: string): Promise<Tools> {
  if (flags.emulate) return { compiler: (await toolchainFor({ target: 'cuda' }, { device: 'emulator' })).compiler, device: 'emulator', arch: flags.gpuArch ?? 'sm_80', folder };
  let compiler: Compiler | undefined;
  if (flags.buildOnly) {
    compiler = await findNvcc();
    if (!compiler) throw missing('SPC5501', 'nvcc was not found', 'install the CUDA toolkit, or name nvcc with the environment variable SPC_NVCC');
    return { compiler, device: 'gpu', arch: flags.gpuArch ?? 'sm_80', folder };
  }
  ({ compiler } = await toolchainFor({ target: 'cuda' }, {}));
  return { compiler, device: 'gpu', arch: flags.gpuArch ?? await ownGpuArch(), folder };
}

const messageOf = (error: unknown): string => (error instanceof SpcError ? error.diagnostics.map((d) => `${d.code}: ${d.message}`).join('; ') : error instanceof Error ? error.message : String(error));

async function main(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'spc-bench-cuda-'));
  try {
    const tools = await findTools(folder), wanted = (flags.emulate ? tinyCases : cases).filter((c) => !flags.cases || flags.cases.some((text) => c.name.includes(text)));
    const object = await buildProgram(tools), { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
    const file = flags.json ?? join(packageRoot(), 'bench', 'results', `cuda-${tools.arch}.json`);
    let rows: readonly Row[] = [], device: Device | undefined;
    for (const c of wanted) {
      let row: Row = { name: c.name, kernels: [], result: { status: 'failed', problem: 'not run' } };
      try {
        const built = await buildCase(c, object, tools);
        row = { ...row, kernels: [...built.kernels] };
        console.error(`${c.name}: ${built.kernels.join(' + ')}`);
        if (flags.buildOnly) continue;
        const lines = await runCase(c, built, flags);
        device ??= deviceSchema.safeParse(lines[0]).data;
        row = { ...row, result: resultOf(lines) };
      } catch (error) {
        row = { ...row, result: { status: 'failed', problem: messageOf(error) } };
        console.error(`${c.name}: ${messageOf(error)}`);
      }
      rows = withRow(rows, row);
      if (device && !flags.emulate) {
        const former = readResults(file);
        writeResults(file, { schemaVersion: 1, spc: version, compiler: tools.compiler.version, gpuArch: tools.arch, ...device, rows: withRow(former?.device === device.device ? former.rows : [], row) });
      }
    }
    if (flags.emulate) console.log('Emulated on the CPU: the times say nothing of any GPU.\n');
    if (rows.length > 0) console.log(table(rows, device?.capability ?? ''));
    if (flags.buildOnly) console.log(`${wanted.length - rows.length} of ${wanted.length} layers built for ${tools.arch}; nothing was run, so there are no times`);
    return rows.some((r) => r.result.status === 'failed') ? 1 : 0;
  } catch (error) {
    if (!(error instanceof SpcError)) throw error;
    for (const d of error.diagnostics) console.error(`error ${d.code}: ${d.message}${d.hint ? `\n  ${d.hint}` : ''}`);
    console.error('Nothing was measured. `--build-only` builds everything with nvcc alone; `--emulate` runs tiny layers on the CPU.');
    return exitCodeFor(error.diagnostics);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main();
