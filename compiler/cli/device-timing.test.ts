/** The timing of models on a GPU, on the emulation: what it computes and records is right; its times are not looked at. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { load, type LoadedModel } from '../../runtime/node/load.js';
import { hasGxx } from '../../test/targets/support.js';
import { node, onnxModel } from '../../test/support/onnx-builder.js';
import { compileModel, writeFiles } from '../driver.js';
import { tensorOf } from '../ir/tensor.js';
import { deviceTiming, deviceTimingSources } from './device-timing.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-device-timing-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Two layers, so that there is working memory between them. */
const bytes = onnxModel({
  inputs: { x: { dtype: 'f32', shape: [3, 8] } }, nodes: [node('MatMul', ['x', 'w'], ['h']), node('Softmax', ['h'], ['y'], { axis: 1 })], outputs: { y: { dtype: 'f32' } },
  initializers: { w: tensorOf('f32', [8, 5], Array.from({ length: 40 }, (_, i) => (i % 7) - 3)) },
});
const input = tensorOf('f32', [3, 8], Array.from({ length: 24 }, (_, i) => (i % 5) / 4));

async function loaded(name: string, change?: (source: string) => string): Promise<LoadedModel> {
  const files = new Map(compileModel({ bytes, name }, { target: 'cuda', name }).files), source = files.get(`${name}.cu`) as string;
  if (change) {
    expect(change(source)).not.toBe(source);
    files.set(`${name}.cu`, change(source));
  }
  writeFiles(files, join(folder, name));
  return load(join(folder, name), { device: 'emulator', cacheDir: folder, extraSources: deviceTimingSources() });
}
const beforeLast = (text: string, what: string, added: string): string => `${text.slice(0, text.lastIndexOf(what))}${added}${text.slice(text.lastIndexOf(what))}`;

test.skipIf(!hasGxx)('a model is captured into a graph, which computes the same, and both are timed', async () => {
  const model = await loaded('plain'), timing = deviceTiming(model, [input]);
  expect(timing.device).toBe('emulation');
  for (const timer of [timing.launches, timing.graph]) expect(timer.time(3)).toBeGreaterThan(0);
  timing.dispose();
  model.dispose();
});

test.skipIf(!hasGxx)('what no graph can have is refused: waiting, and allocation', async () => {
  for (const [name, call] of [['waits', 'spc_dev_sync(stream);'], ['allocates', '{ void *p; spc_dev_alloc(&p, 16); }']] as const) {
    const model = await loaded(name, (s) => beforeLast(s, 'SPC_LAUNCH(', `${call} `));
    expect(() => deviceTiming(model, [input]), name).toThrow(/cannot be captured/);
    model.dispose();
  }
});

test.skipIf(!hasGxx)('work beside the stream is no part of the graph, and shows', async () => {
  const model = await loaded('strays', (s) => s.replace(/(SPC_LAUNCH\([^;]*, )stream(, [^;]*outputs\[0\])/, '$1(spc_stream)0$2'));
  expect(() => deviceTiming(model, [input])).toThrow(/other results than launched/);
  model.dispose();
});
