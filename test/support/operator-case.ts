/** One-node models: evaluated by spc's reference evaluator and by ONNX Runtime, compared element by element. */
import type * as Ort from 'onnxruntime-node';
import { isFloat, type DType } from '../../compiler/ir/dtype.js';
import { tensorOf, toNumbers, type Tensor } from '../../compiler/ir/tensor.js';
import { elementCount, formatType } from '../../compiler/ir/types.js';
import { evaluateGraph } from '../../compiler/kir/evaluate.js';
import { importModel } from '../../compiler/onnx/import.js';
import { compareTensors, type Tolerance } from './compare.js';
import { node, onnxModel, type NodeSpec } from './onnx-builder.js';
import { runOnnxRuntime } from './onnxruntime.js';

/** An operator with its inputs: run-time ones are { run }, the others initialisers; undefined leaves an optional input out. */
export interface OperatorCase {
  readonly op: string;
  readonly inputs: readonly (Tensor | { readonly run: Tensor } | undefined)[];
  readonly attributes?: NodeSpec['attributes'];
  readonly outputs?: number;
  readonly opset?: number;
  readonly domain?: string;
  /** Relative 1e-4 and absolute 1e-5 for floats where it is not given; integers are equal up to `steps` (0). */
  readonly tolerance?: Tolerance;
  readonly steps?: number;
}

/** Numbers in [0, 1), always the same for a seed (mulberry32). */
export function generator(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b9);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomTensor(dtype: DType, shape: readonly number[], low = -2, high = 2, seed = 1): Tensor {
  const random = generator(seed);
  const values = Array.from({ length: elementCount(shape) }, () => low + random() * (high - low));
  return tensorOf(dtype, shape, isFloat(dtype) ? values : values.map(Math.floor));
}

const isRun = (x: OperatorCase['inputs'][number]): x is { readonly run: Tensor } => x !== undefined && 'run' in x;

export const caseLabel = (c: OperatorCase): string =>
  `${c.op}-${c.opset ?? 17} ${c.inputs.map((x) => (x === undefined ? '-' : formatType(isRun(x) ? x.run : x))).join(' ')} ${JSON.stringify(c.attributes ?? {})}`;

/** The first difference between spc and ONNX Runtime in words, or undefined. */
export async function differenceFromOnnxRuntime(ort: typeof Ort, c: OperatorCase): Promise<string | undefined> {
  const names = c.inputs.map((x, i) => (x === undefined ? '' : `x${i}`));
  const outputs = Array.from({ length: c.outputs ?? 1 }, (_, i) => `y${i}`);
  const runtime = c.inputs.flatMap((x, i) => (isRun(x) ? [[names[i]!, x.run] as const] : []));
  const model = onnxModel({
    opset: { '': c.opset ?? 17, ...(c.domain ? { [c.domain]: 1 } : {}) },
    inputs: Object.fromEntries(runtime.map(([name, t]) => [name, { dtype: t.dtype, shape: t.shape }])),
    initializers: Object.fromEntries(c.inputs.flatMap((x, i) => (x === undefined || isRun(x) ? [] : [[names[i]!, x]]))),
    nodes: [node(c.op, names, outputs, c.attributes, c.domain ? { domain: c.domain } : {})],
    outputs,
  });
  const expected = await runOnnxRuntime(ort, model, Object.fromEntries(runtime));
  const actual = evaluateGraph(importModel({ bytes: model }).graph, runtime.map(([, t]) => t));
  for (const [i, name] of outputs.entries()) {
    const e = expected[name]!, a = actual[i]!;
    const { problem, maxError } = compareTensors(a, e, c.tolerance ?? { relative: 1e-4, absolute: 1e-5 });
    if (problem && !(c.steps !== undefined && maxError <= c.steps)) {
      return `${name} ${problem}: ${toNumbers(a).slice(0, 12).join(' ')} against ${toNumbers(e).slice(0, 12).join(' ')}`;
    }
  }
  return undefined;
}
