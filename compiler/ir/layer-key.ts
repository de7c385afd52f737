/** A layer's content as a key: equal for equal work on equal constants, whatever the values and nodes are called. */
import { createHash } from 'node:crypto';
import { tensorHash } from './tensor.js';
import { formatType, operandsOf, valueOf, type Graph, type Node } from './types.js';

/** Hash of a node: operator, attributes, epilogue, types of operands and results, contents of constants. */
export function layerKey(graph: Graph, node: Node): string {
  const operands = operandsOf(node), seen = [...new Set(operands)];
  const describe = (id: number): string => {
    const { type, constant } = valueOf(graph, id);
    return `${seen.indexOf(id)} ${formatType(type)} ${constant ? tensorHash(constant) : ''}`;
  };
  // 64-bit constants in expressions have no JSON form
  const text = JSON.stringify([node.kind, node.attrs, node.epilogue?.expr ?? null, operands.map(describe), node.outputs.map((id) => formatType(valueOf(graph, id).type))],
    (_, x: unknown) => (typeof x === 'bigint' ? `${x}n` : x));
  return createHash('sha256').update(text).digest('hex').slice(0, 24);
}
