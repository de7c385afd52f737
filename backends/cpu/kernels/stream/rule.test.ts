/** Products in stream functions, built and run: residuals that lie in other layouts than the sums, shortcuts, batches of several vectors. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { ConvAttrs } from '../../../../compiler/core/conv.js';
import type { Layout } from '../../../../compiler/ir/layout.js';
import { add, arg, f32, max } from '../../../../compiler/kir/build.js';
import type { Stmt } from '../../../../compiler/kir/types.js';
import { crossCompiler } from '../../../../test/support/machines.js';
import { randomSource } from '../../../../test/support/random-stream.js';
import { canRun, images, pixels, runTiles, TileCases, worstDifference, type TileBuild } from '../../../../test/support/tile-harness.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-products-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const none = [0, 0, 0, 0], random = randomSource(17);
const attrs = (kernel: number): ConvAttrs => ({ strides: [1, 1], dilations: [1, 1], pads: [[kernel >> 1, kernel >> 1], [kernel >> 1, kernel >> 1]], group: 1, layout: 'nsc', out: 'f32' });

/** A convolution, sum and clamp, of each way that sum and residual may lie. */
function residuals(): TileCases {
  const c = new TileCases();
  const sum = (name: string, n: number, kernel: number, x: Layout, y: Layout, r: Layout): void => {
    const [height, width, depth, channels] = [4, 5, 3, 6], weights = Array.from({ length: kernel * kernel * depth * channels }, () => (random.next() < 0.4 ? random.next() * 2 - 1 : 0));
    c.op(`${name}, ${n} images, ${kernel}x${kernel}`, 'conv', [c.input([n, height, width, depth], x), c.constant([kernel, kernel, depth, channels], weights)], attrs(kernel), y,
      { expr: max(add(add(arg(0, 'f32'), arg(2, 'f32')), arg(1, 'f32')), f32(-0.5)), inputs: [c.input([n, height, width, channels], r).id, c.constant([channels]).id] });
  };
  for (const [n, kernel] of [[16, 1], [19, 1], [33, 3]] as const) for (const margins of [none, [0, 2, 0, 0], [2, 1, 1, 1]]) for (const own of [none, [1, 0, 0, 2]]) {
    const input = images([n, 4, 5, 3], kernel === 1 ? none : [1, 1, 1, 1]);
    sum(`residual with margins ${margins.join(',')} into ${own.join(',')}`, n, kernel, input, images([n, 4, 5, 6], own), images([n, 4, 5, 6], margins));
  }
  for (const kernel of [1, 3]) for (const halo of [0, 7]) sum(`residual with halo ${halo}`, 2, kernel, pixels([2, 4, 5, 3], { before: 6, after: 6 }), pixels([2, 4, 5, 6], { after: 2 }), pixels([2, 4, 5, 6], { before: halo }));
  return c;
}

/** Images so large that a layer's functions go over one band of tiles after the other. */
function bands(): TileCases {
  const c = new TileCases();
  const sum = (height: number, width: number, kernel: number, depth: number, channels: number): void => {
    const x = [1, height, width, depth], y = [1, height, width, channels], reach = (kernel >> 1) * (width + 1);
    const weights = Array.from({ length: kernel * kernel * depth * channels }, () => (random.next() < 0.05 ? random.next() * 2 - 1 : 0));
    c.op(`${x.join('x')} by ${kernel}x${kernel} to ${channels}`, 'conv', [c.input(x, pixels(x, { before: reach, after: reach })), c.constant([kernel, kernel, depth, channels], weights)], attrs(kernel), pixels(y, { before: 3 }),
      { expr: max(add(add(arg(0, 'f32'), arg(2, 'f32')), arg(1, 'f32')), f32(-0.5)), inputs: [c.input(y, pixels(y, { after: 5 })).id, c.constant([channels]).id] });
  };
  sum(64, 66, 3, 16, 70);
  sum(20, 39, 1, 800, 40);
  const shape = [16, 18, 20, 16], weights = Array.from({ length: 9 * 16 * 70 }, () => (random.next() < 0.05 ? random.next() * 2 - 1 : 0));
  c.op('lines of images', 'conv', [c.input(shape, images(shape, [1, 1, 1, 1])), c.constant([3, 3, 16, 70], weights)], attrs(3), images([16, 18, 20, 70], [0, 2, 1, 0]));
  return c;
}

/** The stream functions that statements call, loops run twice. */
const callsOf = (body: readonly Stmt[]): string[] => body.flatMap((s) => {
  switch (s.kind) {
    case 'for': return [...callsOf(s.body), ...callsOf(s.body)];
    case 'range': return callsOf(s.body);
    case 'if': return callsOf(s.then);
    case 'call': return s.routine ? [s.name] : [];
    default: return [];
  }
});

const builds: readonly TileBuild[] = [{ isa: 'x86-64-v3', compiler: 'gcc', flags: ['-O1'] }, { isa: 'aarch64', compiler: crossCompiler, flags: ['-O1'] }, { isa: 'generic', compiler: 'clang', flags: ['-O1', '-fsanitize=undefined,address', '-fno-sanitize-recover=all'] }];
for (const build of builds) test.skipIf(!canRun(build))(`residuals in layouts of their own, ${build.isa} with ${build.compiler}`, () => {
  const runs = runTiles(join(folder, `${build.isa}-${build.compiler}`), residuals(), build);
  const wrong = runs.filter((r) => worstDifference(r) > 1e-5).map((r) => `${r.name}: ${worstDifference(r)}`);
  expect(wrong).toEqual([]);
  expect(runs.filter((r) => r.step.choice.kernel.startsWith('stream ')).length).toBeGreaterThan(runs.length / 2);
}, 60_000);

for (const build of builds) test.skipIf(!canRun(build))(`bands, ${build.isa} with ${build.compiler}`, () => {
  const runs = runTiles(join(folder, `bands-${build.isa}-${build.compiler}`), bands(), build);
  expect(runs.filter((r) => worstDifference(r) > 1e-5).map((r) => `${r.name}: ${worstDifference(r)}`)).toEqual([]);
  // the first function runs again after the others have run
  for (const { name, step: { kernel } } of runs) {
    const calls = callsOf(kernel.body);
    expect(calls.lastIndexOf(kernel.routines![0]!.name), name).toBeGreaterThan(calls.indexOf(kernel.routines![1]!.name));
  }
}, 60_000);
