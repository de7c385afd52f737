/**
 * Patterns as text. A text says sizes as shares (`unstructured:0.9`), so it becomes a pattern only on a matrix of known size:
 *
 *   2:4  unstructured:0.9  block:4x1:0.8  complementary:8  row-balanced:0.9  filter:0.5  part-x:16:0.75  block-x-part-y:4:16:0.75
 *   rbgp4:0.75  rbgp4(32x128:0.5,4x1,32x32:0.25,1x1)  nest(block:16x16:0.5,2:4)  sum(block:16x16:0.9,unstructured:0.95)
 *   both(2:4,2:4:y)  perm(2:4)  dense, and every leaf exactly: leaf:BYxBX:QYxQX:KEEP; a suffix @crs or @rsc sets the order of a convolution's columns.
 */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { xoshiro128 } from '../io/random.js';
import { shapeOf, type Mask, type Matrix, type MatrixShape } from './matrix.js';
import { gridOf, leaf, wholeLeaf, type Extent, type Leaf, type Pattern } from './pattern.js';
import { searchPermutation } from './permute.js';
import { project } from './project.js';
import { graphProduct, rbgp4Factors, type Factor } from './rbgp.js';
import type { ColumnOrder } from './view.js';

/** A pattern before the size of the matrix is known. */
export interface PatternSpec {
  readonly text: string;
  /** Order of a convolution's columns that the pattern is about. */
  readonly order: ColumnOrder;
  /** Keep the best `1 - sparsity` elements, wherever they are: the only pattern that can be shared out over layers. */
  readonly unstructured?: number;
  /** Look for an order of rows or columns that keeps more. */
  readonly permute: boolean;
  /** @throws NodeProblem SPC3002 where the pattern does not fit the matrix */
  readonly resolve: (shape: MatrixShape, seed: number) => Pattern;
}

/** The pattern on a matrix, after the search for a permutation if the text asks for one, and its projection. */
export function projectSpec(matrix: Matrix, spec: PatternSpec, seed: number): { readonly pattern: Pattern; readonly mask: Mask } {
  const base = spec.resolve(shapeOf(matrix), seed);
  const pattern = spec.permute ? searchPermutation(matrix, base) : base;
  return { pattern, mask: project(matrix, pattern) };
}

type Resolve = PatternSpec['resolve'];
interface Term { readonly resolve: Resolve; readonly order?: ColumnOrder; readonly unstructured?: number }

const bad = (why: string, hint: string): NodeProblem => new NodeProblem('SPC3001', why, hint);
const unfit = (text: string, shape: MatrixShape, why: string): NodeProblem =>
  new NodeProblem('SPC3002', `${text} does not fit a matrix of ${shape.rows}x${shape.cols}: ${why}`, 'choose other sizes, or another pattern for this layer');

function whole(text: string, what: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw bad(`'${text}' is not a ${what}`, 'write a whole number of 1 or more');
  return Number(text);
}

function share(text: string): number {
  const x = Number(text);
  if (!/^(0?\.\d+|0|1(\.0*)?|0\.)$/.test(text) || !(x >= 0 && x < 1)) throw bad(`'${text}' is not a sparsity`, 'write the share of zeros, 0 or more and less than 1, as in 0.9');
  return x;
}

function extent(text: string): Extent {
  const [y, x, ...rest] = text.split('x');
  if (y === undefined || x === undefined || rest.length > 0) throw bad(`'${text}' is not a size`, 'write ROWSxCOLUMNS, as in 4x1');
  return [whole(y, 'size'), whole(x, 'size')];
}

/** `sparsity` of the partition zero: how many blocks stay. */
function keepOf(blocks: number, sparsity: number, text: string, shape: MatrixShape): number {
  const keep = Math.round((1 - sparsity) * blocks);
  if (keep === 0) throw unfit(text, shape, `nothing would be left of ${blocks} block${blocks === 1 ? '' : 's'}`);
  return keep;
}

/** Blocks of the shape's choice over the whole matrix, or in partitions of the shape's choice. */
type SizeOf = Extent | ((s: MatrixShape) => Extent);
const on = (e: SizeOf, s: MatrixShape): Extent => (typeof e === 'function' ? e(s) : e);

