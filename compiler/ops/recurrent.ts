/**
 * ONNX RNN, GRU and LSTM, unrolled over the static sequence: the products with all inputs are one matmul, the products with the
 * state one matmul a step, so that sparse weights need no kernels of their own here.
 */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { GraphBuilder } from '../ir/build.js';
import { tensorOf, toNumbers } from '../ir/tensor.js';
import type { Value } from '../ir/types.js';
import { add, compare, constant, div, max, min, mul, select, sub, unary } from '../kir/build.js';
import type { Expr } from '../kir/types.js';
import { requireFloat, tableSize } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

/** Steps that are unrolled, over both directions; longer sequences would become too much code. */
const LONGEST = 2048;

type Activation = (x: Expr) => Expr;

/** ONNX's activation functions with their default alpha and beta (undefined: the function has none). */
const activations: Record<string, { readonly alpha?: number; readonly beta?: number; f(x: Expr, alpha: Expr, beta: Expr): Expr }> = {
  relu: { f: (x) => max(x, like(x, 0)) },
  tanh: { f: (x) => unary('tanh', x) },
  sigmoid: { f: (x) => unary('sigmoid', x) },
  softsign: { f: (x) => div(x, add(like(x, 1), unary('abs', x))) },
  softplus: { f: (x) => add(max(x, like(x, 0)), unary('log1p', unary('exp', unary('neg', unary('abs', x))))) },
  affine: { alpha: 1, beta: 0, f: (x, a, b) => add(mul(a, x), b) },
  leakyrelu: { alpha: 0.01, f: (x, a) => select(compare('lt', x, like(x, 0)), mul(a, x), x) },
  thresholdedrelu: { alpha: 1, f: (x, a) => select(compare('gt', x, a), x, like(x, 0)) },
  scaledtanh: { alpha: 1, beta: 1, f: (x, a, b) => mul(a, unary('tanh', mul(b, x))) },
  hardsigmoid: { alpha: 0.2, beta: 0.5, f: (x, a, b) => max(min(add(mul(a, x), b), like(x, 1)), like(x, 0)) },
  elu: { alpha: 1, f: (x, a) => select(compare('lt', x, like(x, 0)), mul(a, unary('expm1', x)), x) },
};
const like = (x: Expr, value: number): Expr => constant(x.type.dtype, value);
const oneMinus = (x: Expr): Expr => sub(like(x, 1), x);

/** The activations of all directions in order; those with parameters take the next given one. */
function activationsOf(n: OnnxNode, fallback: readonly string[], directions: number): Activation[] {
  const names = n.attr.strings('activations', Array.from({ length: directions }, () => fallback).flat());
  if (names.length !== fallback.length * directions) throw new NodeProblem('SPC1006', `${names.length} activations, but ${fallback.length * directions} are needed`);
  const alphas = n.attr.floats('activation_alpha', []), betas = n.attr.floats('activation_beta', []);
  const clip = n.attr.has('clip') ? n.attr.float('clip') : undefined;
  let [nextAlpha, nextBeta] = [0, 0];
  return names.map((name) => {
    const a = activations[name.toLowerCase()] ?? n.unsupported(`activation '${name}'`);
    const alpha = a.alpha === undefined ? 0 : (alphas[nextAlpha++] ?? a.alpha);
    const beta = a.beta === undefined ? 0 : (betas[nextBeta++] ?? a.beta);
    return (x) => {
      const clipped = clip === undefined ? x : max(min(x, like(x, clip)), like(x, -clip));
      return a.f(clipped, like(x, alpha), like(x, beta));
    };
  });
}

/** One direction of a cell: its weights, and what it carries from step to step. */
interface Direction {
  readonly g: GraphBuilder;
  readonly hidden: number;
  readonly activations: readonly Activation[];
  /** R[gates * hidden, hidden]. */
  readonly r: Value;
  /** Biases of the input products and of the state products, [gates * hidden] each. */
  readonly biases: readonly [Value, Value] | undefined;
  /** Peephole weights [3 * hidden] of an LSTM. */
  readonly peepholes: Value | undefined;
}

