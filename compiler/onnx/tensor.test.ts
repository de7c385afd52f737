import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { dtypes, type DType } from '../ir/dtype.js';
import { denseData, toNumbers, type Tensor } from '../ir/tensor.js';
import { decodeMessage, encodeMessage, type MessageInit } from './proto.js';
import { decodeTensorProto, onnxDataType, sparseTensorFromProto, tensorFromProto } from './tensor.js';

const decode = (t: MessageInit<'TensorProto'>, baseDir?: string): Tensor => tensorFromProto(decodeMessage('TensorProto', encodeMessage('TensorProto', t)), baseDir);
const sparse = (s: MessageInit<'SparseTensorProto'>): Tensor & { kind: 'sparse' } => sparseTensorFromProto(decodeMessage('SparseTensorProto', encodeMessage('SparseTensorProto', s)));

/** The code and text of the problem that `f` reports. */
function problem(f: () => unknown): { code: string; message: string } {
  try {
    f();
  } catch (e) {
    if (e instanceof NodeProblem) return { code: e.code, message: e.message };
    throw e;
  }
  throw new Error('no problem was reported');
}

// Written out from the protobuf encoding, so that neither our table nor protobufjs's encoder is the judge of itself.
test('a serialised TensorProto decodes byte by byte as the wire format says', () => {
  const bytes = [0x08, 2, 0x08, 1, 0x10, 1, 0x4a, 8, 0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc1]; // dims 2, 1; float; raw_data 1, -10
  expect(decodeTensorProto(Uint8Array.from(bytes))).toEqual({ kind: 'dense', dtype: 'f32', shape: [2, 1], data: Float32Array.of(1, -10) });
});

const raw: readonly (readonly [DType, readonly number[], readonly number[]])[] = [
  ['f32', [0, 0, 0x80, 0x3f, 0, 0, 0, 0x80], [1, -0]], ['f64', [0, 0, 0, 0, 0, 0, 0xf8, 0xbf], [-1.5]], ['f16', [0, 0x3c, 0, 0xc0], [1, -2]], ['bf16', [0x80, 0x3f, 0x20, 0xc1], [1, -10]],
  ['i8', [255, 127], [-1, 127]], ['i16', [0, 0x80], [-32768]], ['i32', [254, 255, 255, 255], [-2]], ['i64', [255, 255, 255, 255, 255, 255, 255, 255], [-1]],
  ['u8', [255], [255]], ['u16', [255, 255], [65535]], ['u32', [255, 255, 255, 255], [4294967295]], ['u64', [5, 0, 0, 0, 0, 0, 0, 0], [5]], ['bool', [0, 1, 7], [0, 1, 1]],
];

test.each(raw)('raw %s', (dtype, bytes, expected) => {
  // One byte in front makes the data unaligned in the file's buffer.
  const t = decode({ name: 'odd', dims: [expected.length], dataType: onnxDataType[dtype], rawData: Uint8Array.from(bytes) });
  expect(toNumbers(t)).toEqual(expected);
  expect(t.dtype).toBe(dtype);
});

const typed: readonly (readonly [DType, MessageInit<'TensorProto'>, readonly (number | bigint)[]])[] = [
  ['f32', { floatData: [1.5, -2] }, [1.5, -2]], ['f64', { doubleData: [1e300, 0.1] }, [1e300, 0.1]], ['f16', { int32Data: [0x3c00, 0xc000] }, [0x3c00, 0xc000]],
  ['bf16', { int32Data: [0x3f80, 0xc120] }, [0x3f80, 0xc120]], ['i8', { int32Data: [-128, 127] }, [-128, 127]], ['i16', { int32Data: [-32768, 1] }, [-32768, 1]],
  ['i32', { int32Data: [-(2 ** 31), 5] }, [-(2 ** 31), 5]], ['i64', { int64Data: [-(2n ** 63n), 2n ** 53n + 1n] }, [-(2n ** 63n), 2n ** 53n + 1n]], ['u8', { int32Data: [255, 0] }, [255, 0]],
  ['u16', { int32Data: [65535, 0] }, [65535, 0]], ['u32', { uint64Data: [2 ** 32 - 1, 0] }, [2 ** 32 - 1, 0]], ['u64', { uint64Data: [2n ** 64n - 1n, 3n] }, [2n ** 64n - 1n, 3n]], ['bool', { int32Data: [1, 0] }, [1, 0]],
];

test.each(typed)('typed %s, every bit kept', (dtype, fields, expected) => {
  expect([...denseData(decode({ dims: [2], dataType: onnxDataType[dtype], ...fields }))]).toEqual(expected);
});

test('every element type has raw and typed cases here', () => {
  expect(raw.map((c) => c[0])).toEqual(Object.keys(dtypes));
  expect(typed.map((c) => c[0]).sort()).toEqual(Object.keys(dtypes).sort());
});

test('scalars and empty tensors', () => {
  expect(decode({ dataType: 1, floatData: [3] }).shape).toEqual([]);
  expect(decode({ dims: [2, 0, 3], dataType: 1 }).shape).toEqual([2, 0, 3]);
  expect(decode({ dims: [0], dataType: 7, rawData: new Uint8Array(0) }).shape).toEqual([0]);
});

