/** Machine code against what an assembler makes of the text: every operand form with all registers, and whole functions. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { hasTool } from '../../../test/support/processes.js';
import type { StreamLanes } from '../../../compiler/kir/stream.js';
import { encodeStreams } from './encode.js';
import { randomQuads, randomSource, randomStream } from '../../../test/support/random-stream.js';
import { avx512, byteAssembler, gpr, textAssembler, vectorOps, type Assembler, type StreamIsa, type VectorOp } from './x86.js';

const assembler = ['gcc', 'clang'].find(hasTool);
/** So that functions fetch ahead. */
const nothingCached: StreamIsa = { ...avx512, cached: { second: 0, third: 0 } };
const canAssemble = assembler !== undefined && hasTool('objcopy') && process.arch === 'x64' && process.platform === 'linux';
const folder = mkdtempSync(join(tmpdir(), 'spc-encode-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The bytes that the assembler makes of a text. */
function assemble(text: string): Uint8Array {
  const file = join(folder, 'code.s'), object = join(folder, 'code.o'), bytes = join(folder, 'code.bin');
  writeFileSync(file, `.intel_syntax noprefix\n.text\n${text}`);
  execFileSync(assembler!, ['-c', file, '-o', object]);
  execFileSync('objcopy', ['-O', 'binary', '-j', '.text', object, bytes]);
  return Uint8Array.from(readFileSync(bytes));
}

/** Both forms of the same instructions; on a difference, the first instruction that differs is named. */
function expectSameCode(write: (asm: Assembler) => void, lanes: StreamLanes = 16): void {
  const text = textAssembler('f', lanes), bytes = byteAssembler(lanes);
  write(text);
  write(bytes);
  const expected = assemble(text.text()), actual = bytes.take();
  expect(Buffer.compare(actual, expected), `${actual.length} bytes for ${expected.length}`).toBe(0);
}

const allVectors = Array.from({ length: 32 }, (_, i) => i), someVectors = [0, 7, 8, 15, 16, 31], bases = Object.values(gpr);
const displacements = [0, 1, -1, 4, 64, -64, 127, 128, -128, -129, 508, 512, -512, -516, 8128, 8192, -8192, -8256, 100_000, -(2 ** 31), 2 ** 31 - 1];
const masks = [0, 1, 2, 3, 4, 5, 6, 7];
const ops: readonly (readonly [string, VectorOp, StreamLanes])[] = ([16, 8, 4] as const).flatMap((lanes) => Object.entries(vectorOps).map(([name, op]) => [name, op, lanes] as const))
  // vpermps has no form of 128 bits
  .filter(([name, , lanes]) => name !== 'permute' || lanes > 4);

test.skipIf(!canAssemble).each(ops)('%s with all registers, addresses and masks ($2 lanes)', (_, op: VectorOp, lanes) => {
  expectSameCode((asm) => {
    const vectors = lanes === 16 ? allVectors : someVectors, third = op.operands === 3 ? vectors : [0];
    for (const reg of vectors) for (const v of third) asm.memory(op, reg, v, gpr.rdi, 64, 0);
    for (const reg of [0, 7, 8, 17, 31]) for (const base of bases) for (const d of displacements) asm.memory(op, reg, op.operands === 3 ? 31 - reg : 0, base, d, 0);
    if (op.memory !== 'vector') return;
    if (!('stores' in op)) {
      for (const reg of vectors) for (const v of third) for (const rm of vectors) asm.register(op, reg, v, rm, 0);
      for (const mask of masks) for (const reg of vectors) asm.memory(op, reg, third[reg] ?? 0, gpr.r8, 128, mask);
      for (const mask of masks) for (const reg of vectors) asm.register(op, reg, third[reg] ?? 0, 31 - reg, mask);
    }
  }, lanes);
});

test.skipIf(!canAssemble)('tests, shifts and masks with all registers', () => {
  expectSameCode((asm) => {
    for (const mask of masks) {
      for (const v of allVectors) asm.testBits(mask, v, 31 - v);
      for (const of of masks) asm.notMask(mask, of);
    }
    for (const reg of allVectors) for (const rm of allVectors) { asm.shift('right', reg, rm, reg); asm.shift('left', reg, rm, reg); }
  });
});

test.skipIf(!canAssemble)('integer instructions with all registers', () => {
  expectSameCode((asm) => {
    for (const d of displacements) {
      for (const base of bases) {
        for (const mask of masks) asm.loadMask(mask, base, d);
        for (const reg of bases) asm.lea(reg, base, d);
        asm.prefetch(base, d);
        if (d) asm.addImmediate(base, d);
        asm.decrement(base);
      }
    }
    asm.zeroUpper();
    asm.ret();
  });
});

test.skipIf(!canAssemble)('labels: jumps back of both lengths, addresses ahead', () => {
  for (const count of [0, 17, 18, 19, 1000]) {
    expectSameCode((asm) => {
      asm.leaLabel(gpr.r11, 'end', 128);
      asm.label('top');
      asm.leaLabel(gpr.r10, 'weights', 512);
      for (let i = 0; i < count; i++) asm.memory(vectorOps.fma, i % 32, 31, gpr.r10, 4, 0);
      asm.decrement(gpr.rsi);
      asm.jumpNotZero('top');
      asm.ret();
      asm.align('trap');
      asm.label('weights');
      asm.words(Float32Array.of(1, -0, NaN, Infinity, 1e-40, 3, 4, 5, 6));
      asm.align('zero');
      asm.label('end');
    });
  }
});

test.skipIf(!canAssemble)('whole functions', () => {
  const random = randomSource(11), functions = Array.from({ length: 40 }, (_, i) => (i % 4 === 0 ? randomQuads : randomStream)(random, `f${i}`, { lanes: random.pick([16, 16, 8, 4]) }));
  const encoded = encodeStreams(functions, { isa: nothingCached });
  const text = functions.map((_, i) => encoded.text(i)).join('');
  expect(Buffer.compare(encoded.bytes, assemble(text))).toBe(0);
  expect(encoded.symbols.map((s) => s.offset % 64)).toEqual(functions.map(() => 0));
  expect(encoded.symbols.at(-1)!.offset + encoded.symbols.at(-1)!.size).toBe(encoded.bytes.length);
  expect(encodeStreams(functions, { isa: nothingCached }).bytes).toEqual(encoded.bytes);
});

const fetched = (text: string): number[] => [...text.matchAll(/prefetcht0 BYTE PTR \[r11([+-]\d+)?\]/g)].map((m) => Number(m[1] ?? 0) / 64 + 2);

test('each function fetches the next one over its tiles, the last nothing', () => {
  const random = randomSource(5), functions = Array.from({ length: 12 }, (_, i) => ({ ...randomStream(random, `f${i}`), tiles: 1 + i % 4 }));
  const encoded = encodeStreams(functions, { isa: nothingCached });
  functions.forEach((f, i) => {
    const next = encoded.symbols[i + 1]?.size ?? 0;
    expect(fetched(encoded.text(i))).toEqual(Array.from({ length: Math.ceil(next / 64 / f.tiles) }, (_, line) => line));
  });
});

test('nothing is fetched that stays in a cache, nor over few tiles what comes from the third', () => {
  const random = randomSource(5), functions = Array.from({ length: 6 }, (_, i) => ({ ...randomStream(random, `f${i}`, { columns: 40, density: 0.5 }), tiles: 3 + i % 2 }));
  const counts = (cached: { second: number; third: number }): boolean[] => {
    const encoded = encodeStreams(functions, { isa: { ...avx512, cached } });
    return functions.map((_, i) => fetched(encoded.text(i)).length > 0);
  };
  expect(counts(avx512.cached)).toEqual([false, false, false, false, false, false]);
  expect(counts({ second: 0, third: 1 << 20 })).toEqual([false, true, false, true, false, false]);
  expect(counts({ second: 0, third: 0 })).toEqual([true, true, true, true, true, false]);
});

test('what does not fit the registers is refused', () => {
  const f = randomStream(randomSource(1), 'f');
  expect(() => encodeStreams([f, f])).toThrow(/2 stream functions have 1 names/);
  expect(() => encodeStreams([{ ...f, rows: Array.from({ length: 32 }, (_, i) => 64 * i) }])).toThrow(/32 rows/);
  const columnMasks = Uint8Array.from({ length: 8 }, (_, i) => i + 1);
  expect(() => encodeStreams([{ ...f, finish: undefined, columnMasks }] as never)).toThrow(/8 masks/);
});
