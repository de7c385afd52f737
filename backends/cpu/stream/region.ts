/** What the forms of routines have in common: one region of bytes in which the functions lie behind one another. */
import { NodeProblem } from '../../../compiler/diagnostics/diagnostic.js';
import type { Routine } from '../../../compiler/kir/routine.js';

export interface StreamSymbol {
  readonly name: string;
  /** Bytes from the start of the region, and length: multiples of 64. */
  readonly offset: number;
  readonly size: number;
}

export interface StreamRegion<F extends Routine = Routine> {
  readonly functions: readonly F[];
  /** To be placed at a multiple of 64 bytes, anywhere. */
  readonly bytes: Uint8Array;
  readonly symbols: readonly StreamSymbol[];
}

/**
 * Puts the bytes of functions behind one another.
 * @param functions their names are symbols
 * @throws NodeProblem SPC9008 where two have one name
 */
export function streamRegion<F extends Routine>(functions: readonly F[], parts: readonly Uint8Array[]): StreamRegion<F> {
  const names = new Set(functions.map((f) => f.name));
  if (names.size !== functions.length) throw new NodeProblem('SPC9008', `${functions.length} stream functions have ${names.size} names`);
  const bytes = new Uint8Array(parts.reduce((n, p) => n + p.length, 0)), symbols: StreamSymbol[] = [];
  let offset = 0;
  parts.forEach((part, i) => {
    bytes.set(part, offset);
    symbols.push({ name: functions[i]!.name, offset, size: part.length });
    offset += part.length;
  });
  return { functions, bytes, symbols };
}
