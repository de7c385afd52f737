import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SpcError } from '../diagnostics/diagnostic.js';
import { dtypes, type DType } from '../ir/dtype.js';
import { denseTensor, tensorBytes, toNumbers, type DenseTensor } from '../ir/tensor.js';
import { elementCount } from '../ir/types.js';
import { decodeNpy, encodeNpy } from './npy.js';
import { crc32, decodeNpz, encodeNpz } from './npz.js';

const anyTensor = (names: readonly DType[]): fc.Arbitrary<DenseTensor> =>
  fc.tuple(fc.constantFrom(...names), fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 })).chain(([dtype, shape]) => {
    const bytes = elementCount(shape) * dtypes[dtype].bytes;
    return fc.uint8Array({ minLength: bytes, maxLength: bytes, max: dtype === 'bool' ? 1 : 255 })
      .map((b) => denseTensor(dtype, shape, new dtypes[dtype].array(Uint8Array.from(b).buffer, 0, elementCount(shape))));
  });
const numpyTypes = (Object.keys(dtypes) as DType[]).filter((d) => d !== 'bf16');

test('what is written reads back bit for bit, for every type and shape', () => {
  fc.assert(fc.property(anyTensor(numpyTypes), (t) => {
    const back = decodeNpy(encodeNpy(t), 'x');
    expect([back.dtype, back.shape, tensorBytes(back)]).toEqual([t.dtype, t.shape, tensorBytes(t)]);
  }), { seed: 1 });
});

test('archives read back, stored and deflated, names with slashes and letters beyond ASCII', () => {
  fc.assert(fc.property(fc.dictionary(fc.string({ minLength: 1, unit: fc.constantFrom('a', '/', 'é', '.', '☃') }), anyTensor(numpyTypes)), fc.boolean(), (tensors, compress) => {
    const back = decodeNpz(encodeNpz(new Map(Object.entries(tensors)), { compress }), 'x');
    for (const [name, t] of Object.entries(tensors)) {
      if (name.endsWith('.npy')) continue;
      expect(tensorBytes(back.get(name)!)).toEqual(tensorBytes(t));
    }
  }), { seed: 2 });
});

/** As `numpy.save` writes it: magic, version 1.0, header padded with spaces to a multiple of 64 and ended by a newline. */
const numpyFile = (dict: string, data: readonly number[], version = 1): Uint8Array => {
  const lengthBytes = version === 1 ? 2 : 4, prefix = 8 + lengthBytes;
  const length = Math.ceil((prefix + dict.length + 1) / 64) * 64 - prefix;
  const header = Buffer.from(dict.padEnd(length - 1) + '\n', 'latin1');
  const size = Buffer.alloc(lengthBytes);
  size.writeUIntLE(length, 0, lengthBytes);
  return Buffer.concat([Buffer.from([0x93]), Buffer.from('NUMPY'), Buffer.from([version, 0]), size, header, Buffer.from(data)]);
};

test('the bytes are those that numpy.save writes', () => {
  const t = denseTensor('i16', [2, 3], Int16Array.from([1, 2, 3, -1, 256, 0]));
  const expected = numpyFile("{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }", [1, 0, 2, 0, 3, 0, 255, 255, 0, 1, 0, 0]);
  expect(Buffer.from(encodeNpy(t))).toEqual(Buffer.from(expected));
  const one = denseTensor('bool', [2], Uint8Array.from([1, 0]));
  expect(Buffer.from(encodeNpy(one))).toEqual(Buffer.from(numpyFile("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }", [1, 0])));
  const scalar = denseTensor('u8', [], Uint8Array.from([7]));
  expect(Buffer.from(encodeNpy(scalar))).toEqual(Buffer.from(numpyFile("{'descr': '|u1', 'fortran_order': False, 'shape': (), }", [7])));
});

test('big-endian, column-major and version 2 files read as numpy reads them', () => {
  const big = decodeNpy(numpyFile("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", [0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0]), 'x');
  expect(toNumbers(big)).toEqual([1, -2.5]);
  // np.array([[1,2,3],[4,5,6]], order='F') lies in memory as 1 4 2 5 3 6.
  const fortran = decodeNpy(numpyFile("{'descr': '|i1', 'fortran_order': True, 'shape': (2, 3), }", [1, 4, 2, 5, 3, 6], 2), 'x');
  expect([fortran.shape, toNumbers(fortran)]).toEqual([[2, 3], [1, 2, 3, 4, 5, 6]]);
  // order F of np.arange(24).reshape(2,3,4): position of [i,j,k] is i + 2j + 6k.
  const data = Array.from({ length: 24 }, (_, at) => { const i = at % 2, j = Math.floor(at / 2) % 3, k = Math.floor(at / 6); return i * 12 + j * 4 + k; });
  const cube = decodeNpy(numpyFile("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4), }", data), 'x');
  expect(toNumbers(cube)).toEqual(Array.from({ length: 24 }, (_, i) => i));
});

test('bfloat16 is written as float32', () => {
  const back = decodeNpy(encodeNpy(denseTensor('bf16', [2], Uint16Array.from([0x3f80, 0xc020]))), 'x');
  expect([back.dtype, toNumbers(back)]).toEqual(['f32', [1, -2.5]]);
});

test('damaged files are refused with a diagnostic, never a crash', () => {
  const npy = encodeNpy(denseTensor('f32', [3, 5], new Float32Array(15))), npz = encodeNpz(new Map([['a', denseTensor('u8', [3], Uint8Array.from([1, 2, 3]))]]), { compress: true });
  for (const [file, read] of [[npy, decodeNpy], [npz, decodeNpz]] as const) {
    for (let n = 0; n < file.length; n++) expect(() => read(file.subarray(0, n), 'cut'), `cut at ${n}`).toThrow(SpcError);
    fc.assert(fc.property(fc.integer({ min: 0, max: file.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = Uint8Array.from(file);
      changed[at]! ^= flip;
      try {
        read(changed, 'changed');
      } catch (e) {
        expect(e).toBeInstanceOf(SpcError);
      }
    }), { seed: 3, numRuns: 400 });
  }
  expect(() => decodeNpy(numpyFile("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", []), 'x')).toThrow(/element type/);
  expect(() => decodeNpy(numpyFile("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999999, 99999999), }", []), 'x')).toThrow(/cut short/);
});

test('the checksum of "123456789" is the one of the CRC catalogue', () => {
  expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926);
});