const overWhole = (text: string, block: SizeOf, sparsity: number): Resolve => (shape) => {
  const b = on(block, shape), { grid } = gridOf(shape, { block: b, part: [1, 1] });
  return wholeLeaf(shape, b, keepOf(grid[0] * grid[1], sparsity, text, shape));
};

/** Partitions larger than the matrix mean all of it. */
const inParts = (text: string, block: Extent, part: SizeOf, sparsity: number): Resolve => (shape) => {
  const { grid } = gridOf(shape, { block, part: [1, 1] }), wanted = on(part, shape);
  const p: Extent = [Math.min(wanted[0], grid[0]), Math.min(wanted[1], grid[1])];
  return leaf(block, p, keepOf(p[0] * p[1], sparsity, text, shape));
};

const HUGE = 2 ** 31;

/** The patterns by name. Arguments are what follows the colons. */
const named: { readonly [name: string]: { readonly args: string; readonly make: (a: readonly string[], text: string) => Term } } = {
  dense: { args: '', make: (_, text) => ({ resolve: overWhole(text, [1, 1], 0) }) },
  unstructured: { args: 'SPARSITY', make: ([s], text) => ({ resolve: overWhole(text, [1, 1], share(s!)), unstructured: share(s!) }) },
  block: { args: 'ROWSxCOLUMNS:SPARSITY', make: ([b, s], text) => ({ resolve: overWhole(text, extent(b!), share(s!)) }) },
  'block-x': { args: 'BLOCK:SPARSITY', make: ([b, s], text) => ({ resolve: overWhole(text, [1, whole(b!, 'block')], share(s!)) }) },
  'block-y': { args: 'BLOCK:SPARSITY', make: ([b, s], text) => ({ resolve: overWhole(text, [whole(b!, 'block'), 1], share(s!)) }) },
  'block-xy': { args: 'BLOCK:SPARSITY', make: ([b, s], text) => ({ resolve: overWhole(text, [whole(b!, 'block'), whole(b!, 'block')], share(s!)) }) },
  'part-x': { args: 'PARTITION:SPARSITY', make: ([p, s], text) => ({ resolve: inParts(text, [1, 1], [1, whole(p!, 'partition')], share(s!)) }) },
  'part-y': { args: 'PARTITION:SPARSITY', make: ([p, s], text) => ({ resolve: inParts(text, [1, 1], [whole(p!, 'partition'), 1], share(s!)) }) },
  'part-xy': { args: 'PARTITION:SPARSITY', make: ([p, s], text) => ({ resolve: inParts(text, [1, 1], square(p!), share(s!)) }) },
  'part-x&y': { args: 'PARTITION:SPARSITY', make: ([p, s], text) => ({ resolve: both(text, inParts(text, [1, 1], [1, whole(p!, 'partition')], share(s!)), inParts(text, [1, 1], [whole(p!, 'partition'), 1], share(s!))) }) },
  'block-x-part-x': { args: 'BLOCK:PARTITION:SPARSITY', make: ([b, p, s], text) => ({ resolve: inParts(text, [1, whole(b!, 'block')], [1, whole(p!, 'partition')], share(s!)) }) },
  'block-y-part-x': { args: 'BLOCK:PARTITION:SPARSITY', make: ([b, p, s], text) => ({ resolve: inParts(text, [whole(b!, 'block'), 1], [1, whole(p!, 'partition')], share(s!)) }) },
  'block-xy-part-x': { args: 'BLOCK:PARTITION:SPARSITY', make: ([b, p, s], text) => ({ resolve: inParts(text, square(b!), [1, whole(p!, 'partition')], share(s!)) }) },
  'block-x-part-y': { args: 'BLOCK:PARTITION:SPARSITY', make: ([b, p, s], text) => ({ resolve: inParts(text, [1, whole(b!, 'block')], [whole(p!, 'partition'), 1], share(s!)) }) },
  'block-x-part-xy': { args: 'BLOCK:PARTITION:SPARSITY', make: ([b, p, s], text) => ({ resolve: inParts(text, [1, whole(b!, 'block')], square(p!), share(s!)) }) },
  complementary: { args: 'FILTERS', make: ([p]) => ({ resolve: complementary(whole(p!, 'number of filters')) }) },
  'complementary-balanced': { args: 'FILTERS', make: ([p]) => ({ resolve: balancedComplementary(whole(p!, 'number of filters')) }) },
  'row-balanced': { args: 'SPARSITY', make: ([s], text) => ({ resolve: inParts(text, [1, 1], [1, HUGE], share(s!)) }) },
  'column-balanced': { args: 'SPARSITY', make: ([s], text) => ({ resolve: inParts(text, [1, 1], [HUGE, 1], share(s!)) }) },
  filter: { args: 'SPARSITY', make: ([s], text) => ({ resolve: overWhole(text, (m) => [1, m.cols], share(s!)) }) },
  channel: { args: 'SPARSITY', make: ([s], text) => ({ resolve: overWhole(text, (m) => [m.rows, m.kernel ?? 1], share(s!)), order: 'crs' }) },
  shape: { args: 'SPARSITY', make: ([s], text) => ({ resolve: overWhole(text, (m) => [m.rows, 1], share(s!)) }) },
  kernel: { args: 'SPARSITY', make: ([s], text) => ({ resolve: overWhole(text, (m) => [1, m.kernel ?? 1], share(s!)), order: 'crs' }) },
  transposable: { args: 'KEEP:OF', make: ([n, m], text) => ({ resolve: both(text, nOfM(n!, m!, 'x'), nOfM(n!, m!, 'y')) }) },
  rbgp4: { args: 'SPARSITY', make: ([s]) => ({ resolve: rbgp4(1 - share(s!)) }) },
  leaf: { args: 'BLOCK:PARTITION:KEEP[:max]', make: ([b, q, n, bound]) => ({ resolve: exactLeaf(extent(b!), extent(q!), whole(n!, 'count'), bound) }) },
};

