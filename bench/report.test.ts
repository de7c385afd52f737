import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { limitOf, type Peaks } from './peaks.js';
import { allRows, goals, isMet, sparsityOf, AS_TRAINED } from './plan.js';
import { dotPlot } from './dot-plot.js';
import { spread, svgPlot } from './plot.js';
import { peerPlot, plots } from './plots.js';
import { publishable, readResults, rowName, sameRow, SCHEMA_VERSION, withRow, writeResults, type Measured, type Results, type Row } from './results.js';
import { derived, goalsTable, peerLines, peerSummary, performancePage, rowCells, rowHead } from './tables.js';
import { networks } from './networks/index.js';
import { parsePattern } from '../compiler/sparsity/index.js';

const peaks: Peaks = { vectorBytes: 64, flops: 100e9, cacheBytes: [32 << 10, 1 << 20, 32 << 20], read: [200e9, 100e9, 50e9, 20e9] };

const measured = (more: Partial<Measured>): Measured => ({
  status: 'measured', pruned: 'every layer', weights: { elements: 1000, nonZeros: 100 }, macs: 1e6, unfit: [], maxError: 2e-6, largest: 4, layers: { sparse: 3, dense: 1, reference: 2 },
  spc_us: 40, peers: { onnxruntime: { us: 400, ratio: 10 }, dense: { us: 360, ratio: 9 } }, absent: {}, about: {}, rounds: 11, peaks, compile: { spc_s: 1.25, cc_s: 0.5 }, ...more,
});
const row = (network: string, batch: number, pattern: string, result: Row['result'] = measured({})): Row => ({ network, batch, pattern, result });
const results = (...rows: Row[]): Results => ({ schemaVersion: SCHEMA_VERSION, spc: '0.1.0', isa: 'x86-64-v4', machine: 'a CPU', onnxruntime: '1.30.0', compiler: 'gcc 12', pinnedCpu: '1', rows });

test('the limit is the larger of arithmetic and one read of the weights from where they fit', () => {
  expect(limitOf(peaks, 1e6, 1000)).toEqual({ seconds: 2e-5, bound: 'multiply-adds' });
  expect(limitOf(peaks, 1e4, 100_000)).toEqual({ seconds: 4e5 / 100e9, bound: 'L2 read' });
  expect(limitOf(peaks, 1e4, 100e6).bound).toBe('DRAM read');
});

test('a row in numbers', () => {
  const r = row('gsc', 16, 'unstructured:0.9') as Parameters<typeof derived>[0];
  expect(derived(r)).toEqual({ gflops: expect.closeTo(50, 9), ofLimit: expect.closeTo(0.5, 9), bound: 'multiply-adds' });
  expect(Object.fromEntries(rowCells(r).map((c, i) => [rowHead[i], c]))).toEqual({
    network: 'gsc', batch: '16', pattern: 'unstructured:0.9', 'non-zeros': '10 %', ORT: '400 us', spc: '40.0 us', ratio: '10.00', 'to own dense': '9.00', 'GFLOP/s': '50.0', 'of limit': '50 %',
    limit: 'multiply-adds', error: '5e-7', layers: '3/1/2', 'spc s': '1.3', 'cc s': '0.5',
  });
  expect(rowCells(row('jets-95', 1, AS_TRAINED, measured({ macs: null })))[8]).toBe('');
  expect(rowCells(row('gsc', 1, 'dense', { status: 'failed', problem: 'wrong | result\nand more' }))[3]).toBe('failed: wrong \\| result');
});

