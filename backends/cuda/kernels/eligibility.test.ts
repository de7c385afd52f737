/** Reasons why weights do not fit tensor cores, on matrices that are known to have or lack the pattern. */
import { describe, expect, test } from 'vitest';
import { numberAt, tensorOf } from '../../../compiler/ir/tensor.js';
import { weightMatrix, type WeightMatrix } from '../../../compiler/layouts/index.js';
import { whyNotPattern, whyNotRange, type Window } from './eligibility.js';
import type { ElementType } from './product.js';

const pattern = { keep: 2, of: 4 };
/** Ones where `kept` says so. */
const matrixOf = (rows: number, cols: number, kept: (row: number, col: number) => boolean): WeightMatrix =>
  weightMatrix('f32', rows, cols, Float32Array.from({ length: rows * cols }, (_, i) => (kept(Math.floor(i / cols), i % cols) ? 1 : 0)));
/** Of a convolution, by its own coordinates. */
const windowOf = (rows: number, window: Window, kept: (row: number, y: number, x: number, channel: number) => boolean): WeightMatrix => {
  const { kernel, channels } = window, width = kernel.at(-1)!, height = kernel[0]!;
  return matrixOf(rows, height * width * channels, (row, c) => kept(row, Math.floor(c / channels / width), Math.floor(c / channels) % width, c % channels));
};

describe('the pattern', () => {
  test('is found whatever the sizes: a shorter last group, one column, nothing', () => {
    expect(whyNotPattern(matrixOf(5, 64, (r, c) => (r + c) % 4 < 2), pattern)).toBeUndefined();
    expect(whyNotPattern(matrixOf(3, 6, (_, c) => c % 4 < 2), pattern)).toBeUndefined();
    expect(whyNotPattern(matrixOf(3, 1, () => true), pattern)).toBeUndefined();
    expect(whyNotPattern(matrixOf(4, 8, () => false), pattern)).toBeUndefined();
    expect(whyNotPattern(matrixOf(4, 8, (_, c) => c % 2 === 0), { keep: 1, of: 2 })).toBeUndefined();
  });

  test('is nearly there: the share of groups, the first one, and how many weights are too many', () => {
    const stray = matrixOf(40, 100, (r, c) => c % 4 < 2 || (r === 17 && c >= 60 && c < 64));
    expect(whyNotPattern(stray, pattern)).toBe('weights are nearly 2:4: 1 of 1000 groups of 4 (0.1 %) has more than 2 non-zeros, the first at output 17, inputs 60..63, which has 4; 2 weights too many');
  });

  test('is not there: dense weights, and a last group that is shorter', () => {
    expect(whyNotPattern(matrixOf(2, 8, () => true), pattern)).toBe('weights are not 2:4: 4 of 4 groups of 4 (100 %) have more than 2 non-zeros, the first at output 0, inputs 0..3, which has 4');
    expect(whyNotPattern(matrixOf(3, 7, (r, c) => r < 1 && c >= 4), pattern)).toContain('1 of 6 groups of 4 (17 %) has more than 2 non-zeros, the first at output 0, inputs 4..6, which has 3');
  });

  test('runs along the outputs', () => {
    expect(whyNotPattern(matrixOf(8, 8, (r) => r % 4 < 2), pattern)).toMatch(/^the 2:4 pattern runs along the outputs and not along the inputs: 8 of 16 groups of 4 \(50 %\)/);
  });

  test.each<[string, Window, (row: number, y: number, x: number, channel: number) => boolean, RegExp]>([
    ['width', { kernel: [1, 8], channels: 8 }, (_, _y, x) => x % 4 < 2, /^the 2:4 pattern runs along the kernel's width, as ONNX stores .* at output 0, input channels 0\.\.3 at kernel position 0,0, which has 4$/],
    ['width, rows of five', { kernel: [2, 5], channels: 8 }, (_, _y, x) => x % 4 < 2, /^the 2:4 pattern runs along the kernel's width and not along the input channels: /],
    ['flat ONNX order, 3x3', { kernel: [3, 3], channels: 16 }, (_, y, x, c) => { const at = c * 9 + y * 3 + x; return (at + [0, 2, 1, 3, 0, 1][Math.floor(at / 4) % 6]!) % 4 < 2; }, /^the 2:4 pattern runs along the kernel's width, as ONNX stores/],
    ['height', { kernel: [5, 2], channels: 8 }, (_, y) => y % 4 < 2, /^the 2:4 pattern runs along the kernel's height and not/],
    ['outputs', { kernel: [3, 3], channels: 8 }, (row) => row % 4 < 2, /^the 2:4 pattern runs along the outputs/],
    ['channels that are no multiple of four', { kernel: [3, 3], channels: 6 }, (_, _y, _x, c) => c % 4 < 2,
      /^the 2:4 pattern runs along the input channels of each kernel position, but 6 are not a multiple of 4, .* from channel 4 at kernel position 0,0 to channel 1 at 0,1, which has 4$/],
  ])('of a convolution runs along: %s', (_, window, kept, reason) => {
    expect(whyNotPattern(windowOf(8, window, kept), pattern, window)).toMatch(reason);
  });

  test('along an axis that is shorter than a group does not count', () => {
    // at most two of each kernel row of three, but dense otherwise
    const window: Window = { kernel: [3, 3], channels: 8 };
    expect(whyNotPattern(windowOf(3, window, (r, y, x) => x !== (r + y) % 3), pattern, window)).toMatch(/^weights are not 2:4|^weights are nearly/);
  });

  test('of tf32 is 1:2', () => {
    expect(whyNotPattern(matrixOf(1, 4, (_, c) => c < 2), { keep: 1, of: 2 })).toBe('weights are not 1:2: 1 of 2 groups of 2 (50 %) has more than 1 non-zero, the first at output 0, inputs 0..1, which has 2');
  });
});

test.each<[ElementType, readonly number[], string | undefined]>([
  ['f16', [1, -65504, 65519, 6e-8], undefined], ['f16', [0, -0], undefined], ['f16', [1, 65520], '1 weight is no finite f16: 65520'], ['f16', [-7e4, NaN], '2 weights are no finite f16: the first is -70000'],
  ['f16', [1e-9, 0, -1e-6], 'all weights are below 0.000061, where f16 has few bits left'], ['bf16', [1e-30, 1e30], undefined], ['bf16', [0, -Infinity], '1 weight is no finite bf16: -Infinity'],
  ['bf16', [3.4e38], '1 weight is no finite bf16: 3.4e+38'], ['f32', [3.4e38, 1e-30], undefined], ['f32', [NaN], '1 weight is no finite tf32: NaN'],
])('the range of %s: %j', (type, values, reason) => {
  expect(whyNotRange(type, values)).toBe(reason);
  // the bound is where the type's own rounding has it
  if (type !== 'f32') for (const x of values) expect(Number.isFinite(numberAt(type, tensorOf(type, [1], [x]).data, 0))).toBe(whyNotRange(type, [x, 1]) === undefined);
});
