/**
 * `--tune`: times the ways to run each product on this machine. Every way becomes a model of one layer, whose profile gives the time of
 * the product without the conversions around it. Times are kept in the cache folder under a hash of all that they come from: the emitted
 * files (kernel, shapes, weights), the C compiler and the processor; with the same cache, compiling is deterministic.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Target } from '../../backends/types.js';
import { layoutCandidates } from '../../passes/select-layout/index.js';
import { cacheFolder } from '../../runtime/node/cache-folder.js';
import { findCompiler } from '../../runtime/node/toolchain.js';
import type { LoadedModel } from '../../runtime/node/load.js';
import { SpcError } from '../diagnostics/diagnostic.js';
import { chooseLayouts, emitModel, optimiseModel, type CompileOptions, type CompileResult, type ModelSource } from '../driver.js';
import { randomInputs } from '../io/random.js';
import { isRejected, optionKey, type LayoutOption, type MeasuredTimes } from '../ir/layout-choice.js';
import { operandsOf, valueOf, type Graph, type Node } from '../ir/types.js';
import { buildPlan } from '../plan/build.js';
import { loadFiles } from './source.js';
import type { Terminal } from './terminal.js';
import { modelTimer, pinned, timingSource } from './timing.js';

/** Options that are predicted to take more than this times the best one's time are not measured. */
const PROMISING = 1.6;
const ROUNDS = 7, BLOCK_SECONDS = 0.01;
const LAYER = 'layer', SEED = 1;

/** A way to run a layer, as a model of its own. */
interface Trial {
  readonly key: string;
  readonly manifest: CompileResult['manifest'];
  readonly files: CompileResult['files'];
  /** Where its time is kept. */
  readonly cache: string;
}

/** A graph of one node: what it computes from becomes inputs. */
function graphOf(graph: Graph, node: Node): Graph {
  const ids = [...new Set([...operandsOf(node), ...node.outputs])];
  return {
    name: LAYER, nodes: [{ ...node, origins: [{ node: LAYER, op: node.kind }] }], values: new Map(ids.map((id) => [id, valueOf(graph, id)])),
    inputs: ids.filter((id) => !valueOf(graph, id).constant && !node.outputs.includes(id)), outputs: node.outputs.map((value, i) => ({ name: `result ${i}`, value })),
  };
}

function trialOf(graph: Graph, node: Node, option: LayoutOption, target: Target, machine: string): Trial {
  const chosen = chooseLayouts(graphOf(graph, node), target, {
    layouts: { [LAYER]: option.layout === 'rows' ? option.kernel || 'rows' : 'tiles' }, codeBudget: option.form === 'tables' ? 0 : Infinity, ...(option.layout === 'rows' ? {} : { lanes: option.layout }),
  });
  const { manifest, files } = emitModel(buildPlan(chosen.graph, target, chosen.decisions), target, { name: LAYER, header: [], weights: 'auto' },
    { options: {}, model: { name: LAYER, sha256: '', producer: '' }, diagnostics: [] });
  const hash = createHash('sha256').update(machine);
  for (const [name, content] of files) if (name !== 'manifest.json') hash.update(name).update(content);
  return { key: optionKey(graph, node, option), manifest, files, cache: join(cacheFolder(), `tune-${hash.update(JSON.stringify(manifest.compileFlags)).digest('hex').slice(0, 24)}.json`) };
}

/** Nanoseconds of a kept trial; undefined where there is none, or it cannot be read. */
function kept(path: string): number | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const { nanoseconds } = JSON.parse(readFileSync(path, 'utf8')) as { nanoseconds?: unknown };
    return typeof nanoseconds === 'number' && nanoseconds > 0 ? nanoseconds : undefined;
  } catch {
    return undefined;
  }
}

function keep(path: string, nanoseconds: number): void {
  const part = `${path}.${process.pid}`;
  writeFileSync(part, JSON.stringify({ nanoseconds }));
  renameSync(part, path);
}

