/**
 * Runs kernels on tensors in tiles and compares the whole memory of their results (zeros outside the image, the halo) with what the
 * layout's definition and the reference evaluator say. For tests.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OpAttrs, OpKind } from '../../compiler/core/index.js';
import { writeFiles } from '../../compiler/driver.js';
import { GraphBuilder } from '../../compiler/ir/build.js';
import { elementAt, gridVectors, LANES, layoutElements, phaseVectors, pixelTiles, type ImageTiles, type Layout, type PixelTiles } from '../../compiler/ir/layout.js';
import { toNumbers, type Tensor } from '../../compiler/ir/tensor.js';
import { elementCount, valueOf, type Epilogue, type Graph, type Node, type TensorType, type Value } from '../../compiler/ir/types.js';
import { evaluateGraph } from '../../compiler/kir/evaluate.js';
import { buildPlan } from '../../compiler/plan/build.js';
import type { PlanStep } from '../../compiler/plan/types.js';
import { crossCompiler, runnerOf } from './machines.js';
import { hasTool } from './processes.js';
import { randomSource } from './random-stream.js';
import type { KernelRule } from '../../backends/types.js';
import type { Isa } from '../../backends/cpu/isa.js';
import { cpuTarget } from '../../backends/cpu/target.js';

/** Tiles over pixels of a tensor [N, H, W, C], with a grid that is just large enough unless told. */
export function pixels(shape: readonly number[], options: Partial<PixelTiles> = {}): PixelTiles {
  const plain = pixelTiles({ dtype: 'f32', shape }, shape.length === 4 ? 2 : 0), phases = options.phases ?? 1;
  return { ...plain, rows: Math.ceil(plain.height / phases), columns: Math.ceil(plain.width / phases), ...options };
}

export function images([n, height, width, channels]: readonly number[], margins: readonly number[] = [0, 0, 0, 0]): ImageTiles {
  const [top, left, bottom, right] = margins as [number, number, number, number];
  return { over: 'images', images: n!, height: height!, width: width!, channels: channels!, pitch: channels! | 1, rows: height! + top + bottom, columns: width! + left + right, top, left };
}

/** Memory of a tensor: elements where elementAt says, halo vectors by their definition, zeros elsewhere; NaN between `channels` and `pitch`. */
export function memoryOf(l: Layout, values: ArrayLike<number>): Float32Array {
  const memory = new Float32Array(layoutElements(l));
  for (let v = 0; v < memory.length; v += l.pitch * LANES) memory.fill(NaN, v + l.channels * LANES, v + l.pitch * LANES);
  for (let n = 0, i = 0; n < l.images; n++) for (let y = 0; y < l.height; y++) for (let x = 0; x < l.width; x++) for (let c = 0; c < l.channels; c++) {
    memory[elementAt(l, n, y, x, c)] = values[i++]!;
  }
  if (l.over === 'images') return memory;
  const size = gridVectors(l), s = l.phases;
  const halo = [...Array.from({ length: l.before }, (_, i) => i - l.before), ...Array.from({ length: l.after }, (_, i) => size + i)];
  for (let grid = 0; grid < l.images * s * s; grid++) for (const v of halo) for (let lane = 0; lane < LANES; lane++) {
    const p = lane * size + v, y = Math.floor(p / l.columns) * s + Math.floor((grid % (s * s)) / s), x = (p % l.columns) * s + (grid % s), n = Math.floor(grid / (s * s));
    if (p < 0 || p >= l.rows * l.columns || y >= l.height || x >= l.width) continue;
    for (let c = 0; c < l.channels; c++) memory[((grid * phaseVectors(l) + l.before + v) * l.pitch + c) * LANES + lane] = values[((n * l.height + y) * l.width + x) * l.channels + c]!;
  }
  return memory;
}

/** A graph of independent nodes whose values lie as told, so that one build checks many shapes. */
export class TileCases {
  private readonly builder = new GraphBuilder('tiles');
  private readonly random = randomSource(11);
  private readonly layouts = new Map<number, Layout | undefined>();
  private readonly epilogues = new Map<number, Epilogue>();
  private readonly outputs: { name: string; value: Value }[] = [];
  readonly inputs: Tensor[] = [];

