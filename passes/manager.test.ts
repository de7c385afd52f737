import { expect, test } from 'vitest';
import { SpcError } from '../compiler/diagnostics/diagnostic.js';
import { GraphEditor } from '../compiler/ir/edit.js';
import { parseGraph } from '../compiler/ir/parse.js';
import { formatGraph } from '../compiler/ir/print.js';
import { verifyGraph } from '../compiler/ir/verify.js';
import { unary } from '../compiler/kir/build.js';
import { PassFailure, runPasses } from './manager.js';
import { allPasses, channelsLastPasses, passesMarkdown, pipeline, pipelineFor } from './pipeline.js';
import { graphOf, randomTensor } from '../test/support/graphs.js';
import { definePass, type Pass } from './types.js';

const graph = graphOf((g) => {
  const x = g.input('x', { dtype: 'f32', shape: [2, 20] });
  return g.map([g.op('matmul', [x, g.constant(randomTensor('f32', [20, 3], 1), 'w')], { transA: false, transB: false, out: 'f32' })[0]!], (e) => unary('tanh', e));
});
const nothing = definePass({ name: 'nothing', doc: 'does nothing', run: (g) => g });
const rename = definePass({ name: 'copy', doc: 'copies', run: (g) => new GraphEditor(g).finish() });
const crash = definePass({ name: 'crash', doc: 'crashes', run: () => { throw new TypeError('oops'); } });
const mangle: Pass = definePass({ name: 'mangle', doc: 'drops a node', run: (g) => ({ ...g, nodes: g.nodes.slice(1) }) });

function failureOf(run: () => unknown): PassFailure {
  try { run(); } catch (e) { if (e instanceof PassFailure) return e; throw e; }
  throw new Error('nothing was thrown');
}

test('passes run in order and say what they did', () => {
  const seen: string[] = [];
  const result = runPasses(graph, [nothing, rename, nothing], { printIrAfter: 'change', onPrint: (pass, text) => { seen.push(pass); expect(text).toBe(formatGraph(graph)); }, timePasses: true });
  expect(result.runs.map((r) => [r.name, r.changed, r.nodes])).toEqual([['nothing', false, 2], ['copy', true, 2], ['nothing', false, 2]]);
  expect(result.runs.every((r) => r.milliseconds! >= 0)).toBe(true);
  expect(seen).toEqual(['copy']);
  expect(runPasses(graph, [nothing]).runs[0]).not.toHaveProperty('milliseconds');
});

test('printing by name, and stopping', () => {
  const seen: string[] = [];
  const result = runPasses(graph, [rename, nothing, crash], { printIrAfter: ['nothing'], onPrint: (pass) => seen.push(pass), stopAfter: 'nothing' });
  expect(seen).toEqual(['nothing']);
  expect(result.runs).toHaveLength(2);
});

test.each([{ stopAfter: 'nonsense' }, { printIrAfter: ['nonsense'] }])('a pass that does not exist is the caller\'s error: %o', (options) => {
  expect(() => runPasses(graph, [nothing, rename], options)).toThrow(/SPC1091: there is no pass 'nonsense'\n {2}hint: passes: nothing, copy/);
});

test('a crash comes with a reproducer that runs without the model', () => {
  const failure = failureOf(() => runPasses(graph, [nothing, crash, rename]));
  expect(failure.diagnostics[0]).toMatchObject({ code: 'SPC9005', message: 'pass crash: oops' });
  expect(failure.reproducer.pipeline).toEqual(['crash', 'copy']);
  expect(failure.reproducer.text).toContain('// pipeline: crash,copy');
  const again = parseGraph(failure.reproducer.text);
  expect(verifyGraph(again)).toEqual([]);
  const weights = [...again.values.values()].find((v) => v.name === 'w')!.constant!;
  expect(weights.shape).toEqual([20, 3]);
  expect(weights).not.toEqual([...graph.values.values()].find((v) => v.name === 'w')!.constant);
});

test('a reproducer keeps the weights where asked', () => {
  const failure = failureOf(() => runPasses(graph, [crash], { reproducerWeights: true }));
  const value = (g: typeof graph) => [...g.values.values()].find((v) => v.name === 'w')!.constant;
  expect(value(parseGraph(failure.reproducer.text))).toEqual(value(graph));
});

test('a malformed graph is noticed after the pass that left it', () => {
  const failure = failureOf(() => runPasses(graph, [nothing, mangle, rename], { verifyEach: true }));
  expect(failure.diagnostics[0]?.message).toBe('pass mangle: left a malformed graph');
  expect(failure.diagnostics[1]?.code).toBe('SPC9010');
  expect(verifyGraph(parseGraph(failure.reproducer.text))).toEqual([]);
});

test('what a pass says about the model is passed on', () => {
  const note = { code: 'SPC3001', severity: 'note' as const, message: 'hm' };
  const told: unknown[] = [];
  const talk = definePass({ name: 'talk', doc: '', run: (g, ctx) => { ctx.report(note); return g; } });
  expect(runPasses(graph, [talk], { onReport: (d) => told.push(d) }).diagnostics).toEqual([note]);
  expect(told).toEqual([note]);
  const refuse = definePass({ name: 'refuse', doc: '', run: () => { throw new SpcError([{ ...note, severity: 'error' }]); } });
  expect(() => runPasses(graph, [refuse])).toThrow(/^error SPC3001: hm$/);
});

test('every pass has its own name and a line of documentation, and is in the generated page', () => {
  expect(new Set(allPasses.map((p) => p.name)).size).toBe(allPasses.length);
  for (const p of allPasses) {
    expect(p.doc.length).toBeGreaterThan(20);
    expect(passesMarkdown()).toContain(`| \`${p.name}\` | ${p.doc} |`);
  }
  expect(pipeline.some((p) => p.name === 'channels-last')).toBe(false);
  expect(pipelineFor({ passes: channelsLastPasses }).findIndex((p) => p.name === 'channels-last')).toBeLessThan(pipelineFor({ passes: channelsLastPasses }).findIndex((p) => p.name === 'fuse-epilogue'));
});
