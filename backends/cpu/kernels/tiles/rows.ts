/** Normalisation and softmax along the channels of tiles: lanes are rows, so that sums over channels are sums of vectors. */
import { LANES, sameLayout, vectorsOf } from '../../../../compiler/ir/layout.js';
import { add, assign, constant, div, forLoop, max, mul, ref, store, sub, unary, varStmt, vector } from '../../../../compiler/kir/build.js';
import type { KernelBuilder } from '../../../../compiler/kir/kernel-builder.js';
import type { Expr, Stmt } from '../../../../compiler/kir/types.js';
import type { KernelCandidate, KernelRequest, KernelRule } from '../../../types.js';
import type { Isa } from '../../isa.js';
import { epilogueInTiles, overVectors, placeAddress, reader, type Place } from './expression.js';
import { clearStatements, haloStatements } from './finish.js';

/** Folds the channels of a vector (or piece of one) in four partial results: an addition need not wait for the one before. */
export function foldVectors(k: KernelBuilder, width: number, count: number, first: number, join: (a: Expr, b: Expr) => Expr, element: (i: Expr) => { readonly before: readonly Stmt[]; readonly value: Expr }): { readonly body: Stmt[]; readonly result: Expr } {
  const type = vector('f32', width), names = Array.from({ length: Math.min(4, count) }, () => k.name('part')), whole = count - (count % names.length), i = k.name('c');
  const step = (u: number, at: Expr): Stmt[] => {
    const { before, value } = element(at);
    return [...before, assign(names[u]!, join(ref(names[u]!, type), value))];
  };
  return {
    body: [
      ...names.map((n) => varStmt(n, constant('f32', first, width))),
      forLoop(i, whole, names.flatMap((_, u) => step(u, add(ref(i), u))), {}, 0, names.length),
      ...(whole < count ? [forLoop(i, count, step(0, ref(i)), {}, whole)] : []),
    ],
    result: names.slice(1).reduce<Expr>((sum, n) => join(sum, ref(n, type)), ref(names[0]!, type)),
  };
}

export function rowsInTilesRule(isa: Isa): KernelRule {
  const width = Math.min(LANES, isa.lanes);
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const { node, inputs, outputs } = request, x = inputs[0]!, y = outputs[0]!, l = y.layout, last = y.shape.length - 1;
    const normalizes = node.kind === 'normalize' && node.attrs.axes.length === 1 && node.attrs.axes[0] === last;
    const isSoftmax = node.kind === 'softmax' && node.attrs.mode === 'soft' && node.attrs.axis === last;
    const e = normalizes || isSoftmax ? epilogueInTiles(request, isa) : undefined;
    if (!e || !l || !x.layout) return [];
    const read = reader(x, y, width);
    if (!read) return [];
    const lanes = (value: number): Expr => constant('f32', value, width);

    const normalized = (k: KernelBuilder, at: (channel: Expr) => Place): { readonly before: Stmt[]; result(c: Expr): Expr } => {
      if (node.kind !== 'normalize') throw new Error('SPC9003: not a normalisation');
      const { center, epsilon } = node.attrs;
      const sum = foldVectors(k, width, l.channels, 0, add, (c) => ({ before: [], value: read(at(c)) })), mean = k.let('mean', div(sum.result, lanes(l.channels)));
      const centred = (c: Expr): Expr => (center ? sub(read(at(c)), mean.ref) : read(at(c)));
      const squares = foldVectors(k, width, l.channels, 0, add, (c) => {
        const d = k.let('d', centred(c));
        return { before: [d.declare], value: mul(d.ref, d.ref) };
      });
      const scale = k.let('scale', div(lanes(1), unary('sqrt', add(div(squares.result, lanes(l.channels)), lanes(epsilon)))));
      return { before: [...(center ? [...sum.body, mean.declare] : []), ...squares.body, scale.declare], result: (c) => mul(centred(c), scale.ref) };
    };
    const softmaxed = (k: KernelBuilder, at: (channel: Expr) => Place): { readonly before: Stmt[]; result(c: Expr): Expr } => {
      const top = foldVectors(k, width, l.channels, -Infinity, max, (c) => ({ before: [], value: read(at(c)) })), most = k.let('top', top.result);
      // exponentials wait in the result
      const total = foldVectors(k, width, l.channels, 0, add, (c) => {
        const p = k.let('e', unary('exp', sub(read(at(c)), most.ref)));
        return { before: [p.declare, store(y.param, placeAddress(l, at(c), width), p.ref)], value: p.ref };
      });
      const scale = k.let('scale', div(lanes(1), total.result));
      return { before: [...top.body, most.declare, ...total.body, scale.declare], result: (c) => mul(reader(y, y, width)!(at(c)), scale.ref) };
    };
    return [{
      choice: { status: 'dense-kernel', kernel: `${node.kind} in tiles x${width}`, reason: `${l.channels} channels, ${width} rows at a time` },
      nanoseconds: vectorsOf(l) * l.channels * (LANES / width) * (normalizes ? 6 : 30) / isa.clock,
      finishes: true,
      inPlace: [...(sameLayout(x.layout, l) ? [0] : []), ...(normalizes ? e.inPlace : [])],
      build: (k) => [
        ...overVectors(k, l, (v) => k.forEach([LANES / width], ([piece]) => {
          const at = (channel: Expr): Place => ({ vector: v, channel, piece: piece! }), c = k.name('c');
          const { before, result } = (normalizes ? normalized : softmaxed)(k, at);
          return [...before, forLoop(c, l.channels, [store(y.param, placeAddress(l, at(ref(c)), width), e.value(at(ref(c)), result(ref(c))))])];
        }, {}, 'piece')),
        ...(normalizes && e.keepsZeros ? [] : clearStatements(k, y)), ...haloStatements(k, y),
      ],
    }];
  };
  return { name: 'rows in tiles', tiles: true, candidates };
}
