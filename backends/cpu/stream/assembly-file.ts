/** The assembly file of a model: its stream functions, as bytes of a binary beside it or as instructions to read. */
import { commentBlock } from '../../../compiler/emit/c-abi.js';
import { commentSafe } from '../../../compiler/emit/writer.js';
import type { EncodedStreams } from './encode.js';
import type { StreamSymbol } from './region.js';

export const streamSignature = (name: string): string =>
  `void ${name}(const void *x, long tiles, const uint16_t *masks, const void *x2, void *y, const void *r)`;

/** C declarations of stream functions, in whichever form they are: called inside the model's library only. At least one tile. */
export const streamPrototypes = (symbols: readonly Pick<StreamSymbol, 'name'>[]): string => `#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif
${symbols.map(({ name }) => `${streamSignature(name)};\n`).join('')}#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
`;

export interface AssemblyFileOptions {
  /** Comment lines at the head of the file. */
  readonly header: readonly string[];
  /** Name of the file that holds {@link EncodedStreams.bytes}; undefined: the instructions are written out and no such file is read. */
  readonly binary?: string;
}

/**
 * A source for the C compiler's driver (`.S`). The assembler looks for the binary in the current folder and in those named by -I.
 * Symbols are hidden: the model's C calls them, nothing outside its library does.
 */
export function assemblyFile(streams: EncodedStreams, { header, binary }: AssemblyFileOptions): string {
  const parts = [
    commentBlock(header),
    `#if !defined(__x86_64__) || !defined(__ELF__)
#error "this file is for x86-64 and ELF (Linux, BSD): compile the model again for the machine at hand"
#endif
.intel_syntax noprefix
.text
.p2align 6
`,
  ];
  streams.symbols.forEach(({ name, offset, size }, i) => {
    parts.push(
      streams.functions[i]!.doc.map((line) => `/* ${commentSafe(line)} */\n`).join(''),
      `.globl ${name}\n.hidden ${name}\n.type ${name}, @function\n${name}:\n`,
      binary === undefined ? streams.text(i) : `.incbin "${binary}", ${offset}, ${size}\n`,
      `.size ${name}, ${size}\n\n`);
  });
  parts.push('.section .note.GNU-stack,"",@progbits\n');
  return parts.join('');
}
