/**
 * Products between row-major matrices as straight-line code, for so few rows that they fill one vector: x is transposed into columns
 * in scratch memory, the sums are transposed back.
 */
import { NOTABLE_ZEROS } from '../../../../compiler/ir/analysis.js';
import { elementCount, typeOf, valueOf, type Graph, type Node } from '../../../../compiler/ir/types.js';
import { asIndex, call, constant, ifStmt, nullPointer, pointer, range } from '../../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../../compiler/kir/kernel-builder.js';
import { MAX_ROWS, type StreamFunction, type StreamLanes } from '../../../../compiler/kir/stream.js';
import type { Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule, Refusal } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { sharesOf } from '../shares.js';
import { cyclesOf } from '../stream/cost.js';
import { epilogueOperand, matchEpilogue, type StreamEpilogue } from '../stream/epilogue.js';
import { nonZeros, streamProduct } from '../stream/product.js';
import { rowBlocks } from '../stream/row-blocks.js';
import { rowsStreamCost } from './cost.js';
import { columnFunctions } from './functions.js';
import { withoutWeights } from '../operands.js';
import { lanesFor, rowProduct, throughEpilogue, type RowProduct } from './operands.js';

/** Beyond it the product fills tiles. */
const MOST_ROWS = 16;

/** Bias and clamp, which are applied where the sums are. */
function fusedEpilogue(graph: Graph, node: Node): StreamEpilogue | undefined {
  const { shape } = typeOf(graph, node.outputs[0]!);
  const matched = matchEpilogue(node.epilogue?.expr, (node.epilogue?.inputs ?? []).map((id) => epilogueOperand(valueOf(graph, id), shape)), shape);
  return matched?.residual === undefined ? matched : undefined;
}

export function rowsStreamRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const { graph, node, constants, outputs } = request;
    if (isa.streams.code !== 'avx512' || node.kind !== 'matmul') return [];
    const p = streamProduct(node, node.inputs.map((id) => typeOf(graph, id)), constants[1]);
    if (typeof p === 'string' || outputs[0]!.dtype !== 'f32') return [];
    const operands = rowProduct(request), rows = operands?.x.shape[0] ?? 0;
    if (!operands || rows < 2 || rows > MOST_ROWS) return [];
    const lanes = lanesFor(rows), products = nonZeros(p), density = products / p.weights.length, cost = rowsStreamCost(isa, p, products, lanes, rows);
    const fused = fusedEpilogue(graph, node), none = { bias: new Float32Array(p.rows), clamp: { low: -Infinity, high: Infinity } };
    const functions = (blocks: RowBlocks): StreamFunction[] => columnFunctions({
      columns: p.depth, rows: p.rows, weights: p.weights, blocks, chunk: cost.chunk, lanes, tiles: 1,
      title: node.origins[0]?.node ?? valueOf(graph, node.outputs[0]!).name,
    }, { arithmetic: 'f32', ...(fused ?? none) });
    return [{
      choice: {
        status: products < p.weights.length ? 'sparse-kernel' : 'dense-kernel', kernel: `stream ${lanes}x${MAX_ROWS} on rows`,
        reason: `${(100 * (1 - density)).toFixed(1)} % of the weights are zero: ${products} products of ${rows} rows in straight-line code`,
      },
      nanoseconds: cost.nanoseconds,
      bytes: cost.bytes,
      pack: withoutWeights,
      build: (k) => {
        const blocks = rowBlocks(p, density, MAX_ROWS);
        return buildRows(k, functions(blocks), blocks.length, lanes, { ...operands, epilogue: fused ? undefined : operands.epilogue });
      },
    }];
  };
  const refusals = ({ graph, node, constants }: KernelRequest): Refusal[] => {
    const p = isa.streams.code === 'avx512' ? '' : streamProduct(node, node.inputs.map((id) => typeOf(graph, id)), constants[1]), rows = elementCount(typeOf(graph, node.outputs[0]!).shape.slice(0, -1));
    if (typeof p === 'string' || node.kind !== 'matmul' || rows < 2 || rows > MOST_ROWS || nonZeros(p) > (1 - NOTABLE_ZEROS) * p.weights.length) return [];
    return [{ kernel: 'stream on rows', reason: `code for vectors of few rows is for AVX-512 only, this is ${isa.name}` }];
  };
  return { name: 'rows stream', candidates, refusals };
}

type RowBlocks = ReturnType<typeof rowBlocks>;

/** Threads share the row blocks: whoever began a sum continues it in the next chunk of columns. */
function buildRows(k: KernelBuilder, functions: readonly StreamFunction[], blocks: number, lanes: StreamLanes, { x, y, epilogue }: RowProduct): Stmt[] {
  const [rows, depth] = x.shape as [number, number], n = y.shape[1]!, columns = k.scratch('columns', 'f32', lanes * depth), sums = k.scratch('sums', 'f32', lanes * n);
  const toRows = (param: string): Stmt => call('spc_squares_to_rows', pointer(param), 4 * n, pointer(sums), lanes, rows, 4 * n);
  const { extent, shares } = sharesOf(k, Array.from({ length: blocks }, (_, b) => ({ count: 1, costs: [functions.reduce((s, f, i) => s + (i % blocks === b ? cyclesOf(f) : 0), 0)] })));
  const plain = epilogue && k.scratch('plain', 'f32', rows * n);
  return [
    call('spc_squares_from_rows', pointer(columns), lanes, pointer(x.param), 4 * depth, rows, 4 * depth, constant('i32', 0)),
    range(extent, functions.map((f, i) => ifStmt(shares[i % blocks]![0]!.within().any, [k.callRoutine(f, pointer(columns), asIndex(1), nullPointer, nullPointer, pointer(sums), nullPointer)]))),
    ...(epilogue && plain ? [toRows(plain), ...throughEpilogue(k, y, epilogue, 'f32', plain, { first: asIndex(0), count: asIndex(rows) })] : [toRows(y.param)]),
  ];
}
