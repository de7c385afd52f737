/**
 * The x86-64 instructions that stream functions consist of. Each is one row of a table; two assemblers read the rows: one writes
 * text for the GNU assembler (Intel syntax), one writes machine code. The tests hold the bytes against the assembler's of the text.
 *
 * Encodings: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, chapters 2 (EVEX, disp8*N) and 3 to 5.
 */
import type { StreamLanes } from '../../../compiler/kir/stream.js';

/** Registers that a function of the System V ABI may change, less those whose encoding as a base needs extra bytes. */
export const gpr = { rax: 0, rcx: 1, rdx: 2, rsi: 6, rdi: 7, r8: 8, r9: 9, r10: 10, r11: 11 } as const;
export type Gpr = (typeof gpr)[keyof typeof gpr];

interface VectorRegisters {
  readonly register: string;
  /** Of an operand in memory. */
  readonly memory: string;
  readonly bytes: number;
  /** EVEX.L'L in its place in the prefix. */
  readonly length: number;
}

/** The vectors of a program, by its lanes. */
export const vectorsOf: { readonly [L in StreamLanes]: VectorRegisters } = {
  16: { register: 'zmm', memory: 'ZMMWORD', bytes: 64, length: 0x40 },
  8: { register: 'ymm', memory: 'YMMWORD', bytes: 32, length: 0x20 },
  4: { register: 'xmm', memory: 'XMMWORD', bytes: 16, length: 0 },
};

/** What an instruction set offers to stream functions. */
export interface StreamIsa {
  readonly name: string;
  /** Vector registers and masks; mask 0 stands for all lanes. */
  readonly registers: number;
  readonly masks: number;
  /** Bytes of code that stay in the second and the third cache, beside activations, from one run of a network to the next. */
  readonly cached: { readonly second: number; readonly third: number };
}

export const avx512: StreamIsa = {
  name: 'avx512', registers: 32, masks: 7, cached: { second: 512 << 10, third: 16 << 20 },
};

/** What lies at the memory operand: a vector, one f32, or one f32 for all lanes of the arithmetic (embedded broadcast). */
type MemoryKind = 'vector' | 'scalar' | 'broadcast';

export interface VectorOp {
  readonly mnemonic: string;
  readonly map: 1 | 2;
  /** 0: none, 1: 66. */
  readonly prefix: 0 | 1;
  readonly opcode: number;
  /** dst, src or dst, src1, src2. */
  readonly operands: 2 | 3;
  readonly memory: MemoryKind;
  /** Memory is the destination. */
  readonly stores?: true;
  /** Lanes that a mask leaves out keep what the first operand held, in place of zero. */
  readonly merges?: true;
}

/** f32 (vpxord, vpandd: any, vpdpbusd: i32 += four u8 x four s8, AVX512_VNNI) vector instructions, the last operand in memory or a register. */
export const vectorOps = {
  fma: { mnemonic: 'vfmadd231ps', map: 2, prefix: 1, opcode: 0xb8, operands: 3, memory: 'broadcast' },
  fmaVector: { mnemonic: 'vfmadd231ps', map: 2, prefix: 1, opcode: 0xb8, operands: 3, memory: 'vector', merges: true },
  permute: { mnemonic: 'vpermps', map: 2, prefix: 1, opcode: 0x16, operands: 3, memory: 'vector', merges: true },
  permutePair: { mnemonic: 'vpermi2ps', map: 2, prefix: 1, opcode: 0x77, operands: 3, memory: 'vector', merges: true },
  dot: { mnemonic: 'vpdpbusd', map: 2, prefix: 1, opcode: 0x50, operands: 3, memory: 'broadcast' },
  load: { mnemonic: 'vmovups', map: 1, prefix: 0, opcode: 0x10, operands: 2, memory: 'vector' },
  store: { mnemonic: 'vmovups', map: 1, prefix: 0, opcode: 0x11, operands: 2, memory: 'vector', stores: true },
  broadcast: { mnemonic: 'vbroadcastss', map: 2, prefix: 1, opcode: 0x18, operands: 2, memory: 'scalar' },
  add: { mnemonic: 'vaddps', map: 1, prefix: 0, opcode: 0x58, operands: 3, memory: 'vector' },
  max: { mnemonic: 'vmaxps', map: 1, prefix: 0, opcode: 0x5f, operands: 3, memory: 'vector' },
  min: { mnemonic: 'vminps', map: 1, prefix: 0, opcode: 0x5d, operands: 3, memory: 'vector' },
  and: { mnemonic: 'vpandd', map: 1, prefix: 1, opcode: 0xdb, operands: 3, memory: 'vector' },
  move: { mnemonic: 'vmovaps', map: 1, prefix: 0, opcode: 0x28, operands: 2, memory: 'vector' },
  xor: { mnemonic: 'vpxord', map: 1, prefix: 1, opcode: 0xef, operands: 3, memory: 'vector' },
} as const satisfies { readonly [name: string]: VectorOp };

