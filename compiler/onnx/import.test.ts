import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { float, node, onnxModel, sparseOf, type GraphSpec, type ModelSpec, type NodeSpec } from '../../test/support/onnx-builder.js';
import { SpcError, type Diagnostic } from '../diagnostics/diagnostic.js';
import { codes } from '../diagnostics/codes.js';
import { tensorOf, toNumbers, type Tensor } from '../ir/tensor.js';
import { formatType, valueOf } from '../ir/types.js';
import { evaluateGraph } from '../kir/evaluate.js';
import { importModel, type ImportOptions, type ImportResult } from './import.js';

const f32 = (shape: number[], numbers: number[]): Tensor & { kind: 'dense' } => tensorOf('f32', shape, numbers);
const x3 = { x: { dtype: 'f32', shape: [3] } } as const;
const load = (m: ModelSpec, options: ImportOptions = {}): ImportResult => importModel({ bytes: onnxModel(m) }, options);
const run = (m: ModelSpec, inputs: Tensor[], options: ImportOptions = {}): number[][] => evaluateGraph(load(m, options).graph, inputs).map(toNumbers);

function errors(f: () => unknown): readonly Diagnostic[] {
  try {
    f();
  } catch (e) {
    if (!(e instanceof SpcError)) throw e;
    const found = e.diagnostics.filter((d) => d.severity === 'error');
    for (const d of found) {
      expect(d.code in codes, `${d.code} is in the table of codes`).toBe(true);
      expect(d.hint, `${d.code} has a hint`).toBeTruthy();
    }
    return found;
  }
  throw new Error('the import succeeded');
}
const problems = (m: ModelSpec, options: ImportOptions = {}): string[] => errors(() => load(m, options)).map((d) => `${d.code} ${d.node ?? '-'}`);

test('a small model: names, types, information', () => {
  const { graph, info, diagnostics } = load({
    inputs: x3, outputs: { y: { dtype: 'f32', shape: [3] } }, initializers: { b: f32([3], [1, 2, 3]) },
    nodes: [node('Add', ['x', 'b'], ['s'], {}, { name: 'sum' }), node('Relu', ['s'], ['y'])],
  });
  expect(graph.outputs.map((o) => [o.name, valueOf(graph, o.value).name, formatType(valueOf(graph, o.value).type)])).toEqual([['y', 'y', 'f32[3]']]);
  expect(graph.nodes.map((n) => n.origins)).toEqual([[{ node: 'sum', op: 'Add' }], [{ node: 'y', op: 'Relu' }]]);
  expect(info).toMatchObject({ producer: 'spc-test', irVersion: 8, opsets: { '': 17 }, operators: { Add: 1, Relu: 1 }, inputs: [{ name: 'x', dtype: 'f32', dims: [3] }] });
  expect(info.sha256).toMatch(/^[0-9a-f]{64}$/);
  expect(diagnostics).toEqual([]);
  expect(evaluateGraph(graph, [f32([3], [-2, 0, 2])]).map(toNumbers)).toEqual([[0, 2, 5]]);
});

test('outputs may be constants, inputs, or one value under two names', () => {
  const m: ModelSpec = { inputs: x3, outputs: ['x', 'c', 'a', 'b'], initializers: { c: f32([1], [7]) }, nodes: [node('Neg', ['x'], ['a']), node('Identity', ['a'], ['b'])] };
  expect(run(m, [f32([3], [1, 2, 3])])).toEqual([[1, 2, 3], [7], [-1, -2, -3], [-1, -2, -3]]);
});

test('nodes may come in any order', () => {
  const n = 3000; // long enough to overflow the stack of a recursive sort
  const chain = Array.from({ length: n }, (_, i) => node('Neg', [i === 0 ? 'x' : `v${i}`], [`v${i + 1}`])).reverse();
  const { graph } = load({ inputs: x3, outputs: [`v${n}`], nodes: chain });
  expect(graph.nodes.map((x) => valueOf(graph, x.outputs[0]!).name)).toEqual(Array.from({ length: n }, (_, i) => `v${i + 1}`));
});

