/**
 * The text form of a graph (`.spcir`). One line a value or node, in order:
 *
 *     graph "name"
 *     input %0 "x" f32[1,4]
 *     const %1 "w" f32[4,2] = [1, 0, 0, 2, ...]          small, embedded (base64) or elided: `sha=0123abcd nnz=5`
 *     n7: %5 "y" f32[1,2] = matmul(%0, %1) {transA: false, ...} epilogue(%2) `max(add(a0:f32, a1:f32), 0:f32)` from "Gemm" "fc1"
 *     output "y" %5
 *
 * Scalar expressions stand in backquotes: `a<i>` is argument i, every leaf carries its type. parse.ts reads it back.
 */
import type { Expr, KType } from '../kir/types.js';
import { sparsityOf } from './analysis.js';
import { formatLayout } from './layout.js';
import { tensorBytes, tensorHash, type Tensor } from './tensor.js';
import { elementCount, formatType, type Graph, type Node, type Value } from './types.js';

export interface PrintOptions {
  /** Contents of constants: `small` prints the short ones and elides the rest, `all` embeds every one. */
  readonly constants?: 'small' | 'all';
}

/** Constants up to this many elements are always printed: they are scalars, shapes and axes that say what the graph means. */
const SMALL = 16;

const typeText = (t: KType): string => (t.lanes === 1 ? t.dtype : `${t.dtype}x${t.lanes}`);

/** A number so that it reads back as itself; bigints end in n. */
function literalText(v: number | bigint): string {
  if (typeof v === 'bigint') return `${v}n`;
  return Object.is(v, -0) ? '-0' : String(v);
}

/** A scalar expression as a nest of calls. */
export function formatExpr(e: Expr): string {
  switch (e.kind) {
    case 'const': return `${literalText(e.value)}:${typeText(e.type)}`;
    case 'arg': return `a${e.index}:${typeText(e.type)}`;
    case 'ref': return `$${e.name}:${typeText(e.type)}`;
    case 'binary': return `${e.op}(${formatExpr(e.a)}, ${formatExpr(e.b)})`;
    case 'compare': return `${e.op}(${formatExpr(e.a)}, ${formatExpr(e.b)})`;
    case 'unary': return `${e.op}(${formatExpr(e.a)})`;
    case 'select': return `select(${formatExpr(e.cond)}, ${formatExpr(e.a)}, ${formatExpr(e.b)})`;
    case 'cast': return `cast<${typeText(e.type)}>(${formatExpr(e.a)})`;
    case 'splat': return `splat<${e.type.lanes}>(${formatExpr(e.a)})`;
    case 'fma': return `fma(${formatExpr(e.a)}, ${formatExpr(e.b)}, ${formatExpr(e.c)})`;
    case 'hsum': return `hsum(${formatExpr(e.a)})`;
    // memory is never read in a graph's expressions: operands come as arguments
    case 'lanes': throw new Error('SPC9002: a vector of scalars in a graph expression');
    case 'load': case 'dot2': throw new Error(`SPC9002: a load of ${e.buffer} in a graph expression`);
  }
}

/** Field names that hold expressions in the attributes of core operators. */
const exprAttributes: ReadonlySet<string> = new Set(['expr', 'map']);

function attrText(value: unknown, field = ''): string {
  if (value === undefined) return 'undefined';
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' || typeof value === 'bigint') return literalText(value);
  if (typeof value === 'boolean' || value === null) return String(value);
  if (Array.isArray(value)) return `[${value.map((v) => attrText(v)).join(', ')}]`;
  if (exprAttributes.has(field)) return `\`${formatExpr(value as Expr)}\``;
  const fields = Object.entries(value as Record<string, unknown>).filter(([, v]) => v !== undefined);
  return `{${fields.map(([k, v]) => `${k}: ${attrText(v, k)}`).join(', ')}}`;
}

/** A node's attributes as printed: equal text, equal attributes. */
export const attributesText = (attrs: unknown): string => attrText(attrs);

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

function constantText(t: Tensor, all: boolean): string {
  const sparse = t.kind === 'sparse' ? 'sparse ' : '';
  if (t.kind === 'dense' && t.data.length <= SMALL) return `= [${Array.from(t.data as ArrayLike<number | bigint>, literalText).join(', ')}]`;
  if (!all) return `${sparse}sha=${tensorHash(t)} nnz=${sparsityOf(t).nnz}/${elementCount(t.shape)}`;
  if (t.kind === 'dense') return `= base64 "${base64(tensorBytes(t))}"`;
  const { buffer, byteOffset, byteLength } = t.values;
  return `= sparse base64 "${base64(new Uint8Array(buffer, byteOffset, byteLength))}" [${t.indices.join(', ')}]`;
}

const declared = (v: Value): string => `%${v.id} ${JSON.stringify(v.name)} ${formatType(v.type)}${v.stored ? ` as ${v.stored}` : ''}${v.layout ? ` @ ${formatLayout(v.layout)}` : ''}`;

function nodeText(graph: Graph, node: Node): string {
  const args = (ids: readonly number[]): string => `(${ids.map((i) => `%${i}`).join(', ')})`;
  const outputs = node.outputs.map((o) => declared(graph.values.get(o)!)).join(', ');
  const epilogue = node.epilogue ? ` epilogue${args(node.epilogue.inputs)} \`${formatExpr(node.epilogue.expr)}\`` : '';
  const origins = node.origins.length ? ` from ${node.origins.map((o) => `${JSON.stringify(o.op)} ${JSON.stringify(o.node)}`).join(', ')}` : '';
  return `n${node.id}: ${outputs} = ${node.kind}${args(node.inputs)} ${attrText(node.attrs)}${epilogue}${origins}`;
}

/** The whole graph as text. */
export function formatGraph(graph: Graph, options: PrintOptions = {}): string {
  const inputs = new Set(graph.inputs);
  const constants = [...graph.values.values()].filter((v) => v.constant && !inputs.has(v.id)).sort((a, b) => a.id - b.id);
  return [
    `graph ${JSON.stringify(graph.name)}`,
    ...graph.inputs.map((id) => `input ${declared(graph.values.get(id)!)}`),
    ...constants.map((v) => `const ${declared(v)} ${constantText(v.constant!, options.constants === 'all')}`),
    ...graph.nodes.map((n) => nodeText(graph, n)),
    ...graph.outputs.map((o) => `output ${JSON.stringify(o.name)} %${o.value}`),
    '',
  ].join('\n');
}
