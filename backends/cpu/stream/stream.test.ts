/** Stream functions in all their forms, run: against the interpreter and a dense float64 product, with guards around every buffer. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { interpret, streamLanes, type FloatStream, type QuadStream, type StreamFunction } from '../../../compiler/kir/stream.js';
import { hasTool } from '../../../test/support/processes.js';
import { randomQuads, randomSource, randomStream, type RandomSource } from '../../../test/support/random-stream.js';
import { guardedLibrary, streamCase, violations, type GuardedRun, type StreamCase } from '../../../test/support/stream-harness.js';
import { isas } from '../isa.js';
import { compileFlags } from '../project.js';
import { assemblyFile, binaryBody } from './assembly-file.js';
import { encodeStreams } from './encode.js';
import { portableFile, streamTables } from './portable.js';
import { avx512 } from './x86.js';

const cpu = process.arch === 'x64' && process.platform === 'linux' ? readFileSync('/proc/cpuinfo', 'utf8') : '';
const hasAvx512 = /avx512f.*avx512bw|avx512bw.*avx512f/.test(cpu), hasVnni = cpu.includes('avx512_vnni');
const folder = mkdtempSync(join(tmpdir(), 'spc-stream-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const COUNT = 40;
const random = randomSource(2026);
/** The second half with a residual that lies where the result goes. */
const functions = Array.from({ length: COUNT }, (_, i): FloatStream => {
  const f = randomStream(random, `f${i}`, i < COUNT / 2 ? {} : { starts: true, residual: true });
  return i < COUNT / 2 ? f : { ...f, start: { bias: f.start!.bias, residual: f.rows }, steps: { ...f.steps, r: f.steps.y } };
});
const inPlace = (i: number): boolean => i >= COUNT / 2;

/** A function cut into two at a column: the first has no finish, the second goes on with its sums. */
function cut(f: FloatStream): readonly [FloatStream, FloatStream] {
  const k = Math.floor(f.columnCount / 2), { start, finish, ...rest } = f;
  const part = (name: string, from: number, to: number): Omit<FloatStream, 'start' | 'finish'> => ({
    ...rest, name, columnCount: to - from, offsets: f.offsets.slice(from, to), sources: f.sources.slice(from, to), columnMasks: f.columnMasks.slice(from, to),
    starts: f.starts.slice(from, to + 1).map((s) => s - f.starts[from]!), rowOf: f.rowOf.slice(f.starts[from], f.starts[to]), weights: f.weights.slice(f.starts[from], f.starts[to]),
  });
  return [{ ...part(`${f.name}_first`, 0, k), ...(start ? { start } : {}) }, { ...part(`${f.name}_second`, k, f.columnCount), ...(finish ? { finish } : {}) }];
}

const chunks = functions.slice(0, 10).map(cut);
/** Without anything that is added to its products. */
const bare = randomStream(random, 'bare', { rows: 31, columns: 40, density: 0.5, masks: 2, starts: true, residual: false, finishes: false });
bare.start!.bias.fill(0);
const wide = [...functions, ...chunks.flat(), bare];
/** What only machine code has: shorter vectors, and small integers. */
const narrow = Array.from({ length: 24 }, (_, i) => randomStream(random, `n${i}`, { lanes: i % 2 ? 8 : 4 }));
const quads = Array.from({ length: 24 }, (_, i) => randomQuads(random, `q${i}`, { lanes: random.pick([16, 16, 8, 4]) }));
const all: readonly StreamFunction[] = [...wide, ...narrow, ...quads];
type Words = Float32Array | Int32Array;

function interpreted(f: StreamFunction, c: StreamCase): Words {
  const y = c.y.slice();
  interpret(f, c.tiles, c.masks, { x: c.x, x2: c.x2, y, r: c.r ?? y }, { x: c.at.x / 4, x2: c.at.x2 / 4, y: c.at.y / 4, r: c.at.r / 4 });
  return y;
}

