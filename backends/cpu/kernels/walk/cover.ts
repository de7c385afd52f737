/**
 * An output plane covered by vectors, and the input plane as they read it. A tap of a filter moves all vectors of a plane by the same distance, so
 * that a weight is one broadcast and one multiply-add with a memory operand for each vector.
 *
 * Strips of eight outputs read lines of sixteen inputs (one cache line): whatever the tap, no vector of eight crosses a line. Where the width is
 * no multiple of eight, what remains is half a vector at the end of the last line, where that has room, or narrow strips whose lanes run down the
 * columns, from a transposed copy.
 */

/** Lanes of a vector of outputs, and elements of a line of inputs. */
export const WIDTH = 8, LINE = 16;
const HALF = WIDTH / 2;

/** One dimension of a window that moves over an input. */
export interface Extent {
  readonly input: number;
  readonly output: number;
  /** Inputs between neighbouring outputs. */
  readonly stride: number;
  /** Zeros before the input. */
  readonly before: number;
  /** Largest distance of a tap from the window's first element. */
  readonly reach: number;
}

/** A rectangle of outputs, its lanes along one dimension. */
interface Rectangle {
  readonly lanes: 'columns' | 'rows';
  readonly from: number;
  readonly to: number;
}

/** A vector of outputs. */
export interface OutputVector {
  /** Index of its rectangle. */
  readonly rectangle: number;
  /** Elements from where a tap of the first output lies. */
  readonly at: number;
  /** Output pixel of each of its lanes (eight or four), -1 where there is none. */
  readonly pixels: readonly number[];
}

export interface Cover {
  readonly rectangles: number;
  readonly vectors: readonly OutputVector[];
  /** Lines of one channel. */
  readonly lines: number;
  /** Input pixel of every element of the lines, -1 for padding. */
  pixels(): Int32Array;
  /** The same for each line as numbers: elements [from, to) of it are pixels, the first of them `start`, then every `step`-th. */
  runs(): Int32Array;
  /** Elements from a channel's first line to where the first output of a rectangle reads the tap at (row, column). */
  tap(rectangle: number, row: number, column: number): number;
}

/** Vectors of eight that `length` outputs take, the last one of four where those are enough. */
const strips = (length: number): number => Math.ceil(length / WIDTH);
/** A vector of eight that moves by the tap stays in its line. */
const fits = (e: Extent): boolean => Math.floor(e.reach / e.stride) <= LINE - WIDTH;
/** Lines side by side: four outputs more than a whole number of strips have room at the end of the last line. */
function lineStrips(length: number, e: Extent): number {
  const whole = Math.floor(length / WIDTH), rest = length % WIDTH, room = LINE - WIDTH - HALF;
  return whole > 0 && rest > 0 && rest <= HALF && Math.floor(e.reach / e.stride) <= room ? whole : whole + (rest > 0 ? 1 : 0);
}

/** The columns of the plane in one or two rectangles; a copy more must save a tenth of the vectors. */
function rectanglesOf(rows: Extent, columns: Extent): readonly Rectangle[] | undefined {
  const { output: width } = columns, whole = width - (width % WIDTH), high = rows.output;
  const plain: Rectangle = { lanes: 'columns', from: 0, to: width }, turned: Rectangle = { lanes: 'rows', from: 0, to: width };
  const ways: { readonly vectors: number; readonly rectangles: readonly Rectangle[] }[] = [
    ...(fits(columns) ? [{ vectors: strips(width) * high, rectangles: [plain] }] : []),
    ...(fits(rows) ? [{ vectors: strips(high) * width, rectangles: [turned] }] : []),
    ...(fits(columns) && fits(rows) && whole > 0 && whole < width
      ? [{ vectors: (whole / WIDTH) * high + (width - whole) * strips(high), rectangles: [{ ...plain, to: whole }, { ...turned, from: whole }] }] : []),
  ];
  return ways.reduce<(typeof ways)[number] | undefined>((a, b) => (a && a.vectors <= b.vectors * (b.rectangles.length > a.rectangles.length ? 1.1 : 1) ? a : b), undefined)?.rectangles;
}

