/** Runs emitted CUDA projects with small mistakes in their headers, one at a time: the emulation must catch every one. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EmittedFiles } from '../../backends/types.js';
import type { DenseTensor } from '../../compiler/ir/tensor.js';
import type { Plan } from '../../compiler/plan/types.js';
import { buildEmulation, hasGxx, replays, runProgram, temporaryFolder } from './support.js';

/** What is replaced in a header, everywhere that it occurs. */
export interface Mutant {
  readonly name: string;
  readonly header: string;
  readonly from: string;
  readonly to: string;
  /** Part of what the emulation says, where it says more than that results differ. */
  readonly shows?: string;
}

const seeds = ['0', '1', '2'];
const bits = (tensors: readonly DenseTensor[]): string => tensors.map((t) => Buffer.from(t.data.buffer).toString('base64')).join();

/** Tests that every schedule of the project gives the same bits with at most `conflicts` bank conflicts, and that of no mutant both are true. */
export function testMutants({ plan, files, inputs, mutants, conflicts = 0 }: {
  readonly plan: Plan; readonly files: EmittedFiles; readonly inputs: readonly DenseTensor[]; readonly mutants: readonly Mutant[]; readonly conflicts?: number;
}): void {
  const folder = temporaryFolder();
  let right = '';
  beforeAll(() => {
    if (!hasGxx) return;
    const program = buildEmulation(files, folder.path, 'model');
    right = bits(runProgram(program, plan, inputs));
    for (const seed of seeds) expect(bits(runProgram(program, plan, inputs, { SPC_EMU_SEED: seed }))).toBe(right);
    expect(replays(program, inputs.length)).toBeLessThanOrEqual(conflicts);
  }, 120_000);
  afterAll(() => folder.dispose());

  /** How the emulation shows that something is wrong; undefined where it does not. */
  function caught(program: string): string | undefined {
    for (const seed of seeds) {
      let got: string;
      try {
        got = bits(runProgram(program, plan, inputs, { SPC_EMU_SEED: seed }));
      } catch (error) {
        return /spc_emu: .*/.exec(String(error))?.[0] ?? 'it crashes';
      }
      if (got !== right) return 'other results';
    }
    return replays(program, inputs.length) > conflicts ? 'bank conflicts' : undefined;
  }

  test.skipIf(!hasGxx).each(mutants.map((m) => [m.name, m] as const))('%s', (_, { header, from, to, shows }) => {
    const own = temporaryFolder(), text = String(files.get(header));
    try {
      expect(text).toContain(from);
      const program = buildEmulation(new Map([...files, [header, text.replaceAll(from, to)]]), own.path, 'model', ['-Wno-unused', '-Wno-maybe-uninitialized']);
      const how = caught(program);
      expect(how).toBeDefined();
      if (shows !== undefined) expect(how).toContain(shows);
    } finally {
      own.dispose();
    }
  }, 60_000);
}
