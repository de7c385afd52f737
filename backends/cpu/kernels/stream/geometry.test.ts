/** Addresses of stream products against the definition of the layouts: what each tap reads for each output pixel, on random windows. */
import { describe, expect, test } from 'vitest';
import { reachOf, tapsOf, type Window } from '../../../../compiler/core/window.js';
import { elementAt, LANES, layoutElements, type ImageTiles, type Layout, type PixelTiles } from '../../../../compiler/ir/layout.js';
import { images, memoryOf, pixels } from '../../../../test/support/tile-harness.js';
import { randomSource, type RandomSource } from '../../../../test/support/random-stream.js';
import { productGeometry, type ProductGeometry } from './geometry.js';

interface Case {
  readonly window: Window;
  readonly x: Layout;
  readonly y: Layout;
}

const CHANNELS = 2;

function randomWindow(random: RandomSource): { readonly window: Window; readonly after: readonly [number, number] } {
  const pair = (low: number, high: number): readonly [number, number] => [random.integer(low, high), random.integer(low, high)];
  const kernel = random.pick([[1, 1], [3, 3], pair(1, 4)] as const), stride = random.pick([1, 1, 2, 3]), dilation = random.pick([[1, 1], [1, 1], [2, 1], [1, 3]] as const);
  const reach = (d: 0 | 1): number => (kernel[d] - 1) * dilation[d];
  const before = [random.integer(0, reach(0)), random.integer(0, reach(1))] as const;
  return { window: { kernel, stride: [stride, stride], dilation, before }, after: [random.integer(0, reach(0)), random.integer(0, reach(1))] };
}

/** Grids as large as need be or larger, halos too; undefined where no output is left. */
function randomCase(random: RandomSource, over: Layout['over']): Case | undefined {
  const { window: w, after } = randomWindow(random), n = over === 'images' ? random.pick([1, 8, 16, 17, 33]) : random.integer(1, 2), s = w.stride[0];
  const extent = [random.integer(1, 11), random.integer(1, 11)] as const;
  const output = ([0, 1] as const).map((d) => Math.floor((extent[d] + w.before[d] + after[d] - (w.kernel[d] - 1) * w.dilation[d] - 1) / s) + 1) as [number, number];
  if (output.some((o) => o < 1)) return undefined;
  const shapeX = [n, ...extent, CHANNELS], shapeY = [n, ...output, CHANNELS];
  if (over === 'images') {
    const last = ([0, 1] as const).map((d) => Math.max(0, (output[d] - 1) * s + (w.kernel[d] - 1) * w.dilation[d] - w.before[d] - extent[d] + 1)), spare = (): number => random.pick([0, 0, 1]);
    return { window: w, x: images(shapeX, [w.before[0] + spare(), w.before[1] + spare(), last[0]! + spare(), last[1]! + spare()]), y: images(shapeY, [spare(), spare(), spare(), spare()]) };
  }
  const phases = random.pick([1, 1, 2]), p = phases * s;
  const rows = Math.max(Math.ceil(extent[0] / p), Math.ceil(output[0] / phases)) + random.pick([0, 0, 1]), columns = Math.max(Math.ceil(extent[1] / p), Math.ceil(output[1] / phases)) + random.pick([0, 0, 1]);
  const reach = reachOf(w, phases, columns), spare = (): number => random.pick([0, 0, 3]);
  return { window: w, x: pixels(shapeX, { phases: p, rows, columns, before: reach.before + spare(), after: reach.after + spare() }), y: pixels(shapeY, { phases, rows, columns, before: spare(), after: spare() }) };
}

/** What every tap reads of each channel for each element of y that the calls write, as text; '0' where masked out, twice written is an error. */
function reads({ window, x, y }: Case, g: ProductGeometry, memory: Float32Array): Map<number, string> {
  const written = new Map<number, string>(), strideY = y.pitch * LANES;
  for (const segment of g.segments) for (let t = 0; t < segment.tiles; t++) for (let lane = 0; lane < LANES; lane++) {
    const mask = (m: number): boolean => (g.masks[(segment.masks + t) * g.maskCount + m]! >> lane & 1) === 1;
    const at = segment.y + t * strideY + lane, kept = !g.keeps || mask(g.maskCount - 1);
    if (written.has(at)) throw new Error(`element ${at} is written twice`);
    written.set(at, !kept ? 'zero' : tapsOf(window).flatMap(({ tap }) => {
      const place = g.places[segment.phase]![tap]!, from = segment.x + (t * g.step + place.offset) / 4 + lane, lit = place.mask < 0 || mask(place.mask);
      return Array.from({ length: CHANNELS }, (_, c) => {
        if (!lit) return 0;
        const address = from + c * LANES;
        if (address < 0 || address >= memory.length) throw new Error(`reads element ${address} of ${memory.length}`);
        return memory[address]!;
      });
    }).join(' '));
  }
  if (x.over !== y.over) throw new Error('kinds differ');
  return written;
}

