/** Bitmaps as they are packed: their bytes against the formula, their contents against the matrix. */
import { expect, test } from 'vitest';
import { newArray, storedValue } from '../../compiler/ir/tensor.js';
import { weightMatrix, type WeightMatrix } from '../../compiler/layouts/index.js';
import { randomNumbers } from '../../test/support/graphs.js';
import { bitmapBytes, bitmapFragments } from './bitmap-fragments.js';

function random(type: 'f16' | 'bf16' | 'f32', rows: number, cols: number, density: number): WeightMatrix {
  const values = randomNumbers(rows * cols, 1), chance = randomNumbers(rows * cols, 2), data = newArray(type, rows * cols);
  for (let i = 0; i < data.length; i++) data[i] = storedValue(type, (chance[i]! + 1) / 2 < density ? values[i]! : 0) as never;
  return weightMatrix(type, rows, cols, data);
}

test.each([['f16', 0.5, 0.563], ['f16', 0.3, 0.363], ['bf16', 0.1, 0.163], ['f32', 0.3, 0.331]] as const)('%s with a share of %s: %s of the bytes', (type, density, of) => {
  const m = random(type, 256, 512, density), bytes = bitmapFragments(m).length;
  expect(bytes).toBe(bitmapBytes(m));
  // beyond the formula: where a tile begins, and its end in whole 16 bytes (12 of 2048 bytes, on average)
  expect(bytes / m.data.byteLength - of).toBeGreaterThan(0.001);
  expect(bytes / m.data.byteLength - of).toBeLessThan(0.008);
});

test.each(['f16', 'f32'] as const)('%s: bits and values are those of the matrix', (type) => {
  const m = random(type, 37, 150, 0.2), packed = bitmapFragments(m), size = type === 'f32' ? 4 : 2, width = 128 / size, blocks = Math.ceil(m.cols / width);
  const table = new Uint32Array(packed.buffer, 0, 3 * blocks + 1), found = newArray(type, m.data.length), raw = (b: ArrayBufferLike): Uint16Array | Uint32Array => (size === 4 ? new Uint32Array(b) : new Uint16Array(b));
  const values = raw(packed.buffer), dense = raw(found.buffer);
  for (let tile = 0; tile < 3; tile++) for (let block = 0; block < blocks; block++) {
    const at = table[tile * blocks + block]! * 16;
    let next = (at + 2048 / size / 8) / size;
    for (let f = 0; f < 4; f++) for (let lane = 0; lane < 32; lane++) for (let r = 0; r < 4; r++) for (let i = 0; i < 4 / size; i++) {
      const bit = lane * 64 / size + f * 16 / size + r * 4 / size + i;
      if (!(packed[at + (bit >> 3)]! >> (bit & 7) & 1)) continue;
      // PTX ISA 8.5, fragments of the first operand of mma.m16n8k16 and m16n8k8 (tf32)
      const row = tile * 16 + (lane >> 2) + 8 * (r & 1), column = block * width + f * 32 / size + (size === 2 ? 2 * (lane & 3) + i + 8 * (r >> 1) : (lane & 3) + 4 * (r >> 1));
      expect(m.bits[row * m.cols + column], `row ${row}, column ${column}`).toBe(1);
      dense[row * m.cols + column] = values[next++]!;
    }
  }
  expect(found).toEqual(m.data);
});

test('a tile without weights has no bytes', () => {
  const m = weightMatrix('f16', 32, 256, newArray('f16', 32 * 256));
  expect(bitmapFragments(m).length).toBe(48); // where 8 tiles begin, and where the last one ends
  m.data[200] = 0x3c00;
  expect(bitmapFragments(weightMatrix('f16', 32, 256, m.data)).length).toBe(48 + 128 + 16);
});
