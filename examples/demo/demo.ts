/**
 * `npm run demo`: compiles a trained network whose weights are 62 % zeros, runs it on real digits, says what it saw, how sparse it was
 * and how long it took against ONNX Runtime on the same input.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { compile, load } from 'spc';

const root = new URL('../../', import.meta.url);
const path = (file: string): string => fileURLToPath(new URL(file, root));
const modelFile = path('examples/models/qonnx-tfc/TFC_2W2A.onnx'), folder = path('build/demo');
const PIXELS = 28 * 28;

/** Digits in the IDX format of MNIST: a header of 16 (images) or 8 bytes (labels), then one byte a pixel or label. */
const idx = (file: string, header: number): Uint8Array => gunzipSync(readFileSync(path(`examples/data/${file}`))).subarray(header);
const images = idx('mnist-500-images-idx3-ubyte.gz', 16), labels = idx('mnist-500-labels-idx1-ubyte.gz', 8);

const spc = (...args: string[]): string => execFileSync(process.execPath, [path('dist/compiler/cli/main.js'), ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

console.log('Compiling examples/models/qonnx-tfc/TFC_2W2A.onnx to build/demo ...');
const { manifest } = await compile(modelFile, { output: folder, name: 'tfc' });
const model = await load(folder);
const [input] = model.inputs, [output] = model.outputs;

const classify = (i: number): number => {
  const image = Float32Array.from(images.subarray(i * PIXELS, (i + 1) * PIXELS), (v) => v / 255);
  const scores = Array.from(model.run({ [input!.name]: image })[output!.name]!, Number);
  return scores.indexOf(Math.max(...scores));
};
const seen = Array.from(labels, (_, i) => classify(i));

const shades = ' .:*#';
const rows = (i: number): string[] => Array.from({ length: 14 }, (_, y) =>
  Array.from({ length: 28 }, (_, x) => shades[Math.round((images[i * PIXELS + 2 * y * 28 + x]! / 255) * (shades.length - 1))]).join(''));
const shown = [0, 1, 2].map(rows);
console.log(`\n${shown[0]!.map((_, y) => shown.map((r) => r[y]).join('  ')).join('\n')}`);
console.log([0, 1, 2].map((i) => `it sees a ${seen[i]}, it is a ${labels[i]}`.padEnd(28)).join('  '));

const right = seen.filter((digit, i) => digit === labels[i]).length;
console.log(`\naccuracy  ${right} of ${labels.length} digits of the MNIST test set (${((100 * right) / labels.length).toFixed(1)} %)`);

interface Inspection { readonly sparsity: number; readonly macs: number; readonly weights: readonly { readonly name: string; readonly type: string; readonly sparsity: number }[] }
const inspected = JSON.parse(spc('inspect', modelFile, '--json')) as Inspection;
console.log(`sparsity  ${(100 * inspected.sparsity).toFixed(1)} % of the weights are zero: ${inspected.weights.map((w) => `${w.type} ${(100 * w.sparsity).toFixed(0)} %`).join(', ')}`);
console.log(`layers    ${manifest.layers.map((l) => `${l.kind} (${l.status})`).join(', ')}; ${manifest.arenaBytes} bytes of working memory`);

interface Bench { readonly spc_us: number; readonly peer_us: number; readonly ratio: number; readonly peer: string }
try {
  const bench = JSON.parse(spc('bench', modelFile, '--compare', 'onnxruntime', '--json', '--rounds', '9')) as Bench;
  console.log(`time      ${bench.spc_us.toFixed(2)} us an image; ${bench.peer} takes ${bench.peer_us.toFixed(2)} us, ${bench.ratio.toFixed(1)} times as long (one thread, the lower of two honest ratios)`);
} catch (e) {
  console.log(`time      not compared: ${String((e as { stderr?: string }).stderr ?? e).split('\n')[0]}`);
}
console.log('\nThe code is in build/demo: tfc.c has one function a layer, manifest.json says how each runs and why.');
model.dispose();
