import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { ConvAttrs } from '../../../compiler/core/conv.js';
import { writeFiles } from '../../../compiler/driver.js';
import type { OpAttrs } from '../../../compiler/core/index.js';
import { GraphBuilder } from '../../../compiler/ir/build.js';
import { roundedToBf16 } from '../../../compiler/ir/bf16.js';
import { dtypes, type DType } from '../../../compiler/ir/dtype.js';
import { tensorBytes, tensorOf, toNumbers, type Tensor } from '../../../compiler/ir/tensor.js';
import { elementCount, valueOf, type Epilogue, type Graph, type Node, type Value } from '../../../compiler/ir/types.js';
import { add, arg, compare, f32, max, min, mul, select, unary } from '../../../compiler/kir/build.js';
import { evaluateGraph } from '../../../compiler/kir/evaluate.js';
import { buildPlan } from '../../../compiler/plan/build.js';
import { isas, type Isa } from '../isa.js';
import { cpuTarget, nativeIsa } from '../target.js';

/** Numbers in [-1, 1), or small integers, the same on every run. */
function generator(seed: number): (dtype: DType, shape: readonly number[]) => Tensor {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return (dtype, shape) => tensorOf(dtype, shape, Array.from({ length: elementCount(shape) }, () => {
    const x = next();
    return dtype === 'f32' ? Math.fround(x) : dtype === 'u8' ? Math.floor((x + 1) * 100) : Math.floor(x * 100);
  }));
}

/** A graph of independent nodes, so that one build checks many shapes. */
class Cases {
  readonly builder = new GraphBuilder('kernels');
  readonly inputs: Tensor[] = [];
  private readonly outputs: { name: string; value: Value }[] = [];
  private readonly epilogues = new Map<number, Epilogue>();
  private readonly random = generator(7);

