/** Instruction sets as the kernel generators see them: one row each. */
import { MAX_ROWS } from '../../compiler/kir/stream.js';
import type { StreamForm } from '../../compiler/ir/layout-choice.js';

export interface Isa {
  readonly name: 'x86-64-v4-vnni' | 'x86-64-v4' | 'x86-64-v3' | 'aarch64' | 'generic';
  /** f32 lanes of a vector register, and how many there are. */
  readonly lanes: number;
  readonly registers: number;
  /** Vector multiply-adds and loads that start in one cycle, for a register of full width and for a narrower one. */
  readonly fma: { readonly full: number; readonly narrow: number };
  readonly loads: { readonly full: number; readonly narrow: number };
  /** Cycles until an accumulator may be used again. */
  readonly latency: number;
  /** Cycles a nanosecond, to tell time. */
  readonly clock: number;
  /** Straight-line sparse products: who writes their code (`tables`: nobody, a loop in C runs everywhere), and rows that it has registers for. */
  readonly streams: { readonly code: 'avx512' | 'avx2' | 'neon' | 'tables'; readonly rows: number };
  /** Has instructions that add four products of u8 and s8 to a sum of 32 bits. */
  readonly dot4: boolean;
  /** Compiler flags that enable it. */
  readonly flags: readonly string[];
}

// Rates are those of a core of 2022 (Zen 4 for x86-64-v4: 512-bit operations take two passes). Only ratios matter for choices.
const v4 = {
  lanes: 16, registers: 32, fma: { full: 1, narrow: 2 }, loads: { full: 1, narrow: 2 }, latency: 4, clock: 3.6, streams: { code: 'avx512', rows: 31 },
} as const;

export const isas: { readonly [N in Isa['name']]: Isa } = {
  'x86-64-v4': { ...v4, name: 'x86-64-v4', dot4: false, flags: ['-march=x86-64-v4', '-mprefer-vector-width=512'] },
  'x86-64-v4-vnni': { ...v4, name: 'x86-64-v4-vnni', dot4: true, flags: ['-march=x86-64-v4', '-mavx512vnni', '-mprefer-vector-width=512'] },
  'x86-64-v3': {
    name: 'x86-64-v3', lanes: 8, registers: 16, fma: { full: 2, narrow: 2 }, loads: { full: 2, narrow: 2 }, latency: 4, clock: 3.5, streams: { code: 'avx2', rows: 6 },
    dot4: false, flags: ['-march=x86-64-v3'],
  },
  // a core that starts two 128-bit multiply-adds and two loads a cycle (Neoverse N1)
  aarch64: {
    name: 'aarch64', lanes: 4, registers: 32, fma: { full: 2, narrow: 2 }, loads: { full: 2, narrow: 2 }, latency: 4, clock: 3, streams: { code: 'neon', rows: 28 },
    dot4: false, flags: ['-march=armv8-a'],
  },
  generic: {
    name: 'generic', lanes: 4, registers: 16, fma: { full: 1, narrow: 1 }, loads: { full: 2, narrow: 2 }, latency: 7, clock: 3, streams: { code: 'tables', rows: 31 }, dot4: false, flags: [],
  },
};

/** Forms of straight-line products that code for the instruction set may have, the fastest first. */
export const streamForms = (isa: Isa): readonly [StreamForm, ...StreamForm[]] => (isa.streams.code === 'tables' ? ['tables'] : ['assembly', 'tables']);
/** Rows of one stream function at most. */
export const streamRows = (isa: Isa, form: StreamForm): number => (form === 'tables' ? MAX_ROWS : isa.streams.rows);
export const fastestForm = (isa: Isa): StreamForm => streamForms(isa)[0];