/** The same by the definition: the pixels below the window, zeros outside. */
function expected({ window: w, x, y }: Case, values: Float32Array): Map<number, string> {
  const all = new Map<number, string>();
  for (let n = 0; n < y.images; n++) for (let oy = 0; oy < y.height; oy++) for (let ox = 0; ox < y.width; ox++) {
    all.set(elementAt(y, n, oy, ox, 0), tapsOf(w).flatMap(({ ky, kx }) => {
      const iy = oy * w.stride[0] + ky * w.dilation[0] - w.before[0], ix = ox * w.stride[1] + kx * w.dilation[1] - w.before[1];
      const inside = iy >= 0 && iy < x.height && ix >= 0 && ix < x.width;
      return Array.from({ length: CHANNELS }, (_, c) => (inside ? values[((n * x.height + iy) * x.width + ix) * CHANNELS + c]! : 0));
    }).join(' '));
  }
  return all;
}

describe.each([['pixels', 600], ['images', 150]] as const)('over %s', (over, count) => {
  test('each tap reads the pixel that its window is over, once for each output pixel; other lanes are written as zeros', () => {
    const random = randomSource(over === 'pixels' ? 21 : 22);
    let checked = 0, masked = 0, phased = 0, unused = 0;
    for (let run = 0; run < count; run++) {
      const c = randomCase(random, over);
      if (!c) continue;
      const values = Float32Array.from({ length: c.x.images * c.x.height * c.x.width * CHANNELS }, (_, i) => i + 1), memory = memoryOf(c.x, values), g = productGeometry(c.window, c.x, c.y);
      // dilated windows may reach further along a row than there are masks
      if (typeof g === 'string') { expect(g).toMatch(/masks/); continue; }
      const written = reads(c, g, memory), label = JSON.stringify(c);
      for (const [at, want] of expected(c, values)) {
        if (written.get(at) !== want) expect(written.get(at), `element ${at} of y, ${label}`).toBe(want);
        written.delete(at);
      }
      for (const [at, text] of written) {
        if (!/^zero$/.test(text)) expect.fail(`element ${at} of y is no pixel but is written: ${label}`);
        expect(at).toBeLessThan(layoutElements(c.y));
        unused++;
      }
      checked++;
      if (g.maskCount > 0) masked++;
      if (g.places.length > 1) phased++;
    }
    expect(checked).toBeGreaterThan(count / 2);
    expect(Math.min(masked, unused)).toBeGreaterThan(20);
    if (over === 'pixels') expect(phased).toBeGreaterThan(50);
  });
});

const three: Window = { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], before: [1, 1] }, shape = [1, 6, 6, CHANNELS];
const grid = (more: Partial<PixelTiles> = {}): PixelTiles => pixels(shape, { before: 7, after: 7, ...more }), margins = (m: readonly number[]): ImageTiles => images(shape, m);
test.each<readonly [string, Window, Layout, Layout, RegExp]>([
  ['a halo that is one vector short before', three, grid({ before: 6 }), grid(), /too small a halo/],
  ['a halo that is one vector short after', three, grid({ after: 6 }), grid(), /too small a halo/],
  ['another grid', three, grid({ columns: 7, before: 8, after: 8 }), grid(), /different grids/],
  ['phases without a stride', three, grid({ phases: 2, rows: 3, columns: 3 }), grid(), /not in the phases/],
  ['strides that differ', { ...three, stride: [1, 2] }, grid(), grid(), /not in the phases/],
  ['seven distances along a row', { ...three, kernel: [1, 8], before: [0, 0] }, grid(), grid(), /7 distances/],
  ['no margin above', three, margins([0, 1, 1, 1]), margins([0, 0, 0, 0]), /too small margins/],
  ['no margin below', three, margins([1, 1, 0, 1]), margins([0, 0, 0, 0]), /too small margins/],
  ['no margin to the right', three, margins([1, 1, 1, 0]), margins([0, 0, 0, 0]), /too small margins/],
  ['lanes of another kind', three, grid(), margins([0, 0, 0, 0]), /different kinds/],
])('%s is refused', (_, w, x, y, reason) => {
  expect(productGeometry(w, x, y)).toMatch(reason);
});

test('a residual has the grid of the output, and any halo', () => {
  const added = (r: Layout): ProductGeometry | string => productGeometry(three, grid(), grid(), r);
  expect(added(grid({ before: 3, after: 0, pitch: 9 }))).toEqual(productGeometry(three, grid(), grid()));
  for (const other of [grid({ rows: 7 }), grid({ phases: 2, rows: 3, columns: 3 })]) expect(added(other)).toMatch(/residual and output/);
  expect(added(margins([0, 0, 0, 0]))).toMatch(/different kinds/);
});

test('rows of images without margins beside them are one call', () => {
  const point: Window = { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], before: [0, 0] }, of = (n: number, m: readonly number[] = [0, 0, 0, 0]): ImageTiles => images([n, 4, 5, CHANNELS], m);
  const calls = (x: ImageTiles, y: ImageTiles, r = y): readonly number[] => { const g = productGeometry(point, x, y, r); if (typeof g === 'string') throw new Error(g); return g.segments.map((s) => s.tiles); };
  expect(calls(of(16), of(16))).toEqual([20]);
  expect(calls(of(40), of(40))).toEqual([20, 20, 20]);
  expect(calls(of(40, [1, 0, 0, 0]), of(40, [0, 0, 2, 0]))).toEqual([20, 20, 20]);
  for (const margins of [[0, 1, 0, 0], [0, 0, 0, 1]]) {
    expect(calls(of(16), of(16, margins))).toEqual([5, 5, 5, 5]);
    expect(calls(of(16, margins), of(16))).toEqual([5, 5, 5, 5]);
    expect(calls(of(16), of(16), of(16, margins))).toEqual([5, 5, 5, 5]);
  }
});