  tensor(shape: readonly number[]): Tensor {
    return { kind: 'dense', dtype: 'f32', shape, data: Float32Array.from({ length: elementCount(shape) }, () => this.random.next() * 2 - 1) };
  }
  input(shape: readonly number[], layout?: Layout): Value {
    this.inputs.push(this.tensor(shape));
    const value = this.builder.input(`in${this.inputs.length}`, { dtype: 'f32', shape });
    this.layouts.set(value.id, layout);
    return value;
  }
  constant(shape: readonly number[], data?: ArrayLike<number>): Value {
    const t = this.tensor(shape);
    return this.builder.constant(data ? { ...t, kind: 'dense', dtype: 'f32', data: Float32Array.from(data) } : t);
  }
  /** A value that other nodes read. */
  node<K extends OpKind>(kind: K, inputs: readonly Value[], attrs: OpAttrs[K], layout?: Layout, epilogue?: Epilogue): Value {
    const y = this.builder.op(kind, inputs, attrs)[0]!;
    this.layouts.set(y.id, layout);
    if (epilogue) this.epilogues.set(y.id, epilogue);
    return y;
  }
  /** A result. What is behind it must be part of its own step. */
  op<K extends OpKind>(name: string, kind: K, inputs: readonly Value[], attrs: OpAttrs[K], layout?: Layout, epilogue?: Epilogue): void {
    this.outputs.push({ name, value: this.node(kind, inputs, attrs, layout, epilogue) });
  }
  graph(): Graph {
    const g = this.builder.finish(this.outputs);
    return {
      ...g,
      values: new Map([...g.values].map(([id, v]) => { const layout = this.layouts.get(id); return [id, layout ? { ...v, layout } : v]; })),
      nodes: g.nodes.map((n): Node => { const e = this.epilogues.get(n.outputs[0]!); return e ? { ...n, epilogue: e } : n; }),
    };
  }
}

export interface TileRun {
  readonly name: string;
  readonly step: PlanStep;
  readonly got: Float32Array;
  readonly want: Float32Array;
}

export interface TileBuild {
  readonly isa: Isa['name'];
  readonly compiler: string;
  readonly flags: readonly string[];
}

export const tileBuilds: readonly TileBuild[] = [
  { isa: 'x86-64-v4', compiler: 'gcc', flags: ['-O3'] }, { isa: 'x86-64-v4', compiler: 'clang', flags: ['-O1'] }, { isa: 'x86-64-v3', compiler: 'gcc', flags: ['-O1'] },
  { isa: 'x86-64-v3', compiler: 'clang', flags: ['-O1'] }, { isa: 'aarch64', compiler: crossCompiler, flags: ['-O1'] }, { isa: 'generic', compiler: 'gcc', flags: ['-O1', '-fsanitize=undefined,address', '-fno-sanitize-recover=all'] },
];
export const canRun = (b: TileBuild): boolean => hasTool(b.compiler) && runnerOf(b.isa) !== undefined;

/** Builds and runs a graph of `TileCases` in folder `dir`. @param rules in place of the target's */
export function runTiles(dir: string, cases: TileCases, build: TileBuild, rules?: readonly KernelRule[]): TileRun[] {
  const graph = cases.graph(), cpu = cpuTarget(build.isa), target = rules ? { ...cpu, kernels: rules } : cpu;
  const typed = (id: number): TensorType => {
    const { type, layout } = valueOf(graph, id);
    return layout ? { dtype: 'f32', shape: [layoutElements(layout)] } : type;
  };
  // the program reads and writes tensors as they lie in memory
  const built = buildPlan(graph, target), plan = {
    ...built, inputs: built.inputs.map((p, i) => ({ ...p, type: typed(graph.inputs[i]!) })), outputs: built.outputs.map((p, i) => ({ ...p, type: typed(graph.outputs[i]!.value) })),
  };
  const files = target.emit(plan, { name: 'tiles', header: [], weights: 'embed' });
  writeFiles(files, dir);
  const { command, linkFlags } = runnerOf(build.isa)!;
  execFileSync(build.compiler, [...target.compileFlags.filter((f) => !f.startsWith('-O')), '-Wall', '-Wextra', '-Werror', ...build.flags, ...linkFlags, '-I.', '-o', 'main', ...[...files.keys()].filter((f) => /\.[cS]$/.test(f)), '-lm', '-lpthread'], { cwd: dir, stdio: 'pipe' });
  const dense = (id: number, t: Tensor): Float32Array => {
    const { layout } = valueOf(graph, id), values = toNumbers(t);
    return layout ? memoryOf(layout, values) : Float32Array.from(values);
  };
  cases.inputs.forEach((t, i) => writeFileSync(join(dir, `in${i}`), new Uint8Array(dense(graph.inputs[i]!, t).buffer)));
  const [program, ...rest] = [...command, join(dir, 'main'), ...cases.inputs.map((_, i) => `in${i}`)];
  execFileSync(program!, rest, { cwd: dir, stdio: 'pipe', env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0', MALLOC_PERTURB_: '165' } });
  const expected = evaluateGraph({ ...graph, values: new Map([...graph.values].map(([id, { layout: _, ...v }]) => [id, v])) }, cases.inputs);
  return graph.outputs.map(({ name, value }, i) => {
    const bytes = readFileSync(join(dir, `${i}.bin`));
    return { name, step: plan.steps[i]!, got: new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)), want: dense(value, expected[i]!) };
  });
}

/** Largest difference, relative to numbers above 1; where `want` is NaN anything goes. */
export function worstDifference({ got, want }: TileRun): number {
  if (got.length !== want.length) return Infinity;
  let worst = 0;
  want.forEach((w, i) => {
    if (Number.isNaN(w)) return;
    const d = Math.abs(w - got[i]!) / Math.max(1, Math.abs(w));
    worst = Number.isNaN(d) ? Infinity : Math.max(worst, d);
  });
  return worst;
}
