/** How a program asks its processor what it has. */
import type { Isa } from './isa.js';

/**
 * What a processor must have, by GCC's and Clang's names: the parts of the level that they both know, and that come together in every processor that has
 * them; the compiler's functions ask the system, too, whether it saves the registers. Absent: code for the instruction set is not chosen at run time.
 */
const features: { readonly [N in Isa['name']]?: readonly string[] } = {
  'x86-64-v4-vnni': ['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl', 'avx512vnni'],
  'x86-64-v4': ['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'],
  'x86-64-v3': ['avx2', 'fma', 'bmi', 'bmi2'],
  generic: [],
};

/** Can code for this instruction set and for others be in one library? */
export const isDispatched = (isa: Isa): boolean => features[isa.name] !== undefined;

/** C expression: does the processor have it? */
export const fits = (isa: Isa): string => features[isa.name]!.map((f) => `__builtin_cpu_supports("${f}")`).join(' && ') || '1';
