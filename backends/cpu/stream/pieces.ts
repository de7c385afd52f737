/**
 * Stream functions on machines whose registers hold a part of a vector: a vector of 16 lanes is several pieces, and the code of a
 * function runs over some pieces of a tile at a time, once more for each of the others:
 *
 *     for each tile: for each pass: sums of the rows' pieces; columns; clamp and mask; store
 *
 * How many pieces together, hence how many rows fit the registers, is the machine's: what a column is loaded for are the rows,
 * what a weight is loaded for are the pieces. A machine says how it does each of these things; the order is the same for all.
 */
import { NodeProblem } from '../../../compiler/diagnostics/diagnostic.js';
import { isPermute, type Routine } from '../../../compiler/kir/routine.js';
import { productsOf, streamLanes, type FloatStream } from '../../../compiler/kir/stream.js';
import { streamRegion, type StreamSymbol } from './region.js';

/** Arguments that a function goes on from, one tile to the next. */
export type Pointer = 'x' | 'x2' | 'y' | 'r' | 'masks';

/** Writes one function. Offsets are bytes from a pointer to a vector (its first piece in the first pass). */
export interface PieceAssembler {
  /** Keeps what a caller wants kept. @param rows that sums are needed for */
  enter(rows: number): void;
  leave(): void;
  /** Begin and end of the two loops. */
  tile(): void;
  pass(): void;
  nextPass(): void;
  nextTile(): void;
  advance(pointer: Pointer, bytes: number): void;
  /** The row's sums become the next constant. */
  splat(row: number): void;
  load(row: number, pointer: Pointer, offset: number): void;
  add(row: number, pointer: Pointer, offset: number): void;
  store(row: number, pointer: Pointer, offset: number): void;
  /** The lanes that masked columns and `keep` let through from here on: bits of a word (0-based) of the tile's masks. */
  mask(word: number): void;
  /** Column `k` times the next weights, into the rows that it has non-zeros in. */
  column(k: number, masked: boolean): void;
  /** The next constant as a bound of that many rows' sums; NaN passes. */
  bound(op: 'max' | 'min', rows: number): void;
  /** Masked lanes of a row's sums become zero, whatever they were. */
  keep(row: number): void;
  /** All of it, without label and directives of the function's symbol. */
  take(): PieceCode;
}

/** Text, with the number of bytes that it makes, about; or bytes. */
export type PieceCode = { readonly text: string; readonly size: number } | { readonly bytes: Uint8Array };

export interface PieceMachine {
  readonly name: string;
  readonly processor: 'x86-64' | 'AArch64';
  /** Rows that fit the registers. */
  readonly rows: number;
  /** How often the code runs for a tile. */
  readonly passes: number;
  /** Bytes of code of a model from which on its functions fetch the next one's while they compute; not there: they never do. */
  readonly fetchesBeyond?: number;
  /** A writer for one function. @param form `binary` where the machine has an encoder; `following`: bytes of the function behind it to fetch in all tiles */
  assembler(f: FloatStream, form: 'binary' | 'text', following: number): PieceAssembler;
}

/** Weights are read in fours. */
const GROUP = 4;
/** Code and weights, about. */
const BYTES_PER_PRODUCT = 27;

/** The weights, filled up to whole groups, then biases and finite bounds in the order of use. */
export function constantsOf(f: FloatStream): { readonly weights: number; readonly all: Float32Array } {
  const weights = Math.ceil(f.weights.length / GROUP) * GROUP, others = [...(f.start?.bias ?? []), ...boundsOf(f).map((b) => b.value)];
  const all = new Float32Array(weights + others.length);
  all.set(f.weights);
  all.set(others, weights);
  return { weights, all };
}

function boundsOf(f: FloatStream): { readonly op: 'max' | 'min'; readonly value: number }[] {
  if (!f.finish) return [];
  const { low, high } = f.finish.clamp;
  return ([{ op: 'max', value: low }, { op: 'min', value: high }] as const).filter((b) => Number.isFinite(b.value));
}

/** The code of functions: bytes where the machine has an encoder for them, text for each. */
export interface EncodedPieces {
  readonly symbols: readonly StreamSymbol[];
  readonly bytes?: Uint8Array;
  text(index: number): string;
}

/**
 * Writes the stream functions of a model.
 * @param functions in the order in which they run; names are symbols
 * @throws NodeProblem SPC9008 where the machine cannot run one
 */