test('IR 3 lists initialisers among the inputs; later they are defaults, and a bound value wins', () => {
  const m: ModelSpec = { inputs: { ...x3, b: { dtype: 'f32', shape: [3] } }, outputs: ['y'], initializers: { b: f32([3], [1, 1, 1]) }, nodes: [node('Add', ['x', 'b'], ['y'])] };
  expect(load({ ...m, irVersion: 3 }).diagnostics).toEqual([]);
  expect(load(m).diagnostics.map((d) => d.code)).toEqual(['SPC1021']);
  expect(load(m).info.inputs.map((i) => i.name)).toEqual(['x']);
  expect(run(m, [f32([3], [1, 2, 3])])).toEqual([[2, 3, 4]]);
  expect(run(m, [f32([3], [1, 2, 3])], { bind: { b: f32([3], [5, 5, 5]) } })).toEqual([[6, 7, 8]]);
});

test('Constant in all its forms, 64-bit integers exactly', () => {
  const big = 2n ** 53n + 1n;
  const forms: [Record<string, NonNullable<NodeSpec['attributes']>[string]>, string, unknown[]][] = [
    [{ value: f32([2], [1, 2]) }, 'f32[2]', [1, 2]], [{ value_float: float(2) }, 'f32[]', [2]], [{ value_floats: float([1, 2]) }, 'f32[2]', [1, 2]],
    [{ value_int: big }, 'i64[]', [big]], [{ value_ints: [1, 2] }, 'i64[2]', [1n, 2n]], [{ value_ints: [] }, 'i64[0]', []],
  ];
  for (const [attributes, type, expected] of forms) {
    const { graph } = load({ outputs: ['c'], nodes: [node('Constant', [], ['c'], attributes)] });
    const value = valueOf(graph, graph.outputs[0]!.value);
    expect(formatType(value.type)).toBe(type);
    expect(value.constant?.kind === 'dense' && [...value.constant.data]).toEqual(expected);
  }
  expect(problems({ outputs: ['c'], nodes: [node('Constant', [], ['c'], { value_string: 'text' })] })).toEqual(['SPC1013 c']);
  expect(problems({ outputs: ['c'], nodes: [node('Constant', [], ['c'])] })).toEqual(['SPC1006 c']);
});

test('sparse constants stay sparse until a layout is chosen', () => {
  const w = sparseOf(f32([3, 2], [0, 1, 0, 0, 2, 0]));
  const { graph } = load({ inputs: { x: { dtype: 'f32', shape: [1, 3] } }, outputs: ['y', 'z'], initializers: { w }, nodes: [node('Constant', [], ['v'], { sparse_value: w }), node('MatMul', ['x', 'w'], ['y']), node('MatMul', ['x', 'v'], ['z'])] });
  expect([...graph.values.values()].filter((v) => v.constant).map((v) => [v.name, v.constant!.kind])).toEqual([['w', 'sparse'], ['v', 'sparse']]);
  expect(evaluateGraph(graph, [f32([1, 3], [1, 2, 3])]).map(toNumbers)).toEqual([[6, 1], [6, 1]]);
});

const image = (shape: (number | string | null)[]): ModelSpec => ({ inputs: { x: { dtype: 'f32', shape } }, outputs: ['y'], nodes: [node('Relu', ['x'], ['y'])] });
const typeOfX = (r: ImportResult): string => formatType(valueOf(r.graph, r.graph.inputs[0]!).type);

test('symbolic dimensions are bound by name or by input and axis; the batch is 1 unless bound', () => {
  const m = image(['batch', 3, 'h', null]);
  const one = load(m, { dims: { h: 8, 'x:3': 9 } });
  expect(typeOfX(one)).toBe('f32[1,3,8,9]');
  expect(one.diagnostics.map((d) => `${d.severity} ${d.code} ${d.message}`)).toEqual(["note SPC1012 dimension 'batch' of input 'x' is not bound; it is taken as 1"]);
  expect(typeOfX(load(m, { dims: { batch: 4, 'x:2': 8, 'x:3': 9 } }))).toBe('f32[4,3,8,9]');
  expect(typeOfX(load(image([null, 3])))).toBe('f32[1,3]');
  const [h, w] = errors(() => load(m));
  expect(h).toMatchObject({ code: 'SPC1011', message: "dimension 2 of input 'x' ('h') is not known", hint: 'add --dim h=VALUE' });
  expect(w).toMatchObject({ code: 'SPC1011', hint: 'add --dim x:3=VALUE' });
  expect(load(image([2]), { dims: { n: 1 } }).diagnostics.map((d) => `${d.severity} ${d.code}`)).toEqual(['warning SPC1019']);
  expect(problems(image([2]), { dims: { 'x:0': 3 } })).toEqual(['SPC1011 -']);
  expect(problems(image(['n']), { dims: { n: -1 } })).toEqual(['SPC1011 -']);
  expect(problems(image(['n']), { dims: { n: 2 ** 40 } })).toEqual(['SPC1015 -']);
});