  input(dtype: DType, shape: readonly number[]): Value {
    this.inputs.push(this.random(dtype, shape));
    return this.builder.input(`in${this.inputs.length}`, { dtype, shape });
  }
  constant(dtype: DType, shape: readonly number[]): Value { return this.builder.constant(this.random(dtype, shape)); }
  output(name: string, value: Value, epilogue?: Epilogue): void {
    this.outputs.push({ name, value });
    if (epilogue) this.epilogues.set(value.id, epilogue);
  }
  /** Bias, then the activation, then (if wanted) a residual of the output's shape. */
  epilogue(y: Value, kind: 'relu' | 'sigmoid' | 'residual' | 'clip' | 'pow' | 'scalar'): Epilogue {
    const bias = this.constant('f32', [y.type.shape.at(-1)!]), biased = add(arg(0, 'f32'), arg(1, 'f32'));
    switch (kind) {
      case 'relu': return { expr: max(biased, f32(0)), inputs: [bias.id] };
      case 'clip': return { expr: select(compare('lt', biased, f32(0)), mul(biased, f32(0.125)), min(biased, f32(0.5))), inputs: [bias.id] };
      case 'sigmoid': return { expr: mul(biased, unary('sigmoid', biased)), inputs: [bias.id] };
      case 'pow': return { expr: { kind: 'binary', op: 'atan2', a: biased, b: f32(2), type: biased.type }, inputs: [bias.id] };
      case 'scalar': return { expr: mul(arg(0, 'f32'), arg(1, 'f32')), inputs: [this.constant('f32', []).id] };
      case 'residual': return { expr: max(add(biased, arg(2, 'f32')), f32(0)), inputs: [bias.id, this.input('f32', y.type.shape).id] };
    }
  }
  conv(name: string, x: readonly number[], kernel: readonly number[], outputs: number, options: Partial<ConvAttrs> & { pad?: number; data?: DType; epilogue?: Parameters<Cases['epilogue']>[1] } = {}): void {
    const { pad = 0, data = 'u8', epilogue, ...attrs } = options, group = attrs.group ?? 1;
    const full: ConvAttrs = {
      strides: kernel.map(() => 1), dilations: kernel.map(() => 1), pads: kernel.map(() => [pad, pad] as const), group, layout: 'nsc', out: 'f32', ...attrs,
    };
    const integer = full.out === 'i32';
    const [y] = this.builder.op('conv', [this.input(integer ? data : 'f32', x), this.constant(integer ? 'i8' : 'f32', [...kernel, x.at(-1)! / group, outputs])], full);
    this.output(name, y!, epilogue && this.epilogue(y!, epilogue));
  }
  matmul(name: string, a: readonly number[], b: readonly number[], options: { constant?: boolean; transA?: boolean; transB?: boolean; epilogue?: Parameters<Cases['epilogue']>[1]; integer?: 'u8' | 'i16'; bf16?: boolean } = {}): void {
    const [at, bt, out]: [DType, DType, DType] = options.integer ? [options.integer, 'i8', 'i32'] : ['f32', 'f32', 'f32'];
    const w = options.constant === false ? this.input(bt, b) : options.bf16 ? this.builder.constant(roundedToBf16(this.random(bt, b))) : this.constant(bt, b);
    const [y] = this.builder.op('matmul', [this.input(at, a), w], { transA: options.transA ?? false, transB: options.transB ?? false, out });
    this.output(name, y!, options.epilogue && this.epilogue(y!, options.epilogue));
  }
  convTranspose(name: string, x: readonly number[], kernel: readonly number[], outputs: number, options: { strides: readonly number[]; pads: readonly (readonly [number, number])[]; group?: number; outputPadding?: readonly number[]; epilogue?: Parameters<Cases['epilogue']>[1] }): void {
    const { epilogue, ...rest } = options, group = rest.group ?? 1;
    const attrs = { dilations: kernel.map(() => 1), outputPadding: kernel.map(() => 0), layout: 'nsc' as const, out: 'f32' as const, ...rest, group };
    const [y] = this.builder.op('convTranspose', [this.input('f32', x), this.constant('f32', [...kernel, x.at(-1)!, outputs / group])], attrs);
    this.output(name, y!, epilogue && this.epilogue(y!, epilogue));
  }
  op<K extends 'softmax' | 'normalize' | 'reduce' | 'transpose'>(name: string, kind: K, x: readonly number[], attrs: OpAttrs[K], epilogue?: Parameters<Cases['epilogue']>[1]): void {
    const [y] = this.builder.op(kind, [this.input('f32', x)], attrs);
    this.output(name, y!, epilogue && this.epilogue(y!, epilogue));
  }
  graph(): Graph {
    const g = this.builder.finish(this.outputs);
    return { ...g, nodes: g.nodes.map((n): Node => { const e = this.epilogues.get(n.outputs[0]!); return e ? { ...n, epilogue: e } : n; }) };
  }
}

