/** ONNX operators that only move elements: other shapes, orders, parts, copies and borders. */
import { NodeProblem } from '../diagnostics/diagnostic.js';
import type { GraphBuilder } from '../ir/build.js';
import type { PadMode } from '../core/pad.js';
import { elementCount, type Value } from '../ir/types.js';
import { tensorOf } from '../ir/tensor.js';
import { allInputs, intsParam, normalAxes, normalAxis, requiredInts, tableSize } from './params.js';
import { defineOnnxOp, type OnnxNode, type OnnxOp } from './types.js';

/** `v` with elements [start, start + extent) of dimension `axis`. */
export function narrow(g: GraphBuilder, v: Value, axis: number, start: number, extent: number): Value {
  const { shape } = v.type;
  return start === 0 && extent === shape[axis] ? v : g.op('slice', [v], {
    starts: shape.map((_, d) => (d === axis ? start : 0)),
    steps: shape.map(() => 1),
    shape: shape.map((e, d) => (d === axis ? extent : e)),
  })[0]!;
}

const reshape = defineOnnxOp({
  op: 'Reshape',
  lower(n) {
    const x = n.input(0, 'data'), from = x.type.shape, keepZeros = n.attr.int('allowzero', 0) !== 0;
    const wanted = requiredInts(n, 1, 'shape').map((e, d) => (e === 0 && !keepZeros ? from[d] ?? 0 : e));
    const known = elementCount(wanted.filter((e) => e !== -1)), open = wanted.filter((e) => e === -1).length;
    const rest = known === 0 ? 0 : elementCount(from) / known;
    if (open > 1 || wanted.some((e) => e < -1) || (open === 1 && !Number.isInteger(rest))) {
      throw new NodeProblem('SPC2005', `cannot reshape [${from.join(',')}] to [${wanted.join(',')}]`);
    }
    return n.g.reshape(x, wanted.map((e) => (e === -1 ? rest : e)));
  },
});

const flatten = defineOnnxOp({
  op: 'Flatten',
  lower(n) {
    const x = n.input(0, 'input'), { shape } = x.type, axis = n.attr.int('axis', 1), at = axis < 0 ? axis + shape.length : axis;
    return n.g.reshape(x, [elementCount(shape.slice(0, at)), elementCount(shape.slice(at))]);
  },
});

const squeeze = defineOnnxOp({
  op: 'Squeeze',
  lower(n) {
    const x = n.input(0, 'data'), { shape } = x.type, given = intsParam(n, 1, 'axes');
    const axes = given ? normalAxes(given, shape.length) : shape.flatMap((e, d) => (e === 1 ? [d] : []));
    const large = axes.find((a) => shape[a] !== 1);
    if (large !== undefined) throw new NodeProblem('SPC2005', `dimension ${large} of [${shape.join(',')}] is not 1 and cannot be removed`);
    return n.g.reshape(x, shape.filter((_, d) => !axes.includes(d)));
  },
});

const unsqueeze = defineOnnxOp({
  op: 'Unsqueeze',
  lower(n) {
    const x = n.input(0, 'data'), given = requiredInts(n, 1, 'axes'), rank = x.type.shape.length + given.length;
    const axes = normalAxes(given, rank), old = [...x.type.shape];
    return n.g.reshape(x, Array.from({ length: rank }, (_, d) => (axes.includes(d) ? 1 : old.shift()!)));
  },
});

const transpose = defineOnnxOp({
  op: 'Transpose',
  lower(n) {
    const x = n.input(0, 'data'), order = x.type.shape.map((_, d) => d), perm = n.attr.ints('perm', [...order].reverse());
    if (perm.length !== order.length || order.some((d) => !perm.includes(d))) {
      throw new NodeProblem('SPC2007', `perm [${perm.join(',')}] is not a permutation of ${order.length} dimensions`);
    }
    return n.g.transpose(x, perm);
  },
});

