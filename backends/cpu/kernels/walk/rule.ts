/** Convolutions of small images whose lanes are pixels: see walk.ts. */
import { elementCount } from '../../../../compiler/ir/types.js';
import { add, mul, vector, vload, asIndex, forLoop, ref } from '../../../../compiler/kir/build.js';
import { isContiguous, type KernelBuilder } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { plainConv, type Axis, type PlainConv } from '../conv.js';
import { channelVectors, outputOf, storeTile } from '../vector.js';
import { nanosecondsOf } from './cost.js';
import { coverOf, type Extent } from './cover.js';
import { buildWalk, tablesOf, walkOf, type Entry, type Walk } from './walk.js';

/** Larger images have work enough for tiles. */
const MOST_PIXELS = 1024;
/** A row of extent 1, where there is one spatial dimension only. */
const NO_ROWS: Axis = { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0 };

const extentOf = (a: Axis): Extent => ({ input: a.input, output: a.output, stride: a.stride, before: a.before, reach: (a.kernel - 1) * a.dilation });

/** Non-zeros of every filter, in order of channels. */
function entriesOf(c: PlainConv, rows: Axis, columns: Axis): Entry[][] {
  const own = c.outChannels / c.group;
  return Array.from({ length: c.outChannels }, (_, o) => {
    const first = Math.floor(o / own) * c.perGroup, entries: Entry[] = [];
    for (let i = 0; i < c.perGroup; i++) for (let ky = 0; ky < rows.kernel; ky++) for (let kx = 0; kx < columns.kernel; kx++) {
      const weight = Number(c.weights[((ky * columns.kernel + kx) * c.perGroup + i) * c.outChannels + o]);
      if (weight !== 0) entries.push({ channel: first + i, row: ky * rows.dilation, column: kx * columns.dilation, weight });
    }
    return entries;
  });
}

function describe(isa: Isa, c: PlainConv): Walk | undefined {
  const columns = c.axes.at(-1)!, rows = c.axes.length === 2 ? c.axes[0]! : NO_ROWS;
  if (c.acc !== 'f32' || c.x.dtype !== 'f32' || !isContiguous(c.x) || !isContiguous(c.y) || rows.output * columns.output > MOST_PIXELS) return undefined;
  const cover = coverOf(extentOf(rows), extentOf(columns)), filters = entriesOf(c, rows, columns);
  return cover && filters.some((f) => f.length > 0) ? walkOf(isa, cover, [[0, 0]], filters, c.channels) : undefined;
}

/** Every pixel of a row-major tensor of f32 through the epilogue into y. */
function finish(k: KernelBuilder, isa: Isa, c: PlainConv, rows: string, image: Expr): Stmt[] {
  const shape = c.axes.map((a) => a.output), vectors = channelVectors(c.outChannels, isa.lanes), output = outputOf(c.y, 'f32', c.epilogue);
  return k.forEach(shape, (at) => {
    const pixel = at.reduce<Expr>((e, i, d) => add(mul(e, shape[d]!), i), asIndex(0));
    return storeTile(k, output, { points: 1, vectors, value: (_, j) => vload(rows, vector('f32', vectors[j]!.lanes), add(mul(pixel, c.outChannels), vectors[j]!.offset), vectors[j]!.count) },
      (_, channel) => [image, ...at, channel]);
  });
}

function build(k: KernelBuilder, isa: Isa, c: PlainConv, w: Walk): Stmt[] {
  const pixels = elementCount(c.axes.map((a) => a.output)), inputs = elementCount(c.axes.map((a) => a.input));
  const body = (image: Expr): Stmt[] => {
    const x = { param: c.x.param, at: add(mul(image, inputs * c.channels), c.x.offset) }, y = { param: c.y.param, at: add(mul(image, pixels * c.outChannels), c.y.offset) };
    if (!c.epilogue && c.y.dtype === 'f32') return buildWalk(k, w, x, c.w.param, y);
    const rows = k.scratch('rows', 'f32', pixels * c.outChannels);
    return [...buildWalk(k, w, x, c.w.param, { param: rows, at: 0 }), ...finish(k, isa, c, rows, image)];
  };
  if (c.batch === 1) return body(asIndex(0));
  const image = k.name('image');
  return [forLoop(image, c.batch, body(ref(image)))];
}

export function walkRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const c = plainConv(request), w = c && describe(isa, c);
    if (!c || !w) return [];
    const entries = w.entries.reduce((n, f) => n + f.length, 0), sums = Math.max(...w.groups.map((g) => g.length));
    return [{
      choice: {
        status: entries < c.weights.length ? 'sparse-kernel' : 'dense-kernel', kernel: `walk ${sums}x8`,
        reason: `${(100 * (1 - entries / c.weights.length)).toFixed(1)} % of the weights are zero: ${entries} times ${w.cover.vectors.length} vectors of 8 pixels, from tables`,
      },
      nanoseconds: c.batch * nanosecondsOf(isa, w),
      pack: () => new Map([[1, tablesOf(w).weights]]),
      build: (k) => build(k, isa, c, w),
    }];
  };
  return { name: 'walk', candidates };
}
