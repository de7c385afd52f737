/** Windows over the pixels of each channel, and sums over all of them. */
import { tapRange, type WindowAttrs } from '../../../../compiler/core/spatial.js';
import type { PoolAttrs } from '../../../../compiler/core/pool.js';
import { reachOf, tapsOf, windowOf, type Window } from '../../../../compiler/core/window.js';
import { gridVectors, LANES, phaseVectors, vectorsOf, vectorStride, type ImageTiles, type Layout, type PixelTiles } from '../../../../compiler/ir/layout.js';
import { add, asIndex, assign, call, cast, constant, div, forLoop, hsum, load, max, min, mod, mul, pointer, ref, splat, store, sub, varStmt, vector, vload } from '../../../../compiler/kir/build.js';
import type { KernelBuilder, TensorRef } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { outputOf, storeElement } from '../vector.js';
import { epilogueInTiles, overChannels, placeAddress, type TileExpression } from './expression.js';
import { clearStatements, gridsOf, haloStatements, isFull, phaseOf, vectorOfGrid, vectorOfImages } from './finish.js';
import { geometryOf, isAddressable } from './relayout.js';
import { foldVectors } from './rows.js';

/** Most taps that the runtime's pool keeps addresses of. */
const MOST_TAPS = 64;

/** As the runtime numbers them. */
const poolModes = { max: 0, sum: 1, average: 2, 'average over padding': 3 } as const;

const spatialOf = (l: Layout): readonly [number, number] => [l.height, l.width];

/** True where every pixel that the window reads lies in the halo or phases that x has. */
function reaches(w: Window, x: PixelTiles, y: PixelTiles): boolean {
  const reach = reachOf(w, y.phases, x.columns);
  return w.stride[0] === w.stride[1] && x.phases === w.stride[0] * y.phases && x.rows === y.rows && x.columns === y.columns && x.images === y.images
    && reach.before <= x.before && reach.after <= x.after && isAddressable(x) && isAddressable(y);
}

function poolPixels(k: KernelBuilder, isa: Isa, attrs: PoolAttrs, w: Window, after: readonly [number, number], xRef: TensorRef, yRef: TensorRef, x: PixelTiles, y: PixelTiles, e: TileExpression, plain: boolean): Stmt[] {
  const size = gridVectors(y), perImage = x.phases * x.phases * phaseVectors(x) * vectorStride(x);
  const mode = poolModes[attrs.mode === 'average' && attrs.countIncludePad ? 'average over padding' : attrs.mode];
  return [
    ...k.forEach([gridsOf(y) * size], ([i]) => {
      const grid = div(i!, size), v = mod(i!, size), [py, px] = phaseOf(y, grid), at = vectorOfGrid(y, grid, v);
      const from = add(mul(div(grid, y.phases * y.phases), perImage), x.before * vectorStride(x)), number = add(mul(grid, phaseVectors(y)), add(v, y.before));
      return [
        call('spc_tiles_pool', pointer(yRef.param, at), pointer(xRef.param, from), mode, y.channels, vectorStride(x), phaseVectors(x), ...spatialOf(x), ...w.kernel, w.stride[0], ...w.dilation, ...w.before, ...after, v, py, px, ...geometryOf(y)),
        ...(plain ? [] : overChannels(k, isa, y.channels, number, (p) => [store(yRef.param, placeAddress(y, p, isa.lanes), e.value(p, vload(yRef.param, vector('f32', isa.lanes), placeAddress(y, p, isa.lanes))))])),
      ];
    }),
    ...(plain || e.keepsZeros ? [] : clearStatements(k, yRef)), ...haloStatements(k, yRef),
  ];
}

