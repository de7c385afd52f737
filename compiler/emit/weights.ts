/** Constants of a plan as C: named arrays where small, one aligned binary where large. */
import { createHash } from 'node:crypto';
import { bytesOfType } from '../ir/analysis.js';
import { denseData, tensorBytes } from '../ir/tensor.js';
import { formatType } from '../ir/types.js';
import { cTypes, literal } from './c-like.js';
import { commentSafe } from './writer.js';
import type { Plan, PlanConstant } from '../plan/types.js';

/** Weights up to this many bytes are C arrays; above, a binary file. */
export const EMBED_LIMIT = 192 * 1024;

const constantBytes = (c: PlanConstant): number => bytesOfType(c.tensor);
export const weightBytes = (plan: Plan): number => plan.constants.reduce((s, c) => s + constantBytes(c), 0);

/** A constant as a C array, aligned where asked. f16 and bf16 are their bit patterns. */
export function cArray(name: string, c: PlanConstant, alignment?: number): string {
  const { dtype } = c.tensor;
  const data = denseData(c.tensor);
  const bits = dtype === 'f16' || dtype === 'bf16' || dtype === 'bool';
  const text: string[] = [];
  let line = '  ';
  for (const raw of data) {
    const item = `${bits ? String(raw) : literal(dtype, raw)}, `;
    if (line.length + item.length > 118) { text.push(line.trimEnd()); line = '  '; }
    line += item;
  }
  if (line.trim()) text.push(line.trimEnd());
  if (data.length === 0) text.push('  0');
  return `/* ${commentSafe(c.origin)} ${formatType(c.tensor)} */\nstatic const ${cTypes.storage[dtype]} ${name}[${Math.max(1, data.length)}]${alignment ? ` __attribute__((aligned(${alignment})))` : ''} = {\n${text.join('\n')}\n};\n`;
}

/** All constants in one binary, each aligned; what plans have in common (as the same bytes) once. @returns offsets by plan */
export function weightsBlob(plans: readonly Plan[]): { readonly blob: Uint8Array; readonly offsets: readonly (readonly number[])[] } {
  let total = 0;
  const parts: { readonly at: number; readonly bytes: Uint8Array }[] = [], known = new Map<string, number>(), alignment = Math.max(...plans.map((p) => p.alignment));
  const offsets = plans.map((plan) => {
    const own = plan.constants.map((c) => {
      const bytes = tensorBytes(c.tensor), key = plans.length === 1 ? '' : createHash('sha256').update(bytes).digest('base64'), shared = known.get(key);
      if (shared !== undefined) return { key, at: shared };
      const at = Math.ceil(total / alignment) * alignment;
      total = at + bytes.length;
      parts.push({ at, bytes });
      return { key, at };
    });
    if (plans.length > 1) for (const { key, at } of own) known.set(key, at);
    return own.map((o) => o.at);
  });
  const blob = new Uint8Array(Math.max(1, Math.ceil(total / alignment)) * alignment);
  for (const { at, bytes } of parts) blob.set(bytes, at);
  return { blob, offsets };
}

/**
 * C source that links the binary through the assembler's .incbin (instant, whatever the size), or where that is not to be had
 * (SPC_NO_INCBIN, other compilers) through the same bytes as an array in <symbol>.inc (up to {@link INCLUDE_LIMIT}).
 * @param macro in which a build may give the binary's path
 */
export function binarySource(symbol: string, macro: string, bytes: number, alignment: number, header: string): string {
  return `${header}
/* ${bytes} bytes of constants. The assembler looks for ${symbol}.bin in the current
 * folder and those named by -I; or give its path in ${macro}. Not exported: what reads it is linked with it. */
#if defined(__ELF__) || defined(__MACH__)
__attribute__((visibility("hidden")))
#endif
extern const unsigned char ${symbol}[];

#if defined(__GNUC__) && !defined(SPC_NO_INCBIN)
#ifndef ${macro}
#define ${macro} "${symbol}.bin"
#endif
#if defined(__APPLE__)
#define SPC_SECTION ".const_data"
#define SPC_SYMBOL "_${symbol}"
#define SPC_HIDDEN ".private_extern " SPC_SYMBOL "\\n"
#else
#define SPC_SECTION ".section .rodata"
#define SPC_SYMBOL "${symbol}"
#if defined(__ELF__)
#define SPC_HIDDEN ".hidden " SPC_SYMBOL "\\n"
#else
#define SPC_HIDDEN
#endif
#endif
__asm__(SPC_SECTION "\\n"
        ".balign ${alignment}\\n"
        ".globl " SPC_SYMBOL "\\n" SPC_HIDDEN
        SPC_SYMBOL ":\\n"
        ".incbin \\"" ${macro} "\\"\\n"
        ".byte 0\\n"
        ".text\\n");
#else
${bytes > INCLUDE_LIMIT ? `#error "${bytes} bytes of constants are too many for an array: use GCC or Clang, or compile the model with --weights=file"` : `__attribute__((aligned(${alignment}))) const unsigned char ${symbol}[${bytes}] = {
#include "${symbol}.inc"
};`}
#endif
`;
}

/** The array form takes about four times the binary's bytes: above this size it is left out, and a compiler that would need it is told so. */
export const INCLUDE_LIMIT = 64 * 1024 * 1024;

const LINE = 40, COMMA = 0x2c, NEWLINE = 0x0a, ZERO = 0x30;

/** The binary as array elements in ASCII, for compilers without .incbin. */
export function weightsInclude(blob: Uint8Array): Uint8Array {
  const text = new Uint8Array(blob.length * 4 + Math.ceil(blob.length / LINE));
  let at = 0;
  for (let i = 0; i < blob.length; i++) {
    const x = blob[i]!;
    if (x >= 100) text[at++] = ZERO + Math.floor(x / 100);
    if (x >= 10) text[at++] = ZERO + (Math.floor(x / 10) % 10);
    text[at++] = ZERO + (x % 10);
    text[at++] = COMMA;
    if ((i + 1) % LINE === 0 || i + 1 === blob.length) text[at++] = NEWLINE;
  }
  return text.subarray(0, at);
}
