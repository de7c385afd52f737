/** What weights must have for tensor cores, and in the user's terms what is in the way where they do not have it. */
import { elementCount } from '../../../compiler/ir/types.js';
import type { WeightMatrix } from '../../../compiler/layouts/index.js';
import type { ElementType } from './product.js';

/** How columns of the matrix are a convolution's: kernel positions outermost, rows of the kernel first; input channels of one position side by side. */
export interface Window {
  /** Height and width; where it has one dimension, its width. */
  readonly kernel: readonly number[];
  readonly channels: number;
}

interface Pattern { readonly keep: number; readonly of: number }

/** An axis of the weights: its extent, and how far apart its elements are in the matrix. */
interface Axis { readonly extent: number; readonly stride: number }

/** Places of all elements over axes, the last axis running fastest. */
const places = (axes: readonly Axis[]): number[] => axes.reduce<number[]>((outer, { extent, stride }) => outer.flatMap((o) => Array.from({ length: extent }, (_, i) => o + i * stride)), [0]);

interface Violations {
  readonly groups: number;
  readonly violating: number;
  /** Non-zeros beyond what groups may keep. */
  readonly excess: number;
  /** The first violating group: which run it is in, and from where to where. */
  readonly first?: { readonly run: number; readonly from: number; readonly to: number; readonly nonZeros: number };
}

/** Groups along some axes with more non-zeros than the pattern keeps, counted up to `most`; the last group of a run may be a shorter one. */
function violationsOf({ bits }: WeightMatrix, outer: readonly Axis[], along: readonly Axis[], { keep, of }: Pattern, most = Infinity): Violations {
  const runs = places(outer), inner = places(along);
  let violating = 0, excess = 0, first: Violations['first'];
  for (let run = 0; run < runs.length && violating < most; run++) for (let from = 0; from < inner.length; from += of) {
    const to = Math.min(inner.length, from + of);
    let nonZeros = 0;
    for (let i = from; i < to; i++) nonZeros += bits[runs[run]! + inner[i]!]!;
    if (nonZeros <= keep) continue;
    violating++;
    excess += nonZeros - keep;
    first ??= { run, from, to, nonZeros };
  }
  return { groups: runs.length * Math.ceil(inner.length / of), violating, excess, ...(first ? { first } : {}) };
}

const plural = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

/** Columns of a group, as places in the kernel. */
function columnsText(from: number, to: number, { kernel, channels }: Window): string {
  const width = kernel.at(-1)!;
  if (elementCount(kernel) === 1) return `inputs ${from}..${to - 1}`;
  const position = (column: number): string => `${Math.floor(column / channels / width)},${Math.floor(column / channels) % width}`;
  const low = position(from), high = position(to - 1);
  return low === high ? `input channels ${from % channels}..${(to - 1) % channels} at kernel position ${low}` : `from channel ${from % channels} at kernel position ${low} to channel ${(to - 1) % channels} at ${high}`;
}

/**
 * Why weights do not have the N:M pattern along their rows; undefined where they do.
 * @param window of a convolution's weights; one position where they are none
 */
export function whyNotPattern(matrix: WeightMatrix, pattern: Pattern, window: Window = { kernel: [1], channels: matrix.cols }): string | undefined {
  const { rows, cols } = matrix, { keep, of } = pattern, { kernel, channels } = window, width = kernel.at(-1)!, height = elementCount(kernel) / width;
  const row: Axis = { extent: rows, stride: cols }, y: Axis = { extent: height, stride: width * channels }, x: Axis = { extent: width, stride: channels }, channel: Axis = { extent: channels, stride: 1 };
  const { first, groups, violating, excess } = violationsOf(matrix, [row], [y, x, channel], pattern);
  if (!first) return undefined;
  const share = `${violating} of ${plural(groups, 'group')} of ${of} (${Number(((100 * violating) / groups).toPrecision(2))} %) ${violating === 1 ? 'has' : 'have'} more than ${plural(keep, 'non-zero')}, `
    + `the first at output ${first.run}, ${columnsText(first.from, first.to, window)}, which has ${first.nonZeros}`;
  /** Axes along which weights may have been pruned instead. */
  const others: readonly (readonly [along: readonly Axis[], said: string])[] = [
    [[channel], `along the input channels of each kernel position, but ${channels} are not a multiple of ${of}, so that groups run on into the next position`],
    [[channel, y, x], 'along the kernel\'s width, as ONNX stores weights one after the other, and not along the input channels'],
    [[x], 'along the kernel\'s width and not along the input channels'],
    [[y], 'along the kernel\'s height and not along the input channels'],
    [[row], 'along the outputs and not along the inputs'],
  ];
  const found = others.find(([along]) => elementCount(along.map((a) => a.extent)) >= of && violationsOf(matrix, [row, y, x, channel].filter((a) => !along.includes(a)), along, pattern, 1).violating === 0);
  if (found) return `the ${keep}:${of} pattern runs ${found[1]}: ${share}`;
  return 2 * violating < groups ? `weights are nearly ${keep}:${of}: ${share}; ${plural(excess, 'weight')} too many` : `weights are not ${keep}:${of}: ${share}`;
}

/** What a type rounds to an infinity, from which number on; and the smallest number that has all of its bits, where that is not as small as f32 has it. */
const ranges: Readonly<Record<ElementType, { readonly name: string; readonly infinite: number; readonly smallest: number }>> = {
  f16: { name: 'f16', infinite: 2 ** 16 * (1 - 2 ** -12), smallest: 2 ** -14 },
  bf16: { name: 'bf16', infinite: 2 ** 128 * (1 - 2 ** -9), smallest: 0 },
  f32: { name: 'tf32', infinite: 2 ** 128 * (1 - 2 ** -12), smallest: 0 },
};

/**
 * Why weights cannot be multiplied in a type; undefined where they can. Infinities and NaN would meet the zeros around an image, of which the definition of a
 * convolution knows nothing; weights that all are tiny would lose their bits.
 */
export function whyNotRange(type: ElementType, weights: ArrayLike<number>): string | undefined {
  const { name, infinite, smallest } = ranges[type];
  let largest = 0, beyond = 0, first = 0;
  for (let i = 0; i < weights.length; i++) {
    const magnitude = Math.abs(weights[i]!);
    if (magnitude < infinite) largest = Math.max(largest, magnitude);
    else if (beyond++ === 0) first = weights[i]!;
  }
  if (beyond > 0) return `${plural(beyond, 'weight')} ${beyond === 1 ? 'is' : 'are'} no finite ${name}: ${beyond === 1 ? '' : 'the first is '}${first}`;
  return largest > 0 && largest < smallest ? `all weights are below ${smallest.toPrecision(2)}, where ${name} has few bits left` : undefined;
}
