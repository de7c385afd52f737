/** The benchmark on GPUs: its program against the emulation, its numbers, its table. No time is looked at. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { f16ToNumber, numberToF16 } from '../../compiler/ir/tensor.js';
import { parsePattern } from '../../compiler/sparsity/index.js';
import { findCxx, findNvcc } from '../../runtime/node/toolchain.js';
import { hasGxx, hasNvcc } from '../../test/targets/support.js';
import { hasTool } from '../../test/support/processes.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { spawnSync } from 'node:child_process';
import { cases, isCold, productOf, tinyCases, type Case } from './cases.js';
import { layerOf } from './layer.js';
import { buildCase, buildProgram, runCase, type Tools } from './measure.js';
import { generationOf, gpuSection, lowestRatio, readResults, resultOf, tableCells, withRow, writeResults, type Line, type Results, type Row } from './results.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-bench-cuda-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('every case has a name of its own, a pattern that there is, and goals that can be met', () => {
  expect(new Set(cases.map((c) => c.name)).size).toBe(cases.length);
  for (const c of cases) {
    if (c.pattern !== 'dense') parsePattern(c.pattern);
    for (const { must, stretch } of Object.values(c.goals ?? {})) expect(stretch >= must && must >= 1).toBe(true);
  }
  expect(cases.filter(isCold).map((c) => productOf(c.shape).columns)).toEqual([1, 1, 8, 8, 16, 16, 1, 8, 1, 8, 1, 8]);
});

test('weights are on the pattern, and the windows of a convolution are those of its images', () => {
  const c = tinyCases.find((t) => t.shape.kind === 'conv')!, { dense, input, columns } = layerOf(c), { depth } = productOf(c.shape);
  for (let at = 0; at < dense.length; at += 4) expect(dense.subarray(at, at + 4).filter((b) => f16ToNumber(b) !== 0).length).toBe(2);
  // image 1, pixel (2, 3): what is above and to the left of it, and nothing to its right
  const column = columns!.subarray((16 + 2 * 4 + 3) * depth);
  expect([...column.subarray(0, 16)]).toEqual([...input.subarray((16 + 1 * 4 + 2) * 16, (16 + 1 * 4 + 3) * 16)]);
  expect([...column.subarray(5 * 16, 6 * 16)]).toEqual(Array.from({ length: 16 }, () => 0));
});

describe.skipIf(!hasGxx)('emulated', () => {
  const rounds = 3;
  let tools: Tools, object = '';
  beforeAll(async () => {
    tools = { compiler: (await findCxx())!, device: 'emulator', arch: 'sm_80', folder };
    object = await buildProgram(tools);
  });
  const run = (c: Case, built: Parameters<typeof runCase>[1]): Promise<Line[]> => runCase(c, built, { rounds, blockMs: 0.01 });

  test.each(tinyCases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
    const built = await buildCase(c, object, tools), lines = await run(c, built);
    expect(built.kernels).toEqual([expect.stringContaining(c.kernel!)]);
    expect(lines[0]).toMatchObject({ device: 'emulation', capability: '0.0' });
    expect(lines.filter((l) => 'check' in l)).toEqual([{ check: 'spc', worstShare: expect.any(Number) as number, difference: 0 }]);
    const result = resultOf(lines);
    if (result.status !== 'measured') throw new Error(result.problem);
    expect(result).toMatchObject({ rounds, absent: { cublas: 'built without its header', cusparselt: 'built without its header' } });
    expect(Object.keys(result.peers)).toEqual(['again']);
    // an error of nothing at all would say that nothing was compared
    expect(result.spc.worstShare! > 0 && result.spc.worstShare! <= 1).toBe(true);
    for (const l of lines) if ('us' in l) expect([l.us.length, l.sets > 1, l.launchesPerBlock % l.sets]).toEqual([rounds, isCold(c), 0]);

    // one weight of the peers' other than the model's, by a hundredth of the size of results
    const file = join(built.folder, 'dense.f16'), dense = new Uint16Array(Uint8Array.from(readFileSync(file)).buffer), at = dense.findIndex((b) => f16ToNumber(b) !== 0);
    dense[at] = numberToF16(f16ToNumber(dense[at]!) + 0.01);
    writeFileSync(file, dense);
    const wrong = resultOf(await run(c, built));
    expect(wrong).toMatchObject({ status: 'failed', problem: expect.stringMatching(/spc is wrong/) as string });
    writeFileSync(file, dense.subarray(1));
    expect(resultOf(await run(c, built))).toMatchObject({ status: 'failed', problem: 'files of the layer have other sizes' });
  }, 120_000);
});

test.skipIf(!hasNvcc)(`nvcc builds a layer and its program${hasNvcc ? '' : ' (skipped: no nvcc)'}`, async () => {
  const tools: Tools = { compiler: (await findNvcc())!, device: 'gpu', arch: 'sm_80', folder: join(folder, 'nvcc') };
  const built = await buildCase(tinyCases[0]!, await buildProgram(tools), tools);
  if (!hasTool('nvidia-smi')) expect(resultOf(await runCase(tinyCases[0]!, built, { rounds: 3, blockMs: 1 }))).toEqual({ status: 'failed', problem: expect.stringMatching(/no device|stream|memory/) as string });
}, 300_000);

test.skipIf(hasTool('nvidia-smi'))('without a GPU the command says so', () => {
  const { status, stderr, stdout } = spawnSync(process.execPath, ['--no-warnings', '--import', 'tsx', join(packageRoot(), 'bench', 'cuda', 'main.ts')], { encoding: 'utf8', cwd: packageRoot() });
  expect([status, stdout]).toEqual([3, '']);
  expect(stderr).toMatch(/SPC5508.*\n[^]*Nothing was measured/);
});

const engine = (name: string, ...us: number[]): Line => ({ engine: name, about: name === 'cublas' ? 'cuBLAS 130000' : '', weightBytes: 1152, sets: 1, launchesPerBlock: 16, us });
const row = (name: string, ...lines: Line[]): Row => ({ name, kernels: ['2:4 gemm'], result: resultOf(lines) });

test('the lowest of the ratios is told', () => {
  const t = (...blocks: number[]) => ({ seconds: blocks.toSorted((a, b) => a - b)[1]!, fastest: Math.min(...blocks), slowest: 0, blocks, runsPerBlock: 1 });
  // medians 3 / 2, least 2 / 1, of the rounds 3, 1.5, 4 / 3
  expect(lowestRatio(t(1, 2, 3), t(3, 3, 4))).toBe(1.5);
  // least 1.2 / 1
  expect(lowestRatio(t(1, 2, 3), t(1.2, 4, 6))).toBeCloseTo(1.2, 12);
});

test('goals are those of the kind of device, and judged', () => {
  expect(['8.0', '8.9', '9.0', '10.0', '0.0'].map(generationOf)).toEqual(['ampere', 'ampere', 'hopper', undefined, undefined]);
  const { name } = cases[0]!, cells = (cublas: number, capability: string): string[] => tableCells(row(name, engine('spc', 10, 10, 10), engine('cublas', cublas, cublas, cublas), { engine: 'cusparselt', about: 'libcusparseLt.so is not found' }), capability);
  expect(cells(13, '8.0').slice(2)).toEqual(['10.00 us', '13.00 us', '1.30', '1.4 / 1.65', 'missed', 'absent', '', '']);
  expect([cells(14, '8.0')[6], cells(17, '8.6')[6], cells(13, '9.0')[6], cells(17, '10.0')[6]]).toEqual(['met', 'stretch goal met', 'met', '']);
  expect(tableCells({ name, kernels: [], result: resultOf([{ failed: 'a | b' }]) }, '8.0')[2]).toBe('failed: a \\| b');
});

test('results are read back as written', () => {
  const file = join(folder, 'results', 'r.json'), rows = withRow(withRow([], row('a', engine('spc', 1, 1), engine('again', 1, 1))), { name: 'b', kernels: [], result: { status: 'failed', problem: 'x' } });
  const results: Results = { schemaVersion: 1, spc: '0.1.0', compiler: 'nvcc', gpuArch: 'sm_80', device: 'a GPU', capability: '8.0', multiprocessors: 108, l2Bytes: 40 << 20, rows };
  expect(readResults(file)).toBeUndefined();
  writeResults(file, results);
  expect(readResults(file)).toEqual(results);
  expect(gpuSection([results]).join('\n')).toMatch(/### a GPU\n\nCompute capability 8.0, 108 multiprocessors, 40 MiB [^]*\| failed: x \|/);
  expect(gpuSection([]).join('\n')).toMatch(/No GPU has been measured yet/);
  expect(withRow(rows, row('b', engine('spc', 2, 2))).map((r) => r.result.status)).toEqual(['measured', 'measured']);
});
