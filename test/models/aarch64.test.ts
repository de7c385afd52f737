/** Whole models as AArch64 code, cross-compiled and run in an emulator, against ONNX Runtime. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compileModel } from '../../compiler/driver.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { randomInputs } from '../../compiler/io/random.js';
import { toNumbers } from '../../compiler/ir/tensor.js';
import { readManifest } from '../../runtime/node/manifest.js';
import { crossCompiler, emulator } from '../support/machines.js';
import { buildObjects, linkDriver, runDriver } from '../support/native.js';
import { loadOnnxRuntime, runOnnxRuntime } from '../support/onnxruntime.js';
import { hasTool } from '../support/processes.js';
import { sparseModel } from '../support/sparse-model.js';
import { absence, modelFile, modelNamed } from './models.js';

const ort = loadOnnxRuntime(), options = { cc: crossCompiler, optimise: '-O2', sanitize: false, emulator };
const able = ort !== undefined && hasTool(crossCompiler) && hasTool(emulator), reason = able ? '' : ' (skipped: no cross compiler, emulator or ONNX Runtime)';

const model = modelNamed('mnist-cnn'), file = modelFile(model);
const cases = [
  { name: `mnist-cnn${absence(model)}`, bytes: () => (file === undefined ? undefined : readFileSync(file)), range: model.range, streams: false },
  { name: 'convolutions with nine zeros of ten', bytes: sparseModel, range: undefined, streams: true },
];
for (const { name, bytes: read, range, streams } of cases) {
  const bytes = read();
  test.skipIf(!able || bytes === undefined)(`${name}: the outputs of ONNX Runtime${reason}`, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'spc-aarch64-'));
    try {
      const compiled = compileModel({ bytes: bytes!, name: 'model' }, { cpu: 'aarch64' }), { manifest } = compiled;
      const { objects, problem } = await buildObjects(dir, compiled, options);
      expect(problem).toBeUndefined();
      await linkDriver(dir, ['model'], objects, join(packageRoot(), 'runtime', 'include'), options);
      const inputs = randomInputs(readManifest(join(dir, 'model')).inputs, 1, range);
      const actual = await runDriver(dir, 0, 'run', inputs, manifest.outputs, emulator), expected = await runOnnxRuntime(ort!, bytes!, Object.fromEntries(manifest.inputs.map((p, i) => [p.name, inputs[i]!])));
      if (typeof actual === 'string') throw new Error(actual);
      manifest.outputs.forEach((port, i) => {
        const want = toNumbers(expected[port.name]!), scale = Math.max(...want.map(Math.abs)), got = toNumbers(actual[i]!);
        expect(got.length, port.name).toBe(want.length);
        got.forEach((v, e) => expect(Math.abs(v - want[e]!), `${port.name}[${e}]`).toBeLessThanOrEqual(1e-5 * scale));
      });
      expect(compiled.files.has('model_streams.S')).toBe(streams);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }, 120_000);
}
