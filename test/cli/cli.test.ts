import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findOnnxRuntime } from '../../compiler/cli/onnxruntime.js';
import { verbs } from '../../compiler/cli/verbs.js';
import { decodeNpy, encodeNpy } from '../../compiler/io/npy.js';
import { encodeNpz } from '../../compiler/io/npz.js';
import { tensorOf, toNumbers } from '../../compiler/ir/tensor.js';
import { encodeMessage } from '../../compiler/onnx/proto.js';
import { node, onnxModel, tensorProto } from '../support/onnx-builder.js';
import { hasTool } from '../support/processes.js';
import { spc, tinyInput, tinyModel, tinySpec, tinyY, workspace, type Ended } from './support.js';

const w = workspace();
const compiler = spawnSync('cc', ['--version']).status === 0;
const cache = { SPC_CACHE_DIR: w.path('cache') };
let model: string, input: string;
beforeAll(() => {
  model = w.file('tiny.onnx', tinyModel());
  input = w.file('x.npy', encodeNpy(tensorOf('f32', [1, 3], tinyInput)));
});
afterAll(() => w.remove());

interface Document { readonly schemaVersion: number; readonly command: string | null; readonly exitCode: number; readonly diagnostics: readonly { readonly code: string; readonly hint?: string; readonly node?: string }[] }
const json = <T = Record<string, never>>(r: Ended): Document & T => JSON.parse(r.stdout) as Document & T;
const softmax = (x: readonly number[]): number[] => { const e = x.map(Math.exp), s = e.reduce((a, b) => a + b); return e.map((v) => v / s); };

describe('compile', () => {
  test('writes a folder with the documented files, the same at every run, and leaves what is unchanged untouched', () => {
    const out = w.path('build');
    const r = spc(['compile', model, '-o', out]);
    expect([r.code, r.stderr.includes('SPC1012')], r.stderr).toEqual([0, true]);
    expect(r.stdout).toMatch(/wrote \d+ files/);
    const files = readdirSync(out).sort();
    expect(files).toEqual(expect.arrayContaining(['CMakeLists.txt', 'main.c', 'manifest.json', 'spc.h', 'tiny.c', 'tiny.h']));
    expect(readdirSync(w.dir).filter((f) => f.startsWith('.spc'))).toEqual([]);
    const before = files.map((f) => [statSync(join(out, f)).mtimeMs, readFileSync(join(out, f))]);
    expect(spc(['compile', model, '-o', out]).code).toBe(0);
    expect(files.map((f) => [statSync(join(out, f)).mtimeMs, readFileSync(join(out, f))])).toEqual(before);
  });

  test('--json is one document on stdout that lists what was written', () => {
    const r = spc(['compile', model, '-o', w.path('build-json'), '--json', '--name', 'net', '--dim', 'batch=2', '--time-passes', '--verify-each']);
    const d = json<{ written: string[]; arenaBytes: number; passes: { name: string; milliseconds: number }[] }>(r);
    expect([r.code, d.schemaVersion, d.command, d.exitCode, d.diagnostics]).toEqual([0, 1, 'compile', 0, []]);
    expect(d.written.sort()).toEqual(readdirSync(w.path('build-json')).sort());
    expect(d.written).toContain('net.c');
    expect(d.passes.every((p) => p.milliseconds >= 0) && d.passes.length > 2).toBe(true);
  });

  test('--dry-run and errors write nothing', () => {
    const out = w.path('nothing');
    expect(spc(['compile', model, '--dry-run', '-o', out]).code).toBe(0);
    const broken = w.file('broken.onnx', onnxModel({ ...tinySpec, nodes: [...tinySpec.nodes, node('NoSuchOp', ['y'], ['z'], {}, { name: 'odd' }), node('NorThis', ['y'], ['v'], {}, { name: 'odder' })] }));
    const r = spc(['compile', broken, '-o', out]);
    expect([r.code, existsSync(out)]).toEqual([3, false]);
    // All problems at once, each with its node.
    expect(r.stderr).toMatch(/odd'[\s\S]*odder'/);
    expect(readdirSync(w.dir).filter((f) => f.startsWith('.spc'))).toEqual([]);
  });

  test('--fail-on=warning ends with 6 and writes nothing', () => {
    const out = w.path('warned');
    const r = spc(['compile', model, '-o', out, '--dim', 'nosuch=3', '--fail-on=warning']);
    expect([r.code, existsSync(out)], r.stderr).toEqual([6, false]);
    expect(r.stderr).toContain('SPC1019');
    expect(spc(['compile', model, '-o', out, '--dim', 'nosuch=3']).code).toBe(0);
  });

  test('a folder that cannot be made is a usage error, not a crash', () => {
    const r = spc(['compile', model, '-o', join(model, 'sub')]);
    expect([r.code, r.stderr.includes('SPC6003')]).toEqual([2, true]);
  });

  test.each(['cpu', 'cuda', 'fpga'])('--target=%s', (target) => {
    const r = spc(['compile', model, '-o', w.path(target), '--target', target, '--json']);
    expect([r.code, json<{ target: string }>(r).target], r.stderr).toEqual([0, target]);
  });
});

