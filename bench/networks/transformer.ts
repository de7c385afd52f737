/** Encoders of the BERT family (Devlin et al., 2019), without embedding and pooler, in the nodes that PyTorch exports. */
import { networkBuilder, WITHOUT_RELU, type Network, type NetworkBuilder, type Value } from './builder.js';

const HIDDEN = 768, INNER = 3072, HEADS = 12, SEQUENCE = 128;

const project = (b: NetworkBuilder, x: Value, out: number): Value => b.linear(x, { out, form: 'matmul', gain: WITHOUT_RELU });

function attention(b: NetworkBuilder, x: Value): Value {
  const [batch, sequence, hidden] = x.shape as [number, number, number], size = hidden / HEADS;
  const heads = (perm: readonly number[]): Value => b.transpose(b.reshape(project(b, x, hidden), [batch, sequence, HEADS, size]), perm);
  const query = heads([0, 2, 1, 3]), key = heads([0, 2, 3, 1]), value = heads([0, 2, 1, 3]);
  const weights = b.softmax(b.divide(b.matmul(query, key), Math.sqrt(size)));
  return project(b, b.reshape(b.transpose(b.matmul(weights, value), [0, 2, 1, 3]), [batch, sequence, hidden]), hidden);
}

/** @param layers 12 is BERT-base */
export function bertEncoder(batch: number, layers = 12): Network {
  const b = networkBuilder();
  let x = b.input('embedding', [batch, SEQUENCE, HIDDEN]);
  for (let i = 0; i < layers; i++) {
    x = b.layerNorm(b.add(x, attention(b, x)));
    x = b.layerNorm(b.add(x, project(b, b.gelu(project(b, x, INNER)), HIDDEN)));
  }
  return b.finish([x]);
}

/** The linear layers of four encoder layers in a chain, with nothing between them: what products alone gain. */
export function bertLinears(batch: number): Network {
  const b = networkBuilder();
  let x = b.input('embedding', [batch * SEQUENCE, HIDDEN]);
  for (let layer = 0; layer < 4; layer++)
    for (const out of [HIDDEN, HIDDEN, HIDDEN, HIDDEN, INNER, HIDDEN]) x = b.linear(x, { out, form: 'matmul', bias: false, gain: WITHOUT_RELU });
  return b.finish([x]);
}