test('results are read back as written; a row replaces its predecessor', () => {
  const dir = mkdtempSync(join(tmpdir(), 'spc-results-')), file = join(dir, 'sub', 'r.json');
  try {
    expect(readResults(file)).toBeUndefined();
    const first = withRow(withRow(results(), row('gsc', 1, 'dense')), row('gsc', 16, 'dense'));
    writeResults(file, first);
    expect(readResults(file)).toEqual(first);
    const again = withRow(first, row('gsc', 1, 'dense', { status: 'failed', problem: 'x' }));
    expect(again.rows.map((r) => r.result.status)).toEqual(['failed', 'measured']);
    writeResults(file, results());
    expect(readResults(file)?.rows).toEqual([]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('a file of the first version is read; other versions are not', () => {
  const dir = mkdtempSync(join(tmpdir(), 'spc-results-')), file = join(dir, 'r.json'), { absent: _, about: __, ...former } = measured({});
  const write = (version: number): void => writeFileSync(file, JSON.stringify({ ...results(row('gsc', 1, 'dense', former as Measured)), schemaVersion: version }));
  try {
    write(1);
    expect(readResults(file)).toEqual(results(row('gsc', 1, 'dense')));
    write(SCHEMA_VERSION + 1);
    expect(() => readResults(file)).toThrow();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('rows differ by threads and instruction set; one thread is what no number means', () => {
  const key = { network: 'gsc', batch: 1, pattern: 'dense' };
  expect(sameRow(key, { ...key, threads: 1 })).toBe(true);
  expect(sameRow(key, { ...key, threads: 2 })).toBe(false);
  expect(sameRow(key, { ...key, cpu: 'x86-64-v3' })).toBe(false);
  expect([rowName(key), rowName({ ...key, threads: 2, cpu: 'x86-64-v3' })]).toEqual(['gsc', 'gsc, x86-64-v3, 2 threads']);
});

test('figures that may not be published are told, not written', () => {
  const all = row('gsc', 1, 'dense', measured({ peers: { onnxruntime: { us: 400, ratio: 10 }, openvino: { us: 300, ratio: 7 }, deepsparse: { us: 123, ratio: 3 } }, about: { deepsparse: 'DeepSparse 1.8.0' }, absent: { tvm: 'no wheel' } }));
  expect(peerLines(all)).toEqual(['    OpenVINO: 300 us, ratio 7.00', '    DeepSparse: 123 us, ratio 3.00 (DeepSparse 1.8.0)', '    TVM: no wheel']);
  const { result } = publishable(all);
  expect(result).toMatchObject({ peers: { onnxruntime: { us: 400 }, openvino: { us: 300 } }, absent: { tvm: 'no wheel' } });
  expect(JSON.stringify(result)).not.toMatch(/deepsparse/i);
});

test('the plan names networks and patterns that exist, each row once, and holds every goal', () => {
  for (const [i, r] of allRows.entries()) {
    expect(allRows.findIndex((o) => sameRow(o, r))).toBe(i);
    if (r.pattern === AS_TRAINED) continue;
    expect(networks[r.network], r.network).toBeDefined();
    expect(() => parsePattern(r.pattern)).not.toThrow();
  }
  expect(goals.filter((g) => !allRows.some((r) => sameRow(r, g.row)))).toEqual([]);
  expect(goals.every((g) => Number.isFinite(g.goal))).toBe(true);
});

test('goals beside what was measured', () => {
  const text = goalsTable(results(row('gsc', 16, 'unstructured:0.95'), row('resnet50', 1, 'unstructured:0.9'), row('resnet50', 1, 'dense', { status: 'failed', problem: 'x' })));
  const line = (start: string): string | undefined => text.split('\n').find((l) => l.startsWith(`| ${start}`));
  expect(line('gsc, batch 16, 95 %')).toBe('| gsc, batch 16, 95 % | 18 | 10.00 | missed |');
  expect(line('resnet50, batch 1, 90 %')).toBe('| resnet50, batch 1, 90 % | 7 | 10.00 | met |');
  expect(line('resnet50, 90 %: seconds')).toBe('| resnet50, 90 %: seconds to compile and build | < 20 | 1.75 | met |');
  expect(line('resnet50, batch 1, dense')).toBe('| resnet50, batch 1, dense | 1 | failed |  |');
  expect(line('vgg16, batch 1, dense')).toBe('| vgg16, batch 1, dense | 1 | not measured |  |');
  const build = goals.find((g) => g.sense === 'atMost')!;
  expect([isMet(build, 19), isMet(build, 21)]).toEqual([true, false]);
});

test('the page has every row in its section, and says what failed', () => {
  const all = results(row('resnet50', 1, 'unstructured:0.9', measured({ unfit: ['w'] })), row('linear-512', 16, 'unstructured:0.9'), row('jets-95', 1, AS_TRAINED), row('gsc', 1, '2:4', { status: 'failed', problem: 'boom' }));
  const page = performancePage(all, ['plot.svg']), section = (title: string): string => page.slice(page.indexOf(`## ${title}`)).split('\n## ')[0]!;
  expect(section('Networks')).toContain('| resnet50 | 1 |');
  expect(section('Networks')).toContain('failed: boom');
  expect(section('Networks')).not.toContain('linear-512');
  expect(section('Layers')).toContain('| linear-512 | 16 |');
  expect(section('Models trained sparse')).toContain('| jets-95 |');
  expect(page).toContain('![Speed-up over ONNX Runtime against sparsity](plot.svg)');
  expect(page).toContain('100 GFLOP/s');
  expect(page).toContain('1 row failed.');
  expect(page).toContain('resnet50 unstructured:0.9, batch 1: 1');
});

test('the page has a table of the engines that ran, and says where spc loses', () => {
  const peers = { onnxruntime: { us: 400, ratio: 10 }, openvino: { us: 30, ratio: 0.75 } };
  const all = results(row('gsc', 1, 'unstructured:0.9', measured({ peers, about: { openvino: 'OpenVINO 1: f32' }, absent: { tvm: 'no such operator' } })),
    row('lenet5', 1, 'unstructured:0.9', measured({ peers: { ...peers, openvino: { us: 120, ratio: 3 } } })), row('lenet5', 1, 'dense', measured({ peers: { ...peers, openvino: { us: 20, ratio: 0.5 } } })));
  expect(peerSummary(all.rows)).toEqual(['OpenVINO: spc is faster on 1 of 2 sparse rows; 0.75 to 3.00 times as fast, median 1.88; slower on gsc unstructured:0.9, batch 1 (0.75)']);
  const page = performancePage(all, [], 'peers.svg'), at = page.indexOf('## Other engines');
  expect(at).toBeGreaterThan(0);
  expect(page.slice(at)).toContain('| gsc | 1 | unstructured:0.9 | 400 us | 30.0 us | 40.0 us | OpenVINO | spc x 1.33 |');
  expect(page.slice(at)).toContain('- TVM on gsc: no such operator');
  expect(page.slice(at)).toContain('peers.svg');
  expect(performancePage(results(row('gsc', 1, 'dense')), [])).not.toContain('Other engines');
});

test('rows of several threads stand against one thread, in a section of their own', () => {
  const threads = { ...row('resnet50', 1, 'unstructured:0.9', measured({ peers: { onnxruntime: { us: 200, ratio: 5 }, 'one-thread': { us: 76, ratio: 1.9 } } })), threads: 2 };
  const page = performancePage(results(threads, { ...row('gsc', 16, 'unstructured:0.95'), cpu: 'x86-64-v3' }), []);
  expect(page.slice(page.indexOf('## Threads'))).toContain('| resnet50 | 1 | unstructured:0.9 | 2 | 76.0 us | 40.0 us | 1.90 | 200 us | 5.00 |');
  expect(page.slice(page.indexOf('## Other instruction sets'))).toContain('| gsc, x86-64-v3 | 16 |');
  expect(page).not.toContain('## Networks');
  expect(goalsTable(results(threads), (r) => r.threads === 2 && r.network === 'resnet50').split('\n').slice(2)).toEqual(['| resnet50, 2 threads, batch 1, 90 % | 1.9 | 1.90 | met |']);
});

test('k-winner-take-all stands against ONNX Runtime with ReLU and against itself', () => {
  const winners = row('gsc-kwta', 1, 'block:16x1:0.95', measured({ macs: null, peers: { onnxruntime: { us: 520, ratio: 13 }, 'onnxruntime-relu': { us: 360, ratio: 9 } } }));
  const page = performancePage(results(winners), []);
  expect(page.slice(page.indexOf('## Sparse activations'))).toContain('| gsc-kwta | 1 | block:16x1:0.95 | 40.0 us | 360 us | 9.00 | 520 us | 13.00 |');
  expect(goalsTable(results(winners), (r) => r.network === 'gsc-kwta')).toContain('| gsc-kwta, batch 1, 16x1 blocks 95 % | 32 | 9.00 | missed |');
});

test('rows that were measured beside something else say so', () => {
  const noisy = row('gsc', 1, 'dense', measured({ spread: 0.35 })), all = results(noisy, row('lenet5', 1, 'dense', measured({ spread: 0.05 })));
  expect(peerLines(noisy)).toEqual(['    not quiet: medians up to 35 % over the fastest block']);
  expect(performancePage(all, [])).toContain('The machine was not quiet (medians more than 20 % over the fastest block): gsc dense, batch 1.');
  expect(performancePage(results(row('gsc', 1, 'dense')), [])).not.toContain('not quiet');
});

test('plots take unstructured rows, in the order of the plan, and leave out networks of one point', () => {
  expect(['dense', 'unstructured:0.9', '2:4'].map(sparsityOf)).toEqual([0, 0.9, undefined]);
  const all = results(row('gsc', 1, 'unstructured:0.9'), row('gsc', 1, 'dense', measured({ peers: { onnxruntime: { us: 1, ratio: 1.1 } } })), row('lenet5', 1, 'dense'), row('gsc', 1, '2:4'));
  expect(plots(all).map((p) => [p.file, p.plot.series])).toEqual([['performance-batch-1.svg', [{ name: 'gsc', points: [{ sparsity: 0, speedup: 1.1 }, { sparsity: 0.9, speedup: 10 }] }]]]);
});

test('in a plot 1/density is a straight line, and a network that gains just that lies on it', () => {
  const svg = svgPlot({ title: 'a < b', subtitle: '', series: [{ name: 'ideal', points: [0.9, 0, 0.5].map((sparsity) => ({ sparsity, speedup: 1 / (1 - sparsity) })) }] });
  const [x1, y1, x2, y2] = /class="ideal" x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"/.exec(svg)!.slice(1).map(Number) as [number, number, number, number];
  const points = /<polyline class="line c0" points="([^"]+)"/.exec(svg)![1]!.split(' ').map((p) => p.split(',').map(Number) as [number, number]);
  expect(points.length).toBe(3);
  for (const [x, y] of points) expect(Math.abs(y - (y1 + ((x - x1) * (y2 - y1)) / (x2 - x1)))).toBeLessThan(0.2);
  expect(points[0]![0]).toBeCloseTo(x1, 1);
  expect(points[2]).toEqual([x2, y2]);
  expect(svg).toContain('a &lt; b');
  expect(svg).toContain('prefers-color-scheme: dark');
});

test('engines beside each other: sparse rows that others ran, marks on the side of who is faster', () => {
  const with_ = (pattern: string, openvino: number): Row => row('gsc', 1, pattern, measured({ peers: { onnxruntime: { us: 1, ratio: 10 }, openvino: { us: 1, ratio: openvino } } }));
  const { plot } = peerPlot(results(with_('unstructured:0.9', 0.75), with_('block:16x1:0.95', 4), with_('dense', 2), row('lenet5', 1, 'unstructured:0.9')))!;
  expect(plot.engines).toEqual(['ONNX Runtime', 'OpenVINO']);
  expect(plot.workloads).toEqual([{ name: 'gsc, unstructured:0.9, batch 1', ratios: [10, 0.75] }, { name: 'gsc, block:16x1:0.95, batch 1', ratios: [10, 4] }]);
  expect(peerPlot(results(row('gsc', 1, 'unstructured:0.9')))).toBeUndefined();
  const svg = dotPlot({ ...plot, workloads: [...plot.workloads, { name: 'far', ratios: [undefined, 940] }] });
  const parity = Number(/class="parity" x1="([\d.]+)"/.exec(svg)![1]), marks = [...svg.matchAll(/class="mark c1" cx="([\d.]+)" cy="(?!66)/g)].map((m) => Number(m[1]));
  expect(marks.map((m) => m > parity)).toEqual([false, true, true]);
  expect(svg).toContain('940x');
});

test('labels that would touch move apart around where they belong', () => {
  expect(spread([10, 100], 15)).toEqual([10, 100]);
  expect(spread([50, 50], 10)).toEqual([45, 55]);
  expect(spread([52, 50, 51, 200], 10)).toEqual([61, 41, 51, 200]);
  const many = spread([0, 8, 16, 24], 10);
  many.slice(1).forEach((p, i) => expect(p - many[i]!).toBeGreaterThanOrEqual(10 - 1e-9));
});
