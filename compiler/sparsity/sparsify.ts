/** Magnitude projection of a whole ONNX model: for trying patterns out. What it does to the accuracy has to be measured. */
import { NodeProblem, SpcError, type Diagnostic } from '../diagnostics/diagnostic.js';
import { sparsityOf } from '../ir/analysis.js';
import { newArray, numberAt, type DenseTensor } from '../ir/tensor.js';
import { decodeMessage, type GraphProto } from '../onnx/proto.js';
import { tensorFromProto } from '../onnx/tensor.js';
import { replaceTensors, toSparse } from '../onnx/write.js';
import { energies, energyKept, type Mask, type Matrix } from './matrix.js';
import { weightsOf, type OnnxWeight } from './onnx-weights.js';
import { namePattern } from './pattern.js';
import { parsePattern, projectSpec, type PatternSpec } from './parse.js';
import { forLargest } from './select.js';
import { toMatrices, toTensorMask } from './view.js';

export interface SparsifyOptions {
  /** For all layers that `layers` does not name; see `parsePattern`. */
  readonly pattern?: string;
  /** Patterns by node or tensor name; `dense` leaves a layer alone. */
  readonly layers?: Readonly<Record<string, string>>;
  /** One magnitude threshold over all layers (unstructured patterns only); each keeps at least 1 %. */
  readonly global?: boolean;
  /** Also layers that no other layer precedes or follows, and depthwise convolutions. */
  readonly includeFirstLast?: boolean;
  /** Write `sparse_initializer` instead of dense tensors. */
  readonly sparseInitializer?: boolean;
  /** Of random graphs (RBGP4). */
  readonly seed?: number;
  /** Folder of the model, for external data. */
  readonly baseDir?: string;
}

export interface SparsifiedLayer {
  readonly node: string;
  readonly op: string;
  readonly tensor: string;
  readonly shape: readonly number[];
  /** As given, and by name with what was made of it. */
  readonly pattern: string;
  readonly name: string;
  /** Share of zeros. */
  readonly before: number;
  readonly after: number;
  /** Share of the squared norm that stays. */
  readonly energy: number;
}

export interface SkippedLayer {
  readonly node: string;
  readonly op: string;
  readonly why: string;
}

export interface Sparsified {
  readonly model: Uint8Array;
  readonly layers: readonly SparsifiedLayer[];
  readonly skipped: readonly SkippedLayer[];
}

/** Of its weights, what a layer keeps under a global threshold at least. */
const FLOOR = 0.01;

interface Chosen { readonly weight: OnnxWeight; readonly spec: PatternSpec; readonly matrices: readonly Matrix[] }

/**
 * Puts the weights of Conv, Gemm and MatMul nodes on patterns, keeping what is largest.
 * @throws SpcError SPC1001 (no model), SPC3001 (bad pattern), SPC3002 (a named layer does not take it), SPC3003 (nothing to do), SPC3004 (unknown layer)
 */
export function sparsifyModel(model: Uint8Array, options: SparsifyOptions): Sparsified {
  const graph = graphOf(model), named = new Map(Object.entries(options.layers ?? {}));
  const { weights, others } = located('', () => weightsOf(graph, options.baseDir));
  const unknown = [...named.keys()].filter((name) => !weights.some((w) => w.node === name || w.tensor === name));
  if (unknown.length > 0) throw new SpcError(unknown.map((name) => unknownLayer(name, weights, others)));

  const skipped: SkippedLayer[] = [...others], chosen: Chosen[] = [];
  for (const weight of weights) {
    const own = named.get(weight.node) ?? named.get(weight.tensor), text = own ?? options.pattern;
    const why = text === undefined ? 'no pattern was given for it' : text === 'dense' ? 'asked for' : own === undefined && !options.includeFirstLast ? exemption(weight) : undefined;
    if (why !== undefined) skipped.push({ node: weight.node, op: weight.op, why });
    else {
      const spec = located(own === undefined ? '' : weight.node, () => parsePattern(text!));
      chosen.push({ weight, spec, matrices: toMatrices(numbersOf(weight.value), weight.view(spec.order)) });
    }
  }
  if (options.global && chosen.some((c) => c.spec.unstructured === undefined)) {
    throw new SpcError([{ code: 'SPC6002', severity: 'error', message: 'a global threshold needs unstructured patterns', hint: 'leave out --global, or give --pattern unstructured:SPARSITY' }]);
  }

  const masks = options.global ? globalMasks(chosen) : undefined;
  const layers: SparsifiedLayer[] = [], tensors = new Map<string, DenseTensor>();
  chosen.forEach(({ weight, spec, matrices }, i) => {
    const isNamed = named.has(weight.node) || named.has(weight.tensor);
    let made: readonly { readonly mask: Mask; readonly name: string }[];
    try {
      made = masks ? masks[i]!.map((mask) => ({ mask, name: 'unstructured' }))
        : matrices.map((m, g) => { const { pattern, mask } = projectSpec(m, spec, streamSeed(options.seed ?? 0, i, g)); return { mask, name: namePattern(pattern, m) }; });
    } catch (error) {
      if (!(error instanceof NodeProblem)) throw error;
      if (isNamed) throw new SpcError([{ code: error.code, severity: 'error', message: error.message, node: weight.node, op: weight.op, shapes: [`[${weight.value.shape.join(',')}]`], ...(error.hint ? { hint: error.hint } : {}) }]);
      skipped.push({ node: weight.node, op: weight.op, why: error.message });
      return;
    }
    const kept = toTensorMask(made.map((m) => m.mask), weight.view(spec.order)), value = keep(weight.value, kept), size = kept.length;
    tensors.set(weight.tensor, value);
    layers.push({
      node: weight.node, op: weight.op, tensor: weight.tensor, shape: weight.value.shape, pattern: spec.text, name: made[0]?.name ?? '',
      before: sparsityOf(weight.value).zeroFraction, after: sparsityOf(value).zeroFraction,
      energy: energyKept({ rows: 1, cols: size, data: numbersOf(weight.value) }, { rows: 1, cols: size, bits: kept }),
    });
  });
  if (layers.length === 0) {
    throw new SpcError([{ code: 'SPC3003', severity: 'error', message: `no layer was changed: ${reasons(skipped)}`, hint: 'include first and last layers (--include-first-last), or choose another pattern' }]);
  }
  // data in files beside the model come inside, so that the new model stands alone
  const external = new Map(graph.initializer.filter((t) => t.dataLocation === 1).map((t) => [t.name, t]));
  const replacement = (name: string): DenseTensor | undefined => {
    const t = external.get(name);
    return tensors.get(name) ?? (t ? located(name, () => tensorFromProto(t, options.baseDir)) : undefined);
  };
  return {
    model: replaceTensors(model, (name) => { const t = replacement(name); return t && options.sparseInitializer && tensors.has(name) ? toSparse(t) : t; }),
    layers, skipped,
  };
}

