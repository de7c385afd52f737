/**
 * Runs emitted stream functions in this process as no honest caller would: registers that must be kept are poisoned, vector registers
 * are full, every buffer is just as large as what the function may touch and lies against a page that must not be touched.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';
import { packageRoot } from '../../compiler/emit/runtime-files.js';
import { streamLanes, type StreamFunction } from '../../compiler/kir/stream.js';

/** What a call broke, as bits. */
export const violations = { calleeSaved: 1, stackPointer: 2, directionFlag: 4, mxcsr: 8, upperHalves: 16, fault: 32, callersStack: 64 } as const;

/** The call, for each machine: keeps what a caller of C must keep, and tells what the function did not. */
const guardedCalls = {
  x64: `
uint64_t spc_saved_stack;
unsigned char spc_uppers[16 * 64] __attribute__((aligned(64)));
int spc_guarded_call(void *f, const void *x, long tiles, const void *masks, const void *x2, void *y, const void *r);
#define POISON(n) "movabs $0x5a5a000000000" #n ", %r10\\n"
#define FILL(i) "vpternlogd $255, %zmm" #i ", %zmm" #i ", %zmm" #i "\\n"
#define KEEP(i) "vmovups %zmm" #i ", 64*" #i "(%r10)\\n"
#define ALL(m) m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11) m(12) m(13) m(14) m(15)
#define SET(reg, n) POISON(n) "mov %r10, %" #reg "\\n"
#define CHECK(reg, n) POISON(n) "cmp %r10, %" #reg "\\n je 1f\\n or $1, %eax\\n 1:\\n"
__asm__(".text\\n.hidden spc_saved_stack\\n.hidden spc_uppers\\n.globl spc_guarded_call\\n.hidden spc_guarded_call\\nspc_guarded_call:\\n"
  /* from the stack pointer on: what a function might overwrite of its caller, then MXCSR before and after; at the call it is a multiple of 16 */
  "push %rbx\\n push %rbp\\n push %r12\\n push %r13\\n push %r14\\n push %r15\\n sub $152, %rsp\\n"
  "mov %rdi, %rax\\n mov %rsi, %rdi\\n mov %rdx, %rsi\\n mov %rcx, %rdx\\n mov %r8, %rcx\\n mov %r9, %r8\\n mov 208(%rsp), %r9\\n"
  "stmxcsr 128(%rsp)\\n mov %rsp, spc_saved_stack(%rip)\\n"
  POISON(7) ".set i, 0\\n .rept 16\\n mov %r10, i(%rsp)\\n .set i, i + 8\\n .endr\\n"
  SET(rbx, 1) SET(rbp, 2) SET(r12, 3) SET(r13, 4) SET(r14, 5) SET(r15, 6) ALL(FILL)
  "call *%rax\\n"
  "lea spc_uppers(%rip), %r10\\n" ALL(KEEP) "vzeroupper\\n xor %eax, %eax\\n"
  CHECK(rbx, 1) CHECK(rbp, 2) CHECK(r12, 3) CHECK(r13, 4) CHECK(r14, 5) CHECK(r15, 6)
  "cmp %rsp, spc_saved_stack(%rip)\\n je 1f\\n or $2, %eax\\n mov spc_saved_stack(%rip), %rsp\\n 1:\\n"
  "pushfq\\n pop %r10\\n test $0x400, %r10\\n je 1f\\n or $4, %eax\\n cld\\n 1:\\n"
  /* the flags of what happened are the caller's to see, the modes are not to be changed */
  "stmxcsr 132(%rsp)\\n mov 128(%rsp), %r10d\\n xor 132(%rsp), %r10d\\n and $0xffc0, %r10d\\n je 1f\\n or $8, %eax\\n 1:\\n"
  POISON(7) ".set i, 0\\n .rept 16\\n cmp %r10, i(%rsp)\\n jne 2f\\n .set i, i + 8\\n .endr\\n jmp 1f\\n 2: or $64, %eax\\n 1:\\n"
  "add $152, %rsp\\n pop %r15\\n pop %r14\\n pop %r13\\n pop %r12\\n pop %rbp\\n pop %rbx\\n ret\\n");
`,
  /* r10 of the other one is x10 here; 19 to 28, d8 to d15 and the stack pointer are a caller's */
  arm64: `
uint64_t spc_saved_stack;
unsigned char spc_uppers[16 * 64] __attribute__((aligned(64)));
int spc_guarded_call(void *f, const void *x, long tiles, const void *masks, const void *x2, void *y, const void *r);
#define POISON(to, n) "mov " #to ", #" #n "\\n movk " #to ", #0x5a5a, lsl #48\\n"
#define CHECK(reg, n) POISON(x10, n) "cmp x10, " #reg "\\n cset w11, ne\\n orr w9, w9, w11\\n"
#define CHECK_D(reg, n) "fmov x12, " #reg "\\n" CHECK(x12, n)
#define EACH(m) m(x19, 19) m(x20, 20) m(x21, 21) m(x22, 22) m(x23, 23) m(x24, 24) m(x25, 25) m(x26, 26) m(x27, 27) m(x28, 28)
__asm__(".text\\n.hidden spc_saved_stack\\n.globl spc_guarded_call\\n.hidden spc_guarded_call\\nspc_guarded_call:\\n"
  "stp x29, x30, [sp, #-160]!\\n stp x19, x20, [sp, #16]\\n stp x21, x22, [sp, #32]\\n stp x23, x24, [sp, #48]\\n stp x25, x26, [sp, #64]\\n stp x27, x28, [sp, #80]\\n"
  "stp d8, d9, [sp, #96]\\n stp d10, d11, [sp, #112]\\n stp d12, d13, [sp, #128]\\n stp d14, d15, [sp, #144]\\n sub sp, sp, #144\\n"
  "mov x9, x0\\n mov x0, x1\\n mov x1, x2\\n mov x2, x3\\n mov x3, x4\\n mov x4, x5\\n mov x5, x6\\n"
  /* from the stack pointer on: what a function might overwrite of its caller, then FPCR */
  POISON(x10, 7) ".set i, 0\\n .rept 16\\n str x10, [sp, #i]\\n .set i, i + 8\\n .endr\\n mrs x10, fpcr\\n str x10, [sp, #128]\\n"
  EACH(POISON) "fmov d8, x19\\n fmov d9, x20\\n fmov d10, x21\\n fmov d11, x22\\n fmov d12, x23\\n fmov d13, x24\\n fmov d14, x25\\n fmov d15, x26\\n"
  ".irp v, 0,1,2,3,4,5,6,7,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\\n movi v\\\\v\\\\().16b, #255\\n .endr\\n"
  "adrp x11, spc_saved_stack\\n mov x12, sp\\n str x12, [x11, #:lo12:spc_saved_stack]\\n blr x9\\n mov w9, #0\\n"
  EACH(CHECK) CHECK_D(d8, 19) CHECK_D(d9, 20) CHECK_D(d10, 21) CHECK_D(d11, 22) CHECK_D(d12, 23) CHECK_D(d13, 24) CHECK_D(d14, 25) CHECK_D(d15, 26)
  "adrp x11, spc_saved_stack\\n ldr x12, [x11, #:lo12:spc_saved_stack]\\n mov x10, sp\\n cmp x10, x12\\n b.eq 1f\\n orr w9, w9, #2\\n mov sp, x12\\n 1:\\n"
  "mrs x10, fpcr\\n ldr x12, [sp, #128]\\n cmp x10, x12\\n b.eq 1f\\n orr w9, w9, #8\\n 1:\\n"
  POISON(x10, 7) ".set i, 0\\n .rept 16\\n ldr x12, [sp, #i]\\n cmp x10, x12\\n b.ne 2f\\n .set i, i + 8\\n .endr\\n b 1f\\n 2: orr w9, w9, #64\\n 1:\\n"
  "mov w0, w9\\n add sp, sp, #144\\n ldp d14, d15, [sp, #144]\\n ldp d12, d13, [sp, #128]\\n ldp d10, d11, [sp, #112]\\n ldp d8, d9, [sp, #96]\\n"
  "ldp x27, x28, [sp, #80]\\n ldp x25, x26, [sp, #64]\\n ldp x23, x24, [sp, #48]\\n ldp x21, x22, [sp, #32]\\n ldp x19, x20, [sp, #16]\\n ldp x29, x30, [sp], #160\\n ret\\n");
`,
} as const;

