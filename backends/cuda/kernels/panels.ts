/**
 * A sparse matrix in panels: rows that a block of threads computes together, times the columns that any of them uses. The order of the rows is free, since every
 * result knows where it belongs; so is the order of a panel's columns, and with it which four of them tensor cores take as a group of a 2:4 pattern.
 */
import { newArray } from '../../../compiler/ir/tensor.js';
import { clusterRows } from '../../../compiler/layouts/cluster-rows.js';
import { weightMatrix, type WeightMatrix } from '../../../compiler/layouts/index.js';
import { gcd } from '../../../compiler/sparsity/biregular.js';
import { denseFragments, sparseFragments, sparsePattern } from '../fragments.js';
import { perBlockOf } from './pieces.js';

export interface Panel {
  /** Rows of the matrix, ascending, as many as the panel is high or fewer. */
  readonly rows: readonly number[];
  /** For every `run` places of a row of the panel the first of as many neighbouring columns; NONE where there are none. */
  readonly columns: readonly number[];
  /** Blocks of 128 bytes along a row of the panel. */
  readonly blocks: number;
}

/** No column. */
export const NONE = -1;

/** How the rows of a matrix are cut into panels. */
export interface Cut {
  readonly height: number;
  /** Neighbouring columns that are taken or left together. */
  readonly run: number;
  /** Those with most blocks first, so that none begins late. */
  readonly panels: readonly Panel[];
  /** Share of the matrix' columns that a panel uses, on average. */
  readonly share: number;
}

/** Rows that stay together, and the units of `run` columns that some of them use: 1 in `support`. */
interface Group {
  readonly rows: readonly number[];
  readonly support: Uint8Array;
}

/** Every row as a group of its own. */
function rowGroups(m: WeightMatrix, run: number): Group[] {
  const units = Math.ceil(m.cols / run);
  return Array.from({ length: m.rows }, (_, r) => {
    const bits = m.bits.subarray(r * m.cols, (r + 1) * m.cols), support = run === 1 ? bits : new Uint8Array(units);
    if (run > 1) for (let c = 0; c < m.cols; c++) if (bits[c]) support[Math.floor(c / run)] = 1;
    return { rows: [r], support };
  });
}

/** `count` neighbours at a time become one. */
function merged(groups: readonly Group[], count: number): Group[] {
  return Array.from({ length: Math.ceil(groups.length / count) }, (_, i): Group => {
    const some = groups.slice(i * count, (i + 1) * count), support = some[0]!.support.slice();
    for (const g of some.slice(1)) for (let u = 0; u < support.length; u++) support[u]! |= g.support[u]!;
    return { rows: some.flatMap((g) => g.rows), support };
  });
}

const usedUnits = ({ support }: Group): number => support.reduce((n, bit) => n + bit, 0);

/** Rows of equal support one after the other, in the order of the first of each. */
function byClass(rows: readonly Group[]): Group[][] {
  const classes = new Map<string, Group[]>();
  for (const g of rows) {
    // two sums over the support: rows that are taken for equal and are not only make a panel's list longer
    let a = 0, b = 1;
    g.support.forEach((bit, u) => { if (bit) { a = (Math.imul(a, 31) + u) | 0; b = (Math.imul(b, 0x01000193) ^ u) | 0; } });
    const key = `${a} ${b}`, known = classes.get(key);
    if (known) known.push(g);
    else classes.set(key, [g]);
  }
  return [...classes.values()];
}

/** Array elements that one search for common columns may touch: about a fifth of a second. */
const SEARCH = 2e7;
/** Where the best panel needs more of the columns than this, no order of the rows helps. */
const HOPELESS = 0.95;

/** Groups in an order in which `count` neighbours share units. @param operations bound of the search */
function clustered(groups: readonly Group[], count: number, operations = SEARCH): Group[] {
  const cols = groups[0]!.support.length, bits = new Uint8Array(groups.length * cols);
  groups.forEach((g, i) => bits.set(g.support, i * cols));
  return clusterRows({ rows: groups.length, cols, bits }, count, operations).order.map((i) => groups[i]!);
}

