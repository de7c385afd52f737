/** Walks over non-zeros against the reference evaluator, on every shape of cover, in every form of code. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { ConvAttrs } from '../../../../compiler/core/conv.js';
import type { PoolAttrs } from '../../../../compiler/core/pool.js';
import { elementCount, type Epilogue } from '../../../../compiler/ir/types.js';
import { add, arg, f32, max, min, unary } from '../../../../compiler/kir/build.js';
import { randomSource } from '../../../../test/support/random-stream.js';
import { canRun, runTiles, tileBuilds, TileCases, worstDifference } from '../../../../test/support/tile-harness.js';
import { isas } from '../../isa.js';
import { coverOf, LINE, type Extent } from './cover.js';
import { pooledWalkRule, walkRule } from './rule.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-walk-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Shape extends Partial<ConvAttrs> {
  readonly density?: number;
  readonly epilogue?: 'relu' | 'clip' | 'residual' | 'sigmoid';
  readonly pad?: number;
  /** Windows of a pool behind the convolution, and what is behind that. */
  readonly pool?: readonly number[];
  readonly afterPool?: Shape['epilogue'];
}

class WalkCases extends TileCases {
  private readonly choose = randomSource(5);

  /** Weights [kernel..., depth, filters] of a density. */
  sparse(shape: readonly number[], density: number) {
    return this.constant(shape, Array.from({ length: elementCount(shape) }, () => (this.choose.next() < density ? this.choose.next() * 2 - 1 : 0)));
  }
  epilogue(kind: Shape['epilogue'], shape: readonly number[]): Epilogue | undefined {
    const biased = add(arg(0, 'f32'), arg(1, 'f32')), bias = this.constant([shape.at(-1)!]).id;
    switch (kind) {
      case undefined: return undefined;
      case 'relu': return { expr: max(biased, f32(0)), inputs: [bias] };
      case 'clip': return { expr: min(max(biased, f32(0)), f32(0.5)), inputs: [bias] };
      case 'residual': return { expr: max(add(biased, arg(2, 'f32')), f32(0)), inputs: [bias, this.input(shape).id] };
      case 'sigmoid': return { expr: unary('sigmoid', biased), inputs: [bias] };
    }
  }
  conv(x: readonly number[], kernel: readonly number[], filters: number, { density = 0.2, epilogue, pad = 0, pool, afterPool, ...more }: Shape = {}): void {
    const attrs: ConvAttrs = { strides: kernel.map(() => 1), dilations: kernel.map(() => 1), pads: kernel.map(() => [pad, pad] as const), group: 1, layout: 'nsc', out: 'f32', ...more };
    const extent = kernel.map((k, d) => Math.floor((x[d + 1]! + attrs.pads[d]![0] + attrs.pads[d]![1] - (k - 1) * attrs.dilations[d]! - 1) / attrs.strides[d]!) + 1);
    const name = `${x.join('x')} by ${kernel.join('x')} to ${filters}, ${JSON.stringify({ density, epilogue, pad, pool, afterPool, ...more })}`;
    const operands = [this.input(x), this.sparse([...kernel, x.at(-1)! / attrs.group, filters], density)], finish = this.epilogue(epilogue, [x[0]!, ...extent, filters]);
    if (!pool) { this.op(name, 'conv', operands, attrs, undefined, finish); return; }
    const window: PoolAttrs = { mode: 'max', kernel: pool, strides: pool, dilations: pool.map(() => 1), pads: pool.map(() => [0, 0] as const), ceil: false, layout: 'nsc', countIncludePad: false };
    const pooled = [x[0]!, ...extent.map((e, d) => Math.floor(e / pool[d]!)), filters];
    this.op(name, 'pool', [this.node('conv', operands, attrs, undefined, finish)], window, undefined, this.epilogue(afterPool, pooled));
  }
}

function cases(): WalkCases {
  const c = new WalkCases();
  c.conv([1, 14, 14, 45], [5, 5], 64, { density: 0.05, epilogue: 'relu' });
  c.conv([1, 8, 8, 16], [3, 3], 16, { pad: 1, density: 1 });
  c.conv([1, 1, 1, 1], [1, 1], 1, { density: 1 });
  c.conv([1, 10, 7, 3], [3, 3], 5, { pad: 1, epilogue: 'clip' });
  c.conv([1, 7, 10, 17], [3, 2], 33, { pads: [[0, 2], [3, 0]], epilogue: 'residual' });
  c.conv([3, 9, 9, 20], [3, 3], 18, { pad: 1, epilogue: 'residual' });
  c.conv([2, 11, 13, 4], [3, 3], 7, { strides: [2, 2], pads: [[0, 1], [1, 0]], epilogue: 'sigmoid' });
  c.conv([1, 20, 21, 6], [4, 5], 9, { strides: [3, 2], dilations: [2, 1], pad: 2 });
  c.conv([1, 6, 7, 24], [3, 3], 36, { pad: 1, group: 3, epilogue: 'relu' });
  c.conv([1, 10, 19, 40], [3, 3], 40, { pad: 1, group: 40, density: 0.7 });
  c.conv([1, 50, 20], [5], 30, { pad: 2, epilogue: 'relu' });
  c.conv([1, 25, 5, 8], [9, 1], 8, { pads: [[4, 4], [0, 0]] });
  c.conv([1, 16, 16, 2], [1, 1], 40, { density: 0.1 });
  c.conv([1, 12, 12, 6], [3, 3], 5, { pad: 1 });
  c.conv([1, 5, 30, 2], [1, 20], 3, { epilogue: 'relu' });
  // with a pool: the maximum in registers where there are few channels, behind the walk where they come in chunks
  c.conv([1, 32, 32, 1], [5, 5], 45, { density: 0.07, epilogue: 'relu', pool: [2, 2] });
  c.conv([1, 14, 14, 45], [5, 5], 33, { density: 0.05, pool: [2, 2], afterPool: 'relu' });
  c.conv([2, 9, 11, 3], [3, 3], 6, { pad: 1, epilogue: 'clip', pool: [2, 2], afterPool: 'residual' });
  c.conv([1, 13, 16, 2], [3, 2], 5, { strides: [1, 2], dilations: [2, 1], pool: [3, 1], afterPool: 'sigmoid' });
  c.conv([2, 40, 5], [5], 9, { pad: 2, epilogue: 'relu', pool: [4] });
  c.conv([1, 15, 12, 40], [3, 3], 20, { group: 2, pool: [2, 3], epilogue: 'clip' });
  return c;
}

