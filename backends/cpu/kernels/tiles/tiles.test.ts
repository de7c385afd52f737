/** Kernels on tiles against the reference evaluator: results, zeros outside the image and halos, on many shapes in one build. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConvAttrs } from '../../../../compiler/core/conv.js';
import type { PoolAttrs } from '../../../../compiler/core/pool.js';
import { windowCounts } from '../../../../compiler/core/spatial.js';
import { reachOf } from '../../../../compiler/core/window.js';
import { LANES, type Layout, type PixelTiles } from '../../../../compiler/ir/layout.js';
import type { Epilogue, Value } from '../../../../compiler/ir/types.js';
import { add, arg, f32, max, min, mul, unary } from '../../../../compiler/kir/build.js';
import type { Expr } from '../../../../compiler/kir/types.js';
import { afterAll, describe, expect, test } from 'vitest';
import { isas } from '../../isa.js';
import { tileRules } from './index.js';
import { canRun, images, pixels, runTiles, tileBuilds, TileCases, worstDifference } from '../../../../test/support/tile-harness.js';

/** Rows to tiles and back; grids to other phases and halos. */
function relayouts(): TileCases {
  const c = new TileCases();
  for (const [n, height, width, channels] of [[1, 1, 1, 1], [2, 1, 5, 3], [1, 7, 7, 33], [1, 9, 13, 16]] as const) {
    const shape = [n, height, width, channels], name = shape.join('x');
    for (const phases of channels < 10 ? [1, 2, 3] : [2]) {
      const halo = pixels(shape, { phases, before: Math.ceil(width / phases) + 1, after: 2 });
      c.op(`${name} to ${phases} phases with halo`, 'relayout', [c.input(shape)], {}, halo);
      c.op(`${name} from ${phases} phases with halo`, 'relayout', [c.input(shape, halo)], {});
      c.op(`${name} split`, 'relayout', [c.input(shape, pixels(shape, { after: 3 }))], {}, halo);
      c.op(`${name} joined`, 'relayout', [c.input(shape, halo)], {}, pixels(shape, { phases: 2, rows: height, columns: width + 1 }));
    }
  }
  for (const [rows, columns] of [[1, 1], [15, 7], [128, 40], [100, 100]] as const) {
    c.op(`matrix ${rows}x${columns} to tiles`, 'relayout', [c.input([rows, columns])], {}, pixels([rows, columns]));
    c.op(`matrix ${rows}x${columns} from tiles`, 'relayout', [c.input([rows, columns], pixels([rows, columns]))], {});
  }
  for (const n of [1, 16, 21]) for (const margins of [[0, 0, 0, 0], [1, 2, 0, 3]]) {
    const shape = [n, 3, 4, 21];
    c.op(`to ${n} images`, 'relayout', [c.input(shape)], {}, images(shape, margins));
    c.op(`from ${n} images`, 'relayout', [c.input(shape, images(shape, margins))], {});
  }
  return c;
}

const tile = (shape: readonly number[], over: 'pixels' | 'images', options: Partial<PixelTiles> = {}): Layout =>
  (over === 'images' ? images(shape, [1, 2, 0, 3]) : pixels(shape, { before: 3, after: 20, ...options }));

/** Heads of an attention: batch x positions x heads x width, out of tiles and into them. */
function heads(): TileCases {
  const c = new TileCases();
  for (const [batch, positions, count, width] of [[1, 128, 3, 20], [2, 32, 2, 16], [1, 16, 4, 5], [3, 7, 2, 9], [1, 33, 1, 17]] as const) {
    const shape = [batch * positions, count * width], split = [batch, positions, count, width], l = pixels(shape, { after: 2, before: 1 }), name = split.join('x');
    const tokens = (): Value => c.node('reshape', [c.node('relayout', [c.input(shape, l)], {})], { shape: split });
    c.op(`${name} split`, 'transpose', [tokens()], { perm: [0, 2, 1, 3] });
    if (batch * positions % LANES === 0) c.op(`${name} split, positions last`, 'transpose', [tokens()], { perm: [0, 2, 3, 1] });
    const heads = c.node('transpose', [c.input([batch, count, positions, width])], { perm: [0, 2, 1, 3] });
    c.op(`${name} joined`, 'relayout', [c.node('reshape', [heads], { shape })], {}, l);
  }
  return c;
}