/**
 * The lowest panels, of rows that share columns; undefined where no order of the rows helps. Rows of equal support move as one bundle as far as panels do not cut
 * them: so blocks, vectors and the rows (o, i) of a product of graphs (supportRowOrder) are found whatever order they come in.
 */
function sharedPanels(rows: readonly Group[], height: number): Group[] | undefined {
  const classes = byClass(rows.filter((g) => g.support.includes(1))), empty = rows.filter((g) => !g.support.includes(1));
  if (classes.length === 0) return undefined;
  const bundle = classes.reduce((g, c) => gcd(g, c.length), height), bundles = merged(classes.flat(), bundle), together = height / bundle;
  const panels = (order: readonly Group[]): Group[] => merged([...order.flatMap((g) => g.rows.map((r) => rows[r]!)), ...empty], height);
  if (together === 1) return panels(bundles);
  // the search for one panel tells whether there is anything to find
  if (Math.min(...merged(clustered(bundles, together, 1), together).map(usedUnits)) > HOPELESS * rows[0]!.support.length) return undefined;
  return panels(clustered(bundles, together));
}

/** The fullest first. */
const byWork = (panels: readonly Panel[]): Panel[] => [...panels].sort((a, b) => b.blocks - a.blocks);

function cutOf(groups: readonly Group[], height: number, run: number, perBlock: number): Cut {
  const panels = groups.map(({ rows, support }): Panel => {
    const columns: number[] = [];
    support.forEach((bit, u) => { if (bit) columns.push(u * run); });
    return { rows: [...rows].sort((a, b) => a - b), columns, blocks: Math.ceil((columns.length * run) / perBlock) };
  });
  return { height, run, panels: byWork(panels), share: panels.reduce((s, p) => s + p.columns.length, 0) / (panels.length * groups[0]!.support.length) };
}

/**
 * The matrix in panels of each of the heights, in its own order and, where there is a better one, in that. Higher panels are pairs of lower ones, those that share most.
 * @param heights each twice the one before
 */
export function cutRows(m: WeightMatrix, heights: readonly number[], run: number): readonly Cut[] {
  const [lowest = 16] = heights, rows = rowGroups(m, run), perBlock = perBlockOf(m.dtype);
  const higher = (panels: Group[], pairs: (g: Group[]) => Group[]): Cut[] => heights.map((height) => {
    if (height > lowest) panels = merged(pairs(panels), 2);
    return cutOf(panels, height, run, perBlock);
  });
  const given = higher(merged(rows, lowest), (g) => g), first = sharedPanels(rows, lowest), shared = first ? higher(first, (g) => clustered(g, 2)) : [];
  return [...given, ...shared.filter((cut, i) => cut.share < given[i]!.share)];
}

/** Columns that are tried for a place in a group. */
const TRIED = 512;

/**
 * The columns of a panel in groups of which each row uses at most as many as sparse tensor cores store, each group filled with the first columns that fit (a row
 * that uses so many already lets no other of its columns in). V:N:M patterns come out as they are; very sparse rows leave so many choices that most groups fill.
 * @returns places of a row, NONE where a group stays incomplete; undefined where more than half of the places would
 */
