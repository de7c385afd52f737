/** ONNX operators that read or write at indices. */
import type { GraphBuilder } from '../ir/build.js';
import type { ScatterReduction } from '../core/scatter.js';
import { NodeProblem } from '../diagnostics/diagnostic.js';
import { tensorOf, toNumbers } from '../ir/tensor.js';
import { elementCount, type Value } from '../ir/types.js';
import { compare, constant, select, sub } from '../kir/build.js';
import { iota, normalAxis, sameDtype } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

/** First element and step of an arithmetic progression that stays in [0, extent); undefined where the numbers are none. */
function progression(values: readonly number[], extent: number): { readonly start: number; readonly step: number } | undefined {
  const start = values[0] ?? 0, step = values.length > 1 ? values[1]! - start : 1;
  const even = step !== 0 && values.every((v, i) => v === start + i * step);
  return even && values.every((v) => v >= 0 && v < extent) ? { start, step } : undefined;
}

/** Slices of `x` along an axis; indices that are known and evenly spaced make it a strided slice, which needs no index at run time. */
export function gatherAlong(g: GraphBuilder, x: Value, indices: Value, axis: number): Value {
  const { shape } = x.type, extent = shape[axis]!;
  if (indices.constant) {
    const values = toNumbers(indices.constant).map((i) => (i < 0 ? i + extent : i));
    const wrong = values.find((i) => i < 0 || i >= extent);
    if (wrong !== undefined) throw new NodeProblem('SPC2006', `index ${wrong} into dimension ${axis}, which has ${extent} element(s)`);
    const even = progression(values, extent);
    if (even) {
      const taken = g.op('slice', [x], {
        starts: shape.map((_, d) => (d === axis ? even.start : 0)),
        steps: shape.map((_, d) => (d === axis ? even.step : 1)),
        shape: shape.map((e, d) => (d === axis ? values.length : e)),
      })[0]!;
      return g.reshape(taken, [...shape.slice(0, axis), ...indices.type.shape, ...shape.slice(axis + 1)]);
    }
  }
  return g.op('gather', [x, indices], { axis })[0]!;
}

const axisOf = (n: OnnxNode, x: Value, fallback = 0): number => normalAxis(n.attr.int('axis', fallback), x.type.shape.length);

const gather = defineOnnxOp({
  op: 'Gather',
  lower(n) {
    const x = n.input(0, 'data');
    return gatherAlong(n.g, x, n.input(1, 'indices'), axisOf(n, x));
  },
});

const gatherElements = defineOnnxOp({
  op: 'GatherElements',
  lower(n) {
    const x = n.input(0, 'data');
    return n.g.op('gatherElements', [x, n.input(1, 'indices')], { axis: axisOf(n, x) });
  },
});

const gatherNd = defineOnnxOp({
  op: 'GatherND',
  lower: (n) => n.g.op('gatherNd', [n.input(0, 'data'), n.input(1, 'indices')], { batchDims: n.attr.int('batch_dims', 0) }),
});

const reductions: Record<string, ScatterReduction> = { none: 'none', add: 'add', mul: 'mul', max: 'max', min: 'min' };

function reductionOf(n: OnnxNode): ScatterReduction {
  const name = n.attr.string('reduction', 'none');
  return reductions[name] ?? n.unsupported(`reduction '${name}'`);
}

/** `Scatter` is the name of opsets 9 and 10. */
const scatterElementsOp = (op: string): OnnxOp => defineOnnxOp({
  op,
  lower(n) {
    const x = n.input(0, 'data'), updates = n.input(2, 'updates');
    sameDtype(x, updates);
    return n.g.op('scatterElements', [x, n.input(1, 'indices'), updates], { axis: axisOf(n, x), reduction: reductionOf(n) });
  },
});

const scatterNd = defineOnnxOp({
  op: 'ScatterND',
  lower: (n) => n.g.op('scatterNd', [n.input(0, 'data'), n.input(1, 'indices'), n.input(2, 'updates')], { reduction: reductionOf(n) }),
});

const compress = defineOnnxOp({
  op: 'Compress',
  limits: 'the condition must be a constant: the output shape depends on it',
  lower(n) {
    const input = n.input(0, 'input'), x = n.attr.has('axis') ? input : n.g.reshape(input, [elementCount(input.type.shape)]);
    const condition = n.constant(1, 'condition') ?? n.input(1, 'condition').constant!;
    const taken = toNumbers(condition).flatMap((c, i) => (c ? [i] : []));
    return gatherAlong(n.g, x, n.g.constant(tensorOf('i64', [taken.length], taken)), axisOf(n, x));
  },
});

/** Element t of sequence b comes from len(b) - 1 - t, and stays where it is behind the sequence's end. */
const reverseSequence = defineOnnxOp({
  op: 'ReverseSequence',
  lower(n) {
    const x = n.input(0, 'input'), lengths = n.input(1, 'sequence_lens'), { shape } = x.type;
    const time = normalAxis(n.attr.int('time_axis', 0), shape.length), batch = normalAxis(n.attr.int('batch_axis', 1), shape.length);
    const perBatch = n.g.reshape(lengths, shape.map((e, d) => (d === batch ? e : 1)));
    const steps = iota(n.g, lengths.type.dtype, shape[time]!, shape.length, time);
    const source = n.g.map([steps, perBatch], (t, length) => select(compare('lt', t, length), sub(sub(length, t), constant(length.type.dtype, 1)), t));
    return n.g.op('gatherElements', [x, source], { axis: time, shape });
  },
});

export const indexingOps: readonly OnnxOp[] = [
  gather, gatherElements, gatherNd, scatterElementsOp('Scatter'), scatterElementsOp('ScatterElements'), scatterNd, compress, reverseSequence,
];