const harness = (machine: keyof typeof guardedCalls): string => `
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

${guardedCalls[machine]}
enum { PAGE = 4096 };
typedef struct { char *map, *data; size_t bytes; } area;
/* Memory of so many bytes between two pages that cannot be touched; it begins behind the first or ends before the second. */
static area area_of(const void *content, size_t bytes, int at_end) {
  const size_t room = (bytes + PAGE - 1) / PAGE * PAGE;
  area a = {mmap(NULL, room + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), NULL, bytes};
  if (room) mprotect(a.map + PAGE, room, PROT_READ | PROT_WRITE);
  a.data = a.map + PAGE + (at_end ? room - bytes : 0);
  memcpy(a.data, content, bytes);
  return a;
}
static void release(area a) { munmap(a.map, (a.bytes + PAGE - 1) / PAGE * PAGE + 2 * PAGE); }

static sigjmp_buf back;
static void on_fault(int s) { (void)s; siglongjmp(back, 1); }

typedef void stream(const float *, long, const uint16_t *, const float *, float *, const float *);
extern stream *const spc_streams[];
/* Each buffer: content, bytes, byte offset that the function's pointer has in it. r in place: r_bytes < 0. */
__attribute__((visibility("default"))) int spc_run_guarded(int index, int at_end, int64_t tiles, const void *x, int64_t x_bytes, int64_t x_at, const void *masks, int64_t mask_bytes,
    const void *x2, int64_t x2_bytes, int64_t x2_at, void *y, int64_t y_bytes, int64_t y_at, const void *r, int64_t r_bytes, int64_t r_at) {
  area ax = area_of(x, (size_t)x_bytes, at_end), am = area_of(masks, (size_t)mask_bytes, at_end), a2 = area_of(x2, (size_t)x2_bytes, at_end);
  area ay = area_of(y, (size_t)y_bytes, at_end), ar = area_of(r, r_bytes < 0 ? 0 : (size_t)r_bytes, at_end);
  mprotect(ax.map + PAGE, (ax.bytes + PAGE - 1) / PAGE * PAGE, PROT_READ);
  struct sigaction action, segv, bus;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_fault;
  action.sa_flags = SA_NODEFER;
  sigaction(SIGSEGV, &action, &segv);
  sigaction(SIGBUS, &action, &bus);
  volatile int broken = 32;
  memset(spc_uppers, 0, sizeof spc_uppers);
  if (sigsetjmp(back, 1) == 0) {
    broken = spc_guarded_call((void *)spc_streams[index], ax.data + x_at, (long)tiles, mask_bytes ? am.data : NULL, x2_bytes ? a2.data + x2_at : NULL, ay.data + y_at,
                              r_bytes < 0 ? ay.data + y_at : r_bytes ? ar.data + r_at : NULL);
  }
  sigaction(SIGSEGV, &segv, NULL);
  sigaction(SIGBUS, &bus, NULL);
  for (int v = 0; v < 16; v++) for (int b = 16; b < 64; b++) if (spc_uppers[64 * v + b]) broken |= 16;
  memcpy(y, ay.data, ay.bytes);
  release(ax); release(am); release(a2); release(ay); release(ar);
  return broken;
}
`;

