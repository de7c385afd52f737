import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { tensorOf, toNumbers, type Tensor } from '../ir/tensor.js';
import { decodeIdx } from './idx.js';
import type { InputPort } from './inputs.js';
import { feedFor, readGroups, readLabelled } from './labelled.js';
import { encodeNpy } from './npy.js';
import { encodeNpz } from './npz.js';

const dir = mkdtempSync(join(tmpdir(), 'spc-labelled-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string, content: Uint8Array | string): string => { writeFileSync(join(dir, name), content); return join(dir, name); };

const idx = (type: number, dims: readonly number[], data: Uint8Array): Uint8Array => {
  const head = Buffer.alloc(4 + 4 * dims.length);
  head[2] = type; head[3] = dims.length;
  dims.forEach((d, i) => head.writeUInt32BE(d, 4 + 4 * i));
  return Buffer.concat([head, data]);
};
/** Three samples of 2 x 2. */
const pixels = Uint8Array.from({ length: 12 }, (_, i) => i * 20), classes = Uint8Array.of(1, 0, 2);
const images = tensorOf('u8', [3, 2, 2], [...pixels]), port = (shape: readonly number[], name = 'x'): InputPort => ({ name, dtype: 'f32', shape });
const fed = (data: ReturnType<typeof readLabelled>, p: InputPort, first = 0): Tensor => feedFor(data, [p]).inputsAt(first)[0]!;

test('IDX: every element type, big-endian', () => {
  const floats = Buffer.alloc(8);
  floats.writeFloatBE(1.5, 0);
  floats.writeFloatBE(-2, 4);
  expect(toNumbers(decodeIdx(idx(0x0d, [2], floats), 'f'))).toEqual([1.5, -2]);
  expect(decodeIdx(idx(0x0b, [1, 2], Uint8Array.of(1, 2, 0xff, 0xfe)), 'f')).toMatchObject({ dtype: 'i16', shape: [1, 2], data: Int16Array.of(258, -2) });
  expect(decodeIdx(idx(0x08, [3], classes), 'f')).toMatchObject({ dtype: 'u8', data: classes });
  for (const bad of [Uint8Array.of(0, 0, 8), idx(0x07, [1], Uint8Array.of(1)), idx(0x08, [4], classes), Uint8Array.of(1, 0, 8, 0)]) expect(() => decodeIdx(bad, 'f')).toThrow(/SPC6107/);
});

describe('samples and labels', () => {
  file('mini-images-idx3-ubyte.gz', gzipSync(idx(8, [3, 2, 2], pixels)));
  file('mini-labels-idx1-ubyte.gz', gzipSync(idx(8, [3], classes)));
  mkdirSync(join(dir, 'set'));
  writeFileSync(join(dir, 'set', 'x_test.npy'), encodeNpy(images));
  writeFileSync(join(dir, 'set', 'y_test.npy'), encodeNpy(tensorOf('i64', [3, 1], [1, 0, 2])));
  writeFileSync(join(dir, 'set', 'README'), 'about them');
  const raw = new Float32Array(pixels);
  test.each<[string, Parameters<typeof readLabelled>[0]]>([
    ['MNIST names, packed', { data: join(dir, 'mini-images-idx3-ubyte.gz') }],
    ['.npy and text', { data: file('a.npy', encodeNpy(images)), labels: file('a.txt', '1\n0\r\n2\n') }],
    ['.npy and raw bytes', { data: file('a.npy', encodeNpy(images)), labels: file('a.bin', classes) }],
    ['.npz', { data: file('a.npz', encodeNpz(new Map([['images', images], ['labels', tensorOf('i32', [3], [1, 0, 2])]]))) }],
    ['.npz with the input\'s name', { data: file('b.npz', encodeNpz(new Map([['y', tensorOf('f64', [3], [1, 0, 2])], ['x', images]]))) }],
    ['a folder', { data: join(dir, 'set') }],
    ['raw elements', { data: file('a.raw', new Uint8Array(raw.buffer)), labels: file('a.csv', '1\n0\n2') }],
  ])('%s', (_, sources) => {
    const data = readLabelled(sources);
    expect([data.samples, data.rows, data.labels]).toEqual([3, 3, [1, 0, 2]]);
    const t = fed(data, port([1, 1, 2, 2]), 2);
    expect([t.dtype, t.shape, toNumbers(t)]).toEqual(['f32', [1, 1, 2, 2], [160, 180, 200, 220]]);
    const two = readLabelled({ ...sources, limit: 2 });
    expect([two.samples, two.rows, two.labels, toNumbers(fed(two, port([1, 4]), 1))]).toEqual([2, 3, [1, 0], [80, 100, 120, 140]]);
  });

  test('what cannot be told or does not fit is refused', () => {
    const x = file('c.npy', encodeNpy(images)), refuse = (sources: Parameters<typeof readLabelled>[0], message: RegExp): void => expect(() => readLabelled(sources), message.source).toThrow(message);
    refuse({ data: x }, /SPC6120.*no labels[\s\S]*--labels FILE/);
    refuse({ data: x, labels: file('two.txt', '1\n0') }, /SPC6120.*u8\[3,2,2\], but there are 2 labels/);
    refuse({ data: file('odd.raw', new Uint8Array(13)), labels: file('l.bin', classes) }, /SPC6120.*13 bytes/);
    mkdirSync(join(dir, 'mixed'));
    for (const name of ['train-images', 'test-images', 'train-labels']) writeFileSync(join(dir, 'mixed', name), '');
    refuse({ data: join(dir, 'mixed') }, /SPC6120.*which file holds the samples\?.*test-images, train-images, train-labels/);
    refuse({ data: join(dir, 'nowhere.npy') }, /SPC6100/);
    refuse({ data: file('broken.npy.gz', 'no gzip') }, /SPC6100/);
    refuse({ data: x, labels: file('none.bin', new Uint8Array(0)) }, /SPC6120.*has no labels/);
  });
});

describe('feeding a model', () => {
  const data = readLabelled({ data: file('d.npy', encodeNpy(images)), labels: file('d.bin', classes) });
  test('batches, the last one filled up with its last sample', () => {
    const feed = feedFor(data, [port([2, 2, 2])]);
    expect([feed.batch, toNumbers(feed.inputsAt(2)[0]!)]).toEqual([2, [160, 180, 200, 220, 160, 180, 200, 220]]);
  });
  test('a port without a batch axis, and one that is flat', () => {
    expect(feedFor(data, [port([2, 2])]).batch).toBe(1);
    expect(toNumbers(fed(data, port([1, 4]), 1))).toEqual([80, 100, 120, 140]);
    expect(feedFor(data, [port([3, 4])]).batch).toBe(3);
  });
  test('normalisation, and conversion only where it is exact', () => {
    const [t] = feedFor(data, [port([1, 2, 2])], { mean: 20, deviation: 40 }).inputsAt(0);
    expect(toNumbers(t!)).toEqual([-0.5, 0, 0.5, 1]);
    expect(() => feedFor(data, [{ ...port([1, 2, 2]), dtype: 'i8' }])).toThrow(/SPC6105[\s\S]*astype/);
  });
  test('other samples than the model takes', () => {
    expect(() => feedFor(data, [port([1, 3])])).toThrow(/SPC6105.*u8\[2,2\], but input 'x' is f32\[1,3\]/);
    expect(() => feedFor(data, [port([1, 2, 2]), port([1, 2, 2], 'z')])).toThrow(/SPC6104.*'x'/);
  });
  test('several inputs from an archive', () => {
    const both = readLabelled({ data: file('two.npz', encodeNpz(new Map([['p', images], ['q', tensorOf('f32', [3, 1], [5, 6, 7])], ['labels', tensorOf('i32', [3], [0, 1, 0])]]))) });
    expect(feedFor(both, [port([1, 1], 'q'), port([1, 2, 2], 'p')]).inputsAt(1).map(toNumbers)).toEqual([[6], [80, 100, 120, 140]]);
    expect(() => feedFor(both, [port([1, 1], 'r')])).toThrow(/SPC6104.*'r'/);
    expect(() => feedFor(both, [port([1, 1], 'q'), port([3, 2, 2], 'p')])).toThrow(/different numbers of samples/);
  });
});

test('groups: with names of columns or without, one line a sample', () => {
  const data = { ...readLabelled({ data: file('g.npy', encodeNpy(images)), labels: file('g.bin', classes) }) };
  expect(readGroups(file('g.csv', 'speaker,noise\nann,10\nbob,20\nann,10\n'), data)).toEqual([{ name: 'speaker', values: ['ann', 'bob', 'ann'] }, { name: 'noise', values: ['10', '20', '10'] }]);
  expect(readGroups(file('g.txt', 'dark\nlight\ndark'), { ...data, samples: 2 })).toEqual([{ name: 'group', values: ['dark', 'light'] }]);
  expect(() => readGroups(file('short.txt', 'dark'), data)).toThrow(/SPC6120.*3 samples need one line each/);
  expect(() => readGroups(file('ragged.csv', 'a,b\nc\nd,e'), data)).toThrow(/SPC6120/);
});