const square = (text: string): Extent => [whole(text, 'size'), whole(text, 'size')];

const nOfM = (n: string, m: string, along: 'x' | 'y'): Resolve => {
  const keep = whole(n, 'count'), of = whole(m, 'group');
  if (keep > of) throw bad(`${n}:${m} keeps more than there are`, 'the first number is how many stay of each group, as in 2:4');
  return () => leaf([1, 1], along === 'x' ? [1, of] : [of, 1], keep);
};

const complementary = (filters: number): Resolve => () => leaf([1, 1], [filters, 1], 1);

/** Complementary, and every filter of a group has the same number of weights (up to one where the sizes do not divide). */
const balancedComplementary = (filters: number): Resolve => (shape) => ({
  kind: 'both', vertical: leaf([1, 1], [filters, 1], 1),
  horizontal: leaf([1, 1], [1, shape.cols], Math.ceil(shape.cols / filters), shape.cols % filters === 0 && shape.rows % filters === 0),
});

const rbgp4 = (density: number): Resolve => (shape, seed) => graphProduct(rbgp4Factors(shape, density), xoshiro128(seed)).pattern;

function exactLeaf(block: Extent, part: Extent, keep: number, bound: string | undefined): Resolve {
  if (bound !== undefined && bound !== 'max') throw bad(`'${bound}' after a leaf`, 'write :max where KEEP is an upper bound, or nothing');
  return () => leaf(block, part, keep, bound === undefined);
}

const both = (text: string, a: Resolve, b: Resolve): Resolve => (shape, seed) => {
  const horizontal = a(shape, seed), vertical = b(shape, seed);
  const fits = horizontal.kind === 'leaf' && vertical.kind === 'leaf' && horizontal.part[0] === 1 && vertical.part[1] === 1
    && horizontal.block[0] === vertical.block[0] && horizontal.block[1] === vertical.block[1];
  if (!fits) throw unfit(text, shape, 'two rules at once are groups along rows and groups along columns, of the same blocks, as in both(2:4,2:4:y)');
  const { grid } = gridOf(shape, horizontal);
  const kept: readonly [number, number] = [Math.min(vertical.part[0], grid[0]) * horizontal.keep, Math.min(horizontal.part[1], grid[1]) * vertical.keep];
  if (kept[0] !== kept[1]) throw unfit(text, shape, `one rule keeps ${kept[0]} blocks of a tile, the other ${kept[1]}`);
  return { kind: 'both', horizontal, vertical };
};

/** The names of patterns with their arguments, for help and messages. */
export const patternNames: readonly string[] = ['N:M', ...Object.entries(named).map(([name, { args }]) => (args === '' ? name : `${name}:${args}`)), 'both(A,B)', 'nest(A,B)', 'sum(A,B)', 'perm(A)', 'rbgp4(FACTORS)'];

