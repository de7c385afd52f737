/**
 * Permute functions as AVX-512 code.
 *
 * Registers: arguments in rdi (x), rsi (words), rdx (sums), rcx (groups left). zmm0 and zmm1 hold the sums of even and odd steps, zmm2 the bit by
 * which the second pair of sources is told from the first, zmm3 indices, zmm4 what they select, zmm5 indices of several steps; the others hold
 * blocks. That steps use the same registers costs nothing: the processor renames them.
 */
import { INDEX_BITS, MOST_SOURCES, PERMUTE_LANES, wordPlaces, type PermuteFunction } from '../../../compiler/kir/permute.js';
import { NodeProblem } from '../../../compiler/diagnostics/diagnostic.js';
import { gpr, vectorOps, type Assembler } from '../stream/x86.js';

const EVEN = 0, PAIR_BIT = 2, INDEX = 3, TAKEN = 4, PACKED = 5, WEIGHT = 6, FIRST_BLOCK = 7;
/** Blocks that registers hold. */
export const BLOCK_REGISTERS = 32 - FIRST_BLOCK;
/** Masks: lanes of the second pair of sources, of the first, of weights that count, of the last block. */
const SECOND_PAIR = 1, FIRST_PAIR = 2, COUNTED = 3, LAST_BLOCK = 4;
const LINE = 64;
/** Displacements of one byte reach so many vectors ahead. */
const LINES_IN_REACH = 128;

/** Writes a function and the constants behind it. */
export function writePermute(asm: Assembler, f: PermuteFunction): void {
  if (f.registers > BLOCK_REGISTERS) throw new NodeProblem('SPC9008', `permute function ${f.name} keeps ${f.registers} blocks, there are registers for ${BLOCK_REGISTERS}`);
  if (f.steps.some((s) => s.sources.length < 1 || s.sources.length > MOST_SOURCES)) throw new NodeProblem('SPC9008', `permute function ${f.name} has a step without sources, or with more than ${MOST_SOURCES}`);
  const lastBlock = Math.ceil(f.columns / PERMUTE_LANES) - 1, rest = f.columns % PERMUTE_LANES;
  const register = (block: number): number => FIRST_BLOCK + block % f.registers;
  const load = (block: number): void => asm.memory(vectorOps.load, register(block), 0, gpr.rdi, LINE * block, rest > 0 && block === lastBlock ? LAST_BLOCK : 0);
  /** Blocks that stay for all groups are loaded once. */
  const stay = lastBlock < f.registers, loadsOf = (loads: readonly number[]): void => { if (!stay) loads.forEach(load); };

  asm.leaLabel(gpr.rax, 'constants', 0);
  asm.memory(vectorOps.broadcast, PAIR_BIT, 0, gpr.rax, 0, 0);
  if (rest > 0) asm.loadMask(LAST_BLOCK, gpr.rax, 4);
  if (stay) for (const { loads } of f.steps) loads.forEach(load);
  asm.label('group');
  for (const sum of [EVEN, EVEN + 1]) asm.register(vectorOps.xor, sum, sum, sum, 0);
  let origin = 0;
  /** Displacement of a vector of words from rsi, which moves along. */
  const line = (word: number): number => {
    const at = word / PERMUTE_LANES;
    if (at - origin >= LINES_IN_REACH) {
      asm.addImmediate(gpr.rsi, LINE * LINES_IN_REACH);
      origin += LINES_IN_REACH;
    }
    return LINE * (at - origin);
  };
  f.steps.forEach(({ loads, sources }, t) => {
    loadsOf(loads);
    const { weights, indices, shift } = wordPlaces(t, f.exact), [a, b, c, d] = sources.map(register), sum = EVEN + t % 2;
    if (!f.exact) asm.memory(vectorOps.load, INDEX, 0, gpr.rsi, line(indices), 0);
    else if (shift === 0) asm.memory(vectorOps.load, PACKED, 0, gpr.rsi, line(indices), 0);
    const index = !f.exact ? INDEX : shift === 0 ? PACKED : INDEX;
    if (shift > 0) asm.shiftRight(INDEX, PACKED, shift);
    if (sources.length === 1) asm.register(vectorOps.permute, TAKEN, index, a!, 0);
    else {
      asm.register(vectorOps.move, TAKEN, 0, index, 0);
      if (sources.length > 2) asm.testBits(SECOND_PAIR, index, PAIR_BIT);
      if (sources.length === 4) {
        asm.notMask(FIRST_PAIR, SECOND_PAIR);
        asm.register(vectorOps.permutePair, TAKEN, c!, d!, SECOND_PAIR);
        asm.register(vectorOps.permutePair, TAKEN, a!, b!, FIRST_PAIR);
      } else {
        asm.register(vectorOps.permutePair, TAKEN, a!, b!, 0);
        if (sources.length === 3) asm.register(vectorOps.permute, TAKEN, index, c!, SECOND_PAIR);
      }
    }
    const weight = !f.exact ? INDEX : WEIGHT;
    if (f.exact && f.masked) asm.memory(vectorOps.load, WEIGHT, 0, gpr.rsi, line(weights), 0);
    if (f.masked) asm.testBits(COUNTED, weight, weight);
    if (f.exact && !f.masked) asm.memory(vectorOps.fmaVector, sum, TAKEN, gpr.rsi, line(weights), 0);
    else asm.register(vectorOps.fmaVector, sum, TAKEN, weight, f.masked ? COUNTED : 0);
  });
  const words = f.steps.length === 0 ? 0 : wordPlaces(f.steps.length - 1, f.exact).weights / PERMUTE_LANES + 1;
  if (words > origin) asm.addImmediate(gpr.rsi, LINE * (words - origin));
  asm.register(vectorOps.add, EVEN, EVEN, EVEN + 1, 0);
  asm.memory(vectorOps.store, EVEN, 0, gpr.rdx, 0, 0);
  asm.addImmediate(gpr.rdx, LINE);
  asm.decrement(gpr.rcx);
  asm.jumpNotZero('group');
  asm.zeroUpper();
  asm.ret();
  asm.align('trap');
  asm.label('constants');
  asm.words(Int32Array.of(1 << INDEX_BITS - 1, (1 << rest) - 1));
  asm.align('zero');
}