test('inconsistent tensors are refused before anything is allocated', () => {
  expect(problem(() => decode({ dims: [3], dataType: 1, rawData: new Uint8Array(8) }))).toMatchObject({ code: 'SPC1014', message: expect.stringContaining('needs 12 bytes of data, the file has 8') as string });
  expect(problem(() => decode({ dims: [3], dataType: 1, floatData: [1] })).code).toBe('SPC1014');
  expect(problem(() => decode({ dims: [-1], dataType: 1 })).code).toBe('SPC1014');
  expect(problem(() => decode({ dims: [2 ** 31, 2 ** 31, 4], dataType: 1 })).code).toBe('SPC1015');
  expect(problem(() => decode({ dims: [0, 2n ** 62n], dataType: 1 })).code).toBe('SPC1014');
  expect(problem(() => decode({ dims: [0, 2 ** 40], dataType: 1 })).code).toBe('SPC1015');
  expect(problem(() => decode({ dims: [1], dataType: onnxDataType.i8, int32Data: [300] })).message).toContain('element 0 is 300, outside of i8 (-128..127)');
});

test.each([[8, 'string'], [14, 'complex64'], [17, 'float8e4m3fn'], [22, 'int4'], [99, 'code 99'], [0, 'code 0']])('element type %i is refused by name', (dataType, name) => {
  expect(problem(() => decode({ dims: [1], dataType }))).toMatchObject({ code: 'SPC1013', message: expect.stringContaining(name) as string });
});

const values = { dims: [2], dataType: 1, floatData: [5, 6] };
test('sparse tensors stay sparse, in both index forms', () => {
  for (const indices of [{ dims: [2], dataType: 7, int64Data: [1, 5] }, { dims: [2, 2], dataType: 7, int64Data: [0, 1, 1, 2] }]) {
    const t = sparse({ dims: [2, 3], values, indices });
    expect(t).toMatchObject({ kind: 'sparse', shape: [2, 3], indices: [1, 5] });
    expect(toNumbers(t)).toEqual([0, 5, 0, 0, 0, 6]);
  }
});

test.each([
  ['out of range', { dims: [2], dataType: 7, int64Data: [1, 6] }], ['negative', { dims: [2], dataType: 7, int64Data: [-1, 1] }], ['descending', { dims: [2], dataType: 7, int64Data: [5, 1] }],
  ['duplicate', { dims: [2], dataType: 7, int64Data: [1, 1] }], ['column out of range', { dims: [2, 2], dataType: 7, int64Data: [0, 3, 1, 0] }], ['too few', { dims: [1], dataType: 7, int64Data: [1] }],
  ['rank', { dims: [2, 3], dataType: 7, int64Data: [0, 0, 0, 0, 0, 1] }], ['element type', { dims: [2], dataType: 6, int32Data: [1, 2] }],
])('sparse indices: %s', (_, indices) => {
  expect(problem(() => sparse({ dims: [2, 3], values, indices })).code).toBe('SPC1014');
});

const folder = mkdtempSync(join(tmpdir(), 'spc-external-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, 'model', 'sub'), { recursive: true });
writeFileSync(join(folder, 'secret'), Buffer.alloc(64));
writeFileSync(join(folder, 'model', 'sub', 'w.bin'), Buffer.from(Float32Array.of(1, 2, 3, 4).buffer));
symlinkSync(join(folder, 'secret'), join(folder, 'model', 'link'));

const external = (entries: Record<string, string>, baseDir: string | undefined = join(folder, 'model')): Tensor =>
  decode({ dims: [2], dataType: 1, dataLocation: 1, externalData: Object.entries(entries).map(([key, value]) => ({ key, value })) }, baseDir);

test('external data at an offset', () => {
  expect(toNumbers(external({ location: 'sub/w.bin', offset: '4', length: '8' }))).toEqual([2, 3]);
  expect(toNumbers(external({ location: 'sub/w.bin' }))).toEqual([1, 2]);
});

test.each([
  ['parent folder', { location: '../secret' }], ['parent in the middle', { location: 'sub/../../secret' }], ['parent with backslash', { location: '..\\secret' }], ['absolute', { location: join(folder, 'secret') }],
  ['drive', { location: 'C:\\secret' }], ['link out of the folder', { location: 'link' }], ['no location', {}], ['missing file', { location: 'none' }], ['folder', { location: 'sub' }], ['NUL', { location: 'sub\0' }],
  ['behind the end', { location: 'sub/w.bin', offset: '12' }], ['wrong length', { location: 'sub/w.bin', length: '9' }], ['negative offset', { location: 'sub/w.bin', offset: '-4' }], ['absurd offset', { location: 'sub/w.bin', offset: '99999999999999999999' }],
])('external data is refused: %s', (_, entries) => {
  expect(problem(() => external(entries as Record<string, string>)).code).toBe('SPC1016');
});

test('external data needs the folder of the model', () => {
  const t = decodeMessage('TensorProto', encodeMessage('TensorProto', { dims: [2], dataType: 1, dataLocation: 1, externalData: [{ key: 'location', value: 'w' }] }));
  expect(problem(() => tensorFromProto(t)).message).toContain('without its folder');
});
