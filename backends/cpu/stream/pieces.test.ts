/** Stream functions on registers that are a part of a vector, assembled and run (AArch64 in an emulator) against the interpreter, with guards around every buffer. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { interpret, type FloatStream } from '../../../compiler/kir/stream.js';
import { hasTool } from '../../../test/support/processes.js';
import { randomQuads, randomSource, randomStream, type RandomSource } from '../../../test/support/random-stream.js';
import { guardedLibrary, guardedProgram, streamCase, type GuardedRun, type StreamCase } from '../../../test/support/stream-harness.js';
import { nativeIsa } from '../target.js';
import { assemblyFile, binaryBody } from './assembly-file.js';
import { avx2 } from './avx2.js';
import { neon } from './neon.js';
import { encodePieces, writePieces, type PieceMachine } from './pieces.js';

const folder = mkdtempSync(join(tmpdir(), 'spc-pieces-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Form {
  readonly machine: PieceMachine;
  readonly cc: string;
  readonly able: boolean;
  readonly asText: boolean;
  readonly build: typeof guardedLibrary;
}
const hasAvx2 = process.arch === 'x64' && process.platform === 'linux' && nativeIsa().lanes >= 8;
const hasArm = hasTool('aarch64-linux-gnu-gcc') && hasTool('qemu-aarch64');
const forms: readonly Form[] = [
  { machine: avx2, cc: 'gcc', able: hasAvx2 && hasTool('gcc'), asText: false, build: guardedLibrary },
  { machine: avx2, cc: 'clang', able: hasAvx2 && hasTool('clang'), asText: true, build: guardedLibrary },
  { machine: { ...avx2, name: 'avx2 that fetches ahead', fetchesBeyond: 0 }, cc: 'gcc', able: hasAvx2 && hasTool('gcc'), asText: false, build: guardedLibrary },
  { machine: neon, cc: 'aarch64-linux-gnu-gcc', able: hasArm, asText: true, build: guardedProgram },
];

const COUNT = 40;
/** The second half with a residual that lies where the result goes; the last ones reach as far as offsets go, and have all rows. */
const functionsFor = (machine: PieceMachine): readonly FloatStream[] => {
  const random = randomSource(77);
  return Array.from({ length: COUNT }, (_, i): FloatStream => {
    const rows = i % 5 === 4 ? machine.rows : random.integer(1, machine.rows);
    const f = randomStream(random, `f${i}`, { rows, ...(i < COUNT / 2 ? {} : { starts: true, residual: true }) });
    if (i < COUNT / 2) return f;
    const inPlace = { ...f, start: { bias: f.start!.bias, residual: f.rows }, steps: { ...f.steps, r: f.steps.y } };
    return i < COUNT - 4 ? inPlace : { ...inPlace, offsets: f.offsets.map((o, k) => o + 64 * (k % 7) * 2 ** (i % 4 + 9)) };
  });
};
const inPlace = (i: number): boolean => i >= COUNT / 2;

const eighth = (values: RandomSource) => (): number => values.integer(-16, 16) / 8;
const word = (values: RandomSource) => (): number => values.pick([0, 0xffff, values.integer(0, 0xffff), 0x7ffe, 1]);

function interpreted(f: FloatStream, c: StreamCase): Float32Array {
  const y = (c.y as Float32Array).slice();
  interpret(f, c.tiles, c.masks, { x: c.x, x2: c.x2, y, r: c.r ?? y }, { x: c.at.x / 4, x2: c.at.x2 / 4, y: c.at.y / 4, r: c.at.r / 4 });
  return y;
}

/** Index and values of the first element that differs: NaN equals NaN, zeros are equal. */
function firstDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): string | undefined {
  for (let i = 0; i < expected.length; i++) if (!Object.is(actual[i], expected[i]) && actual[i] !== expected[i]) return `element ${i}: ${actual[i]} instead of ${expected[i]}`;
  return undefined;
}

describe.each(forms)('$machine.name, $cc, as text: $asText', ({ machine, cc, able, asText, build }) => {
  const functions = functionsFor(machine);
  let run: GuardedRun;
  beforeAll(() => {
    if (!able) return;
    const own = join(folder, `${machine.name}-${cc}`);
    mkdirSync(own);
    const { symbols, bytes, text } = encodePieces(machine, functions), body = asText ? text : binaryBody(symbols, 'streams.bin');
    ({ run } = build(own, 'streams', cc, [], functions.map((f) => f.name), new Map<string, string | Uint8Array>([['streams.S', assemblyFile({ machine: machine.processor, functions, body }, ['test'])], ['streams.bin', bytes ?? '']])));
  }, 60_000);
  const check = (element: (values: RandomSource) => () => number, seed: number): Float32Array[] => functions.map((f, index) => {
    const values = randomSource(seed + index), data = streamCase(f, values.integer(1, 5), element(values), word(values), inPlace(index)), expected = interpreted(f, data);
    // an emulator takes its time to start
    for (const atEnd of machine === neon ? [index % 2 === 0] : [false, true]) {
      const { y, broken } = run(index, data, atEnd);
      expect(broken, `${f.name}: violations`).toBe(0);
      expect(firstDifference(y, expected), `${f.name}: ${f.doc[0]}`).toBeUndefined();
    }
    return expected;
  });

  test.skipIf(!able)('exact sums are equal to the interpreter\'s, registers and memory of others untouched', () => { check(eighth, 100); });
  test.skipIf(!able)('NaN and infinities go where non-zero weights take them', () => {
    const special = (values: RandomSource) => (): number => (values.next() < 0.97 ? values.integer(-16, 16) / 8 : values.pick([NaN, Infinity, -Infinity, -0]));
    expect(check(special, 200).flatMap((y) => [...y]).filter((v) => !Number.isFinite(v)).length).toBeGreaterThan(1000);
  });
  test('what it cannot run is refused', () => {
    const random = randomSource(1), f = randomStream(random, 'f', { rows: machine.rows });
    expect(() => writePieces(machine, { ...f, rows: [...f.rows, 64000] }, 'binary')).toThrow(/registers for/);
    expect(() => writePieces(machine, { ...f, lanes: 8 }, 'binary')).toThrow(/f32 in 8 lanes/);
    expect(() => writePieces(machine, randomQuads(random, 'q', { rows: 4 }), 'binary')).toThrow(/u8s8 in 16 lanes/);
  });
});

const assembler = hasTool('gcc') && hasTool('objcopy') && hasAvx2;
test.skipIf(!assembler).each([Infinity, 0])('bytes are what the assembler makes of the text, fetching beyond %s', (fetchesBeyond) => {
  const functions = functionsFor(avx2), { bytes, symbols, text } = encodePieces({ ...avx2, fetchesBeyond }, functions), file = join(folder, 'code.S');
  expect(text(0).includes('prefetcht1')).toBe(fetchesBeyond === 0);
  writeFileSync(file, assemblyFile({ machine: 'x86-64', functions, body: text }, ['test']));
  execFileSync('gcc', ['-c', file, '-o', join(folder, 'code.o')]);
  execFileSync('objcopy', ['-O', 'binary', '-j', '.text', join(folder, 'code.o'), join(folder, 'code.bin')]);
  const assembled = readFileSync(join(folder, 'code.bin'));
  for (const { name, offset, size } of symbols) expect(Buffer.compare(bytes!.subarray(offset, offset + size), assembled.subarray(offset, offset + size)), name).toBe(0);
  expect([assembled.length, symbols.every((s) => s.offset % 64 === 0)]).toEqual([bytes!.length, true]);
});
