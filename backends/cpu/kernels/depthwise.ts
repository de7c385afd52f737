/**
 * Depthwise convolution of channels-last data: vectors run over channels, a tile of neighbouring points stays in registers, and
 * each x vector that is loaded serves all the points and taps that need it.
 */
import { newArray } from '../../../compiler/ir/tensor.js';
import { add, asIndex, assign, cast, constant, fma, forLoop, mul, ref, varStmt, vector, vload } from '../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../types.js';
import type { Isa } from '../isa.js';
import { isDepthwise, plainConv, reachOf, walkOf, type Axis } from './conv.js';
import { reachedTiles, type ReachedTiles } from './line-product.js';
import { blocksOf, evenTiles } from './tile.js';
import { channelVectors, outputOf, storeTile, type ChannelVector, type Output } from './vector.js';

interface Depthwise {
  readonly x: TensorRef;
  readonly weights: string;
  readonly acc: 'f32' | 'i32';
  readonly output: Output;
  readonly rows: Axis;
  readonly cols: Axis;
  /** Lanes of a packed weight row: all channels, rounded up to whole vectors. */
  readonly width: number;
  /** Distance in x between kernel rows and between pixels. */
  readonly image: number;
  readonly pixel: number;
}

/** Sums of one tile of points and one vector of channels, from zero to stored. `x` and `w` are addresses of the first channel. */
function sumTile(k: KernelBuilder, p: Depthwise, t: ReachedTiles, v: ChannelVector, bounds: { from: Expr; to: Expr } | undefined,
  x: Expr, w: Expr, at: (point: Expr | number, channel: Expr | number) => (Expr | number)[]): Stmt[] {
  const { cols } = p, type = vector(p.acc, v.lanes);
  const names = Array.from({ length: t.size }, () => k.name('a'));
  const [xRow, wRow] = [k.name('xr'), k.name('wr')];
  const columns = new Map<number, [number, number][]>();
  for (let tap = 0; tap < cols.kernel; tap++) {
    const [from, to] = t.reach[tap]!;
    for (let i = from; i < to; i++) {
      const column = i * cols.stride + tap * cols.dilation;
      columns.set(column, [...(columns.get(column) ?? []), [i, tap]]);
    }
  }
  const used = [...new Set([...columns.values()].flatMap((c) => c.map(([, tap]) => tap)))].sort((a, b) => a - b);
  const taps = new Map(used.map((tap) => [tap, k.let('w', vload(p.weights, type, add(ref(wRow), tap * p.width)))]));
  const row: Stmt[] = used.length === 0 ? [] : [
    { kind: 'let', name: xRow, value: add(x, mul(ref('ky'), p.image)) },
    { kind: 'let', name: wRow, value: add(w, mul(ref('ky'), p.width * cols.kernel)) },
    ...[...taps.values()].map((tap) => tap.declare),
    ...[...columns].sort(([a], [b]) => a - b).flatMap(([column, uses]) => {
      const value = k.let('v', cast(vload(p.x.param, vector(p.x.dtype, v.lanes), add(ref(xRow), column * p.pixel), v.count), p.acc));
      return [value.declare, ...uses.map(([i, tap]) => assign(names[i]!, fma(value.ref, taps.get(tap)!.ref, ref(names[i]!, type))))];
    }),
  ];
  return [
    ...names.map((n) => varStmt(n, constant(p.acc, 0, v.lanes))),
    forLoop('ky', bounds?.to ?? p.rows.kernel, row, {}, bounds?.from ?? 0),
    ...storeTile(k, p.output, { points: t.size, vectors: [{ ...v, offset: 0 }], value: (i) => ref(names[i]!, type) }, at),
  ];
}

export function depthwiseRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const c = plainConv(request);
    if (!c || !isDepthwise(c)) return [];
    const { acc, channels } = c, { rows, cols, pixel, image } = walkOf({ address: () => asIndex(0) }, c);
    const vectors = channelVectors(channels, isa.lanes), runs = blocksOf(vectors, 1);
    const width = vectors.reduce((s, v) => s + v.lanes, 0), taps = rows.kernel * cols.kernel;
    const most = Math.max(1, Math.floor((isa.registers - 4) / 2));
    const tiles = reachedTiles(cols.kernel, (tap) => reachOf(cols, tap), evenTiles(cols.output, most)), size = tiles[0]!.size;
    const row = Math.max(size * cols.kernel / isa.fma.full, ((size - 1) * cols.stride + 2 * cols.kernel) / isa.loads.full);
    const cycles = c.batch * rows.output * vectors.length * (cols.output / size) * (rows.kernel * (row + 1) + 2 * size + 10);
    const p: Depthwise = { x: c.x, weights: c.w.param, acc, output: outputOf(c.y, acc, c.epilogue), rows, cols, width, image: rows.dilation * image, pixel };
    const tile = `${size}x${vectors[0]!.lanes}`;
    return [{
      choice: { status: 'dense-kernel', kernel: `depthwise ${tile}`, reason: `${c.axes.map((a) => a.kernel).join('x')} on ${channels} channels: ${tile} sums in registers` },
      nanoseconds: cycles / isa.clock,
      pack: () => {
        const packed = newArray(acc, taps * width);
        for (let t = 0; t < taps; t++) for (let i = 0; i < channels; i++) packed[t * width + i] = Number(c.weights[t * channels + i]);
        return new Map([[1, { kind: 'dense', dtype: acc, shape: [packed.length], data: packed }]]);
      },
      build: (k) => {
        const walk = walkOf(k, c);
        return k.forEach(c.axes.length === 2 ? [c.batch, rows.output] : [c.batch], (line) =>
          tiles.flatMap((t) => repeat(k, 't', t.count, (i) => runs.flatMap((run) => repeat(k, 'c', run.count, (block) => {
            const point = add(mul(i, t.size), t.start), channel = add(mul(block, run.width), run.channel);
            const origin = k.let('x0', add(add(walk.base(line), channel), mul(point, cols.stride * pixel)));
            return [origin.declare, ...sumTile(k, p, t, run.vectors[0]!, walk.bounds(line), origin.ref, channel,
              (j, o) => [...line, add(point, asIndex(j)), add(channel, asIndex(o))])];
          })))));
      },
    }];
  };
  return { name: 'depthwise', candidates };
}

/** `count` times `body`, without a loop where that is once. */
function repeat(k: KernelBuilder, base: string, count: number, body: (i: Expr) => Stmt[]): Stmt[] {
  if (count === 1) return body(asIndex(0));
  const name = k.name(base);
  return [forLoop(name, count, body(ref(name)))];
}