/** Lanes are images: a window is the same for all of them, as in a plain loop. */
function poolImages(k: KernelBuilder, isa: Isa, attrs: PoolAttrs, w: Window, after: readonly [number, number], xRef: TensorRef, yRef: TensorRef, x: ImageTiles, y: ImageTiles, e: TileExpression): Stmt[] {
  const type = vector('f32', isa.lanes), isMax = attrs.mode === 'max';
  const window: WindowAttrs = { strides: w.stride, dilations: w.dilation, pads: [[w.before[0], after[0]], [w.before[1], after[1]]] };
  return [
    ...k.forEach([Math.ceil(y.images / LANES) * y.height, y.width], ([line, ox]) => {
      const group = div(line!, y.height), at = [mod(line!, y.height), ox!], extents = spatialOf(y), input = spatialOf(x);
      const range = (d: number, low: number, high: number): { first: Expr; last: Expr } => tapRange(window, d, at[d]!, extents[d]!, w.kernel[d]!, low, high);
      const taps = [0, 1].map((d) => range(d, 0, input[d]!)), bounds = taps.map((t) => ({ first: k.let('first', t.first), last: k.let('last', t.last) }));
      const counted = [0, 1].map((d) => (attrs.countIncludePad ? range(d, -w.before[d]!, input[d]! + after[d]!) : taps[d]!)).map((t) => sub(t.last, t.first));
      const share = k.let('share', div(constant('f32', 1), cast(max(1, mul(counted[0]!, counted[1]!)), 'f32')));
      const number = add(mul(add(mul(group, y.rows), add(at[0]!, y.top)), y.columns), add(ox!, y.left));
      return [
        ...bounds.flatMap((b) => [b.first.declare, b.last.declare]), ...(attrs.mode === 'average' ? [share.declare] : []),
        ...overChannels(k, isa, y.channels, number, (p) => {
          const value = k.name('value'), [ky, kx] = [k.name('ky'), k.name('kx')] as const, current = ref(value, type);
          const source = [ky, kx].map((t, d) => add(sub(add(mul(at[d]!, w.stride[d]!), mul(ref(t), w.dilation[d]!)), w.before[d]!), d === 0 ? x.top : x.left));
          const tap = vload(xRef.param, type, add(vectorOfImages(x, group, source[0]!, source[1]!), add(mul(p.channel, LANES), mul(p.piece, isa.lanes))));
          return [
            varStmt(value, constant('f32', isMax ? -Infinity : 0, isa.lanes)),
            forLoop(ky, bounds[0]!.last.ref, [forLoop(kx, bounds[1]!.last.ref, [assign(value, isMax ? max(current, tap) : add(current, tap))], {}, bounds[1]!.first.ref)], {}, bounds[0]!.first.ref),
            store(yRef.param, placeAddress(y, p, isa.lanes), e.value(p, attrs.mode === 'average' ? mul(current, splat(share.ref, isa.lanes)) : current)),
          ];
        }),
      ];
    }),
    ...clearStatements(k, yRef),
  ];
}

export function poolRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const { node, inputs, outputs } = request, x = inputs[0]!, y = outputs[0]!, from = x.layout, to = y.layout;
    if (node.kind !== 'pool' || node.attrs.indices || outputs.length > 1 || !from || !to) return [];
    const { attrs } = node, w = windowOf(node, inputs), e = epilogueInTiles(request, isa);
    if (!w || !e) return [];
    const taps = tapsOf(w).length, last = attrs.pads.map((p) => p[1]), after = [last.length === 1 ? 0 : last[0]!, last.at(-1)!] as const;
    const offer = (build: KernelCandidate['build']): KernelCandidate[] => [{
      choice: { status: 'dense-kernel', kernel: `${attrs.mode} pool in tiles`, reason: `${w.kernel.join('x')} windows, lanes are ${to.over}` },
      nanoseconds: vectorsOf(to) * to.channels * (LANES / isa.lanes) * (taps + 2) / isa.clock, finishes: true, build,
    }];
    if (from.over === 'pixels' && to.over === 'pixels') {
      return reaches(w, from, to) && taps <= MOST_TAPS ? offer((k) => poolPixels(k, isa, attrs, w, after, x, y, from, to, e, !request.epilogue)) : [];
    }
    return from.over === 'images' && to.over === 'images' ? offer((k) => poolImages(k, isa, attrs, w, after, x, y, from, to, e)) : [];
  };
  return { name: 'pool in tiles', tiles: true, candidates };
}

