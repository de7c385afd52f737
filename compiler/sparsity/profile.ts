/** Sparsity profiles: how many elements of each activation were zero when a model ran on data. Their file: `{ schemaVersion, samples, zeros: { NAME: SHARE } }`. */
import { readDataFile } from '../io/inputs.js';
import { dataError } from '../io/errors.js';
import type { Graph } from '../ir/types.js';

export interface SparsityProfile {
  readonly schemaVersion: 1;
  /** Inferences that were looked at. */
  readonly samples: number;
  /** Share of elements that were zero, by the model's name of the value. */
  readonly zeros: Readonly<Record<string, number>>;
}

const isShare = (x: unknown): x is number => typeof x === 'number' && x >= 0 && x <= 1;

/** The shares in a profile's file. @throws SpcError SPC6100 where it cannot be read, SPC6108 where it is none */
export function readProfile(file: string): SparsityProfile['zeros'] {
  const text = Buffer.from(readDataFile(file)).toString('utf8');
  const bad = (why: string): Error => dataError('SPC6108', `${file}: ${why}`, 'write one with spc run MODEL --profile-sparsity FILE');
  let content: Partial<Record<keyof SparsityProfile, unknown>>;
  try {
    content = JSON.parse(text) as typeof content;
  } catch (error) {
    throw bad(`is no JSON (${(error as Error).message})`);
  }
  const { schemaVersion, zeros } = content ?? {};
  if (schemaVersion !== 1) throw bad(`is no sparsity profile of version 1`);
  if (typeof zeros !== 'object' || zeros === null || !Object.values(zeros).every(isShare)) throw bad('has shares of zeros that are no numbers from 0 to 1');
  return zeros as SparsityProfile['zeros'];
}

/** The graph with what was measured of its values. @throws SpcError SPC6108 where it has none of the values measured */
export function withZeros(graph: Graph, zeros: SparsityProfile['zeros']): Graph {
  const own = new Set([...graph.values.values()].map((v) => v.name)), names = Object.keys(zeros);
  if (names.length > 0 && !names.some((n) => own.has(n))) throw dataError('SPC6108', `the sparsity profile is of another model: it has ${names.slice(0, 3).join(', ')}, the model none of its values`);
  return { ...graph, values: new Map([...graph.values].map(([id, v]) => [id, Object.hasOwn(zeros, v.name) ? { ...v, zeros: zeros[v.name]! } : v])) };
}
