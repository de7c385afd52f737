/**
 * Stream functions for AVX2: both pieces of eight lanes together, with up to six rows. Four weights come in one load, a shuffle spreads
 * one over a register, two multiply-adds use it; a column that one row needs is the multiply-adds' operand in memory. So the shuffle, which
 * runs on another port, takes the place of a load, and the multiply-adds are what a core is short of (measured on one core, columns in
 * the first cache, cycles a product of 16 lanes at 90 % zeros: 1.07; with a weight loaded for each product 1.40; 14 rows of a piece at a time 1.64).
 *
 * Registers: arguments in rdi (x), rsi (tiles left), rdx (masks), rcx (x2), r8 (y), r9 (residual); r10 weights, r11 the mask as a vector, in
 * the 128 bytes below the stack pointer that are a function's own; rax somewhere among the columns. A pointer that the function has no use for
 * says what to fetch ahead of the next one, into the second cache: code that is there anyway takes 1.9 cycles a product, with it and without,
 * code from memory 3.5 instead of 4.9 (fetched into the first cache, code that is in the second anyway takes 4.8).
 */
import type { FloatStream } from '../../../compiler/kir/stream.js';
import { constantsOf, LANE_BITS, usesMasks, type PieceAssembler, type PieceMachine, type Pointer } from './pieces.js';
import { byteAssembler, gpr, textAssembler, type Gpr, type VexOp, type VexOperand } from './x86.js';

const ROWS = 6, PIECE = 32, LINE = 64, PIECES = [0, 1] as const;
/** Of the first eight registers, whose encodings are shorter. */
const FOUR = 0, WEIGHT = 1, COLUMN = 2, SUMS = 4;
const registers: { readonly [P in Pointer]: Gpr } = { x: gpr.rdi, masks: gpr.rdx, x2: gpr.rcx, y: gpr.r8, r: gpr.r9 };
/** Weights between two steps of their pointer: displacements of one byte reach 256 bytes. */
const WEIGHTS_IN_REACH = 64, MIDDLE_WEIGHT = 32;
const inReach = (displacement: number): boolean => displacement >= -128 && displacement + PIECE <= 127;

export const avx2Ops = {
  load: { mnemonic: 'vmovups', map: 1, prefix: 0, opcode: 0x10, operands: 2, size: 'YMMWORD' },
  store: { mnemonic: 'vmovups', map: 1, prefix: 0, opcode: 0x11, operands: 2, size: 'YMMWORD', stores: true },
  move: { mnemonic: 'vmovaps', map: 1, prefix: 0, opcode: 0x28, operands: 2, size: 'YMMWORD' },
  add: { mnemonic: 'vaddps', map: 1, prefix: 0, opcode: 0x58, operands: 3, size: 'YMMWORD' },
  min: { mnemonic: 'vminps', map: 1, prefix: 0, opcode: 0x5d, operands: 3, size: 'YMMWORD' },
  max: { mnemonic: 'vmaxps', map: 1, prefix: 0, opcode: 0x5f, operands: 3, size: 'YMMWORD' },
  and: { mnemonic: 'vandps', map: 1, prefix: 0, opcode: 0x54, operands: 3, size: 'YMMWORD' },
  equal: { mnemonic: 'vpcmpeqd', map: 1, prefix: 1, opcode: 0x76, operands: 3, size: 'YMMWORD' },
  shuffle: { mnemonic: 'vshufps', map: 1, prefix: 0, opcode: 0xc6, operands: 3, size: 'YMMWORD', immediate: true },
  broadcast: { mnemonic: 'vbroadcastss', map: 2, prefix: 1, opcode: 0x18, operands: 2, size: 'DWORD' },
  broadcastFour: { mnemonic: 'vbroadcastf128', map: 2, prefix: 1, opcode: 0x1a, operands: 2, size: 'XMMWORD' },
  broadcastWord: { mnemonic: 'vpbroadcastw', map: 2, prefix: 1, opcode: 0x79, operands: 2, size: 'WORD' },
  fma: { mnemonic: 'vfmadd231ps', map: 2, prefix: 1, opcode: 0xb8, operands: 3, size: 'YMMWORD' },
} as const satisfies { readonly [name: string]: VexOp };

