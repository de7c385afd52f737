/** Chooses register tiles: how many points and how many vectors of channels are summed at a time. */
import type { Isa } from '../isa.js';
import type { ChannelVector } from './vector.js';

/** Tiles of one line: `count` neighbours of `size` points from point `start` on. */
export interface TileRun {
  readonly start: number;
  readonly size: number;
  readonly count: number;
}

/** A block of channels, `count` times in a row from channel `channel` on. */
export interface BlockRun {
  readonly channel: number;
  readonly count: number;
  readonly vectors: readonly ChannelVector[];
  /** Lanes of one block: the row length of its packed weights. */
  readonly width: number;
}

export interface Tiling {
  readonly tiles: readonly TileRun[];
  readonly blocks: readonly BlockRun[];
  /** Independent sums for each accumulator, where there are too few accumulators to hide the latency. */
  readonly split: (points: number, vectors: number) => number;
  readonly cycles: number;
}

/** As few tiles as there can be, of sizes that differ by at most one. */
export function evenTiles(points: number, most: number): TileRun[] {
  const n = Math.ceil(points / most), size = Math.floor(points / n), larger = points % n;
  return [
    ...(larger > 0 ? [{ start: 0, size: size + 1, count: larger }] : []),
    { start: larger * (size + 1), size, count: n - larger },
  ];
}

/** Vectors in blocks of `most`, the rest in a block of its own (also a block with unused lanes). */
export function blocksOf(vectors: readonly ChannelVector[], most: number): BlockRun[] {
  const full = vectors.filter((v) => v.count === v.lanes && v.lanes === vectors[0]!.lanes).length;
  // even blocks: 5 vectors, at most 4 -> 3 + 2
  const size = Math.ceil(vectors.length / Math.ceil(vectors.length / most));
  const whole = Math.floor(full / size);
  const make = (first: number, length: number, count: number): BlockRun => {
    const own = vectors.slice(first, first + length);
    const width = own.reduce((s, v) => s + v.lanes, 0), channel = own[0]!.offset;
    return { channel, count, width, vectors: own.map((v) => ({ ...v, offset: v.offset - channel })) };
  };
  return [
    ...(whole > 0 ? [make(0, size, whole)] : []),
    ...(whole * size < vectors.length ? [make(whole * size, vectors.length - whole * size, 1)] : []),
  ];
}

/** Outputs of more bytes than this are not in the second cache when they are written. */
const CACHED_OUTPUT = 1 << 20;
/** Cycles that a point's channels of one block take to be written, where the line is not there yet: about the same for one vector as for four. */
const MISSED_STORE = 64;

/** Accumulators that keep the multipliers busy. */
const enough = (isa: Isa, lanes: number): number => isa.latency * (lanes === isa.lanes ? isa.fma.full : isa.fma.narrow);

/** Cycles for one step of the sum of a tile. `far`: weights come from the second cache level, at half the rate. */
function stepCycles(isa: Isa, points: number, vectors: readonly ChannelVector[], far: boolean): number {
  let fma = 0, loads = points / isa.loads.narrow;
  for (const v of vectors) {
    const rate = v.lanes === isa.lanes ? isa.fma.full : isa.fma.narrow;
    fma += points / rate;
    loads += (far ? 2 : 1) / (v.lanes === isa.lanes ? isa.loads.full : isa.loads.narrow);
  }
  return Math.max(fma, loads, 1) + 0.25;
}

export interface TileProblem {
  readonly points: number;
  readonly vectors: readonly ChannelVector[];
  /** Length of each sum. */
  readonly depth: number;
  /** How often the line is computed. */
  readonly lines: number;
  /** Elements between points: when it is a multiple of 4 KiB, rows collide in the first cache level. */
  readonly pointBytes: number;
}

export function chooseTiling(isa: Isa, p: TileProblem): Tiling {
  const widest = p.vectors[0]!.lanes;
  const split = (points: number, vectors: number): number => {
    const have = points * vectors, want = enough(isa, widest);
    return have >= want ? 1 : Math.min(4, Math.ceil(want / have), Math.max(1, Math.floor(isa.registers * 0.8 / have)));
  };
  const colliding = p.pointBytes >= 1024 && p.pointBytes % 1024 === 0;
  const weightBytes = p.depth * p.vectors.reduce((s, v) => s + v.lanes * 4, 0);
  const missed = p.lines * p.points * p.vectors.reduce((s, v) => s + v.count * 4, 0) > CACHED_OUTPUT ? MISSED_STORE : 0;
  let best: Tiling | undefined;
  for (let v = 1; v <= Math.min(p.vectors.length, 8); v++) {
    const blocks = blocksOf(p.vectors, v);
    if (v > 1 && blocks[0]!.vectors.length < v && blocks.length > 1 && blocks[1]!.vectors.length < v) continue;
    const free = isa.registers - 2 - (v > 1 ? v : 0);
    const most = Math.max(1, Math.min(Math.floor(free / v), colliding ? 8 : 64));
    for (let points = 1; points <= Math.min(most, p.points); points++) {
      const tiles = evenTiles(p.points, points);
      if (tiles[0]!.size !== points) continue;
      let cycles = 0;
      for (const t of tiles) {
        for (const b of blocks) {
          const far = weightBytes > 24_000;
          const accumulators = t.size * b.vectors.length * split(t.size, b.vectors.length);
          const step = Math.max(stepCycles(isa, t.size, b.vectors, far), isa.latency * t.size * b.vectors.length / accumulators);
          cycles += t.count * b.count * (step * p.depth + t.size * (2 * b.vectors.length + missed) + 10);
        }
      }
      cycles *= p.lines;
      if (!best || cycles < best.cycles * 0.999) best = { tiles, blocks, split, cycles };
    }
  }
  return best!;
}