export function encodePieces(machine: PieceMachine, functions: readonly Routine[]): EncodedPieces {
  const total = BYTES_PER_PRODUCT * functions.reduce((n, f) => n + (isPermute(f) ? 0 : productsOf(f)), 0), fetches = total > (machine.fetchesBeyond ?? Infinity);
  const codes = new Array<PieceCode>(functions.length), following = (i: number): number => {
    const next = fetches ? codes[i + 1] : undefined;
    return next && 'bytes' in next ? next.bytes.length : 0;
  };
  // the length of a function depends on how much it fetches, which is the length of the next one: from the last to the first
  for (let i = functions.length - 1; i >= 0; i--) codes[i] = writePieces(machine, functions[i]!, 'binary', following(i));
  const parts = codes.flatMap((c) => ('bytes' in c ? [c.bytes] : []));
  return {
    ...(parts.length === codes.length ? streamRegion(functions, parts) : { symbols: codes.map((c, i) => ({ name: functions[i]!.name, offset: 0, size: 'bytes' in c ? c.bytes.length : c.size })) }),
    text(index) {
      const code = codes[index]!, text = 'text' in code ? code : writePieces(machine, functions[index]!, 'text', following(index));
      return 'text' in text ? text.text : '';
    },
  };
}

/** A function with its constants. @throws NodeProblem SPC9008 where the machine cannot run it: f32 in vectors of 16 lanes only */
export function writePieces(machine: PieceMachine, f: Routine, form: 'binary' | 'text', following = 0): PieceCode {
  if (isPermute(f)) throw new NodeProblem('SPC9008', `${f.name} permutes registers: ${machine.name} has no code for it`);
  if (f.arithmetic === 'u8s8' || streamLanes(f) !== 16) throw new NodeProblem('SPC9008', `stream function ${f.name} has ${f.arithmetic ?? 'f32'} in ${streamLanes(f)} lanes, ${machine.name} has f32 in 16`);
  const rows = f.rows.length, { start, finish, steps } = f;
  if (rows > machine.rows) throw new NodeProblem('SPC9008', `stream function ${f.name} has ${rows} rows, ${machine.name} has registers for ${machine.rows}`);
  const asm = machine.assembler(f, form, following);
  const each = (write: (row: number) => void): void => { for (let row = 0; row < rows; row++) write(row); };
  asm.enter(rows);
  asm.tile();
  asm.pass();
  each((row) => (start ? asm.splat(row) : asm.load(row, 'y', f.rows[row]!)));
  if (start?.residual) each((row) => asm.add(row, 'r', start.residual![row]!));
  let mask = 0;
  const masked = (wanted: number): boolean => {
    if (wanted && wanted !== mask) asm.mask((mask = wanted) - 1);
    return wanted > 0;
  };
  for (let k = 0; k < f.columnCount; k++) asm.column(k, masked(f.columnMasks[k]!));
  for (const { op } of boundsOf(f)) asm.bound(op, rows);
  if (finish && masked(finish.mask)) each((row) => asm.keep(row));
  each((row) => asm.store(row, 'y', f.rows[row]!));

  const used: readonly (readonly [Pointer, number])[] = [
    ['x', steps.x], ...(f.sources.includes(1) ? [['x2', steps.x2] as const] : []), ['y', steps.y], ...(start?.residual ? [['r', steps.r] as const] : []),
  ];
  const piece = 64 / machine.passes, last = (machine.passes - 1) * piece;
  if (machine.passes > 1) for (const [pointer] of used) asm.advance(pointer, piece);
  asm.nextPass();
  for (const [pointer, step] of used) asm.advance(pointer, step - (machine.passes > 1 ? last + piece : 0));
  if (mask) asm.advance('masks', 2 * f.maskCount);
  asm.nextTile();
  asm.leave();
  return asm.take();
}

export const usesMasks = (f: FloatStream): boolean => f.columnMasks.some((m) => m > 0) || (f.finish?.mask ?? 0) > 0;

/** The bit of each lane in a mask. */
export const LANE_BITS = Int32Array.from({ length: 16 }, (_, lane) => 2 ** lane);

/** Constants as words of assembly text. */
export function constantLines(values: Float32Array | Int32Array): string[] {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Array.from({ length: Math.ceil(words.length / 8) }, (_, i) => `  .long ${Array.from(words.subarray(8 * i, 8 * i + 8), (w) => `0x${w.toString(16)}`).join(', ')}`);
}