describe.skipIf(!compiler)('run', () => {
  test('writes every output to OUT/NAME.npy', () => {
    const r = spc(['run', model, '--input', `in/x=${input}`, '--output-dir', w.path('out')], { env: cache });
    expect(r.code, r.stderr).toBe(0);
    const read = (name: string): number[] => toNumbers(decodeNpy(readFileSync(w.path(`out/${name}.npy`)), name));
    expect(read('y')).toEqual(tinyY);
    softmax(tinyY).forEach((x, i) => expect(read('s')[i]).toBeCloseTo(x, 6));
    expect(readdirSync(w.path('out')).sort()).toEqual(['s.npy', 'y.npy']);
  });

  test('reads .npz, .pb, raw bytes, build folders and standard input, on every engine', () => {
    const outputs = (r: Ended): unknown => { expect(r.code, r.stderr).toBe(0); return json<{ outputs: { name: string; data: number[] }[] }>(r).outputs.find((o) => o.name === 'y')?.data; };
    const npz = w.file('x.npz', encodeNpz(new Map([['in/x', tensorOf('f32', [1, 3], tinyInput)]]))), pb = w.file('x.pb', encodeMessage('TensorProto', tensorProto(tensorOf('f32', [1, 3], tinyInput))));
    const raw = w.file('x.raw', new Uint8Array(Float32Array.from(tinyInput).buffer));
    for (const file of [npz, pb, raw]) expect(outputs(spc(['run', model, '-i', file, '--json'], { env: cache })), file).toEqual(tinyY);
    expect(spc(['compile', model, '-o', w.path('folder')]).code).toBe(0);
    expect(outputs(spc(['run', w.path('folder'), '-i', input, '--json'], { env: cache }))).toEqual(tinyY);
    expect(outputs(spc(['run', '-', '-i', input, '--json'], { env: cache, input: tinyModel() }))).toEqual(tinyY);
    for (const engine of ['reference', ...(findOnnxRuntime() ? ['onnxruntime'] : [])]) expect(outputs(spc(['run', model, '-i', input, '--engine', engine, '--json'])), engine).toEqual(tinyY);
  });

  test('prints, shortens with --top, and draws the same random inputs from the same seed', () => {
    const top = spc(['run', model, '-i', input, '--top', '1'], { env: cache });
    expect(top.stdout).toContain('y  f32[1,2]\n       0  2.5\n');
    const drawn = (seed: string): string => spc(['run', model, '--random', seed], { env: cache }).stdout;
    expect(drawn('3')).toBe(drawn('3'));
    expect(drawn('3')).not.toBe(drawn('4'));
  });

  test('a weights file at run time', () => {
    expect(spc(['compile', model, '-o', w.path('external'), '--weights=file']).code).toBe(0);
    const r = spc(['run', w.path('external'), '-i', input, '--json'], { env: cache });
    expect(json<{ outputs: { data: number[] }[] }>(r).outputs[0]?.data, r.stderr).toEqual(tinyY);
  });
});

