/**
 * Stream functions for AVX2: both pieces of eight lanes together, with up to six rows. Four weights come in one load, a shuffle spreads
 * one over a register, two multiply-adds use it; a column that one row needs is the multiply-adds' operand in memory. So the shuffle, which
 * runs on another port, takes the place of a load, and the multiply-adds are what a core is short of (measured on one core, columns in
 * the first cache, cycles a product of 16 lanes at 90 % zeros: 1.07; with a weight loaded for each product 1.40; 14 rows of a piece at a time 1.64).
 *
 * Registers: arguments in rdi (x), rsi (tiles left), rdx (masks), rcx (x2), r8 (y), r9 (residual); r10 weights, r11 the mask as a vector, in
 * the 128 bytes below the stack pointer that are a function's own; rax somewhere among the columns.
 */
import type { FloatStream } from '../../../compiler/kir/stream.js';
import { constantLines, constantsOf, type PieceAssembler, type PieceMachine, type Pointer } from './pieces.js';

/** On average. */
const BYTES_PER_INSTRUCTION = 6;
const ROWS = 6, PIECE = 32;
/** Of the first eight registers, whose encodings are shorter. */
const FOUR = 0, WEIGHT = 1, COLUMN = 2, SUMS = 4;
const registers: { readonly [P in Pointer]: string } = { x: 'rdi', masks: 'rdx', x2: 'rcx', y: 'r8', r: 'r9' };
/** Weights between two steps of their pointer: displacements of one byte reach 256 bytes. */
const WEIGHTS_IN_REACH = 64, MIDDLE_WEIGHT = 32;
const inReach = (displacement: number): boolean => displacement >= -128 && displacement + PIECE <= 127;
const signed = (n: number): string => (n === 0 ? '' : n < 0 ? String(n) : `+${n}`);