/** @throws NodeProblem SPC3001 */
export function parsePattern(text: string): PatternSpec {
  const [, body = '', order] = /^(.*?)(?:@(crs|rsc))?$/.exec(text.replace(/\s/g, '')) ?? [];
  const inner = /^perm\((.*)\)$/.exec(body)?.[1];
  const term = parseTerm(inner ?? body);
  return {
    text, permute: inner !== undefined, resolve: term.resolve, order: (order as ColumnOrder | undefined) ?? term.order ?? 'rsc',
    ...(term.unstructured !== undefined && inner === undefined ? { unstructured: term.unstructured } : {}),
  };
}

function parseTerm(text: string): Term {
  const call = /^([a-z0-9-]+)\((.*)\)$/.exec(text);
  if (call) return parseCall(call[1]!, splitArguments(call[2]!), text);
  const [name = '', ...args] = text.split(':');
  if (/^\d+$/.test(name) && args.length <= 2 && args[0] !== undefined && (args[1] === undefined || args[1] === 'x' || args[1] === 'y')) return { resolve: nOfM(name, args[0], args[1] === 'y' ? 'y' : 'x') };
  const entry = Object.hasOwn(named, name) ? named[name] : undefined;
  if (!entry) throw bad(`'${text}' is no pattern`, `patterns are ${patternNames.join(', ')}`);
  const parameters = entry.args === '' ? [] : entry.args.replace('[:max]', '').split(':');
  const optional = entry.args.endsWith('[:max]') ? 1 : 0;
  if (args.length < parameters.length || args.length > parameters.length + optional) throw bad(`'${text}' has ${args.length} argument${args.length === 1 ? '' : 's'}`, `write ${name}${entry.args === '' ? '' : `:${entry.args}`}`);
  return entry.make(args, text);
}

/** At commas outside of parentheses. */
function splitArguments(text: string): string[] {
  const out: string[] = [];
  let depth = 0, start = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i] ?? ',';
    if (c === '(') depth++;
    if (c === ')') depth--;
    if (c === ',' && depth === 0) { out.push(text.slice(start, i)); start = i + 1; }
  }
  return out;
}

function parseCall(name: string, args: readonly string[], text: string): Term {
  if (name === 'rbgp4') return { resolve: explicitProduct(args.map(parseFactor), text) };
  if (name !== 'both' && name !== 'nest' && name !== 'sum') throw bad(`'${name}(...)' is no pattern`, `patterns are ${patternNames.join(', ')}`);
  if (args.length !== 2) throw bad(`'${text}' has ${args.length} arguments`, `write ${name}(A,B)`);
  const [a, b] = args.map(parseTerm) as [Term, Term];
  const order = a.order ?? b.order;
  return { ...(order ? { order } : {}), resolve: name === 'both' ? both(text, a.resolve, b.resolve) : composed(name, text, a.resolve, b.resolve) };
}

const composed = (name: 'nest' | 'sum', text: string, a: Resolve, b: Resolve): Resolve => (shape, seed) => {
  const first = a(shape, seed);
  if (first.kind !== 'leaf') throw unfit(text, shape, `the first part of ${name}(A,B) must be blocks`);
  return name === 'nest' ? { kind: 'nest', outer: first, inner: b(blockShape(first), seed) } : { kind: 'sum', coarse: first, fine: b(shape, seed) };
};

const blockShape = (p: Leaf): MatrixShape => ({ rows: p.block[0], cols: p.block[1] });

function parseFactor(text: string): Factor {
  const [size = '', density] = text.split(':');
  const [rows, cols] = extent(size);
  const d = density === undefined ? 1 : Number(density);
  if (!(d > 0 && d <= 1)) throw bad(`'${density}' is not a density`, 'write factors as ROWSxCOLUMNS:DENSITY, or ROWSxCOLUMNS where complete');
  return { rows, cols, density: d };
}

const explicitProduct = (factors: readonly Factor[], text: string): Resolve => (shape, seed) => {
  const rows = factors.reduce((s, f) => s * f.rows, 1), cols = factors.reduce((s, f) => s * f.cols, 1);
  if (rows !== shape.rows || cols !== shape.cols) throw unfit(text, shape, `the factors multiply to ${rows}x${cols}`);
  return graphProduct(factors, xoshiro128(seed)).pattern;
};
