/** Labelled data that the real models are measured on, and the shares of right answers that ONNX Runtime reaches there. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { toNumbers } from '../../compiler/ir/tensor.js';
import type { BuiltModel } from './build.js';
import { cifar10, dataFiles, digits, kws, mnist, mnistExample, pictures, type Sample } from './data.js';
import { magikaFeatures, magikaLabel, magikaLabelOfSmall, readMagikaConfig } from './magika.js';
import { modelFile, modelNamed } from './models.js';

export interface Measured {
  readonly right: number;
  readonly of: number;
}

export interface Accuracy {
  readonly model: string;
  readonly data: keyof typeof dataFiles;
  readonly expected: number;
  /** How far from it compiled code may be: samples whose best two scores are equal but for rounding. */
  readonly within: number;
  measure(b: BuiltModel): Measured;
}

function argmax(scores: readonly number[]): number {
  let best = 0;
  scores.forEach((s, i) => { if (s > scores[best]!) best = i; });
  return best;
}

/** The class with the largest score is the answer. */
const classifies = (samples: () => readonly Sample[]) => (b: BuiltModel): Measured => {
  const all = samples();
  return { right: all.filter((s) => argmax(toNumbers(b.run([s.input])[0]!)) === s.label).length, of: all.length };
};

/** Folders are named after the type of the files in them; a file without content is decided without the network, so it does not count. */
function tellsFileTypes(b: BuiltModel): Measured {
  const config = readMagikaConfig(join(modelFile(modelNamed('magika'))!, '..', 'config.min.json'));
  const files = readdirSync(dataFiles.magika, { withFileTypes: true }).filter((d) => d.isDirectory()).flatMap((d) =>
    readdirSync(join(dataFiles.magika, d.name)).map((f) => ({ label: d.name, bytes: readFileSync(join(dataFiles.magika, d.name, f)) })));
  const counted = files.filter((f) => magikaLabelOfSmall(f.bytes, config) === undefined);
  return {
    right: counted.filter((f) => magikaLabel(toNumbers(b.run([magikaFeatures(f.bytes, config)])[0]!), config) === f.label).length,
    of: counted.length,
  };
}

export const accuracies: readonly Accuracy[] = [
  { model: 'mnist-cnn', data: 'mnist', expected: 0.9891, within: 0.0002, measure: classifies(() => mnist(digits.plain)) },
  { model: 'mnist-cnn', data: 'mnistExample', expected: 0.986, within: 0.002, measure: classifies(() => mnistExample(digits.plain)) },
  { model: 'mnist-mlp', data: 'mnist', expected: 0.9817, within: 0.0002, measure: classifies(() => mnist(digits.transposed)) },
  { model: 'mnist-pruned', data: 'mnist', expected: 0.9349, within: 0.0002, measure: classifies(() => mnist(digits.normalised)) },
  { model: 'tfc-w2a2', data: 'mnist', expected: 0.966, within: 0.0002, measure: classifies(() => mnist(digits.unit)) },
  { model: 'kws-dscnn', data: 'kws', expected: 0.901, within: 0.001, measure: classifies(kws) },
  { model: 'resnet8', data: 'cifar10', expected: 0.75, within: 0.001, measure: classifies(() => cifar10(pictures.pixelsLast)) },
  { model: 'vit-cifar', data: 'cifar10', expected: 0.609, within: 0.001, measure: classifies(() => cifar10(pictures.normalised)) },
  { model: 'magika', data: 'magika', expected: 1, within: 0, measure: tellsFileTypes },
];