/** Images from NCHW and to it: as images, and as the rows that 1x1 convolutions multiply. */
function planes(): TileCases {
  const c = new TileCases();
  for (const [channels, height, width] of [[33, 14, 14], [3, 5, 7], [1, 1, 1], [17, 4, 8], [9, 1, 50]] as const) {
    const last = [1, height, width, channels], first = [1, channels, height, width], matrix = [height * width, channels], name = first.join('x');
    const arrived = (): Value => c.node('transpose', [c.input(first)], { perm: [0, 2, 3, 1] });
    c.op(`${name} as an image`, 'relayout', [arrived()], {}, pixels(last, { phases: 2, before: width, after: 3 }));
    c.op(`${name} as rows`, 'relayout', [c.node('reshape', [arrived()], { shape: matrix })], {}, pixels(matrix, { after: 2 }));
    const left = c.node('relayout', [c.input(matrix, pixels(matrix, { before: 1 }))], {});
    if (channels > 1 && height * width > 1) c.op(`${name} from rows`, 'transpose', [c.node('reshape', [left], { shape: last })], { perm: [0, 3, 1, 2] });
  }
  c.op('images from planes', 'relayout', [c.node('transpose', [c.input([19, 4, 3, 5])], { perm: [0, 2, 3, 1] })], {}, images([19, 3, 5, 4], [1, 0, 1, 2]));
  return c;
}

/** With zeros kept and not kept, operands of all kinds, layouts that differ in halo and pitch. */
function elements(): TileCases {
  const c = new TileCases(), x = (i: number): Expr => arg(i, 'f32');
  for (const over of ['pixels', 'images'] as const) for (const [n, height, width, channels] of [[1, 1, 1, 1], [2, 3, 5, 9], [17, 4, 4, 3]] as const) {
    const shape = [n, height, width, channels], name = `${over} ${shape.join('x')}`, l = tile(shape, over), input = (): Value => c.input(shape, l);
    c.op(`${name} relu of a sum`, 'elementwise', [input(), input()], { expr: max(add(x(0), x(1)), f32(0)) }, l);
    c.op(`${name} sigmoid`, 'elementwise', [input()], { expr: unary('sigmoid', x(0)) }, l);
    c.op(`${name} scale and shift`, 'elementwise', [input(), c.constant([channels]), c.constant([1, 1, 1, channels])], { expr: add(mul(x(0), x(1)), x(2)) }, l);
    c.op(`${name} scale`, 'elementwise', [input(), c.constant([])], { expr: mul(x(0), x(1)) }, l, { expr: mul(x(0), x(1)), inputs: [c.constant([channels]).id] });
    c.op(`${name} epilogue`, 'elementwise', [input()], { expr: unary('erf', x(0)) }, l, { expr: add(x(0), x(1)), inputs: [c.input(shape, l).id] });
  }
  const shape = [2, 6, 7, 5], y = pixels(shape, { phases: 2, before: 9, after: 4 });
  c.op('another halo and pitch', 'elementwise', [c.input(shape, pixels(shape, { phases: 2, before: 2, pitch: 8 })), c.input(shape, y)], { expr: add(x(0), x(1)) }, y);
  c.op('gate of each image', 'elementwise', [c.input(shape, y), c.input([2, 1, 1, 5])], { expr: mul(x(0), x(1)) }, y);
  return c;
}

function rows(): TileCases {
  const c = new TileCases();
  for (const [shape, layout] of [[[128, 24], pixels([128, 24])], [[5, 7], pixels([5, 7])], [[33, 1], pixels([33, 1])], [[2, 3, 4, 11], tile([2, 3, 4, 11], 'pixels')], [[18, 2, 3, 6], tile([18, 2, 3, 6], 'images')]] as const) {
    const name = shape.join('x'), channels = shape.at(-1)!, axis = shape.length - 1;
    const affine = (): Epilogue => ({ expr: add(mul(arg(0, 'f32'), arg(1, 'f32')), arg(2, 'f32')), inputs: [c.constant([channels]).id, c.constant([channels]).id] });
    c.op(`layer norm ${name}`, 'normalize', [c.input(shape, layout)], { axes: [axis], epsilon: 1e-5, center: true }, layout, affine());
    c.op(`rms norm ${name}`, 'normalize', [c.input(shape, layout)], { axes: [axis], epsilon: 1e-5, center: false }, layout);
    c.op(`softmax ${name}`, 'softmax', [c.input(shape, layout)], { axis, mode: 'soft' }, layout);
    c.op(`scaled softmax ${name}`, 'softmax', [c.input(shape, layout)], { axis, mode: 'soft' }, layout, affine());
  }
  return c;
}

