/** The assembly file of a model: its stream and permute functions, as bytes of a binary beside it or as instructions to read. */
import { commentBlock } from '../../../compiler/emit/c-abi.js';
import { commentSafe } from '../../../compiler/emit/writer.js';
import { isPermute, type Routine } from '../../../compiler/kir/routine.js';
import type { StreamSymbol } from './region.js';

export const streamSignature = (name: string): string =>
  `void ${name}(const void *x, long tiles, const uint16_t *masks, const void *x2, void *y, const void *r)`;

const permuteSignature = (name: string): string => `void ${name}(const float *x, const uint32_t *words, float *sums, long groups)`;

/** C declarations of routines, in whichever form they are: called inside the model's library only. At least one tile, or group. */
export const streamPrototypes = (routines: readonly Routine[]): string => `#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif
${routines.map((f) => `${(isPermute(f) ? permuteSignature : streamSignature)(f.name)};\n`).join('')}#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
`;

/** Machines that assembly files are for: what the preprocessor knows them by, and what an assembler must be told first. */
const machines = {
  'x86-64': { macro: '__x86_64__', directives: '.intel_syntax noprefix\n' },
  AArch64: { macro: '__aarch64__', directives: '' },
} as const;

export interface AssemblySource {
  readonly machine: keyof typeof machines;
  readonly functions: readonly { readonly name: string; readonly doc: readonly string[] }[];
  /** What stands behind the label of a function: instructions, or the directive that brings them. */
  readonly body: (index: number) => string;
}

/**
 * A source for the C compiler's driver (`.S`).
 * Symbols are hidden: the model's C calls them, nothing outside its library does.
 * @param header comment lines at the head of the file
 */
export function assemblyFile({ machine, functions, body }: AssemblySource, header: readonly string[]): string {
  const { macro, directives } = machines[machine];
  const parts = [
    commentBlock(header),
    `#if !defined(${macro}) || !defined(__ELF__)
#error "this file is for ${machine} and ELF (Linux, BSD): compile the model again for the machine at hand"
#endif
${directives}.text
.p2align 6
`,
  ];
  functions.forEach(({ name, doc }, i) => {
    parts.push(
      doc.map((line) => `/* ${commentSafe(line)} */\n`).join(''),
      `.globl ${name}\n.hidden ${name}\n.type ${name}, @function\n${name}:\n`,
      body(i), `.size ${name}, .-${name}\n\n`);
  });
  parts.push('.section .note.GNU-stack,"",@progbits\n');
  return parts.join('');
}

/** The body of functions that lie in a binary; the assembler looks for it in the current folder and in those named by -I. */
export const binaryBody = (symbols: readonly StreamSymbol[], file: string) => (index: number): string => `.incbin "${file}", ${symbols[index]!.offset}, ${symbols[index]!.size}\n`;