test('the batch name binds the other inputs too', () => {
  const m: ModelSpec = { inputs: { x: { dtype: 'f32', shape: ['n', 2] }, s: { dtype: 'f32', shape: [2, 'n', 4] } }, outputs: ['y', 't'], nodes: [node('Relu', ['x'], ['y']), node('Relu', ['s'], ['t'])] };
  const { graph } = load(m);
  expect(graph.inputs.map((i) => formatType(valueOf(graph, i).type))).toEqual(['f32[1,2]', 'f32[2,1,4]']);
});

test('an input without a shape takes one from the options; a zero extent is questioned', () => {
  const m: ModelSpec = { inputs: { x: { dtype: 'f32' } }, outputs: ['y'], nodes: [node('Relu', ['x'], ['y'])] };
  expect(typeOfX(load(m, { dims: { 'x:0': 2, 'x:1': 5 } }))).toBe('f32[2,5]');
  expect(problems(m)).toEqual(['SPC1011 -']);
  expect(typeOfX(load(image([0, 2])))).toBe('f32[0,2]');
  expect(load(image([0, 2])).diagnostics.map((d) => `${d.severity} ${d.code}`)).toEqual(['warning SPC1017']);
  expect(typeOfX(load(image([0, 2]), { dims: { 'x:0': 3 } }))).toBe('f32[3,2]');
});

test('inputs bound to values: they bind dimensions and must fit', () => {
  const m: ModelSpec = { inputs: { x: { dtype: 'f32', shape: [1, 'n'] }, s: { dtype: 'f32', shape: ['n'] } }, outputs: ['y'], nodes: [node('Add', ['x', 's'], ['y'])] };
  const { graph } = load(m, { bind: { s: f32([3], [1, 2, 3]) } });
  expect(graph.inputs.map((i) => formatType(valueOf(graph, i).type))).toEqual(['f32[1,3]']);
  expect(evaluateGraph(graph, [f32([1, 3], [1, 1, 1])]).map(toNumbers)).toEqual([[2, 3, 4]]);
  expect(problems(m, { bind: { s: f32([3], [1, 2, 3]) }, dims: { n: 4 } })).toContain('SPC1017 -');
  expect(problems(m, { bind: { s: tensorOf('i32', [3], [1, 2, 3]) }, dims: { n: 3 } })).toContain('SPC1017 -');
});

const scaled = { name: 'Scaled', domain: 'local', inputs: ['a', 'b'], outputs: ['r'], attributes: ['alpha'], defaults: { beta: float(3) },
  nodes: [node('LeakyRelu', ['a'], ['l'], { alpha: { ref: 'alpha', type: 'FLOAT' } }), node('Constant', [], ['k'], { value_float: { ref: 'beta', type: 'FLOAT' } }), node('Mul', ['l', 'k'], ['r'])] };
const local = { opset: { '': 17, local: 1 } };

test('model-local functions are inlined with their attributes and defaults, also one in another', () => {
  const call = (attributes: NodeSpec['attributes'], domain = 'local', op = 'Scaled'): ModelSpec => ({
    ...local, inputs: x3, outputs: ['y'], nodes: [node(op, ['x'], ['y'], attributes, { domain, name: 'call' })],
    functions: [scaled, { name: 'Twice', domain: 'local', inputs: ['a'], outputs: ['r'], attributes: ['alpha'], opsets: { '': 17, local: 1 },
      nodes: [node('Scaled', ['a'], ['r1'], { alpha: { ref: 'alpha', type: 'FLOAT' }, beta: float(2) }, { domain: 'local' }), node('Add', ['r1', 'r1'], ['r'])] }],
  });
  const x = [f32([3], [-2, 0, 4])];
  expect(run(call({ alpha: float(0.5) }), x)).toEqual([[-3, 0, 12]]);
  expect(run(call({ alpha: float(0.5), beta: float(1) }), x)).toEqual([[-1, 0, 4]]);
  expect(run(call({ alpha: float(0.5) }, 'local', 'Twice'), x)).toEqual([[-4, 0, 16]]);
  expect(load(call({ alpha: float(0.5) }, 'local', 'Twice')).graph.nodes.map((n) => n.origins[0]!.node)).toContain('call/r1/l');
});

