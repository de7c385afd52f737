/**
 * Orders of columns (or rows) under which a pattern keeps more: pairs of groups exchange lines while that gains. For N:M with groups of four every one of the
 * 35 ways to split eight columns over two groups is tried (Pool and Yu, 2021); for larger groups, exchanges of one line.
 */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { energies, type Matrix } from './matrix.js';
import type { Leaf, Pattern, Perm } from './pattern.js';

export interface SearchOptions {
  /** Largest number of group evaluations times their length; the search ends there with what it has. */
  readonly budget?: number;
  readonly maxSweeps?: number;
}

/** A move between two groups: the lines at these places change sides. */
interface Move { readonly a: readonly number[]; readonly b: readonly number[] }

function movesBetween(size: number): Move[] {
  const places = Array.from({ length: size }, (_, i) => i);
  const single = places.flatMap((x) => places.map((y): Move => ({ a: [x], b: [y] })));
  if (size !== 4) return single;
  const pairs = places.flatMap((x) => places.slice(x + 1).map((y) => [x, y]));
  // exchanging two pairs is exchanging the other two: line 0 of the first group can stay
  return [...single, ...pairs.filter((p) => !p.includes(0)).flatMap((a) => pairs.map((b): Move => ({ a, b })))];
}

/**
 * @param pattern a leaf of single elements in groups along a row (columns are reordered) or along a column (rows are)
 * @returns the pattern under the order found; the kept norm is never less than in the given order
 * @throws NodeProblem SPC3002 for other patterns
 */
export function searchPermutation(matrix: Matrix, pattern: Pattern, { budget = 4e9, maxSweeps = 50 }: SearchOptions = {}): Perm {
  const axis = pattern.kind === 'leaf' ? groupedAxis(pattern) : undefined;
  if (pattern.kind !== 'leaf' || axis === undefined) throw new NodeProblem('SPC3002', 'there is no search for a permutation for this pattern', 'perm(A) takes N:M or complementary patterns');
  const alongRows = axis === 'cols', count = alongRows ? matrix.cols : matrix.rows, length = alongRows ? matrix.rows : matrix.cols;
  const e = energies(matrix).data, size = pattern.part[alongRows ? 1 : 0];
  const lines = Array.from({ length: count }, (_, l) => Float64Array.from({ length }, (_x, i) => (alongRows ? e[i * matrix.cols + l]! : e[l * matrix.cols + i]!)));
  const groups = Array.from({ length: Math.floor(count / size) }, (_, g) => Array.from({ length: size }, (_x, i) => g * size + i));
  const worth = groups.map((g) => keptOf(lines, g, pattern.keep, length)), moves = movesBetween(size);

  let left = budget;
  for (let sweep = 0, improved = true; improved && sweep < maxSweeps; sweep++) {
    improved = false;
    for (let i = 0; i < groups.length; i++) {
      for (let j = i + 1; j < groups.length && left > 0; j++) {
        left -= moves.length * 2 * length * size;
        const before = worth[i]! + worth[j]!;
        let best = { gain: 1e-12 * before, a: groups[i]!, b: groups[j]!, worthA: 0, worthB: 0 };
        for (const move of moves) {
          const a = [...groups[i]!], b = [...groups[j]!];
          move.a.forEach((x, k) => { [a[x], b[move.b[k]!]] = [b[move.b[k]!]!, a[x]!]; });
          const worthA = keptOf(lines, a, pattern.keep, length), worthB = keptOf(lines, b, pattern.keep, length);
          if (worthA + worthB - before > best.gain) best = { gain: worthA + worthB - before, a, b, worthA, worthB };
        }
        if (best.a === groups[i]) continue;
        groups[i] = best.a; groups[j] = best.b; worth[i] = best.worthA; worth[j] = best.worthB;
        improved = true;
      }
    }
  }
  const order = [...groups.flat(), ...Array.from({ length: count % size }, (_, i) => count - (count % size) + i)];
  return { kind: 'perm', base: pattern, ...(alongRows ? { cols: order } : { rows: order }) };
}

function groupedAxis({ block, part }: Leaf): 'rows' | 'cols' | undefined {
  if (block[0] !== 1 || block[1] !== 1) return undefined;
  return part[0] === 1 && part[1] > 1 ? 'cols' : part[1] === 1 && part[0] > 1 ? 'rows' : undefined;
}

/** Sum over all positions of the `keep` largest among the group's lines. */
function keptOf(lines: readonly Float64Array[], group: readonly number[], keep: number, length: number): number {
  const members = group.map((l) => lines[l]!), top = new Float64Array(keep);
  let sum = 0;
  for (let i = 0; i < length; i++) {
    top.fill(0);
    for (const m of members) {
      let x = m[i]!;
      for (let k = 0; k < keep && x > 0; k++) if (x > top[k]!) { const t = top[k]!; top[k] = x; x = t; }
    }
    for (let k = 0; k < keep; k++) sum += top[k]!;
  }
  return sum;
}