function groupedColumns(m: WeightMatrix, { rows, columns }: Panel): number[] | undefined {
  const { keep, of } = sparsePattern(m.dtype), words = Math.ceil(rows.length / 32), usedBy = new Uint32Array(columns.length * words);
  rows.forEach((r, j) => columns.forEach((c, i) => { if (m.bits[r * m.cols + c]) usedBy[i * words + (j >> 5)]! |= 1 << (j & 31); }));
  /** Rows that use at least so many of the group's columns, one more than the index. */
  const counts = Array.from({ length: keep }, () => new Uint32Array(words));
  const fits = (i: number): boolean => {
    const full = counts[keep - 1]!;
    for (let w = 0; w < words; w++) if ((full[w]! & usedBy[i * words + w]!) !== 0) return false;
    return true;
  };
  const take = (i: number): void => {
    for (let w = 0; w < words; w++) {
      const bits = usedBy[i * words + w]!;
      for (let n = keep - 1; n > 0; n--) counts[n]![w]! |= counts[n - 1]![w]! & bits;
      counts[0]![w]! |= bits;
    }
  };
  /** Columns that are left, as a list: the one after each, the first after none. */
  const none = columns.length, next = Uint32Array.from({ length: none + 1 }, (_, i) => (i === none ? 0 : i + 1)), places: number[] = [];
  while (next[none] !== none) {
    const group: number[] = [];
    counts.forEach((c) => c.fill(0));
    for (let before = none, tried = 0; tried < TRIED && group.length < of && next[before] !== none; tried++) {
      const i = next[before]!;
      if (!fits(i)) { before = i; continue; }
      take(i);
      group.push(columns[i]!);
      next[before] = next[i]!;
    }
    places.push(...group, ...Array<number>(of - group.length).fill(NONE));
    if (places.length > 2 * columns.length + of) return undefined;
  }
  return places;
}

/** Whether every `of` neighbouring columns of a panel have at most `keep` non-zeros in a row. */
function hasPattern(m: WeightMatrix, run: number, { rows, columns }: Panel): boolean {
  const { keep, of } = sparsePattern(m.dtype);
  return rows.every((r) => columns.every((c) => {
    for (let first = c; first < c + run; first += of) {
      let n = 0;
      for (let i = first; i < Math.min(first + of, m.cols); i++) n += m.bits[r * m.cols + i]!;
      if (n > keep) return false;
    }
    return true;
  }));
}

/** The same panels with columns in an order that has the pattern of sparse tensor cores; undefined where there is none, or too many places would stay empty. */
export function sparseCut(m: WeightMatrix, cut: Cut): Cut | undefined {
  if (cut.run > 1) return cut.panels.every((p) => hasPattern(m, cut.run, p)) ? cut : undefined;
  const panels: Panel[] = [];
  for (const p of cut.panels) {
    const columns = groupedColumns(m, p);
    if (!columns) return undefined;
    panels.push({ ...p, columns, blocks: Math.ceil(columns.length / perBlockOf(m.dtype)) });
  }
  return { ...cut, panels: byWork(panels) };
}

/** The constants of spc_panels. */
export interface PackedPanels {
  readonly tiles: Uint8Array;
  /** First block of each panel, and the number of all. */
  readonly starts: readonly number[];
  /** First column of every `run` places of a block; the number of columns where there is none. */
  readonly columns: readonly number[];
}

export function packPanels(m: WeightMatrix, { height, run, panels }: Cut, sparse: boolean): PackedPanels {
  const tiles: Uint8Array[] = [], starts = [0], lists: number[] = [];
  // constants have at least one element: a matrix without any non-zero has a block of zeros
  const least = panels.every((p) => p.blocks === 0) ? 1 : 0;
  for (const [i, p] of panels.entries()) {
    const blocks = i === 0 ? Math.max(p.blocks, least) : p.blocks, width = blocks * perBlockOf(m.dtype), data = newArray(m.dtype, height * width);
    const list = Array.from({ length: width / run }, (_, place) => { const c = p.columns[place] ?? NONE; return c === NONE ? m.cols : c; });
    p.rows.forEach((r, j) => list.forEach((c, place) => {
      for (let k = 0; k < run && c + k < m.cols; k++) data[j * width + place * run + k] = m.data[r * m.cols + c + k]!;
    }));
    if (blocks > 0) tiles.push((sparse ? sparseFragments : denseFragments)(weightMatrix(m.dtype, height, width, data)));
    starts.push(starts.at(-1)! + blocks);
    lists.push(...list);
  }
  // kernels look at the list one block ahead
  lists.push(...Array<number>(perBlockOf(m.dtype) / run).fill(m.cols));
  const all = new Uint8Array(tiles.reduce((n, t) => n + t.length, 0));
  tiles.reduce((at, t) => { all.set(t, at); return at + t.length; }, 0);
  return { tiles: all, starts, columns: lists };
}