/** Sums and extrema over all pixels: outside the image there are zeros, which sums may count. */
export function globalPoolRule(isa: Isa): KernelRule {
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const { node, inputs, outputs } = request, x = inputs[0]!, y = outputs[0]!, l = x.layout, width = Math.min(LANES, isa.lanes);
    if (node.kind !== 'reduce' || !l || y.layout || node.attrs.map || node.attrs.op === 'prod') return [];
    const { op, axes, keepdims } = node.attrs, rank = x.shape.length;
    if (x.shape[0] !== l.images || axes.length !== rank - 2 || axes.some((a, i) => a !== i + 1) || (op !== 'sum' && !isFull(l))) return [];
    const join = { sum: add, max, min }[op], first = { sum: 0, max: -Infinity, min: Infinity }[op], output = outputOf(y, 'f32', request.epilogue);
    const stored = (k: KernelBuilder, n: Expr, c: Expr, value: Expr): Stmt => storeElement(k, output, keepdims ? [n, ...axes.map(() => asIndex(0)), c] : [n, c], value);
    const per = l.over === 'pixels' ? l.phases * l.phases * phaseVectors(l) : l.rows * l.columns;
    /** Vectors of an image one after the other; halos would count twice. */
    const vectorAt = (i: Expr): Expr => (l.over === 'images' ? i : add(mul(div(i, gridVectors(l)), phaseVectors(l)), add(mod(i, gridVectors(l)), l.before)));
    const count = l.over === 'images' ? per : l.phases * l.phases * gridVectors(l);
    const element = (image: Expr, c: Expr, piece: Expr) => (i: Expr) => ({ before: [], value: vload(x.param, vector('f32', width), add(mul(add(mul(image, per), vectorAt(i)), vectorStride(l)), add(mul(c, LANES), mul(piece, width)))) });
    return [{
      choice: { status: 'dense-kernel', kernel: `${op} over pixels x${width}`, reason: `${count} vectors for each channel${op === 'sum' ? ': outside the image they are zero' : ''}` },
      nanoseconds: count * l.channels * (LANES / width) * Math.ceil(l.images / (l.over === 'images' ? LANES : 1)) * 3 / isa.clock, finishes: true,
      build: (k) => {
        const spill = (name: string, values: readonly Expr[]): Stmt[] => [{ kind: 'array', name, dtype: 'f32', size: LANES }, ...values.map((v, i) => store(name, i * width, v))];
        const pieces = (image: Expr, c: Expr): { readonly body: Stmt[]; readonly values: Expr[] } => {
          const all = Array.from({ length: LANES / width }, (_, p) => foldVectors(k, width, count, first, join, element(image, c, asIndex(p))));
          return { body: all.flatMap((a) => a.body), values: all.map((a) => a.result) };
        };
        if (l.over === 'pixels') return k.forEach([l.images, l.channels], ([n, c]) => {
          const { body, values } = pieces(n!, c!), sum = values.reduce((a, b) => join(a, b));
          if (op === 'sum') return [...body, stored(k, n!, c!, hsum(sum))];
          const lanes = k.name('lanes'), best = k.variable('best', load(lanes, 'f32', 0)), i = k.name('i');
          return [...body, ...spill(lanes, [sum]), best.declare, forLoop(i, width, [best.set(join(best.ref, load(lanes, 'f32', ref(i))))], {}, 1), stored(k, n!, c!, best.ref)];
        });
        return k.forEach([Math.ceil(l.images / LANES), l.channels], ([group, c]) => {
          const { body, values } = pieces(group!, c!), lanes = k.name('lanes'), i = k.name('i');
          return [...body, ...spill(lanes, values), forLoop(i, min(LANES, sub(l.images, mul(group!, LANES))), [stored(k, add(mul(group!, LANES), ref(i)), c!, load(lanes, 'f32', ref(i)))])];
        });
      },
    }];
  };
  return { name: 'global pool in tiles', tiles: true, candidates };
}