describe.skipIf(!compiler)('verify', () => {
  test('a good model, on several inputs', () => {
    const r = spc(['verify', model, '--samples', '3', '--json'], { env: cache });
    const d = json<{ ok: boolean; comparisons: { against: string; maxAbs: number }[] }>(r);
    expect([r.code, d.ok], r.stderr).toEqual([0, true]);
    expect(d.comparisons.filter((c) => c.against === 'reference')).toHaveLength(6);
    expect(d.comparisons.filter((c) => c.against === 'onnxruntime')).toHaveLength(findOnnxRuntime() ? 6 : 0);
    expect(Math.max(...d.comparisons.map((c) => c.maxAbs))).toBeLessThan(1e-5);
  });

  test('a C compiler that computes something else is caught, with the layer at fault', () => {
    // Changes the emitted code behind spc's back: the clamp at zero becomes one at a quarter.
    const cc = w.path('evil-cc');
    w.file('evil-cc', `#!/bin/sh
for a in "$@"; do case "$a" in */tiny.c) sed -e 's/spc_maxf(\\(.*\\), 0\\.0f)/spc_maxf(\\1, 0.25f)/; s/0x0p+0f\\|0\\.0f\\b/0.25f/g' "$a" > "$a.evil.c"; mv "$a.evil.c" "$a";; esac; done
exec cc "$@"
`);
    spawnSync('chmod', ['+x', cc]);
    const r = spc(['verify', model, '-i', input, '--json'], { env: { CC: cc, SPC_CACHE_DIR: w.path('evil-cache') } });
    const d = json<{ ok: boolean; fault: { pass: unknown; layer: { nodes: { node: string }[] } } }>(r);
    expect([r.code, d.ok, d.fault.pass], r.stderr).toEqual([1, false, null]);
    expect(d.fault.layer.nodes.map((n) => n.node)).toContain('clamp');
  });
});

describe.skipIf(!compiler)('bench', () => {
  test('--json gives spc_us, and with a peer peer_us and ratio', () => {
    const peer = findOnnxRuntime() !== undefined;
    const r = spc(['bench', model, ...(peer ? ['--compare', 'onnxruntime'] : []), '--rounds', '3', '--block-ms', '2', '--per-layer', '--json'], { env: cache });
    const d = json<{ spc_us: number; peer_us?: number; ratio?: number; spcBlocks_us: number[]; layers: { us: number }[] }>(r);
    expect([r.code, d.spcBlocks_us.length, d.spc_us > 0], r.stderr).toEqual([0, 3, true]);
    expect(d.layers.length > 0 && d.layers.every((l) => l.us > 0)).toBe(true);
    if (peer) expect(d.ratio! > 0 && d.ratio! <= d.peer_us! / d.spc_us + 1e-9).toBe(true);
  });

  test.skipIf(hasTool('nvidia-smi'))('a model for a GPU is timed on none but a GPU', () => {
    const told = (...more: string[]): unknown => json<{ diagnostics: { code: string; hint: string }[] }>(spc(['bench', model, '--target=cuda', '--json', ...more], { env: cache })).diagnostics.at(-1);
    expect(told()).toMatchObject({ code: 'SPC5508', hint: expect.stringContaining('--device=emulator') as string });
    expect(told('--device=emulator')).toMatchObject({ code: 'SPC6002', hint: expect.stringContaining('inspect --target=cuda') as string });
  });
});

test('inspect shows shapes, work and zeros', () => {
  const r = spc(['inspect', model, '--json']);
  const d = json<{ macs: number; sparsity: number; operators: Record<string, number>; weights: { name: string; zeros: number; elements: number }[]; layers: { status: string; reason: string }[] }>(r);
  expect([r.code, d.macs]).toEqual([0, 6]);
  expect(d.operators).toEqual({ MatMul: 1, Add: 1, Relu: 1, Softmax: 1 });
  expect(d.layers.every((l) => ['sparse-kernel', 'dense-kernel', 'reference'].includes(l.status) && l.reason !== '')).toBe(true);
  const big = w.file('big.onnx', onnxModel({ ...tinySpec, nodes: [node('MatMul', ['in/x', 'W'], ['y'])], outputs: ['y'], initializers: { W: tensorOf('f32', [3, 16], Array.from({ length: 48 }, (_, i) => (i % 4 === 0 ? -1 : i % 4 === 1 ? -0 : 0))) } }));
  expect(json<{ weights: object[]; sparsity: number }>(spc(['inspect', big, '--json']))).toMatchObject({ sparsity: 0.75, weights: [{ name: 'W', zeros: 36, elements: 48 }] });
  expect(spc(['inspect', model, '--layers']).stdout).toMatch(/product \(MatMul\)/);
});