/** The same in float64 on a dense matrix, row by row; and how large the terms of each sum are. */
function dense(f: FloatStream, c: StreamCase): { readonly y: Float64Array; readonly scale: Float64Array } {
  const matrix = f.rows.map(() => new Float64Array(f.columnCount)), y = Float64Array.from(c.y), scale = new Float64Array(y.length).fill(1);
  for (let k = 0; k < f.columnCount; k++) for (let i = f.starts[k]!; i < f.starts[k + 1]!; i++) matrix[f.rowOf[i]!]![k] = f.weights[i]!;
  for (let t = 0; t < c.tiles; t++) {
    const lit = (mask: number, lane: number): boolean => mask === 0 || (c.masks[t * f.maskCount + mask - 1]! >> lane & 1) === 1;
    f.rows.forEach((offset, r) => {
      for (let lane = 0; lane < 16; lane++) {
        const to = (c.at.y + offset + t * f.steps.y) / 4 + lane;
        let sum = f.start ? f.start.bias[r]! : y[to]!, terms = Math.abs(sum);
        if (f.start?.residual) sum += (c.r ?? c.y)[(c.at.r + f.start.residual[r]! + t * f.steps.r) / 4 + lane]!;
        matrix[r]!.forEach((w, k) => {
          const second = f.sources[k] === 1, source = second ? c.x2 : c.x, from = ((second ? c.at.x2 : c.at.x) + f.offsets[k]! + t * (second ? f.steps.x2 : f.steps.x)) / 4;
          const product = w * (lit(f.columnMasks[k]!, lane) ? source[from + lane]! : 0);
          sum += product;
          terms += Math.abs(product);
        });
        if (f.finish) sum = lit(f.finish.mask, lane) ? Math.min(Math.max(sum, f.finish.clamp.low), f.finish.clamp.high) : 0;
        y[to] = sum;
        scale[to] = 1 + terms;
      }
    });
  }
  return { y, scale };
}

/** The same for quads, byte by byte in exact sums. */
function denseQuads(f: QuadStream, c: StreamCase): Int32Array {
  const x = [c.x, c.x2].map((s) => new Uint8Array(s.buffer)), weights = new Int8Array(f.weights.buffer), y = Int32Array.from(c.y), lanes = streamLanes(f);
  for (let t = 0; t < c.tiles; t++) {
    const sums = f.rows.map((offset, r) => Array.from({ length: lanes }, (_, lane) => (f.start ? f.start.bias[r]! : y[(c.at.y + offset + t * f.steps.y) / 4 + lane]!)));
    for (let k = 0; k < f.columnCount; k++) for (let i = f.starts[k]!; i < f.starts[k + 1]!; i++) for (let lane = 0; lane < lanes; lane++) {
      if (f.columnMasks[k] && !(c.masks[t * f.maskCount + f.columnMasks[k]! - 1]! >> lane & 1)) continue;
      const second = f.sources[k] === 1, from = (second ? c.at.x2 : c.at.x) + f.offsets[k]! + t * (second ? f.steps.x2 : f.steps.x) + 4 * lane;
      for (let b = 0; b < 4; b++) sums[f.rowOf[i]!]![lane]! += weights[4 * i + b]! * x[f.sources[k]!]![from + b]!;
    }
    f.rows.forEach((offset, r) => sums[r]!.forEach((sum, lane) => { y[(c.at.y + offset + t * f.steps.y) / 4 + lane] = sum | 0; }));
  }
  return y;
}

/** Index of the first element that differs: NaN equals NaN, zeros are equal, others to within `tolerance` times their scale. */
function firstDifference(actual: Words, expected: ArrayLike<number>, tolerance = 0, scale?: Float64Array): string | undefined {
  for (let i = 0; i < actual.length; i++) {
    const a = actual[i]!, e = expected[i]!;
    if (Object.is(a, e) || a === e || Math.abs(a - e) <= tolerance * (scale?.[i] ?? Math.max(1, Math.abs(e)))) continue;
    return `element ${i}: ${a} instead of ${e}`;
  }
  return undefined;
}

interface Case {
  readonly index: number;
  readonly data: StreamCase;
  readonly expected: ArrayLike<number>;
  readonly tolerance?: number;
  readonly scale?: Float64Array;
}

const eighth = (values: RandomSource) => (): number => values.integer(-16, 16) / 8;
const word = (values: RandomSource) => (): number => values.pick([0, 0xffff, values.integer(0, 0xffff), 0x7ffe, 1]);

