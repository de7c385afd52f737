/**
 * An output plane covered by vectors, and the input plane as they read it. A tap of a filter moves all vectors of a plane by the same distance, so
 * that a weight is one broadcast and one multiply-add with a memory operand for each vector.
 *
 * Strips of eight outputs read lines of sixteen inputs (one cache line): whatever the tap, no vector of eight crosses a line. Where the width is
 * no multiple of eight, what remains is narrow strips whose lanes run down the columns, from a transposed copy.
 */

/** Lanes of a vector of outputs, and elements of a line of inputs. */
export const WIDTH = 8, LINE = 16;

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
  /** Output pixel of each lane, -1 where there is none. */
  readonly pixels: readonly number[];
}

export interface Cover {
  readonly rectangles: number;
  readonly vectors: readonly OutputVector[];
  /** Lines of one channel. */
  readonly lines: number;
  /** Input pixel of every element of the lines, -1 for padding. */
  pixels(): Int32Array;
  /** Elements from a channel's first line to where the first output of a rectangle reads the tap at (row, column). */
  tap(rectangle: number, row: number, column: number): number;
}

const strips = (length: number): number => Math.ceil(length / WIDTH);
/** A vector of eight that moves by the tap stays in its line. */
const fits = (e: Extent): boolean => Math.floor(e.reach / e.stride) <= LINE - WIDTH;

/** The columns of the plane in one or two rectangles: fewest vectors, and among equals fewest copies. */
function rectanglesOf(rows: Extent, columns: Extent): readonly Rectangle[] | undefined {
  const { output: width } = columns, whole = width - (width % WIDTH), high = rows.output;
  const plain: Rectangle = { lanes: 'columns', from: 0, to: width }, turned: Rectangle = { lanes: 'rows', from: 0, to: width };
  const ways: { readonly vectors: number; readonly rectangles: readonly Rectangle[] }[] = [
    ...(fits(columns) ? [{ vectors: strips(width) * high, rectangles: [plain] }] : []),
    ...(fits(columns) && fits(rows) && whole > 0 && whole < width
      ? [{ vectors: (whole / WIDTH) * high + (width - whole) * strips(high), rectangles: [{ ...plain, to: whole }, { ...turned, from: whole }] }] : []),
    ...(fits(rows) ? [{ vectors: strips(high) * width, rectangles: [turned] }] : []),
  ];
  return ways.reduce<(typeof ways)[number] | undefined>((a, b) => (a && a.vectors <= b.vectors ? a : b), undefined)?.rectangles;
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
    const deep = (acrossCount - 1) * across.stride + across.reach + 1, first = lines;
    lines += strips(alongCount) * along.stride * deep;
    return { r, inLanes, along, across, alongCount, acrossCount, deep, first };
  });
  return {
    rectangles: rectangles.length,
    lines,
    vectors: placed.flatMap(({ r, inLanes, along, across, alongCount, acrossCount, deep }, rectangle) =>
      Array.from({ length: strips(alongCount) }, (_, strip) => Array.from({ length: acrossCount }, (_, o): OutputVector => ({
        rectangle, at: (strip * along.stride * deep + o * across.stride) * LINE,
        pixels: Array.from({ length: WIDTH }, (_, lane) => {
          const a = strip * WIDTH + lane;
          if (a >= alongCount) return -1;
          return inLanes ? o * columns.output + r.from + a : a * columns.output + r.from + o;
        }),
      }))).flat()),
    pixels() {
      const pixels = new Int32Array(lines * LINE).fill(-1);
      for (const { r, inLanes, along, across, alongCount, deep, first } of placed) {
        const [alongFrom, acrossFrom] = inLanes ? [r.from, 0] : [0, r.from];
        for (let strip = 0; strip < strips(alongCount); strip++) for (let phase = 0; phase < along.stride; phase++) for (let i = 0; i < deep; i++) {
          const line = first + (strip * along.stride + phase) * deep + i, acrossAt = acrossFrom * across.stride - across.before + i;
          for (let j = 0; j < LINE; j++) {
            const alongAt = (alongFrom + strip * WIDTH + j) * along.stride + phase - along.before, [y, x] = inLanes ? [acrossAt, alongAt] : [alongAt, acrossAt];
            if (y >= 0 && y < rows.input && x >= 0 && x < columns.input) pixels[line * LINE + j] = y * columns.input + x;
          }
        }
      }
      return pixels;
    },
    tap(rectangle, row, column) {
      const { inLanes, along, deep, first } = placed[rectangle]!, [a, c] = inLanes ? [column, row] : [row, column];
      return (first + (a % along.stride) * deep + c) * LINE + Math.floor(a / along.stride);
    },
  };
}