/** Numpy's meaning of start:end:step in a dimension of `extent` elements. */
function sliceRange(start: number, end: number, step: number, extent: number): { readonly start: number; readonly count: number } {
  if (step === 0) throw new NodeProblem('SPC2006', 'a slice with step 0');
  const fromEnd = (i: number): number => (i < 0 ? i + extent : i);
  const [low, high] = step > 0 ? [0, extent] : [-1, extent - 1];
  const clamp = (i: number): number => Math.min(Math.max(fromEnd(i), low), high);
  const first = clamp(start), last = clamp(end);
  return { start: first, count: Math.max(0, Math.ceil((last - first) / step)) };
}

const slice = defineOnnxOp({
  op: 'Slice',
  limits: 'starts, ends, axes and steps must be constants',
  lower(n) {
    const x = n.input(0, 'data'), { shape } = x.type;
    const starts = requiredInts(n, 1, 'starts'), ends = requiredInts(n, 2, 'ends');
    const axes = (intsParam(n, 3, 'axes') ?? starts.map((_, i) => i)).map((a) => normalAxis(a, shape.length)), steps = n.ints(4, 'steps');
    const ranges = shape.map((extent, d) => {
      const i = axes.indexOf(d);
      const step = i < 0 ? 1 : steps?.[i] ?? 1;
      return { step, ...(i < 0 ? { start: 0, count: extent } : sliceRange(starts[i]!, ends[i]!, step, extent)) };
    });
    if (ranges.every((r, d) => r.step === 1 && r.count === shape[d])) return x;
    return n.g.op('slice', [x], {
      starts: ranges.map((r) => (r.count === 0 ? 0 : r.start)),
      steps: ranges.map((r) => r.step),
      shape: ranges.map((r) => r.count),
    });
  },
});

/** Extents of the parts: given, or `num_outputs` (one an output before opset 18) equal ones of which the last may be smaller. */
function splitExtents(n: OnnxNode, extent: number): number[] {
  const given = intsParam(n, 1, 'split');
  if (given) {
    if (given.length !== n.outputCount || given.reduce((a, b) => a + b, 0) !== extent) {
      throw new NodeProblem('SPC2006', `split [${given.join(',')}] does not divide ${extent} elements among ${n.outputCount} output(s)`);
    }
    return given;
  }
  const parts = n.attr.int('num_outputs', n.outputCount), part = Math.ceil(extent / parts);
  return Array.from({ length: tableSize(parts) }, (_, i) => Math.max(0, Math.min(part, extent - i * part)));
}

const split = defineOnnxOp({
  op: 'Split',
  lower(n) {
    const x = n.input(0, 'input'), axis = normalAxis(n.attr.int('axis', 0), x.type.shape.length);
    let start = 0;
    return splitExtents(n, x.type.shape[axis]!).map((extent, i) => {
      const from = start;
      start += extent;
      return n.usesOutput(i) ? narrow(n.g, x, axis, from, extent) : undefined;
    });
  },
});

const concat = defineOnnxOp({
  op: 'Concat',
  lower(n) {
    const inputs = allInputs(n), axis = normalAxis(n.attr.int('axis', 1), n.input(0, 'inputs').type.shape.length);
    return inputs.length === 1 ? inputs[0]! : n.g.op('concat', inputs, { axis });
  },
});

const expand = defineOnnxOp({ op: 'Expand', lower: (n) => n.g.expand(n.input(0, 'input'), requiredInts(n, 1, 'shape')) });

/** Each dimension gets one before it, which is expanded. */
const tile = defineOnnxOp({
  op: 'Tile',
  lower(n) {
    const x = n.input(0, 'input'), { shape } = x.type, repeats = requiredInts(n, 1, 'repeats');
    if (repeats.length !== shape.length) throw new NodeProblem('SPC2007', `${repeats.length} repeats for [${shape.join(',')}]`);
    if (repeats.every((r) => r === 1)) return x;
    const spread = n.g.reshape(x, shape.flatMap((e) => [1, e]));
    return n.g.reshape(n.g.expand(spread, shape.flatMap((e, d) => [repeats[d]!, e])), shape.map((e, d) => repeats[d]! * e));
  },
});