interface AddressOp {
  readonly mnemonic: string;
  readonly opcode: readonly number[];
  /** 64-bit operand (REX.W). */
  readonly wide: boolean;
  /** Bytes named before the address; 'BYTE PTR' or nothing. */
  readonly size: string;
}

/** Instructions on an address. The first operand is a register, or part of the opcode. */
export const addressOps = {
  lea: { mnemonic: 'lea', opcode: [0x8d], wide: true, size: '' },
  prefetcht0: { mnemonic: 'prefetcht0', opcode: [0x0f, 0x18], wide: false, size: 'BYTE PTR ' },
  prefetcht1: { mnemonic: 'prefetcht1', opcode: [0x0f, 0x18], wide: false, size: 'BYTE PTR ' },
} as const satisfies { readonly [name: string]: AddressOp };
/** Into which cache. */
const prefetches = { 1: addressOps.prefetcht0, 2: addressOps.prefetcht1 } as const;

/** Lanes in which two vectors have a common bit. */
const testOp: VectorOp = { mnemonic: 'vptestmd', map: 2, prefix: 1, opcode: 0x27, operands: 3, memory: 'vector' };
/** Words shifted by a constant, which follows; the destination is where another instruction has its second operand. */
const shiftOp: VectorOp = { mnemonic: 'vps', map: 1, prefix: 1, opcode: 0x72, operands: 3, memory: 'vector' };
/** Directions: part of the opcode, and how the mnemonic ends. */
const shifts = { right: { part: 2, ends: 'rld' }, left: { part: 6, ends: 'lld' } } as const;

/** A vector instruction of AVX2 on ymm registers; its last operand is a register or memory, where `size` names what it reads or writes. */
export interface VexOp extends Pick<VectorOp, 'mnemonic' | 'map' | 'prefix' | 'opcode' | 'operands' | 'stores'> {
  readonly size: 'YMMWORD' | 'XMMWORD' | 'DWORD' | 'WORD';
  readonly immediate?: true;
}
/** A register, an address, or that of a label, defined later, plus a number of bytes. */
export type VexOperand = number | { readonly base: Gpr; readonly displacement: number } | { readonly label: string; readonly addend: number };

/** What both assemblers can do. Displacements and immediates are signed 32-bit; masked lanes become zero, or stay where the instruction merges (mask 0: all lanes count). */
export interface Assembler {
  /** op reg, v, [base + displacement]; the operand v is missing where op has two operands. */
  memory(op: VectorOp, reg: number, v: number, base: Gpr, displacement: number, mask: number): void;
  /** op reg, v, rm */
  register(op: VectorOp, reg: number, v: number, rm: number, mask: number): void;
  /** op reg, v, rm (, immediate); the operand v is missing where op has two operands. */
  vex(op: VexOp, reg: number, v: number, rm: VexOperand, immediate?: number): void;
  /** A mask of 16 lanes from memory. */
  loadMask(mask: number, base: Gpr, displacement: number): void;
  /** The lanes in which v and rm have a common bit. */
  testBits(mask: number, v: number, rm: number): void;
  /** The lanes that are not in another mask, of 16. */
  notMask(mask: number, of: number): void;
  /** reg = rm, each word shifted by `count`. */
  shift(direction: keyof typeof shifts, reg: number, rm: number, count: number): void;
  lea(reg: Gpr, base: Gpr, displacement: number): void;
  /** The address of a label, defined later, plus a number of bytes. */
  leaLabel(reg: Gpr, label: string, addend: number): void;
  /** @param cache the first one, which is what is meant where none is named, or the second */
  prefetch(base: Gpr, displacement: number, cache?: 1 | 2): void;
  addImmediate(reg: Gpr, value: number): void;
  /** The address of 64 bytes, at a multiple of 64, among the 128 below the stack pointer that a function may use. */
  scratch(reg: Gpr): void;
  decrement(reg: Gpr): void;
  /** Jumps back where the last result was not zero. */
  jumpNotZero(label: string): void;
  label(name: string): void;
  zeroUpper(): void;
  ret(): void;
  /** Up to the next multiple of 64 bytes: traps behind code, zeros behind data. */
  align(fill: 'trap' | 'zero'): void;
  words(values: Float32Array | Int32Array): void;
}

