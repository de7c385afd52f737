/** Every real model against ONNX Runtime, element by element, for this machine's instruction set and for none in particular. */
import { expect, test } from 'vitest';
import { compareTensors } from '../support/compare.js';
import { buildReal, onnxRuntime, peerOutputs, randomInputsOf } from './build.js';
import { absence, modelFile, realModels } from './models.js';

/** -O1 where speed does not matter; the slow variants on demand. */
const variants = [
  { cpu: 'native', flags: [] },
  { cpu: 'generic', flags: ['-O1'] },
  ...(process.env['SPC_TEST_ALL'] ? [{ cpu: 'x86-64-v3', flags: [] } as const] : []),
] as const;

const SEEDS = [1, 2, 3];

for (const m of realModels) {
  const missing = modelFile(m) === undefined;
  test.skipIf(missing || onnxRuntime === undefined).each(variants)(`${m.name} ($cpu) computes what ONNX Runtime does${absence(m)}${onnxRuntime ? '' : ' (skipped: onnxruntime-node cannot be loaded)'}`, { timeout: 300_000 }, async ({ cpu, flags }) => {
    const built = await buildReal(m, { cpu }, { flags });
    for (const seed of SEEDS) {
      const inputs = randomInputsOf(m, built, seed);
      const actual = built.run(inputs), expected = await peerOutputs(m, built, inputs);
      expect(actual.length).toBe(expected.length);
      actual.forEach((a, i) => {
        const { problem } = compareTensors(a, expected[i]!, m.tolerance);
        expect(problem, `output ${built.loaded.outputs[i]!.name}, seed ${seed}`).toBeUndefined();
      });
    }
    built.loaded.dispose();
  });
}