/** Hidden state, and an LSTM's cell state; undefined is zero. */
type State = readonly (Value | undefined)[];

interface Cell {
  readonly gates: number;
  readonly activations: readonly string[];
  readonly states: 1 | 2;
  /** What of the biases is added to the products of the inputs (all of them, at once). */
  inputBias(d: Direction, n: OnnxNode): Value | undefined;
  /** The state after a step, from `x` [batch, gates * hidden] (input products and biases) and the state before it. */
  step(d: Direction, x: Value, state: State, n: OnnxNode): Value[];
}

/** `count` elements of the last dimension from `from` on. */
function columns(g: GraphBuilder, v: Value, from: number, count: number): Value {
  const { shape } = v.type, last = shape.length - 1;
  if (shape[last] === count) return v;
  return g.op('slice', [v], { starts: shape.map((_, d) => (d === last ? from : 0)), steps: shape.map(() => 1), shape: [...shape.slice(0, last), count] })[0]!;
}

/** Element `i` of the first dimension. */
function part(g: GraphBuilder, v: Value, i: number): Value {
  const { shape } = v.type, rest = shape.slice(1);
  if (shape[0] === 1) return g.reshape(v, rest);
  return g.reshape(g.op('slice', [v], { starts: shape.map((_, d) => (d === 0 ? i : 0)), steps: shape.map(() => 1), shape: [1, ...rest] })[0]!, rest);
}

/** x W^T. */
const product = (g: GraphBuilder, x: Value, w: Value): Value => g.op('matmul', [x, w], { transA: false, transB: true, out: x.type.dtype })[0]!;
const summed = (g: GraphBuilder, a: Value, b: Value | undefined): Value => (b ? g.map([a, b], add) : a);
const stateProduct = (d: Direction, h: Value | undefined, from: number, gates: number): Value | undefined => {
  if (!h) return undefined;
  const rows = d.r.type.shape[0] === gates * d.hidden ? d.r
    : d.g.op('slice', [d.r], { starts: [from * d.hidden, 0], steps: [1, 1], shape: [gates * d.hidden, d.hidden] })[0]!;
  return product(d.g, h, rows);
};
const bothBiases = (d: Direction): Value | undefined => d.biases && d.g.map(d.biases, add);

const rnn: Cell = {
  gates: 1,
  states: 1,
  activations: ['Tanh'],
  inputBias: bothBiases,
  step: (d, x, [h]) => [d.g.map([summed(d.g, x, stateProduct(d, h, 0, 1))], d.activations[0]!)],
};

/** Gates z, r, h. */
const gru: Cell = {
  gates: 3,
  states: 1,
  activations: ['Sigmoid', 'Tanh'],
  inputBias(d, n) {
    if (!d.biases || !n.attr.int('linear_before_reset', 0)) return bothBiases(d);
    // the state bias of gate h stays inside the product with r
    const outside = d.g.op('concat', [columns(d.g, d.biases[1], 0, 2 * d.hidden), zeros(d.g, d.biases[1], d.hidden)], { axis: 0 })[0]!;
    return d.g.map([d.biases[0], outside], add);
  },
  step(d, x, [h], n) {
    const { g, hidden } = d, [f, tanh] = [d.activations[0]!, d.activations[1]!];
    const fromInput = columns(g, x, 2 * hidden, hidden);
    const resetLast = n.attr.int('linear_before_reset', 0) !== 0;
    const all = resetLast ? stateProduct(d, h, 0, 3) : undefined;
    const inner = resetLast ? h && columns(g, all!, 2 * hidden, hidden) : undefined;
    const zr = summed(g, columns(g, x, 0, 2 * hidden), all ? columns(g, all, 0, 2 * hidden) : stateProduct(d, h, 0, 2));
    const z = columns(g, zr, 0, hidden), r = columns(g, zr, hidden, hidden);
    const bias = d.biases && columns(g, d.biases[1], 2 * hidden, hidden);
    let candidate: Value;
    if (!resetLast) candidate = summed(g, fromInput, h && stateProduct(d, g.map([r, h], (a, b) => mul(f(a), b)), 2, 1));
    else if (inner && bias) candidate = g.map([fromInput, r, inner, bias], (a, b, c, e) => add(a, mul(f(b), add(c, e))));
    else if (inner) candidate = g.map([fromInput, r, inner], (a, b, c) => add(a, mul(f(b), c)));
    else candidate = bias ? g.map([fromInput, r, bias], (a, b, c) => add(a, mul(f(b), c))) : fromInput;
    if (!h) return [g.map([z, candidate], (a, c) => mul(oneMinus(f(a)), tanh(c)))];
    return [g.map([z, candidate, h], (a, c, old) => add(mul(oneMinus(f(a)), tanh(c)), mul(f(a), old)))];
  },
};

