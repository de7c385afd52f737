/** `spc compare` as its user runs it, on the handwritten digits of examples/ and, where they are here, on larger sets. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findOnnxRuntime } from '../../compiler/cli/onnxruntime.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { encodeNpy } from '../../compiler/io/npy.js';
import { tensorOf } from '../../compiler/ir/tensor.js';
import { decodeMessage, encodeMessage } from '../../compiler/onnx/proto.js';
import { tensorFromProto } from '../../compiler/onnx/tensor.js';
import { node, onnxModel, tensorProto } from '../support/onnx-builder.js';
import { cifar10, dataFiles, isThere, pictures } from '../models/data.js';
import { sharedFolder } from '../models/models.js';
import { spc, tinyModel, workspace, type Ended } from './support.js';

const w = workspace(), env = { SPC_CACHE_DIR: w.path('cache') };
afterAll(() => w.remove());
const compiler = spawnSync('cc', ['--version']).status === 0;
const examples = join(packageRoot(), 'examples'), cnn = join(examples, 'models', 'mnist-cnn', 'mnist.onnx'), digits = join(examples, 'data', 'mnist-500-images-idx3-ubyte.gz');

/** The model with the smallest weights of each large tensor set to zero. */
function pruned(path: string, share: number): Uint8Array {
  const model = decodeMessage('ModelProto', readFileSync(path));
  const initializer = model.graph!.initializer!.map((proto) => {
    const t = tensorFromProto(proto);
    if (t.dtype !== 'f32' || t.data.length < 100) return proto;
    const numbers = [...(t.data as Float32Array)], threshold = numbers.map(Math.abs).sort((x, y) => x - y)[Math.floor(share * numbers.length)]!;
    return tensorProto(tensorOf('f32', t.shape, numbers.map((x) => (Math.abs(x) < threshold ? 0 : x))), proto.name!);
  });
  return encodeMessage('ModelProto', { ...model, graph: { ...model.graph!, initializer } } as never);
}

interface Report {
  readonly exitCode: number;
  readonly verdict: readonly string[];
  readonly overall: { readonly samples: number; readonly accuracyA: number; readonly accuracyB: number; readonly mcNemar: { readonly p: number } };
  readonly flips: { readonly total: number };
  readonly classes: readonly { readonly support: number; readonly delta: number }[];
  readonly worstClass: { readonly class: number; readonly delta: number };
  readonly groups: readonly { readonly value: string; readonly samples: number; readonly delta: number }[];
  readonly gates: readonly { readonly gate: string; readonly ok: boolean }[];
  readonly sparsity: { readonly a: { readonly density: number; readonly nonZeroMacs: number; readonly macs: number }; readonly b: { readonly density: number; readonly nonZeroMacs: number; readonly macs: number } };
  readonly robustness?: { readonly levels: readonly { readonly noise: number; readonly accuracyA: number }[]; readonly meanA: number };
}
const reportOf = (r: Ended): Report => JSON.parse(r.stdout) as Report;

describe.skipIf(!compiler)(`digits of examples/${compiler ? '' : ' (skipped: no C compiler)'}`, () => {
  const sparse = w.file('pruned.onnx', pruned(cnn, 0.8));
  test('a pruned model: report, Markdown, groups, noise', { timeout: 60_000 }, () => {
    const groups = w.file('groups.txt', Array.from({ length: 500 }, (_, i) => (i < 250 ? 'first' : 'second')).join('\n'));
    const r = spc(['compare', cnn, sparse, '--data', digits, '--groups', groups, '--noise', '0,50', '--markdown', w.path('report.md'), '--json'], { env });
    expect(r.code, r.stderr).toBe(0);
    const d = reportOf(r);
    expect([d.overall.samples, d.overall.accuracyA]).toEqual([500, 0.986]);
    expect(d.overall.accuracyB).toBeLessThan(0.986);
    expect(d.classes.reduce((s, c) => s + c.support, 0)).toBe(500);
    expect(d.worstClass.delta).toBe(Math.min(...d.classes.map((c) => c.delta)));
    expect(d.verdict.some((s) => s.startsWith(`Class ${d.worstClass.class} loses most`))).toBe(true);
    expect(d.groups.map((g) => [g.value, g.samples])).toEqual([['first', 250], ['second', 250]]);
    expect(d.sparsity.a.density).toBe(1);
    expect(Math.abs(d.sparsity.b.density - 0.2)).toBeLessThan(0.02);
    expect(Math.abs(d.sparsity.b.nonZeroMacs / d.sparsity.b.macs - 0.2)).toBeLessThan(0.1);
    expect(d.robustness!.levels[0]).toMatchObject({ noise: 0, accuracyA: 0.986 });
    expect(d.robustness!.levels[1]!.accuracyA).toBeLessThan(0.986);
    expect(readFileSync(w.path('report.md'), 'utf8')).toContain(d.verdict[0]);
  });

  test('a gate that fails ends with 6, gates that hold with 0', { timeout: 60_000 }, () => {
    const failing = spc(['compare', cnn, sparse, '--data', digits, '--limit', '300', '--gate', 'overall-drop=50', '--gate', 'flip-rate=0'], { env });
    expect([failing.code, failing.stdout.includes('FAILED: flip-rate')], failing.stderr).toEqual([6, true]);
    const holding = spc(['compare', cnn, cnn, '--data', digits, '--limit', '300', '--gate', 'class-drop=0', '--gate', 'ece-rise=0', '--json'], { env });
    expect([holding.code, reportOf(holding).flips.total, reportOf(holding).gates.map((g) => g.ok)]).toEqual([0, 0, [true, true]]);
  });

  test.skipIf(!findOnnxRuntime())(`the same answers from ONNX Runtime${findOnnxRuntime() ? '' : ' (skipped: onnxruntime-node is not installed)'}`, { timeout: 60_000 }, () => {
    const run = (...more: string[]): Report => reportOf(spc(['compare', cnn, sparse, '--data', digits, '--limit', '200', '--json', ...more], { env }));
    const ours = run(), theirs = run('--engine', 'onnxruntime');
    expect([theirs.overall, theirs.flips.total, theirs.worstClass.class]).toEqual([ours.overall, ours.flips.total, ours.worstClass.class]);
  });
});

