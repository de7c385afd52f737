/** Arithmetic of dimension orders. `perm[d]` is the source dimension of output dimension d, as in a transpose node. */
import { elementCount } from '../compiler/ir/types.js';

export const identity = (rank: number): number[] => Array.from({ length: rank }, (_, i) => i);
export const isIdentity = (perm: readonly number[]): boolean => perm.every((p, i) => p === i);
export const inverse = (perm: readonly number[]): number[] => perm.map((_, d) => perm.indexOf(d));
/** First `a`, then `b`. */
export const compose = (a: readonly number[], b: readonly number[]): number[] => b.map((p) => a[p]!);
export const permute = <T>(items: readonly T[], perm: readonly number[]): T[] => perm.map((p) => items[p]!);

/** True where only dimensions of extent 1 change places, so that memory stays as it is. */
export function movesOnlyOnes(shape: readonly number[], perm: readonly number[]): boolean {
  const big = perm.filter((p) => shape[p] !== 1);
  return big.every((p, i) => i === 0 || big[i - 1]! < p);
}

/** [N, C, spatial...] to [N, spatial..., C], and back. */
export const toChannelsLast = (rank: number): number[] => [0, ...identity(rank).slice(2), 1];
export const toChannelsFirst = (rank: number): number[] => inverse(toChannelsLast(rank));

export interface ReshapeGroup {
  /** Dimensions of the input, and of the output, that hold the same elements; none has the extent 1. */
  readonly input: readonly number[];
  readonly output: readonly number[];
}

/**
 * Splits a reshape into the smallest groups of dimensions with equal products, dimensions of extent 1 left out:
 * [2,3,4] -> [6,1,2,2] is {0,1 -> 0} and {2 -> 2,3}.
 */
export function reshapeGroups(from: readonly number[], to: readonly number[]): ReshapeGroup[] {
  if (elementCount(from) !== elementCount(to) || elementCount(from) === 0) throw new Error(`SPC9004: [${from.join(',')}] is no reshape of [${to.join(',')}]`);
  const bigger = (shape: readonly number[]): number[] => identity(shape.length).filter((d) => shape[d] !== 1);
  const inputs = bigger(from), outputs = bigger(to);
  const groups: ReshapeGroup[] = [];
  let i = 0, o = 0;
  while (i < inputs.length) {
    const input = [inputs[i++]!], output = [outputs[o++]!];
    let left = from[input[0]!]!, right = to[output[0]!]!;
    while (left !== right) {
      if (left < right) { left *= from[inputs[i]!]!; input.push(inputs[i++]!); } else { right *= to[outputs[o]!]!; output.push(outputs[o++]!); }
    }
    groups.push({ input, output });
  }
  return groups;
}

/**
 * A reshape after a transpose, as a reshape before one: `reshape(transpose(x, perm), to)` is
 * `transpose(reshape(x, shape), permAfter)`. Undefined where the reshape tears apart what the transpose keeps together.
 * @param from shape of x
 */
export function reshapeBeforeTranspose(from: readonly number[], perm: readonly number[], to: readonly number[]): { shape: number[]; perm: number[] } | undefined {
  if (elementCount(from) === 0) return undefined;
  const groups = reshapeGroups(permute(from, perm), to);
  // each group must be a run of adjacent dimensions of x, in order (dimensions of extent 1 between them do not matter)
  const rank = identity(from.length).filter((d) => from[d] !== 1);
  const runs = groups.map((g) => g.input.map((d) => rank.indexOf(perm[d]!)));
  if (!runs.every((r) => r.every((d, i) => i === 0 || d === r[i - 1]! + 1))) return undefined;
  const order = identity(groups.length).sort((a, b) => runs[a]![0]! - runs[b]![0]!);
  const ones = identity(to.length).filter((d) => to[d] === 1);
  // output dimensions in the order of x, those of extent 1 in front
  const placed = [...ones, ...order.flatMap((g) => groups[g]!.output)];
  return { shape: placed.map((d) => to[d]!), perm: inverse(placed) };
}
