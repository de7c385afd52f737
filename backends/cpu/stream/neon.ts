/**
 * Stream functions for AArch64 with NEON: four pieces of four lanes, one at a time, with up to 28 rows. A load brings four weights, and a
 * multiply-add takes its weight from a lane of that register: three instructions of four are multiply-adds where half of a column's rows are zero.
 *
 * Registers: x0 x, x1 tiles left, x2 masks, x3 x2, x4 y, x5 residual, x9 weights, x10 other constants, x11 passes left, x12 an address among
 * vectors, x13 and x14 whatever, x15 the bits of the pass's lanes. Sums in v0 on, then weights, column and mask. v8 to v15 are a caller's to their half.
 */
import type { FloatStream } from '../../../compiler/kir/stream.js';
import { constantLines, constantsOf, LANE_BITS, usesMasks, type PieceAssembler, type PieceMachine, type Pointer } from './pieces.js';

const ROWS = 28;
/** v28 and v29 hold weights in turn. */
const WEIGHTS = 28, COLUMN = 30, MASK = 31;
const PASSES = 4;
const registers: { readonly [P in Pointer]: string } = { x: 'x0', masks: 'x2', x2: 'x3', y: 'x4', r: 'x5' };
/** The largest offset of a load from its base. */
const REACH = 65520;
const PAGE = 4096;

function assembler(f: FloatStream): PieceAssembler {
  const lines: string[] = [], name = (label: string): string => `.L${f.name}_${label}`;
  const put = (mnemonic: string, operands: string): void => { lines.push(`  ${mnemonic} ${operands}`); };
  const { weights, all } = constantsOf(f), masks = usesMasks(f);

  /** to = from + bytes; what an addition cannot hold goes through x13. */
  const addTo = (to: string, from: string, bytes: number): void => {
    const size = Math.abs(bytes), op = bytes < 0 ? 'sub' : 'add', low = size % PAGE, high = Math.floor(size / PAGE);
    if (high >= PAGE) {
      put('mov', `x13, #${size & 0xffff}`);
      put('movk', `x13, #${size >>> 16}, lsl #16`);
      put(op, `${to}, ${from}, x13`);
      return;
    }
    if (high) put(op, `${to}, ${from}, #${high}, lsl #12`);
    if (low || (!high && to !== from)) put(op, `${to}, ${high ? to : from}, #${low}`);
  };
  let weight = 0, base: { readonly pointer: Pointer; readonly origin: number } | undefined;
  /** Address of a vector: from its pointer, or from x12, which is moved to it where neither reaches. */
  const address = (pointer: Pointer, offset: number): string => {
    if (offset >= 0 && offset <= REACH) return `[${registers[pointer]}, #${offset}]`;
    if (!base || base.pointer !== pointer || offset < base.origin || offset > base.origin + REACH) {
      base = { pointer, origin: Math.floor(offset / PAGE) * PAGE };
      addTo('x12', registers[pointer], base.origin);
    }
    return `[x12, #${offset - base.origin}]`;
  };
  const labelAddress = (register: string, label: string): void => {
    put('adrp', `${register}, ${name(label)}`);
    put('add', `${register}, ${register}, #:lo12:${name(label)}`);
  };
  /** v8 to v15, as far as rows are in them. */
  const saved = f.rows.length <= 8 ? [] : Array.from({ length: Math.ceil((Math.min(f.rows.length, 16) - 8) / 2) }, (_, i) => `d${8 + 2 * i}, d${9 + 2 * i}, [sp, #${16 * i}]`);
  const sum = (row: number): string => `v${row}.4s`;

  return {
    enter() {
      if (!saved.length) return;
      put('sub', 'sp, sp, #64');
      for (const pair of saved) put('stp', pair);
    },
    leave() {
      for (const pair of saved) put('ldp', pair);
      if (saved.length) put('add', 'sp, sp, #64');
      lines.push('  ret', '  .p2align 4', `${name('weights')}:`, ...constantLines(all.subarray(0, weights)), `${name('others')}:`, ...constantLines(all.subarray(weights)));
      if (masks) lines.push('  .p2align 4', `${name('bits')}:`, ...constantLines(LANE_BITS));
      lines.push('  .p2align 6');
    },
    tile() {
      lines.push(`${name('tile')}:`);
      put('mov', `x11, #${PASSES}`);
      if (masks) labelAddress('x15', 'bits');
    },
    pass() {
      lines.push(`${name('pass')}:`);
      labelAddress('x9', 'weights');
      labelAddress('x10', 'others');
      base = undefined;
      weight = 0;
    },
    nextPass() {
      if (masks) put('add', 'x15, x15, #16');
      put('subs', 'x11, x11, #1');
      put('b.ne', name('pass'));
    },
    nextTile() {
      put('subs', 'x1, x1, #1');
      put('b.ne', name('tile'));
    },
    advance(pointer, bytes) { if (bytes) addTo(registers[pointer], registers[pointer], bytes); },
    splat(row) { put('ld1r', `{${sum(row)}}, [x10], #4`); },
    load(row, pointer, offset) { put('ldr', `q${row}, ${address(pointer, offset)}`); },
    add(row, pointer, offset) {
      put('ldr', `q${COLUMN}, ${address(pointer, offset)}`);
      put('fadd', `${sum(row)}, ${sum(row)}, v${COLUMN}.4s`);
    },
    store(row, pointer, offset) { put('str', `q${row}, ${address(pointer, offset)}`); },
    mask(word) {
      put('ldrh', `w14, [x2, #${2 * word}]`);
      put('dup', `v${MASK}.4s, w14`);
      put('ldr', `q${COLUMN}, [x15]`);
      put('cmtst', `v${MASK}.4s, v${MASK}.4s, v${COLUMN}.4s`);
    },
    column(k, masked) {
      put('ldr', `q${COLUMN}, ${address(f.sources[k] ? 'x2' : 'x', f.offsets[k]!)}`);
      if (masked) put('and', `v${COLUMN}.16b, v${COLUMN}.16b, v${MASK}.16b`);
      for (let i = f.starts[k]!; i < f.starts[k + 1]!; i++, weight++) {
        const register = WEIGHTS + (weight >> 2) % 2;
        if (weight % 4 === 0) put('ldr', `q${register}, [x9], #16`);
        put('fmla', `${sum(f.rowOf[i]!)}, v${COLUMN}.4s, v${register}.s[${weight % 4}]`);
      }
    },
    bound(op, rows) {
      put('ld1r', `{v${COLUMN}.4s}, [x10], #4`);
      // fmax and fmin give NaN for NaN
      for (let row = 0; row < rows; row++) put(`f${op}`, `${sum(row)}, ${sum(row)}, v${COLUMN}.4s`);
    },
    keep(row) { put('and', `v${row}.16b, v${row}.16b, v${MASK}.16b`); },
    take: () => ({ text: `${lines.join('\n')}\n`, size: 4 * (lines.length + all.length) }),
  };
}

export const neon: PieceMachine = { name: 'neon', processor: 'AArch64', rows: ROWS, passes: PASSES, assembler };