test('recursive functions and functions that grow without bounds are refused', () => {
  const f = (name: string, nodes: NodeSpec[]): NonNullable<ModelSpec['functions']>[number] => ({ name, domain: 'local', inputs: ['a'], outputs: ['r'], nodes, opsets: { '': 17, local: 1 } });
  const call = (op: string, from: string, to: string): NodeSpec => node(op, [from], [to], {}, { domain: 'local' });
  expect(problems({ ...local, inputs: x3, outputs: ['y'], nodes: [call('A', 'x', 'y')], functions: [f('A', [call('B', 'a', 'r')]), f('B', [call('A', 'a', 'r')])] })).toEqual(['SPC1010 y/r/r']);
  const doubling = Array.from({ length: 40 }, (_, i) => f(`F${i}`, i === 39 ? [node('Neg', ['a'], ['r'])] : [call(`F${i + 1}`, 'a', 't'), call(`F${i + 1}`, 't', 'r')]));
  expect(problems({ ...local, inputs: x3, outputs: ['y'], nodes: [call('F0', 'x', 'y')], functions: doubling }).map((p) => p.slice(0, 7))).toEqual(['SPC1020']);
}, 60_000);

const branch = (op: string): GraphSpec => ({ nodes: [node(op, ['x', 'w'], ['t'])], initializers: { w: f32([1], [2]) }, outputs: ['t'] });
const choice = (cond: GraphSpec['initializers'], nodes: NodeSpec[] = []): ModelSpec => ({
  inputs: x3, outputs: ['y'], initializers: cond ?? {}, nodes: [...nodes, node('If', ['c'], ['y'], { then_branch: branch('Mul'), else_branch: branch('Sub') }, { name: 'choice' })],
});

test('If with a constant condition takes one branch, which sees the names outside', () => {
  expect(run(choice({ c: tensorOf('bool', [], [1]) }), [f32([3], [1, 2, 3])])).toEqual([[2, 4, 6]]);
  expect(run(choice({ c: tensorOf('bool', [1], [0]) }), [f32([3], [1, 2, 3])])).toEqual([[-1, 0, 1]]);
  const folded = choice({ three: tensorOf('i64', [1], [3]) }, [node('Shape', ['x'], ['s']), node('Equal', ['s', 'three'], ['c'])]);
  expect(run(folded, [f32([3], [1, 2, 3])])).toEqual([[2, 4, 6]]);
  const open = choice({ three: f32([], [3]) }, [node('ReduceSum', ['x'], ['s'], { keepdims: 0 }), node('Less', ['s', 'three'], ['c'])]);
  expect(problems(open)).toEqual(['SPC1005 choice']);
});

test('all problems of a model are reported at once, each with its node', () => {
  const found = problems({
    inputs: x3, outputs: ['y', 'none'], initializers: { w: f32([2], [1, 2]) },
    nodes: [
      node('Frobnicate', ['x'], ['a'], {}, { name: 'first' }), node('Frobnicate', ['a'], ['b'], {}, { name: 'second' }), node('Other', ['x'], ['c'], {}, { domain: 'com.example', name: 'foreign' }),
      node('Add', ['x', 'missing'], ['d'], {}, { name: 'dangling' }), node('Add', ['x', 'w'], ['e'], {}, { name: 'mismatch' }), node('Transpose', ['x'], ['f'], { perm: 'text' }, { name: 'attribute' }),
      node('Relu', ['x'], ['y']), node('Neg', ['x'], ['y'], {}, { name: 'again' }), node('Add', ['p', 'x'], ['q'], {}, { name: 'round' }), node('Neg', ['q'], ['p'], {}, { name: 'about' }), node('Relu', [], ['g'], {}, { name: 'empty' }),
    ],
  });
  expect(found.sort()).toEqual(['SPC1003 first', 'SPC1003 foreign', 'SPC1006 attribute', 'SPC1007 empty', 'SPC1008 -', 'SPC1008 dangling', 'SPC1009 -', 'SPC1010 -', 'SPC2002 mismatch'].sort());
});

