/**
 * Stream programs: the sparse products in which every non-zero is one instruction.
 *
 * A stream function keeps up to 31 output rows (channels) of one vector (16 pixels, or 8 or 4) in registers, walks the columns (reduction
 * positions) that have a non-zero in those rows, loads the vector of the column once and multiplies it into the rows:
 *
 *     for each tile:                                  // 16 pixels
 *       acc[r] = bias[r] (+ residual), or what an earlier function left in y
 *       for each column k: v = x[k]; for each non-zero (r, k): acc[r] += w * v
 *       epilogue; y[r] = acc[r]
 *
 * Elements are f32, or small integers in fours: a column is then four neighbouring reduction positions of u8, a weight four s8, and a
 * product adds their scalar product to a sum in i32.
 *
 * Addresses and register numbers are part of the code, weights are read in the order of use from an array behind it. It is far too
 * long for a C compiler, so it has a form of its own: this list. It is run by an interpreter (the tests' oracle), printed as assembly
 * text, encoded to machine code, or printed as tables for a portable C loop.
 */

/** What every form of a stream function is called with, as C sees it:
 *
 *     void f(const void *x, long tiles, const uint16_t *masks, const void *x2, void *y, const void *r);
 *
 * Pointers are those of the first tile; each tile advances them by the function's steps. `x2` is a second source (the shortcut convolution
 * merged into this one), `r` the residual; both may be null where the function does not read them. `masks` has `maskCount` words a tile.
 */
export interface StreamSteps {
  /** Bytes from one tile to the next: multiples of a vector's. */
  readonly x: number;
  readonly x2: number;
  readonly y: number;
  readonly r: number;
}

/** Activation before the store: min(max(v, low), high). Both infinite: none. */
export interface Clamp {
  readonly low: number;
  readonly high: number;
}

/** Words of 32 bits of a vector. */
export type StreamLanes = 16 | 8 | 4;

interface StreamProgram {
  /** Unique in its kernel; the emitted symbol is made of it. */
  readonly name: string;
  /** Comment lines: rows, columns, density, what it belongs to. */
  readonly doc: readonly string[];
  /** 16 where absent. */
  readonly lanes?: StreamLanes;
  /** Byte offset of each row's vector from `y`, multiples of a vector's bytes, at most 31 rows (a target with fewer registers splits). */
  readonly rows: readonly number[];
  /** Columns in order of execution, each with at least one non-zero. */
  readonly columnCount: number;
  /** Byte offset of each column's vector from its source pointer; a multiple of a vector's bytes, may be negative. */
  readonly offsets: Int32Array;
  /** 0: x, 1: x2. */
  readonly sources: Uint8Array;
  /** Mask (1-based) of lanes that are loaded, the others are zero; 0: all. */
  readonly columnMasks: Uint8Array;
  /** Column k has the products starts[k] <= i < starts[k + 1]. */
  readonly starts: Uint32Array;
  /** Row (index into `rows`) and weight of each product, in order. */
  readonly rowOf: Uint8Array;
  /** Words that `masks` has for each tile. 0: the pointer is not read. */
  readonly maskCount: number;
  readonly steps: StreamSteps;
  /** Tiles of one call, for how much of the next function to fetch ahead in each. */
  readonly tiles: number;
}

/** y += w x in f32. */
export interface FloatStream extends StreamProgram {
  readonly arithmetic?: 'f32';
  readonly weights: Float32Array;
  /** First sums: a bias for each row, and the residual at these byte offsets from `r`; undefined where the function goes on with what is in y (r may be y). */
  readonly start?: { readonly bias: Float32Array; readonly residual?: readonly number[] };
  /** What happens before the store; undefined where a later function goes on with the sums. */
  readonly finish?: {
    readonly clamp: Clamp;
    /** Mask (1-based word of the tile's masks) of lanes that are stored as they are; the others become zero. 0: all. */
    readonly mask: number;
  };
}

