import { expect, test } from 'vitest';
import { honestRatio, median, timeSideBySide, type Timer, type Timing } from './timing.js';

test('median', () => {
  expect([median([3]), median([4, 1, 3]), median([1, 2, 10, 3])]).toEqual([3, 3, 2.5]);
  expect(() => median([])).toThrow(RangeError);
});

test('engines run in alternating warm blocks of about the length asked for', () => {
  const log: string[] = [];
  const engine = (name: string, seconds: number): Timer => ({ memory: [], time: (runs) => { log.push(`${name}${runs}`); return runs * seconds; } });
  const [fast, slow] = timeSideBySide([engine('a', 1e-6), engine('b', 1e-3)], { rounds: 9, blockSeconds: 0.02 });
  expect([fast!.runsPerBlock, slow!.runsPerBlock, fast!.blocks.length, slow!.blocks.length]).toEqual([20_000, 20, 9, 9]);
  expect([fast!.seconds, slow!.seconds].map((s) => s.toPrecision(6))).toEqual(['0.00000100000', '0.00100000']);
  // Every timed block follows a warm-up block of its own engine.
  const blocks = log.slice(-36);
  for (let i = 0; i < blocks.length; i += 2) expect([blocks[i], blocks[i + 1]]).toEqual(blocks[i]!.startsWith('a') ? ['a4000', 'a20000'] : ['b4', 'b20']);
  const firsts = blocks.filter((_, i) => i % 4 === 0).map((b) => b[0]);
  expect(new Set(firsts)).toEqual(new Set(['a', 'b']));
});

test('an inference longer than a block is a block', () => {
  const [t] = timeSideBySide([{ memory: [], time: (runs) => runs * 2 }], { rounds: 3, blockSeconds: 0.01 });
  expect(t).toMatchObject({ runsPerBlock: 1, seconds: 2 });
});

test('of the ratio of medians and the median of ratios, the lower is told', () => {
  const timing = (...blocks: number[]): Timing => ({ seconds: median(blocks), fastest: 0, slowest: 0, blocks, runsPerBlock: 1 });
  // Medians 2 and 4; ratios of the rounds 4, 1, 3/2.
  expect(honestRatio(timing(1, 3, 2), timing(4, 3, 3))).toBe(1.5);
  expect(honestRatio(timing(1, 3, 2), timing(4, 3, 4))).toBe(2);
});