type Words = Float32Array | Int32Array;

/** What a function runs on; byte offsets where its pointers are in the buffers. */
export interface StreamCase {
  readonly tiles: number;
  readonly masks: Uint16Array;
  readonly x: Words;
  readonly x2: Words;
  readonly y: Words;
  /** Undefined: r is y. */
  readonly r?: Words;
  readonly at: { readonly x: number; readonly x2: number; readonly y: number; readonly r: number };
}

/** Least and largest byte, of all tiles, that offsets reach. */
function extent(offsets: readonly number[], step: number, tiles: number, vector: number): { readonly at: number; readonly words: number } {
  if (!offsets.length) return { at: 0, words: 0 };
  const low = Math.min(...offsets);
  return { at: 0 - low, words: (Math.max(...offsets) - low + (tiles - 1) * step + vector) / 4 };
}

/** Buffers of just the size that a function touches, filled by `element`. */
export function streamCase(f: StreamFunction, tiles: number, element: () => number, word: () => number, inPlace = false): StreamCase {
  const vector = 4 * streamLanes(f), reach = (offsets: readonly number[], step: number): ReturnType<typeof extent> => extent(offsets, step, tiles, vector);
  const columns = (source: number): number[] => [...f.offsets].filter((_, k) => f.sources[k] === source);
  const x = reach(columns(0), f.steps.x), x2 = reach(columns(1), f.steps.x2), y = reach(f.rows, f.steps.y);
  const r = inPlace ? y : reach(f.start?.residual ?? [], f.steps.r);
  const filled = (n: number): Words => (f.arithmetic === 'u8s8' ? Int32Array.from({ length: n }, element) : Float32Array.from({ length: n }, element));
  return {
    tiles, masks: Uint16Array.from({ length: f.maskCount * tiles }, word), x: filled(x.words), x2: filled(x2.words), y: filled(y.words),
    ...(inPlace ? {} : { r: filled(r.words) }), at: { x: x.at, x2: x2.at, y: y.at, r: r.at },
  };
}

/** Runs function `index` of a library. @returns the y afterwards, and what was broken (0: nothing) */
export type GuardedRun = (index: number, data: StreamCase, atEnd: boolean) => { readonly y: Words; readonly broken: number };

/**
 * Builds a shared library of the functions with the given symbols; `files` are sources and what they include, `flags` the compiler's.
 * Relocations of code are an error.
 */