function graphOf(model: Uint8Array): GraphProto {
  try {
    const { graph } = decodeMessage('ModelProto', model);
    if (graph) return graph;
  } catch { /* said below */ }
  throw new SpcError([{ code: 'SPC1001', severity: 'error', message: 'the bytes are not an ONNX model', hint: 'give the path of an .onnx file' }]);
}

/** Problems of one layer as a diagnostic. */
function located<T>(node: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof NodeProblem)) throw error;
    throw new SpcError([{ code: error.code, severity: 'error', message: error.message, ...(node ? { node } : {}), ...(error.hint ? { hint: error.hint } : {}) }]);
  }
}

const unknownLayer = (name: string, weights: readonly OnnxWeight[], others: readonly SkippedLayer[]): Diagnostic => {
  const other = others.find((o) => o.node === name);
  return {
    code: 'SPC3004', severity: 'error', message: other ? `layer '${name}' cannot be sparsified: ${other.why}` : `there is no layer '${name}'`,
    hint: `layers are ${weights.slice(0, 12).map((w) => w.node).join(', ')}${weights.length > 12 ? `, and ${weights.length - 12} more` : ''}`,
  };
};

/** Layers that a pattern for all leaves alone: few weights that matter much. */
function exemption(w: OnnxWeight): string | undefined {
  if (w.first) return 'it is a first layer';
  if (w.last) return 'it is a last layer';
  return w.depthwise ? 'it is a depthwise convolution' : undefined;
}

function reasons(skipped: readonly SkippedLayer[]): string {
  const counts = new Map<string, number>();
  for (const s of skipped) counts.set(s.why, (counts.get(s.why) ?? 0) + 1);
  return [...counts].map(([why, n]) => `${n} because ${why}`).join('; ') || 'the model has no Conv, Gemm or MatMul with constant weights';
}

const streamSeed = (seed: number, layer: number, group: number): number => (seed + 0x9e3779b9 * layer + 0x85ebca6b * group) >>> 0;

function numbersOf(t: DenseTensor): Float32Array | Float64Array {
  if (t.data instanceof Float32Array || t.data instanceof Float64Array) return t.data;
  const out = new Float32Array(t.data.length);
  for (let i = 0; i < out.length; i++) out[i] = numberAt(t.dtype, t.data, i);
  return out;
}

/** Elements outside of the mask become positive zero. */
function keep(t: DenseTensor, kept: Uint8Array): DenseTensor {
  const data = newArray(t.dtype, t.data.length);
  for (let i = 0; i < data.length; i++) if (kept[i]) data[i] = t.data[i] as never;
  return { ...t, data };
}

/** The largest of all layers; each layer's own best 1 % come first. */
function globalMasks(chosen: readonly Chosen[]): readonly (readonly Mask[])[] {
  const matrices = chosen.flatMap((c) => c.matrices), total = matrices.reduce((s, m) => s + m.data.length, 0);
  const wanted = chosen.reduce((s, c) => s + (1 - c.spec.unstructured!) * c.matrices.reduce((n, m) => n + m.data.length, 0), 0);
  const scores = new Float64Array(total), bits = new Uint8Array(total), scratch = new Float64Array(total);
  let at = 0, floor = 0;
  const masks = matrices.map((m): Mask => {
    const start = at, size = m.data.length;
    floor += Math.ceil(FLOOR * size);
    scores.set(energies(m).data, start);
    forLargest(scores.subarray(start, start + size), size, Math.ceil(FLOOR * size), scratch, (i) => { scores[start + i] = Infinity; });
    at += size;
    return { rows: m.rows, cols: m.cols, bits: bits.subarray(start, start + size) };
  });
  forLargest(scores, total, Math.max(floor, Math.round(wanted)), scratch, (i) => { bits[i] = 1; });
  let next = 0;
  return chosen.map((c) => masks.slice(next, (next += c.matrices.length)));
}
