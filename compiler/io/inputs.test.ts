import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { tensorOf, toNumbers } from '../ir/tensor.js';
import { encodeMessage } from '../onnx/proto.js';
import { fileNames, formatBytes, formatTensor, topK } from './format.js';
import { readInputs, type InputPort } from './inputs.js';
import { encodeNpy } from './npy.js';
import { encodeNpz } from './npz.js';
import { randomInputs, randomTensor, xoshiro128 } from './random.js';

const dir = mkdtempSync(join(tmpdir(), 'spc-io-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string, bytes: Uint8Array): string => { writeFileSync(join(dir, name), bytes); return join(dir, name); };
const ports: readonly InputPort[] = [{ name: 'a=b', dtype: 'f32', shape: [1, 2] }, { name: 'n', dtype: 'i64', shape: [2] }];
const a = tensorOf('f32', [2], [1.5, -2]), n = tensorOf('i64', [2], [3, 4]);

test('inputs from every kind of file', () => {
  const pb = encodeMessage('TensorProto', { dims: [2], dataType: 7, int64Data: [3, 4] });
  const raw = Buffer.alloc(8);
  raw.writeFloatLE(1.5, 0);
  raw.writeFloatLE(-2, 4);
  for (const files of [
    [`a=b=${file('a.npy', encodeNpy(a))}`, `n=${file('n.npy', encodeNpy(n))}`],
    [file('both.npz', encodeNpz(new Map([['a=b', a], ['n', n]])))],
    [`a=b=${file('a.raw', raw)}`, `n=${file('n.pb', pb)}`],
    [`a=b=${file('a.npy', encodeNpy(a))}`, `n=${file('n32.npy', encodeNpy(tensorOf('i32', [1, 2], [3, 4])))}`],
  ]) {
    const [x, y] = readInputs(ports, { files });
    expect([x!.shape, toNumbers(x!), y!.shape, toNumbers(y!)], files.join()).toEqual([[1, 2], [1.5, -2], [2], [3, 4]]);
  }
});

test('what does not fit is refused with the way out', () => {
  const good = `a=b=${file('a.npy', encodeNpy(a))}`;
  const refuse = (files: string[], message: RegExp): void => expect(() => readInputs(ports, { files }), message.source).toThrow(message);
  refuse([good], /SPC6104.*'n' i64\[2\][\s\S]*--random/);
  refuse([good, good], /given twice/);
  refuse([good, 'm=x.npy'], /x\.npy: cannot be read \(ENOENT\)/);
  refuse([good, `m=${file('n.npy', encodeNpy(n))}`], /no input 'm'/);
  refuse([good, file('n.npy', encodeNpy(n))], /which input/);
  refuse([good, `n=${file('wide.npy', encodeNpy(tensorOf('i64', [3], [1, 2, 3])))}`], /is i64\[3\], but input 'n' is i64\[2\]/);
  refuse([good, `n=${file('half.npy', encodeNpy(tensorOf('f32', [2], [1, 0.5])))}`], /element 1 \(0\.5\) is no i64[\s\S]*astype\('int64'\)/);
  refuse([`a=b=${file('d.npy', encodeNpy(tensorOf('f64', [2], [1, 0.1])))}`, `n=${file('n.npy', encodeNpy(n))}`], /element 1 \(0\.1\) is no f32/);
  refuse([`a=b=${file('short.bin', new Uint8Array(7))}`, `n=${file('n.npy', encodeNpy(n))}`], /must have 8 bytes, it has 7/);
  refuse([`n=${file('bad.pb', Uint8Array.from([255, 255, 255]))}`], /SPC6106/);
});

test('random inputs are the documented generator, the same for ever', () => {
  // The first output by its definition, rotl(s[1] * 5, 7) * 9, in exact integers; s comes from SplitMix32.
  const reference = (seed: number): bigint => {
    const mask = 0xffffffffn, rotate = (x: bigint, k: bigint): bigint => ((x << k) | (x >> (32n - k))) & mask;
    let mix = BigInt(seed);
    const split = (): bigint => {
      mix = (mix + 0x9e3779b9n) & mask;
      let z = ((mix ^ (mix >> 16n)) * 0x21f0aaadn) & mask;
      z = ((z ^ (z >> 15n)) * 0x735a2d97n) & mask;
      return z ^ (z >> 15n);
    };
    split();
    return (rotate((split() * 5n) & mask, 7n) * 9n) & mask;
  };
  for (const seed of [0, 1, 12345, 0xffffffff]) expect(BigInt(xoshiro128(seed)())).toBe(reference(seed));
  expect(toNumbers(randomTensor({ dtype: 'i64', shape: [8] }, 7))).toMatchInlineSnapshot(`
    [
      3,
      2,
      0,
      0,
      5,
      6,
      0,
      8,
    ]
  `);
  const big = toNumbers(randomTensor({ dtype: 'f32', shape: [20000] }, 3));
  const mean = big.reduce((s, x) => s + x, 0) / big.length, variance = big.reduce((s, x) => s + x * x, 0) / big.length;
  expect(Math.abs(mean)).toBeLessThan(0.02);
  expect(Math.abs(variance - 1 / 3)).toBeLessThan(0.02);
  expect(Math.max(...big) < 1 && Math.min(...big) >= -1).toBe(true);
  const [x, y] = randomInputs([{ dtype: 'i8', shape: [64] }, { dtype: 'i8', shape: [64] }], 1);
  expect(toNumbers(x!)).not.toEqual(toNumbers(y!));
  expect(new Set(toNumbers(randomTensor({ dtype: 'i32', shape: [999] }, 1, { low: 2, high: 4 })))).toEqual(new Set([2, 3, 4]));
});

test('tensors print as NumPy prints them, long ones shortened', () => {
  expect(formatTensor(tensorOf('f32', [2, 2], [1, -0.5, 1e-7, NaN]))).toBe('[[1, -0.5],\n [1e-7, NaN]]');
  expect(formatTensor(tensorOf('bool', [], [1]))).toBe('true');
  expect(formatTensor(tensorOf('i64', [0], []))).toBe('[]');
  expect(formatTensor(tensorOf('i32', [300], Array.from({ length: 300 }, (_, i) => i)))).toBe('[0, 1, 2, ..., 297, 298, 299]');
});

test('top-k: largest first, ties by index, NaN last', () => {
  expect(topK(tensorOf('f32', [5], [1, NaN, 3, 3, -1]), 3)).toEqual([{ index: 2, value: 3 }, { index: 3, value: 3 }, { index: 0, value: 1 }]);
});

test('file names are safe and different', () => {
  expect(fileNames(['a/b:0', 'a_b_0', '', '../../etc', 'A_B_0', 'Ünï'])).toEqual(['a_b_0', 'a_b_0_1', '_', '_._.._etc', 'A_B_0_2', '_n_']);
  expect([formatBytes(999), formatBytes(12345), formatBytes(2.5e6)]).toEqual(['999 B', '12.3 kB', '2.50 MB']);
});
