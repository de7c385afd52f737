/** The choice of layouts as its user sees it: manifest, budget, forms of code, requirements, tuning, comparison layer by layer. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nativeIsa } from '../../backends/cpu/target.js';
import { node, onnxModel } from '../../test/support/onnx-builder.js';
import { randomSource } from '../../test/support/random-stream.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { compileModel, type CompileOptions, type CompileResult } from '../driver.js';
import { randomInputs } from '../io/random.js';
import { denseData, tensorOf, type Tensor } from '../ir/tensor.js';
import { elementCount, valueOf } from '../ir/types.js';
import { evaluateGraph } from '../kir/evaluate.js';
import { manifestSchema } from '../manifest.js';
import { compareLayers } from './bisect.js';
import { loadFiles, runLoaded } from './source.js';
import { createTerminal } from './terminal.js';
import { compareTensors } from './tensor-comparison.js';
import { tuneModel } from './tune.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-selection-')), terminal = createTerminal({ quiet: true });
const outer = process.env['SPC_CACHE_DIR'];
beforeAll(() => { process.env['SPC_CACHE_DIR'] = folder; });
afterAll(() => {
  if (outer === undefined) delete process.env['SPC_CACHE_DIR']; else process.env['SPC_CACHE_DIR'] = outer;
  rmSync(folder, { recursive: true, force: true });
});

const random = randomSource(7);
function weights(shape: readonly number[], zeros: number): Tensor {
  return tensorOf('f32', shape, Array.from({ length: elementCount(shape) }, () => (random.next() < zeros ? 0 : random.next() - 0.5)));
}

/** 3x3 with 90 % zeros, 1x1 with 80 % and a residual, 3x3 with 20 %, of 32 channels of 20 x 20; a product of one row with 90 % zeros. */
const bytes = onnxModel({
  inputs: { x: { dtype: 'f32', shape: [1, 32, 20, 20] } },
  nodes: [
    node('Conv', ['x', 'w1'], ['c1'], { pads: [1, 1, 1, 1] }, { name: 'nine' }), node('Relu', ['c1'], ['r1'], {}, { name: 'relu' }),
    node('Conv', ['r1', 'w2', 'b2'], ['c2'], {}, { name: 'eight' }), node('Add', ['c2', 'r1'], ['s'], {}, { name: 'sum' }),
    node('Conv', ['s', 'w3'], ['c3'], { pads: [1, 1, 1, 1], strides: [2, 2] }, { name: 'two' }),
    node('GlobalAveragePool', ['c3'], ['g'], {}, { name: 'mean' }), node('Flatten', ['g'], ['f'], {}, { name: 'flat' }),
    node('Gemm', ['f', 'w4'], ['y'], {}, { name: 'last' }),
  ],
  outputs: ['y', 's'],
  initializers: { w1: weights([32, 32, 3, 3], 0.9), w2: weights([32, 32, 1, 1], 0.8), b2: weights([32], 0), w3: weights([32, 32, 3, 3], 0.2), w4: tensorOf('f32', [32, 16], Array.from({ length: 512 }, (_, i) => (i % 10 === 0 ? 0.1 + i / 512 : 0))) },
});
const compile = (options: CompileOptions = {}): CompileResult => compileModel({ bytes, name: 'net' }, { cpu: 'x86-64-v4', ...options });
const layerOf = (c: CompileResult, name: string): CompileResult['manifest']['layers'][number] => c.manifest.layers.find((l) => l.weights && l.nodes[0]?.name === name)!;
const inputsOf = (c: CompileResult): Tensor[] => randomInputs(c.imported.inputs.map((id) => valueOf(c.imported, id).type), 3);
const sizeOf = (c: CompileResult, file: string): number => (c.files.get(file) as Uint8Array).length;

test('the manifest tells of every product its zeros, its work, its code and what else could have run it', () => {
  const c = compile(), nine = layerOf(c, 'nine'), manifest = manifestSchema.parse(JSON.parse(c.files.get('manifest.json') as string));
  expect(manifest).toEqual(c.manifest);
  const nonZeros = evaluateNonZeros('w1', c);
  expect(nine).toMatchObject({ status: 'sparse-kernel', weights: { elements: 9216, nonZeros }, macs: 400 * 9216, nonZeroMacs: 400 * nonZeros });
  expect(nine.candidates.filter((k) => k.chosen).map((k) => k.layout)).toEqual(['pixels']);
  expect(nine.candidates.filter((k) => k.layout === 'pixels').length).toBe(2);
  expect(nine.candidates.some((k) => k.layout === 'rows' && k.kernel.startsWith('conv '))).toBe(true);
  expect(nine.candidates.every((k) => k.reason !== '' && k.nanoseconds! > 0)).toBe(true);
  expect(manifest.codeBytes).toBe(sizeOf(c, 'net_streams.bin'));
  expect(manifest.codeBytes).toBe(manifest.layers.reduce((s, l) => s + l.codeBytes, 0));
  expect(manifest.nonZeroMacs).toBe(manifest.layers.reduce((s, l) => s + l.nonZeroMacs, 0));
});