describe.each(tileBuilds)('walks on $isa with $compiler', (build) => {
  test.skipIf(!canRun(build))('give what the reference gives', () => {
    const isa = isas[build.isa], runs = runTiles(mkdtempSync(join(folder, 'run-')), cases(), build, [pooledWalkRule(isa), walkRule(isa)]);
    for (const run of runs) {
      expect(run.step.choice.kernel, run.name).toMatch(run.name.includes('"pool"') ? /^walk \d+x8 pooled$/ : /^walk \d+x8$/);
      expect(worstDifference(run), run.name).toBeLessThan(2e-5);
    }
    expect(new Set(runs.flatMap((r) => /taken (in registers|behind)/.exec(r.step.choice.reason)?.[1] ?? []))).toEqual(new Set(['in registers', 'behind']));
  }, 60_000);
});

test.skipIf(!canRun(tileBuilds[0]!))('infinite and undefined activations reach only what a non-zero weight connects them with', () => {
  const c = new TileCases(), x = c.input([1, 9, 9, 3]), attrs: ConvAttrs = { strides: [1, 1], dilations: [1, 1], pads: [[1, 1], [1, 1]], group: 1, layout: 'nsc', out: 'f32' };
  // filter o has the tap (0, o) of channel 0 alone
  c.op('taps', 'conv', [x, c.constant([3, 3, 3, 3], Array.from({ length: 81 }, (_, i) => (Math.floor(i / 9) < 3 && Math.floor(i / 3) % 3 === 0 && Math.floor(i / 9) === i % 3 ? 2 : 0)))], attrs);
  const data = c.inputs[0]!.kind === 'dense' ? (c.inputs[0]!.data as Float32Array) : new Float32Array(0);
  data.fill(Infinity).forEach((_, i) => { data[i] = i % 3 === 0 ? 1 + i / 3 : i % 3 === 1 ? Infinity : NaN; });
  const { got } = runTiles(mkdtempSync(join(folder, 'run-')), c, tileBuilds[0]!, [walkRule(isas['x86-64-v4'])])[0]!;
  const want = Array.from({ length: 243 }, (_, i) => {
    const o = i % 3, px = Math.floor(i / 3) % 9 + o - 1, py = Math.floor(i / 27) - 1;
    return px < 0 || px > 8 || py < 0 ? 0 : 2 * (1 + py * 9 + px);
  });
  expect([...got]).toEqual(want);
});

describe('covers', () => {
  const extent = (output: number, kernel: number, stride = 1, before = 0): Extent => ({ input: (output - 1) * stride + kernel - before, output, stride, before, reach: kernel - 1 });
  test('have every output once, and its taps where the lines say', () => {
    for (const [h, w, kernel, stride, before] of [[10, 10, 5, 1, 0], [1, 1, 1, 1, 0], [7, 19, 3, 1, 1], [5, 5, 5, 2, 2], [14, 12, 9, 1, 4], [3, 40, 2, 3, 0]] as const) {
      const rows = extent(h, kernel, stride, before), columns = extent(w, kernel, stride, before), cover = coverOf(rows, columns)!, pixels = cover.pixels(), runs = cover.runs();
      expect(pixels.every((p, i) => { const [from, to, start, step] = runs.slice(4 * Math.floor(i / LINE)), j = i % LINE; return p === (j < from! || j >= to! ? -1 : start! + (j - from!) * step!); })).toBe(true);
      const all = cover.vectors.flatMap((v) => v.pixels.filter((p) => p >= 0));
      expect([...all].sort((a, b) => a - b)).toEqual(Array.from({ length: h * w }, (_, i) => i));
      for (const v of cover.vectors) for (let ky = 0; ky < kernel; ky++) for (let kx = 0; kx < kernel; kx++) {
        const at = cover.tap(v.rectangle, ky, kx) + v.at;
        // no vector crosses a line
        expect(Math.floor(at / LINE)).toBe(Math.floor((at + v.pixels.length - 1) / LINE));
        v.pixels.forEach((p, lane) => {
          if (p < 0) return;
          const y = Math.floor(p / w) * stride + ky - before, x = (p % w) * stride + kx - before;
          expect(pixels[at + lane]).toBe(y < 0 || x < 0 || y >= rows.input || x >= columns.input ? -1 : y * columns.input + x);
        });
      }
    }
  });
  test('waste few lanes', () => {
    expect(coverOf(extent(10, 5), extent(10, 5))!.vectors).toHaveLength(14);
    expect(coverOf(extent(16, 3), extent(16, 3))!.vectors).toHaveLength(32);
    expect(coverOf(extent(5, 5), extent(8, 5))!.vectors).toHaveLength(5);
    expect(coverOf(extent(8, 5), extent(3, 5))!.vectors).toHaveLength(3);
  });
  test('there is none where windows reach beyond a line', () => {
    expect(coverOf(extent(20, 12), extent(20, 12))).toBeUndefined();
    expect(coverOf(extent(20, 3), extent(20, 12))).toBeDefined();
  });
});
