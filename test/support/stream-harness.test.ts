/** The harness must see what it is there to see: functions that break each rule. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { hasTool } from './processes.js';
import { guardedLibrary, violations, type StreamCase } from './stream-harness.js';

const able = hasTool('gcc') && process.arch === 'x64' && process.platform === 'linux' && /avx512f/.test(readFileSync('/proc/cpuinfo', 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'spc-harness-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const culprits: readonly (readonly [string, string, number])[] = [
  ['well', 'vzeroupper; ret', 0],
  // the stack is a multiple of 16 at the call, and what is below it is free
  ['aligned', 'movaps [rsp-24], xmm0; movaps [rsp-120], xmm0; vzeroupper; ret', 0],
  ['above_stack', 'mov BYTE PTR [rsp+8], 1; vzeroupper; ret', violations.callersStack],
  ['far_above_stack', 'mov BYTE PTR [rsp+135], 1; vzeroupper; ret', violations.callersStack],
  ['rbx', 'inc rbx; vzeroupper; ret', violations.calleeSaved],
  ['rbp', 'xor ebp, ebp; vzeroupper; ret', violations.calleeSaved],
  ['r12', 'mov r12, rdi; vzeroupper; ret', violations.calleeSaved],
  ['r13', 'mov r13, rdi; vzeroupper; ret', violations.calleeSaved],
  ['r14', 'mov r14, rdi; vzeroupper; ret', violations.calleeSaved],
  ['r15', 'mov r15, rdi; vzeroupper; ret', violations.calleeSaved],
  ['stack', 'vzeroupper; pop rax; sub rsp, 16; jmp rax', violations.stackPointer],
  ['direction', 'std; vzeroupper; ret', violations.directionFlag],
  ['rounding', 'push rax; stmxcsr [rsp]; xor DWORD PTR [rsp], 0x8000; ldmxcsr [rsp]; pop rax; vzeroupper; ret', violations.mxcsr],
  ['uppers', 'ret', violations.upperHalves],
  ['before_x', 'vzeroupper; mov al, [rdi-1]; ret', violations.fault],
  ['behind_x', 'vzeroupper; mov al, [rdi+64]; ret', violations.fault],
  ['writes_x', 'vzeroupper; mov [rdi], al; ret', violations.fault],
  ['behind_masks', 'vzeroupper; mov al, [rdx+2]; ret', violations.fault],
  ['behind_x2', 'vzeroupper; mov al, [rcx+64]; ret', violations.fault],
  ['before_y', 'vzeroupper; mov [r8-1], al; ret', violations.fault],
  ['behind_y', 'vzeroupper; mov [r8+64], al; ret', violations.fault],
  ['behind_r', 'vzeroupper; mov al, [r9+64]; ret', violations.fault],
];

test.skipIf(!able)('every rule that is broken is seen', () => {
  const source = `.intel_syntax noprefix\n.text\n${culprits.map(([name, code]) => `.globl bad_${name}\n.hidden bad_${name}\nbad_${name}: ${code}\n`).join('')}.section .note.GNU-stack,"",@progbits\n`;
  const { run } = guardedLibrary(folder, 'bad', 'gcc', [], culprits.map(([name]) => `bad_${name}`), new Map([['bad.S', source]]));
  const vector = (): Float32Array => new Float32Array(16);
  const data: StreamCase = { tiles: 1, masks: new Uint16Array(1), x: vector(), x2: vector(), y: vector(), r: vector(), at: { x: 0, x2: 0, y: 0, r: 0 } };
  for (const [i, [name, , expected]] of culprits.entries()) {
    const broken = run(i, data, false).broken | run(i, data, true).broken;
    // what a fault leaves in the registers is not the function's fault
    expect(expected === violations.fault ? broken & expected : broken, name).toBe(expected);
  }
});
