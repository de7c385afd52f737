/** Random networks through the compiler with the layouts that a test wants, built, run, and compared with float64. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { chooseLayouts, emitModel, optimiseModel, type CompileResult } from '../../compiler/driver.js';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { isRejected, type LayoutOption, type RejectedOption, type StreamForm } from '../../compiler/ir/layout-choice.js';
import type { Layout } from '../../compiler/ir/layout.js';
import { toNumbers, type Tensor } from '../../compiler/ir/tensor.js';
import { operandsOf, valueOf, type Graph, type Node } from '../../compiler/ir/types.js';
import { verifyGraph } from '../../compiler/ir/verify.js';
import { buildPlan } from '../../compiler/plan/build.js';
import type { Plan, PlanStep } from '../../compiler/plan/types.js';
import type { LayoutModel } from '../../passes/select-layout/index.js';
import type { CpuName } from '../../backends/cpu/target.js';
import { buildObjects, linkDriver, precompileHeaders, runDriver, type NativeOptions } from '../support/native.js';
import { onnxModel } from '../support/onnx-builder.js';
import { limiter } from '../support/processes.js';
import { randomSource } from '../support/random-stream.js';
import type { Network } from './network.js';
import { evaluateNetwork, type Numbers } from './reference.js';

/** How a network is compiled. */
export interface Form extends NativeOptions {
  readonly cpu: Exclude<CpuName, 'native'>;
  /** Of products in tiles. */
  readonly streams: StreamForm;
  readonly asm?: 'binary' | 'text';
}

/** `tiles`: whatever can be. `mixed`: each node as chance has it. `chosen`: as the compiler chooses. */
export type Choice = 'tiles' | 'mixed' | 'chosen';

/** A model of times that leads to the wanted choice. */
function leading(model: LayoutModel, choice: Choice, streams: StreamForm, seed: number): LayoutModel {
  const cost = (node: Node, side: number, tiles: boolean): number => (choice === 'mixed' ? randomSource(seed * 7919 + node.id * 2 + side).next() * 1000 : tiles ? 1 : 1e6);
  const timed = <O extends LayoutOption | RejectedOption>(o: O, nanoseconds: number): O => (isRejected(o) || choice === 'chosen' ? o : { ...o, nanoseconds });
  return {
    ...model,
    // which of the kernels on rows it is, is left to chance too
    rows: (graph, node) => model.rows(graph, node).map((o, i) => timed(o, cost(node, 0, false) + cost(node, 2 + i, false) / 1e6)),
    tiles: (graph, node, over) => model.tiles(graph, node, over).map((o) => (!isRejected(o) && o.form && o.form !== streams ? { layout: o.layout, kernel: o.kernel, form: o.form, reason: 'not tested here' } : timed(o, cost(node, 1, true)))),
    ...(choice === 'chosen' ? {} : { conversion: () => (choice === 'mixed' ? 100 : 1) }),
  };
}

export interface CompiledNetwork extends Pick<CompileResult, 'files' | 'manifest'> {
  readonly graph: Graph;
  readonly plan: Plan;
}

/** As the driver does it, but for the choice. @throws where the compiler does, or the graph with layouts is not well-formed */
export function compileNetwork(network: Network, form: Pick<Form, 'cpu' | 'streams' | 'asm'>, choice: Choice, name: string, lanes?: Layout['over']): CompiledNetwork {
  const { nodes, input, initializers, outputs } = network, bytes = onnxModel({ opset: 17, nodes, inputs: { x: { dtype: 'f32', shape: input.shape } }, initializers, outputs });
  const { imported, optimised, target } = optimiseModel({ bytes, name }, { cpu: form.cpu });
  const layouts = leading(target.layouts!, choice, form.streams, network.seed);
  const { graph, decisions } = chooseLayouts(optimised.graph, { ...target, layouts }, lanes ? { lanes } : {}), problems = verifyGraph(graph);
  if (problems.length > 0) throw new Error(problems.map((p) => p.message).join('\n'));
  const plan = buildPlan(graph, target, decisions);
  const emitted = emitModel(plan, target, { name, header: [], weights: 'auto', ...(form.asm ? { asm: form.asm } : {}) },
    { options: { target: 'cpu', cpu: form.cpu, weights: 'auto', dims: {} }, model: { name, sha256: imported.info.sha256, producer: '' }, diagnostics: [] });
  return { graph, plan, ...emitted };
}

/** Largest difference allowed, relative to the largest element of the output: sums of some hundred terms in f32, six layers deep. */
const TOLERANCE = 1e-4;

/**
 * The first element that is not what float64 says; NaN and infinities must be the same.
 * @param dense the same where zeros are not skipped: where a layer may be dense, an element counts only where both agree
 */
