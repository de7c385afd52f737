/** Sparse (and dense) products between tile layouts as straight-line code. */
import { tapsOf } from '../../../../compiler/core/window.js';
import { LANES, phaseVectors, vectorStride, type Layout } from '../../../../compiler/ir/layout.js';
import { valueOf } from '../../../../compiler/ir/types.js';
import { nullPointer, pointer, asIndex } from '../../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { StreamFunction } from '../../../../compiler/kir/stream.js';
import type { Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { clearStatements, haloStatements } from '../tiles/finish.js';
import { costOf } from './cost.js';
import { matchEpilogue, type EpilogueOperand } from './epilogue.js';
import { chunkColumns, streamFunctions } from './functions.js';
import { productGeometry } from './geometry.js';
import { streamProduct } from './product.js';
import { rowOrder } from './row-order.js';

/** Elements between the first tile of `r` and that of the segment, where `y` is at `at`: same grid, own halo and pitch. */
function residualAt(r: Layout, y: Layout, at: number): number {
  const vector = at / vectorStride(y);
  if (r.over === 'pixels' && y.over === 'pixels') {
    const grid = Math.floor(vector / phaseVectors(y)), own = vector % phaseVectors(y) - y.before;
    return (grid * phaseVectors(r) + r.before + own) * vectorStride(r);
  }
  if (r.over === 'images' && y.over === 'images') {
    const column = vector % y.columns - y.left, line = Math.floor(vector / y.columns), row = line % y.rows - y.top, group = Math.floor(line / y.rows);
    return ((group * r.rows + row + r.top) * r.columns + column + r.left) * vectorStride(r);
  }
  throw new Error('SPC9003: a residual in another kind of tiles than its sum');
}

/** True where a residual can be walked in step with the output. */
const besides = (r: Layout, y: Layout, joined: boolean): boolean =>
  r.over === 'pixels' ? y.over === 'pixels' && r.phases === y.phases && r.rows === y.rows && r.columns === y.columns
    : y.over === 'images' && (!joined || (r.rows === y.rows && r.columns === y.columns && r.top === y.top && r.left === y.left));

export function streamRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const { graph, node, inputs, outputs, constants } = request, x = inputs[0]!, y = outputs[0]!;
    if (!x.layout || !y.layout) return [];
    const product = streamProduct(node, inputs, constants[1]);
    if (typeof product === 'string') return [];
    const geometry = productGeometry(product.window, x.layout, y.layout);
    if (typeof geometry === 'string') return [];
    const operands = (node.epilogue?.inputs ?? []).map((id): EpilogueOperand => {
      const v = valueOf(graph, id);
      return v.constant ? { kind: 'constant', tensor: v.constant } : { kind: 'computed', shape: v.type.shape };
    });
    const epilogue = matchEpilogue(node.epilogue?.expr, operands, y.shape);
    if (!epilogue) return [];
    const residual = epilogue.residual === undefined ? undefined : request.epilogue!.inputs[epilogue.residual]!;
    if (residual && (!residual.layout || !besides(residual.layout, y.layout, geometry.segments.length === 1))) return [];
    const taps = tapsOf(product.window).length, tiles = geometry.segments.reduce((n, s) => n + s.tiles, 0) / geometry.places.length;
    const cost = costOf(isa, product, tiles * geometry.places.length, geometry.places.length), { density } = cost;
    const plan = {
      product, geometry, yStep: 4 * vectorStride(y.layout), order: rowOrder(product), chunk: chunkColumns(density, taps),
      finish: { bias: epilogue.bias, clamp: epilogue.clamp, ...(residual ? { residualStep: 4 * vectorStride(residual.layout!) } : {}) },
      title: node.origins[0]?.node ?? valueOf(graph, node.outputs[0]!).name,
    };
    const zeros = Math.round(1000 * (1 - density)) / 10;
    return [{
      choice: {
        status: density < 1 ? 'sparse-kernel' : 'dense-kernel', kernel: `stream ${LANES}x31`,
        reason: `${zeros} % of the weights are zero: ${cost.products} products a tile in straight-line code, predicted ${Math.round(cost.nanoseconds / 100) / 10} us`,
      },
      nanoseconds: cost.nanoseconds,
      // the weights are in the code: what stays of the operand is nothing
      pack: () => new Map([[1, { kind: 'dense', dtype: 'f32', shape: [0], data: new Float32Array(0) }]]),
      ...(residual ? { inPlace: [node.inputs.length + epilogue.residual!] } : {}),
      finishes: true,
      build: (k) => buildCalls(k, x, y, residual, geometry, (phase, prefix) => streamFunctions(plan, phase, prefix)),
    }];
  };
  return { name: 'stream', tiles: true, candidates };
}

/** Every function of a phase on all of its segments before the next function: code and weights are read once. */
function buildCalls(k: KernelBuilder, x: TensorRef, y: TensorRef, residual: TensorRef | undefined, geometry: Exclude<ReturnType<typeof productGeometry>, string>,
  functionsOf: (phase: number, prefix: string) => readonly StreamFunction[]): Stmt[] {
  const masks = geometry.maskCount === 0 ? undefined
    : k.constant('masks', { kind: 'dense', dtype: 'u16', shape: [geometry.masks.length], data: geometry.masks });
  const calls = geometry.places.flatMap((_, phase) => {
    const segments = geometry.segments.filter((s) => s.phase === phase);
    return functionsOf(phase, geometry.places.length > 1 ? `p${phase}_` : 's').flatMap((f) => segments.map((s) => k.callStream(f,
      pointer(x.param, s.x), asIndex(s.tiles), masks === undefined ? nullPointer : pointer(masks, s.masks * geometry.maskCount), nullPointer, pointer(y.param, s.y),
      residual ? pointer(residual.param, residualAt(residual.layout!, y.layout!, s.y)) : nullPointer)));
  });
  // lanes outside the image are masked in the code; margins around images are not of its tiles
  return [...calls, ...(y.layout!.over === 'pixels' ? haloStatements(k, y) : clearStatements(k, y))];
}