export function guardedLibrary(folder: string, name: string, cc: string, flags: readonly string[], symbols: readonly string[], files: ReadonlyMap<string, string | Uint8Array>):
{ readonly library: string; readonly run: GuardedRun } {
  for (const [file, content] of files) writeFileSync(join(folder, file), content);
  const declarations = symbols.map((s) => `extern stream ${s};`).join('\n');
  writeFileSync(join(folder, `${name}_harness.c`), `${harness('x64')}${declarations}\nstream *const spc_streams[] = {${symbols.join(', ')}};\n`);
  const sources = [...files.keys()].filter((f) => /\.(c|S)$/.test(f)), library = join(folder, `${name}.so`);
  const harnessObject = join(folder, `${name}_harness.o`);
  execFileSync(cc, ['-O1', '-march=x86-64-v4', '-fPIC', '-fvisibility=hidden', '-c', join(folder, `${name}_harness.c`), '-o', harnessObject]);
  execFileSync(cc, [...flags, '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared', '-Wl,-z,text', '-I', folder, '-I', join(packageRoot(), 'runtime/cpu'), '-o', library,
    ...sources.map((s) => join(folder, s)), harnessObject, '-lm'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const call = koffi.load(library).func('spc_run_guarded', 'int', ['int', 'int', 'int64', 'void *', 'int64', 'int64', 'void *', 'int64', 'void *', 'int64', 'int64',
    'void *', 'int64', 'int64', 'void *', 'int64', 'int64']) as (...args: readonly (number | Words | Uint16Array)[]) => number;
  return {
    library,
    run(index, { tiles, masks, x, x2, y: before, r, at }, atEnd) {
      const y = before.slice();
      const broken = call(index, atEnd ? 1 : 0, tiles, x, x.byteLength, at.x, masks, masks.byteLength, x2, x2.byteLength, at.x2, y, y.byteLength, at.y,
        r ?? y, r ? r.byteLength : -1, at.r);
      return { y, broken };
    },
  };
}

/** Reads what is to be run from a file, writes y and what was broken to another. */
const programMain = `
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
  /* index, at_end, tiles, then bytes and offset of x, masks, x2, y, r */
  int64_t h[13];
  void *content[5];
  FILE *f = fopen(argv[1], "rb");
  if (argc != 3 || !f || fread(h, sizeof h, 1, f) != 1) return 2;
  for (int i = 0; i < 5; i++) {
    const int64_t bytes = h[3 + 2 * i] < 0 ? 0 : h[3 + 2 * i];
    content[i] = malloc((size_t)bytes + 1);
    if (fread(content[i], 1, (size_t)bytes, f) != (size_t)bytes) return 3;
  }
  const int64_t broken = spc_run_guarded((int)h[0], (int)h[1], h[2], content[0], h[3], h[4], content[1], h[5], content[2], h[7], h[8], content[3], h[9], h[10], content[4], h[11], h[12]);
  f = fopen(argv[2], "wb");
  return !f || fwrite(&broken, sizeof broken, 1, f) != 1 || fwrite(content[3], 1, (size_t)h[9], f) != (size_t)h[9] || fclose(f) ? 4 : 0;
}
`;

/** The same as {@link guardedLibrary} for AArch64: a program that an emulator runs. @param cc a cross compiler */
export function guardedProgram(folder: string, name: string, cc: string, flags: readonly string[], symbols: readonly string[], files: ReadonlyMap<string, string | Uint8Array>):
ReturnType<typeof guardedLibrary> {
  for (const [file, content] of files) writeFileSync(join(folder, file), content);
  const declarations = symbols.map((s) => `extern stream ${s};`).join('\n'), library = join(folder, name), [input, output] = [join(folder, 'case'), join(folder, 'result')];
  writeFileSync(join(folder, `${name}_harness.c`), `${harness('arm64')}${declarations}\nstream *const spc_streams[] = {${symbols.join(', ')}};\n${programMain}`);
  const sources = [...[...files.keys()].filter((f) => /\.(c|S)$/.test(f)), `${name}_harness.c`];
  execFileSync(cc, [...flags, '-O1', '-static', '-Wall', '-Wextra', '-Werror', '-I', folder, '-I', join(packageRoot(), 'runtime/cpu'), '-o', library, ...sources.map((s) => join(folder, s)), '-lm'],
    { stdio: ['ignore', 'pipe', 'pipe'] });
  return {
    library,
    run(index, { tiles, masks, x, x2, y: before, r, at }, atEnd) {
      const head = BigInt64Array.from([index, atEnd ? 1 : 0, tiles, x.byteLength, at.x, masks.byteLength, 0, x2.byteLength, at.x2, before.byteLength, at.y, r ? r.byteLength : -1, at.r].map(BigInt));
      writeFileSync(input, Buffer.concat([head, x, masks, x2, before, ...(r ? [r] : [])].map((a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength))));
      execFileSync('qemu-aarch64', [library, input, output]);
      const bytes = readFileSync(output), y = before.slice();
      new Uint8Array(y.buffer).set(bytes.subarray(8));
      return { y, broken: Number(bytes.readBigInt64LE()) };
    },
  };
}
