import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { relayout } from '../../../../compiler/core/relayout.js';
import type { KernelRule } from '../../../types.js';
import { clearStatements, haloStatements } from './finish.js';
import { canRun, images, pixels, runTiles, tileBuilds, TileCases, worstDifference } from '../../../../test/support/tile-harness.js';

/** Elements one by one, then what the layout promises. */
const elementsThenFinish: KernelRule = {
  name: 'elements', tiles: true,
  candidates: ({ inputs, outputs }) => [{
    choice: { status: 'dense-kernel', kernel: 'elements', reason: 'test' }, nanoseconds: 1, finishes: true,
    build: (k) => [...relayout.lower(k, {}, inputs, outputs), ...clearStatements(k, outputs[0]!), ...haloStatements(k, outputs[0]!)],
  }],
};

function cases(): TileCases {
  const c = new TileCases();
  for (const [height, width] of [[1, 1], [1, 5], [4, 8], [7, 7], [9, 13]] as const) {
    for (const phases of [1, 2]) {
      for (const [before, after] of [[0, 0], [width + 1, 1], [40, 55]] as const) {
        const shape = [2, height, width, 3];
        c.op(`${height}x${width} / ${phases} halo ${before},${after}`, 'relayout', [c.input(shape)], {}, pixels(shape, { phases, before, after }));
      }
    }
    const shape = [1, height, width, 2];
    c.op(`${height}x${width} larger grid`, 'relayout', [c.input(shape)], {}, pixels(shape, { phases: 2, rows: Math.ceil(height / 2) + 1, columns: Math.ceil(width / 2) + 2, before: 3, after: 4 }));
  }
  for (const n of [1, 16, 21]) {
    const shape = [n, 3, 4, 5];
    c.op(`${n} images`, 'relayout', [c.input(shape)], {}, images(shape));
    c.op(`${n} images with margins`, 'relayout', [c.input(shape)], {}, images(shape, [1, 2, 0, 3]));
  }
  return c;
}

const work = mkdtempSync(join(tmpdir(), 'spc-finish-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('zeros outside the image and the halo', () => {
  for (const build of tileBuilds) test.skipIf(!canRun(build))(`${build.isa} with ${build.compiler}`, () => {
    for (const run of runTiles(join(work, `${build.isa}-${build.compiler}`), cases(), build, [elementsThenFinish])) expect(worstDifference(run), run.name).toBe(0);
  }, 60_000);
});