/** Made once, for all forms. */
function once<T>(make: () => T): () => T {
  const made: T[] = [];
  return () => made[0] ?? (made[0] = make());
}

const experiments: readonly { readonly what: string; readonly only?: 'code' | 'vnni'; readonly cases: () => readonly Case[] }[] = [
  {
    what: 'vectors of 8 and 4 lanes: the interpreter\'s sums',
    only: 'code',
    cases: once(() => {
      const values = randomSource(13);
      return narrow.map((f): Case => {
        const data = streamCase(f, values.integer(1, 9), eighth(values), word(values));
        return { index: all.indexOf(f), data, expected: interpreted(f, data) };
      });
    }),
  },
  {
    what: 'fours of small integers, extremes among them: the interpreter\'s sums, which are exact',
    only: 'vnni',
    cases: once(() => {
      const values = randomSource(14), element = (): number => values.pick([-1, 0, values.integer(-(2 ** 31), 2 ** 31 - 1)]);
      return quads.map((f): Case => {
        const data = streamCase(f, values.integer(1, 4), element, word(values)), expected = denseQuads(f, data);
        expect(interpreted(f, data)).toEqual(expected);
        return { index: all.indexOf(f), data, expected };
      });
    }),
  },
  {
    what: 'exact sums are equal to the interpreter\'s',
    cases: once(() => {
      const values = randomSource(3);
      return functions.map((f, index) => {
        const data = streamCase(f, values.integer(1, 9), eighth(values), word(values), inPlace(index));
        return { index, data, expected: interpreted(f, data) };
      });
    }),
  },
  {
    what: 'random values agree with a dense product in float64',
    cases: once(() => {
      const values = randomSource(4);
      return functions.map((f, index) => {
        const data = streamCase(f, values.integer(1, 4), () => (values.next() + values.next() - 1) * 4, word(values), inPlace(index)), { y, scale } = dense(f, data);
        return { index, data, expected: y, tolerance: 1e-5, scale };
      });
    }),
  },
  {
    what: 'NaN and infinities go where non-zero weights take them',
    cases: once(() => {
      const values = randomSource(5), ordinary = eighth(values);
      const special = (): number => (values.next() < 0.97 ? ordinary() : values.pick([NaN, Infinity, -Infinity, -0]));
      const cases = functions.map((f, index) => {
        const data = streamCase(f, values.integer(1, 3), special, word(values), inPlace(index));
        return { index, data, expected: interpreted(f, data) };
      });
      expect(cases.flatMap(({ expected }) => [...expected]).filter((v) => !Number.isFinite(v)).length).toBeGreaterThan(1000);
      return cases;
    }),
  },
  {
    what: 'denormals are not flushed',
    cases: once(() => {
      const values = randomSource(6), data = streamCase(bare, 2, () => values.integer(-1000, 1000) * 2 ** -140, word(values)), expected = interpreted(bare, data);
      expect(expected.filter((v) => v !== 0 && Math.abs(v) < 2 ** -126).length).toBeGreaterThan(100);
      return [{ index: all.indexOf(bare), data, expected }];
    }),
  },
];

interface Form {
  readonly name: string;
  readonly needs: boolean;
  readonly cc: string;
  readonly flags: readonly string[];
  readonly files: () => ReadonlyMap<string, string | Uint8Array>;
}

const table = (bytes: Uint8Array): string => `__attribute__((aligned(64))) const unsigned char stream_tables[] = {${bytes.join(',')}};\n`;
const portable = (): ReadonlyMap<string, string | Uint8Array> => {
  const tables = streamTables(wide);
  return new Map([['portable.c', portableFile(tables, { header: ['test'], tables: 'stream_tables' })], ['tables.c', table(tables.bytes)]]);
};
const assembly = (binary?: string) => (): ReadonlyMap<string, string | Uint8Array> => {
  const streams = encodeStreams(all, { isa: { ...avx512, cached: { second: 0, third: 0 } } });
  return new Map<string, string | Uint8Array>([['streams.S', assemblyFile({ machine: 'x86-64', functions: all, body: binary ? binaryBody(streams.symbols, binary) : streams.text }, ['test'])], ['streams.bin', streams.bytes]]);
};
const gcc = hasTool('gcc'), clang = hasTool('clang');
const forms: readonly Form[] = [
  { name: 'machine code', needs: gcc, cc: 'gcc', flags: [], files: assembly('streams.bin') },
  { name: 'assembly text', needs: gcc, cc: 'gcc', flags: [], files: assembly() },
  { name: 'machine code, clang', needs: clang, cc: 'clang', flags: [], files: assembly('streams.bin') },
  { name: 'portable C, AVX-512', needs: gcc, cc: 'gcc', flags: compileFlags(isas['x86-64-v4']), files: portable },
  { name: 'portable C, AVX2', needs: gcc, cc: 'gcc', flags: compileFlags(isas['x86-64-v3']), files: portable },
  { name: 'portable C, generic', needs: gcc, cc: 'gcc', flags: compileFlags(isas.generic), files: portable },
  { name: 'portable C, AVX-512, clang', needs: clang, cc: 'clang', flags: compileFlags(isas['x86-64-v4']), files: portable },
];