function cases(): Cases {
  const c = new Cases();
  c.matmul('square', [64, 64], [64, 64], { epilogue: 'relu' });
  c.matmul('tails', [13, 37], [37, 43], { epilogue: 'clip' });
  c.matmul('row', [1, 130], [130, 10], { epilogue: 'sigmoid' });
  c.matmul('wide row', [1, 65], [65, 300]);
  c.matmul('one', [3, 5], [5, 1], { epilogue: 'pow' });
  c.matmul('transposed', [17, 19], [23, 17], { transA: true, transB: true });
  c.matmul('batch joined', [2, 5, 24], [24, 24], { epilogue: 'residual' });
  c.matmul('rows in place', [2, 9, 20], [2, 20, 48], { constant: false, epilogue: 'scalar' });
  c.matmul('packed at run time', [3, 7, 33], [3, 21, 33], { constant: false, transB: true });
  c.matmul('broadcast batch', [3, 2, 6, 9], [2, 9, 11], { constant: false });
  c.matmul('a row of bf16', [1, 130], [130, 300], { bf16: true, epilogue: 'relu' });
  c.matmul('rows of bf16', [4, 700], [700, 12], { bf16: true });
  c.matmul('transposed bf16', [1, 3, 333], [44, 333], { bf16: true, transB: true, epilogue: 'residual' });
  c.matmul('integers', [9, 30], [30, 21], { integer: 'u8' });
  c.matmul('integer pairs', [9, 30], [30, 21], { integer: 'i16' });
  c.conv('integer pairs', [1, 6, 9, 6], [3, 3], 28, { pad: 1, out: 'i32', data: 'i16' });
  c.conv('integer pairs in groups', [1, 6, 9, 8], [3, 2], 10, { strides: [1, 2], dilations: [1, 2], group: 2, out: 'i32', data: 'i16' });
  c.conv('3x3', [1, 8, 8, 16], [3, 3], 16, { pad: 1, epilogue: 'residual' });
  c.conv('3x3 tails', [2, 9, 33, 5], [3, 3], 24, { pad: 1, epilogue: 'relu' });
  c.conv('stride 2', [1, 11, 14, 7], [3, 3], 10, { pads: [[0, 1], [1, 0]], strides: [2, 2], epilogue: 'sigmoid' });
  c.conv('5x5 one channel', [1, 12, 12, 1], [5, 5], 8, { pad: 2, epilogue: 'clip' });
  c.conv('dilated', [1, 13, 12, 4], [3, 3], 9, { pad: 2, dilations: [2, 3], epilogue: 'relu' });
  c.conv('1x1', [2, 5, 6, 36], [1, 1], 50, { epilogue: 'residual' });
  c.conv('1x1 stride 2', [1, 7, 9, 12], [1, 1], 20, { strides: [2, 2] });
  c.conv('1d', [1, 50, 20], [5], 70, { pad: 2, epilogue: 'relu' });
  c.conv('groups', [1, 6, 7, 24], [3, 3], 36, { pad: 1, group: 3, epilogue: 'relu' });
  c.conv('depthwise', [1, 10, 19, 40], [3, 3], 40, { pad: 1, group: 40, epilogue: 'relu' });
  c.conv('depthwise stride 2', [2, 11, 9, 21], [5, 5], 21, { pad: 2, group: 21, strides: [2, 2], epilogue: 'sigmoid' });
  c.conv('depthwise 1d', [1, 15, 16], [3], 16, { pad: 1, group: 16, dilations: [2] });
  c.conv('depthwise multiplier', [1, 5, 5, 6], [3, 3], 12, { pad: 1, group: 6 });
  c.conv('integers', [1, 6, 7, 8], [3, 3], 20, { pad: 1, out: 'i32' });
  c.conv('one column', [2, 20, 1, 9], [5, 1], 24, { pads: [[2, 2], [0, 0]], epilogue: 'residual' });
  c.conv('dilated rows', [1, 9, 9, 8], [3, 3], 8, { pads: [[2, 2], [0, 0]], dilations: [2, 1], group: 8 });
  c.conv('padding beyond the kernel', [1, 2, 3, 4], [2, 2], 4, { pad: 3 });
  c.conv('windows in the padding', [3, 5, 12], [1], 32, { pad: 1 });
  c.conv('a column in the padding', [1, 5, 1, 8], [1, 1], 12, { pads: [[0, 1], [1, 0]], strides: [2, 2] });
  c.conv('depthwise column in the padding', [1, 5, 1, 8], [1, 1], 8, { pads: [[0, 1], [1, 0]], strides: [2, 2], group: 8 });
  c.convTranspose('upsampling', [1, 5, 7, 12], [2, 2], 20, { strides: [2, 2], pads: [[0, 0], [0, 0]], epilogue: 'residual' });
  c.convTranspose('overlapping', [2, 4, 5, 6], [3, 4], 8, { strides: [2, 3], pads: [[1, 0], [1, 2]], group: 2, outputPadding: [1, 0], epilogue: 'relu' });
  c.convTranspose('cropped', [1, 9, 3], [5], 2, { strides: [2], pads: [[3, -1]] });
  c.op('softmax', 'softmax', [2, 3, 77], { axis: 2, mode: 'soft' }, 'scalar');
  c.op('short softmax', 'softmax', [5, 10], { axis: 1, mode: 'soft' }, 'pow');
  c.op('layer norm', 'normalize', [7, 2, 96], { axes: [2], epsilon: 1e-5, center: true }, 'relu');
  c.op('rms norm', 'normalize', [3, 50], { axes: [1], epsilon: 1e-6, center: false });
  c.op('row sums', 'reduce', [4, 3, 5, 31], { op: 'sum', axes: [2, 3], keepdims: true, map: mul(arg(0, 'f32'), arg(0, 'f32')) });
  c.op('row maxima', 'reduce', [6, 201], { op: 'max', axes: [1], keepdims: false });
  c.op('global average', 'reduce', [2, 7, 5, 90], { op: 'sum', axes: [1, 2], keepdims: true }, 'relu');
  c.op('transposed matrix', 'transpose', [70, 33], { perm: [1, 0] });
  c.op('channels first', 'transpose', [2, 5, 13, 23], { perm: [0, 3, 1, 2] });
  c.op('channels last', 'transpose', [3, 16, 7, 1, 9], { perm: [0, 2, 3, 4, 1] });
  c.op('reversed dimensions', 'transpose', [6, 3, 2, 17], { perm: [3, 2, 1, 0] });
  c.op('column minima', 'reduce', [9, 13], { op: 'min', axes: [0], keepdims: false });
  return c;
}

