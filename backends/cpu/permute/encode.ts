/**
 * Permute functions as AVX-512 code.
 *
 * Registers: arguments in rdi (x), rsi (words), rdx (sums), rcx (groups left); r8 somewhere among a group's masks. zmm0 and zmm1 hold the sums of
 * even and odd steps, zmm2 indices and then weights, zmm3 what indices select, zmm4 indices of six steps; where weights are bf16, zmm5 those of two steps
 * and zmm6 ones in the upper half of every word; the others hold blocks. That steps use the same registers costs nothing: the processor renames them.
 */
import { groupWords, MOST_SOURCES, PERMUTE_LANES, type PermuteFunction } from '../../../compiler/kir/permute.js';
import { NodeProblem } from '../../../compiler/diagnostics/diagnostic.js';
import { gpr, vectorOps, type Assembler } from '../stream/x86.js';

const EVEN = 0, INDEX = 2, TAKEN = 3, PACKED = 4, PAIR = 5, UPPER = 6;
/** Blocks that registers hold, by the type of weights. */
export const blockRegisters = { f32: 32 - (PACKED + 1), bf16: 32 - (UPPER + 1) } as const;
/** Masks: lanes of the second pair of sources, of the first, of weights that count, of the last block. */
const SECOND_PAIR = 1, FIRST_PAIR = 2, COUNTED = 3, LAST_BLOCK = 4;
const LINE = 64;
/** Displacements of one byte reach so many vectors ahead, and masks so many bytes around a pointer. */
const LINES_IN_REACH = 128, MASKS_IN_REACH = 128;

/** Writes a function and the constants behind it. */
export function writePermute(asm: Assembler, f: PermuteFunction): void {
  if (f.registers > blockRegisters[f.weights]) throw new NodeProblem('SPC9008', `permute function ${f.name} keeps ${f.registers} blocks, there are registers for ${blockRegisters[f.weights]}`);
  if (f.steps.some((s) => s.sources.length < 1 || s.sources.length > MOST_SOURCES)) throw new NodeProblem('SPC9008', `permute function ${f.name} has a step without sources, or with more than ${MOST_SOURCES}`);
  const { length, places } = groupWords(f.steps, f.weights), lastBlock = Math.ceil(f.columns / PERMUTE_LANES) - 1, rest = f.columns % PERMUTE_LANES;
  const register = (block: number): number => 32 - f.registers + block % f.registers;
  const load = (block: number): void => asm.memory(vectorOps.load, register(block), 0, gpr.rdi, LINE * block, rest > 0 && block === lastBlock ? LAST_BLOCK : 0);
  /** Blocks that stay for all groups are loaded once. */
  const stay = lastBlock < f.registers, loadsOf = (loads: readonly number[]): void => { if (!stay) loads.forEach(load); };

  if (rest > 0) {
    asm.leaLabel(gpr.rax, 'last', 0);
    asm.loadMask(LAST_BLOCK, gpr.rax, 0);
  }
  if (f.weights === 'bf16') {
    asm.leaLabel(gpr.rax, 'upper', 0);
    asm.memory(vectorOps.broadcast, UPPER, 0, gpr.rax, 0, 0);
  }
  if (stay) for (const { loads } of f.steps) loads.forEach(load);
  asm.label('group');
  if (f.steps.some((s) => s.sources.length > 2)) asm.lea(gpr.r8, gpr.rsi, MASKS_IN_REACH);
  for (const sum of [EVEN, EVEN + 1]) asm.register(vectorOps.xor, sum, sum, sum, 0);
  let origin = 0;
  /** Displacement of a vector of words from rsi, which moves along. */
  const line = (word: number): number => {
    const at = word / PERMUTE_LANES;
    while (at - origin >= LINES_IN_REACH) {
      asm.addImmediate(gpr.rsi, LINE * LINES_IN_REACH);
      origin += LINES_IN_REACH;
    }
    return LINE * (at - origin);
  };
  f.steps.forEach(({ loads, sources }, t) => {
    loadsOf(loads);
    const { weights, half, indices, shift, mask } = places[t]!, [a, b, c, d] = sources.map(register), sum = EVEN + t % 2;
    const index = shift === 0 ? PACKED : INDEX;
    if (shift === 0) asm.memory(vectorOps.load, PACKED, 0, gpr.rsi, line(indices), 0);
    else asm.shift('right', INDEX, PACKED, shift);
    if (sources.length === 1) asm.register(vectorOps.permute, TAKEN, index, a!, 0);
    else {
      asm.register(vectorOps.move, TAKEN, 0, index, 0);
      if (sources.length > 2) asm.loadMask(SECOND_PAIR, gpr.r8, 2 * mask - MASKS_IN_REACH);
      if (sources.length === 4) {
        asm.notMask(FIRST_PAIR, SECOND_PAIR);
        asm.register(vectorOps.permutePair, TAKEN, c!, d!, SECOND_PAIR);
        asm.register(vectorOps.permutePair, TAKEN, a!, b!, FIRST_PAIR);
      } else {
        asm.register(vectorOps.permutePair, TAKEN, a!, b!, 0);
        if (sources.length === 3) asm.register(vectorOps.permute, TAKEN, index, c!, SECOND_PAIR);
      }
    }
    if (f.masked || f.weights === 'bf16') {
      if (f.weights === 'f32') asm.memory(vectorOps.load, INDEX, 0, gpr.rsi, line(weights), 0);
      else if (half === 0) {
        asm.memory(vectorOps.load, PAIR, 0, gpr.rsi, line(weights), 0);
        asm.shift('left', INDEX, PAIR, 16);
      } else asm.register(vectorOps.and, INDEX, PAIR, UPPER, 0);
      if (f.masked) asm.testBits(COUNTED, INDEX, INDEX);
      asm.register(vectorOps.fmaVector, sum, TAKEN, INDEX, f.masked ? COUNTED : 0);
    } else asm.memory(vectorOps.fmaVector, sum, TAKEN, gpr.rsi, line(weights), 0);
  });
  const words = length / PERMUTE_LANES;
  if (words > origin) asm.addImmediate(gpr.rsi, LINE * (words - origin));
  asm.register(vectorOps.add, EVEN, EVEN, EVEN + 1, 0);
  asm.memory(vectorOps.store, EVEN, 0, gpr.rdx, 0, 0);
  asm.addImmediate(gpr.rdx, LINE);
  asm.decrement(gpr.rcx);
  asm.jumpNotZero('group');
  asm.zeroUpper();
  asm.ret();
  asm.align('trap');
  if (rest > 0) {
    asm.label('last');
    asm.words(Int32Array.of((1 << rest) - 1));
  }
  if (f.weights === 'bf16') {
    asm.label('upper');
    asm.words(Int32Array.of(0xffff0000 | 0));
  }
  if (rest > 0 || f.weights === 'bf16') asm.align('zero');
}