// the harness itself looks at 512-bit registers
describe.skipIf(!hasAvx512).each(forms)('$name', ({ name, needs, cc, flags, files }) => {
  const isAssembly = !name.startsWith('portable');
  let run: GuardedRun, library: string;
  beforeAll(() => {
    if (!needs) return;
    const own = join(folder, name.replace(/\W+/g, '-'));
    mkdirSync(own);
    ({ run, library } = guardedLibrary(own, 'streams', cc, flags, (isAssembly ? all : wide).map((f) => f.name), files()));
  }, 60_000);
  /** Both placements of the buffers; registers and guards must be well. The C compiler leaves vector registers as it likes. */
  const guarded = (index: number, data: StreamCase): Words => {
    const first = run(index, data, false), second = run(index, data, true);
    for (const { broken } of [first, second]) expect(isAssembly ? broken : broken & ~violations.upperHalves, `${all[index]!.name}: violations`).toBe(0);
    expect(firstDifference(second.y, first.y), all[index]!.name).toBeUndefined();
    return second.y;
  };
  test.skipIf(!needs).each(experiments.filter(({ only }) => !only || (isAssembly && (only === 'code' || hasVnni))))('$what', ({ cases }) => {
    for (const { index, data, expected, tolerance, scale } of cases()) {
      expect(firstDifference(guarded(index, data), expected, tolerance, scale), `${all[index]!.name}: ${all[index]!.doc[0]}`).toBeUndefined();
    }
  });

  test.skipIf(!needs)('two functions that share the columns give what one gives', () => {
    const values = randomSource(8);
    chunks.forEach((_, c) => {
      const f = functions[c]!, data = streamCase(f, values.integer(1, 5), eighth(values), word(values)), index = COUNT + 2 * c;
      // each half has buffers of its own size: give it the parts of the whole that it may touch
      const part = (g: StreamFunction, y: Words): StreamCase => {
        const own = streamCase(g, data.tiles, () => 0, () => 0);
        const share = (whole: Words, wholeAt: number, mine: Words, mineAt: number): Words => whole.slice((wholeAt - mineAt) / 4, (wholeAt - mineAt) / 4 + mine.length);
        return { ...own, masks: data.masks, y, x: share(data.x, data.at.x, own.x, own.at.x), x2: share(data.x2, data.at.x2, own.x2, own.at.x2), r: share(data.r!, data.at.r, own.r!, own.at.r) };
      };
      const first = guarded(index, part(all[index]!, data.y)), second = guarded(index + 1, part(all[index + 1]!, first));
      expect(firstDifference(second, interpreted(f, data)), f.name).toBeUndefined();
    });
  });

  test.skipIf(!needs)('position independent, no executable stack, nothing exported', () => {
    const headers = execFileSync('readelf', ['-lW', library], { encoding: 'utf8' }), dynamic = execFileSync('readelf', ['-dW', library], { encoding: 'utf8' });
    expect(headers).toMatch(/GNU_STACK.* RW /);
    expect(dynamic).not.toMatch(/TEXTREL/);
    const exported = execFileSync('readelf', ['--dyn-syms', '-W', library], { encoding: 'utf8' });
    expect(exported).toMatch(/spc_run_guarded/);
    for (const f of all) expect(exported).not.toMatch(new RegExp(`\\b${f.name}\\b`));
  });
});
