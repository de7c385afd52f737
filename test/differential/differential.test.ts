/**
 * Random networks in every form of code against float64: layouts, kernels and what joins them, all sizes, strides, pads, groups and
 * densities. SPC_DIFFERENTIAL_SEEDS=FROM-TO runs other seeds, each in every form.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { isas } from '../../backends/cpu/isa.js';
import { cpuTarget, nativeIsa } from '../../backends/cpu/target.js';
import { hasTool } from '../support/processes.js';
import type { RandomSource } from '../support/random-stream.js';
import { randomNetwork, type NetworkKind } from './network.js';
import { runExperiments, type Choice, type Experiment, type Form } from './run.js';

const form = (cpu: Form['cpu'], streams: Form['streams'], cc: string, more: Partial<Form> = {}): Form => ({ cpu, streams, cc, optimise: '-O1', sanitize: false, ...more });
/** Clang's sanitizers compile twice as fast as GCC's; what they cannot see, machine code, meets guard pages as everything does. */
const forms: readonly Form[] = [
  form('x86-64-v4', 'assembly', 'gcc', { asm: 'binary' }), form('x86-64-v4', 'assembly', 'gcc', { asm: 'text' }), form('x86-64-v4', 'assembly', 'clang', { asm: 'binary' }),
  ...(['x86-64-v4', 'x86-64-v3', 'generic'] as const).flatMap((cpu) => [form(cpu, 'tables', 'gcc'), form(cpu, 'tables', 'clang', { sanitize: true })]),
];
const nameOf = (f: Form): string => `${f.cpu} ${f.streams}${f.asm ? ` as ${f.asm}` : ''}, ${f.cc}${f.sanitize ? ' with sanitizers' : ''}`;
const canRun = (f: Form): boolean => hasTool(f.cc) && nativeIsa().lanes >= isas[f.cpu].lanes;

const pickOf = (values: readonly number[]) => (random: RandomSource): number => (random.next() < 0.02 ? random.pick(values) : random.next() * 2 - 1);
/** Half of the networks hold images, the others sequences and matrices; now and then activations that are no ordinary numbers. */
const kinds: readonly NetworkKind[] = [
  { of: 'images' }, { of: 'rows' }, { of: 'images' }, { of: 'sequences' }, { of: 'images', plain: true, input: pickOf([NaN, Infinity, -Infinity]) }, { of: 'heads' },
  { of: 'images' }, { of: 'rows', plain: true, input: pickOf([NaN, Infinity, -Infinity]) }, { of: 'heads' }, { of: 'sequences' },
  { of: 'images', plain: true, input: (r) => (r.next() * 2 - 1) * 2 ** -127, scale: 2 ** -127 }, { of: 'rows', plain: true, input: (r) => (r.next() * 2 - 1) * 2 ** -127, scale: 2 ** -127 },
];
const choices: readonly Choice[] = ['tiles', 'tiles', 'mixed', 'chosen', 'tiles'];

function experiment(seed: number): Experiment {
  const lanes = seed % 7 === 0 ? 'pixels' : seed % 7 === 3 ? 'images' : undefined;
  return { network: randomNetwork(seed, kinds[seed % kinds.length]!), choice: choices[seed % choices.length]!, ...(lanes ? { lanes } : {}) };
}

const [from, to] = (process.env['SPC_DIFFERENTIAL_SEEDS'] ?? '').split('-').map(Number);
const SEEDS = 8;
const seedsOf = (index: number): readonly number[] =>
  from !== undefined && to !== undefined ? Array.from({ length: to - from }, (_, i) => from + i) : Array.from({ length: SEEDS }, (_, i) => index * SEEDS + i);

/** Kernels that each rule for tiles has, their sizes as #: a test that meets none of one is blind to it. */
const kernels: Readonly<Record<string, readonly string[]>> = {
  stream: ['stream #x#', 'stream tables'],
  relayout: ['rows to pixels', 'rows to images', 'pixels to rows', 'images to rows', 'pixels to pixels'],
  planes: ['planes to pixels', 'planes to images'],
  'elementwise in tiles': ['elementwise x#'],
  'rows in tiles': ['normalize in tiles x#', 'softmax in tiles x#'],
  'pool in tiles': ['max pool in tiles', 'average pool in tiles'],
  'global pool in tiles': ['sum over pixels x#'],
  'depthwise in tiles': ['depthwise #x# in tiles'],
  'transpose from tiles': ['pixels to transposed rows', 'pixels to columns'],
  'transpose to tiles': ['transposed rows to pixels'],
};

describe('random networks give what float64 gives', () => {
  const met = new Set<string>(), dir = mkdtempSync(join(tmpdir(), 'spc-differential-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  for (const [index, f] of forms.entries()) {
    test.skipIf(!canRun(f))(nameOf(f), async () => {
      const outcomes = await runExperiments(mkdtempSync(join(dir, 'form-')), seedsOf(index).map(experiment), f);
      for (const o of outcomes) for (const k of o.kernels) met.add(k.replace(/\d+/g, '#'));
      expect(outcomes.flatMap((o) => (o.problem ? [`${o.label}: ${o.problem}`] : []))).toEqual([]);
    }, 3_600_000);
  }

  test('every rule for tiles is in the table', () => {
    const rules = cpuTarget('x86-64-v4').kernels.filter((r) => r.tiles || r.name in kernels).map((r) => r.name);
    expect(rules.sort()).toEqual(Object.keys(kernels).sort());
  });
  test.skipIf(!forms.every(canRun))('every kernel between tiles ran', () => {
    expect(Object.values(kernels).flat().filter((k) => !met.has(k))).toEqual([]);
  });
});