/** Nanoseconds of each model's layers, conversions left out: the fastest of blocks that alternate, since whatever else runs only adds time. */
function measure(models: readonly LoadedModel[]): number[] {
  const timers = models.map((m) => modelTimer(m, randomInputs(m.inputs, SEED)));
  const runs = timers.map((t) => { t.time(2); return Math.max(1, Math.round(BLOCK_SECONDS / Math.max(t.time(3) / 3, 1e-8))); });
  const blocks = models.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    models.forEach((m, i) => {
      timers[i]!.time(Math.ceil(runs[i]! / 5));
      m.profile!.fill(0);
      timers[i]!.time(runs[i]!);
      blocks[i]!.push(m.manifest.layers.reduce((s, l) => s + (l.kind === 'relayout' ? 0 : m.profile![l.index]!), 0) / runs[i]!);
    });
  }
  return blocks.map((b) => Math.max(1, Math.round(1e9 * Math.min(...b))));
}

/**
 * Measures the promising ways to run each product that has several.
 * @throws SpcError SPC6002 for several instruction sets at once, SPC5501, SPC5502 without a C compiler that builds them
 */
export async function tuneModel(source: ModelSource, options: CompileOptions, terminal: Terminal): Promise<MeasuredTimes> {
  const { optimised: { graph }, target } = optimiseModel(source, options), times = new Map<string, number>();
  if (target.paths) throw new SpcError([{ code: 'SPC6002', severity: 'error', message: '--tune measures on this machine, --cpu names several instruction sets', hint: 'tune for one of them' }]);
  if (!target.layouts) return times;
  const machine = JSON.stringify([(await findCompiler())?.version, cpus()[0]?.model, target.doc]);
  const all = layoutCandidates(graph, target.layouts), products = graph.nodes.filter((n) => n.kind === 'conv' || n.kind === 'matmul');
  let measured = 0;
  for (const [i, node] of products.entries()) {
    terminal.progress(i / products.length, 'tuning');
    const possible = all.get(node.id)!.filter((o): o is LayoutOption => !isRejected(o)), best = Math.min(...possible.map((o) => o.nanoseconds));
    const promising = possible.filter((o) => o.nanoseconds <= PROMISING * best);
    // what depends on the nodes around (sparse activations) cannot be measured alone: such products run as predicted
    const alone = new Set(layoutCandidates(graphOf(graph, node), target.layouts).get(node.id)!.map((o) => o.kernel));
    if (promising.some((o) => o.layout === 'rows' && !alone.has(o.kernel))) continue;
    const trials = promising.map((o) => trialOf(graph, node, o, target, machine));
    if (trials.length < 2 || trials.every((t) => times.has(t.key))) continue;
    // all of a layer at once: times from one moment compare
    const known = trials.map((t) => kept(t.cache)), found = known.every((k) => k !== undefined) ? known as number[] : await measureTrials(trials, terminal);
    if (found !== known) measured++;
    trials.forEach((t, k) => times.set(t.key, found[k]!));
  }
  terminal.note(times.size === 0 ? 'nothing to tune: every product has one way that is predicted to be far faster than the others'
    : `tuned: ${times.size} ways to run products, ${measured} ${measured === 1 ? 'layer' : 'layers'} measured now, the others' times were kept`);
  return times;
}

async function measureTrials(trials: readonly Trial[], terminal: Terminal): Promise<number[]> {
  // times are kept, libraries are not
  const models: LoadedModel[] = [], cacheDir = mkdtempSync(join(cacheFolder(), '.tune-'));
  try {
    for (const t of trials) models.push(await loadFiles(t.files, { profile: true, cacheDir, extraSources: new Map([['spc_timing.c', timingSource]]) }, terminal));
    const found = pinned(() => measure(models));
    trials.forEach((t, i) => keep(t.cache, found[i]!));
    return found;
  } finally {
    for (const m of models) m.dispose();
    rmSync(cacheDir, { recursive: true, force: true });
  }
}