describe('what cannot be compared', () => {
  const tiny = w.file('tiny.onnx', tinyModel()), x = w.file('x.npy', encodeNpy(tensorOf('f32', [2, 3], [1, 2, 3, 4, 5, 6]))), y = w.file('y.txt', '0\n1\n');
  const wide = w.file('wide.onnx', onnxModel({ inputs: { x: { dtype: 'f32', shape: [1, 3] } }, nodes: [node('Relu', ['x'], ['z'], {})], outputs: { z: { dtype: 'f32' } } }));
  const counted = w.file('counted.onnx', onnxModel({ inputs: { x: { dtype: 'f32', shape: [1, 3] } }, nodes: [node('ArgMax', ['x'], ['z'], { axis: 1 })], outputs: { z: { dtype: 'i64' } } }));
  const reference = ['--engine', 'reference'];
  test.each<[string, readonly string[], RegExp]>([
    ['no data', [tiny, tiny], /SPC6002.*labelled data/],
    ['several outputs', [tiny, tiny, '--data', x, '--labels', y], /SPC6121.*several outputs[\s\S]*--scores/],
    ['an output that is not there', [wide, wide, '--data', x, '--labels', y, '--scores', 'nosuch'], /SPC6121.*no output 'nosuch'/],
    ['an output without scores', [counted, counted, '--data', x, '--labels', y], /SPC6121.*i64/],
    ['labels that are no classes', [wide, wide, '--data', x, '--labels', w.file('bad.txt', '0\n7\n')], /SPC6120.*sample 1 is 7/],
    ['a build folder', [w.dir, wide, '--data', x, '--labels', y], /SPC6002.*build folder/],
    ['an unknown gate', [wide, wide, '--data', x, '--labels', y, '--gate', 'beauty=1'], /beauty/],
    ['noise levels out of order', [wide, wide, '--data', x, '--labels', y, '--noise', '10,5'], /ascending/],
  ])('%s', (_, args, message) => {
    const r = spc(['compare', ...args, ...reference], { env });
    expect([r.code, message.test(r.stderr)], r.stderr).toEqual([2, true]);
  });

  test('the reference evaluator needs no compiler; --scores picks an output', () => {
    const r = spc(['compare', tiny, tiny, '--data', x, '--labels', y, '--scores', 's', ...reference, '--json'], { env });
    expect([r.code, reportOf(r).overall.samples, reportOf(r).flips.total], r.stderr).toEqual([0, 2, 0]);
  });
});

const dense56 = join(sharedFolder, 'models/resnet56-pruned/resnet56.onnx'), sparse56 = join(sharedFolder, 'models/resnet56-pruned/sniplevel_30_0.8.onnx');
const absent = !existsSync(dense56) || !existsSync(sparse56) || !isThere('cifar10');
test.skipIf(!compiler || absent)(`ResNet-56 against itself pruned to a fifth: as many answers agree as ONNX Runtime says${absent ? ' (skipped: the models or the pictures are not here)' : ''}`, { timeout: 120_000 }, () => {
  // the networks know 100 other classes than these pictures have; only how far they agree can be checked
  const samples = cifar10(pictures.normalised).slice(0, 60);
  const x = w.file('pictures.npy', encodeNpy(tensorOf('f32', [60, 3, 32, 32], samples.flatMap((s) => [...(s.input as { data: Float32Array }).data])))), y = w.file('pictures.txt', samples.map((s) => s.label).join('\n'));
  const run = (...more: string[]): Report & { agreement: { top1: number; meanKl: number } } => JSON.parse(spc(['compare', dense56, sparse56, '--data', x, '--labels', y, '--json', ...more], { env }).stdout) as never;
  const ours = run(), theirs = run('--engine', 'onnxruntime');
  expect(Math.abs(ours.sparsity.b.density - 0.2)).toBeLessThan(0.01);
  expect(ours.agreement.top1).toBeCloseTo(theirs.agreement.top1, 2);
  expect(ours.agreement.meanKl).toBeCloseTo(theirs.agreement.meanKl, 3);
  expect(ours.agreement.top1).toBeGreaterThan(0.2);
  expect(ours.agreement.top1).toBeLessThan(0.55);
});

const mnistImages = dataFiles.mnist, mlp = join(sharedFolder, 'models/mnist-pruned/mnist_cnn_pruned.onnx'), noMnist = !isThere('mnist') || !existsSync(mlp);
test.skipIf(!compiler || noMnist)(`10 000 digits: a pruned CNN and itself with fewer weights${noMnist ? ' (skipped: the model or the digits are not here)' : ''}`, { timeout: 120_000 }, () => {
  const sparser = w.file('sparser.onnx', pruned(mlp, 0.93));
  const r = spc(['compare', mlp, sparser, '--data', mnistImages, '--normalize', `${0.1307 * 255},${0.3081 * 255}`, '--json'], { env });
  expect(r.code, r.stderr).toBe(0);
  const d = reportOf(r);
  expect(d.overall.samples).toBe(10_000);
  expect(Math.abs(d.overall.accuracyA - 0.9349)).toBeLessThanOrEqual(0.0002);
  expect(d.overall.mcNemar.p).toBeLessThan(0.05);
});
