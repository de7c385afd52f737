/**
 * Random networks in every form of code against float64: layouts, kernels and what joins them, all sizes, strides, pads, groups and
 * densities. SPC_DIFFERENTIAL_SEEDS=FROM-TO runs other seeds instead, TO excluded, each in every form.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { cpuTarget } from '../../backends/cpu/target.js';
import { blocksExperiment, canRun, experiment, fewExperiment, forms, nameOf, winnersExperiment } from './experiments.js';
import { runExperiments } from './run.js';

const wanted = process.env['SPC_DIFFERENTIAL_SEEDS'], range = /^(\d+)-(\d+)$/.exec(wanted ?? '')?.slice(1).map(Number);
if (wanted && !range) throw new Error(`SPC_DIFFERENTIAL_SEEDS is ${wanted}, not FROM-TO`);
const seeds = (from: number, to: number): readonly number[] => Array.from({ length: to - from }, (_, i) => from + i);
/** Each form has seeds of its own, fewer where they cost more; from here on they meet every kernel. */
const FIRST = 1000;
const seedsOf = (index: number): readonly number[] => {
  const first = FIRST + 10 * index;
  return range ? seeds(range[0]!, range[1]!) : seeds(first, first + (forms[index]!.sanitize || forms[index]!.emulator ? 5 : 9));
};

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
  walk: ['walk #x#'],
};

describe('random networks give what float64 gives', () => {
  const met = new Set<string>(), inTiles = new Set<string>(), sizeless = (kernel: string): string => kernel.replace(/\d+/g, '#'), dir = mkdtempSync(join(tmpdir(), 'spc-differential-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  for (const [index, f] of forms.entries()) {
    test.skipIf(!canRun(f))(nameOf(f), async () => {
      const outcomes = await runExperiments(mkdtempSync(join(dir, 'form-')), seedsOf(index).map(experiment), f);
      for (const o of outcomes) { o.kernels.forEach((k) => met.add(sizeless(k))); o.inTiles.forEach((k) => inTiles.add(sizeless(k))); }
      expect(outcomes.flatMap((o) => (o.problem ? [`${o.label}: ${o.problem}`] : []))).toEqual([]);
    }, 3_600_000);
  }

  // one compiler for each instruction set, and sanitizers once
  const selecting = new Set<string>(), selectingForms = forms.filter((f) => f.streams === 'tables' && f.cc === (f.cpu === 'x86-64-v3' ? 'clang' : 'gcc'));
  for (const [index, f] of selectingForms.entries()) {
    test.skipIf(!canRun(f) || range)(`k winners: ${nameOf(f)}`, async () => {
      const outcomes = await runExperiments(mkdtempSync(join(dir, 'winners-')), seeds(2000 + 12 * index, 2012 + 12 * index).map(winnersExperiment), f);
      for (const o of outcomes) o.kernels.forEach((k) => selecting.add(k));
      expect(outcomes.flatMap((o) => (o.problem ? [`${o.label}: ${o.problem}`] : []))).toEqual([]);
    }, 3_600_000);
  }
  test.skipIf(range || !selectingForms.every(canRun))('every kernel for sparse activations ran', () => {
    const all = ['select in networks', 'select by counting', 'active columns, records of 8', 'active columns, blocks of 16x1', 'active columns, whole'];
    expect(all.filter((k) => !selecting.has(k))).toEqual([]);
  });

  const inBlocks = new Set<string>();
  for (const [index, f] of selectingForms.entries()) {
    test.skipIf(!canRun(f) || range)(`blocks of weights: ${nameOf(f)}`, async () => {
      const outcomes = await runExperiments(mkdtempSync(join(dir, 'blocks-')), seeds(3000 + 8 * index, 3008 + 8 * index).map(blocksExperiment), f);
      for (const o of outcomes) o.kernels.forEach((k) => inBlocks.add(sizeless(k)));
      expect(outcomes.flatMap((o) => (o.problem ? [`${o.label}: ${o.problem}`] : []))).toEqual([]);
    }, 3_600_000);
  }
  const onRows = new Set<string>(), fewRowsForms = forms.filter((f) => f.cpu === 'x86-64-v4' && f.streams === 'assembly');
  for (const [index, f] of fewRowsForms.entries()) {
    test.skipIf(!canRun(f) || range)(`few rows: ${nameOf(f)}`, async () => {
      const outcomes = await runExperiments(mkdtempSync(join(dir, 'rows-')), seeds(4000 + 6 * index, 4006 + 6 * index).map(fewExperiment('rows')), f);
      for (const o of outcomes) o.kernels.forEach((k) => onRows.add(k));
      expect(outcomes.flatMap((o) => (o.problem ? [`${o.label}: ${o.problem}`] : []))).toEqual([]);
    }, 3_600_000);
  }
  test.skipIf(range || !fewRowsForms.every(canRun))('straight-line products of few rows ran, of every width', () => {
    expect([4, 8, 16].filter((lanes) => !onRows.has(`stream ${lanes}x31 on rows`))).toEqual([]);
  });

  const onVectors = new Map<string, Set<string>>(), vectorForms = [...selectingForms, fewRowsForms[0]!];
  for (const [index, f] of vectorForms.entries()) {
    test.skipIf(!canRun(f) || range)(`single rows: ${nameOf(f)}`, async () => {
      const outcomes = await runExperiments(mkdtempSync(join(dir, 'vectors-')), seeds(5000 + 16 * index, 5016 + 16 * index).map(fewExperiment('vectors')), f), kernelsOf = onVectors.get(f.cpu) ?? new Set();
      for (const o of outcomes) o.kernels.forEach((k) => kernelsOf.add(k.split(' ')[0]!));
      onVectors.set(f.cpu, kernelsOf);
      expect(outcomes.flatMap((o) => (o.problem ? [`${o.label}: ${o.problem}`] : []))).toEqual([]);
    }, 3_600_000);
  }
  test.skipIf(range || !vectorForms.every(canRun))('sparse products of single rows ran on every instruction set', () => {
    for (const [cpu, kernelsOf] of onVectors) expect([...kernelsOf], cpu).toContain(cpu === 'x86-64-v4' ? 'permute' : 'csr');
  });

  test.skipIf(range || !selectingForms.every(canRun))('kernels for blocks of weights ran', () => {
    expect([...inBlocks]).toContain('blocks #x#');
  });

  test('every rule for tiles is in the table', () => {
    const rules = cpuTarget('x86-64-v4').kernels.filter((r) => r.tiles || r.name in kernels).map((r) => r.name);
    expect(rules.sort()).toEqual(Object.keys(kernels).sort());
  });
  test.skipIf(range || !forms.every((f) => f.emulator !== undefined || canRun(f)))('every kernel between tiles ran', () => {
    const all = [...Object.values(kernels).flat(), 'loop nest'];
    expect(all.filter((k) => !met.has(k))).toEqual([]);
    // a kernel that the table does not know
    expect([...inTiles].filter((k) => !all.includes(k))).toEqual([]);
  });
});