/** y += w[0] x[0] + ... + w[3] x[3], exact in i32 (which wraps); sums are stored as they are. */
export interface QuadStream extends StreamProgram {
  readonly arithmetic: 'u8s8';
  /** Four s8 each, the first in the lowest byte; columns are four u8 in the same order. */
  readonly weights: Int32Array;
  readonly start?: { readonly bias: Int32Array; readonly residual?: undefined };
  readonly finish?: undefined;
}

export type StreamFunction = FloatStream | QuadStream;

export const streamLanes = (f: StreamFunction): StreamLanes => f.lanes ?? 16;

/** Rows that fit the registers of the largest instruction set, one being left for the column. */
export const MAX_ROWS = 31;

type Words = Float32Array | Int32Array;

/** The scalar product of four u8 and four s8, each four in one word. */
function quadProduct(x: number, w: number): number {
  let sum = 0;
  for (let shift = 0; shift < 32; shift += 8) sum += (x >>> shift & 255) * (w >>> shift << 24 >> 24);
  return sum;
}

/** Runs a stream function on buffers addressed in bytes: what every emitted form must agree with (sums in f32, products fused in f64 then rounded once). */
export function interpret(f: StreamFunction, tiles: number, masks: Uint16Array, memory: { readonly x: Words; readonly x2?: Words; readonly y: Words; readonly r?: Words },
  at: { readonly x: number; readonly x2?: number; readonly y: number; readonly r?: number }): void {
  const lanes = streamLanes(f), words = f.arithmetic === 'u8s8' ? Int32Array : Float32Array, acc = new words(f.rows.length * lanes), v = new words(lanes);
  const product = f.arithmetic === 'u8s8' ? quadProduct : (a: number, b: number): number => a * b;
  const element = (start: number | undefined, step: number, tile: number, offset: number): number => (start ?? 0) + (tile * step + offset) / 4;
  for (let t = 0; t < tiles; t++) {
    f.rows.forEach((offset, r) => {
      const from = element(at.y, f.steps.y, t, offset), residual = f.start?.residual && element(at.r, f.steps.r, t, f.start.residual[r]!);
      for (let l = 0; l < lanes; l++) acc[r * lanes + l] = !f.start ? memory.y[from + l]! : f.start.bias[r]! + (residual === undefined ? 0 : memory.r![residual + l]!);
    });
    for (let k = 0; k < f.columnCount; k++) {
      const second = f.sources[k] === 1, mask = f.columnMasks[k] === 0 ? 0xffff : masks[t * f.maskCount + f.columnMasks[k]! - 1]!;
      const source = second ? memory.x2! : memory.x;
      const from = element(second ? at.x2 : at.x, second ? f.steps.x2 : f.steps.x, t, f.offsets[k]!);
      for (let l = 0; l < lanes; l++) v[l] = mask & (1 << l) ? source[from + l]! : 0;
      for (let i = f.starts[k]!; i < f.starts[k + 1]!; i++) {
        const row = f.rowOf[i]! * lanes, w = f.weights[i]!;
        for (let l = 0; l < lanes; l++) acc[row + l] = acc[row + l]! + product(v[l]!, w);
      }
    }
    f.rows.forEach((offset, r) => {
      const to = element(at.y, f.steps.y, t, offset);
      for (let l = 0; l < lanes; l++) {
        let a = acc[r * lanes + l]!;
        if (f.finish) {
          // NaN passes through a clamp
          if (a < f.finish.clamp.low) a = f.finish.clamp.low;
          if (a > f.finish.clamp.high) a = f.finish.clamp.high;
          if (f.finish.mask && !(masks[t * f.maskCount + f.finish.mask - 1]! & (1 << l))) a = 0;
        }
        memory.y[to + l] = a;
      }
    });
  }
}

/** Non-zeros of a function. */
export const productsOf = (f: StreamFunction): number => f.weights.length;