/** Undefined where windows reach too far. */
export function coverOf(rows: Extent, columns: Extent): Cover | undefined {
  const rectangles = rectanglesOf(rows, columns);
  if (!rectangles) return undefined;
  let lines = 0;
  const placed = rectangles.map((r) => {
    const inLanes = r.lanes === 'columns';
    // positions along the lanes, and from line to line; of the columns only those of the rectangle
    const [along, across] = inLanes ? [columns, rows] : [rows, columns], count = r.to - r.from, alongCount = inLanes ? count : along.output, acrossCount = inLanes ? across.output : count;
    const deep = (acrossCount - 1) * across.stride + across.reach + 1, first = lines, wide = lineStrips(alongCount, along);
    lines += wide * along.stride * deep;
    return { r, inLanes, along, across, alongCount, acrossCount, deep, first, wide };
  });
  /** Of each line: its first element's position along the lanes, the position across, and the rectangle. */
  const eachLine = (visit: (line: number, alongAt: number, acrossAt: number, p: (typeof placed)[number]) => void): void => {
    for (const p of placed) {
      const { r, inLanes, along, across, deep, first, wide } = p, [alongFrom, acrossFrom] = inLanes ? [r.from, 0] : [0, r.from];
      for (let strip = 0; strip < wide; strip++) for (let phase = 0; phase < along.stride; phase++) for (let i = 0; i < deep; i++) {
        visit(first + (strip * along.stride + phase) * deep + i, (alongFrom + strip * WIDTH) * along.stride + phase - along.before, acrossFrom * across.stride - across.before + i, p);
      }
    }
  };
  const pixelAt = (inLanes: boolean, a: number, c: number): number => (inLanes ? c * columns.input + a : a * columns.input + c);
  return {
    rectangles: rectangles.length,
    lines,
    vectors: placed.flatMap(({ r, inLanes, along, across, alongCount, acrossCount, deep, wide }, rectangle) =>
      Array.from({ length: strips(alongCount) }, (_, strip) => Array.from({ length: acrossCount }, (_, o): OutputVector => ({
        rectangle, at: (Math.min(strip, wide - 1) * along.stride * deep + o * across.stride) * LINE + (strip >= wide ? WIDTH : 0),
        pixels: Array.from({ length: alongCount - strip * WIDTH <= HALF ? HALF : WIDTH }, (_, lane) => {
          const a = strip * WIDTH + lane;
          if (a >= alongCount) return -1;
          return inLanes ? o * columns.output + r.from + a : a * columns.output + r.from + o;
        }),
      }))).flat()),
    pixels() {
      const pixels = new Int32Array(lines * LINE).fill(-1);
      eachLine((line, alongAt, c, { inLanes, along, across }) => {
        for (let j = 0, a = alongAt; j < LINE; j++, a += along.stride) if (a >= 0 && a < along.input && c >= 0 && c < across.input) pixels[line * LINE + j] = pixelAt(inLanes, a, c);
      });
      return pixels;
    },
    runs() {
      const runs = new Int32Array(lines * 4);
      eachLine((line, alongAt, c, { inLanes, along, across }) => {
        const from = Math.max(0, Math.ceil(-alongAt / along.stride)), to = Math.min(LINE, Math.ceil((along.input - alongAt) / along.stride));
        const step = along.stride * (inLanes ? 1 : columns.input);
        if (c >= 0 && c < across.input && from < to) runs.set([from, to, pixelAt(inLanes, alongAt + from * along.stride, c), step], line * 4);
      });
      return runs;
    },
    tap(rectangle, row, column) {
      const { inLanes, along, deep, first } = placed[rectangle]!, [a, c] = inLanes ? [column, row] : [row, column];
      return (first + (a % along.stride) * deep + c) * LINE + Math.floor(a / along.stride);
    },
  };
}
