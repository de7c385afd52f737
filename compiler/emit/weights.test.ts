import { expect, test } from 'vitest';
import { INCLUDE_LIMIT, weightsInclude, binarySource } from './weights.js';

test('the array form lists every byte', () => {
  const blob = Uint8Array.from({ length: 1000 }, (_, i) => i % 256), text = Buffer.from(weightsInclude(blob)).toString();
  expect(text.split(',').slice(0, -1).map(Number)).toEqual([...blob]);
  expect(Math.max(...text.split('\n').map((l) => l.length))).toBeLessThanOrEqual(160);
  expect(weightsInclude(new Uint8Array(0)).length).toBe(0);
});

test('a compiler without .incbin is told where the array is left out', () => {
  expect(binarySource('m_weights', 'SPC_WEIGHTS_FILE', INCLUDE_LIMIT, 64, '')).toContain('#include "m_weights.inc"');
  expect(binarySource('m_weights', 'SPC_WEIGHTS_FILE', INCLUDE_LIMIT + 1, 64, '')).toMatch(/#error "67108865 bytes/);
});
