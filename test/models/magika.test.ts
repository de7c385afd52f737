import { expect, test } from 'vitest';
import { toNumbers } from '../../compiler/ir/tensor.js';
import { magikaFeatures, magikaLabel, magikaLabelOfSmall, type MagikaConfig } from './magika.js';

const config: MagikaConfig = {
  beg_size: 4, mid_size: 0, end_size: 3, block_size: 6, padding_token: 256, min_file_size_for_dl: 2, medium_confidence_threshold: 0.5,
  target_labels_space: ['a', 'b', 'randomtxt'], thresholds: { b: 0.9 }, overwrite_map: { randomtxt: 'txt' },
};
const features = (text: string): number[] => toNumbers(magikaFeatures(new TextEncoder().encode(text), config));

test('both ends of a file, stripped of white space within a block, padded', () => {
  expect(features('abcdefgh')).toEqual([97, 98, 99, 100, 102, 103, 104]);
  expect(features(' \tx\n')).toEqual([120, 10, 256, 256, 32, 9, 120]);
  expect(features('       abc       ')).toEqual([256, 256, 256, 256, 256, 256, 256]);
});

test('a label needs its threshold, and some are renamed', () => {
  expect(magikaLabel([0.6, 0.3, 0.1], config)).toBe('a');
  expect(magikaLabel([0.2, 0.8, 0], config)).toBeUndefined();
  expect(magikaLabel([0.2, 0.1, 0.7], config)).toBe('txt');
  expect(magikaLabelOfSmall(new Uint8Array(0), config)).toBe('empty');
  expect(magikaLabelOfSmall(new Uint8Array(1), config)).toBe('txt');
  expect(magikaLabelOfSmall(new Uint8Array(2), config)).toBeUndefined();
});
