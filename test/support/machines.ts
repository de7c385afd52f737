/** Which instruction sets programs of a test can be run on: this machine's, and AArch64 in an emulator. */
import { isas, type Isa } from '../../backends/cpu/isa.js';
import { nativeIsa } from '../../backends/cpu/target.js';
import { hasTool } from './processes.js';

export const crossCompiler = 'aarch64-linux-gnu-gcc', emulator = 'qemu-aarch64';

/** What a command line for a program begins with (nothing, or the emulator), and flags that link it so; undefined where it cannot be run. */
export function runnerOf(isa: Isa['name']): { readonly command: readonly string[]; readonly linkFlags: readonly string[] } | undefined {
  const own = { command: [], linkFlags: [] };
  if (isa === 'generic' || (isa === 'aarch64' && process.arch === 'arm64')) return own;
  // the emulator has no libraries of that machine
  if (isa === 'aarch64') return hasTool(emulator) ? { command: [emulator], linkFlags: ['-static'] } : undefined;
  return process.arch === 'x64' && nativeIsa().lanes >= isas[isa].lanes ? own : undefined;
}