/** Gates i, o, f, c; peepholes i, o, f. */
const lstm: Cell = {
  gates: 4,
  states: 2,
  activations: ['Sigmoid', 'Tanh', 'Tanh'],
  inputBias: bothBiases,
  step(d, x, [h, c], n) {
    const { g, hidden } = d, [f, tanh, outer] = [d.activations[0]!, d.activations[1]!, d.activations[2]!];
    const all = summed(g, x, stateProduct(d, h, 0, 4));
    const gate = (i: number): Value => columns(g, all, i * hidden, hidden);
    const peeped = (i: number, from: Value | undefined, peephole: number): Value =>
      d.peepholes && from ? g.map([gate(i), columns(g, d.peepholes, peephole * hidden, hidden), from], (a, p, s) => add(a, mul(p, s))) : gate(i);
    const input = peeped(0, c, 0), candidate = gate(3);
    const coupled = n.attr.int('input_forget', 0) !== 0;
    const written = (i: Expr, e: Expr): Expr => mul(f(i), tanh(e));
    const cell = !c ? g.map([input, candidate], written)
      : coupled ? g.map([input, candidate, c], (i, e, old) => add(mul(oneMinus(f(i)), old), written(i, e)))
      : g.map([input, candidate, c, peeped(2, c, 2)], (i, e, old, forget) => add(mul(f(forget), old), written(i, e)));
    return [g.map([peeped(1, cell, 1), cell], (o, s) => mul(f(o), outer(s))), cell];
  },
};

const zeros = (g: GraphBuilder, model: Value, count: number): Value => g.constant(tensorOf(model.type.dtype, [count], new Array<number>(tableSize(count)).fill(0)), 'zeros');

/** Runs a direction; returns the hidden state after every step, in the order of time, and the last state. */
function run(n: OnnxNode, cell: Cell, d: Direction, x: Value, w: Value, initial: State, lengths: Value | undefined, backwards: boolean) {
  const { g } = n, [steps, batch, inputs] = x.type.shape as [number, number, number], width = cell.gates * d.hidden;
  const bias = cell.inputBias(d, n);
  const products = g.reshape(summed(g, product(g, g.reshape(x, [steps * batch, inputs]), w), bias), [steps, batch, width]);
  const outputs: Value[] = [];
  let state: State = initial;
  for (let s = 0; s < steps; s++) {
    const t = backwards ? steps - 1 - s : s;
    let next: readonly Value[] = cell.step(d, part(g, products, t), state, n);
    let output = next[0]!;
    if (lengths) {
      // beyond the end of a sequence its state stays, and its outputs are zero
      const valid = (e: Expr): Expr => compare('lt', constant(e.type.dtype, t), e);
      const kept = (v: Value, old: Value | undefined): Value => old
        ? g.map([lengths, v, old], (l, a, b) => select(valid(l), a, b))
        : g.map([lengths, v], (l, a) => select(valid(l), a, like(a, 0)));
      output = kept(next[0]!, undefined);
      next = next.map((v, i) => kept(v, state[i]));
    }
    state = next;
    outputs[t] = output;
  }
  return { outputs, last: state as readonly Value[] };
}