test('ops, targets, passes and doctor', () => {
  const ops = json<{ ops: { op: string }[] }>(spc(['ops', 'conv', '--json'])).ops.map((o) => o.op);
  expect(ops).toEqual(expect.arrayContaining(['Conv', 'ConvTranspose']));
  expect(ops.every((o) => /conv/i.test(o))).toBe(true);
  expect(json<{ targets: { name: string }[] }>(spc(['targets', '--json'])).targets.map((t) => t.name)).toEqual(['cpu', 'cuda', 'fpga']);
  expect(json<{ passes: { name: string }[] }>(spc(['passes', '--json'])).passes.length).toBeGreaterThan(3);
  // Nothing on the path: still an answer, and no failure.
  const doctor = (env: Readonly<Record<string, string>>): { readonly name: string; readonly found: string | null; readonly hint?: string }[] => {
    const r = spc(['doctor', '--json'], { env: { PATH: w.path('no-programs'), CC: '', ...cache, ...env } });
    expect(r.code, r.stderr).toBe(0);
    return json<{ tools: { name: string; found: string | null; hint?: string }[] }>(r).tools;
  };
  const bare = doctor({ SPC_NVCC: '' });
  expect(bare.find((t) => t.name === 'C compiler')?.found).toBeNull();
  expect(bare.find((t) => t.name === 'nvcc')).toMatchObject({ found: null, hint: expect.stringMatching(/pip install nvidia-cuda-nvcc .*SPC_NVCC=/) });
  const nvcc = w.file('my-nvcc', '#!/bin/sh\necho "Cuda compilation tools, release 13.5"\n');
  chmodSync(nvcc, 0o755);
  expect(doctor({ SPC_NVCC: nvcc }).find((t) => t.name === 'nvcc')?.found).toBe(`${nvcc}: Cuda compilation tools, release 13.5`);
});