const TRAP = 0xcc;
/** No instruction is longer. */
const LONGEST = 16;

export interface ByteAssembler extends Assembler {
  readonly size: () => number;
  /** The bytes so far; forgets them. All labels must be defined. */
  take(): Uint8Array;
}

/** Writes machine code. @param lanes of its vectors @returns an assembler that can be used for one function after another */
export function byteAssembler(lanes: StreamLanes = 16): ByteAssembler {
  let bytes = new Uint8Array(1 << 16), at = 0;
  const labels = new Map<string, number>(), patches: { readonly label: string; readonly at: number; readonly addend: number }[] = [];
  const { bytes: vectorBytes, length } = vectorsOf[lanes];
  const reserve = (count: number): void => {
    if (at + count <= bytes.length) return;
    const larger = new Uint8Array(2 * (at + count));
    larger.set(bytes.subarray(0, at));
    bytes = larger;
  };
  const word = (value: number): void => {
    bytes[at++] = value; bytes[at++] = value >> 8; bytes[at++] = value >> 16; bytes[at++] = value >> 24;
  };
  /** ModRM byte and displacement; one of one byte counts in units of `unit` bytes. */
  const operand = (reg: number, base: number, displacement: number, unit: number): void => {
    const low = (reg & 7) << 3 | (base & 7), scaled = displacement / unit;
    if (displacement === 0) bytes[at++] = low;
    else if (scaled >= -128 && scaled <= 127 && scaled === (scaled | 0)) {
      bytes[at] = 0x40 | low;
      bytes[at + 1] = scaled;
      at += 2;
    } else {
      bytes[at++] = 0x80 | low;
      word(displacement);
    }
  };
  /** EVEX prefix and opcode; the register bits are stored inverted. Most of the time of writing a function is spent here: few reads of shared variables. */
  const evex = (op: VectorOp, reg: number, v: number, x: number, b: number, mask: number, broadcast: boolean): void => {
    const to = bytes, n = at;
    to[n] = 0x62;
    to[n + 1] = (reg & 8 ? 0 : 0x80) | (x ? 0 : 0x40) | (b ? 0 : 0x20) | (reg & 16 ? 0 : 0x10) | op.map;
    to[n + 2] = (~v & 15) << 3 | 4 | op.prefix;
    to[n + 3] = (mask ? (op.merges ? 0 : 0x80) | mask : 0) | length | (broadcast ? 0x10 : 0) | (v & 16 ? 0 : 8);
    to[n + 4] = op.opcode;
    at = n + 5;
  };
  const address = (op: AddressOp, reg: number, base: Gpr, displacement: number): void => {
    reserve(LONGEST);
    const rex = (op.wide ? 0x48 : 0x40) | (reg & 8) >> 1 | base >> 3;
    if (rex !== 0x40) bytes[at++] = rex;
    for (const o of op.opcode) bytes[at++] = o;
    operand(reg, base, displacement, 1);
  };
  return {
    memory(op, reg, v, base, displacement, mask) {
      reserve(LONGEST);
      evex(op, reg, v, 0, base & 8, mask, op.memory === 'broadcast');
      operand(reg, base, displacement, op.memory === 'vector' ? vectorBytes : 4);
    },
    register(op, reg, v, rm, mask) {
      reserve(LONGEST);
      evex(op, reg, v, rm & 16, rm & 8, mask, false);
      bytes[at++] = 0xc0 | (reg & 7) << 3 | (rm & 7);
    },
    vex(op, reg, v, rm, immediate) {
      reserve(LONGEST);
      const b = typeof rm === 'number' ? rm & 8 : 'base' in rm ? rm.base & 8 : 0, last = (op.operands === 3 ? ~v & 15 : 15) << 3 | 4 | op.prefix, r = reg & 8 ? 0 : 0x80;
      if (op.map === 1 && !b) { bytes[at++] = 0xc5; bytes[at++] = r | last; } else { bytes[at++] = 0xc4; bytes[at++] = r | 0x40 | (b ? 0 : 0x20) | op.map; bytes[at++] = last; }
      bytes[at++] = op.opcode;
      if (typeof rm === 'number') bytes[at++] = 0xc0 | (reg & 7) << 3 | (rm & 7);
      else if ('base' in rm) operand(reg, rm.base, rm.displacement, 1);
      else {
        bytes[at++] = (reg & 7) << 3 | 5;
        patches.push({ label: rm.label, at, addend: rm.addend });
        word(0);
      }
      if (op.immediate) bytes[at++] = immediate ?? 0;
    },
    loadMask(mask, base, displacement) {
      reserve(LONGEST);
      if (base & 8) { bytes[at++] = 0xc4; bytes[at++] = 0xc1; bytes[at++] = 0x78; } else { bytes[at++] = 0xc5; bytes[at++] = 0xf8; }
      bytes[at++] = 0x90;
      operand(mask, base, displacement, 1);
    },
    testBits(mask, v, rm) {
      reserve(LONGEST);
      evex(testOp, mask, v, rm & 16, rm & 8, 0, false);
      bytes[at++] = 0xc0 | mask << 3 | (rm & 7);
    },
    notMask(mask, of) {
      reserve(LONGEST);
      bytes[at++] = 0xc5; bytes[at++] = 0xf8; bytes[at++] = 0x44; bytes[at++] = 0xc0 | mask << 3 | of;
    },
    shift(direction, reg, rm, count) {
      const { part } = shifts[direction];
      reserve(LONGEST);
      evex(shiftOp, part, reg, rm & 16, rm & 8, 0, false);
      bytes[at++] = 0xc0 | part << 3 | (rm & 7);
      bytes[at++] = count;
    },
    lea: (reg, base, displacement) => address(addressOps.lea, reg, base, displacement),
    leaLabel(reg, label, addend) {
      reserve(LONGEST);
      bytes[at++] = 0x48 | (reg & 8) >> 1;
      bytes[at++] = 0x8d;
      bytes[at++] = (reg & 7) << 3 | 5;
      patches.push({ label, at, addend });
      word(0);
    },
    prefetch: (base, displacement, cache = 1) => address(prefetches[cache], cache, base, displacement),
    addImmediate(reg, value) {
      reserve(LONGEST);
      bytes[at++] = 0x48 | reg >> 3;
      if (value >= -128 && value <= 127) { bytes[at++] = 0x83; bytes[at++] = 0xc0 | (reg & 7); bytes[at++] = value; return; }
      if (reg === gpr.rax) bytes[at++] = 0x05; else { bytes[at++] = 0x81; bytes[at++] = 0xc0 | (reg & 7); }
      word(value);
    },
    scratch(reg) {
      reserve(LONGEST);
      // mov from rsp, add -64, and -64
      bytes[at++] = 0x48 | reg >> 3; bytes[at++] = 0x89; bytes[at++] = 0xe0 | (reg & 7);
      for (const op of [0xc0, 0xe0]) { bytes[at++] = 0x48 | reg >> 3; bytes[at++] = 0x83; bytes[at++] = op | (reg & 7); bytes[at++] = 0xc0; }
    },
    decrement(reg) {
      reserve(LONGEST);
      bytes[at++] = 0x48 | reg >> 3; bytes[at++] = 0xff; bytes[at++] = 0xc8 | (reg & 7);
    },
    jumpNotZero(label) {
      reserve(LONGEST);
      const distance = labels.get(label)! - at;
      if (distance - 2 >= -128) { bytes[at++] = 0x75; bytes[at++] = distance - 2; return; }
      bytes[at++] = 0x0f; bytes[at++] = 0x85;
      word(distance - 6);
    },
    label: (name) => { labels.set(name, at); },
    zeroUpper() { reserve(LONGEST); bytes[at++] = 0xc5; bytes[at++] = 0xf8; bytes[at++] = 0x77; },
    ret() { reserve(LONGEST); bytes[at++] = 0xc3; },
    align(fill) {
      const end = Math.ceil(at / 64) * 64;
      reserve(end - at);
      bytes.fill(fill === 'trap' ? TRAP : 0, at, end);
      at = end;
    },
    words(values) {
      reserve(4 * values.length);
      bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
      at += values.byteLength;
    },
    size: () => at,
    take() {
      const end = at;
      for (const p of patches) {
        at = p.at;
        word(labels.get(p.label)! + p.addend - (p.at + 4));
      }
      const taken = bytes.slice(0, end);
      at = 0;
      labels.clear();
      patches.length = 0;
      return taken;
    },
  };
}