function assembler(f: FloatStream, form: 'binary' | 'text', following: number): PieceAssembler {
  const bytes = form === 'binary' ? byteAssembler() : undefined, text = textAssembler(f.name), asm = bytes ?? text;
  const { weights, all } = constantsOf(f), masked = usesMasks(f), sum = (row: number, piece: number): number => SUMS + 2 * row + piece;
  let weight = 0, other = weights, base: { readonly pointer: Pointer; readonly origin: number } | undefined;

  const at = (register: Gpr, displacement: number): VexOperand => ({ base: register, displacement }), maskAt = (piece: number): VexOperand => at(gpr.r11, PIECE * piece);
  const both = (register: Gpr, displacement: number): readonly [VexOperand, VexOperand] => [at(register, displacement), at(register, displacement + PIECE)];
  /** The pieces of a vector: from its pointer, or from rax, which is moved where the next vector profits too. */
  const vector = (pointer: Pointer, offset: number, next?: number): readonly [VexOperand, VexOperand] => {
    const from = registers[pointer];
    if (inReach(offset)) return both(from, offset);
    if (base?.pointer === pointer && inReach(offset - base.origin)) return both(gpr.rax, offset - base.origin);
    if (next === undefined || !inReach(next - offset - 128)) return both(from, offset);
    base = { pointer, origin: offset + 128 };
    asm.lea(gpr.rax, from, base.origin);
    return both(gpr.rax, -128);
  };
  const ahead = f.start?.residual ? (f.sources.includes(1) ? undefined : gpr.rcx) : gpr.r9, products = f.weights.length;
  const linesPerTile = ahead === undefined ? 0 : Math.ceil(following / LINE / f.tiles);
  let fetched = 0, due = 0;
  const fetch = (): void => asm.prefetch(ahead!, LINE * (fetched++ - 2), 2);
  const constant = (): VexOperand => ({ label: 'weights', addend: 4 * other++ });

  return {
    enter() {
      if (masked) asm.scratch(gpr.r11);
      if (linesPerTile) asm.leaLabel(ahead!, 'end', 2 * LINE);
    },
    leave() {
      asm.zeroUpper();
      asm.ret();
      asm.align('trap');
      asm.label('weights');
      asm.words(all);
      asm.align('zero');
      if (masked) {
        asm.label('bits');
        asm.words(LANE_BITS);
      }
      asm.label('end');
    },
    tile() { asm.label('tile'); },
    pass() {
      asm.leaLabel(gpr.r10, 'weights', 4 * MIDDLE_WEIGHT);
      weight = 0;
      other = weights;
      base = undefined;
    },
    nextPass() { /* there is one */ },
    nextTile() {
      if (linesPerTile) asm.addImmediate(ahead!, LINE * linesPerTile);
      asm.decrement(gpr.rsi);
      asm.jumpNotZero('tile');
    },
    advance(pointer, bytes) { if (bytes) asm.addImmediate(registers[pointer], bytes); },
    splat(row) {
      asm.vex(avx2Ops.broadcast, sum(row, 0), 0, constant());
      asm.vex(avx2Ops.move, sum(row, 1), 0, sum(row, 0));
    },
    load(row, pointer, offset) { vector(pointer, offset).forEach((v, p) => asm.vex(avx2Ops.load, sum(row, p), 0, v)); },
    add(row, pointer, offset) { vector(pointer, offset).forEach((v, p) => asm.vex(avx2Ops.add, sum(row, p), sum(row, p), v)); },
    store(row, pointer, offset) { vector(pointer, offset).forEach((v, p) => asm.vex(avx2Ops.store, sum(row, p), 0, v)); },
    mask(word) {
      asm.vex(avx2Ops.broadcastWord, COLUMN, 0, at(gpr.rdx, 2 * word));
      for (const p of PIECES) {
        const bits = { label: 'bits', addend: PIECE * p };
        asm.vex(avx2Ops.and, WEIGHT, COLUMN, bits);
        asm.vex(avx2Ops.equal, WEIGHT, WEIGHT, bits);
        asm.vex(avx2Ops.store, WEIGHT, 0, maskAt(p));
      }
    },
    column(k, isMasked) {
      const first = f.starts[k]!, end = f.starts[k + 1]!, source = f.sources[k]!;
      const follows = k + 1 < f.columnCount && f.sources[k + 1] === source ? f.offsets[k + 1]! : undefined;
      const places = vector(source ? 'x2' : 'x', f.offsets[k]!, follows), inMemory = end - first === 1 && !isMasked;
      if (!inMemory) {
        for (const p of PIECES) {
          asm.vex(avx2Ops.load, COLUMN + p, 0, places[p]);
          if (isMasked) asm.vex(avx2Ops.and, COLUMN + p, COLUMN + p, maskAt(p));
        }
      }
      for (let i = first; i < end; i++, weight++) {
        if (weight && weight % WEIGHTS_IN_REACH === 0) asm.addImmediate(gpr.r10, 4 * WEIGHTS_IN_REACH);
        if (weight % 4 === 0) asm.vex(avx2Ops.broadcastFour, FOUR, 0, at(gpr.r10, 4 * (weight % WEIGHTS_IN_REACH - MIDDLE_WEIGHT)));
        asm.vex(avx2Ops.shuffle, WEIGHT, FOUR, FOUR, 0x55 * (weight % 4));
        for (const p of PIECES) asm.vex(avx2Ops.fma, sum(f.rowOf[i]!, p), WEIGHT, inMemory ? places[p] : COLUMN + p);
        for (due += linesPerTile; due >= products; due -= products) fetch();
      }
    },
    bound(op, rows) {
      asm.vex(avx2Ops.broadcast, COLUMN, 0, constant());
      // with the bound first, they give the second where one is NaN
      for (let row = 0; row < rows; row++) for (const p of PIECES) asm.vex(avx2Ops[op], sum(row, p), COLUMN, sum(row, p));
    },
    keep(row) { for (const p of PIECES) asm.vex(avx2Ops.and, sum(row, p), sum(row, p), maskAt(p)); },
    take: () => (bytes ? { bytes: bytes.take() } : { text: text.text(), size: 0 }),
  };
}

export const avx2: PieceMachine = { name: 'avx2', processor: 'x86-64', rows: ROWS, passes: 1, fetchesBeyond: 512 << 10, assembler };
