/** Multi-layer perceptrons and single layers. */
import { networkBuilder, WITHOUT_RELU, type Network, type Value } from './builder.js';

/** DLRM (Naumov et al., 2019) in the shape of MLPerf, its 26 embedding vectors being inputs: two perceptrons and pairwise products. */
export function dlrmMlp(batch: number): Network {
  const b = networkBuilder(), size = 128, features = 26, vectors = features + 1;
  const perceptron = (x: Value, widths: readonly number[]): Value => widths.reduce((v, out) => b.relu(b.linear(v, { out })), x);
  const bottom = perceptron(b.input('dense', [batch, 13]), [512, 256, size]);
  const all = b.concat([b.reshape(bottom, [batch, 1, size]), b.input('embeddings', [batch, features, size])], 1);
  // sums of 128 products: back to the size of the other features
  const products = b.divide(b.matmul(all, b.transpose(all, [0, 2, 1])), Math.sqrt(size));
  const pairs = Array.from({ length: vectors * vectors }, (_, i) => i).filter((i) => i % vectors < Math.floor(i / vectors));
  const interactions = b.gather(b.reshape(products, [batch, vectors * vectors]), pairs, 1);
  const top = perceptron(b.concat([bottom, interactions], 1), [1024, 1024, 512, 256]);
  return b.finish([b.linear(top, { out: 1, prune: false })]);
}

/** Weights of a chain of equal layers together: beyond it a peer would read its dense weights from DRAM, which one layer alone does not. */
const CHAIN_BYTES = 20 << 20, LONGEST_CHAIN = 4;

/**
 * Layers of one size in a chain, so that turning the input into a kernel's layout and back weighs as little as in a network: as
 * many as stay in the last-level cache densely, at most four.
 * @param widths features from input to output, repeated; first and last are equal
 */
function chain(widths: readonly number[], add: (x: Value, out: number) => Value, input: Value): Value {
  const steps = widths.slice(1), bytes = steps.reduce((s, out, i) => s + 4 * out * widths[i]!, 0);
  const repeats = Math.max(1, Math.min(Math.floor(CHAIN_BYTES / bytes), Math.floor(LONGEST_CHAIN / steps.length)));
  return Array.from({ length: repeats }, () => steps).flat().reduce(add, input);
}

/** Linear layers on a batch of vectors. */
export function linearLayers(widths: readonly number[], batch: number): Network {
  const b = networkBuilder();
  return b.finish([chain(widths, (x, out) => b.linear(x, { out, gain: WITHOUT_RELU }), b.input('x', [batch, widths[0]!]))]);
}

/** The same in 8-bit integers: u8 activations, s8 weights. */
export function integerLayers(widths: readonly number[], batch: number): Network {
  const b = networkBuilder();
  return b.finish([chain(widths, (x, out) => b.integerLinear(x, { out }), b.input('x', [batch, widths[0]!], 'u8'))], { low: 0, high: 255 });
}

/** 1x1 convolutions on an image of size x size pixels. */
export function pointwiseLayers(widths: readonly number[], size: number, batch: number): Network {
  const b = networkBuilder();
  return b.finish([chain(widths, (x, out) => b.conv(x, { out, kernel: 1, gain: WITHOUT_RELU }), b.input('x', [batch, widths[0]!, size, size]))]);
}