test('an unsupported operator names operator, domain, opset and its nodes', () => {
  const [d] = errors(() => load({ inputs: x3, outputs: ['y'], nodes: [node('Frobnicate', ['x'], ['a']), node('Frobnicate', ['a'], ['y'])] }));
  expect(d!.message).toBe('operator Frobnicate of ai.onnx opset 17 is not supported, used by 2 nodes (a, y)');
});

test('versions', () => {
  expect(problems({ ...image([1]), opset: 5 })).toEqual(['SPC1002 -']);
  expect(problems({ ...image([1]), irVersion: 2 })).toEqual(['SPC1002 -']);
  expect(load({ ...image([1]), opset: 23 }).diagnostics.map((d) => `${d.severity} ${d.code}`)).toEqual(['warning SPC1002']);
  expect(problems({ ...image([1]), opset: { 'com.example': 1 } })).toEqual(['SPC1002 y']);
});

test('declared outputs that differ from what is computed', () => {
  expect(problems({ ...image([2]), outputs: { y: { dtype: 'i32', shape: [2] } } })).toEqual(['SPC1018 -']);
  expect(load({ ...image([2]), outputs: { y: { dtype: 'f32', shape: [3] } } }).diagnostics.map((d) => `${d.severity} ${d.code}`)).toEqual(['warning SPC1018']);
});

test('duplicate inputs, initialisers and outputs', () => {
  const twice: ModelSpec = { inputs: x3, outputs: ['y', 'y'], initializers: { y: f32([1], [1]) }, nodes: [node('Relu', ['x'], ['y'], {}, { name: 'r' })] };
  expect(problems(twice)).toEqual(['SPC1009 -', 'SPC1009 -']);
});

test('what is not a model says so', () => {
  const not = (bytes: Uint8Array): string[] => errors(() => importModel({ bytes })).map((d) => d.code);
  expect(not(new Uint8Array(0))).toEqual(['SPC1001']);
  expect(not(new TextEncoder().encode('<html><body>404 not found</body></html>'))).toEqual(['SPC1001']);
  const good = onnxModel(image([2]));
  for (let end = 1; end < good.length; end++) expect(() => importModel({ bytes: good.subarray(0, end) })).toThrow(SpcError);
});

const models = new URL('../../../shared/models/', import.meta.url).pathname;
const files = existsSync(models) ? (readdirSync(models, { recursive: true }) as string[]).filter((f) => f.endsWith('.onnx')).sort() : [];
/** Dimensions that have no default. */
const dims: Record<string, Record<string, number>> = { ppocrv4: { 'p2o.DynamicDimension.1': 64, 'p2o.DynamicDimension.2': 64 }, 'silero-vad': { sequence: 512 } };

test.skipIf(files.length === 0).each(files)('the model %s imports', (file) => {
  const path = join(models, file);
  const options = { dims: dims[file.split('/')[0]!] ?? {}, ...(file.startsWith('silero') ? { bind: { sr: tensorOf('i64', [], [16000]) } } : {}) };
  const { graph, diagnostics } = importModel({ bytes: readFileSync(path), baseDir: dirname(path) }, options);
  expect(graph.outputs.length).toBeGreaterThan(0);
  expect(diagnostics.filter((d) => d.severity === 'warning')).toEqual([]);
});

test('opset 6: training unless is_test, second operands placed by axis', () => {
  const norm = (attributes: NodeSpec['attributes']): ModelSpec => ({
    opset: 6, inputs: { x: { dtype: 'f32', shape: [1, 2] } }, outputs: ['y'], initializers: { one: f32([2], [1, 1]), zero: f32([2], [0, 0]) },
    nodes: [node('BatchNormalization', ['x', 'one', 'zero', 'zero', 'one'], ['y'], { epsilon: float(0), ...attributes })],
  });
  expect(problems(norm({}))).toEqual(['SPC1004 y']);
  expect(run(norm({ is_test: 1 }), [f32([1, 2], [3, 4])])[0]!.map((y) => y.toFixed(4))).toEqual(['3.0000', '4.0000']);
  const add: ModelSpec = { opset: 6, inputs: { x: { dtype: 'f32', shape: [2, 2] } }, outputs: ['y'], initializers: { b: f32([2], [10, 20]) }, nodes: [node('Add', ['x', 'b'], ['y'], { broadcast: 1, axis: 0 })] };
  expect(run(add, [f32([2, 2], [1, 2, 3, 4])])).toEqual([[11, 12, 23, 24]]);
});