/** Adds (or, where negative, removes) elements at the beginning and end of every dimension. */
export function padded(g: GraphBuilder, v: Value, before: readonly number[], after: readonly number[], mode: PadMode = 'constant', value?: Value): Value {
  const cut = v.type.shape.reduce((x, extent, d) => {
    const low = Math.max(0, -before[d]!), high = Math.max(0, -after[d]!);
    return narrow(g, x, d, low, extent - low - high);
  }, v);
  const attrs = { mode, before: before.map((p) => Math.max(0, p)), after: after.map((p) => Math.max(0, p)) };
  if ([...attrs.before, ...attrs.after].every((p) => p === 0)) return cut;
  return g.op('pad', value && mode === 'constant' ? [cut, value] : [cut], attrs)[0]!;
}

const padModes: Record<string, PadMode> = { constant: 'constant', edge: 'edge', reflect: 'reflect', wrap: 'wrap' };

const pad = defineOnnxOp({
  op: 'Pad',
  lower(n) {
    const x = n.input(0, 'data'), { shape, dtype } = x.type, pads = requiredInts(n, 1, 'pads');
    const axes = (n.ints(3, 'axes') ?? shape.map((_, d) => d)).map((a) => normalAxis(a, shape.length));
    if (pads.length !== 2 * axes.length) throw new NodeProblem('SPC2007', `${pads.length} pads for ${axes.length} dimension(s)`, 'two are needed for each');
    const at = (d: number, end: number): number => (axes.includes(d) ? pads[axes.indexOf(d) + end * axes.length]! : 0);
    const name = n.attr.string('mode', 'constant'), mode = padModes[name] ?? n.unsupported(`mode '${name}'`);
    const value = n.optional(2) ?? (n.attr.has('value') ? n.g.constant(tensorOf(dtype, [], [n.attr.float('value')])) : undefined);
    return padded(n.g, x, shape.map((_, d) => at(d, 0)), shape.map((_, d) => at(d, 1)), mode, value);
  },
});

/** Cuts or pads around the middle; of an odd number of elements, the extra one is cut from or added at the end. */
const centerCropPad = defineOnnxOp({
  op: 'CenterCropPad',
  lower(n) {
    const x = n.input(0, 'input_data'), { shape } = x.type, wanted = requiredInts(n, 1, 'shape');
    const axes = n.attr.ints('axes', shape.map((_, d) => d)).map((a) => normalAxis(a, shape.length));
    const missing = shape.map((e, d) => (axes.includes(d) ? wanted[axes.indexOf(d)]! - e : 0));
    const before = missing.map((m) => Math.sign(m) * Math.floor(Math.abs(m) / 2) || 0);
    return padded(n.g, x, before, missing.map((m, d) => m - before[d]!));
  },
});

/** Moves blocks between depth and space: a reshape, a permutation, a reshape. */
function blocks(n: OnnxNode): { x: Value; b: number; shape: [number, number, number, number] } {
  const x = n.input(0, 'input'), b = n.attr.int('blocksize'), { shape } = x.type;
  if (shape.length !== 4 || b < 1) throw new NodeProblem('SPC2007', `blocks of ${b} in [${shape.join(',')}]`, 'four dimensions N, C, H, W are needed');
  return { x, b, shape: shape as unknown as [number, number, number, number] };
}

const depthToSpace = defineOnnxOp({
  op: 'DepthToSpace',
  lower(n) {
    const { x, b, shape: [batch, c, h, w] } = blocks(n), crd = n.attr.string('mode', 'DCR') === 'CRD', depth = c / (b * b);
    const spread = n.g.reshape(x, crd ? [batch, depth, b, b, h, w] : [batch, b, b, depth, h, w]);
    return n.g.reshape(n.g.transpose(spread, crd ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]), [batch, depth, h * b, w * b]);
  },
});

const spaceToDepth = defineOnnxOp({
  op: 'SpaceToDepth',
  lower(n) {
    const { x, b, shape: [batch, c, h, w] } = blocks(n);
    const spread = n.g.reshape(x, [batch, c, h / b, b, w / b, b]);
    return n.g.reshape(n.g.transpose(spread, [0, 3, 5, 1, 2, 4]), [batch, c * b * b, h / b, w / b]);
  },
});

export const movementOps: readonly OnnxOp[] = [
  reshape, flatten, squeeze, unsqueeze, transpose, slice, split, concat, expand, tile, pad, centerCropPad, depthToSpace, spaceToDepth,
];