function directionsOf(n: OnnxNode): readonly boolean[] {
  const direction = n.attr.string('direction', 'forward');
  if (direction === 'forward') return [false];
  if (direction === 'reverse') return [true];
  return direction === 'bidirectional' ? [false, true] : n.unsupported(`direction='${direction}'`);
}

function recurrent(n: OnnxNode, cell: Cell): (Value | undefined)[] {
  const { g } = n, batchFirst = n.attr.int('layout', 0) !== 0, backwards = directionsOf(n);
  const swapped = (v: Value): Value => (batchFirst ? g.transpose(v, [1, 0, 2]) : v);
  const x = swapped(n.input(0, 'X')), w = n.input(1, 'W'), r = n.input(2, 'R'), b = n.optional(3), p = n.optional(7);
  requireFloat(x);
  const hidden = r.type.shape[2] ?? 0, [steps, batch] = x.type.shape as [number, number];
  const wanted = [backwards.length, cell.gates * hidden];
  if (x.type.shape.length !== 3 || [w, r].some((v) => v.type.shape.length !== 3 || wanted.some((e, d) => v.type.shape[d] !== e)) || w.type.shape[2] !== x.type.shape[2]) {
    throw new NodeProblem('SPC2004', `weights [${w.type.shape.join(',')}] and [${r.type.shape.join(',')}] do not fit inputs [${x.type.shape.join(',')}]`);
  }
  if (steps * backwards.length > LONGEST) n.unsupported(`${steps} steps in ${backwards.length} direction(s): sequences are unrolled, up to ${LONGEST} steps`, 'bind a shorter sequence length and run the model piece by piece');
  if (steps === 0) n.unsupported('an empty sequence');
  const fs = activationsOf(n, cell.activations, backwards.length);
  const given = n.optional(4), full = given?.constant && toNumbers(given.constant).every((l) => l >= steps);
  const lengths = given && !full ? g.reshape(given, [batch, 1]) : undefined;
  const initial = [n.optional(5), cell.states === 2 ? n.optional(6) : undefined].slice(0, cell.states).map((v) => v && swapped(v));
  const results = backwards.map((reverse, i) => {
    const bias = b && part(g, b, i), width = cell.gates * hidden, count = cell.activations.length;
    const d: Direction = {
      g, hidden, r: part(g, r, i), activations: fs.slice(i * count, (i + 1) * count),
      biases: bias && [columns(g, bias, 0, width), columns(g, bias, width, width)],
      peepholes: p && part(g, p, i),
    };
    return run(n, cell, d, x, part(g, w, i), initial.map((v) => v && part(g, v, i)), lengths, reverse);
  });
  const joined = (values: readonly Value[], axis: number): Value => (values.length === 1 ? values[0]! : g.op('concat', values, { axis })[0]!);
  // all outputs: [steps, directions, batch, hidden], or [batch, steps, directions, hidden]
  const sequence = (): Value => {
    const y = joined(Array.from({ length: steps }, (_, t) => joined(results.map((d) => g.reshape(d.outputs[t]!, [1, 1, batch, hidden])), 1)), 0);
    return batchFirst ? g.transpose(y, [2, 0, 1, 3]) : y;
  };
  const last = (s: number): Value => swapped(joined(results.map((d) => g.reshape(d.last[s]!, [1, batch, hidden])), 0));
  return [n.usesOutput(0) ? sequence() : undefined, ...Array.from({ length: cell.states }, (_, s) => (n.usesOutput(s + 1) ? last(s) : undefined))];
}

const recurrentOp = (op: string, cell: Cell): OnnxOp =>
  defineOnnxOp({ op, limits: `at most ${LONGEST} steps`, lower: (n) => recurrent(n, cell) });

export const recurrentOps: readonly OnnxOp[] = [recurrentOp('RNN', rnn), recurrentOp('GRU', gru), recurrentOp('LSTM', lstm)];