function pools(): TileCases {
  const c = new TileCases();
  const pool = (name: string, over: 'pixels' | 'images', shape: readonly number[], kernel: readonly number[], stride: number, pads: PoolAttrs['pads'], options: Partial<PoolAttrs> = {}, phases = 1): void => {
    const attrs: PoolAttrs = { mode: 'max', kernel, strides: [stride, stride], dilations: [1, 1], pads, ceil: false, countIncludePad: false, layout: 'nsc', ...options };
    const s = stride * phases, [n, height, width, channels] = shape as [number, number, number, number];
    const [oh, ow] = windowCounts(attrs, [height, width], kernel, attrs.ceil) as [number, number], out = [n, oh, ow, channels];
    const grid = { rows: Math.ceil(height / s), columns: Math.ceil(width / s) };
    const reach = reachOf({ kernel: kernel as [number, number], stride: [stride, stride], dilation: attrs.dilations as [number, number], before: [pads[0]![0], pads[1]![0]] }, phases, grid.columns);
    const [x, y] = over === 'images' ? [images(shape, [0, 1, 1, 0]), images(out, [1, 0, 0, 2])] as const
      : [pixels(shape, { phases: s, ...grid, before: reach.before, after: reach.after }), pixels(out, { phases, ...grid, before: 2, after: 3 })] as const;
    const epilogue = options.mode === 'sum' ? { expr: add(mul(arg(0, 'f32'), f32(0.5)), arg(1, 'f32')), inputs: [c.constant([channels]).id] } : undefined;
    c.op(`${over} ${name}`, 'pool', [c.input(shape, x)], attrs, y, epilogue);
  };
  const none: PoolAttrs['pads'] = [[0, 0], [0, 0]], one: PoolAttrs['pads'] = [[1, 1], [1, 1]];
  for (const over of ['pixels', 'images'] as const) {
    pool('3x3 / 2', over, [2, 14, 14, 5], [3, 3], 2, one);
    pool('3x3 / 2 of an odd image', over, [1, 9, 7, 3], [3, 3], 2, one);
    pool('3x3 / 2, two phases', over, [1, 16, 12, 3], [3, 3], 2, one, {}, 2);
    pool('2x2 / 2', over, [1, 8, 8, 4], [2, 2], 2, none);
    pool('3x3 / 1', over, [2, 7, 7, 2], [3, 3], 1, one);
    pool('one pixel', over, [1, 1, 1, 3], [3, 3], 1, one);
    pool('average', over, [1, 10, 9, 3], [3, 3], 2, one, { mode: 'average' });
    pool('average over the padding', over, [1, 10, 9, 3], [3, 3], 2, one, { mode: 'average', countIncludePad: true });
    pool('average, ceil', over, [1, 10, 10, 3], [3, 3], 2, none, { mode: 'average', ceil: true, countIncludePad: true });
    pool('sum and epilogue', over, [17, 6, 6, 3], [3, 2], 1, [[1, 1], [0, 1]], { mode: 'sum' });
    for (const [n, height, width, channels] of [[1, 7, 7, 9], [19, 3, 2, 5], [2, 1, 1, 1]] as const) {
      const shape = [n, height, width, channels];
      c.op(`${over} global average ${shape.join('x')}`, 'reduce', [c.input(shape, tile(shape, over, { phases: 2 }))], { op: 'sum', axes: [1, 2], keepdims: true }, undefined, { expr: mul(arg(0, 'f32'), f32(1 / (height * width))), inputs: [] });
    }
    const exact = [16, 4, 8, 3];
    for (const op of ['max', 'min'] as const) c.op(`${over} global ${op}`, 'reduce', [c.input(exact, over === 'images' ? images(exact) : pixels(exact, { phases: 1 }))], { op, axes: [1, 2], keepdims: false });
  }
  return c;
}

