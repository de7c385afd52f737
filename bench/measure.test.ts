import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findOnnxRuntime, openOnnxRuntime } from '../compiler/cli/onnxruntime.js';
import { modelTimer, onnxRuntimeTimer, timingSource } from '../compiler/cli/timing.js';
import { compileModel, writeFiles } from '../compiler/driver.js';
import { tensorOf } from '../compiler/ir/tensor.js';
import { load } from '../runtime/node/load.js';
import { hasTool } from '../test/support/processes.js';
import { networkBuilder, networkBytes } from './networks/builder.js';
import { affordableRounds, check, measure } from './measure.js';
import { buildPeaks, measurePeaks } from './peaks.js';
import { rowResultSchema } from './results.js';

const able = findOnnxRuntime() !== undefined && hasTool('cc');

test('a result far from the reference is refused, and so is a reference that says nothing', () => {
  const t = (...x: number[]): ReturnType<typeof tensorOf> => tensorOf('f32', [x.length], x);
  expect(check([t(1, -4)], [t(1, -4)])).toEqual({ maxError: 0, largest: 4 });
  expect(check([t(1.003, -4)], [t(1, -4)]).maxError).toBeCloseTo(0.003, 6);
  expect(() => check([t(1.005, -4)], [t(1, -4)])).toThrow(/wrong result: element 0/);
  expect(() => check([t(NaN, -4)], [t(1, -4)])).toThrow(/wrong result/);
  const bytes = (...x: number[]): ReturnType<typeof tensorOf> => tensorOf('u8', [x.length], x);
  expect(() => check([bytes(7, 254)], [bytes(7, 255)])).toThrow(/wrong result/);
  expect(check([bytes(7, 254)], [bytes(7, 255)], 1).maxError).toBe(1);
  expect(() => check([t(0, 0)], [t(0, 0)])).toThrow(/say nothing/);
  expect(() => check([t(Infinity)], [t(Infinity)])).toThrow(/say nothing/);
});

test('rounds are as many as asked for where inferences are short, and never fewer than five where they are long', () => {
  const engine = (seconds: number) => ({ time: (runs: number) => runs * seconds });
  const rounds = (...seconds: number[]): number => affordableRounds(seconds.map(engine), { rounds: 11, blockSeconds: 0.03 });
  expect([rounds(1e-5, 1e-3), rounds(0.2, 0.2), rounds(0.5, 0.1), rounds(5, 1)]).toEqual([11, 10, 6, 5]);
  expect(affordableRounds([engine(5)], { rounds: 3, blockSeconds: 0.03 })).toBe(3);
});

test.skipIf(!able)(`timed inferences take the sets of inputs in turn, beginning with the first${able ? '' : ' (skipped: needs a C compiler and onnxruntime-node)'}`, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'spc-bench-test-'));
  try {
    const b = networkBuilder(), source = { bytes: networkBytes(b.finish([b.relu(b.input('x', [1, 2]))])), name: 'relu' };
    writeFiles(compileModel(source, { name: 'relu' }).files, folder);
    const model = await load(folder, { cacheDir: folder, extraSources: new Map([['spc_timing.c', timingSource]]) }), sets = [1, 2, 3].map((x) => [tensorOf('f32', [1, 2], [x, -x])]);
    const session = openOnnxRuntime(source, [{ name: 'x', tensor: sets[0]![0]! }], model.outputs, { more: sets.slice(1) }), [results] = session.run();
    const ours = modelTimer(model, ...sets), theirs = onnxRuntimeTimer(model, session);
    const after = (runs: number): unknown[] => {
      ours.time(runs);
      theirs.time(runs);
      return [Array.from(ours.memory.at(-1) as Float32Array), Array.from(results!.data as Float32Array)];
    };
    expect([1, 2, 3, 4].map(after)).toEqual([1, 2, 3, 1].map((x) => [[x, 0], [x, 0]]));
    session.dispose();
    model.dispose();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.skipIf(!able)(`a row: compiled, right, timed beside both peers${able ? '' : ' (skipped: needs a C compiler and onnxruntime-node)'}`, { timeout: 120_000 }, async () => {
  const workFolder = mkdtempSync(join(tmpdir(), 'spc-bench-test-'));
  try {
    const peaksProgram = buildPeaks(workFolder, 'cc');
    expect(measurePeaks(peaksProgram, undefined).flops).toBeGreaterThan(1e9);
    const row = rowResultSchema.parse(await measure({ network: 'lenet5', batch: 2, pattern: 'unstructured:0.9' }, { workFolder, peaksProgram, peers: ['onnxruntime', 'dense'], environments: {}, rounds: 1, blockSeconds: 0.001 }));
    if (row.status !== 'measured') throw new Error(row.problem);
    expect(Object.keys(row.peers)).toEqual(['onnxruntime', 'dense']);
    expect(row.weights).toEqual({ elements: 430_500, nonZeros: 500 + 2500 + 40_000 + 5000 });
    expect(row.macs).toBe(2 * (24 * 24 * 500 + 64 * 2500 + 40_000 + 5000));
    expect(row.maxError).toBeLessThan(1e-4);
  } finally {
    rmSync(workFolder, { recursive: true, force: true });
  }
});
