/** The accuracies that the real models reach with ONNX Runtime, reached by compiled code on the same data. */
import { expect, test } from 'vitest';
import { accuracies } from './accuracy.js';
import { buildReal } from './build.js';
import { isThere } from './data.js';
import { modelFile, modelNamed } from './models.js';

for (const a of accuracies) {
  const m = modelNamed(a.model);
  const absent = modelFile(m) === undefined ? m.file : isThere(a.data) ? undefined : `the data set ${a.data}`;
  test.skipIf(absent !== undefined)(`${a.model} on ${a.data} is right in ${(100 * a.expected).toFixed(2)} %${absent ? ` (skipped: ${absent} is not here)` : ''}`, { timeout: 300_000 }, async () => {
    const built = await buildReal(m), { right, of } = a.measure(built);
    console.log(`${a.model} on ${a.data}: ${right} of ${of}`);
    expect(of).toBeGreaterThanOrEqual(76);
    expect(Math.abs(right / of - a.expected), `${right} of ${of} are right`).toBeLessThanOrEqual(a.within + 1e-9);
    built.loaded.dispose();
  });
}
