/** How fast data come to one core and go from it, by how many there are: measured on the core that {@link isas} have their cycles from. */

/** Rates in bytes a nanosecond at amounts of bytes, in ascending order; between two amounts on a line. */
type Rates = readonly (readonly [bytes: number, rate: number])[];

const MIB = 1 << 20;

/** Activations that one step reads and the next one writes, both counted: copies and transpositions of 1 to 100 MB. Stores read memory first, so that far ones cost twice. */
const ACTIVATIONS: Rates = [[2 * MIB, 60], [6 * MIB, 42], [12 * MIB, 34], [24 * MIB, 26], [48 * MIB, 17.5]];

/** Constants, read in order and again in the next inference; the last cache of 32 MiB also holds what passes between. */
const CONSTANTS: Rates = [[12 * MIB, 80], [36 * MIB, 28]];

function rateAt(rates: Rates, bytes: number): number {
  const above = rates.findIndex(([amount]) => bytes < amount), [last, slowest] = rates.at(-1)!;
  if (above < 0 || bytes >= last) return slowest;
  const [to, after] = rates[above]!, [from, before] = rates[above - 1] ?? [0, after];
  return before + ((after - before) * (bytes - from)) / (to - from);
}

/** Nanoseconds in which a step's activations pass. @param bytes read and written */
export const passingActivations = (bytes: number): number => bytes / rateAt(ACTIVATIONS, bytes);

/** Nanoseconds of reading constants. @param all bytes of the whole model's that an inference reads, these among them */
export const readingConstants = (bytes: number, all: number): number => bytes / rateAt(CONSTANTS, all);