const work = mkdtempSync(join(tmpdir(), 'spc-kernels-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const has = (command: string): boolean => spawnSync(command, ['--version']).status === 0;
const runs = (isa: Isa): boolean => nativeIsa().lanes >= isa.lanes;

/** Builds the graph for `isa` with `compiler`, runs it, returns its outputs. */
function run(graph: Graph, inputs: readonly Tensor[], isa: Isa, compiler: string, flags: readonly string[]): Tensor[] {
  const target = cpuTarget(isa.name), dir = join(work, `${isa.name}-${compiler}`);
  const plan = buildPlan(graph, target);
  writeFiles(target.emit(plan, { name: 'kernels', header: [], weights: 'embed' }), dir);
  const sources = [...target.emit(plan, { name: 'kernels', header: [], weights: 'embed' }).keys()].filter((f) => f.endsWith('.c'));
  execFileSync(compiler, [...target.compileFlags, '-Wall', '-Wextra', '-Werror', ...flags, '-o', 'main', ...sources, '-lm', '-lpthread'], { cwd: dir, stdio: 'pipe' });
  inputs.forEach((t, i) => writeFileSync(join(dir, `in${i}`), tensorBytes(t)));
  execFileSync(join(dir, 'main'), inputs.map((_, i) => `in${i}`), { cwd: dir, stdio: 'pipe', env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' } });
  return graph.outputs.map((o, i) => {
    const { dtype, shape } = valueOf(graph, o.value).type, bytes = readFileSync(join(dir, `${i}.bin`));
    const data = new dtypes[dtype].array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    return { kind: 'dense', dtype, shape, data };
  });
}

const builds: [Isa['name'], string, string[]][] = [
  ['x86-64-v4', 'gcc', []], ['x86-64-v4', 'clang', ['-O1']], ['x86-64-v3', 'gcc', ['-O1']], ['generic', 'gcc', ['-O1', '-fsanitize=undefined,address', '-fno-sanitize-recover=all']],
];
describe('dense kernels against the reference evaluator', () => {
  const all = cases(), graph = all.graph();
  const expected = evaluateGraph(graph, all.inputs);
  for (const [name, compiler, flags] of builds) test.skipIf(!has(compiler) || !runs(isas[name]))(`${name} with ${compiler}`, () => {
    const got = run(graph, all.inputs, isas[name], compiler, flags);
    graph.outputs.forEach((o, i) => {
      const want = toNumbers(expected[i]!), have = toNumbers(got[i]!);
      const worst = want.reduce((m, x, j) => Math.max(m, Math.abs(x - have[j]!) / Math.max(1, Math.abs(x))), 0);
      expect(worst, o.name).toBeLessThan(valueOf(graph, o.value).type.dtype === 'i32' ? 1e-9 : 2e-5);
      expect(have.every((x) => !Number.isNaN(x)), o.name).toBe(true);
    });
  }, 120_000);
  test('every case gets a dense kernel', () => {
    const plan = buildPlan(graph, cpuTarget('x86-64-v4'));
    expect(plan.steps.filter((s) => s.choice.status !== 'dense-kernel').map((s) => s.origins)).toEqual([]);
    expect(plan.steps.filter((s) => s.choice.reason.includes('bf16')).length).toBe(3);
  });
});