function depthwise(): TileCases {
  const c = new TileCases();
  const conv = (over: 'pixels' | 'images', shape: readonly number[], kernel: readonly [number, number], stride: number, pads: ConvAttrs['pads'], options: { dilations?: [number, number]; wide?: number; epilogue?: 'relu6' | 'silu' | 'residual' } = {}): void => {
    const { dilations = [1, 1], wide = 0, epilogue } = options, [n, height, width, channels] = shape as [number, number, number, number];
    const attrs: ConvAttrs = { strides: [stride, stride], dilations, pads, group: channels, layout: 'nsc', out: 'f32' };
    const [oh, ow] = windowCounts(attrs, [height, width], kernel) as [number, number], out = [n, oh, ow, channels];
    const grid = { rows: height, columns: width + wide }, reached = { rows: Math.ceil(height / stride), columns: Math.ceil((width + wide) / stride) };
    const [x, y] = over === 'images' ? [images(shape, [pads[0]![0], pads[1]![0], pads[0]![1] + 1, pads[1]![1] + 1]), images(out, [0, 1, 1, 0])] as const
      : [pixels(shape, { ...grid, after: 2 }), pixels(out, { ...(stride === 1 ? grid : reached), before: 4 })] as const;
    const biased = add(arg(0, 'f32'), arg(1, 'f32')), bias = (): number => c.constant([channels]).id;
    const e: Epilogue | undefined = epilogue === 'relu6' ? { expr: min(max(biased, f32(0)), f32(0.75)), inputs: [bias()] }
      : epilogue === 'silu' ? { expr: mul(biased, unary('sigmoid', biased)), inputs: [bias()] }
      : epilogue === 'residual' ? { expr: add(arg(0, 'f32'), arg(1, 'f32')), inputs: [c.input(out, y).id] } : undefined;
    c.op(`${over} ${shape.join('x')} by ${kernel.join('x')} / ${stride} ${epilogue ?? ''}`, 'conv', [c.input(shape, x), c.constant([...kernel, 1, channels])], attrs, y, e);
  };
  const same = (p: number): ConvAttrs['pads'] => [[p, p], [p, p]];
  for (const over of ['pixels', 'images'] as const) {
    conv(over, [2, 7, 7, 5], [3, 3], 1, same(1), { epilogue: 'relu6' });
    conv(over, [1, 14, 14, 3], [3, 3], 1, same(1), { epilogue: 'silu' });
    conv(over, [1, 16, 16, 2], [3, 3], 2, same(1), { epilogue: 'relu6' });
    conv(over, [2, 9, 11, 3], [3, 3], 2, same(1), { epilogue: 'silu' });
    conv(over, [1, 8, 6, 3], [3, 3], 2, [[0, 1], [0, 1]], { epilogue: 'residual' });
    conv(over, [17, 6, 5, 2], [5, 5], 1, same(2), { epilogue: 'residual' });
    conv(over, [1, 12, 12, 2], [5, 5], 2, same(2), { epilogue: 'relu6' });
    conv(over, [1, 1, 1, 3], [3, 3], 1, same(1));
    conv(over, [1, 5, 1, 2], [3, 3], 1, same(1));
    conv(over, [1, 6, 9, 3], [3, 2], 1, [[2, 2], [0, 1]], { dilations: [2, 1] });
    conv(over, [1, 6, 6, 3], [7, 7], 1, same(3), { wide: 2 });
  }
  return c;
}

const families: Readonly<Record<string, { readonly cases: TileCases; readonly tolerance: number }>> = {
  relayouts: { cases: relayouts(), tolerance: 0 },
  heads: { cases: heads(), tolerance: 0 },
  planes: { cases: planes(), tolerance: 0 },
  elements: { cases: elements(), tolerance: 2e-6 },
  rows: { cases: rows(), tolerance: 2e-5 },
  pools: { cases: pools(), tolerance: 2e-6 },
  depthwise: { cases: depthwise(), tolerance: 5e-6 },
};

const work = mkdtempSync(join(tmpdir(), 'spc-tiles-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe.each(Object.entries(families))('%s', (family, { cases, tolerance }) => {
  for (const build of tileBuilds) test.skipIf(!canRun(build))(`${build.isa} with ${build.compiler}`, () => {
    for (const run of runTiles(join(work, `${family}-${build.isa}-${build.compiler}`), cases, build, tileRules(isas[build.isa]))) {
      expect(run.step.choice.status, run.name).toBe('dense-kernel');
      expect(worstDifference(run), run.name).toBeLessThanOrEqual(tolerance);
    }
  }, 60_000);
});
