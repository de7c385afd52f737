/** The accuracies that the real models reach with ONNX Runtime, reached by compiled code on the same data. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { denseData, toNumbers } from '../../compiler/ir/tensor.js';
import { buildReal, type BuiltModel } from './build.js';
import { cifar10, dataFiles, digits, isThere, kws, mnist, mnistExample, pictures, type Sample } from './data.js';
import { magikaFeatures, magikaLabel, magikaLabelOfSmall, readMagikaConfig } from './magika.js';
import { modelFile, modelNamed } from './models.js';

function argmax(scores: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  return best;
}

const hits = (b: BuiltModel, samples: readonly Sample[]): number =>
  samples.filter((s) => argmax(toNumbers(b.run([s.input])[0]!)) === s.label).length;

interface Accuracy {
  readonly model: string;
  readonly data: keyof typeof dataFiles;
  readonly samples: () => readonly Sample[];
  /** Share of right answers that ONNX Runtime reaches on these samples, and how far from it compiled code may be (samples near a tie). */
  readonly expected: number;
  readonly within: number;
}

const accuracies: readonly Accuracy[] = [
  { model: 'mnist-cnn', data: 'mnist', samples: () => mnist(digits.plain), expected: 0.9891, within: 0.0002 },
  { model: 'mnist-cnn', data: 'mnistExample', samples: () => mnistExample(digits.plain), expected: 0.99, within: 0.01 },
  { model: 'mnist-mlp', data: 'mnist', samples: () => mnist(digits.transposed), expected: 0.9817, within: 0.0002 },
  { model: 'mnist-pruned', data: 'mnist', samples: () => mnist(digits.normalised), expected: 0.9349, within: 0.0002 },
  { model: 'tfc-w2a2', data: 'mnist', samples: () => mnist(digits.unit), expected: 0.966, within: 0.0002 },
  { model: 'kws-dscnn', data: 'kws', samples: kws, expected: 0.901, within: 0.001 },
  { model: 'resnet8', data: 'cifar10', samples: () => cifar10(pictures.pixelsLast), expected: 0.75, within: 0.001 },
  { model: 'vit-cifar', data: 'cifar10', samples: () => cifar10(pictures.normalised), expected: 0.609, within: 0.001 },
];

for (const a of accuracies) {
  const m = modelNamed(a.model);
  const absent = modelFile(m) === undefined ? m.file : isThere(a.data) ? undefined : `the data set ${a.data}`;
  test.skipIf(absent !== undefined)(`${a.model} on ${a.data} is right in ${(100 * a.expected).toFixed(2)} %${absent ? ` (skipped: ${absent} is not here)` : ''}`, { timeout: 300_000 }, async () => {
    const built = await buildReal(m), samples = a.samples();
    expect(samples.length).toBeGreaterThanOrEqual(500);
    const reached = hits(built, samples) / samples.length;
    console.log(`${a.model} on ${a.data}: ${(100 * reached).toFixed(2)} % of ${samples.length}`);
    expect(Math.abs(reached - a.expected), `reached ${reached}`).toBeLessThanOrEqual(a.within + 1e-9);
    built.loaded.dispose();
  });
}

test.skipIf(modelFile(modelNamed('magika')) === undefined || !isThere('magika'))('magika tells the types of all 76 files, and of an empty one', { timeout: 300_000 }, async () => {
  const m = modelNamed('magika'), config = readMagikaConfig(join(modelFile(m)!, '..', 'config.min.json'));
  const built = await buildReal(m);
  const files = readdirSync(dataFiles.magika, { withFileTypes: true }).filter((d) => d.isDirectory()).flatMap((d) =>
    readdirSync(join(dataFiles.magika, d.name)).map((f) => ({ label: d.name, path: join(dataFiles.magika, d.name, f) })));
  const wrong = files.flatMap(({ label, path }) => {
    const bytes = readFileSync(path);
    const told = magikaLabelOfSmall(bytes, config) ?? magikaLabel(denseData(built.run([magikaFeatures(bytes, config)])[0]!) as Float32Array, config);
    return told === label ? [] : [`${path}: ${told}`];
  });
  expect(files.filter((f) => f.label !== 'empty').length).toBe(76);
  expect(wrong).toEqual([]);
  built.loaded.dispose();
});
