/**
 * Stream functions as tables, for machines without straight-line code and for functions too long for it: row by row, each product an
 * offset and a weight, run by one routine (runtime/cpu/spc_stream.h). The tables of a model are one region of bytes, addressed by
 * what they hold only, so that it can lie in a binary like the weights.
 *
 * Products of a row come in runs of one source and mask, and runs in groups of four, so that four weights are loaded at once and no
 * loop has a remainder. A run is filled up by splitting its largest weight: the parts add up to it exactly, and an infinite
 * activation gives what it gives with the whole weight (a weight of zero would make it NaN).
 */
import { commentBlock } from '../../../compiler/emit/c-abi.js';
import { commentSafe } from '../../../compiler/emit/writer.js';
import { NodeProblem } from '../../../compiler/diagnostics/diagnostic.js';
import { productsOf, streamLanes, type FloatStream, type StreamFunction } from '../../../compiler/kir/stream.js';
import { streamPrototypes, streamSignature } from './assembly-file.js';
import { streamRegion, type StreamRegion } from './region.js';

const GROUP = 4;
/** Bits of the flags in spc_stream.h. */
const STARTS = 1, RESIDUAL = 2, FINISHES = 4, PAIRS = 8;
/** Bytes of spc_stream, spc_stream_row, spc_stream_run. */
const HEAD = 64, ROW = 16, RUN = 8;
const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;

interface Run {
  readonly source: number;
  readonly mask: number;
  readonly offsets: number[];
  readonly weights: number[];
}

/** The products of each row, grouped by source and mask; whole groups. */
function runsOf(f: FloatStream): Run[][] {
  const rows: Map<number, Run>[] = f.rows.map(() => new Map<number, Run>());
  for (let k = 0; k < f.columnCount; k++) {
    const source = f.sources[k]!, mask = f.columnMasks[k]!, key = source << 8 | mask;
    for (let i = f.starts[k]!; i < f.starts[k + 1]!; i++) {
      const row = rows[f.rowOf[i]!]!;
      let run = row.get(key);
      if (!run) row.set(key, run = { source, mask, offsets: [], weights: [] });
      run.offsets.push(f.offsets[k]!);
      run.weights.push(f.weights[i]!);
    }
  }
  return rows.map((runs) => [...runs.values()].map(fillGroups));
}

/** What a weight is split into where so many are missing: powers of two, so that nothing is rounded (but the last bits of denormals). */
const shares: readonly (readonly number[])[] = [[1], [0.5, 0.5], [0.5, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]];

function fillGroups(run: Run): Run {
  const missing = -run.weights.length & (GROUP - 1);
  const largest = run.weights.reduce((best, w, i) => (Math.abs(w) > Math.abs(run.weights[best]!) ? i : best), 0), weight = run.weights[largest]!;
  shares[missing]!.forEach((share, i) => {
    const at = i === 0 ? largest : run.weights.length;
    run.weights[at] = share * weight;
    run.offsets[at] = run.offsets[largest]!;
  });
  return run;
}

/** Columns of which two tiles lie in a first-level cache, and products per column at which they need not. */
const PAIR_COLUMNS = 256, PAIR_PRODUCTS = 8;

/**
 * Two tiles at a time share the loads of offsets and the shuffles of weights, but have twice the columns to keep near. (Measured on
 * one core, % of its multiply-adds: 512 columns half zero 60 alone, 45 in pairs; 256 columns 58 and 67; 512 columns 90 % zero 52 and 58.)
 */
const worksInPairs = (f: StreamFunction): boolean => f.tiles > 1 && (f.columnCount <= PAIR_COLUMNS || productsOf(f) <= PAIR_PRODUCTS * f.columnCount);

/** One function: head, rows, runs, offsets, weights, each part at a multiple of 64 bytes. */
function tableOf(f: StreamFunction): Uint8Array {
  if (f.arithmetic === 'u8s8' || streamLanes(f) !== 16) throw new NodeProblem('SPC9008', `stream function ${f.name} has ${streamLanes(f)} lanes of ${f.arithmetic ?? 'f32'}: tables are for 16 of f32`);
  const rows = runsOf(f), runs = rows.flat(), groups = runs.reduce((n, r) => n + r.weights.length / GROUP, 0);
  const rowsAt = HEAD, runsAt = align(rowsAt + ROW * rows.length), offsetsAt = align(runsAt + RUN * runs.length);
  const weightsAt = align(offsetsAt + 4 * GROUP * groups), bytes = new Uint8Array(align(weightsAt + 4 * GROUP * groups));
  const view = new DataView(bytes.buffer);
  const integers = (at: number, values: readonly number[]): void => values.forEach((v, i) => view.setInt32(at + 4 * i, v, true));
  const flags = (f.start ? STARTS : 0) | (f.start?.residual ? RESIDUAL : 0) | (f.finish ? FINISHES : 0) | (worksInPairs(f) ? PAIRS : 0);
  integers(0, [f.rows.length, flags, f.maskCount, f.finish?.mask ?? 0, 0, 0, f.steps.x, f.steps.x2, f.steps.y, f.steps.r, rowsAt, runsAt, offsetsAt, weightsAt]);
  view.setFloat32(16, f.finish?.clamp.low ?? -Infinity, true);
  view.setFloat32(20, f.finish?.clamp.high ?? Infinity, true);
  let run = 0, group = 0;
  rows.forEach((row, r) => {
    for (const { source, mask, offsets, weights } of row) {
      offsets.forEach((o, i) => view.setInt32(offsetsAt + 4 * (GROUP * group + i), o, true));
      weights.forEach((w, i) => view.setFloat32(weightsAt + 4 * (GROUP * group + i), w, true));
      group += weights.length / GROUP;
      integers(runsAt + RUN * run++, [group, source << 16 | mask]);
    }
    integers(rowsAt + ROW * r, [f.rows[r]!, f.start?.residual?.[r] ?? 0, 0, run]);
    view.setFloat32(rowsAt + ROW * r + 8, f.start?.bias[r] ?? 0, true);
  });
  return bytes;
}

/** The tables of stream functions. @param functions their names are symbols */
export const streamTables = (functions: readonly StreamFunction[]): StreamRegion<StreamFunction> => streamRegion(functions, functions.map(tableOf));

export interface PortableFileOptions {
  /** Comment lines at the head of the file. */
  readonly header: readonly string[];
  /** C array of unsigned char that holds the bytes of {@link streamTables}, at a multiple of 64 bytes; defined elsewhere. */
  readonly tables: string;
}

/** C source of the functions over tables. */
export function portableFile(streams: StreamRegion<StreamFunction>, { header, tables }: PortableFileOptions): string {
  const functions = streams.symbols.map(({ name, offset }, i) => `
${streams.functions[i]!.doc.map((line) => `/* ${commentSafe(line)} */\n`).join('')}${streamSignature(name)} {
  spc_stream_rows(${tables} + ${offset}, x, tiles, masks, x2, y, r);
}
`);
  return `${commentBlock(header)}#include "spc_stream.h"

extern const unsigned char ${tables}[];
${streamPrototypes(streams.functions)}${functions.join('')}`;
}
