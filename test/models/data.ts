/** Labelled data for some of the real models, and what each model wants to see of it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { tensorOf, type Tensor } from '../../compiler/ir/tensor.js';
import { sharedFolder } from './models.js';

export interface Sample {
  readonly input: Tensor;
  /** Index of the right class. */
  readonly label: number;
}

const shared = (path: string): string => join(sharedFolder, 'data', path);

export const dataFiles = {
  mnist: shared('mnist/t10k-images-idx3-ubyte.gz'),
  cifar10: shared('cifar10-test2000/test_2000.bin.gz'),
  kws: shared('kws01/kws01.tar.gz'),
  magika: shared('magika-basic'),
  mnistExample: join(packageRoot(), 'examples', 'data', 'mnist-500-images-idx3-ubyte.gz'),
} as const;
export const isThere = (set: keyof typeof dataFiles): boolean => existsSync(dataFiles[set]);

interface Image { readonly pixels: Uint8Array; readonly label: number }

/** 28 x 28 grey images of digits, in the idx format. */
function idxImages(images: string, labels: string): Image[] {
  const pixels = gunzipSync(readFileSync(images)), classes = gunzipSync(readFileSync(labels));
  const count = pixels.readUInt32BE(4);
  return Array.from({ length: count }, (_, i) => ({ pixels: pixels.subarray(16 + i * 784, 16 + (i + 1) * 784), label: classes[8 + i]! }));
}

export type Preprocess = (pixels: Uint8Array) => Tensor;
const plane = (pixels: Uint8Array, f: (x: number) => number, shape: readonly number[]): Tensor => tensorOf('f32', shape, Array.from(pixels, f));

export const digits: { readonly [how in 'plain' | 'unit' | 'normalised' | 'transposed']: Preprocess } = {
  plain: (p) => plane(p, (x) => x, [1, 1, 28, 28]),
  unit: (p) => plane(p, (x) => x / 255, [1, 1, 28, 28]),
  normalised: (p) => plane(p, (x) => (x / 255 - 0.1307) / 0.3081, [1, 1, 28, 28]),
  // the column-major order of MATLAB
  transposed: (p) => tensorOf('f32', [1, 784], Array.from(p, (_, i) => p[(i % 28) * 28 + Math.floor(i / 28)]! / 255)),
};

export const mnist = (f: Preprocess, count = 10_000): Sample[] =>
  idxImages(dataFiles.mnist, shared('mnist/t10k-labels-idx1-ubyte.gz')).slice(0, count).map((i) => ({ input: f(i.pixels), label: i.label }));
export const mnistExample = (f: Preprocess): Sample[] =>
  idxImages(dataFiles.mnistExample, dataFiles.mnistExample.replace('images-idx3', 'labels-idx1')).map((i) => ({ input: f(i.pixels), label: i.label }));

const CIFAR_RECORD = 1 + 3 * 32 * 32;
const cifarMean = [0.4914, 0.4822, 0.4465], cifarDeviation = [0.2023, 0.1994, 0.2010];

/** 32 x 32 colour images, stored as planes. */
export function cifar10(f: Preprocess): Sample[] {
  const bytes = gunzipSync(readFileSync(dataFiles.cifar10));
  return Array.from({ length: bytes.length / CIFAR_RECORD }, (_, i) => {
    const record = bytes.subarray(i * CIFAR_RECORD, (i + 1) * CIFAR_RECORD);
    return { input: f(record.subarray(1)), label: record[0]! };
  });
}

export const pictures: { readonly [how in 'pixelsLast' | 'normalised']: Preprocess } = {
  pixelsLast: (p) => tensorOf('f32', [1, 32, 32, 3], Array.from(p, (_, i) => p[(i % 3) * 1024 + Math.floor(i / 3)]!)),
  normalised: (p) => tensorOf('f32', [1, 3, 32, 32], Array.from(p, (x, i) => (x / 255 - cifarMean[i >> 10]!) / cifarDeviation[i >> 10]!)),
};

/** 49 x 10 spectral features of spoken words as int8, and how they were quantised. */
const KWS_SCALE = 0.5847029089927673, KWS_ZERO_POINT = 83;

export function kws(): Sample[] {
  const dir = mkdtempSync(join(tmpdir(), 'spc-kws-'));
  try {
    execFileSync('tar', ['-xzf', dataFiles.kws, '-C', dir]);
    const files = readdirSync(dir, { recursive: true, encoding: 'utf8' });
    const labels = files.find((f) => f.endsWith('y_labels.csv'))!;
    const folder = join(dir, labels, '..');
    return readFileSync(join(dir, labels), 'utf8').trim().split('\n').map((line) => {
      const [file, , label] = line.split(',').map((x) => x.trim());
      const bytes = readFileSync(join(folder, file!));
      return { input: tensorOf('f32', [1, 49, 10, 1], Array.from(new Int8Array(bytes), (q) => (q - KWS_ZERO_POINT) * KWS_SCALE)), label: Number(label) };
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