const gprNames = new Map<number, string>(Object.entries(gpr).map(([name, code]) => [code, name]));
const signed = (n: number): string => (n === 0 ? '' : n < 0 ? String(n) : `+${n}`);
const at = (base: Gpr, displacement: number): string => `[${gprNames.get(base)}${signed(displacement)}]`;

export interface TextAssembler extends Assembler {
  text(): string;
}

/**
 * Writes text for the GNU assembler in Intel syntax.
 * @param symbol labels of the function are made of it
 * @param lanes of its vectors
 */
export function textAssembler(symbol: string, lanes: StreamLanes = 16): TextAssembler {
  const lines: string[] = [];
  const { register, memory } = vectorsOf[lanes], name = (label: string): string => `.L${symbol}_${label}`;
  const put = (mnemonic: string, ...operands: readonly string[]): void => { lines.push(`  ${mnemonic}${operands.length ? ` ${operands.join(', ')}` : ''}`); };
  const vector = (op: VectorOp, reg: number, v: number, last: string, mask: number): void => {
    const masked = (text: string): string => (mask ? `${text}{k${mask}}${op.merges ? '' : '{z}'}` : text), own = `${register}${reg}`;
    // vectors of less than 512 bits have an older, shorter encoding too, which has no such displacements
    const mnemonic = lanes === 16 ? op.mnemonic : `{evex} ${op.mnemonic}`;
    if (op.stores) put(mnemonic, masked(last), own);
    else put(mnemonic, masked(own), ...(op.operands === 3 ? [`${register}${v}`] : []), last);
  };
  return {
    memory(op, reg, v, base, displacement, mask) {
      vector(op, reg, v, `${op.memory === 'vector' ? memory : 'DWORD'} PTR ${at(base, displacement)}${op.memory === 'broadcast' ? `{1to${lanes}}` : ''}`, mask);
    },
    vex(op, reg, v, rm, immediate) {
      const last = typeof rm === 'number' ? `ymm${rm}` : `${op.size} PTR ${'base' in rm ? at(rm.base, rm.displacement) : `[rip+${name(rm.label)}${signed(rm.addend)}]`}`, own = `ymm${reg}`;
      put(op.mnemonic, ...(op.stores ? [last, own] : [own, ...(op.operands === 3 ? [`ymm${v}`] : []), last]), ...(op.immediate ? [String(immediate)] : []));
    },
    register: (op, reg, v, rm, mask) => vector(op, reg, v, `${register}${rm}`, mask),
    loadMask: (mask, base, displacement) => put('kmovw', `k${mask}`, `WORD PTR ${at(base, displacement)}`),
    testBits: (mask, v, rm) => put(testOp.mnemonic, `k${mask}`, `${register}${v}`, `${register}${rm}`),
    notMask: (mask, of) => put('knotw', `k${mask}`, `k${of}`),
    shift: (direction, reg, rm, count) => put(`${shiftOp.mnemonic}${shifts[direction].ends}`, `${register}${reg}`, `${register}${rm}`, String(count)),
    lea: (reg, base, displacement) => put(addressOps.lea.mnemonic, gprNames.get(reg)!, at(base, displacement)),
    leaLabel: (reg, label, addend) => put(addressOps.lea.mnemonic, gprNames.get(reg)!, `[rip+${name(label)}${signed(addend)}]`),
    prefetch: (base, displacement, cache = 1) => put(prefetches[cache].mnemonic, `${prefetches[cache].size}${at(base, displacement)}`),
    addImmediate: (reg, value) => put('add', gprNames.get(reg)!, String(value)),
    scratch(reg) {
      put('mov', gprNames.get(reg)!, 'rsp');
      put('add', gprNames.get(reg)!, '-64');
      put('and', gprNames.get(reg)!, '-64');
    },
    decrement: (reg) => put('dec', gprNames.get(reg)!),
    jumpNotZero: (label) => put('jnz', name(label)),
    label: (label) => { lines.push(`${name(label)}:`); },
    zeroUpper: () => put('vzeroupper'),
    ret: () => put('ret'),
    align: (fill) => put('.p2align', '6', fill === 'trap' ? `0x${TRAP.toString(16)}` : '0'),
    words(values) {
      const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
      for (let i = 0; i < words.length; i += 8) put('.long', ...Array.from(words.subarray(i, i + 8), (w) => `0x${w.toString(16)}`));
    },
    text: () => `${lines.join('\n')}\n`,
  };
}
