/** The machine's limits, measured by bench/peaks.c on the CPU that the rows run on. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { packageRoot } from '../compiler/emit/runtime-files.js';

export const peaksSchema = z.object({
  vectorBytes: z.number(),
  /** Single-precision operations a second, a multiply-add being two. */
  flops: z.number().positive(),
  /** Sizes of L1, L2, L3. */
  cacheBytes: z.array(z.number()).length(3),
  /** Bytes a second read from L1, L2, L3, DRAM. */
  read: z.array(z.number().positive()).length(4),
});
export type Peaks = z.infer<typeof peaksSchema>;

const levels = ['L1', 'L2', 'L3', 'DRAM'] as const;

export interface Limit {
  readonly seconds: number;
  readonly bound: 'multiply-adds' | `${(typeof levels)[number]} read`;
}

/**
 * The least time that the work can take: all multiply-adds at the peak rate, or every non-zero weight (4 bytes) read once from
 * the nearest memory that holds them all. Activations and positions of weights are left out, so no kernel reaches it quite.
 */
export function limitOf(peaks: Peaks, macs: number, nonZeros: number): Limit {
  const bytes = 4 * nonZeros, level = peaks.cacheBytes.findIndex((size) => bytes <= size), at = level < 0 ? levels.length - 1 : level;
  const compute = (2 * macs) / peaks.flops, read = bytes / peaks.read[at]!;
  return compute >= read ? { seconds: compute, bound: 'multiply-adds' } : { seconds: read, bound: `${levels[at]!} read` };
}

/** Builds the program once into `folder`. @returns its path */
export function buildPeaks(folder: string, compiler: string): string {
  const program = join(folder, 'peaks');
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true });
    execFileSync(compiler, ['-O2', '-march=native', join(packageRoot(), 'bench', 'peaks.c'), '-o', program]);
  }
  return program;
}

/** @param cpu to run on; undefined: any */
export function measurePeaks(program: string, cpu: string | undefined): Peaks {
  const [command, ...args] = cpu === undefined ? [program] : ['taskset', '-c', cpu, program];
  return peaksSchema.parse(JSON.parse(execFileSync(command!, args, { encoding: 'utf8' })));
}