function assembler(f: FloatStream, constants: Float32Array): PieceAssembler {
  const lines: string[] = [], name = (label: string): string => `.L${f.name}_${label}`, { weights } = constantsOf(f);
  const put = (mnemonic: string, ...operands: readonly string[]): void => { lines.push(`  ${mnemonic} ${operands.join(', ')}`); };
  const ymm = (register: number): string => `ymm${register}`, sum = (row: number, piece: number): string => ymm(SUMS + 2 * row + piece);
  const usesMasks = f.columnMasks.some((m) => m > 0) || (f.finish?.mask ?? 0) > 0;
  const pieces = [0, 1] as const;
  let weight = 0, other = weights;
  let base: { readonly pointer: Pointer; readonly origin: number } | undefined;

  const at = (register: string, displacement: number): string => `YMMWORD PTR [${register}${signed(displacement)}]`;
  /** The pieces of a vector: from its pointer, or from rax, which is moved where the next column profits too. */
  const vector = (pointer: Pointer, offset: number, next?: number): readonly [string, string] => {
    const from = registers[pointer], both = (register: string, d: number): readonly [string, string] => [at(register, d), at(register, d + PIECE)];
    if (inReach(offset)) return both(from, offset);
    if (base?.pointer === pointer && inReach(offset - base.origin)) return both('rax', offset - base.origin);
    if (next === undefined || !inReach(next - offset - 128)) return both(from, offset);
    base = { pointer, origin: offset + 128 };
    put('lea', 'rax', `[${from}${signed(base.origin)}]`);
    return both('rax', -128);
  };
  const constant = (index: number): string => `[rip+${name('weights')}+${4 * index}]`;

  return {
    enter() {
      if (!usesMasks) return;
      put('lea', 'r11', '[rsp-64]');
      put('and', 'r11', '-64');
    },
    leave() {
      lines.push('  vzeroupper', '  ret', '  .p2align 6, 0xcc', `${name('weights')}:`, ...constantLines(constants));
      if (usesMasks) lines.push('  .p2align 5', `${name('bits')}:`, ...constantLines(new Float32Array(Uint32Array.from({ length: 16 }, (_, i) => 2 ** i).buffer)));
      lines.push('  .p2align 6, 0');
    },
    tile() { lines.push(`${name('tile')}:`); },
    pass() {
      put('lea', 'r10', `[rip+${name('weights')}+${4 * MIDDLE_WEIGHT}]`);
      weight = 0;
      other = weights;
      base = undefined;
    },
    nextPass() { /* there is one */ },
    nextTile() {
      put('dec', 'rsi');
      put('jnz', name('tile'));
    },
    advance(pointer, bytes) { if (bytes) put('add', registers[pointer], String(bytes)); },
    splat(row) {
      put('vbroadcastss', sum(row, 0), `DWORD PTR ${constant(other++)}`);
      put('vmovaps', sum(row, 1), sum(row, 0));
    },
    load(row, pointer, offset) { vector(pointer, offset).forEach((v, p) => put('vmovups', sum(row, p), v)); },
    add(row, pointer, offset) { vector(pointer, offset).forEach((v, p) => put('vaddps', sum(row, p), sum(row, p), v)); },
    store(row, pointer, offset) { vector(pointer, offset).forEach((v, p) => put('vmovups', v, sum(row, p))); },
    mask(word) {
      put('vpbroadcastw', ymm(COLUMN), `WORD PTR [rdx${signed(2 * word)}]`);
      for (const p of pieces) {
        const bits = `YMMWORD PTR [rip+${name('bits')}+${PIECE * p}]`;
        put('vpand', ymm(WEIGHT), ymm(COLUMN), bits);
        put('vpcmpeqd', ymm(WEIGHT), ymm(WEIGHT), bits);
        put('vmovaps', at('r11', PIECE * p), ymm(WEIGHT));
      }
    },
    column(k, masked) {
      const first = f.starts[k]!, end = f.starts[k + 1]!, source = f.sources[k]!;
      const follows = k + 1 < f.columnCount && f.sources[k + 1] === source ? f.offsets[k + 1]! : undefined;
      const places = vector(source ? 'x2' : 'x', f.offsets[k]!, follows), inMemory = end - first === 1 && !masked;
      if (!inMemory) {
        for (const p of pieces) {
          put('vmovups', ymm(COLUMN + p), places[p]);
          if (masked) put('vandps', ymm(COLUMN + p), ymm(COLUMN + p), at('r11', PIECE * p));
        }
      }
      for (let i = first; i < end; i++, weight++) {
        if (weight && weight % WEIGHTS_IN_REACH === 0) put('add', 'r10', String(4 * WEIGHTS_IN_REACH));
        if (weight % 4 === 0) put('vbroadcastf128', ymm(FOUR), `XMMWORD PTR [r10${signed(4 * (weight % WEIGHTS_IN_REACH - MIDDLE_WEIGHT))}]`);
        put('vshufps', ymm(WEIGHT), ymm(FOUR), ymm(FOUR), String(0x55 * (weight % 4)));
        for (const p of pieces) put('vfmadd231ps', sum(f.rowOf[i]!, p), ymm(WEIGHT), inMemory ? places[p] : ymm(COLUMN + p));
      }
    },
    bound(op, rows) {
      put('vbroadcastss', ymm(COLUMN), `DWORD PTR ${constant(other++)}`);
      // with the bound first, they give the second where one is NaN
      for (let row = 0; row < rows; row++) for (const p of pieces) put(`v${op}ps`, sum(row, p), ymm(COLUMN), sum(row, p));
    },
    keep(row) { for (const p of pieces) put('vandps', sum(row, p), sum(row, p), at('r11', PIECE * p)); },
    take: () => ({ text: `${lines.join('\n')}\n`, size: BYTES_PER_INSTRUCTION * lines.length + 4 * constants.length }),
  };
}

export const avx2: PieceMachine = { name: 'avx2', processor: 'x86-64', rows: ROWS, passes: 1, assembler };
