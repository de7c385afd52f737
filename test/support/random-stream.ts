/** Random stream functions for tests: all shapes, sources, masks, starts and finishes. */
import type { FloatStream, QuadStream, StreamLanes } from '../../compiler/kir/stream.js';

export interface RandomSource {
  /** In [0, 1). */
  next(): number;
  /** In low..high. */
  integer(low: number, high: number): number;
  pick<T>(from: readonly T[]): T;
}

/** mulberry32 */
export function randomSource(seed: number): RandomSource {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
  return { next, integer, pick: (from) => from[integer(0, from.length - 1)]! };
}

export interface StreamShape {
  readonly rows: number;
  readonly columns: number;
  readonly density: number;
  /** Masks that columns and the finish use, 0 to 7. */
  readonly masks: number;
  readonly second: boolean;
  readonly residual: boolean;
  readonly tiles: number;
  readonly lanes: StreamLanes;
  readonly starts: boolean;
  readonly finishes: boolean;
}

const bounds: readonly (readonly [number, number])[] = [[-Infinity, Infinity], [0, Infinity], [0, 6], [-1, 1], [-Infinity, 2], [-0.5, Infinity], [-0, 3]];

/** A function of the given shape; what is left open is drawn. Weights and biases are multiples of 1/8, small enough for exact sums. */
export function randomStream(random: RandomSource, name: string, wanted: Partial<StreamShape> = {}): FloatStream {
  const chance = (p: number): boolean => random.next() < p;
  const shape: StreamShape = {
    rows: random.integer(1, 31), columns: random.pick([0, 1, 2, 7, 40, 150, 300]), density: random.pick([0, 0.02, 0.1, 0.5, 1]), masks: random.integer(0, 7),
    second: chance(0.3), residual: chance(0.4), tiles: random.integer(1, 9), lanes: 16, starts: chance(0.7), finishes: chance(0.7), ...wanted,
  };
  const bytes = 4 * shape.lanes, weight = (): number => random.integer(-16, 16) / 8 || 0.125;
  const offsets: number[] = [], sources: number[] = [], columnMasks: number[] = [], starts = [0], rowOf: number[] = [], weights: number[] = [];
  // channels in a row, now and then a jump as between the taps of a convolution
  let at = bytes * random.integer(-40, 10);
  for (let k = 0; k < shape.columns; k++) {
    at = chance(0.02) ? bytes * random.integer(-300, 300) : at + bytes * (chance(0.9) ? 1 : random.integer(2, 5));
    const before = weights.length;
    for (let r = 0; r < shape.rows; r++) {
      if (!chance(shape.density)) continue;
      rowOf.push(r);
      weights.push(weight());
    }
    if (weights.length === before) continue;
    offsets.push(at);
    sources.push(shape.second && chance(0.4) ? 1 : 0);
    columnMasks.push(chance(0.5) ? 0 : random.integer(0, shape.masks));
    starts.push(weights.length);
  }
  const order = Array.from({ length: shape.rows }, (_, r) => r), first = random.pick([0, 0, 31, 124, 300]);
  const rows = order.map((r) => bytes * (first + r)), residualFirst = random.pick([first, first, 0, 500]);
  const [low, high] = random.pick(bounds);
  return {
    name, doc: [`${shape.rows} rows, ${offsets.length} columns, ${weights.length} products`], rows,
    ...(shape.starts ? { start: { bias: Float32Array.from(order, weight), ...(shape.residual ? { residual: order.map((r) => bytes * (residualFirst + r)) } : {}) } } : {}),
    ...(shape.finishes ? { finish: { clamp: { low: low!, high: high! }, mask: random.integer(0, shape.masks) } } : {}),
    columnCount: offsets.length, offsets: Int32Array.from(offsets), sources: Uint8Array.from(sources), columnMasks: Uint8Array.from(columnMasks),
    starts: Uint32Array.from(starts), rowOf: Uint8Array.from(rowOf), weights: Float32Array.from(weights), maskCount: shape.masks + (shape.masks ? random.integer(0, 3) : 0),
    steps: { x: bytes * random.integer(320, 330), x2: bytes * random.integer(1, 9), y: bytes * random.integer(900, 905), r: bytes * random.integer(900, 905) }, tiles: shape.tiles,
    ...(shape.lanes === 16 ? {} : { lanes: shape.lanes }),
  };
}

/** A function of the given shape on quads; weights with all zeros, and the extremes, among them. */
export function randomQuads(random: RandomSource, name: string, wanted: Partial<StreamShape> = {}): QuadStream {
  const { start, finish: _, ...rest } = randomStream(random, name, { ...wanted, residual: false, finishes: false });
  const byte = (): number => random.pick([-128, 127, 0, random.integer(-128, 127)]) & 255;
  const weight = (): number => byte() | byte() << 8 | byte() << 16 | byte() << 24;
  return {
    ...rest, arithmetic: 'u8s8', weights: Int32Array.from(rest.weights, weight),
    ...(start ? { start: { bias: Int32Array.from(start.bias, () => random.pick([0, 2 ** 31 - 1, random.integer(-1e6, 1e6)])) } } : {}),
  };
}