test.each([[3, 'depthwise 3x3 in tiles', /^depthwise/], [9, 'stream 16x31', /^stream \(/]] as const)('a filter of %i rows a channel is told to be what it runs as', (rows, runsAs, chosen) => {
  const pad = rows >> 1, c = compileModel({
    name: 'net', bytes: onnxModel({
      inputs: { x: { dtype: 'f32', shape: [1, 24, 20, 20] } }, outputs: ['y'], initializers: { w: weights([24, 24, 1, 1], 0.9), d: weights([24, 1, rows, 3], 0.8) },
      nodes: [node('Conv', ['x', 'w'], ['c'], {}, { name: 'one' }), node('Conv', ['c', 'd'], ['y'], { group: 24, pads: [pad, 1, pad, 1] }, { name: 'deep' })],
    }),
  }, { cpu: 'x86-64-v4', layouts: { one: 'tiles', deep: 'tiles' } }), deep = layerOf(c, 'deep');
  expect(deep.schedule).toBe(runsAs);
  expect(deep.candidates.find((k) => k.chosen)!.kernel).toMatch(chosen);
});

function evaluateNonZeros(name: string, c: CompileResult): number {
  const tensor = [...c.imported.values.values()].find((v) => v.name === name)!.constant!;
  return [...denseData(tensor)].filter((x) => x !== 0).length;
}

test('--require-sparse names every product with that many zeros and a dense kernel', () => {
  const failing = (requireSparse: number, options: CompileOptions = {}): string[] => {
    try { compile({ requireSparse, ...options }); } catch (error) { if (error instanceof SpcError) return error.diagnostics.map((d) => `${d.code} ${d.node} ${d.shapes?.join(' ')}`); throw error; }
    return [];
  };
  expect(failing(95)).toEqual([]);
  expect(failing(85)).toEqual(['SPC3201 last f32[1,32] f32[32,16]']);
  expect(failing(70, { layouts: { eight: 'rows' } })).toEqual(['SPC3201 eight f32[400,32] f32[32,32]', 'SPC3201 last f32[1,32] f32[32,16]']);
  expect(failing(85, { target: 'cuda', precision: 'fp32' })).toHaveLength(2);
});

test('a target without tiles takes no --layout', () => {
  expect(() => compile({ target: 'cuda', layouts: { nine: 'tiles' } })).toThrow(/SPC3202/);
});

describe.skipIf(!nativeIsa().name.startsWith('x86-64-v4') || spawnSync('cc', ['--version']).status !== 0)('as machine code', () => {
  async function outputs(c: CompileResult): Promise<Tensor[]> {
    const model = await loadFiles(c.files, {}, terminal);
    try { return runLoaded(model, inputsOf(c)); } finally { model.dispose(); }
  }
  const right = (c: CompileResult, results: readonly Tensor[]): boolean =>
    evaluateGraph(c.imported, inputsOf(c)).every((t, i) => compareTensors(results[i]!, t, { rtol: 1e-4, atol: 1e-5 }).ok);

  test('over the code budget a model has both forms, and the reason', async () => {
    const mixed = compile({ codeBudget: 14_000 });
    expect(['nine', 'eight', 'two'].map((n) => layerOf(mixed, n).schedule)).toEqual(['stream 16x31', 'stream tables', expect.stringMatching(/^conv/)]);
    expect(layerOf(mixed, 'eight').reason).toMatch(/its budget is/);
    expect([...mixed.files.keys()]).toEqual(expect.arrayContaining(['net_streams.S', 'net_streams.bin', 'net_streams_tables.bin', 'net_streams_portable.c']));
    expect(mixed.manifest.codeBytes).toBe(sizeOf(mixed, 'net_streams.bin') + sizeOf(mixed, 'net_streams_tables.bin'));
    expect(right(mixed, await outputs(mixed))).toBe(true);
    const none = compile({ codeBudget: 0 });
    expect([...none.files.keys()].filter((f) => f.endsWith('.S'))).toEqual([]);
    expect(right(none, await outputs(none))).toBe(true);
  });

  test('--asm=text computes the same bits as --asm=binary', async () => {
    const text = compile({ asm: 'text' }), binary = compile();
    expect(text.files.has('net_streams.bin')).toBe(false);
    expect(text.files.get('net_streams.S')).toMatch(/vfmadd231ps/);
    const [a, b] = [await outputs(text), await outputs(binary)];
    expect(a).toEqual(b);
    expect(right(text, a)).toBe(true);
  });

  test('fixed layouts compute the same', async () => {
    const c = compile({ layouts: { nine: 'conv', last: 'tiles' } });
    expect([layerOf(c, 'nine').status, layerOf(c, 'last').status]).toEqual(['dense-kernel', 'sparse-kernel']);
    expect(right(c, await outputs(c))).toBe(true);
  });

  test('layers between tiles are compared with their definitions', async () => {
    const c = compile(), tolerance = { rtol: 1e-4, atol: 1e-5 }, all = await compareLayers(c, {}, inputsOf(c), tolerance, terminal);
    expect(all.filter((l) => l.kernel.startsWith('stream')).length).toBeGreaterThanOrEqual(2);
    expect(all.length).toBe(c.graph.nodes.flatMap((n) => n.outputs).length);
    expect(all.filter((l) => !l.comparison.ok)).toEqual([]);
  });

  test('--tune measures what is close, keeps the times, and compiles the same from them', async () => {
    const source = { bytes, name: 'net' }, options: CompileOptions = { cpu: 'x86-64-v4' };
    const times = await tuneModel(source, options, terminal);
    expect(times.size).toBeGreaterThanOrEqual(2);
    expect([...times.values()].every((t) => t >= 1)).toBe(true);
    const kept = (): string[] => readdirSync(folder).filter((f) => f.startsWith('tune-')).sort();
    const files = kept(), before = files.map((f) => readFileSync(join(folder, f), 'utf8'));
    expect(files).toHaveLength(times.size);
    expect([...await tuneModel(source, options, terminal)]).toEqual([...times]);
    expect(kept().map((f) => readFileSync(join(folder, f), 'utf8'))).toEqual(before);
    const a = compile({ measured: times }), b = compile({ measured: new Map(times) });
    expect([...a.files]).toEqual([...b.files]);
    expect(a.manifest.layers.flatMap((l) => l.candidates).filter((k) => k.measured)).toHaveLength(times.size);
    // what is kept decides: a way that is said to take a second is not chosen
    const slowest = [...times.keys()].find((k) => k.includes('/pixels/assembly'))!;
    const slowed = compile({ measured: new Map([...times, [slowest, 1e9]]) });
    expect(slowed.manifest.layers.flatMap((l) => l.candidates).find((k) => k.nanoseconds === 1e9)).toMatchObject({ chosen: false });
  });
});

test('kernels that could be expected say why they do not run, also where the node is part of another', () => {
  const winners = onnxModel({
    inputs: { x: { dtype: 'f32', shape: [1, 16, 12, 12] } }, outputs: ['y'],
    nodes: [node('TopK', ['x', 'k'], ['v', 'i'], { axis: 1 }), node('ScatterElements', ['zeros', 'i', 'v'], ['r'], { axis: 1 }), node('Conv', ['r', 'w'], ['c']), node('MaxPool', ['c'], ['y'], { kernel_shape: [2, 2], strides: [2, 2] })],
    initializers: { k: tensorOf('i64', [1], [3]), zeros: tensorOf('f32', [1, 16, 12, 12], new Array<number>(2304).fill(0)), w: weights([8, 16, 3, 3], 0.9) },
  });
  const { manifest } = compileModel({ bytes: winners, name: 'winners' }, { cpu: 'x86-64-v4' }), refused = manifest.layers.flatMap((l) => l.candidates.filter((c) => c.nanoseconds === undefined && c.kernel === 'active columns'));
  expect(refused.map((c) => c.reason)).toEqual([expect.stringContaining('convolutions gain nothing from winners')]);
  const few = onnxModel({ inputs: { x: { dtype: 'f32', shape: [4, 64] } }, outputs: ['y'], nodes: [node('MatMul', ['x', 'w'], ['y'])], initializers: { w: weights([64, 64], 0.9) } });
  const reasons = (cpu: 'x86-64-v3' | 'x86-64-v4'): string[] => compileModel({ bytes: few, name: 'few' }, { cpu }).manifest.layers.flatMap((l) => l.candidates.flatMap((c) => (c.kernel === 'stream on rows' && c.reason ? [c.reason] : [])));
  expect(reasons('x86-64-v3')).toEqual([expect.stringContaining('AVX-512 only')]);
  expect(reasons('x86-64-v4')).toEqual([]);
});
