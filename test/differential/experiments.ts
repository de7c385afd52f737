/** Forms of code that the differential tests hold against float64, and which network a seed stands for. */
import { crossCompiler, emulator, runnerOf } from '../support/machines.js';
import { hasTool } from '../support/processes.js';
import type { RandomSource } from '../support/random-stream.js';
import { randomNetwork, type NetworkKind } from './network.js';
import type { Choice, Experiment, Form } from './run.js';

const form = (cpu: Form['cpu'], streams: Form['streams'], cc: string, more: Partial<Form> = {}): Form => ({ cpu, streams, cc, optimise: '-O1', sanitize: false, ...more });
/** Clang's sanitizers compile twice as fast as GCC's; what they cannot see, machine code, meets guard pages as everything does. */
export const forms: readonly Form[] = [
  form('x86-64-v4', 'assembly', 'gcc', { asm: 'binary' }), form('x86-64-v4', 'assembly', 'gcc', { asm: 'text' }), form('x86-64-v4', 'assembly', 'clang', { asm: 'binary' }),
  ...(['x86-64-v4', 'x86-64-v3', 'generic'] as const).flatMap((cpu) => [form(cpu, 'tables', 'gcc'), form(cpu, 'tables', 'clang', { sanitize: true })]),
  form('x86-64-v3', 'assembly', 'gcc', { asm: 'binary' }), form('aarch64', 'assembly', crossCompiler, { emulator }), form('aarch64', 'tables', crossCompiler, { emulator }),
];
export const nameOf = (f: Form): string => `${f.cpu} ${f.streams}${f.asm ? ` as ${f.asm}` : ''}, ${f.cc}${f.sanitize ? ' with sanitizers' : ''}`;
/** False where its compiler or the instructions are missing. */
export const canRun = (f: Form): boolean => hasTool(f.cc) && runnerOf(f.cpu) !== undefined;

const special = (random: RandomSource): number => (random.next() < 0.02 ? random.pick([NaN, Infinity, -Infinity]) : random.next() * 2 - 1);
const denormal = { input: (random: RandomSource) => (random.next() * 2 - 1) * 2 ** -127, scale: 2 ** -127 };
/** Half of the networks hold images, the others sequences and matrices; now and then activations that are no ordinary numbers. */
const kinds: readonly NetworkKind[] = [
  { of: 'images' }, { of: 'rows' }, { of: 'images' }, { of: 'heads' }, { of: 'images', plain: true, input: special }, { of: 'rows' }, { of: 'sequences' },
  { of: 'images' }, { of: 'rows', plain: true, input: special }, { of: 'images' }, { of: 'heads' }, { of: 'images', plain: true, ...denormal }, { of: 'rows', plain: true, ...denormal },
];
const choices: readonly Choice[] = ['tiles', 'tiles', 'mixed', 'chosen', 'tiles'];

/** Networks in which few activations stay, with what the choice of kernels makes of them. */
export const winnersExperiment = (seed: number): Experiment =>
  ({ network: randomNetwork(seed, { of: seed % 2 ? 'rows' : 'images', winners: true }), choice: seed % 3 ? 'chosen' : 'mixed' });

/** Networks whose weights are in blocks of outputs, a third of them with activations that are no numbers. */
export const blocksExperiment = (seed: number): Experiment => ({
  network: randomNetwork(seed, { of: seed % 2 ? 'rows' : 'images', blocks: true, ...(seed % 3 ? {} : { plain: true, input: special }) }), choice: seed % 4 ? 'chosen' : 'mixed',
});

/** Matrices of so few rows that they fill one vector, or of single ones, a third of them with elements that are no numbers. */
export const fewExperiment = (few: 'rows' | 'vectors') => (seed: number): Experiment =>
  ({ network: randomNetwork(seed, { of: 'rows', few, ...(seed % 3 ? {} : { plain: true, input: special }) }), choice: few === 'vectors' || seed % 2 ? 'chosen' : 'mixed' });

/** The experiment of a seed: always the same. */
export function experiment(seed: number): Experiment {
  const kind = kinds[seed % kinds.length]!, lanes = seed % 7 === 0 ? 'pixels' : seed % 7 === 3 ? 'images' : undefined;
  // most often in tiles where zeros are skipped for certain, so that every element can be held against that
  const choice = kind.input === special && seed % 3 > 0 ? 'tiles' : choices[seed % choices.length]!;
  return { network: randomNetwork(seed, kind), choice, ...(lanes ? { lanes } : {}) };
}
