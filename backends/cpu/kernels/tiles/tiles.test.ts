/** Kernels on tiles against the reference evaluator: results, zeros outside the image and halos, on many shapes in one build. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { canRun, images, pixels, runTiles, tileBuilds, TileCases, worstDifference } from '../../../../test/support/tile-harness.js';

/** Rows to tiles and back; grids to other phases and halos. */
function relayouts(): TileCases {
  const c = new TileCases();
  for (const [n, height, width, channels] of [[1, 1, 1, 1], [2, 1, 5, 3], [1, 7, 7, 33], [1, 9, 13, 16], [2, 14, 14, 5]] as const) {
    const shape = [n, height, width, channels], name = shape.join('x');
    for (const phases of [1, 2, 3]) {
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

const families: Readonly<Record<string, { readonly cases: TileCases; readonly tolerance: number }>> = {
  relayouts: { cases: relayouts(), tolerance: 0 },
};

const work = mkdtempSync(join(tmpdir(), 'spc-tiles-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe.each(Object.entries(families))('%s', (family, { cases, tolerance }) => {
  for (const build of tileBuilds) test.skipIf(!canRun(build))(`${build.isa} with ${build.compiler}`, () => {
    for (const run of runTiles(join(work, `${family}-${build.isa}-${build.compiler}`), cases, build)) {
      expect(run.step.choice.status, run.name).toBe('dense-kernel');
      expect(worstDifference(run), run.name).toBeLessThanOrEqual(tolerance);
    }
  }, 60_000);
});