test('help for every verb, version, and colours only where wanted', () => {
  for (const verb of verbs) {
    const r = spc([verb.name, '--help']);
    expect([r.code, r.stdout.includes('Examples:')], verb.name).toEqual([0, true]);
  }
  expect(spc(['--version']).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  const escape = String.fromCharCode(27);
  expect(spc(['targets']).stdout).not.toContain(escape);
  expect(spc(['targets', '--color=always']).stdout).toContain(escape);
  expect(spc(['targets', '--color=never'], { env: { FORCE_COLOR: '1' } }).stdout).not.toContain(escape);
});

describe('nonsense ends with the documented code, words and no stack trace', () => {
  mkdirSync(w.path('empty'), { recursive: true });
  const bytes = tinyModel();
  w.file('cut.onnx', bytes.subarray(0, bytes.length >> 1));
  w.file('text.onnx', 'this is not a model\n');
  w.file('none.onnx', '');
  w.file('cycle.onnx', onnxModel({ ...tinySpec, nodes: [node('Add', ['in/x', 'b2'], ['a']), node('Neg', ['a'], ['b2'])], outputs: ['a'] }));
  w.file('missing.onnx', onnxModel({ ...tinySpec, initializers: {} }));
  w.file('unsupported.onnx', onnxModel({ ...tinySpec, nodes: [node('NoSuchOp', ['in/x'], ['y'], {}, { name: 'odd' })], outputs: ['y'] }));
  w.file('unbound.onnx', onnxModel({ ...tinySpec, inputs: { 'in/x': { dtype: 'f32', shape: [1, 'width'] } } }));
  w.file('huge.onnx', onnxModel({ ...tinySpec, inputs: { 'in/x': { dtype: 'f32', shape: [2 ** 40, 2 ** 40, 3] } } }));
  const at = (name: string): string => w.path(name);
  const everyVerb = ['compile', 'run', 'verify', 'bench', 'inspect'].flatMap((verb): [string[], number][] => {
    const more = verb === 'compile' ? ['-o', at('nope')] : verb === 'run' ? ['--random', '1'] : [];
    return [
      [[verb, at('absent.onnx'), ...more], 4], [[verb, at('cut.onnx'), ...more], 4], [[verb, at('unsupported.onnx'), ...more], 3],
      [[verb], 2], [[verb, at('cut.onnx'), '--nonsense', ...more], 2],
    ];
  });
  const cases: [string[], number][] = [
    ...everyVerb,
    [[], 2], [['frobnicate'], 2], [['compile', at('text.onnx'), '-o', at('nope')], 4], [['compile', at('none.onnx'), '-o', at('nope')], 4],
    [['compile', at('empty'), '-o', at('nope')], 4], [['inspect', at('cycle.onnx')], 4], [['inspect', at('missing.onnx')], 4],
    [['inspect', at('unbound.onnx')], 2], [['inspect', at('huge.onnx')], 4], [['inspect', at('unbound.onnx'), '--dim', 'width=4'], 4],
    [['compile', at('tiny.onnx')], 2], [['compile', at('tiny.onnx'), '-o', at('nope'), '--name', '1x'], 2], [['compile', at('tiny.onnx'), '-o', at('nope'), '--dim', 'batch'], 2],
    [['compile', at('tiny.onnx'), '-o', at('nope'), '--dim', 'batch=-1'], 2], [['compile', at('tiny.onnx'), '-o', at('nope'), '--target', 'abacus'], 2],
    [['compile', at('tiny.onnx'), '-o', at('nope'), '--print-ir-after', 'no-such-pass'], 2], [['compile', at('tiny.onnx'), 'extra', '-o', at('nope')], 2],
    [['compile', at('tiny.onnx'), '--dry-run', '--layout', 'product'], 2], [['compile', at('tiny.onnx'), '--dry-run', '--layout', 'nothing=rows'], 2], [['compile', at('tiny.onnx'), '--dry-run', '--require-sparse'], 6],
    [['compile', at('tiny.onnx'), '--dry-run', '--require-sparse=200'], 2], [['run', at('tiny.onnx')], 2], [['run', at('empty'), '--random', '1'], 2], [['run', at('tiny.onnx'), '-i', 'bogus=x.npy'], 2], [['run', at('tiny.onnx'), '-i', at('text.onnx')], 2],
    [['run', at('tiny.onnx'), '--random', 'seed'], 2], [['run', at('tiny.onnx'), '--random', '1', '--top', '0'], 2], [['run', at('tiny.onnx'), '--random', '1', '--engine', 'steam'], 2],
    [['run', at('tiny.onnx'), '--random', '1', '--random-range', '2,1'], 2], [['run', at('tiny.onnx'), '--random', '1', '--bind', 'x'], 2],
    [['verify', at('tiny.onnx'), '--rtol', '-1'], 2], [['verify', at('tiny.onnx'), '--samples', '2', '-i', at('x.npy')], 2], [['bench', at('tiny.onnx'), '--rounds', '1'], 2],
    [['bench', at('tiny.onnx'), '--target=cuda', '--device=emulator'], 2], [['bench', at('tiny.onnx'), '--target=cuda', '--compare', 'onnxruntime'], 2],
    [['bench', at('tiny.onnx'), '--compare', 'abacus'], 2], [['targets', 'extra'], 2], [['ops', 'a', 'b'], 2], [['passes', '--target', 'none'], 2], [['doctor', '--nonsense'], 2],
  ];
  test.each(cases)('spc %j -> %i', (args, code) => {
    const r = spc(args, { env: cache });
    expect(r.code, r.stderr).toBe(code);
    expect(r.stderr.trim()).not.toBe('');
    expect(r.stderr).not.toMatch(/\n\s+at |node:internal|TypeError|\[object/);
    expect(r.stdout).toBe('');
    expect(existsSync(at('nope'))).toBe(false);
  });

  test('and in --json, with the same codes', () => {
    for (const [args, code, diagnostic] of [[['inspect', at('unsupported.onnx')], 3, 'SPC1003'], [['run', at('tiny.onnx')], 2, 'SPC6104'], [['frobnicate'], 2, 'SPC6001']] as const) {
      const r = spc([...args, '--json']), d = json(r);
      expect([r.code, d.exitCode, d.schemaVersion, d.diagnostics.some((x) => x.code === diagnostic)], args.join(' ')).toEqual([code, code, 1, true]);
    }
  });

  test.skipIf(!compiler)('a missing or failing C compiler is 5', () => {
    const missing = spc(['run', at('tiny.onnx'), '--random', '1'], { env: { ...cache, CC: at('no-such-cc'), SPC_CACHE_DIR: at('cache2') } });
    expect([missing.code, missing.stderr.includes('SPC5501')]).toEqual([5, true]);
    w.file('bad-cc', '#!/bin/sh\n[ "$1" = --version ] && echo bad 1.0 && exit 0\necho "tiny.c:1: cannot do this" >&2\nexit 1\n');
    spawnSync('chmod', ['+x', at('bad-cc')]);
    const failing = spc(['run', at('tiny.onnx'), '--random', '1'], { env: { CC: at('bad-cc'), SPC_CACHE_DIR: at('cache2') } });
    expect([failing.code, failing.stderr.includes('SPC5502'), failing.stderr.includes('cannot do this')]).toEqual([5, true, true]);
    expect(readdirSync(at('cache2'))).toEqual([]);
  });
});
