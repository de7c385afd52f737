/** Feature extraction and decision of Magika (Apache-2.0), from what config.min.json of its model says: which file type is this? */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { tensorOf, type Tensor } from '../../compiler/ir/tensor.js';

const schema = z.object({
  beg_size: z.number(), mid_size: z.literal(0), end_size: z.number(), block_size: z.number(), padding_token: z.number(), min_file_size_for_dl: z.number(),
  medium_confidence_threshold: z.number(), target_labels_space: z.array(z.string()), thresholds: z.record(z.string(), z.number()), overwrite_map: z.record(z.string(), z.string()),
});
export type MagikaConfig = z.infer<typeof schema>;

export const readMagikaConfig = (file: string): MagikaConfig => schema.parse(JSON.parse(readFileSync(file, 'utf8')));

/** What Python's bytes.strip() removes. */
const isSpace = (byte: number): boolean => byte === 32 || (byte >= 9 && byte <= 13);

/**
 * i32[1, beg_size + end_size]: the first bytes without leading white space, padded at their end, then the last bytes without
 * trailing white space, padded at their beginning. White space is looked for in one block only.
 */
export function magikaFeatures(file: Uint8Array, c: MagikaConfig): Tensor {
  const head = file.subarray(0, c.block_size), tail = file.subarray(Math.max(0, file.length - c.block_size));
  const from = head.findIndex((b) => !isSpace(b)), to = tail.findLastIndex((b) => !isSpace(b));
  const begin = from < 0 ? [] : [...head.subarray(from, from + c.beg_size)];
  const end = [...tail.subarray(Math.max(0, to + 1 - c.end_size), to + 1)];
  const padding = (n: number): number[] => Array.from({ length: n }, () => c.padding_token);
  return tensorOf('i32', [1, c.beg_size + c.end_size], [...begin, ...padding(c.beg_size - begin.length), ...padding(c.end_size - end.length), ...end]);
}

/** The label that needs no network: none for a file that is long enough. */
export function magikaLabelOfSmall(file: Uint8Array, c: MagikaConfig): string | undefined {
  if (file.length === 0) return 'empty';
  return file.length < c.min_file_size_for_dl ? 'txt' : undefined;
}

/** The label for the network's scores; `undefined` where it is not sure enough. */
export function magikaLabel(scores: ArrayLike<number>, c: MagikaConfig): string | undefined {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  const label = c.target_labels_space[best]!;
  if (scores[best]! < (c.thresholds[label] ?? c.medium_confidence_threshold)) return undefined;
  return c.overwrite_map[label] ?? label;
}
