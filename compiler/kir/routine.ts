/** Functions that are not C: each kind is a program of its own, and all of them lie in one region of code. */
import type { PermuteFunction } from './permute.js';
import type { StreamFunction } from './stream.js';

export type Routine = StreamFunction | PermuteFunction;

export const isPermute = (f: Routine): f is PermuteFunction => 'kind' in f && f.kind === 'permute';
