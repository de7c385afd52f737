/** Networks with their weights put on a sparsity pattern. */
import { NodeProblem } from '../compiler/diagnostics/diagnostic.js';
import { denseTensor, denseData } from '../compiler/ir/tensor.js';
import { convView, linearView, parsePattern, projectSpec, toMatrices, toTensorMask, type Matrix, type PatternSpec, type View } from '../compiler/sparsity/index.js';
import type { Network, Weight } from './networks/builder.js';

export interface Pruned {
  readonly network: Network;
  /** Layers that were to be pruned but whose sizes the pattern does not fit; they stay dense. */
  readonly unfit: readonly string[];
}

export interface Counts {
  readonly elements: number;
  readonly nonZeros: number;
  /** Multiply-adds of an inference on non-zero weights and between activations. */
  readonly macs: number;
}

const viewOf = (shape: readonly number[], w: Weight, order: View['order']): View =>
  (shape.length > 2 ? convView(shape, 'oihw', 1, order) : linearView(shape, w.outputAxis === 0 ? 'rows' : 'cols'));

/**
 * The pattern for a layer of so many outputs: blocks higher than that would take whole inputs away, and with them the layer before, so that zeros
 * are single elements there.
 */
const patternFor = (pattern: string, outputs: number): string => {
  const block = /^block:(\d+)x\d+:(.+)$/.exec(pattern);
  return block && Number(block[1]) > outputs ? `unstructured:${block[2]}` : pattern;
};

/** Does the pattern not fit a matrix of this size? */
const isUnfit = (error: unknown): boolean => error instanceof NodeProblem && error.code === 'SPC3002';

/**
 * The matrix with the best block of every row of blocks raised above all others, where the pattern chooses blocks (or elements) in the whole
 * matrix: each output then keeps something, as far as there is room. Random weights would lose whole filters otherwise, which
 * training does not let happen, and which a compiler removes and a library computes: no comparison of how fast they multiply.
 */
export function withBestRaised(matrix: Matrix, spec: PatternSpec, seed: number): Matrix {
  const { rows, cols, data } = matrix, pattern = spec.resolve(matrix, seed);
  if (pattern.kind !== 'leaf' || pattern.part[0] * pattern.block[0] < rows || pattern.part[1] * pattern.block[1] < cols) return matrix;
  const [height, width] = pattern.block, raised = Float32Array.from(data);
  let total = 0;
  for (const x of data) total += x * x;
  const cells = (top: number, left: number): number[] => {
    const at: number[] = [];
    for (let y = top; y < Math.min(top + height, rows); y++) for (let x = left; x < Math.min(left + width, cols); x++) at.push(y * cols + x);
    return at;
  };
  for (let top = 0; top < rows; top += height) {
    let best: readonly number[] = [], most = -1;
    for (let left = 0; left < cols; left += width) {
      const block = cells(top, left), energy = block.reduce((sum, i) => sum + data[i]! ** 2, 0);
      if (energy > most) [best, most] = [block, energy];
    }
    for (const i of best) raised[i] = Math.abs(data[i]!) + Math.sqrt(total);
  }
  return { ...matrix, data: raised };
}

/**
 * Projects every weight that may be pruned onto the pattern, leaving each output something, and scales what is left to the variance that there was, as training
 * would (of integers, what they are multiplied by): activations keep their size, whatever the sparsity.
 * @param pattern as `spc sparsify --pattern` takes it
 * @throws NodeProblem SPC3001 where the text is no pattern
 */
export function prune(network: Network, pattern: string): Pruned {
  const { initializers = {} } = network.model, changed = { ...initializers }, unfit: string[] = [];
  if (pattern === 'dense') return { network, unfit };
  parsePattern(pattern);
  for (const [seed, w] of network.weights.entries()) {
    if (!w.prune) continue;
    const { shape } = initializers[w.name]!, spec = parsePattern(patternFor(pattern, shape[w.outputAxis]!)), integers = w.scale === undefined ? undefined : denseData(initializers[w.name]!) as Int8Array;
    const data = integers ? Float32Array.from(integers) : denseData(initializers[w.name]!) as Float32Array, view = viewOf(shape, w, spec.order);
    try {
      const kept = toTensorMask(toMatrices(data, view).map((m) => projectSpec(withBestRaised(m, spec, seed), spec, seed).mask), view);
      let energy = 0, left = 0;
      data.forEach((x, i) => {
        energy += x * x;
        if (kept[i]) left += x * x;
      });
      const scale = Math.sqrt(energy / left);
      if (integers) {
        changed[w.name] = denseTensor('i8', shape, integers.map((x, i) => (kept[i] ? x : 0)));
        changed[w.scale!] = denseTensor('f32', [], (denseData(initializers[w.scale!]!) as Float32Array).map((s) => s * scale));
      } else changed[w.name] = denseTensor('f32', shape, data.map((x, i) => (kept[i] ? x * scale : 0)));
    } catch (error) {
      if (!isUnfit(error)) throw error;
      unfit.push(w.name);
    }
  }
  return { network: { ...network, model: { ...network.model, initializers: changed } }, unfit };
}

/** What is left to do. */
export function countsOf({ model, weights, activationMacs }: Network): Counts {
  const each = weights.map((w) => {
    const data = denseData(model.initializers![w.name]!) as Float32Array;
    let nonZeros = 0;
    for (const x of data) if (x !== 0) nonZeros++;
    return { elements: data.length, nonZeros, macs: nonZeros * w.uses };
  });
  const sum = (f: (c: Counts) => number): number => each.reduce((s, c) => s + f(c), 0);
  return { elements: sum((c) => c.elements), nonZeros: sum((c) => c.nonZeros), macs: sum((c) => c.macs) + activationMacs };
}
