/** Normalisation and softmax along the channels of tiles: lanes are rows, so that sums over channels are sums of vectors. */
import type { NormalizeAttrs } from '../../../../compiler/core/normalize.js';
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

/** What must be computed of all channels first, and then the result for each. */
interface RowResult {
  readonly before: readonly Stmt[];
  result(channel: Expr): Expr;
}
/** The channels of the rows in hand. */
interface RowOperand {
  readonly width: number;
  readonly channels: number;
  read(channel: Expr): Expr;
}

function normalized(k: KernelBuilder, { width, channels, read }: RowOperand, { center, epsilon }: NormalizeAttrs): RowResult {
  const lanes = (value: number): Expr => constant('f32', value, width);
  const sum = foldVectors(k, width, channels, 0, add, (c) => ({ before: [], value: read(c) })), mean = k.let('mean', div(sum.result, lanes(channels)));
  const centred = (c: Expr): Expr => (center ? sub(read(c), mean.ref) : read(c));
  const squares = foldVectors(k, width, channels, 0, add, (c) => {
    const d = k.let('d', centred(c));
    return { before: [d.declare], value: mul(d.ref, d.ref) };
  });
  const scale = k.let('scale', div(lanes(1), unary('sqrt', add(div(squares.result, lanes(channels)), lanes(epsilon)))));
  return { before: [...(center ? [...sum.body, mean.declare] : []), ...squares.body, scale.declare], result: (c) => mul(centred(c), scale.ref) };
}

/** Exponentials wait where the result goes. */
function softmaxed(k: KernelBuilder, { width, channels, read }: RowOperand, keep: (channel: Expr, value: Expr) => Stmt, kept: (channel: Expr) => Expr): RowResult {
  const most = foldVectors(k, width, channels, -Infinity, max, (c) => ({ before: [], value: read(c) })), top = k.let('top', most.result);
  const total = foldVectors(k, width, channels, 0, add, (c) => {
    const e = k.let('e', unary('exp', sub(read(c), top.ref)));
    return { before: [e.declare, keep(c, e.ref)], value: e.ref };
  });
  const scale = k.let('scale', div(constant('f32', 1, width), total.result));
  return { before: [...most.body, top.declare, ...total.body, scale.declare], result: (c) => mul(kept(c), scale.ref) };
}

export function rowsInTilesRule(isa: Isa): KernelRule {
  const width = Math.min(LANES, isa.lanes);
  const candidates = (request: KernelRequest): KernelCandidate[] => {
    const { node, inputs, outputs } = request, x = inputs[0]!, y = outputs[0]!, l = y.layout, last = y.shape.length - 1;
    const norm = node.kind === 'normalize' && node.attrs.axes.length === 1 && node.attrs.axes[0] === last ? node.attrs : undefined;
    const soft = node.kind === 'softmax' && node.attrs.mode === 'soft' && node.attrs.axis === last;
    if (!l || !x.layout || !(norm || soft)) return [];
    const e = epilogueInTiles(request, isa), xAt = reader(x, y, width), yAt = reader(y, y, width);
    if (!e || !xAt || !yAt) return [];
    return [{
      choice: { status: 'dense-kernel', kernel: `${node.kind} in tiles x${width}`, reason: `${l.channels} channels, ${width} rows at a time` },
      nanoseconds: vectorsOf(l) * l.channels * (LANES / width) * (norm ? 6 : 30) / isa.clock,
      finishes: true,
      inPlace: [...(sameLayout(x.layout, l) ? [0] : []), ...(norm ? e.inPlace : [])],
      build: (k) => [
        ...overVectors(k, l, (vector) => k.forEach([LANES / width], ([piece]) => {
          const at = (channel: Expr): Place => ({ vector, channel, piece: piece! }), put = (c: Expr, value: Expr): Stmt => store(y.param, placeAddress(l, at(c), width), value);
          const operand: RowOperand = { width, channels: l.channels, read: (c) => xAt(at(c)) }, c = k.name('c');
          const { before, result } = norm ? normalized(k, operand, norm) : softmaxed(k, operand, put, (channel) => yAt(at(channel)));
          return [...before, forLoop(c, l.channels, [put(ref(c), e.value(at(ref(c)), result(ref(c))))])];
        }, {}, 'piece')),
        // rows that are not there: normalised zeros are zero, their softmax is not
        ...(norm && e.keepsZeros ? [] : clearStatements(k, y)), ...haloStatements(k, y),
      ],
    }];
  };
  return { name: 'rows in tiles', tiles: true, candidates };
}
