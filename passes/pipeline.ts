/** The passes in the order in which they run. */
import type { Pass } from './types.js';
import { eliminateCommonSubexpressions } from './eliminate-common-subexpressions.js';
import { eliminateDeadCode } from './eliminate-dead-code.js';
import { foldConstants } from './fold-constants.js';

export const pipeline: readonly Pass[] = [foldConstants, eliminateCommonSubexpressions, eliminateDeadCode];

/** What the CPU target adds. */
export const channelsLastPasses: readonly Pass[] = [];