function difference(name: string, actual: Tensor, expected: Numbers, dense = expected): string | undefined {
  const got = toNumbers(actual), want = expected.data, scale = want.reduce((m, v) => (Number.isFinite(v) ? Math.max(m, Math.abs(v)) : m), 0);
  if (actual.shape.join() !== expected.shape.join()) return `${name} has the shape ${actual.shape.join('x')} instead of ${expected.shape.join('x')}`;
  const right = (v: number, i: number): boolean => Object.is(v, want[i]) || Math.abs(v - want[i]!) <= TOLERANCE * scale + 2 ** -149 || v === want[i] || !Object.is(want[i], dense.data[i]);
  const wrong = got.flatMap((v, i) => (right(v, i) ? [] : [i]));
  return wrong.length === 0 ? undefined : `${name} [${expected.shape.join(',')}]: element ${wrong[0]} is ${got[wrong[0]!]} instead of ${want[wrong[0]!]}, ${wrong.length} of ${got.length} differ`;
}

export interface Experiment {
  readonly network: Network;
  readonly choice: Choice;
  readonly lanes?: Layout['over'];
}

export interface Outcome {
  readonly label: string;
  readonly problem?: string;
  /** Kernels of the steps, and of those with an operand or a result in tiles. */
  readonly kernels: readonly string[];
  readonly inTiles: readonly string[];
}

const asNumbers = (t: Tensor): Numbers => ({ shape: t.shape, data: Float64Array.from(toNumbers(t)) });

/** What went wrong in experiments, one form for all; they are one program. */
export async function runExperiments(dir: string, experiments: readonly Experiment[], form: Form): Promise<Outcome[]> {
  const atATime = limiter(2), problems = new Map<number, string>(), compiled = new Map<number, CompiledNetwork>(), objects = new Map<number, readonly string[]>();
  const builds: Promise<void>[] = [];
  let headers: Promise<void> | undefined;
  for (const [i, { network, choice, lanes }] of experiments.entries()) {
    try {
      const c = compileNetwork(network, form, choice, `net${i}`, lanes);
      compiled.set(i, c);
      headers ??= existsSync(join(dir, 'prefix.h.gch')) ? Promise.resolve() : precompileHeaders(dir, c.manifest.compileFlags, form);
      builds.push(atATime(async () => {
        await headers;
        const { objects: own, problem } = await buildObjects(dir, c, form);
        if (problem) problems.set(i, problem);
        else objects.set(i, own);
      }));
    } catch (error) {
      problems.set(i, `does not compile: ${error instanceof Error ? error.stack?.split('\n').slice(0, 4).join(' ') : String(error)}`);
    }
    await new Promise(setImmediate);
  }
  await Promise.all(builds);
  const built = [...objects.keys()].sort((a, b) => a - b);
  if (built.length) await linkDriver(dir, built.map((i) => `net${i}`), built.flatMap((i) => objects.get(i)!), join(packageRoot(), 'runtime', 'include'), form);
  await Promise.all(built.map((i, index) => atATime(async () => {
    const { network } = experiments[i]!, { manifest, plan } = compiled.get(i)!;
    const actual = await runDriver(dir, index, `net${i}`, [network.input], manifest.outputs, form.emulator);
    if (typeof actual === 'string') { problems.set(i, actual); return; }
    const given = new Map([['x', asNumbers(network.input)], ...Object.entries(network.initializers).map(([name, t]) => [name, asNumbers(t)] as const)]);
    const expected = evaluateNetwork(network.nodes, given), mayBeDense = plan.steps.some((s) => s.weights && !/^(stream|walk|blocks|csr|permute)/.test(s.choice.kernel));
    const dense = mayBeDense && !given.get('x')!.data.every(Number.isFinite) ? evaluateNetwork(network.nodes, given, 'multiplied') : expected;
    const found = manifest.outputs.flatMap((o, k) => difference(o.name, actual[k]!, expected.get(o.name)!, dense.get(o.name)) ?? []);
    if (found.length) problems.set(i, found.join('; '));
  })));
  return experiments.map(({ network, choice, lanes }, i): Outcome => {
    const problem = problems.get(i), c = compiled.get(i), steps = c?.plan.steps ?? [], kernelsOf = (of: readonly PlanStep[]): string[] => of.map((s) => s.choice.kernel);
    const tiled = new Set(c?.graph.nodes.flatMap((n) => ([...operandsOf(n), ...n.outputs].some((id) => valueOf(c.graph, id).layout) ? [n.id] : [])));
    return { label: `seed ${network.seed} ${choice}${lanes ? ` over ${lanes}` : ''}`, kernels: kernelsOf(steps), inTiles: kernelsOf(steps.filter((s) => tiled.has(s.node))), ...(problem ? { problem } : {}) };
  });
}
